//! Always-valid evidence that two means differ.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;

/// Evidence, pair by pair, that the means of two streams differ: the mixture sequential probability ratio test
/// (Johari, Pekelis and Walsh 2017, *Always valid inference*), with a normal prior of variance `tau²` over the difference.
///
/// The variance of the values must be known, or estimated from enough of them.
///
/// ```
/// use mlp_stats::MeanDifferenceEvidence;
///
/// let mut evidence = MeanDifferenceEvidence::new(1.0, 0.25)?; // values of variance 1, differences of about a half
/// for _ in 0..100 {
///     evidence.record(0.6, 0.0)?;
/// }
/// assert!(evidence.p_value() < 1e-3);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct MeanDifferenceEvidence {
    variance: f64,
    prior_variance: f64,
    pairs: u64,
    /// The sum of the differences.
    total: f64,
    /// The logarithm of the greatest ratio seen: at least 0.
    greatest: f64,
}

/// What is stored of evidence, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    variance: f64,
    prior_variance: f64,
    pairs: u64,
    total: f64,
    greatest: f64,
}

impl TryFrom<Stored> for MeanDifferenceEvidence {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { variance, prior_variance, pairs, total, greatest } = stored;
        check::parameter("total", total, "a number", !total.is_nan())?;
        check::parameter("greatest", greatest, "at least 0", greatest >= 0.0)?;
        Ok(Self { pairs, total, greatest, ..Self::new(variance, prior_variance)? })
    }
}

impl MeanDifferenceEvidence {
    /// No evidence yet.
    ///
    /// # Errors
    /// If a variance is not above 0 and finite.
    pub fn new(variance: f64, prior_variance: f64) -> Result<Self, StatsError> {
        for (name, value) in [("variance", variance), ("prior_variance", prior_variance)] {
            check::parameter(name, value, "above 0 and finite", value > 0.0 && value.is_finite())?;
        }
        Ok(Self { variance, prior_variance, pairs: 0, total: 0.0, greatest: 0.0 })
    }

    /// Counts a value of each stream.
    ///
    /// # Errors
    /// If the difference is not finite; nothing is counted then.
    pub fn record(&mut self, first: f64, second: f64) -> Result<(), StatsError> {
        let difference = first - second;
        check::parameter("first - second", difference, "finite", difference.is_finite())?;
        self.pairs = self.pairs.saturating_add(1);
        self.total += difference;
        self.greatest = self.greatest.max(self.log_ratio());
        Ok(())
    }

    /// Adds the pairs of another state. What either had seen at most before does not count any more: only the ratio of all together.
    ///
    /// # Errors
    /// If a variance differs.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        let same = (self.variance, self.prior_variance) == (other.variance, other.prior_variance);
        check::parameter("variance", other.variance, "that of this state", same)?;
        self.pairs = self.pairs.saturating_add(other.pairs);
        self.total += other.total;
        self.greatest = self.log_ratio().max(0.0);
        Ok(())
    }

    /// The logarithm of the mixture likelihood ratio now.
    #[must_use]
    pub fn log_ratio(&self) -> f64 {
        if self.pairs == 0 {
            return 0.0;
        }
        let pairs = self.pairs as f64;
        log_mixture_ratio(self.total / pairs, 2.0 * self.variance / pairs, self.prior_variance)
    }

    /// The always-valid p-value: one over the greatest ratio seen, never rising.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        (-self.greatest).exp()
    }
}

/// The logarithm of how many times likelier a difference of two means is if the true difference is normal around 0 with variance
/// `prior_variance` than if it is 0; `variance` is that of the difference of the means. 0 if the variance is not
/// above 0, as nothing is known then (Johari, Pekelis and Walsh 2017).
#[must_use]
pub fn log_mixture_ratio(difference: f64, variance: f64, prior_variance: f64) -> f64 {
    if variance <= 0.0 || variance.is_nan() {
        return 0.0;
    }
    let total = variance + prior_variance;
    let shrinkage = 0.5 * (variance / total).ln();
    shrinkage + prior_variance * difference * difference / (2.0 * variance * total)
}

/// How far the true mean of a stream may be from the mean so far, however often one looks: a confidence sequence for values of any
/// distribution with a variance, by the same mixture as [`log_mixture_ratio`] (Robbins 1970; Waudby-Smith and others 2024, *Time-uniform
/// central limit theory and asymptotic confidence sequences*).
///
/// `variance` is that of the mean (of the values over their number); with an estimated one the bound holds for many values, so begin with no
/// fewer than a hundred or so. `prior_variance` must be set beforehand: the square of a difference that matters makes the sequence
/// tight for such.
///
/// # Errors
/// If alpha is not above 0 and below 1, the variance is below 0, or the prior variance is not above 0; or one is not finite.
///
/// ```
/// let radius = mlp_stats::mean_confidence_radius(1.0 / 400.0, 0.04, 0.05)?; // 400 values of variance 1
/// assert!(radius > 0.1 && radius < 0.2);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn mean_confidence_radius(
    variance: f64,
    prior_variance: f64,
    alpha: f64,
) -> Result<f64, StatsError> {
    check::open_unit("alpha", alpha)?;
    let allowed = variance >= 0.0 && variance.is_finite();
    check::parameter("variance", variance, "at least 0 and finite", allowed)?;
    let allowed = prior_variance > 0.0 && prior_variance.is_finite();
    check::parameter("prior_variance", prior_variance, "above 0 and finite", allowed)?;
    if variance == 0.0 {
        return Ok(0.0);
    }
    let ratio = variance / prior_variance;
    let logs = -alpha.ln() + 0.5 * (1.0 / ratio).ln_1p();
    check::result("mean_confidence_radius", (2.0 * variance * (1.0 + ratio) * logs).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_radius_is_where_the_mixture_ratio_reaches_one_over_alpha() {
        for (variance, prior, alpha) in
            [(0.01_f64, 0.04, 0.05), (1e-8, 1.0, 0.001), (3.0, 0.1, 0.2)]
        {
            let radius = mean_confidence_radius(variance, prior, alpha).unwrap();
            let ratio = log_mixture_ratio(radius, variance, prior);
            assert!((ratio + alpha.ln()).abs() < 1e-9, "{variance} {prior} {alpha}: {ratio}");
        }
        assert_eq!(mean_confidence_radius(0.0, 1.0, 0.05), Ok(0.0));
        assert!(mean_confidence_radius(f64::NAN, 1.0, 0.05).is_err());
        assert!(mean_confidence_radius(1.0, 0.0, 0.05).is_err());
        assert!(mean_confidence_radius(1.0, 1.0, 1.0).is_err());
    }

    #[test]
    fn the_p_value_never_rises_and_ignores_what_is_no_number() {
        let mut evidence = MeanDifferenceEvidence::new(1.0, 1.0).unwrap();
        let mut least = 1.0;
        for i in 0..200 {
            evidence.record(if i < 100 { 1.0 } else { -1.0 }, 0.0).unwrap();
            assert!(evidence.p_value() <= least);
            least = evidence.p_value();
        }
        let before = evidence;
        assert!(evidence.record(f64::NAN, 0.0).is_err());
        assert!(evidence.record(f64::INFINITY, 0.0).is_err());
        assert_eq!(evidence, before);
        assert!(MeanDifferenceEvidence::new(0.0, 1.0).is_err());
    }
}
