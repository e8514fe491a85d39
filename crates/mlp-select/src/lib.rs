//! Start simple, and keep only the features that earn their place.
//!
//! Cross-validation on folds equal to scikit-learn's, a ladder of models from dummy to forest whose verdict is argued in words, and recursive
//! feature elimination with a log of every decision. Works with any [`Estimator`](mlp_core::Estimator), one's own included.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Samples, Target};
//! use mlp_models::{DecisionTree, DummyClassifier, LogisticRegression};
//! use mlp_select::{CrossValidation, Ladder, Score, StratifiedKFold};
//!
//! let features = ndarray::Array2::from_shape_fn((60, 2), |(i, j)| ((i * 7 + j * 3) % 11) as f64 + (i % 2) as f64 * 4.0);
//! let names = ["a".to_owned(), "b".to_owned()];
//! let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
//! let classes = ["no".to_owned(), "yes".to_owned()];
//! let samples = Samples::new(features.view(), &names, Target::Classes { labels: &labels, names: &classes })?;
//!
//! let report = Ladder::new(Score::RocAuc)
//!     .baseline("most frequent class", DummyClassifier::most_frequent())
//!     .rung("logistic regression", LogisticRegression::default())
//!     .rung("decision tree", DecisionTree::default())
//!     .climb(&samples, &StratifiedKFold::new(5), &CrossValidation::default())?;
//! println!("{report}");
//! assert_eq!(report.chosen().name, "logistic regression");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | parting rows | [`Split`]: [`KFold`], [`StratifiedKFold`], [`GroupKFold`], [`StratifiedGroupKFold`], [`LeaveOneGroupOut`], [`TimeSeriesSplit`], [`ShuffleSplit`], [`RepeatedKFold`] |
//! | scoring | [`Scorer`], [`Score`] |
//! | validating | [`CrossValidation`], [`cross_validate`], [`Validated`], [`Summary`] |
//! | choosing a model | [`Ladder`], [`standard_ladder`], [`Rule`], [`LadderReport`]; [`suspicions`] about the data |
//! | choosing features | [`Rfe`], [`RfeCv`], [`Elimination`], [`ShadowTest`], [`SequentialSelection`], [`SelectFromModel`], [`ColumnSelection`] |
//! | features that need no model | [`MissingFilter`], [`VarianceFilter`], [`CorrelationFilter`], [`SelectKBest`], [`mutual_information`] |
//!
//! # Leakage
//!
//! A selection fitted inside the folds, as a step of a pipeline, cannot leak. One made before remembers the rows it saw: data narrowed by
//! [`ColumnSelection::select_from`] cannot be cross-validated on them, but by name ([`CrossValidation::allowing_selection_leak`]). Rows are known by
//! their values: one that was scaled or filled after the selection is another row, and is not recognised.
//!
//! # What it does not do
//!
//! It defines no estimators (`mlp-models` does) and searches no hyperparameters (`mlp-tune` does).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod error;

mod guard;
mod scorer;
mod split;
mod validate;

mod leak;
mod stratified_group;

mod curve;
mod ladder;
mod permutation;
mod rule;
mod suspicion;

mod filters;
mod from_model;
mod information;
mod rfe;
mod rfecv;
mod selection;
mod sequential;
mod shadow;

pub use curve::{CurvePoint, learning_curve, validation_curve};
pub use error::{FoldError, ScoreError, SelectError};
pub use filters::{
    Association, Correlated, CorrelationFilter, MissingFilter, SelectKBest, Statistic,
    VarianceFilter, anova_f, chi_squared, variances,
};
pub use from_model::{SelectFromModel, Threshold};
pub use information::mutual_information;
pub use ladder::{Kind, Ladder, LadderReport, RungReport, standard_ladder};
pub use permutation::{PermutationImportance, PermutationRanked, permutation_importance};
pub use rfe::{Elimination, EliminationStep, RemovedFeature, Rfe, Step};
pub use rfecv::{RfeCv, RfeCvReport, SizeScores};
pub use rule::{Candidate, Choice, Cost, Rule};
pub use scorer::{Score, Scorer};
pub use selection::ColumnSelection;
pub use sequential::{SequentialSelection, SequentialStep, Walk};
pub use shadow::{ShadowFeature, ShadowReport, ShadowTest, ShadowVerdict};
pub use split::{
    Fold, GroupKFold, KFold, LeaveOneGroupOut, Order, RepeatedKFold, ShuffleSplit, SmallClasses,
    Split, StratifiedKFold, TimeSeriesSplit,
};
pub use stratified_group::StratifiedGroupKFold;
pub use suspicion::{Suspicion, suspicions};
pub use validate::{
    CrossValidation, Failures, FoldResult, Keep, Summary, Validated, cross_validate,
};
