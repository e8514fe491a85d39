//! The vocabulary of the `mlp` libraries: the traits and nouns that capabilities exchange.
//!
//! Evaluation, lineage, selection, tuning, serving, monitoring and rollback are strangers to each other: none imports another. Where two
//! of them must meet (a server asks which version answers, a study fits models it did not define), they meet in a trait of this crate,
//! and the application wires them. This crate holds those traits, the values they pass, and nothing that does I/O, starts a thread or
//! learns from data.
//!
//! # Examples
//!
//! A model of one's own needs two methods, and every capability can use it:
//!
//! ```
//! use mlp_core::{Model, ModelError, ModelExt, Scratch, Signature};
//! use ndarray::{ArrayView2, ArrayViewMut2, array};
//!
//! /// Says "spam" with a probability that grows with the number of links.
//! #[derive(Debug)]
//! struct LinkRule(Signature);
//!
//! impl Model for LinkRule {
//!     fn predict_into(&self, rows: ArrayView2<'_, f64>, mut out: ArrayViewMut2<'_, f64>, _: &mut Scratch) -> Result<(), ModelError> {
//!         self.0.check_shapes(&rows, &out)?;
//!         for (row, mut probability) in rows.rows().into_iter().zip(out.rows_mut()) {
//!             probability[1] = (row[0] / 8.0).clamp(0.0, 1.0);
//!             probability[0] = 1.0 - probability[1];
//!         }
//!         Ok(())
//!     }
//!     fn signature(&self) -> &Signature { &self.0 }
//! }
//!
//! let rule = LinkRule(Signature::classifier(["links"], ["ham", "spam"]));
//! assert_eq!(rule.predict(array![[6.0], [2.0]].view())?, array![[0.25, 0.75], [0.75, 0.25]]);
//! assert_eq!(rule.predict_classes(array![[6.0], [2.0]].view())?, [1, 0]);
//! # Ok::<(), ModelError>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | data to learn from | [`Samples`], [`Target`], [`Signature`], [`Task`] |
//! | what learns, and what was learnt | [`Estimator`], [`FittedModel`], [`Transformer`], [`FittedTransformer`], [`Model`], [`ModelFamily`] |
//! | configurations | [`Params`], [`ParamValue`], [`SearchSpace`], [`Domain`] |
//! | serving | [`Servable`], [`Router`], [`Route`], [`Outcome`], [`Host`], [`VersionSource`], [`PredictionLog`] |
//! | evidence | [`Metrics`], [`Direction`], [`MetricSource`], [`Signal`], [`Reading`] |
//! | alerts | [`Notification`], [`Alert`], [`Severity`], [`AlertSink`] |
//! | time, randomness, failure | [`Clock`], [`SystemClock`], [`ManualClock`], [`Timestamp`], [`random`], [`StoreError`], [`catch_panic`] |
//! | identity | [`ModelName`], [`VersionNumber`], [`EvaluationId`], [`RecordId`], [`PredictionId`], [`ContentHash`], [`DatasetRef`] |
//!
//! # What it does not do
//!
//! No I/O, no threads, no algorithms: estimators live in `mlp-models`, scores in `mlp-stats`, stores in their capability's crate.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod id;
mod metrics;
mod params;
mod space;

mod columns;
mod samples;
mod signature;

mod estimator;
mod model;
mod saved;
mod scratch;
mod transformer;

mod host;
mod prediction;
mod router;
mod servable;
mod signal;

mod alert;
mod clock;
mod error;
mod nonfinite;
mod panic;
pub mod random;

pub use alert::{Alert, AlertSink, AlertStatus, Labels, Notification, Severity, SinkError};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp, TimestampError};
pub use columns::choose_columns;
pub use error::StoreError;
pub use estimator::{
    Complexity, EliminationPath, EliminationState, Estimator, FitError, FittedModel, ModelFamily,
};
pub use host::{Health, Host, HostError, Lifecycle, VersionSource};
pub use id::{
    ContentHash, DatasetRef, EvaluationId, InvalidId, ModelName, PredictionId, RecordId,
    VersionNumber,
};
pub use metrics::{Direction, Metrics};
pub use model::{Model, ModelError, ModelExt};
pub use nonfinite::exact;
pub use panic::{Panicked, catch_panic};
pub use params::{ParamError, ParamIssue, ParamReader, ParamValue, Params};
pub use prediction::{PredictionLog, PredictionRecord};
pub use router::{MAX_SHADOWS, Outcome, OutcomeStatus, RequestKey, Role, Route, Router};
pub use samples::{OwnedSamples, Samples, SamplesError, Target};
pub use saved::{SaveError, Saved};
pub use scratch::Scratch;
pub use servable::Servable;
pub use signal::{MetricSource, Reading, Signal, SourceError};
pub use signature::{Signature, Task};
pub use space::{Condition, Dimension, Domain, Scale, SearchSpace, SpaceError};
pub use transformer::{FittedTransformer, FittedTransformerExt, Transformer};
