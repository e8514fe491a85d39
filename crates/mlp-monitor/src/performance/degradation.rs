//! Whether a version has become worse than it was, at any time and however often one looks.

use mlp_stats::{ConfidenceSequence, Interval};
use serde::{Deserialize, Serialize};

use super::cohort::{CohortReport, Counts};
use crate::error::{MonitorError, Result};

/// What a version is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The accuracy that was measured before, 0 to 1.
    pub accuracy: f64,
    /// How much below it is still fine, 0 to 1.
    pub margin: f64,
    /// The chance of ever calling a version degraded that is not, above 0 and below 1.
    pub alpha: f64,
}

impl Baseline {
    /// An accuracy, of which 0.05 may be lost, with a chance of 1 % of ever being wrong.
    #[must_use]
    pub const fn new(accuracy: f64) -> Self {
        Self { accuracy, margin: 0.05, alpha: 0.01 }
    }

    /// The least accuracy that is fine.
    #[must_use]
    pub fn least(&self) -> f64 {
        (self.accuracy - self.margin).max(0.0)
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [("accuracy", self.accuracy), ("margin", self.margin)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(MonitorError::setting(format!("baseline: {name}"), value, "0 to 1"));
            }
        }
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(MonitorError::setting(
                "baseline: alpha",
                self.alpha,
                "above 0 and below 1",
            ));
        }
        Ok(())
    }
}

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DegradationVerdict {
    /// The accuracy is above the least one that is fine.
    Fine,
    /// There are too few outcomes to say.
    Undecided,
    /// The accuracy is below the least one that is fine, of all outcomes or of those since some cohort.
    Degraded,
}

/// Whether a version is worse than its baseline.
///
/// The accuracy is bounded by a confidence sequence, which holds however often one looks. So that an old good record does not hide a fall, one
/// sequence begins at each cohort, as Shekhar and Ramdas (2023) detect changes: the k-th has the share 6/(π²k²) of the chance of being
/// wrong, so all together have no more than `alpha`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Degradation {
    /// What the evidence says.
    pub verdict: DegradationVerdict,
    /// The accuracies that all outcomes leave open.
    pub accuracy: Interval,
    /// The cohort since which the accuracy is too low: the one since which it is lowest for sure.
    pub since: Option<u64>,
    /// The outcomes since then; all of them if there is no such cohort.
    pub counts: Counts,
    /// The least accuracy that is fine.
    pub least: f64,
}

impl Degradation {
    pub(super) fn judge(
        scored: &Counts,
        cohorts: &[CohortReport],
        forgotten: u64,
        baseline: &Baseline,
    ) -> Result<Self> {
        let least = baseline.least();
        let accuracy = interval(scored, baseline.alpha)?;
        let mut since_then = Counts::default();
        let mut worst: Option<(f64, u64, Counts)> = None;
        for (k, cohort) in cohorts.iter().enumerate().rev() {
            since_then.add(&cohort.counts);
            if since_then.accuracy().is_none_or(|point| point >= least) {
                continue;
            }
            let number = (forgotten + k as u64 + 1) as f64;
            let share = 6.0 / (std::f64::consts::PI * number).powi(2);
            let upper = interval(&since_then, baseline.alpha * share)?.upper;
            if upper < least && worst.is_none_or(|(lowest, ..)| upper < lowest) {
                worst = Some((upper, cohort.number, since_then));
            }
        }
        let verdict = match worst {
            Some(_) => DegradationVerdict::Degraded,
            None if accuracy.lower > least => DegradationVerdict::Fine,
            None => DegradationVerdict::Undecided,
        };
        let since = worst.map(|(_, number, _)| number);
        let counts = worst.map_or(*scored, |(.., counts)| counts);
        Ok(Self { verdict, accuracy, since, counts, least })
    }
}

fn interval(counts: &Counts, alpha: f64) -> Result<Interval> {
    let mut sequence = ConfidenceSequence::new(alpha)?;
    sequence.add(counts.labelled - counts.wrong, counts.labelled);
    Ok(sequence.interval())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random::{self, ChaCha8Rng};

    fn cohort(rng: &mut ChaCha8Rng, number: u64, size: u64, accuracy: f64) -> CohortReport {
        let wrong = (0..size).filter(|_| random::uniform(rng) >= accuracy).count() as u64;
        let counts = Counts { predictions: size, labelled: size, wrong, ..Counts::default() };
        CohortReport { number, counts }
    }

    fn judge(cohorts: &[CohortReport], baseline: &Baseline) -> Degradation {
        let mut all = Counts::default();
        cohorts.iter().for_each(|cohort| all.add(&cohort.counts));
        Degradation::judge(&all, cohorts, 0, baseline).unwrap()
    }

    #[test]
    fn a_model_just_good_enough_is_not_called_degraded_however_often_one_looks() {
        let baseline = Baseline { alpha: 0.05, ..Baseline::new(0.9) };
        let mut alarms = 0;
        for seed in 0..200 {
            let mut rng = random::stream(seed, 0);
            let mut cohorts = Vec::new();
            alarms += u32::from((0..60).any(|number| {
                cohorts.push(cohort(&mut rng, number, 50, baseline.least()));
                judge(&cohorts, &baseline).verdict == DegradationVerdict::Degraded
            }));
        }
        // 5 % of 200 and three standard deviations.
        assert!(alarms <= 19, "{alarms}");
    }

    #[test]
    fn a_fall_after_a_long_good_record_is_found_and_dated() {
        let baseline = Baseline::new(0.9);
        let mut rng = random::stream(7, 0);
        let mut cohorts: Vec<_> = (0..500).map(|n| cohort(&mut rng, n, 200, 0.92)).collect();
        assert_eq!(judge(&cohorts, &baseline).verdict, DegradationVerdict::Fine);
        cohorts.extend((500..510).map(|n| cohort(&mut rng, n, 200, 0.78)));
        let found = judge(&cohorts, &baseline);
        assert_eq!(found.verdict, DegradationVerdict::Degraded);
        assert!(found.since.is_some_and(|since| (498..=505).contains(&since)), "{found:?}");
        // The control: all outcomes together hide the fall.
        assert!(found.accuracy.lower > found.least);
    }

    #[test]
    fn few_outcomes_decide_nothing_and_a_point_is_no_evidence() {
        let baseline = Baseline::new(0.9);
        let of = |labelled, wrong| {
            let counts = Counts { predictions: labelled, labelled, wrong, ..Counts::default() };
            judge(&[CohortReport { number: 0, counts }], &baseline).verdict
        };
        assert_eq!(of(0, 0), DegradationVerdict::Undecided);
        assert_eq!(of(10, 3), DegradationVerdict::Undecided, "0.7 of ten is chance");
        assert_eq!(of(1_000, 300), DegradationVerdict::Degraded);
        assert_eq!(of(10_000, 1_000), DegradationVerdict::Fine);
        for wrong in [
            Baseline::new(1.1),
            Baseline { margin: -0.1, ..baseline },
            Baseline { alpha: 0.0, ..baseline },
            Baseline::new(f64::NAN),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
