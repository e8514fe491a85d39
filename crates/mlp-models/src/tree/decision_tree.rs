//! A single decision tree.

use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, Params, Samples};
use serde::{Deserialize, Serialize};

use super::bins::Resolution;
use super::fit::{Plan, Sampling, fit_trees};
use super::grow::Rules;
use super::model::FittedTrees;
use crate::support::as_param;

/// Parts the rows by one feature at a time, for classes (Gini) or numbers (squared error): CART (Breiman et al. 1984), as scikit-learn's
/// `DecisionTreeClassifier` and `DecisionTreeRegressor`.
///
/// Of equally good splits the one on the first feature, and there the lowest threshold, is taken: the tree does not depend on the seed.
/// NaN is a missing value, which each split sends to the better side; infinity is refused. A class without rows has probability zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DecisionTree {
    /// The most questions asked of a row, at least 1. Unbounded by default; memory is bounded by the number of rows.
    pub max_depth: Option<usize>,
    /// The fewest rows in a leaf, at least 1.
    pub min_leaf: usize,
    /// How finely values are told apart.
    pub resolution: Resolution,
}

impl Default for DecisionTree {
    /// Grown until the leaves are pure, as in scikit-learn.
    fn default() -> Self {
        Self { max_depth: None, min_leaf: 1, resolution: Resolution::Auto }
    }
}

impl DecisionTree {
    /// Sets the most questions asked of a row.
    #[must_use]
    pub fn with_max_depth(mut self, depth: usize) -> Self {
        self.max_depth = Some(depth);
        self
    }

    /// Sets the fewest rows in a leaf.
    #[must_use]
    pub fn with_min_leaf(mut self, rows: usize) -> Self {
        self.min_leaf = rows;
        self
    }

    /// Sets how finely values are told apart.
    #[must_use]
    pub fn with_resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = resolution;
        self
    }

    /// Fits, and returns the model with its nodes.
    ///
    /// # Errors
    /// If a setting is out of range, there is no feature or no target, a feature is infinite, or there are more than 256 classes.
    pub fn fit_tree(&self, data: Samples<'_>) -> Result<FittedTrees, FitError> {
        let rules = rules("decision_tree", self.max_depth, self.min_leaf, data.n_features())?;
        let plan = Plan {
            n_trees: 1,
            threads: 1,
            sampling: Sampling::All,
            resolution: self.resolution,
            rules,
        };
        fit_trees(&data, &plan, 0)
    }
}

/// The rules for growing, checked.
pub(super) fn rules(
    owner: &str,
    max_depth: Option<usize>,
    min_leaf: usize,
    tried_features: usize,
) -> Result<Rules, FitError> {
    let max_depth = max_depth.unwrap_or(usize::MAX);
    let params =
        Params::new().with("max_depth", as_param(max_depth)).with("min_leaf", as_param(min_leaf));
    let mut read = params.read(owner);
    read.int("max_depth", 1, 1..=i64::MAX);
    read.int("min_leaf", 1, 1..=i64::MAX);
    read.finish()?;
    Ok(Rules { max_depth, min_rows_in_leaf: min_leaf, tried_features })
}

impl Estimator for DecisionTree {
    fn fit(&self, data: Samples<'_>, _: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        Ok(Arc::new(self.fit_tree(data)?))
    }
}
