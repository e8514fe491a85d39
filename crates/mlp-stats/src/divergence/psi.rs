//! The population stability index.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;
use crate::sort::{quantile_of_sorted, sorted};
use crate::two_sample::{CountStatistic, count_test};

/// Shares are kept at least this large, so that an empty bin costs much but not everything.
const SMALLEST_SHARE: f64 = 1e-4;

/// Bins between quantiles of a reference sample, with the reference's share in each.
///
/// One outlier cannot widen them, as it does with bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceBins {
    edges: Vec<f64>,
    counts: Vec<u64>,
}

/// What the population stability index says (Lewis 1994, *An Introduction to Credit Scoring*; the symmetric divergence of Jeffreys 1946).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Psi {
    /// The index: the symmetric divergence of the two distributions over the bins. Below 0.1 is commonly called stable.
    pub value: f64,
    /// The chance that two samples of one distribution fall so differently into the bins: of Pearson's χ² for the two rows of counts
    /// ([`count_test`](crate::count_test)), which the index nearly is times a constant. The index itself is far from χ² where bins are
    /// nearly empty: with 30 values in ten bins it would be called significant at 5 % in 41 % of cases. 1 if all values are in one bin.
    pub p_value: f64,
}

impl ReferenceBins {
    /// Cuts the reference into `bins` parts of nearly equal share (ten are usual), at quantiles interpolated linearly; bins include their
    /// lower edge. Equal quantiles make one edge.
    ///
    /// # Errors
    /// If there are fewer than two bins or more than 100,000, or the reference is empty or holds a value that is not finite.
    pub fn new(reference: &[f64], bins: usize) -> Result<Self, StatsError> {
        check::parameter("bins", bins as f64, "from 2 to 100,000", (2..=100_000).contains(&bins))?;
        check::not_empty("psi", reference.len())?;
        check::finite("reference", reference)?;
        let values = sorted("reference", reference)?;
        let mut edges: Vec<f64> =
            (1..bins).map(|i| quantile_of_sorted(&values, i as f64 / bins as f64)).collect();
        edges.dedup();
        let counts = counts_in_bins(&values, &edges);
        Ok(Self { edges, counts })
    }

    /// The index of another sample against the reference. Infinite values fall into the outer bins.
    ///
    /// # Errors
    /// If the sample is empty or holds NaN.
    ///
    /// ```
    /// let reference: Vec<f64> = (0..1000).map(f64::from).collect();
    /// let bins = mlp_stats::ReferenceBins::new(&reference, 10)?;
    /// assert_eq!(bins.psi(&reference)?.value, 0.0);
    /// let shifted: Vec<f64> = reference.iter().map(|value| value + 300.0).collect();
    /// assert!(bins.psi(&shifted)?.value > 0.25);
    /// # Ok::<(), mlp_stats::StatsError>(())
    /// ```
    pub fn psi(&self, sample: &[f64]) -> Result<Psi, StatsError> {
        psi_of_counts(&self.counts, &self.counts_of(sample)?)
    }

    /// How many values of the reference are in each bin.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many values of another sample are in each bin. Infinite values fall into the outer bins.
    ///
    /// # Errors
    /// If the sample is empty or holds NaN.
    pub fn counts_of(&self, sample: &[f64]) -> Result<Vec<u64>, StatsError> {
        check::not_empty("psi", sample.len())?;
        check::no_nan("sample", sample)?;
        Ok(counts_in_bins(sample, &self.edges))
    }
}

/// The population stability index of counts in the same categories. Shares are taken as at least 0.0001.
///
/// # Errors
/// If the lengths differ, or a sample has no counts.
///
/// ```
/// let psi = mlp_stats::psi_of_counts(&[50, 50], &[90, 10])?;
/// assert!((psi.value - 0.4 * (9.0_f64).ln()).abs() < 1e-12 && psi.p_value < 1e-8);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn psi_of_counts(reference: &[u64], current: &[u64]) -> Result<Psi, StatsError> {
    check::same_length("reference", reference.len(), "current", current.len())?;
    let total = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let (of_reference, of_current) = (total(reference), total(current));
    check::not_empty("psi", usize::from(of_reference > 0.0 && of_current > 0.0))?;
    let share = |count: u64, of: f64| (count as f64 / of).max(SMALLEST_SHARE);
    let part = |(&current, &reference): (&u64, &u64)| {
        let (current, reference) = (share(current, of_current), share(reference, of_reference));
        (current - reference) * (current / reference).ln()
    };
    let value: f64 = current.iter().zip(reference).map(part).sum();
    let test = count_test(reference, current, CountStatistic::Pearson);
    Ok(Psi { value, p_value: test.map_or(1.0, |test| test.p_value) })
}

fn counts_in_bins(values: &[f64], edges: &[f64]) -> Vec<u64> {
    let at_least = counts_at_least(values, edges);
    let below = [values.len()].into_iter().chain(at_least.iter().copied());
    let above = at_least.iter().copied().chain([0]);
    below.zip(above).map(|(from, to)| (from - to) as u64).collect()
}

/// How many values are at least each edge.
fn counts_at_least(values: &[f64], edges: &[f64]) -> Vec<usize> {
    let mut counts = vec![0; edges.len()];
    if edges.len() > 32 {
        for value in values {
            counts[..edges.partition_point(|edge| edge <= value)].iter_mut().for_each(|c| *c += 1);
        }
        return counts;
    }
    // Block by block, edge by edge: comparisons without branches, several at a time.
    for block in values.chunks(2_048) {
        for (count, edge) in counts.iter_mut().zip(edges) {
            *count += block.iter().map(|value| u64::from(value >= edge)).sum::<u64>() as usize;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Undefined;

    #[test]
    fn a_constant_reference_has_bins_that_tell_other_values_apart() {
        let bins = ReferenceBins::new(&[2.0; 50], 10).unwrap();
        assert_eq!(bins.psi(&[2.0; 9]).unwrap().value, 0.0);
        assert!(bins.psi(&[1.0; 9]).unwrap().value > 1.0);
        assert!(bins.psi(&[f64::NEG_INFINITY; 9]).unwrap().value > 1.0);
    }

    #[test]
    fn one_outlier_does_not_hide_a_shift() {
        let reference: Vec<f64> = (0..500).map(|i| f64::from(i) / 500.0).collect();
        let mut shifted: Vec<f64> = reference.iter().map(|value| value + 0.5).collect();
        let bins = ReferenceBins::new(&reference, 10).unwrap();
        let before = bins.psi(&shifted).unwrap().value;
        shifted[0] = 1e9;
        assert!((bins.psi(&shifted).unwrap().value - before).abs() < 0.05 * before);
    }

    /// At 5 % about 5 % of samples of the same distribution, however small.
    #[test]
    fn the_p_value_keeps_its_level() {
        let mut state = 3_u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for (n, m) in [(1_000, 1_000), (500, 50), (1_000, 30), (100, 20)] {
            let mut found = 0;
            for _ in 0..2_000 {
                let reference: Vec<f64> = (0..n).map(|_| uniform()).collect();
                let sample: Vec<f64> = (0..m).map(|_| uniform()).collect();
                let psi = ReferenceBins::new(&reference, 10).unwrap().psi(&sample).unwrap();
                found += u32::from(psi.p_value <= 0.05);
            }
            // At most 100 of 2,000 are promised, with a standard deviation of 9.7; where bins are nearly empty it is fewer.
            assert!((20..=140).contains(&found), "{n}, {m}: {found}");
        }
    }

    #[test]
    fn wrong_input_is_an_error() {
        assert!(ReferenceBins::new(&[1.0], usize::MAX).is_err());
        assert!(ReferenceBins::new(&[], 10).is_err());
        assert!(ReferenceBins::new(&[1.0], 1).is_err());
        assert!(ReferenceBins::new(&[1.0, f64::INFINITY], 10).is_err());
        let bins = ReferenceBins::new(&[1.0, 2.0], 2).unwrap();
        assert_eq!(bins.psi(&[]).unwrap_err().undefined_reason(), Some(Undefined::Empty));
        assert!(matches!(bins.psi(&[f64::NAN]), Err(StatsError::Nan { .. })));
    }
}
