//! The normal distribution.

use libm::erfc;

/// The chance that a standard normal variable exceeds `z`.
#[must_use]
pub fn normal_tail(z: f64) -> f64 {
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

/// The value that a standard normal variable stays below with probability `p`; infinite at 0 and 1.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    // In the lower half the tail is known to its last digit, however small.
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    super::root(-40.0, 0.0, |z| normal_tail(-z) - p)
}
