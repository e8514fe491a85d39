//! The population stability index.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::distribution::chi_squared_tail;
use crate::error::StatsError;
use crate::sort::{quantile_of_sorted, sorted};

/// Shares are kept at least this large, so that an empty bin costs much but not everything.
const SMALLEST_SHARE: f64 = 1e-4;

/// Bins between quantiles of a reference sample, with the reference's share in each.
///
/// One outlier cannot widen them, as it does with bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceBins {
    edges: Vec<f64>,
    shares: Vec<f64>,
    rows: usize,
}

/// What the population stability index says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Psi {
    /// The index: the symmetric divergence of the two distributions over the bins. Below 0.1 is commonly called stable.
    pub value: f64,
    /// The chance of such an index between samples of one distribution: `PSI / (1/n + 1/m)` is nearly chi-squared with one degree of
    /// freedom less than there are bins (Yurdakul 2018, *Statistical properties of population stability index*).
    pub p_value: f64,
}

impl ReferenceBins {
    /// Cuts the reference into `bins` parts of nearly equal share (ten are usual), at quantiles interpolated linearly; bins include their
    /// lower edge. Equal quantiles make one edge.
    ///
    /// # Errors
    /// If there are fewer than two bins, or the reference is empty or holds a value that is not finite.
    pub fn new(reference: &[f64], bins: usize) -> Result<Self, StatsError> {
        check::parameter("bins", bins as f64, "at least 2", bins >= 2)?;
        check::not_empty("psi", reference.len())?;
        check::finite("reference", reference)?;
        let values = sorted("reference", reference)?;
        let mut edges: Vec<f64> =
            (1..bins).map(|i| quantile_of_sorted(&values, i as f64 / bins as f64)).collect();
        edges.dedup();
        let mut bins = Self { edges, shares: Vec::new(), rows: reference.len() };
        bins.shares = bins.shares_of(&values);
        Ok(bins)
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
        check::not_empty("psi", sample.len())?;
        check::no_nan("sample", sample)?;
        let part = |(current, reference): (f64, &f64)| {
            let (current, reference) = (current.max(SMALLEST_SHARE), reference.max(SMALLEST_SHARE));
            (current - reference) * (current / reference).ln()
        };
        let value: f64 = self.shares_of(sample).into_iter().zip(&self.shares).map(part).sum();
        let scale = 1.0 / self.rows as f64 + 1.0 / sample.len() as f64;
        let degrees = self.edges.len() as f64;
        Ok(Psi { value, p_value: chi_squared_tail(value / scale, degrees) })
    }

    fn shares_of(&self, sample: &[f64]) -> Vec<f64> {
        let at_least = counts_at_least(sample, &self.edges);
        let below = [sample.len()].into_iter().chain(at_least.iter().copied());
        let above = at_least.iter().copied().chain([0]);
        below.zip(above).map(|(from, to)| (from - to) as f64 / sample.len() as f64).collect()
    }
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

    #[test]
    fn wrong_input_is_an_error() {
        assert!(ReferenceBins::new(&[], 10).is_err());
        assert!(ReferenceBins::new(&[1.0], 1).is_err());
        assert!(ReferenceBins::new(&[1.0, f64::INFINITY], 10).is_err());
        let bins = ReferenceBins::new(&[1.0, 2.0], 2).unwrap();
        assert_eq!(bins.psi(&[]).unwrap_err().undefined_reason(), Some(Undefined::Empty));
        assert!(matches!(bins.psi(&[f64::NAN]), Err(StatsError::Nan { .. })));
    }
}
