//! The beta distribution, and F, which follows from it.

use libm::lgamma;

/// The logarithm of the beta function. Where both arguments are large, Stirling's series keeps the digits that differences of
/// log-gammas lose.
pub(crate) fn log_beta(a: f64, b: f64) -> f64 {
    let (least, greatest) = (a.min(b), a.max(b));
    if greatest < 10.0 {
        return lgamma(a) + lgamma(b) - lgamma(a + b);
    }
    if least < 10.0 {
        // ln Γ(g) − ln Γ(g + l) by Stirling's formula, whose large terms cancel here and not in the result.
        let total = least + greatest;
        let ratio = -(greatest - 0.5) * (least / greatest).ln_1p() - least * (total.ln() - 1.0);
        return lgamma(least) + ratio + stirling(greatest) - stirling(total);
    }
    let total = a + b;
    let mix = (a - 0.5) * (-b / total).ln_1p() + b * (-a / total).ln_1p() - 0.5 * b.ln();
    let corrections = stirling(a) + stirling(b) - stirling(total);
    mix + 0.5 * std::f64::consts::TAU.ln() + corrections
}

/// What Stirling's formula lacks of ln Γ(x), for x of at least 10 (Abramowitz and Stegun 6.1.41).
fn stirling(x: f64) -> f64 {
    let square = 1.0 / (x * x);
    let series = [
        -691.0 / 360_360.0,
        1.0 / 1_188.0,
        -1.0 / 1_680.0,
        1.0 / 1_260.0,
        -1.0 / 360.0,
        1.0 / 12.0,
    ];
    series.iter().fold(0.0, |sum, term| sum * square + term) / x
}

/// The logarithm of `x^a (1−x)^b / B(a, b)`. Near the distribution's middle, where the powers and the beta function are huge and
/// nearly cancel, their ratio is taken first.
fn log_front(a: f64, b: f64, x: f64) -> f64 {
    if a < 10.0 || b < 10.0 {
        return a * x.ln() + b * (-x).ln_1p() - log_beta(a, b);
    }
    let total = a + b;
    let (middle, rest) = (a / total, b / total);
    let shift = x - middle;
    let powers = a * (shift / middle).ln_1p() + b * (-shift / rest).ln_1p();
    let scale = 0.5 * (a * rest / std::f64::consts::TAU).ln();
    powers + scale - (stirling(a) + stirling(b) - stirling(total))
}

/// Whether the continued fraction of the lower tail converges fast here; that of the upper one does otherwise.
fn is_lower(a: f64, b: f64, x: f64) -> bool {
    x < (a + 1.0) / (a + b + 2.0)
}

/// The regularised incomplete beta function, by its continued fraction (Numerical Recipes, third edition, section 6.4; Lentz's method).
pub(crate) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if is_lower(a, b, x) {
        log_front(a, b, x).exp() * fraction(a, b, x) / a
    } else {
        1.0 - log_front(b, a, 1.0 - x).exp() * fraction(b, a, 1.0 - x) / b
    }
}

/// The logarithm of `∫ p^(a−1) (1−p)^(b−1) dp` over `p` from `x` to 1, less that of `x^a (1−x)^b`: how much likelier the mixture
/// over the upper tail is than its lower end, times `x (1−x)`.
///
/// In the upper tail the continued fraction is exactly this ratio, so nothing cancels and nothing underflows.
pub(crate) fn log_upper_ratio(a: f64, b: f64, x: f64) -> f64 {
    if is_lower(a, b, x) {
        let below = log_front(a, b, x).exp() * fraction(a, b, x) / a;
        (-below).ln_1p() - log_front(a, b, x)
    } else {
        (fraction(b, a, 1.0 - x) / b).ln()
    }
}

pub(super) fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..100_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// The value that a beta variable stays below with probability `p`.
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    super::root(0.0, 1.0, |x| incomplete_beta(a, b, x) - p)
}

/// The chance that an F variable with `d1` and `d2` degrees of freedom, both above 0, exceeds `x` (Abramowitz and Stegun 26.6.2): 1 for `x` up
/// to 0; NaN if something is NaN or degrees are not above 0.
#[must_use]
pub fn f_tail(x: f64, d1: f64, d2: f64) -> f64 {
    if x.is_nan() || !(d1 > 0.0 && d2 > 0.0) {
        return f64::NAN;
    }
    if x <= 0.0 { 1.0 } else { incomplete_beta(d2 / 2.0, d1 / 2.0, d2 / (d2 + d1 * x)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: from the factorials as whole numbers.
    #[test]
    fn large_arguments_keep_their_digits() {
        let close = |ours: f64, theirs: f64| {
            assert!((ours / theirs - 1.0).abs() < 1e-12, "{ours} for {theirs}")
        };
        close(log_beta(1e4, 2e4), -19098.90853822089);
        close(log_beta(12.0, 15.0), -18.568172732389428);
    }

    #[test]
    fn the_two_ways_of_the_upper_ratio_meet() {
        for (a, b) in [(1.0, 1.0), (3.0, 40.0), (12.0, 400.0), (200.0, 20_000.0)] {
            let middle = (a + 1.0) / (a + b + 2.0);
            let (below, above) = (middle * (1.0 - 1e-12), middle * (1.0 + 1e-12));
            let gap = log_upper_ratio(a, b, below) - log_upper_ratio(a, b, above);
            assert!(gap.abs() < 1e-9, "{a}, {b}: {gap}");
        }
    }
}
