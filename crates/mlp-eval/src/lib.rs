//! One place for the scores of experiments and of production: log them, find them again, name the best, put them side by side.
//!
//! An [`Evaluation`] says which model was measured on which data, at which stage, with which parameters, and what came out: scores, and
//! series such as loss curves or the scores of folds. An [`EvalStore`] keeps evaluations; [`InMemoryEvalStore`] is the one without a disk.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Clock, Direction, SystemClock};
//! use mlp_eval::{EvalStoreExt, Filter, InMemoryEvalStore, NewEvaluation, Stage};
//!
//! let (store, clock) = (InMemoryEvalStore::new(), SystemClock::new());
//! for (trees, f1) in [(10, 0.71), (100, f64::NAN), (200, 0.78)] {
//!     let forest = NewEvaluation::new("wine", Stage::CrossValidation, clock.now())
//!         .with_param("trees", trees)
//!         .with_metric("f1", f1);
//!     store.log(forest, clock.now())?;
//! }
//! let best = store.best(&Filter::experiment("wine"), "f1", Direction::Maximize)?.expect("two of three have an f1");
//! assert_eq!(best.metrics.get("f1"), Some(0.78)); // NaN is no score, and never the best one
//! println!("{}", store.compare_all(&Filter::experiment("wine"))?);
//! # Ok::<(), mlp_core::StoreError>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | one evaluation | [`NewEvaluation`], [`Evaluation`], [`Stage`], [`Status`] |
//! | its series | [`SeriesKey`], [`MetricPoint`], [`SeriesSummary`] |
//! | writing while it runs | [`Batch`] |
//! | finding | [`Filter`], [`Field`], [`Query`], [`Order`], [`Page`] |
//! | deciding | [`EvalStoreExt::best`], [`Leaderboard`], [`Comparison`], [`Trend`], [`Gate`] |
//! | keeping and moving | [`Retention`], [`export_json_lines`], [`import_json_lines`], [`export_csv`] |
//! | logging without waiting | [`EvalLogger`] |
//! | storing | [`EvalStore`], [`EvalStoreExt`], [`InMemoryEvalStore`] |
//!
//! # Features
//!
//! | feature | gives |
//! | --- | --- |
//! | `testing` | `testing::check`: the contract of [`EvalStore`], executable against any backend |
//!
//! # What it does not do
//!
//! It computes no score (`mlp-stats` does), and writes no file: what [`InMemoryEvalStore`] keeps ends with the process. `mlp-sqlite` keeps it on
//! disk.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod evaluation;
mod series;

mod batch;
mod store;

mod filter;
mod grammar;
mod query;

mod compare;
mod gate;
mod ranking;
mod retention;
mod transfer;

mod logger;

mod memory;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use batch::{
    Batch, MAX_DEPTH, MAX_KEY_LENGTH, MAX_METRICS, MAX_PARAMS, MAX_TAGS, MAX_VALUE_BYTES,
    check_experiment, same_param,
};
pub use compare::{Comparison, ComparisonRow};
pub use evaluation::{
    Evaluation, Experiment, Lifecycle, NewEvaluation, ParseStageError, Stage, Status,
};
pub use filter::{Field, Filter, MAX_FILTER_DEPTH, MAX_FILTER_TERMS, Operator, Statistic, Value};
pub use gate::{Gate, GateReport, GateRule, RuleOutcome};
pub use grammar::{MAX_FILTER_TEXT, ParseFilterError};
pub use logger::{EvalLogger, LogError, LoggerOptions, WhenFull};
pub use memory::InMemoryEvalStore;
pub use query::{
    Keys, MAX_PAGE, Order, Page, PageToken, Position, Projection, Query, Sorting, View,
};
pub use ranking::{Leaderboard, Standing, Trend, TrendPoint};
pub use retention::{LEGAL_HOLD, PIN, Retention, RetentionPlan, Verdict, hold_of};
pub use series::{MAX_POINTS, MetricPoint, SeriesKey, SeriesSummary};
pub use store::{EvalStore, EvalStoreExt};
pub use transfer::{IMPORTING, Imported, export_csv, export_json_lines, import_json_lines};
