//! What made a model, in a form that can be proved.
//!
//! A record tells the data, the code, the environment, the configuration and the artifacts behind one model version. Records are immutable, each
//! carries the hash of its content and of the record before, and artifacts are named by the hash of their bytes: [`verify`] finds what was
//! altered or is missing, [`diff`] tells what changed between two models.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{ManualClock, Params, Timestamp};
//! use mlp_lineage::{Artifacts, Code, Description, Environment, InMemoryLineageStore, LineageStore, diff, verify};
//!
//! let folder = tempfile::tempdir()?;
//! let artifacts = Artifacts::open(folder.path())?;
//! let store = InMemoryLineageStore::new(ManualClock::new(Timestamp::UNIX_EPOCH));
//!
//! let describe = |c: f64, bytes: &[u8]| -> Result<Description, Box<dyn std::error::Error>> {
//!     Ok(Description::new("wine", 1 + u64::from(c > 1.0))?
//!         .with_code(Code::capture(folder.path()))
//!         .with_environment(Environment::capture(&[]))
//!         .with_configuration(Params::new().with("c", c))
//!         .with_artifact("model", artifacts.put(bytes)?))
//! };
//! let first = store.append(describe(1.0, b"one")?)?;
//! let second = store.append(describe(10.0, b"two")?)?;
//! let changed: Vec<String> = diff(&first, &second).into_iter().map(|change| change.field).collect();
//! assert_eq!(changed, ["artifacts.model.hash", "configuration.c", "version"]);
//! assert!(verify(&store.records()?, &artifacts).is_sound());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | what made a model | [`Description`], [`Record`], [`Code`], [`Environment`] |
//! | where records are kept | [`LineageStore`], [`InMemoryLineageStore`] |
//! | where bytes are kept | [`Artifacts`], [`ArtifactRef`] |
//! | comparing and proving | [`diff`], [`verify`], [`Verification`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `testing` | [`testing::check`], the contract that every store passes |
//!
//! # What it does not do
//!
//! It schedules no runs, and a hash chain alone does not stop somebody who rewrites all of it: keep the hash of the last record elsewhere.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod code;
mod environment;
mod record;

mod memory;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod artifact;
mod diff;
mod verify;

pub use artifact::{ArtifactRef, Artifacts};
pub use code::{Code, GitState};
pub use diff::{Change, diff};
pub use environment::Environment;
pub use memory::InMemoryLineageStore;
pub use record::{Description, Record};
pub use store::LineageStore;
pub use verify::{Fault, Verification, verify};
