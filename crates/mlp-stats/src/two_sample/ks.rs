//! The two-sample Kolmogorov-Smirnov test.

use super::Alternative;
use crate::check;
use crate::distribution::kolmogorov_tail;
use crate::error::StatsError;
use crate::sort::{sorted_keys, value_of};

/// Samples up to this size are tested exactly by [`KsMethod::Auto`], as in SciPy.
const EXACT_UP_TO: usize = 10_000;

/// What a two-sample Kolmogorov-Smirnov test says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct KsTest {
    /// The greatest distance between the two distribution functions, from 0 to 1: the effect size.
    pub statistic: f64,
    /// The chance of such a distance between samples of one distribution.
    pub p_value: f64,
    /// The value at which the distance is greatest.
    pub location: f64,
    /// Whether the first distribution function is above the second there: the first sample has more of the small values.
    pub first_is_above: bool,
}

/// How the p-value of a Kolmogorov-Smirnov test is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KsMethod {
    /// Exactly if both samples have at most 10,000 values, else asymptotically.
    #[default]
    Auto,
    /// By counting paths (Hodges 1958); ties are taken as continuous values would be.
    Exact,
    /// By the distribution of the one-sample statistic with the samples' effective size; one-sided by Hodges' expansion.
    Asymptotic,
}

/// Whether two samples come from one distribution (Smirnov 1939), two-sided, exact up to 10,000 values: as SciPy's `ks_2samp`.
///
/// Infinite values are fine: only the order counts.
///
/// # Errors
/// If a sample is empty, holds NaN, or has more than 2³¹ values.
///
/// ```
/// let reference: Vec<f64> = (0..200).map(f64::from).collect();
/// let shifted: Vec<f64> = (0..200).map(|i| f64::from(i) + 60.0).collect();
/// let test = mlp_stats::ks_two_sample(&reference, &shifted)?;
/// assert_eq!((test.statistic, test.location, test.first_is_above), (0.3, 59.0, true));
/// assert!(test.p_value < 1e-7);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn ks_two_sample(first: &[f64], second: &[f64]) -> Result<KsTest, StatsError> {
    ks_two_sample_with(first, second, Alternative::TwoSided, KsMethod::Auto)
}

/// The Kolmogorov-Smirnov test with a choice of alternative and method.
///
/// # Errors
/// If a sample is empty, holds NaN, or has more than 2³¹ values; or if samples of unequal size with more than 2³⁰ pairs are to be tested
/// exactly.
pub fn ks_two_sample_with(
    first: &[f64],
    second: &[f64],
    alternative: Alternative,
    method: KsMethod,
) -> Result<KsTest, StatsError> {
    check::not_empty("ks_two_sample", first.len().min(second.len()))?;
    let (first, second) = (sorted_keys("first", first)?, sorted_keys("second", second)?);
    let (n, m) = (first.len(), second.len());
    check::limit("values of a sample", n.max(m), 1 << 31)?;
    let [below, above] = greatest_distances(&first, &second);
    let greatest = match alternative {
        Alternative::Less => below,
        Alternative::Greater => above,
        Alternative::TwoSided if below.value() > above.value() => below,
        Alternative::TwoSided => above,
    };
    let is_exact = match method {
        KsMethod::Auto => n.max(m) <= EXACT_UP_TO,
        KsMethod::Exact => true,
        KsMethod::Asymptotic => false,
    };
    if is_exact && n != m {
        check::limit("pairs of an exact Kolmogorov-Smirnov test", n.saturating_mul(m), 1 << 30)?;
    }
    let statistic = greatest.value() as f64 / (n as f64 * m as f64);
    let is_two_sided = alternative == Alternative::TwoSided;
    let p_value = if is_exact {
        exact_tail(n, m, greatest.value(), is_two_sided)
    } else {
        asymptotic_tail(n as f64, m as f64, statistic, is_two_sided)
    };
    Ok(KsTest {
        statistic,
        p_value: p_value.clamp(0.0, 1.0),
        location: value_of(greatest.key),
        first_is_above: greatest.is_above,
    })
}

/// A distance of the two distribution functions over their common denominator, so that nothing is rounded, and its place.
#[derive(Debug, Clone, Copy)]
struct Distance {
    distance: i64,
    key: u64,
    is_above: bool,
    is_in_first: bool,
}

impl Distance {
    fn start(is_above: bool) -> Self {
        Self { distance: i64::MIN, key: 0, is_above, is_in_first: false }
    }

    /// Takes a greater distance; of equal ones that at a value of the first sample, then that at the least value.
    fn take(&mut self, distance: i64, key: u64, is_in_first: bool) {
        if distance >= self.distance {
            let is_nearer_first = is_in_first && !self.is_in_first;
            if distance > self.distance || is_nearer_first {
                *self = Self { distance, key, is_in_first, ..*self };
            }
        }
    }

    fn value(&self) -> u64 {
        u64::try_from(self.distance).unwrap_or(0)
    }
}

/// How far the first distribution function gets below and above the second.
fn greatest_distances(first: &[u64], second: &[u64]) -> [Distance; 2] {
    let (n, m) = (first.len() as i64, second.len() as i64);
    let (mut i, mut j, mut difference) = (0, 0, 0);
    let (mut below, mut above) = (Distance::start(false), Distance::start(true));
    let mut was_in_first = false;
    while i < first.len() && j < second.len() {
        // One step in either sample or both, without a branch that could be mispredicted.
        let (left, right) = (first[i], second[j]);
        let (is_left, is_right) = (left <= right, right <= left);
        i += usize::from(is_left);
        j += usize::from(is_right);
        difference += i64::from(is_left) * m - i64::from(is_right) * n;
        let key = left.min(right);
        was_in_first |= is_left;
        if first.get(i) != Some(&key) && second.get(j) != Some(&key) {
            below.take(-difference, key, was_in_first);
            above.take(difference, key, was_in_first);
            was_in_first = false;
        }
    }
    // What is left of one of them, group by group.
    for (rest, step, is_in_first) in [(&first[i..], m, true), (&second[j..], -n, false)] {
        for tied in rest.chunk_by(|a, b| a == b) {
            difference += step * tied.len() as i64;
            below.take(-difference, tied[0], is_in_first || was_in_first);
            above.take(difference, tied[0], is_in_first || was_in_first);
            was_in_first = false;
        }
    }
    [below, above]
}

/// The chance that the distance over the common denominator reaches `distance`, by the lattice paths from (0, 0) to (n, m).
fn exact_tail(n: usize, m: usize, distance: u64, is_two_sided: bool) -> f64 {
    if distance == 0 {
        return 1.0;
    }
    if n == m {
        return equal_size_tail(n, distance as usize / n, is_two_sided);
    }
    share_of_paths_outside(n as i64, m as i64, distance as i64, is_two_sided)
}

/// The tail for two samples of `n` values whose distribution functions are `steps / n` apart (Gnedenko and Korolyuk 1951).
pub(crate) fn equal_size_tail(n: usize, steps: usize, is_two_sided: bool) -> f64 {
    let reflected = |k: usize| -> f64 {
        let term = |j: usize| (n - k * steps - j) as f64 / (n + k * steps + j + 1) as f64;
        (0..steps).map(term).product()
    };
    if steps == 0 {
        return 1.0;
    }
    if !is_two_sided {
        return reflected(0);
    }
    // Reflections at both boundaries, from the farthest inwards.
    2.0 * (0..n / steps).rev().fold(0.0, |sum, k| reflected(k) * (1.0 - sum))
}

/// Cell by cell, the share of the paths to it that have met the boundary: 1 beyond it, else the mean of the two cells before, weighted by
/// the paths that come from each. Every term is positive, so small tails keep their digits.
fn share_of_paths_outside(n: i64, m: i64, distance: i64, is_two_sided: bool) -> f64 {
    let reciprocals: Vec<f64> = (0..=n + m).map(|steps| 1.0 / steps as f64).collect();
    let mut row = vec![1.0; m as usize + 1];
    for i in 0..=n {
        // Inside are the j with i·m − j·n < distance, and on two sides with j·n − i·m < distance.
        let from = if i * m < distance { 0 } else { (i * m - distance) / n + 1 };
        let to = if is_two_sided { ((i * m + distance - 1) / n).min(m) } else { m };
        for j in from..=to {
            let before = if j > from { row[j as usize - 1] } else { 1.0 };
            let (i, steps) = (i as f64, reciprocals[(i + j) as usize]);
            let at = &mut row[j as usize];
            *at = match (i == 0.0, j == 0) {
                (true, true) => 0.0,
                (true, false) => before,
                (false, true) => *at,
                (false, false) => (i * *at + j as f64 * before) * steps,
            };
        }
    }
    row[m as usize]
}

fn asymptotic_tail(n: f64, m: f64, distance: f64, is_two_sided: bool) -> f64 {
    let effective = n * m / (n + m);
    if is_two_sided {
        return kolmogorov_tail(effective.round_ties_even() as u64, distance);
    }
    let (large, small) = (n.max(m), n.min(m));
    let z = effective.sqrt() * distance;
    let skew = 2.0 * z * (large + 2.0 * small) / (large * small * (large + small)).sqrt() / 3.0;
    (-2.0 * z * z - skew).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sort::sorted;
    use proptest::prelude::*;

    #[test]
    fn identical_samples_have_no_distance_and_nan_is_named() {
        let test = ks_two_sample(&[1.0, 2.0], &[1.0, 2.0]).unwrap();
        assert_eq!((test.statistic, test.p_value), (0.0, 1.0));
        assert!(matches!(
            ks_two_sample(&[1.0], &[0.0, f64::NAN]),
            Err(StatsError::Nan { input: "second", index: 1 })
        ));
        assert!(ks_two_sample(&[], &[1.0]).is_err());
    }

    #[test]
    fn one_against_one_is_no_evidence() {
        assert_eq!(ks_two_sample(&[1.0], &[2.0]).unwrap().p_value, 1.0);
    }

    /// All orders of the values of both samples, and how many of them have at least such a distance.
    fn share_of_orders(n: usize, m: usize, distance: i64, is_two_sided: bool) -> f64 {
        let (mut reached, mut all) = (0.0, 0.0);
        for order in (0_u32..1 << (n + m)).filter(|order| order.count_ones() as usize == n) {
            let (mut i, mut j, mut greatest) = (0, 0, 0);
            for at in 0..n + m {
                if order >> at & 1 == 1 {
                    i += 1
                } else {
                    j += 1
                }
                let apart = i * m as i64 - j * n as i64;
                greatest = greatest.max(if is_two_sided { apart.abs() } else { apart });
            }
            all += 1.0;
            reached += f64::from(u8::from(greatest >= distance));
        }
        reached / all
    }

    #[test]
    fn the_exact_tail_is_the_share_of_all_orders() {
        for (n, m) in [(4, 4), (3, 5), (6, 4), (1, 7), (5, 5), (7, 3)] {
            for distance in 1..=(n * m) as i64 {
                for is_two_sided in [true, false] {
                    if n == m && distance % n as i64 != 0 {
                        continue;
                    }
                    let slow = share_of_orders(n, m, distance, is_two_sided);
                    let ours = exact_tail(n, m, distance as u64, is_two_sided);
                    assert!((ours - slow).abs() < 1e-12, "{n}, {m}, {distance}: {ours} for {slow}");
                    let counted =
                        share_of_paths_outside(n as i64, m as i64, distance, is_two_sided);
                    assert!((counted - slow).abs() < 1e-12, "{n}, {m}, {distance}: {counted}");
                }
            }
        }
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
            prop_assert!(sorted("all", &[as_doubles(&first), as_doubles(&second)].concat()).unwrap().contains(&test.location));
        }
    }
}
