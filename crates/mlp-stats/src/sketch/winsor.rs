//! Values cut to a range, so that one of them cannot decide a mean.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;
use crate::sort::{quantile_of_sorted, sorted};

/// A range to which values are cut (winsorised, after C. P. Winsor): one below it counts as its lower end, one above it as its upper end.
///
/// The range must be chosen beforehand, from data of the past: a range that follows the values themselves would spoil a test of them.
///
/// ```
/// use mlp_stats::Winsor;
///
/// let revenue: Vec<f64> = (0..=100).map(f64::from).collect();
/// let cut = Winsor::of_sample(&revenue, 0.05)?;
/// assert_eq!((cut.low(), cut.high()), (5.0, 95.0));
/// assert_eq!((cut.apply(1e9), cut.apply(50.0), cut.apply(-3.0)), (95.0, 50.0, 5.0));
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Range", into = "Range")]
pub struct Winsor {
    range: Range,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    low: f64,
    high: f64,
}

impl Winsor {
    /// Cuts to `low..=high`.
    ///
    /// # Errors
    /// If an end is not finite or beyond 1e140 in magnitude, or they are out of order.
    pub fn new(low: f64, high: f64) -> Result<Self, StatsError> {
        Range { low, high }.try_into()
    }

    /// Cuts the given share of a sample at either end, from 0 to 0.5: between its quantiles `share` and `1 − share`.
    ///
    /// # Errors
    /// If the sample is empty or holds a value that is not finite, or the share is out of range.
    pub fn of_sample(values: &[f64], share: f64) -> Result<Self, StatsError> {
        check::not_empty("Winsor", values.len())?;
        check::finite("values", values)?;
        check::parameter("share", share, "from 0 to 0.5", (0.0..=0.5).contains(&share))?;
        let sorted = sorted("values", values)?;
        Self::new(quantile_of_sorted(&sorted, share), quantile_of_sorted(&sorted, 1.0 - share))
    }

    /// The lower end.
    #[must_use]
    pub fn low(&self) -> f64 {
        self.range.low
    }

    /// The upper end.
    #[must_use]
    pub fn high(&self) -> f64 {
        self.range.high
    }

    /// The value, cut; NaN stays NaN.
    #[must_use]
    pub fn apply(&self, value: f64) -> f64 {
        value.clamp(self.range.low, self.range.high)
    }
}

impl TryFrom<Range> for Winsor {
    type Error = StatsError;

    fn try_from(range: Range) -> Result<Self, StatsError> {
        let within = |end: f64| end.abs() <= check::LARGEST;
        let fine = within(range.low) && within(range.high) && range.low <= range.high;
        check::parameter("high", range.high, "at least the lower end, both within ±1e140", fine)?;
        Ok(Self { range })
    }
}

impl From<Winsor> for Range {
    fn from(winsor: Winsor) -> Self {
        winsor.range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_out_of_order_or_range_are_refused_also_from_a_file() {
        assert!(Winsor::new(1.0, 0.0).is_err());
        assert!(Winsor::new(f64::NAN, 0.0).is_err());
        assert!(Winsor::new(0.0, f64::INFINITY).is_err());
        assert!(Winsor::of_sample(&[], 0.1).is_err());
        assert!(Winsor::of_sample(&[1.0], 0.6).is_err());
        assert!(serde_json::from_str::<Winsor>(r#"{"low":2.0,"high":1.0}"#).is_err());
        assert!(Winsor::new(0.0, 1.0).unwrap().apply(f64::NAN).is_nan());
    }
}
