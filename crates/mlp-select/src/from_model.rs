//! Selection by one fit: keep the features that matter enough to a model.

use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedTransformer, Samples, Transformer};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::guard;
use crate::selection::ColumnSelection;

/// Keeps the features whose importance to one fitted model reaches a threshold, as scikit-learn's `SelectFromModel`.
///
/// Of a linear model with several functions a feature's importance is the sum of its absolute weights in them, as there; of any other model what
/// the model says.
///
/// One fit instead of one a feature: right where there are too many features to eliminate one by one.
#[derive(Debug, Clone)]
pub struct SelectFromModel {
    estimator: Arc<dyn Estimator>,
    threshold: Threshold,
}

/// How important a feature must be to stay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Threshold {
    /// At least this.
    Value(f64),
    /// At least this many times the mean importance.
    TimesMean(f64),
    /// At least this many times the median importance.
    TimesMedian(f64),
}

impl SelectFromModel {
    /// Keeps the features that are at least as important as the mean.
    pub fn new(estimator: Arc<dyn Estimator>) -> Self {
        Self { estimator, threshold: Threshold::TimesMean(1.0) }
    }

    /// Sets how important a feature must be.
    #[must_use]
    pub fn with_threshold(mut self, threshold: Threshold) -> Self {
        self.threshold = threshold;
        self
    }

    /// Fits once on all features, and selects.
    ///
    /// # Errors
    /// If the threshold is not finite, the fit fails, the estimator tells no importances, or no feature reaches the threshold.
    pub fn select(&self, data: &Samples<'_>, seed: u64) -> Result<ColumnSelection, SelectError> {
        let model = guard::fit(|| self.estimator.fit(data.reborrow(), seed))?;
        let told = || match model.linear_weights() {
            Some(functions) => Some(sums(&functions, data.n_features())),
            None => model.importances(),
        };
        let importances = guard::importances(data.n_features(), told)?;
        if let Some(column) = importances.iter().position(|importance| importance.is_nan()) {
            return Err(SelectError::UndefinedImportance { feature: data.names()[column].clone() });
        }
        let least = self.least(&importances)?;
        let kept: Vec<usize> =
            (0..importances.len()).filter(|&column| importances[column] >= least).collect();
        if kept.is_empty() {
            return Err(SelectError::NothingLeft {
                reason: format!("no feature has an importance of at least {least}"),
            });
        }
        Ok(ColumnSelection::chosen_on(data, kept))
    }

    fn least(&self, importances: &[f64]) -> Result<f64, SelectError> {
        let (factor, unit) = match self.threshold {
            Threshold::Value(value) => (value, 1.0),
            Threshold::TimesMean(factor) => {
                (factor, importances.iter().sum::<f64>() / importances.len() as f64)
            }
            Threshold::TimesMedian(factor) => (factor, median(importances)),
        };
        if factor.is_finite() {
            Ok(factor * unit)
        } else {
            Err(setting("the threshold of importance", factor, "finite"))
        }
    }
}

fn sums(functions: &[Vec<f64>], features: usize) -> Vec<f64> {
    let sum = |feature: usize| functions.iter().map(|weights| weights[feature].abs()).sum();
    (0..features).map(sum).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    }
}

impl Transformer for SelectFromModel {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        Ok(Arc::new(self.select(&data, seed).map_err(FitError::failed)?.forgetting()))
    }
}
