//! The two-sample Kolmogorov-Smirnov test.

use crate::check;
use crate::error::StatsError;
use crate::sort::sorted;

/// What a two-sample Kolmogorov-Smirnov test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KsTest {
    /// The greatest distance between the two distributions, from 0 to 1: the effect size.
    pub statistic: f64,
    /// The chance of such a distance between samples of one distribution.
    pub p_value: f64,
}

/// Whether two samples come from one distribution (Smirnov 1939), two-sided.
///
/// The p-value is the asymptotic one with Stephens' correction for small samples (Stephens 1970): `Q((√n + 0.12 + 0.11/√n) D)` with
/// `n = n₁n₂/(n₁+n₂)` and Kolmogorov's `Q`. Infinite values are fine: only the order counts.
///
/// # Errors
/// If a sample is empty or holds NaN.
///
/// ```
/// let shifted: Vec<f64> = (0..200).map(|i| f64::from(i) + 60.0).collect();
/// let reference: Vec<f64> = (0..200).map(f64::from).collect();
/// let test = mlp_stats::ks_two_sample(&reference, &shifted)?;
/// assert_eq!(test.statistic, 0.3);
/// assert!(test.p_value < 1e-7);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn ks_two_sample(first: &[f64], second: &[f64]) -> Result<KsTest, StatsError> {
    check::not_empty("ks_two_sample", first.len().min(second.len()))?;
    let (first, second) = (sorted("first", first)?, sorted("second", second)?);
    let (n, m) = (first.len(), second.len());
    let (mut i, mut j, mut distance) = (0, 0, 0_u128);
    while i < n && j < m {
        let value = first[i].min(second[j]);
        i += first[i..].iter().take_while(|other| **other == value).count();
        j += second[j..].iter().take_while(|other| **other == value).count();
        // The distance of i/n and j/m over their common denominator: exact.
        distance = distance.max((i as u128 * m as u128).abs_diff(j as u128 * n as u128));
    }
    let statistic = distance as f64 / (n as f64 * m as f64);
    let root = (n as f64 * m as f64 / (n + m) as f64).sqrt();
    Ok(KsTest { statistic, p_value: kolmogorov_tail((root + 0.12 + 0.11 / root) * statistic) })
}

/// Kolmogorov's tail function, by whichever of its two series converges fast.
fn kolmogorov_tail(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.0 {
        let factor = -std::f64::consts::PI.powi(2) / (8.0 * x * x);
        let total: f64 =
            (0..20).map(|k| (factor * f64::from((2 * k + 1) * (2 * k + 1))).exp()).sum();
        return (1.0 - (2.0 * std::f64::consts::PI).sqrt() / x * total).clamp(0.0, 1.0);
    }
    let term =
        |k: i32| (-2.0 * f64::from(k * k) * x * x).exp() * if k % 2 == 1 { 1.0 } else { -1.0 };
    (2.0 * (1..20).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kolmogorovs_tail_has_its_known_values() {
        // Smirnov 1948, table: Q(1.36) is about 0.05, Q(1.63) about 0.01.
        assert!((kolmogorov_tail(1.358_098_63) - 0.05).abs() < 1e-6);
        assert!((kolmogorov_tail(1.627_623_61) - 0.01).abs() < 1e-6);
        assert!(
            (kolmogorov_tail(1.0 - 1e-12) - kolmogorov_tail(1.0)).abs() < 1e-9,
            "the two series meet"
        );
    }

    #[test]
    fn identical_samples_have_no_distance_and_nan_is_named() {
        assert_eq!(
            ks_two_sample(&[1.0, 2.0], &[1.0, 2.0]).unwrap(),
            KsTest { statistic: 0.0, p_value: 1.0 }
        );
        assert!(matches!(
            ks_two_sample(&[1.0], &[0.0, f64::NAN]),
            Err(StatsError::Nan { input: "second", index: 1 })
        ));
        assert!(ks_two_sample(&[], &[1.0]).is_err());
    }

    proptest! {
        #[test]
        fn the_statistic_is_the_greatest_distance_of_the_shares(first in prop::collection::vec(-5_i8..5, 1..40), second in prop::collection::vec(-5_i8..5, 1..40)) {
            let share = |sample: &[i8], at: i8| sample.iter().filter(|value| **value <= at).count() as f64 / sample.len() as f64;
            let slow = (-5..5).map(|at| (share(&first, at) - share(&second, at)).abs()).fold(0.0, f64::max);
            let as_doubles = |sample: &[i8]| sample.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
            let test = ks_two_sample(&as_doubles(&first), &as_doubles(&second)).unwrap();
            prop_assert!((test.statistic - slow).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&test.p_value));
        }
    }
}
