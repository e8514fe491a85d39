//! Successive halving, in the variant that stops trials; and Hyperband over it.

use std::collections::BTreeMap;

use super::{Decision, PruneRequest, Pruner, Verdict, rung, standing};
use crate::crc32::crc32;
use crate::error::TuneError;
use crate::history::History;
use crate::trial::TrialRecord;

/// Stops at each rung all but the best 1/η of the trials that reached it (asynchronous successive halving, Li et al. 2018, in the stopping
/// variant of Optuna 5.0).
///
/// Rung k lies at step `least · η^(rate + k)`. The best trial so far at a rung always goes on.
#[derive(Debug, Clone)]
pub struct HalvingPruner {
    least: Option<i64>,
    reduction: i64,
    rate: u32,
    bootstrap: usize,
    progress: Progress,
}

/// The next rung of each running trial that this pruner has judged.
#[derive(Debug, Clone, Default)]
struct Progress(BTreeMap<u64, u32>);

impl Progress {
    /// The first rung to judge. A trial that carries marks of somebody else is run again, after its process died: whether it was to be stopped at the
    /// last of them is not known, so that rung is judged once more, by what the trial had there.
    fn first(&mut self, request: &PruneRequest<'_>) -> u32 {
        let number = request.trial.number;
        let runs = |other: &u64| request.history.running().any(|trial| trial.number == *other);
        // Of later trials an ordered study may not look at whether they run.
        self.0.retain(|other, _| *other >= number || runs(other));
        let known = self.0.get(&number).copied();
        known.unwrap_or_else(|| rung::next(request.trial).saturating_sub(1))
    }

    fn note(&mut self, request: &PruneRequest<'_>, next: u32) {
        self.0.insert(request.trial.number, next);
    }
}

impl HalvingPruner {
    /// Rungs from step `least` on, each η = `reduction` times as far as the last.
    ///
    /// # Errors
    /// If `least` is below 1 or `reduction` below 2.
    pub fn new(least: i64, reduction: i64) -> Result<Self, TuneError> {
        if least < 1 {
            return Err(TuneError::setting("the least step", least, "at least 1"));
        }
        Self { least: Some(least), ..Self::automatic(2)? }.with_reduction(reduction)
    }

    /// Rungs from a hundredth of the last step of the first complete trial on; none is stopped before there is one.
    ///
    /// # Errors
    /// If `reduction` is below 2.
    pub fn automatic(reduction: i64) -> Result<Self, TuneError> {
        let progress = Progress::default();
        Self { least: None, reduction: 4, rate: 0, bootstrap: 0, progress }
            .with_reduction(reduction)
    }

    fn with_reduction(mut self, reduction: i64) -> Result<Self, TuneError> {
        if reduction < 2 {
            return Err(TuneError::setting("the reduction factor", reduction, "at least 2"));
        }
        self.reduction = reduction;
        Ok(self)
    }

    /// Leaves out the first rungs: no trial is stopped before `least · η^rate`.
    #[must_use]
    pub fn with_rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// Stops the first trials at each rung until so many have reached it.
    ///
    /// # Errors
    /// If the rungs are automatic: then nothing is known of them at first.
    pub fn with_bootstrap(mut self, trials: usize) -> Result<Self, TuneError> {
        if self.least.is_none() && trials > 0 {
            return Err(TuneError::setting("bootstrap", trials, "0 with automatic rungs"));
        }
        self.bootstrap = trials;
        Ok(self)
    }

    /// The step of a rung; none if that is beyond the integers.
    fn step(&self, least: i64, rung: u32) -> Option<i64> {
        least.checked_mul(self.reduction.checked_pow(self.rate.checked_add(rung)?)?)
    }

    fn least(&self, history: &History<'_>) -> Option<i64> {
        self.least.or_else(|| {
            let last = |trial: &TrialRecord| trial.reports.last_key_value().map(|(step, _)| *step);
            Some((history.complete().filter_map(last).next()? / 100).max(1))
        })
    }

    fn judge_among(
        &self,
        request: &PruneRequest<'_>,
        competes: impl Fn(&TrialRecord) -> bool,
        progress: &mut Progress,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let Some(least) = self.least(&request.history) else { return verdict };
        let (step, last) = request.last_values();
        for rung in progress.first(request).. {
            // Rungs beyond the largest step there is lie nowhere.
            let Some(at) = self.step(least, rung) else { break };
            if step < at {
                break;
            }
            let kept = rung::reached(request.trial, &rung::mark(rung));
            let values = kept.as_deref().unwrap_or(last);
            if values.iter().any(|value| value.is_nan()) {
                verdict.prune = Decision::Prune;
                break;
            }
            if kept.is_none() {
                verdict.marks.insert(rung::mark(rung), rung::record(values));
            }
            progress.note(request, rung + 1);
            let rivals = rung::rivals(&request.history, rung, &competes);
            let reached = rivals.len() + 1;
            let directions = request.history.directions();
            let directions = &directions[..values.len().min(directions.len())];
            let better = standing::better(directions, &rivals, values);
            let promoted = reached > self.bootstrap
                && better <= (reached / self.reduction as usize).saturating_sub(1);
            if !promoted {
                verdict.prune = Decision::Prune;
                break;
            }
        }
        verdict
    }
}

impl Pruner for HalvingPruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        let mut progress = std::mem::take(&mut self.progress);
        let verdict = self.judge_among(request, |_| true, &mut progress);
        self.progress = progress;
        verdict
    }
}

/// Successive halving at several rates at once (Hyperband, Li et al. 2017, as in Optuna 5.0): each trial belongs to a bracket by its number
/// and the study's name, and competes within it.
#[derive(Debug, Clone)]
pub struct HyperbandPruner {
    brackets: Vec<HalvingPruner>,
    budgets: Vec<u64>,
    progress: Progress,
}

impl HyperbandPruner {
    /// Brackets for trials that report steps from `least` to `most`.
    ///
    /// # Errors
    /// If `least` is below 1, `most` below it, or `reduction` below 2.
    pub fn new(least: i64, most: i64, reduction: i64) -> Result<Self, TuneError> {
        let halving = HalvingPruner::new(least, reduction)?;
        if most < least {
            return Err(TuneError::setting("the last step", most, "at least the first"));
        }
        let (mut last, mut reach) = (0_u32, most / least);
        while reach >= reduction {
            (last, reach) = (last + 1, reach / reduction);
        }
        let count = u64::from(last) + 1;
        let budget = |bracket: u32| {
            let s = last - bracket;
            let share = count as f64 * (reduction as f64).powi(s as i32) / f64::from(s + 1);
            share.ceil() as u64
        };
        let brackets = (0..=last).map(|rate| halving.clone().with_rate(rate)).collect();
        let budgets = (0..=last).map(budget).collect();
        Ok(Self { brackets, budgets, progress: Progress::default() })
    }

    /// The bracket of a trial.
    #[must_use]
    pub fn bracket(&self, study: &str, number: u64) -> usize {
        let total: u64 = self.budgets.iter().sum();
        let mut left = u64::from(crc32(format!("{study}_{number}").as_bytes())) % total;
        for (bracket, budget) in self.budgets.iter().enumerate() {
            if left < *budget {
                return bracket;
            }
            left -= budget;
        }
        self.budgets.len() - 1
    }

    /// How many brackets there are.
    #[must_use]
    pub fn brackets(&self) -> usize {
        self.brackets.len()
    }
}

impl Pruner for HyperbandPruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        let bracket = self.bracket(request.study, request.trial.number);
        let mut progress = std::mem::take(&mut self.progress);
        let same = |trial: &TrialRecord| self.bracket(request.study, trial.number) == bracket;
        let verdict = self.brackets[bracket].judge_among(request, same, &mut progress);
        self.progress = progress;
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_stays_in_its_bracket() {
        let hyperband = HyperbandPruner::new(1, 16, 2).unwrap();
        assert_eq!((hyperband.brackets(), &hyperband.budgets[..]), (5, &[16, 10, 7, 5, 5][..]));
        // What Python's `binascii.crc32(f"{study}_{number}".encode()) % 43` and the shares above come to.
        let brackets = |study: &str, count: u64| -> Vec<usize> {
            (0..count).map(|number| hyperband.bracket(study, number)).collect()
        };
        let of_s = [
            0, 0, 2, 3, 4, 3, 3, 4, 0, 1, 2, 1, 4, 1, 0, 0, 0, 0, 0, 2, 0, 1, 1, 1, 0, 2, 1, 2, 1,
            0, 1, 4, 1, 0, 1, 0, 0, 0, 1, 2,
        ];
        assert_eq!(brackets("s", 40), of_s);
        assert_eq!(brackets("a study", 10), [1, 2, 1, 0, 3, 0, 0, 0, 4, 1]);
    }

    #[test]
    fn settings_out_of_range_are_errors() {
        assert!(HalvingPruner::new(1, 1).is_err());
        assert!(HalvingPruner::new(0, 2).is_err());
        assert!(HalvingPruner::automatic(4).unwrap().with_bootstrap(1).is_err());
        assert!(HyperbandPruner::new(4, 2, 2).is_err());
    }
}
