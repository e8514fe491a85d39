//! Which parameters matter for being among the best.

use std::collections::BTreeSet;

use mlp_core::{Direction, Domain, ParamValue, Scale};
use mlp_stats::normal_tail;
use serde::{Deserialize, Serialize};

use crate::axis;
use crate::error::TuneError;
use crate::trial::{TrialRecord, TrialState};

/// How many steps a range is divided into.
const STEPS: usize = 50;
/// What is added to each mass, so that none is 0.
const LEAST_MASS: f64 = 1e-12;

/// PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), with conditional parameters as in its extension (arXiv 2601.20800): how far the values of a parameter
/// among the best trials differ from those among all. As Optuna 5.0's `PedAnovaImportanceEvaluator`, with shares that sum to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PedAnova {
    /// Which share of the trials is the best (0.1); above 0, below `region`.
    pub target: f64,
    /// Within which best share importance is measured (1: all trials); at most 1.
    pub region: f64,
}

impl Default for PedAnova {
    fn default() -> Self {
        Self { target: 0.1, region: 1.0 }
    }
}

impl PedAnova {
    /// The importance of each parameter for one objective, the most important first: shares of 1, or all 0 where the trials say nothing.
    /// Only complete trials with finite values count.
    ///
    /// # Errors
    /// If a setting is out of its range, or a complete trial has no such objective.
    pub fn importances<T: AsRef<TrialRecord>>(
        &self,
        trials: &[T],
        objective: usize,
        direction: Direction,
    ) -> Result<Vec<(String, f64)>, TuneError> {
        if !(self.region > 0.0 && self.region <= 1.0) {
            return Err(TuneError::setting("region", self.region, "above 0, at most 1"));
        }
        if !(self.target > 0.0 && self.target < self.region) {
            return Err(TuneError::setting("target", self.target, "above 0, below the region"));
        }
        let mut scored: Vec<(f64, &TrialRecord)> = Vec::new();
        let mut names = BTreeSet::new();
        for trial in trials.iter().map(AsRef::as_ref) {
            if trial.state != TrialState::Complete {
                continue;
            }
            let Some(&value) = trial.values.get(objective) else {
                return Err(TuneError::setting("objective", objective, "one of the study's"));
            };
            names.extend(trial.params.iter().map(|(name, _)| name.to_owned()));
            if value.is_finite() {
                let loss = if direction == Direction::Minimize { value } else { -value };
                scored.push((loss, trial));
            }
        }
        let region = best(&scored, self.region);
        let target = best(&scored, self.target);
        let mut shares: Vec<(String, f64)> = names
            .into_iter()
            .map(|name| {
                let share = divergence_of(&name, &region, &target);
                (name, share)
            })
            .collect();
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        if sum > 0.0 {
            shares.iter_mut().for_each(|(_, share)| *share /= sum);
        }
        shares.sort_by(|one, other| other.1.total_cmp(&one.1));
        Ok(shares)
    }
}

/// The trials no worse than the one at the end of the best share.
fn best<'a>(scored: &[(f64, &'a TrialRecord)], share: f64) -> Vec<&'a TrialRecord> {
    let mut losses: Vec<f64> = scored.iter().map(|(loss, _)| *loss).collect();
    losses.sort_unstable_by(f64::total_cmp);
    let end = (share * losses.len() as f64).ceil() as usize;
    let Some(cutoff) = end.checked_sub(1).and_then(|last| losses.get(last)) else {
        return Vec::new();
    };
    scored.iter().filter(|(loss, _)| loss <= cutoff).map(|(_, trial)| *trial).collect()
}

/// Over the domains that a parameter had, each with its trials: how different the best are, by how many of them there are.
fn divergence_of(name: &str, region: &[&TrialRecord], target: &[&TrialRecord]) -> f64 {
    let domain_of = |trial: &TrialRecord| {
        trial.params.get(name)?;
        trial.domains.get(name).cloned()
    };
    let mut domains: Vec<Domain> = Vec::new();
    for domain in region.iter().filter_map(|trial| domain_of(trial)) {
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    let regimes = domains.iter().filter(|domain| domain.cardinality() != Some(1)).map(|domain| {
        let within = |trials: &[&TrialRecord]| -> Vec<ParamValue> {
            let of = trials.iter().filter(|trial| domain_of(trial).as_ref() == Some(domain));
            of.filter_map(|trial| trial.params.get(name).cloned()).collect()
        };
        let (all, best) = (within(region), within(target));
        if all.len() < 2 || best.is_empty() {
            return 0.0;
        }
        let among_best = best.len() as f64 / target.len() as f64;
        let among_all = all.len() as f64 / region.len() as f64;
        among_best * among_best / among_all * pearson(&masses(domain, &best), &masses(domain, &all))
    });
    regimes.sum()
}

/// Pearson's divergence of two sets of masses.
fn pearson(one: &[f64], other: &[f64]) -> f64 {
    let pairs = one.iter().zip(other).map(|(one, other)| (one + LEAST_MASS, other + LEAST_MASS));
    pairs.map(|(one, other)| other * (one / other - 1.0).powi(2)).sum()
}

/// The mass of each step of the domain, by a kernel estimate.
fn masses(domain: &Domain, values: &[ParamValue]) -> Vec<f64> {
    match domain {
        Domain::Categorical { choices } => {
            let mut counts = vec![0.0; choices.len()];
            for place in values.iter().filter_map(|value| axis::encode(domain, value)) {
                counts[place as usize] += 1.0;
            }
            of_choices(&counts)
        }
        _ => of_steps(&counts(domain, values)),
    }
}

/// How many values lie in each step; a value between two belongs to the lower one.
fn counts(domain: &Domain, values: &[ParamValue]) -> Vec<f64> {
    let (low, high, scale, steps) = match domain {
        Domain::Int { low, high, scale: Scale::Log, .. } => {
            let bits = ((high - low + 1) as f64).log2().ceil() as usize + 1;
            (*low as f64, *high as f64, Scale::Log, bits)
        }
        Domain::Int { low, high, scale, step } => {
            let last = low + (high - low) / step * step;
            (*low as f64, last as f64, *scale, ((last - low) / step) as usize + 1)
        }
        Domain::Float { low, high, scale, step } => {
            let steps = step.map_or(STEPS, |step| ((high - low) / step).round() as usize + 1);
            (*low, *high, *scale, steps)
        }
        _ => return Vec::new(),
    };
    let steps = steps.min(STEPS);
    let place = |value: f64| if scale == Scale::Log { value.ln() } else { value };
    let (low, high) = (place(low), place(high));
    let width = (high - low) / (steps - 1) as f64;
    let mut counts = vec![0.0; steps];
    for value in values.iter().filter_map(ParamValue::as_float) {
        let step = ((place(value) - low) / width - 0.5).ceil();
        counts[step.clamp(0.0, (steps - 1) as f64) as usize] += 1.0;
    }
    counts
}

/// Normal kernels cut off at the ends, as wide as Scott's rule says, and a broad one that counts like one value.
fn of_steps(counts: &[f64]) -> Vec<f64> {
    let kernels: Vec<(f64, f64)> = (0..counts.len())
        .filter(|&step| counts[step] > 0.0)
        .map(|step| (step as f64, counts[step]))
        .collect();
    let total: f64 = counts.iter().sum();
    let mean = kernels.iter().map(|(step, count)| step * count).sum::<f64>() / total;
    let squares: f64 = kernels.iter().map(|(step, count)| (step - mean).powi(2) * count).sum();
    let deviation = (squares / (total - 1.0).max(1.0)).sqrt();
    let cumulative = |end: usize| kernels[..=end].iter().map(|(_, count)| count).sum::<f64>();
    let first = (0..kernels.len()).find(|&k| cumulative(k) >= (total / 4.0).floor());
    let third = (0..kernels.len()).find(|&k| cumulative(k) > (total * 3.0 / 4.0).floor());
    let first = first.unwrap_or(kernels.len() - 1);
    let third = third.unwrap_or(kernels.len() - 1);
    let range = kernels[third].0 - kernels[first].0;
    let scott = 1.059 * (range / 1.34).min(deviation) * total.powf(-0.2);
    // At least so wide that nine tenths of a kernel lie in its step.
    let width = scott.max(0.5 / 1.64);
    let last = (counts.len() - 1) as f64;
    let kernels = kernels.into_iter().map(|(mu, count)| (mu, width, count));
    let kernels: Vec<_> = kernels.chain([(last / 2.0, last + 1.0, 1.0)]).collect();
    let mass = |mu: f64, sigma: f64, low: f64, high: f64| {
        let (low, high) = ((low - mu) / sigma, (high - mu) / sigma);
        if low > 0.0 {
            normal_tail(low) - normal_tail(high)
        } else {
            normal_tail(-high) - normal_tail(-low)
        }
    };
    let at = |step: usize| {
        let (low, high) = (step as f64 - 0.5, step as f64 + 0.5);
        let shares = kernels.iter().map(|&(mu, sigma, count)| {
            count * mass(mu, sigma, low, high) / mass(mu, sigma, -0.5, last + 0.5)
        });
        shares.sum::<f64>() / (total + 1.0)
    };
    (0..counts.len()).map(at).collect()
}

/// Each choice that was made with some of its weight shared by all, and an even kernel that counts like one value.
fn of_choices(counts: &[f64]) -> Vec<f64> {
    let kinds = counts.iter().filter(|count| **count > 0.0).count() as f64;
    let (total, smoothing) = (counts.iter().sum::<f64>(), 1.0 / (kinds + 1.0));
    let row = smoothing * counts.len() as f64 + 1.0;
    let at = |choice: usize| {
        let shared = total * smoothing / row;
        (shared + counts[choice] / row + 1.0 / counts.len() as f64) / (total + 1.0)
    };
    (0..counts.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use mlp_core::{Dimension, Params};

    use crate::store::TrialDraft;

    /// Sixty trials that Optuna can be shown too: a linear congruential generator draws them.
    fn trials() -> Vec<Arc<TrialRecord>> {
        let mut state = 12_345_u64;
        let mut draw = || {
            state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
            state as f64 / 2_147_483_648.0
        };
        let mut domains: BTreeMap<String, Domain> = [
            Dimension::float("x", 0.0, 1.0),
            Dimension::log_float("rate", 1e-4, 1.0),
            Dimension::log_int("n", 1, 100),
            Dimension::stepped_float("s", 0.0, 1.0, 0.25),
            Dimension::categorical("kind", ["a", "b", "c"]),
        ]
        .into_iter()
        .map(|d| (d.name, d.domain))
        .collect();
        domains.insert("m".to_owned(), Dimension::int("m", 1, 8).domain);
        let domains = Arc::new(domains);
        (0..60)
            .map(|number| {
                let (x, rate) = (draw(), 10_f64.powf(-4.0 + 4.0 * draw()));
                let (n, s) = (1 + (draw() * 100.0) as i64, (draw() * 5.0).floor() * 0.25);
                let kind = (draw() * 3.0) as usize;
                let mut params = Params::new()
                    .with("x", x)
                    .with("rate", rate)
                    .with("n", n)
                    .with("s", s)
                    .with("kind", ["a", "b", "c"][kind]);
                let mut value = (x - 0.3).powi(2) + 0.1 * (rate.log10() + 2.0).powi(2);
                value += 0.2 * (s - 0.5).abs() + [0.3, 0.0, 1.0][kind];
                if kind == 1 {
                    let m = 1 + (draw() * 8.0) as i64;
                    params.insert("m", m);
                    value += 0.05 * m as f64;
                }
                let mut draft = TrialDraft::new(TrialState::Complete);
                (draft.params, draft.domains) = (Arc::new(params), Arc::clone(&domains));
                let mut record = draft.into_record(number);
                record.values = vec![value];
                Arc::new(record)
            })
            .collect()
    }

    fn check(evaluator: &PedAnova, expected: &[(&str, f64)]) {
        let found = evaluator.importances(&trials(), 0, Direction::Minimize).unwrap();
        assert_eq!(found.len(), expected.len());
        for ((name, share), (known_name, known)) in found.iter().zip(expected) {
            assert_eq!(name, known_name);
            assert!((share - known).abs() < 1e-9, "{name}: {share}, not {known}");
        }
    }

    #[test]
    fn importances_are_those_of_optuna_vectors() {
        let evaluator = PedAnova { target: 0.2, ..PedAnova::default() };
        check(
            &evaluator,
            &[
                ("x", 0.306_360_118_519_827_75),
                ("rate", 0.212_204_959_823_463_2),
                ("m", 0.203_016_880_716_081_34),
                ("kind", 0.173_047_906_635_197_1),
                ("n", 0.067_139_405_710_460_56),
                ("s", 0.038_230_728_594_970_106),
            ],
        );
        check(
            &PedAnova { target: 0.1, region: 0.5 },
            &[
                ("m", 0.616_432_363_494_798_8),
                ("kind", 0.155_283_962_124_875_14),
                ("x", 0.096_761_214_633_423_44),
                ("s", 0.064_153_227_341_668_21),
                ("n", 0.048_751_092_947_938_98),
                ("rate", 0.018_618_139_457_295_565),
            ],
        );
    }

    #[test]
    fn no_trials_say_nothing_and_settings_out_of_range_are_named() {
        let none: [Arc<TrialRecord>; 0] = [];
        assert_eq!(PedAnova::default().importances(&none, 0, Direction::Minimize).unwrap(), []);
        let found =
            PedAnova { target: 1.0, region: 1.0 }.importances(&none, 0, Direction::Minimize);
        assert!(found.unwrap_err().to_string().contains("target"));
        assert!(PedAnova::default().importances(&trials(), 1, Direction::Minimize).is_err());
        // An objective that says nothing makes nothing important.
        let mut flat = trials();
        flat.iter_mut().for_each(|trial| Arc::make_mut(trial).values = vec![1.0]);
        let shares = PedAnova::default().importances(&flat, 0, Direction::Minimize).unwrap();
        assert!(shares.iter().all(|(_, share)| *share == 0.0), "{shares:?}");
    }
}
