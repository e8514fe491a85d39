//! Predictions of rows by models that have not seen them.

use mlp_core::{Estimator, FitError, ModelExt, Samples, random};
use ndarray::{Array2, Axis, concatenate};

use super::folds::RowFold;

/// What was predicted for the rows that were asked about, fold after fold.
pub(crate) struct HeldOut {
    /// The rows, as indices into the matrix behind the samples; a row is here as often as it was asked about.
    pub(crate) rows: Vec<usize>,
    /// `rows × n_outputs`.
    pub(crate) predictions: Array2<f64>,
}

/// Fits the estimator on the one side of each fold, and predicts the other.
pub(crate) fn held_out(
    estimator: &dyn Estimator,
    data: &Samples<'_>,
    folds: &[RowFold],
    seed: u64,
) -> Result<HeldOut, FitError> {
    let mut rows = Vec::new();
    let mut parts = Vec::with_capacity(folds.len());
    for (number, (train, test)) in folds.iter().enumerate() {
        let seed = seed_of(seed, number as u64 + 1);
        let model = estimator.fit(data.with_rows(train)?, seed)?;
        parts.push(model.predict(data.with_rows(test)?.features().view())?);
        rows.extend_from_slice(test);
    }
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    let predictions = concatenate(Axis(0), &views).map_err(FitError::failed)?;
    Ok(HeldOut { rows, predictions })
}

/// The seed of the k-th part under a seed.
pub(crate) fn seed_of(seed: u64, k: u64) -> u64 {
    random::below(&mut random::stream(seed, k), u64::MAX)
}
