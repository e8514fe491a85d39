//! Tails of the distributions that tests need.

use libm::{erfc, lgamma};

/// The regularised incomplete beta function, by its continued fraction (Numerical Recipes, third edition, section 6.4; Lentz's method).
pub(crate) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let log_front = a * x.ln() + b * (-x).ln_1p() - log_beta(a, b);
    if x < (a + 1.0) / (a + b + 2.0) {
        log_front.exp() * beta_fraction(a, b, x) / a
    } else {
        1.0 - log_front.exp() * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// The logarithm of the beta function.
pub(crate) fn log_beta(a: f64, b: f64) -> f64 {
    lgamma(a) + lgamma(b) - lgamma(a + b)
}

/// The logarithm of the regularised incomplete beta function: finite where the function itself would round to zero.
pub(crate) fn log_incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if x >= 1.0 {
        return 0.0;
    }
    if x < (a + 1.0) / (a + b + 2.0) {
        a * x.ln() + b * (-x).ln_1p() - log_beta(a, b) + (beta_fraction(a, b, x) / a).ln()
    } else {
        (-incomplete_beta(b, a, 1.0 - x)).ln_1p()
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    fraction
}

/// The chance that a chi-squared variable with `k` degrees of freedom exceeds `x`.
#[must_use]
pub fn chi_squared_tail(x: f64, k: f64) -> f64 {
    if x.is_nan() || k.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 { 1.0 } else { upper_gamma(k / 2.0, x / 2.0) }
}

/// The regularised upper incomplete gamma function, by its series or its continued fraction (Numerical Recipes, section 6.2).
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

/// The chance that an F variable with `d1` and `d2` degrees of freedom exceeds `x`.
#[must_use]
pub fn f_tail(x: f64, d1: f64, d2: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 { 1.0 } else { incomplete_beta(d2 / 2.0, d1 / 2.0, d2 / (d2 + d1 * x)) }
}

/// The chance that a Student t variable with `degrees` of freedom exceeds `t`.
#[must_use]
pub fn student_t_tail(t: f64, degrees: f64) -> f64 {
    if t.is_nan() {
        return f64::NAN;
    }
    let half = 0.5 * incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + t * t));
    if t > 0.0 { half } else { 1.0 - half }
}

/// The chance that a standard normal variable exceeds `z`.
#[must_use]
pub fn normal_tail(z: f64) -> f64 {
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: SciPy 1.17.1.
    #[test]
    fn tails_agree_with_scipy() {
        let close = |ours: f64, theirs: f64| {
            assert!((ours - theirs).abs() <= 1e-10 * theirs, "{ours} for {theirs}")
        };
        close(student_t_tail(1.0, 4.0), 0.18695048315002943);
        close(student_t_tail(2.0, 9.0), 0.038276411885350504);
        close(student_t_tail(-1.5, 9.0), 0.9160746719714625);
        close(student_t_tail(0.5, 1.0), 0.35241638234956674);
        close(student_t_tail(40.0, 4.0), 1.1670081613006339e-06);
        close(f_tail(119.26450218449871, 2.0, 147.0), 1.6696691907731882e-31);
        close(chi_squared_tail(10.817820878494002, 2.0), 0.004476514990225768);
        close(chi_squared_tail(116.31261309207025, 2.0), 5.533972277193866e-26);
        close(normal_tail(1.959963984540054), 0.025);
    }
}
