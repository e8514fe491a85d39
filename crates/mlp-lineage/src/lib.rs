//! What made a model, in records that can be proved: data, features, code, configuration, environment, seeds, artifacts, training.
//!
//! A [`Record`] says how a model came to be. A [`LineageStore`] keeps records and deployments as a chain in which each entry carries the
//! hash of its content and of the entry before. Two records can be compared field by field ([`diff`]), the chain and the artifacts
//! verified, and the use of a dataset followed to the deployments it reached ([`LineageGraph`]).
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Clock, ModelName, SystemClock};
//! use mlp_lineage::{ArtifactStoreExt, InMemoryArtifactStore, InMemoryLineageStore, LineageStore, LineageStoreExt, Record, capture_code, diff};
//!
//! let (lineage, artifacts, clock) = (InMemoryLineageStore::new(), InMemoryArtifactStore::new(), SystemClock::new());
//! let model: ModelName = "wine".parse()?;
//! let first = Record::new(model.clone(), clock.now())
//!     .with_code(capture_code(".")) // the commit, and what is not committed
//!     .with_parameter("trees", 100)
//!     .with_artifact("model", artifacts.put_bytes(b"weights")?);
//! let second = Record::new(model, clock.now()).with_code(first.code.clone()).with_parameter("trees", 200);
//! lineage.record(first.clone())?;
//! lineage.record(second.clone())?;
//!
//! let changed: Vec<_> = diff(&first, &second).into_iter().map(|change| change.path).collect();
//! assert_eq!(changed, ["artifacts.model.hash", "artifacts.model.size", "configuration.trees"]);
//! assert_eq!(lineage.verify_chain(None)?, None); // nothing was altered
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | what made a model | [`Record`], [`DataSource`], [`FeatureSource`], [`Code`], [`Environment`], [`Artifact`], [`Training`] |
//! | capturing it | [`capture_code`], [`EnvironmentCapture`] |
//! | keeping it | [`LineageStore`], [`LineageStoreExt`], [`InMemoryLineageStore`], [`ChainEntry`], [`Event`], [`Deployment`] |
//! | asking | [`diff`], [`LineageGraph`], [`model_card`] |
//! | proving | [`verify_chain`], [`verify_artifacts`], [`ChainFault`], [`ArtifactReport`] |
//! | artifacts | [`ArtifactStore`], [`ArtifactStoreExt`], [`InMemoryArtifactStore`], `FileArtifactStore` (Unix), [`collect_garbage`] |
//! | versions and aliases | [`ModelRegistry`], [`InMemoryModelRegistry`] |
//!
//! # Features
//!
//! | feature | gives |
//! | --- | --- |
//! | `testing` | `testing`: the contracts of the three traits, executable against any backend |
//!
//! # What it does not do
//!
//! It runs no pipelines and signs nothing: whoever can rewrite the whole chain can forge it, unless the head is kept elsewhere and given to
//! [`verify_chain`]. What is kept in memory ends with the process; `mlp-sqlite` keeps records and registry in a
//! file, and artifacts can be on disk.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod code;
mod environment;
mod record;

mod canonical;
mod chain;
mod memory;
mod store;

mod card;
mod diff;
mod graph;

mod artifact;
#[cfg(unix)]
mod files;
mod garbage;

mod registry;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use artifact::{
    ArtifactInfo, ArtifactReport, ArtifactStore, ArtifactStoreExt, InMemoryArtifactStore,
    verify_artifacts,
};
pub use card::model_card;
pub use chain::{
    ChainEntry, ChainFault, ChainWalk, Deployment, Event, FaultKind, Head, verify_chain,
};
pub use code::{
    Code, GitState, MAX_DIFF_BYTES, MAX_UNTRACKED, MAX_UNTRACKED_BYTES, Tree, capture_code,
};
pub use diff::{Change, Section, diff};
pub use environment::{Environment, EnvironmentCapture};
#[cfg(unix)]
pub use files::FileArtifactStore;
pub use garbage::{GarbageMode, collect_garbage};
pub use graph::{LineageGraph, Node, Parent, links};
pub use memory::InMemoryLineageStore;
pub use record::{Artifact, DataSource, FeatureSource, Record, Training};
pub use registry::{
    Alias, AliasMove, InMemoryModelRegistry, MAX_VERSION_TAGS, ModelRegistry, ModelVersion,
    Protection, StageMove, VersionStage, check_approver, check_stage, check_tag,
};
pub use store::{LineageStore, LineageStoreExt, MAX_ENTRIES_READ};
