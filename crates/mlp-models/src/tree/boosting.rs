//! Gradient boosting: trees that correct each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, Params, Samples};
use serde::{Deserialize, Serialize};

use super::boosted::FittedBoosting;
use super::leafwise::LeafRules;
use super::rounds::Boost;
use super::trend::Trend;
use crate::support::as_param;

/// The least curvature on either side of a cut, for weights of 1 in the mean: scikit-learn's `min_hessian_to_split`.
const MIN_HESSIAN: f64 = 1e-3;

/// What a cut must gain more than, for weights of 1 in the mean and a loss in its own unit: less is rounding.
pub(super) const MIN_GAIN: f64 = 1e-12;

/// Gradient boosting with histograms (Friedman 2001; Ke et al. 2017): each round adds a tree, grown leaf by leaf, that takes a step down the
/// loss. Log loss for classes, squared error for numbers; the defaults are those of scikit-learn's `HistGradientBoosting`.
///
/// Without early stopping and with all rows and features nothing in it is random. Round `k` draws from the stream (seed, k) alone, and any
/// number of threads gives the same model, bit for bit. NaN is a missing value, which each split sends to the better side; infinity is refused. A class without rows has
/// probability zero. A side of a split has a hessian of at least 1e-3 times the mean weight of the rows, and a split gains more than 1e-12 times that
/// weight, for numbers times the variance of the target: the unit of neither matters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GradientBoosting {
    /// How many rounds, from 1 to 100,000. With more than two classes each round adds a tree per class.
    pub rounds: usize,
    /// How much of each step is taken, above 0 and at most 1.
    pub learning_rate: f64,
    /// The most leaves of a tree, from 2 to 65,536.
    pub max_leaves: usize,
    /// The most questions a tree asks of a row, at least 1. Unbounded by default.
    pub max_depth: Option<usize>,
    /// The fewest rows in a leaf, at least 1.
    pub min_leaf: usize,
    /// The weight of the penalty on the squares of the leaves' values: finite and at least 0.
    pub l2: f64,
    /// How much a split must gain: finite and at least 0. In twice the loss, as LightGBM's `min_gain_to_split`; for numbers in the square of the target's
    /// unit.
    pub min_gain: f64,
    /// How many rows each round is fitted on, drawn without replacement, as a share of all: above 0 and at most 1 (Friedman 2002).
    pub rows: f64,
    /// How many features the trees of each round may ask, as a share of all: above 0 and at most 1.
    pub features: f64,
    /// Features, by name, that predictions may follow in one direction only; numbers and two classes.
    pub monotone: BTreeMap<String, Trend>,
    /// Whether rows are held out to tell when to stop. They are not by default.
    pub early_stopping: Option<EarlyStopping>,
    /// How many threads count, from 1 to 1,024. One by default, because folds and trials usually run side by side.
    pub threads: usize,
}

/// When boosting stops before its last round: the loss on rows that it does not learn from no longer falls. Rounds behind the best one are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EarlyStopping {
    /// The share of the rows that is held out, above 0 and below 1: of each class, or whole groups where rows have groups. Unused where validation
    /// rows are given.
    pub share: f64,
    /// After how many rounds without improvement it stops, at least 1.
    pub patience: usize,
    /// What counts as an improvement: a mean loss lower by more than this, finite and at least 0. For numbers it is in the square of the target's unit.
    pub tolerance: f64,
}

impl Default for EarlyStopping {
    /// A tenth of the rows, ten rounds and 1e-7, as in scikit-learn.
    fn default() -> Self {
        Self { share: 0.1, patience: 10, tolerance: 1e-7 }
    }
}

impl EarlyStopping {
    /// Sets the share of the rows that is held out.
    #[must_use]
    pub fn with_share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Sets after how many rounds without improvement it stops.
    #[must_use]
    pub fn with_patience(mut self, rounds: usize) -> Self {
        self.patience = rounds;
        self
    }

    /// Sets what counts as an improvement.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }
}

impl Default for GradientBoosting {
    /// 100 rounds of a tenth of a step with 31 leaves of at least 20 rows, without a penalty, as in scikit-learn.
    fn default() -> Self {
        Self {
            rounds: 100,
            learning_rate: 0.1,
            max_leaves: 31,
            max_depth: None,
            min_leaf: 20,
            l2: 0.0,
            min_gain: 0.0,
            rows: 1.0,
            features: 1.0,
            monotone: BTreeMap::new(),
            early_stopping: None,
            threads: 1,
        }
    }
}

impl GradientBoosting {
    /// Sets how many rounds there are.
    #[must_use]
    pub fn with_rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Sets how much of each step is taken.
    #[must_use]
    pub fn with_learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Sets the most leaves of a tree.
    #[must_use]
    pub fn with_max_leaves(mut self, leaves: usize) -> Self {
        self.max_leaves = leaves;
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

    /// Sets the weight of the penalty.
    #[must_use]
    pub fn with_l2(mut self, l2: f64) -> Self {
        self.l2 = l2;
        self
    }

    /// Sets how much a split must gain.
    #[must_use]
    pub fn with_min_gain(mut self, gain: f64) -> Self {
        self.min_gain = gain;
        self
    }

    /// Sets the share of the rows that each round is fitted on.
    #[must_use]
    pub fn with_rows(mut self, share: f64) -> Self {
        self.rows = share;
        self
    }

    /// Sets the share of the features that the trees of each round may ask.
    #[must_use]
    pub fn with_features(mut self, share: f64) -> Self {
        self.features = share;
        self
    }

    /// Lets predictions follow a feature in one direction only.
    #[must_use]
    pub fn with_monotone(mut self, feature: impl Into<String>, trend: Trend) -> Self {
        self.monotone.insert(feature.into(), trend);
        self
    }

    /// Stops when the loss on held-out rows no longer falls.
    #[must_use]
    pub fn with_early_stopping(mut self, early: EarlyStopping) -> Self {
        self.early_stopping = Some(early);
        self
    }

    /// Sets how many threads count.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    pub(super) fn rules(&self) -> Result<LeafRules, FitError> {
        let max_depth = self.max_depth.unwrap_or(usize::MAX);
        let early = self.early_stopping.unwrap_or_default();
        let params = Params::new()
            .with("rounds", as_param(self.rounds))
            .with("learning_rate", self.learning_rate)
            .with("max_leaves", as_param(self.max_leaves))
            .with("max_depth", as_param(max_depth))
            .with("min_leaf", as_param(self.min_leaf))
            .with("l2", self.l2)
            .with("min_gain", self.min_gain)
            .with("rows", self.rows)
            .with("features", self.features)
            .with("early_stopping.share", early.share)
            .with("early_stopping.patience", as_param(early.patience))
            .with("early_stopping.tolerance", early.tolerance)
            .with("threads", as_param(self.threads));
        let mut read = params.read("gradient_boosting");
        read.int("rounds", 100, 1..=100_000);
        read.float("learning_rate", 0.1, f64::MIN_POSITIVE..=1.0);
        read.int("max_leaves", 31, 2..=65_536);
        read.int("max_depth", 1, 1..=i64::MAX);
        read.int("min_leaf", 20, 1..=i64::MAX);
        read.float("l2", 0.0, 0.0..=f64::MAX);
        read.float("min_gain", 0.0, 0.0..=f64::MAX);
        read.float("rows", 1.0, f64::MIN_POSITIVE..=1.0);
        read.float("features", 1.0, f64::MIN_POSITIVE..=1.0);
        read.float("early_stopping.share", 0.1, f64::MIN_POSITIVE..=1.0 - f64::EPSILON);
        read.int("early_stopping.patience", 10, 1..=i64::MAX);
        read.float("early_stopping.tolerance", 0.0, 0.0..=f64::MAX);
        read.int("threads", 1, 1..=1_024);
        read.finish()?;
        Ok(LeafRules {
            max_leaves: self.max_leaves,
            max_depth,
            min_leaf: self.min_leaf,
            l2: self.l2,
            min_gain: self.min_gain,
            min_hessian: MIN_HESSIAN,
            learning_rate: self.learning_rate,
            threads: self.threads,
        })
    }

    /// Fits, and returns the model with its trees.
    ///
    /// # Errors
    /// If a setting is out of range, there is no feature, no target or only one class, a feature is infinite, a monotone constraint does not
    /// suit the data, or too few rows are there to hold some out.
    pub fn fit_boosting(&self, data: Samples<'_>, seed: u64) -> Result<FittedBoosting, FitError> {
        Boost::new(self, &data, None, seed)?.run(&data)
    }

    /// Fits, and stops when the loss on these validation rows no longer falls: by [`early_stopping`](Self::early_stopping), or its defaults where
    /// there is none. Rows of a class that the training rows lack do not count.
    ///
    /// # Errors
    /// As [`fit_boosting`](Self::fit_boosting); if the validation rows have other features or classes, or none that counts.
    pub fn fit_validated(
        &self,
        data: Samples<'_>,
        validation: Samples<'_>,
        seed: u64,
    ) -> Result<FittedBoosting, FitError> {
        Boost::new(self, &data, Some(&validation), seed)?.run(&data)
    }
}

impl Estimator for GradientBoosting {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        Ok(Arc::new(self.fit_boosting(data, seed)?))
    }
}
