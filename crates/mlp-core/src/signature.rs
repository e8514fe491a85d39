//! What a model takes and gives.

use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::model::ModelError;

/// What a model predicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Task {
    /// The probability of each class: one output column a class, in this order.
    Classification {
        /// What the classes are called.
        classes: Vec<String>,
    },
    /// Numbers: one output column each.
    Regression {
        /// What the numbers are called.
        targets: Vec<String>,
    },
}

/// What a model takes (named features, in order) and what it gives (a [`Task`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    features: Vec<String>,
    task: Task,
}

impl Signature {
    /// A model that takes these features and does this task.
    #[must_use]
    pub fn new(features: Vec<String>, task: Task) -> Self {
        Self { features, task }
    }

    /// A classifier: one probability column a class.
    pub fn classifier<F: Into<String>, C: Into<String>>(
        features: impl IntoIterator<Item = F>,
        classes: impl IntoIterator<Item = C>,
    ) -> Self {
        let classes = classes.into_iter().map(Into::into).collect();
        Self::new(features.into_iter().map(Into::into).collect(), Task::Classification { classes })
    }

    /// A regressor of one number.
    pub fn regressor<F: Into<String>>(
        features: impl IntoIterator<Item = F>,
        target: impl Into<String>,
    ) -> Self {
        Self::new(
            features.into_iter().map(Into::into).collect(),
            Task::Regression { targets: vec![target.into()] },
        )
    }

    /// The names of the features, in the order of the columns.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// How many features a row has.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.features.len()
    }

    /// What is predicted.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The names of the classes, if the model is a classifier.
    #[must_use]
    pub fn classes(&self) -> Option<&[String]> {
        match &self.task {
            Task::Classification { classes } => Some(classes),
            Task::Regression { .. } => None,
        }
    }

    /// The names of the output columns: classes or targets.
    #[must_use]
    pub fn outputs(&self) -> &[String] {
        match &self.task {
            Task::Classification { classes } => classes,
            Task::Regression { targets } => targets,
        }
    }

    /// Checks the shapes of a call: `rows` is `n_rows × n_features`, `out` is `n_rows × n_outputs`.
    ///
    /// # Errors
    /// If a shape differs, naming both.
    pub fn check_shapes(
        &self,
        rows: &ArrayView2<'_, f64>,
        out: &ArrayViewMut2<'_, f64>,
    ) -> Result<(), ModelError> {
        if rows.ncols() != self.n_features() {
            return Err(ModelError::FeatureCount {
                expected: self.n_features(),
                given: rows.ncols(),
            });
        }
        let expected = (rows.nrows(), self.outputs().len());
        if out.dim() != expected {
            return Err(ModelError::OutputShape { expected, given: out.dim() });
        }
        Ok(())
    }
}
