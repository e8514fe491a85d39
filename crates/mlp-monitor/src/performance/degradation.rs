//! Whether a version has become worse than it was, at any time and however often one looks.

use mlp_core::exact;
use mlp_stats::{ConfidenceSequence, Interval, mean_confidence_radius};
use serde::{Deserialize, Serialize};

use super::cohort::{CohortReport, Counts};
use crate::error::{MonitorError, Result};

/// Bounds of a mean error stand on an estimated variance: so many numbers are the fewest that give one.
const FEWEST_NUMBERS: u64 = 100;

/// What a version is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PerformanceMeasure {
    /// The share of right predictions: of classes, and of numbers if there is a tolerance.
    #[default]
    Accuracy,
    /// The mean absolute error of predicted numbers.
    MeanAbsoluteError,
}

impl PerformanceMeasure {
    fn of(self, counts: &Counts) -> Option<f64> {
        match self {
            Self::Accuracy => counts.accuracy(),
            Self::MeanAbsoluteError => counts.mean_absolute_error(),
        }
    }

    /// On how many outcomes it rests.
    pub(super) fn count(self, counts: &Counts) -> u64 {
        match self {
            Self::Accuracy => counts.judged,
            Self::MeanAbsoluteError => counts.numbers,
        }
    }
}

/// What a version is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Baseline {
    /// What is measured. Default when read: the accuracy.
    #[serde(default)]
    pub measure: PerformanceMeasure,
    /// What was measured before: an accuracy, 0 to 1, or a mean absolute error, 0 or above.
    pub value: f64,
    /// How much worse is still fine: 0 to 1 of an accuracy, above 0 of an error.
    pub margin: f64,
    /// The chance of ever calling a version degraded that is not, above 0 and below 1.
    pub alpha: f64,
}

impl Baseline {
    /// An accuracy, of which 0.05 may be lost, with a chance of 1 % of ever being wrong.
    #[must_use]
    pub const fn new(accuracy: f64) -> Self {
        let measure = PerformanceMeasure::Accuracy;
        Self { measure, value: accuracy, margin: 0.05, alpha: 0.01 }
    }

    /// A mean absolute error, which may grow by a tenth, with a chance of 1 % of ever being wrong.
    #[must_use]
    pub const fn of_error(mean_absolute_error: f64) -> Self {
        let measure = PerformanceMeasure::MeanAbsoluteError;
        Self {
            measure,
            value: mean_absolute_error,
            margin: mean_absolute_error / 10.0,
            alpha: 0.01,
        }
    }

    /// Sets how much worse is still fine, in the unit of the value.
    #[must_use]
    pub const fn with_margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// Sets the chance of ever being wrong.
    #[must_use]
    pub const fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// The worst value that is fine: the least accuracy, or the greatest error.
    #[must_use]
    pub fn limit(&self) -> f64 {
        match self.measure {
            PerformanceMeasure::Accuracy => (self.value - self.margin).max(0.0),
            PerformanceMeasure::MeanAbsoluteError => self.value + self.margin,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let fault = |name: &str, given: f64, allowed| {
            Err(MonitorError::setting(format!("baseline: {name}"), given, allowed))
        };
        let (value, margin) = (self.value, self.margin);
        match self.measure {
            PerformanceMeasure::Accuracy => {
                for (name, given) in [("value", value), ("margin", margin)] {
                    if !(0.0..=1.0).contains(&given) {
                        return fault(name, given, "0 to 1");
                    }
                }
            }
            PerformanceMeasure::MeanAbsoluteError => {
                if !(0.0..=1e140).contains(&value) {
                    return fault("value", value, "0 to 1e140");
                }
                if !(margin > 0.0 && margin <= 1e140) {
                    return fault("margin", margin, "above 0, up to 1e140");
                }
            }
        }
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return fault("alpha", self.alpha, "above 0 and below 1");
        }
        Ok(())
    }

    /// How much worse than the limit a value is; below 0 if it is better.
    fn excess(&self, value: f64) -> f64 {
        match self.measure {
            PerformanceMeasure::Accuracy => self.limit() - value,
            PerformanceMeasure::MeanAbsoluteError => value - self.limit(),
        }
    }

    /// The excess of a version against which nothing is held: that of the best value there is.
    pub(super) fn least_excess(&self) -> f64 {
        match self.measure {
            PerformanceMeasure::Accuracy => self.excess(1.0),
            PerformanceMeasure::MeanAbsoluteError => self.excess(0.0),
        }
    }

    /// The best value that the outcomes leave open, and the worst.
    fn bounds(&self, interval: &Interval) -> (f64, f64) {
        match self.measure {
            PerformanceMeasure::Accuracy => (interval.upper, interval.lower),
            PerformanceMeasure::MeanAbsoluteError => (interval.lower, interval.upper),
        }
    }

    /// The values that the outcomes leave open, with a chance of `alpha` of ever being wrong.
    fn interval(&self, counts: &Counts, alpha: f64) -> Result<Interval> {
        match (self.measure, counts.mean_absolute_error()) {
            (PerformanceMeasure::Accuracy, _) => {
                let mut sequence = ConfidenceSequence::new(alpha)?;
                sequence.add(counts.judged - counts.wrong, counts.judged);
                Ok(sequence.interval())
            }
            (_, Some(mean)) if counts.numbers >= FEWEST_NUMBERS => {
                let n = counts.numbers as f64;
                let variance = counts.squared_deviations() / (n - 1.0) / n;
                // Differences of the margin are those that matter.
                let radius = mean_confidence_radius(variance, self.margin * self.margin, alpha)?;
                Ok(Interval { lower: (mean - radius).max(0.0), upper: mean + radius })
            }
            _ => Ok(Interval { lower: 0.0, upper: f64::INFINITY }),
        }
    }
}

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DegradationVerdict {
    /// The version is better than the worst value that is fine.
    Fine,
    /// There are too few outcomes to say.
    Undecided,
    /// The version is worse than that, by all outcomes or by those since some cohort.
    Degraded,
}

/// Whether a version is worse than its baseline.
///
/// The accuracy is bounded by a confidence sequence, which holds however often one looks; a mean error by an asymptotic one, which holds for
/// many outcomes and says nothing of fewer than a hundred. So that an old good record does not hide a fall, one sequence begins at each
/// cohort, as Shekhar and Ramdas (2023) detect changes: that of the k-th cohort since the first has the share 6/(π²k²) of the chance of being
/// wrong, so all together have no more than `alpha`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Degradation {
    /// What the evidence says.
    pub verdict: DegradationVerdict,
    /// What was measured.
    pub measure: PerformanceMeasure,
    /// The least value that all outcomes leave open.
    pub lower: f64,
    /// The greatest value that they leave open; infinite for an error of which too little is known.
    #[serde(with = "exact")]
    pub upper: f64,
    /// The cohort since which the version is too bad: the one since which it is so by most.
    pub since: Option<u64>,
    /// The outcomes since then; all of them if there is no such cohort.
    pub counts: Counts,
    /// The worst value that is fine.
    pub limit: f64,
    /// How much worse than the limit the version is for sure since some cohort: above 0 if it is degraded. The signal `degraded` of rules. None if
    /// too little is known.
    pub excess: Option<f64>,
}

impl Degradation {
    /// Judges what was scored, of cohorts of which the first there ever was has the number `first`.
    pub(super) fn judge(
        scored: &Counts,
        cohorts: &[CohortReport],
        first: u64,
        baseline: &Baseline,
    ) -> Result<Self> {
        let of_all = baseline.interval(scored, baseline.alpha)?;
        let mut since_then = Counts::default();
        let mut worst: Option<(f64, u64, Counts)> = None;
        for cohort in cohorts.iter().rev() {
            since_then.add(&cohort.counts);
            let point = baseline.measure.of(&since_then);
            if point.is_none_or(|point| baseline.excess(point) <= 0.0) {
                continue;
            }
            let number = (cohort.number.saturating_sub(first) + 1) as f64;
            let share = 6.0 / (std::f64::consts::PI * number).powi(2);
            let interval = baseline.interval(&since_then, baseline.alpha * share)?;
            let excess = baseline.excess(baseline.bounds(&interval).0);
            if worst.is_none_or(|(greatest, ..)| excess > greatest) {
                worst = Some((excess, cohort.number, since_then));
            }
        }
        let degraded = worst.filter(|(excess, ..)| *excess > 0.0);
        let (best, least_good) = baseline.bounds(&of_all);
        let verdict = match degraded {
            Some(_) => DegradationVerdict::Degraded,
            None if baseline.excess(least_good) < 0.0 => DegradationVerdict::Fine,
            None => DegradationVerdict::Undecided,
        };
        let known = baseline.measure.count(scored) > 0;
        let excess = worst.map_or(baseline.excess(best), |(excess, ..)| excess);
        Ok(Self {
            verdict,
            measure: baseline.measure,
            lower: of_all.lower,
            upper: of_all.upper,
            since: degraded.map(|(_, number, _)| number),
            counts: degraded.map_or(*scored, |(.., counts)| counts),
            limit: baseline.limit(),
            excess: known.then_some(excess),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random::{self, ChaCha8Rng};

    fn cohort(rng: &mut ChaCha8Rng, number: u64, size: u64, accuracy: f64) -> CohortReport {
        let wrong = (0..size).filter(|_| random::uniform(rng) >= accuracy).count() as u64;
        let counts =
            Counts { predictions: size, labelled: size, judged: size, wrong, ..Counts::default() };
        CohortReport { number, counts }
    }

    /// Absolute errors of normal residuals with this mean.
    fn errors(rng: &mut ChaCha8Rng, number: u64, size: u64, mean: f64) -> CohortReport {
        let deviation = mean * (std::f64::consts::PI / 2.0).sqrt();
        let mut counts =
            Counts { predictions: size, labelled: size, numbers: size, ..Counts::default() };
        for _ in 0..size {
            let error = (deviation * random::normal(rng)).abs();
            counts.absolute_error += error;
            counts.squared_error += error * error;
        }
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
                cohorts.push(cohort(&mut rng, number, 50, baseline.limit()));
                judge(&cohorts, &baseline).verdict == DegradationVerdict::Degraded
            }));
        }
        // 5 % of 200 and three standard deviations.
        assert!(alarms <= 19, "{alarms}");
    }

    #[test]
    fn an_error_just_small_enough_is_not_called_degraded_however_often_one_looks() {
        let baseline = Baseline::of_error(2.0).with_alpha(0.05);
        let mut alarms = 0;
        for seed in 0..200 {
            let mut rng = random::stream(seed, 1);
            let mut cohorts = Vec::new();
            alarms += u32::from((0..60).any(|number| {
                cohorts.push(errors(&mut rng, number, 50, baseline.limit()));
                judge(&cohorts, &baseline).verdict == DegradationVerdict::Degraded
            }));
        }
        // 5 % of 200 and three standard deviations.
        assert!(alarms <= 19, "{alarms}");
    }

    #[test]
    fn an_error_that_grows_after_a_long_good_record_is_found_and_dated() {
        let baseline = Baseline::of_error(2.0);
        let mut rng = random::stream(7, 1);
        let mut cohorts: Vec<_> = (0..500).map(|n| errors(&mut rng, n, 200, 1.9)).collect();
        assert_eq!(judge(&cohorts, &baseline).verdict, DegradationVerdict::Fine);
        cohorts.extend((500..510).map(|n| errors(&mut rng, n, 200, 2.8)));
        let found = judge(&cohorts, &baseline);
        assert_eq!(found.verdict, DegradationVerdict::Degraded);
        assert!(found.since.is_some_and(|since| (498..=505).contains(&since)), "{found:?}");
        assert!(found.excess.unwrap() > 0.0 && found.upper < found.limit, "{found:?}");
        let few = errors(&mut rng, 0, 99, 50.0);
        let undecided = judge(&[few], &baseline);
        assert_eq!(undecided.verdict, DegradationVerdict::Undecided);
        let text = serde_json::to_string(&undecided).unwrap();
        assert_eq!(serde_json::from_str::<Degradation>(&text).unwrap(), undecided);
        for wrong in
            [Baseline::of_error(-1.0), Baseline::of_error(0.0), Baseline::of_error(f64::NAN)]
        {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
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
        assert!(found.lower > found.limit);
    }

    #[test]
    fn few_outcomes_decide_nothing_and_a_point_is_no_evidence() {
        let baseline = Baseline::new(0.9);
        let of = |labelled, wrong| {
            let counts = Counts {
                predictions: labelled,
                labelled,
                judged: labelled,
                wrong,
                ..Counts::default()
            };
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
