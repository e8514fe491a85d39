//! Kayenta's way of judging a canary: samples of a metric beside samples of a baseline, for those who move from there.

use mlp_stats::{ShiftInterval, shift_interval};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which changes of a metric are bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bad {
    /// More of it, as with errors and latency.
    Increase,
    /// Less of it, as with revenue.
    Decrease,
    /// Either.
    #[default]
    Either,
}

/// How a canary's metric compares with the baseline's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classification {
    /// No bad change was found.
    Pass,
    /// It is too high.
    High,
    /// It is too low.
    Low,
    /// One side has no values.
    NoData,
}

/// What a judge says of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Judgement {
    /// How the canary compares.
    pub classification: Classification,
    /// It fails a metric on which everything depends.
    pub is_critical_failure: bool,
    /// The canary's mean over the baseline's; none if either is 0.
    pub mean_ratio: Option<f64>,
    /// By how much the canary's values are greater; none without values, or if both sides hold the same ones.
    pub shift: Option<ShiftInterval>,
}

/// Judges one metric by a Mann-Whitney test, as Kayenta's `NetflixACAJudge` (at commit a69573be): the canary is high if even the lower
/// end of the confidence interval of the shift exceeds `tolerance` times the shift, and the ratio of the means reaches the allowed
/// increase; low likewise.
///
/// It wants samples of a fixed size and one look at them: looked at again and again, it raises false alarms, which a
/// [`Trigger`](crate::Trigger) does not. Values that are not finite are left out.
///
/// ```
/// use mlp_rollback::{CanaryJudge, Classification};
///
/// let baseline: Vec<f64> = (0..30).map(|k| 100.0 + f64::from(k % 7)).collect();
/// let canary: Vec<f64> = baseline.iter().map(|latency| latency * 1.5).collect();
/// let judge = CanaryJudge::default().with_allowed_ratios(0.9, 1.2)?;
/// assert_eq!(judge.judge(&canary, &baseline)?.classification, Classification::High);
/// # Ok::<(), mlp_rollback::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryJudge {
    bad: Bad,
    tolerance: f64,
    confidence: f64,
    /// A ratio of the means within these is no effect.
    allowed: (f64, f64),
    critical: Option<(f64, f64)>,
}

impl Default for CanaryJudge {
    /// Kayenta's own settings: either direction, tolerance 0.25, confidence 0.98, any ratio of the means, not critical.
    fn default() -> Self {
        let (bad, allowed) = (Bad::Either, (1.0, 1.0));
        Self { bad, tolerance: 0.25, confidence: 0.98, allowed, critical: None }
    }
}

impl CanaryJudge {
    /// Sets which changes are bad.
    #[must_use]
    pub fn with_bad(mut self, bad: Bad) -> Self {
        self.bad = bad;
        self
    }

    /// Sets what part of the shift the near end of its interval must exceed, from 0 to 1.
    ///
    /// # Errors
    /// If it is out of range.
    pub fn with_tolerance(mut self, tolerance: f64) -> Result<Self> {
        self.tolerance = tolerance;
        self.checked()
    }

    /// Sets the confidence of the interval, above 0 and below 1.
    ///
    /// # Errors
    /// If it is out of range.
    pub fn with_confidence(mut self, confidence: f64) -> Result<Self> {
        self.confidence = confidence;
        self.checked()
    }

    /// Sets the ratios of the means from which a change counts: at most `decrease`, at least `increase`.
    ///
    /// # Errors
    /// If they are not finite and positive.
    pub fn with_allowed_ratios(mut self, decrease: f64, increase: f64) -> Result<Self> {
        self.allowed = (decrease, increase);
        self.checked()
    }

    /// Makes the metric critical from these ratios of the means on.
    ///
    /// # Errors
    /// If they are not finite and positive.
    pub fn with_critical_ratios(mut self, decrease: f64, increase: f64) -> Result<Self> {
        self.critical = Some((decrease, increase));
        self.checked()
    }

    fn checked(self) -> Result<Self> {
        let positive = |(low, high): (f64, f64)| {
            low > 0.0 && high > 0.0 && low.is_finite() && high.is_finite()
        };
        for (field, fine, range) in [
            ("tolerance", (0.0..=1.0).contains(&self.tolerance), "from 0 to 1"),
            ("confidence", self.confidence > 0.0 && self.confidence < 1.0, "above 0, below 1"),
            ("allowed ratios", positive(self.allowed), "finite and above 0"),
            ("critical ratios", self.critical.is_none_or(positive), "finite and above 0"),
        ] {
            if !fine {
                return Err(Error::Invalid { field, reason: format!("must be {range}") });
            }
        }
        Ok(self)
    }

    /// Compares the canary's values with the baseline's.
    ///
    /// # Errors
    /// If the differences exceed what a double can hold, or a judge read from a file is out of range.
    pub fn judge(&self, canary: &[f64], baseline: &[f64]) -> Result<Judgement> {
        let judge = self.checked()?;
        let (canary, baseline) = (finite(canary), finite(baseline));
        let mut judgement = Judgement {
            classification: Classification::Pass,
            is_critical_failure: false,
            mean_ratio: None,
            shift: None,
        };
        if canary.is_empty() || baseline.is_empty() {
            judgement.classification = Classification::NoData;
            return Ok(judgement);
        }
        if canary == baseline {
            return Ok(judgement);
        }
        let shift = shift_interval(&canary, &baseline, judge.confidence)
            .map_err(|error| Error::Invalid { field: "values", reason: error.to_string() })?;
        let ratio = mean_ratio(&canary, &baseline);
        judgement.classification = judge.classify(&shift, ratio);
        judgement.is_critical_failure =
            judge.critical.is_some_and(|allowed| match judgement.classification {
                Classification::High => ratio.is_none_or(|ratio| ratio >= allowed.1),
                Classification::Low => ratio.is_none_or(|ratio| ratio <= allowed.0),
                Classification::Pass | Classification::NoData => false,
            });
        judgement.mean_ratio = ratio;
        judgement.shift = Some(shift);
        Ok(judgement)
    }

    fn classify(&self, shift: &ShiftInterval, ratio: Option<f64>) -> Classification {
        let margin = self.tolerance * shift.estimate.abs();
        let (low, high) = self.allowed;
        if self.bad != Bad::Decrease
            && shift.low > margin
            && ratio.is_none_or(|ratio| ratio >= high)
        {
            Classification::High
        } else if self.bad != Bad::Increase
            && shift.high < -margin
            && ratio.is_none_or(|ratio| ratio <= low)
        {
            Classification::Low
        } else {
            Classification::Pass
        }
    }
}

/// The percentage of judged metrics that pass, as Kayenta scores a group; 0 if a critical one fails, none if none had values.
#[must_use]
pub fn canary_score(judgements: &[Judgement]) -> Option<f64> {
    let of = |classification| {
        judgements.iter().filter(|judgement| judgement.classification == classification).count()
    };
    let judged = judgements.len() - of(Classification::NoData);
    if judged == 0 {
        return None;
    }
    if judgements.iter().any(|judgement| judgement.is_critical_failure) {
        return Some(0.0);
    }
    Some(of(Classification::Pass) as f64 / judged as f64 * 100.0)
}

fn finite(values: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn mean_ratio(canary: &[f64], baseline: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (canary, baseline) = (mean(canary), mean(baseline));
    Some(canary / baseline).filter(|ratio| canary != 0.0 && baseline != 0.0 && ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_values_are_no_pass_and_a_critical_failure_is_a_score_of_zero() {
        let judge = CanaryJudge::default().with_critical_ratios(0.5, 1.5).unwrap();
        let nothing = judge.judge(&[f64::NAN], &[1.0]).unwrap();
        assert_eq!(nothing.classification, Classification::NoData);
        assert_eq!(canary_score(&[nothing]), None);
        let baseline: Vec<f64> = (0..40).map(f64::from).map(|k| 10.0 + k % 5.0).collect();
        let twice: Vec<f64> = baseline.iter().map(|value| value * 2.0).collect();
        let bit_more: Vec<f64> = baseline.iter().map(|value| value + 10.0 * 0.45).collect();
        let same = judge.judge(&baseline, &baseline).unwrap();
        let critical = judge.judge(&twice, &baseline).unwrap();
        let high = judge.judge(&bit_more, &baseline).unwrap();
        assert!(critical.is_critical_failure && !high.is_critical_failure);
        assert_eq!(high.classification, Classification::High);
        assert_eq!(canary_score(&[same, high, nothing]), Some(50.0));
        assert_eq!(canary_score(&[same, critical]), Some(0.0));
        let low = judge.judge(&baseline, &twice).unwrap();
        assert_eq!(low.classification, Classification::Low);
    }

    #[test]
    fn settings_out_of_range_are_refused_also_from_a_file() {
        assert!(CanaryJudge::default().with_confidence(1.0).is_err());
        assert!(CanaryJudge::default().with_tolerance(f64::NAN).is_err());
        assert!(CanaryJudge::default().with_allowed_ratios(0.0, 1.0).is_err());
        let text = serde_json::to_string(&CanaryJudge::default()).unwrap();
        let judge: CanaryJudge = serde_json::from_str(&text.replace("0.98", "2.0")).unwrap();
        assert!(judge.judge(&[1.0], &[2.0]).is_err());
    }
}
