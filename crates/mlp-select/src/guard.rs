//! Foreign code (estimators, models, scorers): its panic is an error of that one call.

use mlp_core::{FitError, FittedModel, ModelError, ModelExt, Samples, catch_panic};
use ndarray::{Array2, ArrayView2};

use crate::error::{FoldError, SelectError};
use crate::scorer::Scorer;

/// What an estimator does.
pub(crate) fn fit<T>(fit: impl FnOnce() -> Result<T, FitError>) -> Result<T, FitError> {
    catch_panic(fit).unwrap_or_else(|panicked| Err(panicked.into()))
}

/// What a model says of its features, one number each.
pub(crate) fn importances(
    features: usize,
    told: impl FnOnce() -> Option<Vec<f64>>,
) -> Result<Vec<f64>, SelectError> {
    let told = fit(|| Ok(told()))?.ok_or(SelectError::NoImportances)?;
    if told.len() == features {
        return Ok(told);
    }
    let reason = format!("it tells {} importances of {features} features", told.len());
    Err(FitError::failed(reason).into())
}

/// What a model predicts.
pub(crate) fn predict(
    model: &dyn FittedModel,
    rows: ArrayView2<'_, f64>,
) -> Result<Array2<f64>, ModelError> {
    catch_panic(|| model.predict(rows)).unwrap_or_else(|panicked| Err(panicked.into()))
}

/// What a scorer says of predictions.
pub(crate) fn score(
    scorer: &dyn Scorer,
    truth: &Samples<'_>,
    predictions: ArrayView2<'_, f64>,
) -> Result<f64, FoldError> {
    catch_panic(|| scorer.score(truth, predictions))
        .unwrap_or_else(|panicked| Err(panicked.into()))
        .map_err(|source| FoldError::Score { metric: scorer.name().to_owned(), source })
}
