//! The normal distribution.

use libm::erfc;

/// The chance that a standard normal variable exceeds `z` (Abramowitz and Stegun 26.2.29); NaN for NaN.
#[must_use]
pub fn normal_tail(z: f64) -> f64 {
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

/// The value that a standard normal variable stays below with probability `p`, found by bisection of its tail; infinite at 0 and 1, NaN if `p` is
/// NaN or not from 0 to 1.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    // In the lower half the tail is known to its last digit, however small.
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    super::root(-40.0, 0.0, |z| normal_tail(-z) - p)
}
