//! A single decision tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, Params, Samples};
use serde::{Deserialize, Serialize};

use super::bins::Resolution;
use super::fit::{Plan, Sampling, fit_trees};
use super::grow::Rules;
use super::model::FittedTrees;
use super::trend::Trend;
use crate::support::as_param;

/// Parts the rows by one feature at a time, for classes (Gini) or numbers (squared error): CART (Breiman et al. 1984), as scikit-learn's
/// `DecisionTreeClassifier` and `DecisionTreeRegressor`.
///
/// Of equally good splits the one on the first feature, and there the lowest threshold, is taken: the tree does not depend on the seed.
/// NaN is a missing value, which each split sends to the better side; infinity is refused. A class without rows has probability zero. Neither side of a
/// split weighs less than 1e-12 of both: beside the other it would be rounding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DecisionTree {
    /// The most questions asked of a row, at least 1. Unbounded by default; memory is bounded by the number of rows.
    pub max_depth: Option<usize>,
    /// The fewest rows in a leaf, at least 1.
    pub min_leaf: usize,
    /// How much a split must take off the impurity of its node, times the share of the weight that is there: finite and at least 0
    /// (scikit-learn's `min_impurity_decrease`).
    pub min_gain: f64,
    /// How finely values are told apart.
    pub resolution: Resolution,
    /// Features, by name, that predictions may follow in one direction only; numbers and two classes.
    pub monotone: BTreeMap<String, Trend>,
}

impl Default for DecisionTree {
    /// Grown until the leaves are pure, as in scikit-learn.
    fn default() -> Self {
        Self {
            max_depth: None,
            min_leaf: 1,
            min_gain: 0.0,
            resolution: Resolution::Auto,
            monotone: BTreeMap::new(),
        }
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

    /// Sets how much a split must gain.
    #[must_use]
    pub fn with_min_gain(mut self, gain: f64) -> Self {
        self.min_gain = gain;
        self
    }

    /// Lets predictions follow a feature in one direction only.
    #[must_use]
    pub fn with_monotone(mut self, feature: impl Into<String>, trend: Trend) -> Self {
        self.monotone.insert(feature.into(), trend);
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
    /// If a setting is out of range, there is no feature or no target, a feature is infinite, there are more than 256 classes, or a
    /// monotone constraint does not suit the data.
    pub fn fit_tree(&self, data: Samples<'_>) -> Result<FittedTrees, FitError> {
        let growth =
            Growth { max_depth: self.max_depth, min_leaf: self.min_leaf, min_gain: self.min_gain };
        let rules = growth.rules("decision_tree", data.n_features())?;
        let plan = Plan {
            n_trees: 1,
            threads: 1,
            sampling: Sampling::All,
            resolution: self.resolution,
            rules,
            monotone: &self.monotone,
        };
        fit_trees(&data, &plan, 0)
    }
}

/// The settings that trees and forests share.
pub(super) struct Growth {
    pub max_depth: Option<usize>,
    pub min_leaf: usize,
    pub min_gain: f64,
}

impl Growth {
    /// The rules for growing, checked.
    pub(super) fn rules(&self, owner: &str, tried_features: usize) -> Result<Rules, FitError> {
        let max_depth = self.max_depth.unwrap_or(usize::MAX);
        let params = Params::new()
            .with("max_depth", as_param(max_depth))
            .with("min_leaf", as_param(self.min_leaf))
            .with("min_gain", self.min_gain);
        let mut read = params.read(owner);
        read.int("max_depth", 1, 1..=i64::MAX);
        read.int("min_leaf", 1, 1..=i64::MAX);
        read.float("min_gain", 0.0, 0.0..=f64::MAX);
        read.finish()?;
        let (min_rows_in_leaf, min_gain) = (self.min_leaf, self.min_gain);
        Ok(Rules { max_depth, min_rows_in_leaf, min_gain, tried_features })
    }
}

impl Estimator for DecisionTree {
    fn fit(&self, data: Samples<'_>, _: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        Ok(Arc::new(self.fit_tree(data)?))
    }
}
