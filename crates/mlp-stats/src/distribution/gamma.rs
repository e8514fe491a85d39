//! The gamma distribution and the factorial.

use libm::lgamma;

/// The logarithm of `n!`.
pub(crate) fn log_factorial(n: f64) -> f64 {
    lgamma(n + 1.0)
}

/// The chance that a chi-squared variable with `k` degrees of freedom exceeds `x` (Abramowitz and Stegun 26.4.2): 1 for `x` up to 0; NaN if
/// either is NaN or `k` is negative.
#[must_use]
pub fn chi_squared_tail(x: f64, k: f64) -> f64 {
    if x.is_nan() || k.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x == f64::INFINITY || k == 0.0 {
        return 0.0;
    }
    if k < 0.0 {
        return f64::NAN;
    }
    if k > 1e8 {
        // The cube root is normal by then (Wilson and Hilferty 1931).
        let spread = 2.0 / (9.0 * k);
        return super::normal_tail(((x / k).cbrt() - (1.0 - spread)) / spread.sqrt());
    }
    upper_gamma(k / 2.0, x / 2.0)
}

/// The regularised upper incomplete gamma function, by its series or its continued fraction (Numerical Recipes, third edition, section 6.2).
fn upper_gamma(a: f64, x: f64) -> f64 {
    let log_front = a * x.ln() - x - lgamma(a);
    if x < a + 1.0 {
        let (mut term, mut total, mut n) = (1.0 / a, 1.0 / a, a);
        while term > total * 1e-17 {
            n += 1.0;
            term *= x / n;
            total += term;
        }
        return 1.0 - total * log_front.exp();
    }
    let (mut b, mut c) = (x + 1.0 - a, 1e300);
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let factor = -i * (i - a);
        b += 2.0;
        d = 1.0 / (factor * d + b);
        c = b + factor / c;
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    fraction * log_front.exp()
}
