//! Random forests.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, Params, Samples};
use serde::{Deserialize, Serialize};

use super::bins::Resolution;
use super::decision_tree::Growth;
use super::fit::{Plan, Sampling, fit_trees};
use super::model::FittedTrees;
use super::trend::Trend;
use crate::support::{Goal, as_param};

/// How many features a forest tries at each split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Features {
    /// The square root of their number for classes, a third for numbers (Breiman 2001).
    #[default]
    Auto,
    /// The square root of their number.
    Sqrt,
    /// All.
    All,
    /// This share of them, above 0 and at most 1.
    Share(f64),
}

/// The mean of many trees, each grown on rows drawn with replacement and with a few random features at each node (Breiman 2001).
///
/// Tree `k` uses the stream (seed, k) alone: any number of threads gives the same forest, bit for bit. NaN is a missing value, which each
/// split sends to the better side; infinity is refused. A class without rows has probability zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RandomForest {
    /// How many trees, from 1 to 100,000. 100 by default, as in scikit-learn.
    pub trees: usize,
    /// The most questions a tree asks of a row, at least 1. Unbounded by default.
    pub max_depth: Option<usize>,
    /// The fewest rows in a leaf, at least 1.
    pub min_leaf: usize,
    /// How much a split must take off the impurity of its node, times the share of the weight that is there: finite and at least 0
    /// (scikit-learn's `min_impurity_decrease`).
    pub min_gain: f64,
    /// How many rows are drawn for a tree, as a share of all: above 0 and at most 1.
    pub rows: f64,
    /// How many features are tried at each split.
    pub features: Features,
    /// How finely values are told apart.
    pub resolution: Resolution,
    /// Features, by name, that predictions may follow in one direction only; numbers and two classes.
    pub monotone: BTreeMap<String, Trend>,
    /// How many threads grow trees, from 1 to 1,024. One by default, because folds and trials usually run side by side.
    pub threads: usize,
}

impl Default for RandomForest {
    /// 100 trees grown until their leaves are pure, on one thread.
    fn default() -> Self {
        Self {
            trees: 100,
            max_depth: None,
            min_leaf: 1,
            min_gain: 0.0,
            rows: 1.0,
            features: Features::Auto,
            resolution: Resolution::Auto,
            monotone: BTreeMap::new(),
            threads: 1,
        }
    }
}

impl RandomForest {
    /// Sets how many trees there are.
    #[must_use]
    pub fn with_trees(mut self, trees: usize) -> Self {
        self.trees = trees;
        self
    }

    /// Sets the most questions a tree asks of a row.
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

    /// Sets the share of the rows that is drawn for a tree.
    #[must_use]
    pub fn with_rows(mut self, share: f64) -> Self {
        self.rows = share;
        self
    }

    /// Lets predictions follow a feature in one direction only.
    #[must_use]
    pub fn with_monotone(mut self, feature: impl Into<String>, trend: Trend) -> Self {
        self.monotone.insert(feature.into(), trend);
        self
    }

    /// Sets how many features are tried at each split.
    #[must_use]
    pub fn with_features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Sets how finely values are told apart.
    #[must_use]
    pub fn with_resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = resolution;
        self
    }

    /// Sets how many threads grow trees.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Fits, and returns the model with its nodes.
    ///
    /// # Errors
    /// If a setting is out of range, there is no feature or no target, a feature is infinite, there are more than 256 classes, or a
    /// monotone constraint does not suit the data.
    pub fn fit_forest(&self, data: Samples<'_>, seed: u64) -> Result<FittedTrees, FitError> {
        let share = if let Features::Share(share) = self.features { share } else { 1.0 };
        let params = Params::new()
            .with("trees", as_param(self.trees))
            .with("threads", as_param(self.threads))
            .with("rows", self.rows)
            .with("features", share);
        let mut read = params.read("random_forest");
        read.int("trees", 100, 1..=100_000);
        read.int("threads", 1, 1..=1_024);
        read.float("rows", 1.0, f64::MIN_POSITIVE..=1.0);
        read.float("features", 1.0, f64::MIN_POSITIVE..=1.0);
        read.finish()?;
        let n = data.n_features();
        let tried = match (self.features, Goal::of(&data)?) {
            (Features::Auto, Goal::Classes(..)) | (Features::Sqrt, _) => (n as f64).sqrt() as usize,
            (Features::Auto, Goal::Values(_)) => n / 3,
            (Features::All, _) => n,
            (Features::Share(share), _) => (n as f64 * share) as usize,
        };
        let growth =
            Growth { max_depth: self.max_depth, min_leaf: self.min_leaf, min_gain: self.min_gain };
        let plan = Plan {
            n_trees: self.trees,
            threads: self.threads,
            sampling: Sampling::Bootstrap(self.rows),
            resolution: self.resolution,
            rules: growth.rules("random_forest", tried.max(1))?,
            monotone: &self.monotone,
        };
        fit_trees(&data, &plan, seed)
    }
}

impl Estimator for RandomForest {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        Ok(Arc::new(self.fit_forest(data, seed)?))
    }
}
