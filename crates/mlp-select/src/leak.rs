//! Which rows a selection saw, so that they are not tested as if it had not.

use std::fmt;

use mlp_core::{OwnedSamples, Samples, SamplesError, Target, choose_columns};
use serde::{Deserialize, Serialize};

use crate::error::SelectError;
use crate::split::Fold;

/// A print of every row that a selection saw: of all its features and its target.
///
/// Features chosen on some rows look better on those rows than on others, and cross-validating them there is the commonest way to fool
/// oneself: of 300 columns of pure noise the ten best predict the labels of the rows they were chosen on with an accuracy of 0.975. So
/// data narrowed by [`ColumnSelection::select_from`](crate::ColumnSelection::select_from) remember which of their rows were seen, and
/// [`CrossValidation`](crate::CrossValidation) refuses to test those. The prints are of the values as they were then: a row whose values a
/// transformer has changed since is not recognised.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RowPrints(Vec<u64>);

impl RowPrints {
    pub(crate) fn of(data: &Samples<'_>) -> Self {
        let mut prints = prints(data);
        prints.sort_unstable();
        prints.dedup();
        Self(prints)
    }

    /// Whether each row of the data is among those that were seen.
    fn seen(&self, data: &Samples<'_>) -> Vec<bool> {
        prints(data).iter().map(|print| self.0.binary_search(print).is_ok()).collect()
    }
}

impl fmt::Debug for RowPrints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowPrints({} rows)", self.0.len())
    }
}

/// A print of each chosen row. Equal values give equal prints; −0 is 0, and every NaN the same.
pub(crate) fn prints(data: &Samples<'_>) -> Vec<u64> {
    let mix = |print: u64, bits: u64| {
        let mixed = (print ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    let bits = |value: f64| if value.is_nan() { u64::MAX } else { (value + 0.0).to_bits() };
    let features = data.features();
    let target: Vec<u64> = match data.target() {
        Target::Classes { .. } => {
            data.classes().map(|(labels, _)| labels.iter().map(|&label| label as u64).collect())
        }
        Target::Values(_) => {
            data.values().map(|values| values.iter().map(|value| bits(*value)).collect())
        }
        _ => Ok(vec![0; data.n_rows()]),
    }
    .unwrap_or_else(|_| vec![0; data.n_rows()]);
    let print = |(row, target): (ndarray::ArrayView1<'_, f64>, u64)| {
        row.iter().fold(mix(0x5bd1_e995, target), |print, value| mix(print, bits(*value)))
    };
    features.rows().into_iter().zip(target).map(print).collect()
}

/// The chosen columns of the data, each row marked if this selection saw it, or an earlier one whose mark the data carry.
pub(crate) fn narrowed(
    data: &Samples<'_>,
    columns: &[usize],
    saw: Option<&RowPrints>,
) -> Result<OwnedSamples, SamplesError> {
    let names = columns.iter().map(|&column| data.names()[column].clone()).collect();
    let features = choose_columns(data.features().view(), columns);
    let chosen = data.to_owned_samples().with_features(features, names)?;
    let Some(saw) = saw else { return Ok(chosen) };
    let mut seen = saw.seen(data);
    if let Some(earlier) = data.seen_by_selection() {
        seen.iter_mut().zip(&*earlier).for_each(|(seen, earlier)| *seen |= earlier);
    }
    chosen.with_seen_by_selection(seen)
}

/// Refuses folds that test rows which the selection of the features saw.
pub(crate) fn check(data: &Samples<'_>, folds: &[Fold]) -> Result<(), SelectError> {
    if data.seen_by_selection().is_none() {
        return Ok(());
    }
    for (fold, rows) in folds.iter().enumerate() {
        let test = data.with_rows(&rows.test)?;
        let seen = test.seen_by_selection().unwrap_or_default();
        let seen = seen.iter().filter(|seen| **seen).count();
        if seen > 0 {
            return Err(SelectError::SelectionLeak { fold, seen, tested: rows.test.len() });
        }
    }
    Ok(())
}
