//! By how much the values of one sample tend to be greater than those of another.

use super::mann_whitney::{Ranks, deviation_of_u, ranks};
use crate::check;
use crate::distribution::normal_quantile;
use crate::error::StatsError;
use crate::sort::{key, sorted, value_of};

/// The median of all differences of a value of the first sample and one of the second (Hodges and Lehmann 1963): by how much the first
/// tends to be greater.
///
/// The differences are not stored: the median is found by its bits, counting the differences up to a bound in one pass, so the time grows
/// with n + m.
///
/// # Errors
/// If a sample is empty, holds a value that is NaN or infinite, or the median is beyond what a double can hold.
///
/// ```
/// assert_eq!(mlp_stats::hodges_lehmann_shift(&[5.0, 7.0, 100.0], &[1.0, 2.0, 3.0])?, 5.0);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn hodges_lehmann_shift(first: &[f64], second: &[f64]) -> Result<f64, StatsError> {
    check::not_empty("hodges_lehmann_shift", first.len().min(second.len()))?;
    check::finite("first", first)?;
    check::finite("second", second)?;
    let (first, second) = (sorted("first", first)?, sorted("second", second)?);
    let pairs = first.len() as u128 * second.len() as u128;
    let upper = nth_difference(&first, &second, pairs / 2);
    let lower = if pairs % 2 == 1 { upper } else { nth_difference(&first, &second, pairs / 2 - 1) };
    let median = if lower == upper { upper } else { lower / 2.0 + upper / 2.0 };
    check::result("hodges_lehmann_shift", median)
}

/// The difference that exactly `rank` others precede: the least double up to which there are more than `rank`.
fn nth_difference(first: &[f64], second: &[f64], rank: u128) -> f64 {
    let (mut low, mut high) = (key(f64::NEG_INFINITY), key(f64::INFINITY));
    while low < high {
        let middle = low + (high - low) / 2;
        if differences_up_to(first, second, value_of(middle)) > rank {
            high = middle
        } else {
            low = middle + 1
        }
    }
    value_of(low)
}

fn differences_up_to(first: &[f64], second: &[f64], bound: f64) -> u128 {
    let (mut from, mut count) = (0, 0_u128);
    for &value in first {
        // The subtraction is monotone, rounding included: the greater the first value, the fewer of the second are small enough.
        while from < second.len() && value - second[from] > bound {
            from += 1;
        }
        count += (second.len() - from) as u128;
    }
    count
}

/// A shift with the interval that contains it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ShiftInterval {
    /// The least shift that the samples do not contradict.
    pub low: f64,
    /// The shift itself, as [`hodges_lehmann_shift`] has it.
    pub estimate: f64,
    /// The greatest shift that the samples do not contradict.
    pub high: f64,
}

/// The shifts `d` for which a Mann-Whitney test does not tell the first sample minus `d` from the second one (Bauer 1972): by the normal
/// distribution, corrected for ties and continuity, as R's `wilcox.test(conf.int = TRUE, exact = FALSE)`. No shift outside the range of
/// the differences is taken into account, so small samples give intervals that end there.
///
/// R looks for the ends by a root finder with a tolerance of 1e-4; here they are the very steps of the statistic. Takes about 130 passes
/// over both samples.
///
/// # Errors
/// If a sample is empty or holds a value that is not finite, the range of the differences exceeds a double, or the confidence is not
/// between 0 and 1.
///
/// ```
/// let shift = mlp_stats::shift_interval(&[20.0, 22.0, 21.0, 25.0, 30.0], &[1.0, 2.2, 1.1, 2.5, 3.0], 0.95)?;
/// assert_eq!(shift.estimate, 20.0);
/// assert!((shift.low - 17.8).abs() < 1e-9 && (shift.high - 27.8).abs() < 1e-9);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn shift_interval(
    first: &[f64],
    second: &[f64],
    confidence: f64,
) -> Result<ShiftInterval, StatsError> {
    check::open_unit("confidence", confidence)?;
    let estimate = hodges_lehmann_shift(first, second)?;
    let (first, second) = (sorted("first", first)?, sorted("second", second)?);
    let least = check::result("shift_interval", first[0] - second[second.len() - 1])?;
    let greatest = check::result("shift_interval", first[first.len() - 1] - second[0])?;
    let z = normal_quantile(0.5 + confidence / 2.0);
    let test = ShiftedTest { first, second: second.iter().map(|&value| key(value)).collect() };
    let low = test.first_shift_at_most(z, least, greatest);
    let high = test.first_shift_at_most(-z, least, greatest);
    Ok(ShiftInterval { low, estimate, high })
}

struct ShiftedTest {
    first: Vec<f64>,
    second: Vec<u64>,
}

impl ShiftedTest {
    /// The standardised U of the first sample moved down by `shift`, half a step nearer to 0. It falls as the shift grows.
    fn z(&self, shift: f64) -> f64 {
        let moved: Vec<u64> = self.first.iter().map(|value| key(value - shift)).collect();
        let Ranks { u, ties } = ranks(&moved, &self.second);
        let (n, m) = (self.first.len(), self.second.len());
        let apart = u - n as f64 * m as f64 / 2.0;
        let deviation = deviation_of_u(n, m, ties);
        if apart == 0.0 || deviation == 0.0 {
            return 0.0;
        }
        (apart - 0.5_f64.copysign(apart)) / deviation
    }

    /// The least shift of the range with a statistic of at most `bound`; the end of the range if there is none.
    fn first_shift_at_most(&self, bound: f64, least: f64, greatest: f64) -> f64 {
        let (mut low, mut high) = (key(least), key(greatest));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.z(value_of(middle)) <= bound { high = middle } else { low = middle + 1 }
        }
        value_of(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_interval_holds_the_true_shift_about_as_often_as_it_says() {
        let mut state = 3_u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut held = 0;
        for _ in 0..1_000 {
            let first: Vec<f64> = (0..25).map(|_| uniform() + uniform() + 0.3).collect();
            let second: Vec<f64> = (0..30).map(|_| uniform() + uniform()).collect();
            let shift = shift_interval(&first, &second, 0.9).unwrap();
            assert!(shift.low <= shift.estimate && shift.estimate <= shift.high);
            held += usize::from((shift.low..=shift.high).contains(&0.3));
        }
        assert!((870..=935).contains(&held), "{held} of 1,000");
    }

    #[test]
    fn constant_samples_have_one_shift_and_bad_ones_none() {
        let shift = shift_interval(&[3.0; 5], &[1.0; 4], 0.98).unwrap();
        assert_eq!((shift.low, shift.estimate, shift.high), (2.0, 2.0, 2.0));
        assert!(shift_interval(&[1.0], &[2.0], 1.0).is_err());
        assert!(shift_interval(&[], &[2.0], 0.9).is_err());
        assert!(shift_interval(&[f64::INFINITY], &[2.0], 0.9).is_err());
        assert!(shift_interval(&[f64::MAX], &[f64::MIN], 0.9).is_err());
    }

    proptest! {
        #[test]
        fn the_shift_is_the_median_of_all_differences(first in prop::collection::vec(-50_i32..50, 1..20), second in prop::collection::vec(-50_i32..50, 1..20)) {
            let as_doubles = |sample: &[i32]| sample.iter().map(|value| f64::from(*value) / 8.0).collect::<Vec<_>>();
            let (first, second) = (as_doubles(&first), as_doubles(&second));
            let mut all: Vec<f64> = first.iter().flat_map(|a| second.iter().map(move |b| a - b)).collect();
            all.sort_by(f64::total_cmp);
            let middle = all.len() / 2;
            let median = if all.len() % 2 == 1 { all[middle] } else { (all[middle - 1] + all[middle]) / 2.0 };
            prop_assert_eq!(hodges_lehmann_shift(&first, &second).unwrap(), median);
        }
    }
}
