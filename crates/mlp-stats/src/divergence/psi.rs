//! The population stability index.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;
use crate::sort::{quantile_of_sorted, sorted};
use crate::two_sample::{CountStatistic, count_test};

/// Shares are kept at least this large, so that an empty bin costs much but not everything.
const SMALLEST_SHARE: f64 = 1e-4;
/// The most bins that can be asked for.
const MAX_BINS: usize = 100_000;

/// Bins between quantiles of a reference sample, with the reference's share in each.
///
/// One outlier cannot widen them, as it does with bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ReferenceBins {
    edges: Vec<f64>,
    counts: Vec<u64>,
}

/// What is stored of bins, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    edges: Vec<f64>,
    counts: Vec<u64>,
}

impl TryFrom<Stored> for ReferenceBins {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { edges, counts } = stored;
        check_edges(&edges)?;
        check::same_length("edges and one", edges.len() + 1, "counts", counts.len())?;
        check::not_empty("psi", usize::from(counts.iter().any(|count| *count > 0)))?;
        Ok(Self { edges, counts })
    }
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

impl Psi {
    /// The index over `1/n + 1/m` for samples of `n` and `m` values, which is distributed as χ² with one degree of freedom less than there are
    /// bins when both samples are large (Yurdakul 2018, *Statistical properties of population stability index*).
    ///
    /// It is no test where bins are nearly empty: with ten bins and 1,000 values in the reference, 40 % of 30 unchanged values are called
    /// different at 5 %, 12 % of 50, and 9 % of 100. [`p_value`](Self::p_value), of Pearson's statistic, keeps its level there (4 to 6 %).
    #[must_use]
    pub fn scaled(&self, n: u64, m: u64) -> f64 {
        self.value / (1.0 / n as f64 + 1.0 / m as f64)
    }
}

impl ReferenceBins {
    /// Cuts the reference into `bins` parts of nearly equal share (ten are usual), at quantiles interpolated linearly; bins include their
    /// lower edge. A value that is several quantiles is a bin of its own: 95 % of zeros are told apart from what is above and below them.
    ///
    /// # Errors
    /// If there are fewer than two bins or more than 100,000, or the reference is empty or holds a value that is not finite.
    pub fn new(reference: &[f64], bins: usize) -> Result<Self, StatsError> {
        check::parameter("bins", bins as f64, "from 2 to 100,000", (2..=MAX_BINS).contains(&bins))?;
        check::not_empty("psi", reference.len())?;
        check::finite("reference", reference)?;
        let values = sorted("reference", reference)?;
        let quantiles: Vec<f64> =
            (1..bins).map(|i| quantile_of_sorted(&values, i as f64 / bins as f64)).collect();
        let mut edges = Vec::with_capacity(quantiles.len());
        for tied in quantiles.chunk_by(|a, b| a == b) {
            // -0 and 0 are one value.
            edges.push(tied[0] + 0.0);
            // Above the largest double there is nothing to tell apart.
            let above = (tied[0] + 0.0).next_up();
            if tied.len() > 1 && above.is_finite() {
                edges.push(above);
            }
        }
        edges.dedup();
        let counts = counts_in_bins(&values, &edges);
        Ok(Self { edges, counts })
    }

    /// Cuts at these values, in ascending order: one bin more than edges; bins include their lower edge.
    ///
    /// # Errors
    /// If the edges are not in ascending order, are not finite, or more than 200,000; or the reference is empty or holds NaN.
    pub fn with_edges(reference: &[f64], edges: &[f64]) -> Result<Self, StatsError> {
        check::not_empty("psi", reference.len())?;
        check::no_nan("reference", reference)?;
        check_edges(edges)?;
        Ok(Self { edges: edges.to_vec(), counts: counts_in_bins(reference, edges) })
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

fn check_edges(edges: &[f64]) -> Result<(), StatsError> {
    check::limit("edges", edges.len(), 2 * MAX_BINS)?;
    check::finite("edges", edges)?;
    match edges.windows(2).find(|pair| pair[0] >= pair[1]) {
        None => Ok(()),
        Some(pair) => check::parameter("edges", pair[1], "in ascending order", false),
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

/// The population stability index as Evidently 0.7 has it, to compare with what it says: a share of 0 is taken as 0.0001, or as a millionth of the
/// sample's least share if that is at most 0.0001. One empty category can so weigh more than all others; [`psi_of_counts`] has a floor.
///
/// # Errors
/// As [`psi_of_counts`].
pub fn psi_of_counts_evidently(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    check::same_length("reference", reference.len(), "current", current.len())?;
    let shares = |counts: &[u64]| -> Result<Vec<f64>, StatsError> {
        let total: f64 = counts.iter().map(|&count| count as f64).sum();
        check::not_empty("psi", usize::from(total > 0.0))?;
        let shares = counts.iter().map(|&count| count as f64 / total);
        let least = shares.clone().filter(|share| *share > 0.0).fold(1.0, f64::min);
        let fill = if least <= 0.0001 { least / 1e6 } else { 0.0001 };
        Ok(shares.map(|share| if share == 0.0 { fill } else { share }).collect())
    };
    let (reference, current) = (shares(reference)?, shares(current)?);
    Ok(reference.iter().zip(&current).map(|(r, c)| (r - c) * (r / c).ln()).sum())
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
    fn a_column_of_mostly_zeros_is_told_apart_from_one_with_fewer() {
        let zeros = |share: usize| -> Vec<f64> {
            (0..1_000).map(|i| if i < share { 0.0 } else { i as f64 }).collect()
        };
        for (reference, current) in [(950, 400), (400, 950), (950, 1_000)] {
            let bins = ReferenceBins::new(&zeros(reference), 10).unwrap();
            assert_eq!(bins.psi(&zeros(reference)).unwrap().value, 0.0);
            let moved = bins.psi(&zeros(current)).unwrap();
            assert!(moved.value > 0.1 && moved.p_value < 1e-9, "{reference} {current} {moved:?}");
            // Below zero is a place of its own, too.
            let negative: Vec<f64> = zeros(reference).iter().map(|value| -value).collect();
            assert!(bins.psi(&negative).unwrap().value > 0.1);
        }
    }

    #[test]
    fn stored_bins_are_checked() {
        let reference: Vec<f64> = (0..50).map(f64::from).collect();
        let bins = ReferenceBins::new(&reference, 4).unwrap();
        let text = serde_json::to_string(&bins).unwrap();
        assert_eq!(serde_json::from_str::<ReferenceBins>(&text).unwrap(), bins);
        for wrong in [
            r#"{"edges": [1, 1], "counts": [1, 1, 1]}"#,
            r#"{"edges": [1, 2], "counts": [1, 1]}"#,
            r#"{"edges": [1], "counts": [0, 0]}"#,
            r#"{"edges": [1], "counts": [1, 0], "more": 1}"#,
        ] {
            assert!(serde_json::from_str::<ReferenceBins>(wrong).is_err(), "{wrong}");
        }
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
            let (mut found, mut by_index) = (0, 0);
            for _ in 0..2_000 {
                let reference: Vec<f64> = (0..n).map(|_| uniform()).collect();
                let sample: Vec<f64> = (0..m).map(|_| uniform()).collect();
                let psi = ReferenceBins::new(&reference, 10).unwrap().psi(&sample).unwrap();
                found += u32::from(psi.p_value <= 0.05);
                let scaled = psi.scaled(n, m);
                by_index += u32::from(crate::distribution::chi_squared_tail(scaled, 9.0) <= 0.05);
            }
            if m <= 50 {
                // The control: the index itself, scaled, is far from its level, up to 800 of 2,000.
                assert!(by_index > 200, "{n}, {m}: {by_index}");
            }
            // At most 100 of 2,000 are promised, with a standard deviation of 9.7; where bins are nearly empty it is fewer.
            assert!((20..=140).contains(&found), "{n}, {m}: {found}");
        }
    }

    #[test]
    fn wrong_input_is_an_error() {
        assert!(ReferenceBins::new(&[1.0], usize::MAX).is_err());
        assert!(ReferenceBins::with_edges(&[1.0, 2.0], &[2.0, 1.0]).is_err());
        assert!(ReferenceBins::with_edges(&[1.0, 2.0], &[f64::NAN]).is_err());
        assert_eq!(ReferenceBins::with_edges(&[1.0, 2.0], &[1.5]).unwrap().counts(), [1, 1]);
        assert!(ReferenceBins::new(&[], 10).is_err());
        assert!(ReferenceBins::new(&[1.0], 1).is_err());
        assert!(ReferenceBins::new(&[1.0, f64::INFINITY], 10).is_err());
        let bins = ReferenceBins::new(&[1.0, 2.0], 2).unwrap();
        assert_eq!(bins.psi(&[]).unwrap_err().undefined_reason(), Some(Undefined::Empty));
        assert!(matches!(bins.psi(&[f64::NAN]), Err(StatsError::Nan { .. })));
    }
}
