//! Student's t, to its last digits for any degrees of freedom.

use super::beta::{fraction, log_beta};
use super::normal_tail;

/// The chance that a Student t variable with `degrees` of freedom, above 0, exceeds `t` (Abramowitz and Stegun 26.7.1); with infinitely many
/// it is normal. NaN if something is NaN or the degrees are not above 0.
#[must_use]
pub fn student_t_tail(t: f64, degrees: f64) -> f64 {
    if t.is_nan() || degrees.is_nan() || degrees <= 0.0 {
        return f64::NAN;
    }
    let (within, beyond) = half(t.abs(), degrees);
    if t > 0.0 { beyond } else { 0.5 + within }
}

/// The value that a Student t variable with `degrees` of freedom stays below with probability `p`, found by bisection; infinite at 0 and 1 and
/// where no double is large enough, NaN if something is NaN, `p` is not from 0 to 1, or the degrees are not above 0.
#[must_use]
pub fn student_t_quantile(p: f64, degrees: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) || degrees.is_nan() || degrees <= 0.0 {
        return f64::NAN;
    }
    // Exact, both of them: the distance from the middle where it is used, and the smaller tail.
    let (from_middle, tail) = (p - 0.5, p.min(1.0 - p));
    if from_middle == 0.0 {
        return 0.0;
    }
    let excess = |t: f64| {
        let (within, beyond) = half(t, degrees);
        if tail > 0.25 { within - from_middle.abs() } else { tail - beyond }
    };
    let mut high = 1.0;
    while excess(high) <= 0.0 && high < f64::INFINITY {
        high *= 2.0;
    }
    let low = if high > 1.0 { high / 2.0 } else { 0.0 };
    let t = if high.is_finite() { super::root(low, high, excess) } else { high };
    t.copysign(from_middle)
}

/// The chances that a variable lies between 0 and `t`, which is at least 0, and beyond `t`. The smaller of them is known to its last digits.
///
/// With `x = d / (d + t²)` and `y = 1 − x` they are halves of the incomplete beta functions of `y` and of `x`. For many degrees `x` is so near 1
/// that `y` and `ln x` must not be computed from it.
fn half(t: f64, degrees: f64) -> (f64, f64) {
    if degrees > 1e20 {
        return (0.5 * libm::erf(t / std::f64::consts::SQRT_2), normal_tail(t));
    }
    let degrees = degrees.max(1e-300);
    let (a, square) = (degrees / 2.0, t * t / degrees);
    let (x, y, log_x) = if square.is_finite() {
        (1.0 / (1.0 + square), square / (1.0 + square), -square.ln_1p())
    } else {
        (0.0, 1.0, degrees.ln() - 2.0 * t.ln())
    };
    let front = (a * log_x + 0.5 * y.ln() - log_beta(a, 0.5)).exp();
    if y * (a + 2.5) > 1.5 {
        let beyond = 0.5 * front * tail_fraction(a, x, y) / a;
        (0.5 - beyond, beyond)
    } else {
        let within = front * fraction(0.5, a, y);
        (within, 0.5 - within)
    }
}

/// The continued fraction of the incomplete beta function of `x` for `a` and ½, two steps as one (its even part): what nearly cancels in a step
/// where `y = 1 − x` is small is then left out by algebra instead of by subtraction.
fn tail_fraction(a: f64, x: f64, y: f64) -> f64 {
    let mut c = (0.5 + (a + 0.5) * y) / (a + 1.0);
    let (mut d, mut fraction) = (0.0, c);
    for m in 1..100_000 {
        let m = f64::from(m);
        let (odd, even) = (a + 2.0 * m - 1.0, a + 2.0 * m);
        let step = m / odd * ((m - 0.5) / even) * x;
        let product = (a + m - 1.0) / (odd - 1.0) * ((a + m - 0.5) / odd) * x * step;
        let rest = (a / even * (2.0 * m + 0.5) + m / even * (3.0 * m + 1.5)) / (even + 1.0);
        let sum = rest + (a + m) / even * ((a + m + 0.5) / (even + 1.0)) * y - step;
        d = 1.0 / (sum - product * d);
        c = sum - product / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    1.0 / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: mpmath 1.3.0 with 40 digits and more, the density relative to that at t integrated, or `betainc` for few degrees.
    #[test]
    fn tails_of_any_degrees_keep_their_digits() {
        for (t, degrees, wanted) in [
            (0.25, 1e13, 0.40129367431707885),
            (1.5, 3e9, 0.0668072013214746),
            (1.96, 30.0, 0.02967115644802524),
            (1.96, 2e8, 0.02499789584144224),
            (1.96, 1e12, 0.02499789514835908),
            (1.96, 1e15, 0.024997895148220574),
            (1.96, 1e18, 0.024997895148220435),
            (1.96, 1e300, 0.024997895148220435),
            (6.0, 1e6, 9.869249061772174e-10),
            (30.0, 1e10, 4.90681350979029e-198),
            (40.0, 4.0, 1.1670081613006343e-06),
            (2.5, 0.01, 0.4808352404927154),
            (1e200, 1.0, 3.1830988618379067e-201),
            (1e200, 0.5, 3.207009754142229e-101),
        ] {
            let ours = student_t_tail(t, degrees);
            assert!((ours / wanted - 1.0).abs() < 2e-13, "{t}, {degrees}: {ours} for {wanted}");
            let below = student_t_tail(-t, degrees);
            assert!((below - (1.0 - wanted)).abs() < 1e-14, "{t}, {degrees}: {below}");
        }
        assert_eq!(student_t_tail(0.0, 7.0), 0.5);
        assert_eq!(student_t_tail(f64::INFINITY, 7.0), 0.0);
        assert_eq!(student_t_tail(f64::NEG_INFINITY, 7.0), 1.0);
    }

    /// Expected values: mpmath 1.3.0 with 60 digits, by `hyp2f1` in the middle and `betainc` in the tails; Cauchy's are its tangent.
    #[test]
    fn quantiles_keep_their_digits_in_the_middle_and_far_out() {
        for (p, degrees, wanted) in [
            (0.4999999999, 10.0, -2.5699782475714284e-10),
            (0.6, 0.5, 0.3979754267847906),
            (0.75, 1.0, 1.0),
            (0.25, 1.0, -1.0),
            (1e-12, 1e12, -7.0344838253899145),
            (1e-20, 10.0, -256.4346993185262),
            (1e-300, 10.0, -2.564525718948198e+30),
            (1e-300, 1.0, -3.1830988618379066e+299),
        ] {
            let ours = student_t_quantile(p, degrees);
            assert!((ours / wanted - 1.0).abs() < 1e-12, "{p}, {degrees}: {ours} for {wanted}");
        }
        for degrees in [0.1, 1.0, 10.0, 1e30] {
            assert_eq!(student_t_quantile(0.5, degrees), 0.0);
        }
        assert_eq!(student_t_quantile(1e-300, 0.01), f64::NEG_INFINITY);
        assert_eq!(student_t_quantile(1.0 - 1e-16, 0.01), f64::INFINITY);
        assert!((student_t_quantile(0.975, 1e30) - 1.959963984540054).abs() < 1e-14);
    }
}
