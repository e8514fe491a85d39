//! Always-valid evidence that a canary fails more often than its baseline.

use serde::{Deserialize, Serialize};

use super::{RateEvidence, RatePrior};
use crate::check;
use crate::error::StatsError;

/// Evidence, error by error, that a canary's error rate is above the allowed multiple of the baseline's.
///
/// Given that a request failed, it came from the canary with probability `w r / (w r + 1 − w)`, where `w` is the canary's share of the
/// traffic and `r` the ratio of the two error rates (the conditional test of two Poisson rates; Przyborowski and Wilenski 1940). So the
/// errors alone are looked at: no estimate of the baseline's rate is needed, and a failing database that both depend on cancels out. When the
/// share changes, the evidence so far is kept and a new factor begins.
///
/// ```
/// use mlp_stats::CanaryEvidence;
///
/// let mut evidence = CanaryEvidence::new(0.1, 1.5)?; // a tenth of the traffic, up to 1.5 times the errors
/// evidence.add(8, 4); // eight errors of the canary, four of the baseline
/// assert!(evidence.is_enough(0.01)?);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct CanaryEvidence {
    ratio: f64,
    /// The logarithm of the evidence from earlier shares.
    earlier: f64,
    current: RateEvidence,
}

/// What is stored of evidence, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    ratio: f64,
    earlier: f64,
    current: RateEvidence,
}

impl TryFrom<Stored> for CanaryEvidence {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { ratio, earlier, current } = stored;
        check_ratio(ratio)?;
        check::parameter("earlier", earlier, "a number", !earlier.is_nan())?;
        Ok(Self { ratio, earlier, current })
    }
}

fn check_ratio(ratio: f64) -> Result<(), StatsError> {
    check::parameter("ratio", ratio, "above 0 and finite", ratio > 0.0 && ratio.is_finite())
}

impl CanaryEvidence {
    /// No evidence yet. `share` is the canary's part of the traffic, `ratio` the error rate it may have relative to the baseline.
    ///
    /// # Errors
    /// If the share is not above 0 and below 1, or the ratio is not above 0 and finite.
    pub fn new(share: f64, ratio: f64) -> Result<Self, StatsError> {
        check_ratio(ratio)?;
        Ok(Self {
            ratio,
            earlier: 0.0,
            current: Self::at_share(share, ratio)?.with_prior(RatePrior::UNIFORM),
        })
    }

    /// Sets how wrong shares of the errors are weighed, all the same by default; before anything was recorded.
    #[must_use]
    pub fn with_prior(mut self, prior: RatePrior) -> Self {
        self.current = self.current.with_prior(prior);
        self
    }

    fn at_share(share: f64, ratio: f64) -> Result<RateEvidence, StatsError> {
        check::open_unit("share", share)?;
        RateEvidence::new(share * ratio / (share * ratio + 1.0 - share))
    }

    /// Goes on with another share of the traffic.
    ///
    /// # Errors
    /// If the share is not above 0 and below 1.
    pub fn change_share(&mut self, share: f64) -> Result<(), StatsError> {
        let next = Self::at_share(share, self.ratio)?.with_prior(self.current.prior());
        self.earlier += self.current.log_e_value();
        self.current = next;
        Ok(())
    }

    /// Counts one error.
    pub fn record(&mut self, is_canary: bool) {
        self.current.record(is_canary);
    }

    /// Counts errors of the canary and of the baseline.
    pub fn add(&mut self, canary: u64, baseline: u64) {
        self.current.add(canary, canary.saturating_add(baseline));
    }

    /// Adds the evidence of other errors, gathered at the same share.
    ///
    /// # Errors
    /// If the allowed ratio or the present share differs.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        check::parameter("ratio", other.ratio, "that of this state", self.ratio == other.ratio)?;
        let same = self.bound() == other.bound();
        check::parameter("bound", other.bound(), "that of this state", same)?;
        self.earlier += other.earlier;
        self.current.merge(&other.current);
        Ok(())
    }

    /// The greatest share of the errors at the present share of the traffic that the allowed ratio explains.
    #[must_use]
    pub fn bound(&self) -> f64 {
        self.current.bound()
    }

    /// The natural logarithm of the e-value.
    #[must_use]
    pub fn log_e_value(&self) -> f64 {
        self.earlier + self.current.log_e_value()
    }

    /// Whether the evidence suffices at a false-alarm rate of `alpha`, between 0 and 1: `E ≥ 1/α`.
    ///
    /// # Errors
    /// If alpha is not above 0 and below 1.
    pub fn is_enough(&self, alpha: f64) -> Result<bool, StatsError> {
        check::open_unit("alpha", alpha)?;
        Ok(self.log_e_value() >= -alpha.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_share_multiplies_the_evidence() {
        let mut evidence = CanaryEvidence::new(0.1, 1.0).unwrap();
        evidence.add(2, 5);
        let before = evidence.log_e_value();
        evidence.change_share(0.5).unwrap();
        assert_eq!((evidence.log_e_value(), evidence.bound()), (before, 0.5));
        evidence.add(4, 0);
        let mut alone = CanaryEvidence::new(0.5, 1.0).unwrap();
        alone.add(4, 0);
        assert!((evidence.log_e_value() - before - alone.log_e_value()).abs() < 1e-12);
        assert!(evidence.change_share(1.0).is_err() && CanaryEvidence::new(0.1, 0.0).is_err());
    }
}
