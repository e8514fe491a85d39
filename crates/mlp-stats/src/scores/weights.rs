//! Sample weights, and the sums that use them.

use crate::check;
use crate::error::{StatsError, Undefined};
use crate::sum::Sum;

/// A weight for every row, or one each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weights<'a> {
    Equal,
    Each(&'a [f64]),
}

impl<'a> Weights<'a> {
    /// Weights that are finite, not negative, one for each row.
    pub(crate) fn checked(weights: &'a [f64], rows: usize) -> Result<Self, StatsError> {
        check::same_length("weights", weights.len(), "truth", rows)?;
        check::within("weights", weights, "from 0 to 1e100", |weight| {
            (0.0..=1e100).contains(&weight)
        })?;
        Ok(Self::Each(weights))
    }

    pub(crate) fn of(&self, row: usize) -> f64 {
        match self {
            Self::Equal => 1.0,
            Self::Each(weights) => weights[row],
        }
    }

    /// The weighted mean of a value of each row.
    pub(crate) fn mean(
        &self,
        quantity: &'static str,
        values: impl ExactSizeIterator<Item = f64>,
    ) -> Result<f64, StatsError> {
        let rows = values.len();
        check::not_empty(quantity, rows)?;
        let (mut total, mut weight) = (Sum::default(), rows as f64);
        match self {
            Self::Equal => values.for_each(|value| total.add(value)),
            Self::Each(weights) => {
                values.zip(*weights).for_each(|(value, weight)| total.add(value * weight));
                weight = crate::sum::sum(weights.iter().copied());
                if weight == 0.0 {
                    return Err(StatsError::undefined(quantity, Undefined::ZeroWeight));
                }
            }
        }
        check::result(quantity, total.value() / weight)
    }

    /// The value below which a share of the weight lies; where the share falls between two values, their mean (Hyndman and Fan's second
    /// definition, with weights). Rows without weight do not count.
    pub(crate) fn quantile(
        &self,
        quantity: &'static str,
        values: &[f64],
        share: f64,
    ) -> Result<f64, StatsError> {
        let mut rows: Vec<(f64, f64)> =
            values.iter().enumerate().map(|(row, &value)| (value, self.of(row))).collect();
        rows.retain(|&(_, weight)| weight > 0.0);
        if rows.is_empty() {
            check::not_empty(quantity, values.len())?;
            return Err(StatsError::undefined(quantity, Undefined::ZeroWeight));
        }
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0.0;
        let sums: Vec<f64> = rows
            .iter()
            .map(|row| {
                below += row.1;
                below
            })
            .collect();
        let wanted = share * below;
        let at = sums.partition_point(|&sum| sum < wanted).min(rows.len() - 1);
        let next = rows[(at + 1).min(rows.len() - 1)].0;
        let is_between = sums[at] - wanted <= f64::EPSILON;
        let value = if is_between { rows[at].0 / 2.0 + next / 2.0 } else { rows[at].0 };
        check::result(quantity, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_counts_like_so_many_rows() {
        let weights = [1.0, 0.0, 3.0];
        let weights = Weights::checked(&weights, 3).unwrap();
        let mean = weights.mean("mean", [2.0, 100.0, 4.0].into_iter()).unwrap();
        assert!((mean - (2.0 + 3.0 * 4.0) / 4.0).abs() < 1e-15);
        assert_eq!(weights.quantile("median", &[2.0, 100.0, 4.0], 0.5), Ok(4.0));
        assert_eq!(Weights::Equal.quantile("median", &[3.0, 1.0, 2.0, 9.0], 0.5), Ok(2.5));
    }

    #[test]
    fn weights_that_are_no_weights_are_named() {
        assert!(matches!(
            Weights::checked(&[1.0, -1.0], 2),
            Err(StatsError::OutOfRange { index: 1, .. })
        ));
        assert!(matches!(Weights::checked(&[f64::NAN], 1), Err(StatsError::Nan { .. })));
        assert!(matches!(Weights::checked(&[1.0], 2), Err(StatsError::Length { .. })));
        let nothing = Weights::checked(&[0.0], 1).unwrap().mean("mean", [1.0].into_iter());
        assert_eq!(nothing.unwrap_err().undefined_reason(), Some(Undefined::ZeroWeight));
    }
}
