//! The Wasserstein distance.

use crate::check;
use crate::error::StatsError;
use crate::sort::sorted;
use crate::sum::{Sum, mean, squared_deviations};

/// The area between two distribution functions: how far values have to be moved on average to make one sample of the other, in their own
/// unit (the earth mover's distance; Vallender 1974). As SciPy's `wasserstein_distance`.
///
/// # Errors
/// If a sample is empty, holds a value that is NaN or infinite, or the distance is beyond what a double can hold.
///
/// ```
/// assert_eq!(mlp_stats::wasserstein(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0])?, 5.0);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn wasserstein(first: &[f64], second: &[f64]) -> Result<f64, StatsError> {
    check::not_empty("wasserstein", first.len().min(second.len()))?;
    check::finite("first", first)?;
    check::finite("second", second)?;
    let (first, second) = (sorted("first", first)?, sorted("second", second)?);
    let (n, m) = (first.len(), second.len());
    if n == m {
        // With equal sizes the values move in their order.
        return check::result("wasserstein", mean_distance(&first, &second));
    }
    let (mut i, mut j, mut total) = (0, 0, Sum::default());
    // Both samples are cut at every share at which either has a step.
    let mut at = 0_u128;
    let (step_n, step_m) = (m as u128, n as u128);
    while i < n && j < m {
        let next = ((i as u128 + 1) * step_n).min((j as u128 + 1) * step_m);
        total.add((next - at) as f64 * (first[i] - second[j]).abs());
        at = next;
        i += usize::from((i as u128 + 1) * step_n == next);
        j += usize::from((j as u128 + 1) * step_m == next);
    }
    check::result("wasserstein", total.value() / (n as f64 * m as f64))
}

fn mean_distance(first: &[f64], second: &[f64]) -> f64 {
    crate::sum::sum(first.iter().zip(second).map(|(a, b)| (a - b).abs())) / first.len() as f64
}

/// The Wasserstein distance in standard deviations of the first sample, as Evidently has it: 0.1 is commonly called drift. The standard deviation
/// is taken as at least 0.001 in the unit of the values: of a column in millionths the distance is so told too small, of a constant
/// one in thousandths of the unit.
///
/// # Errors
/// As [`wasserstein`], or if the variance of the first sample is beyond what a double can hold.
pub fn normed_wasserstein(reference: &[f64], current: &[f64]) -> Result<f64, StatsError> {
    let distance = wasserstein(reference, current)?;
    let variance = squared_deviations(reference, mean(reference)) / reference.len() as f64;
    let variance = check::result("normed_wasserstein", variance)?;
    check::result("normed_wasserstein", distance / variance.sqrt().max(0.001))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn infinite_values_have_no_distance() {
        assert!(
            wasserstein(&[1.0], &[f64::INFINITY]).is_err() && wasserstein(&[], &[1.0]).is_err()
        );
    }

    proptest! {
        #[test]
        fn the_distance_is_the_area_between_the_distribution_functions(first in prop::collection::vec(-20_i8..20, 1..30), second in prop::collection::vec(-20_i8..20, 1..30)) {
            let share = |sample: &[i8], at: i8| sample.iter().filter(|value| **value <= at).count() as f64 / sample.len() as f64;
            let area: f64 = (-20..20).map(|at| (share(&first, at) - share(&second, at)).abs()).sum();
            let as_doubles = |sample: &[i8]| sample.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
            let ours = wasserstein(&as_doubles(&first), &as_doubles(&second)).unwrap();
            prop_assert!((ours - area).abs() < 1e-12, "{} for {}", ours, area);
        }
    }
}
