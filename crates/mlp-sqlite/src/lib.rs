//! The stores of `mlp` in one SQLite file: durable, checked record by record, shared by threads and processes.
//!
//! A [`Database`] is opened once and implements the storage traits of the other crates; nothing has to be installed, SQLite is compiled
//! in. A build that is told to take the system's instead (`LIBSQLITE3_SYS_USE_PKG_CONFIG`) needs at least 3.51.3 there: before, SQLite could damage a
//! file that several processes write. Opening with an older one is refused.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Clock, Direction, SystemClock};
//! use mlp_eval::{EvalStoreExt, Filter, NewEvaluation, Stage};
//! use mlp_sqlite::Database;
//!
//! let folder = tempfile::tempdir().expect("a folder");
//! let (database, clock) = (Database::open(folder.path().join("mlp.db"))?, SystemClock::new());
//! for (trees, f1) in [(10, 0.71), (200, 0.78)] {
//!     let forest = NewEvaluation::new("wine", Stage::CrossValidation, clock.now()).with_param("trees", trees).with_metric("f1", f1);
//!     database.log(forest, clock.now())?; // on the disk when this returns
//! }
//! let best = database.best(&Filter::experiment("wine"), "f1", Direction::Maximize)?.expect("two evaluations");
//! assert_eq!(best.params.get("trees"), Some(&200.into()));
//! assert!(database.verify()?.is_sound());
//! # Ok::<(), mlp_core::StoreError>(())
//! ```
//!
//! # What holds
//!
//! * A write that returned `Ok` survives `kill -9` and a power cut ([`Durability::Full`]): it was synced, in SQLite's write-ahead log. Writes
//!   that wait at the same time are committed and synced as a group, by one thread. The pages of a commit go to the log by one call: a layer
//!   under SQLite gathers them, the one place of the crate with unsafe code, which says why that is safe.
//! * A write is there as a whole or not at all, for every reader.
//! * Readers have connections of their own and wait for nobody. The write-ahead log is copied into the file by a thread of its own whenever
//!   it has grown by 32 MiB and 250 commits, and begun anew if writers pause then. Where they do not, the writer begins it anew between two commits once it has 64
//!   MiB: the next writes wait for one sync of the file (50 to 100 ms on the machine of `benches/README.md`). Large commits copy it from 256 MiB on
//!   however few they are. Readers that never pause are waited for, up to 0.2 s; reads that take longer than that and overlap let the log grow.
//! * Every record carries a checksum of its content, verified when it is read; every table has a count and a digest that
//!   [`Database::verify`] compares, and so does what is derived from the chain of lineage. SQLite alone does not notice a flipped bit. What a
//!   query finds is verified, and so is its place in the order; what a filter passes over, and the edges that walks over the graph of lineage
//!   go by, only `verify` compares.
//! * Pages by start or by the latest value of one metric are read from an index, however many values are equal and whether the filter names an
//!   experiment or not; only what has the same value and the same start is sorted. Every page in any other order reads what its filter matches.
//! * The parameters and tags of an evaluation are one record, and so are the summaries of its series: setting a tag writes all tags of that
//!   evaluation, a point writes the summaries of all its series, and a filter on one of them reads the record that holds it. Of thousands of series, or
//!   megabytes of tags, few large batches are cheaper than many small ones, and what is large and never asked for belongs in a file that a
//!   tag names. Parameters and tags of one evaluation are at most 256 MiB.
//! * Deleting, restoring or purging an experiment is one transaction over all its evaluations: half a second for 20,000 of five metrics each, three
//!   to six seconds for 100,000 (measured), in which every other write waits, here and in other processes. Those give up after their `busy_timeout`.
//! * Several processes may have the file open, and take turns in writing. A file of a newer library, of another program, or on a network file
//!   system is refused, and left as it is.
//! * After an error of the disk the writer's connection is closed, and the next write opens another one. What was not acknowledged is not
//!   read; only if the process dies before its next write may a group whose sync failed be there afterwards, as a whole, since the disk may
//!   have taken it all the same. A full disk is [`StoreError::StorageFull`](mlp_core::StoreError::StorageFull); reads go on.
//!
//! # Features
//!
//! | feature | gives |
//! | --- | --- |
//! | `eval` (default) | [`Database`] implements `mlp_eval::EvalStore` |
//! | `lineage` (default) | [`Database`] implements `mlp_lineage::LineageStore` and `mlp_lineage::ModelRegistry` |
//! | `monitor` (default) | [`Database`] implements `mlp_monitor::AlertStore` |
//!
//! # What it does not do
//!
//! It holds no rules of the domain: what a filter means or which key is allowed is decided by the crate of the trait. It encrypts nothing.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]
#![cfg_attr(
    not(all(feature = "eval", feature = "lineage", feature = "monitor")),
    allow(dead_code, reason = "what the stores share is not used by each of them")
)]

#[cfg(not(unix))]
compile_error!(
    "mlp-sqlite works on Unix only: it tells files apart by their numbers, and takes turns by locks of files"
);

mod cards;
mod checkpoint;
mod checksum;
mod database;
mod error;
mod gather;
mod identity;
mod network;
mod pack;
mod readers;
#[cfg(any(feature = "lineage", feature = "monitor"))]
mod records;
mod room;
mod schema;
mod session;
mod turns;
mod verify;
mod version;
mod writer;

#[cfg(feature = "monitor")]
mod alerts;
#[cfg(feature = "eval")]
mod eval;
#[cfg(feature = "lineage")]
mod lineage;

pub use database::{Database, Durability, Options};
pub use verify::{Finding, Report};
