//! Sequential selection: add the feature that helps most, or drop the one that is missed least, judged by cross-validation.

use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedTransformer, OwnedSamples, Samples, Transformer};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::rule::{TIE, oriented};
use crate::scorer::Scorer;
use crate::selection::{ColumnSelection, with_columns};
use crate::split::{Fold, Split};
use crate::validate::CrossValidation;

/// Whether features are added or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Walk {
    /// Starts with none and adds the one that helps most.
    Forward,
    /// Starts with all and drops the one that is missed least.
    Backward,
}

/// Selects features one at a time by the cross-validated score of what results, as scikit-learn's `SequentialFeatureSelector`.
///
/// Works with any estimator, one without importances too, at the price of a cross-validation for each candidate of each step. Of equally
/// good candidates (within 1e-12) the leftmost is taken.
#[derive(Debug, Clone)]
pub struct SequentialSelection {
    estimator: Arc<dyn Estimator>,
    scorer: Arc<dyn Scorer>,
    split: Arc<dyn Split>,
    walk: Walk,
    keep: usize,
    validation: CrossValidation,
}

/// One step of a sequential selection: which feature, and the mean score with it added or dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequentialStep {
    /// The column added or dropped.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// The mean score over the folds after the step.
    #[serde(with = "mlp_core::exact")]
    pub score: f64,
}

impl SequentialSelection {
    /// Adds features until this many are chosen.
    pub fn new(
        estimator: Arc<dyn Estimator>,
        scorer: impl Scorer + 'static,
        split: impl Split + 'static,
        keep: usize,
    ) -> Self {
        let validation = CrossValidation::default();
        Self {
            estimator,
            scorer: Arc::new(scorer),
            split: Arc::new(split),
            walk: Walk::Forward,
            keep,
            validation,
        }
    }

    /// Drops features until this many are left.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.walk = Walk::Backward;
        self
    }

    /// Sets seed and threads of the validations.
    #[must_use]
    pub fn with_validation(mut self, validation: CrossValidation) -> Self {
        self.validation = validation;
        self
    }

    /// Selects, and tells the steps.
    ///
    /// # Errors
    /// If the number to keep is out of range, a fold fails, or no candidate of a step has a score.
    pub fn select(
        &self,
        data: &Samples<'_>,
    ) -> Result<(ColumnSelection, Vec<SequentialStep>), SelectError> {
        let n = data.n_features();
        if self.keep == 0 || self.keep >= n {
            let allowed =
                format!("from 1 to {}, one less than there are features", n.saturating_sub(1));
            return Err(setting("the number of features to keep", self.keep, allowed));
        }
        // A copy of the chosen rows only, so that folds and features speak of the same matrix.
        let data = data.to_owned_samples();
        let folds = self.split.split(&data.as_samples())?;
        let mut chosen: Vec<usize> = match self.walk {
            Walk::Forward => Vec::new(),
            Walk::Backward => (0..n).collect(),
        };
        let mut steps = Vec::new();
        while chosen.len() != self.keep {
            let step = self.best_step(&data, &folds, &chosen)?;
            chosen = after(self.walk, &chosen, step.column);
            steps.push(step);
        }
        Ok((ColumnSelection::chosen_on(&data.as_samples(), chosen), steps))
    }

    fn best_step(
        &self,
        data: &OwnedSamples,
        folds: &[Fold],
        chosen: &[usize],
    ) -> Result<SequentialStep, SelectError> {
        let candidates: Vec<usize> = match self.walk {
            Walk::Forward => (0..data.as_samples().n_features())
                .filter(|column| !chosen.contains(column))
                .collect(),
            Walk::Backward => chosen.to_vec(),
        };
        let mut best: Option<(usize, f64)> = None;
        for column in candidates {
            let score = self.score(data, folds, &after(self.walk, chosen, column))?;
            let is_better = |(_, other): (usize, f64)| {
                oriented(self.scorer.direction(), score)
                    > oriented(self.scorer.direction(), other) + TIE
            };
            if !score.is_nan() && best.is_none_or(is_better) {
                best = Some((column, score));
            }
        }
        let none = || SelectError::NoScores {
            what: "candidate feature",
            metric: self.scorer.name().to_owned(),
        };
        let (column, score) = best.ok_or_else(none)?;
        Ok(SequentialStep { column, name: data.as_samples().names()[column].clone(), score })
    }

    fn score(
        &self,
        data: &OwnedSamples,
        folds: &[Fold],
        columns: &[usize],
    ) -> Result<f64, SelectError> {
        let chosen = with_columns(data, columns)?;
        let validated = self.validation.run_folds(
            &*self.estimator,
            &chosen.as_samples(),
            folds,
            &[&*self.scorer],
        )?;
        Ok(validated.summary(self.scorer.name()).map_or(f64::NAN, |summary| summary.mean))
    }
}

fn after(walk: Walk, chosen: &[usize], column: usize) -> Vec<usize> {
    let mut after: Vec<usize> = chosen.iter().copied().filter(|&other| other != column).collect();
    if walk == Walk::Forward {
        after.push(column);
        after.sort_unstable();
    }
    after
}

impl Transformer for SequentialSelection {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let (selection, _) = self.select(&data).map_err(FitError::failed)?;
        Ok(Arc::new(selection))
    }
}
