//! Search spaces, samplers, and studies that resume.
//!
//! A [`Study`] looks for good parameters: it proposes, the objective scores, and every result is durable before the next trial starts. Kill it
//! anywhere and start it again: the trials are the same as if nothing had happened. Its journal is a file in Optuna's own format, so Python
//! workers, `optuna.load_study` and `optuna-dashboard` read and write it too.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Dimension, Direction, SearchSpace};
//! use mlp_tune::{Budget, RandomSampler, Study};
//!
//! let space = SearchSpace::new([
//!     Dimension::log_float("learning_rate", 1e-4, 1.0),
//!     Dimension::int("depth", 1, 8),
//! ])?;
//! let study = Study::new(space, Direction::Maximize).with_sampler(RandomSampler::new()).with_seed(42);
//! study.optimize(
//!     |trial| {
//!         let (rate, depth) = (trial.float("learning_rate")?, trial.int("depth")?);
//!         Ok(-(rate.log10() + 2.0).powi(2) - (depth as f64 - 5.0).powi(2))
//!     },
//!     Budget::trials(20),
//! )?;
//! let best = study.best()?;
//! println!("{:?} with {}", best.value(), best.params);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | a search | [`Study`], [`Trial`], [`Budget`], [`Stopper`], [`Duplicates`], [`TrialRecord`], [`TrialObserver`] |
//! | who proposes | [`Sampler`]: [`TpeSampler`] (the default), [`GpSampler`] for some dozen trials, [`CmaEsSampler`] for many of numbers that interact, [`NsgaSampler`] for several objectives, [`SobolSampler`], [`RandomSampler`], [`GridSampler`], [`BruteForceSampler`] |
//! | several objectives | [`Study::pareto_front`], [`hypervolume`] |
//! | who stops early | [`Pruner`]: [`PercentilePruner`] (median), [`HalvingPruner`], [`HyperbandPruner`], [`WilcoxonPruner`] for folds, [`PatientPruner`], [`ThresholdPruner`]; who pauses and takes up again: [`PromotionPruner`] (ASHA) |
//! | where studies live | [`StudyStore`]: [`MemoryStore`], [`Journal`], [`RetryingStore`] around another |
//! | what was found | [`Study::best`], [`Study::pareto_front`], [`TrialTable`], [`HistoryPoint`], [`SlicePoint`], [`PedAnova`] (importance) |
//!
//! # What an objective can rely on
//!
//! * What goes wrong in it fails its own trial: a panic, an error, NaN. The infinities are scores.
//! * Its trial runs again, under the same number and with the same parameters, when its process died, when it was interrupted, and when a pruner had paused it;
//!   what it put into its [checkpoint folder](Trial::checkpoint_folder) is there.
//! * Parameters are declared in the space, or chosen while it runs with [`Trial::suggest`] and its like. A space may grow between two runs of a study: wider ranges, appended
//!   choices and new parameters; the trials of the smaller space count, except that [`CmaEsSampler`] begins anew when a number is added. (Optuna itself refuses choices that differ from those of earlier trials.)
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `progress` | a progress bar on standard error while a study runs |
//! | `testing` | the contract of [`StudyStore`] as executable checks, for whoever writes a backend |
//!
//! # What it does not do
//!
//! It owns no cluster: workers on several machines share a journal on a common file system. It cannot stop an objective that hangs: it fails the trial
//! ([`Study::with_trial_limit`]), but the thread is lost until the objective returns. It fits no models: the objective does.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod budget;
mod objective;
mod observer;
mod study;
mod trial;

mod history;
mod sampler;

mod pruner;

mod store;

mod axis;
mod crc32;
mod error;
mod hypervolume;
mod importance;
mod linalg;
mod order;
mod pareto;
mod worker;

pub use budget::{Budget, Plateau, StopReason, Stopper};
pub use error::TuneError;
pub use history::History;
pub use hypervolume::hypervolume;
pub use importance::PedAnova;
pub use objective::{Scores, TrialError};
pub use observer::TrialObserver;
pub use pruner::{
    Decision, HalvingPruner, HyperbandPruner, NoPruner, Patience, PatientPruner, PercentilePruner,
    PromotionPruner, PruneRequest, Pruner, ResumeRequest, ThresholdPruner, Verdict, WilcoxonPruner,
};
pub use sampler::brute::BruteForceSampler;
pub use sampler::cma::{CmaEsSampler, CmaEsSettings, Restart};
pub use sampler::gp::{GpSampler, GpSettings};
pub use sampler::grid::GridSampler;
pub use sampler::nsga::{NsgaSampler, NsgaSettings, Variation};
pub use sampler::random::RandomSampler;
pub use sampler::sobol::SobolSampler;
pub use sampler::tpe::{Bandwidth, Branching, TpeSampler, TpeSettings, Weighting};
pub use sampler::{Proposal, Request, Sampler};
pub use store::journal::{Damage, Journal};
pub use store::memory::MemoryStore;
pub use store::retrying::RetryingStore;
#[cfg(any(test, feature = "testing"))]
pub use store::testing;
pub use store::{Changes, StudyId, StudyStore, TrialDraft, TrialEvent};
pub use study::{Duplicates, HistoryPoint, SlicePoint, Study, Summary, Trial, TrialTable};
pub use trial::{TrialRecord, TrialState};
