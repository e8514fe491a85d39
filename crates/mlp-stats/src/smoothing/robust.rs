//! Where most values lie, whatever the few others are.

/// The 0.75 quantile of the standard normal distribution, to four digits as Iglewicz and Hoaglin have it.
const NORMAL_QUARTILE: f64 = 0.6745;

/// The median of some values, and the median of their distances from it (MAD).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RobustScale {
    /// The median.
    pub median: f64,
    /// The median absolute deviation from it, not scaled.
    pub mad: f64,
}

/// Median and MAD of the values that are not NaN; none if there are none, or the middle lies between −∞ and ∞. Infinite values count as very
/// large ones.
///
/// ```
/// use mlp_stats::robust_scale;
///
/// let scale = robust_scale(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0]).unwrap();
/// assert_eq!((scale.median, scale.mad), (4.5, 2.0));
/// assert!(scale.z_score(100.0) > 3.5 && scale.z_score(7.0) < 1.0);
/// ```
#[must_use]
pub fn robust_scale(values: &[f64]) -> Option<RobustScale> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let median = median(&mut values).filter(|median| !median.is_nan())?;
    // A value equal to the median is no distance away, an infinite median among them.
    let distance = |value: &f64| if *value == median { 0.0 } else { (value - median).abs() };
    let mut distances: Vec<f64> = values.iter().map(distance).collect();
    Some(RobustScale { median, mad: self::median(&mut distances)? })
}

impl RobustScale {
    /// The modified z-score of a value: 0.6745·(value − median)/MAD (Iglewicz and Hoaglin 1993, *How to Detect and Handle Outliers*; they
    /// call a value beyond ±3.5 an outlier). If all values are the same, it is 0 for that value and infinite for every other; NaN for NaN.
    #[must_use]
    pub fn z_score(&self, value: f64) -> f64 {
        if value == self.median {
            return 0.0;
        }
        let difference = value - self.median;
        if self.mad.is_infinite() && !difference.is_nan() {
            return if difference.is_finite() {
                0.0
            } else {
                difference.signum() * NORMAL_QUARTILE
            };
        }
        if self.mad == 0.0 && !difference.is_nan() {
            return difference.signum() * f64::INFINITY;
        }
        NORMAL_QUARTILE * difference / self.mad
    }
}

/// The median, with the mean of the middle two; the values are put into another order.
fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let is_odd = !values.len().is_multiple_of(2);
    let (lower, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if is_odd {
        return Some(upper);
    }
    let below = lower.iter().copied().reduce(f64::max)?;
    Some(if below == upper { upper } else { below / 2.0 + upper / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_left_out_and_nothing_has_no_scale() {
        assert_eq!(robust_scale(&[f64::NAN, 1.0, 3.0]).map(|scale| scale.median), Some(2.0));
        assert_eq!(robust_scale(&[f64::NAN]), None);
        assert!(robust_scale(&[1.0]).unwrap().z_score(f64::NAN).is_nan());
    }

    #[test]
    fn infinite_values_move_neither_median_nor_mad_to_nan() {
        let scale = robust_scale(&[1.0, 2.0, 3.0, f64::INFINITY]).unwrap();
        assert_eq!(scale.median, 2.5);
        assert!(scale.z_score(f64::INFINITY) == f64::INFINITY && !scale.mad.is_nan());
    }
}
