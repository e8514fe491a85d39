//! What can go wrong in splitting, scoring and selecting.

use mlp_core::{FitError, ModelError, Panicked, SamplesError};
use mlp_stats::StatsError;

/// Selection could not be done: which part, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// A setting is out of its range.
    #[error("{name} is {given}, it must be {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// There are too few rows, groups or members of a class to split.
    #[error("{what}: {given} given, at least {needed} needed")]
    TooFew {
        /// What there is too little of; a class is named.
        what: String,
        /// How many there are.
        given: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The data lack a part that is needed.
    #[error("the data have no {0}")]
    Missing(&'static str),
    /// The data do not fit.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// All rows have the same target: no model can be told from another.
    #[error("the target is constant: nothing can be learnt from these rows")]
    ConstantTarget,
    /// The features were selected on rows that are to be tested.
    #[error(
        "fold {fold} tests {seen} of {tested} rows that the selection of the features saw, so scores would flatter: fit the selection inside the \
         folds, as a step of a pipeline, or say allowing_selection_leak"
    )]
    SelectionLeak {
        /// The first fold that does, from 0.
        fold: usize,
        /// How many of its tested rows were seen.
        seen: usize,
        /// How many rows it tests.
        tested: usize,
    },
    /// A fold failed.
    #[error("fold {fold} failed")]
    Fold {
        /// The fold, from 0.
        fold: usize,
        /// Why.
        #[source]
        cause: FoldError,
    },
    /// A fitted model could not be scored.
    #[error("the model could not be scored")]
    Scoring(#[source] FoldError),
    /// The estimator tells no importances, so there is nothing to rank by.
    #[error("the estimator tells no feature importances")]
    NoImportances,
    /// An importance is not a number, so features cannot be ranked.
    #[error("the importance of feature {feature:?} is not a number")]
    UndefinedImportance {
        /// The feature.
        feature: String,
    },
    /// A filter would drop every feature.
    #[error("no feature is left: {reason}")]
    NothingLeft {
        /// Why.
        reason: String,
    },
    /// Fitting on all rows failed.
    #[error("fitting on all rows failed")]
    Fit(#[from] FitError),
    /// No candidate has a score: there is nothing to choose by.
    #[error("no {what} has a defined {metric}")]
    NoScores {
        /// What was to be compared.
        what: &'static str,
        /// The metric.
        metric: String,
    },
}

/// Why one fold failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The estimator could not learn.
    #[error("the estimator could not learn")]
    Fit(#[from] FitError),
    /// The model could not predict.
    #[error("the model could not predict")]
    Predict(#[from] ModelError),
    /// A score is undefined for these rows.
    #[error("{metric} has no value")]
    Score {
        /// The metric.
        metric: String,
        /// Why not.
        #[source]
        source: ScoreError,
    },
    /// The rows of the fold do not fit the data.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// Other foreign code panicked, such as a model asked for its complexity.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Why a score has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The score is undefined for these predictions.
    #[error(transparent)]
    Undefined(#[from] StatsError),
    /// The data do not have the kind of target that the score compares with.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// There is not a prediction of the kind that the score judges: a probability for each class, or a number.
    #[error("the predictions have {given} columns, {expected} needed")]
    Columns {
        /// How many columns the predictions have.
        given: usize,
        /// How many are needed.
        expected: usize,
    },
    /// All probabilities of a row are NaN.
    #[error("row {row} has no most probable class: its probabilities are NaN")]
    NoClass {
        /// The row of the predictions, from 0.
        row: usize,
    },
    /// The scorer panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The scorer refused for a reason of its own.
    #[error("{0}")]
    Other(String),
}

pub(crate) fn setting(
    name: &'static str,
    given: impl ToString,
    allowed: impl Into<String>,
) -> SelectError {
    SelectError::Setting { name, given: given.to_string(), allowed: allowed.into() }
}
