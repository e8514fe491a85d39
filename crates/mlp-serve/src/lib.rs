//! Replicated prediction servers in process: batching, caching, health, drain.
//!
//! What a model server does across a network, done for a Rust application by linking a crate: replicas of a version pull from one bounded
//! queue and take whatever waits as one batch, versions are swapped under load without a failed request, a router splits traffic and
//! shadows see copies, and every request ends exactly once, with an answer or a typed error.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Model, ModelError, Scratch, Signature, VersionNumber, VersionSource};
//! use mlp_serve::{ServeError, Server};
//! use ndarray::{ArrayView2, ArrayViewMut2, Axis};
//! use std::sync::Arc;
//!
//! #[derive(Debug)]
//! struct Sum(Signature);
//!
//! impl Model for Sum {
//!     fn predict_into(&self, rows: ArrayView2<'_, f64>, mut out: ArrayViewMut2<'_, f64>, _: &mut Scratch) -> Result<(), ModelError> {
//!         out.column_mut(0).assign(&rows.sum_axis(Axis(1)));
//!         Ok(())
//!     }
//!     fn signature(&self) -> &Signature { &self.0 }
//! }
//!
//! let model: Arc<dyn Model> = Arc::new(Sum(Signature::regressor(["a", "b"], "sum")));
//! let server = Server::fixed(VersionNumber(1), VersionSource::shared(model))?;
//! let answer = server.predict(vec![1.0, 2.0])?;
//! assert_eq!((answer.output, answer.version), (vec![3.0], VersionNumber(1)));
//!
//! let ticket = server.submit(vec![3.0, 4.0]); // a future, too
//! assert_eq!(ticket.wait()?.output, [7.0]);
//! assert!(matches!(server.predict(vec![1.0]), Err(ServeError::InvalidInput { .. })));
//! # Ok::<(), ServeError>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | serving | [`Server`], [`Request`], [`Answer`], [`Ticket`], [`ServeError`] |
//! | setting up | [`ServerBuilder`], [`ServeOptions`] |
//! | versions | [`Server::swap`], [`Server::roll`], [`Server::scale_to`], [`Server::host`] (an [`mlp_core::Host`] for a deployment), [`mlp_core::Router`] |
//! | remembering answers | [`PredictionCache`], [`QuickCache`] (the default), [`LruCache`] |
//! | several servers | [`Balanced`], [`Balancer`]: [`RoundRobin`], [`LeastOutstanding`], [`PowerOfTwoChoices`], [`ConsistentHashing`] |
//! | watching | [`ServerHealth`], [`Numbers`], [`mlp_core::PredictionLog`] |
//!
//! # How it works
//!
//! * Each version has one queue, bounded in rows, and its replicas pull from it: no replica idles while work waits, and a slow one simply
//!   takes less. A free replica takes what waits, up to `max_batch_rows`, at once.
//! * If a replica is idle and the model known to be cheap, the caller runs the model in its own thread: no hand-over, no batching tax.
//! * A batch that fails or panics is halved until the input to blame is alone; the others are answered. A model that seems to fail on everything is not
//!   asked about each of n inputs: if those at the start fail, and about log₂ n others from all over the rest do too, the whole batch is given the error,
//!   after 4 + 2 log₂ n calls. So where nearly all inputs are bad, a good one among them may fail with them.
//! * A replica that fails again and again is checked on the warm-up inputs beside its work, and built anew if it fails those, after longer and longer pauses
//!   while that does not help; one that panicked is built anew beside itself and exchanged; one that hangs is replaced (`stuck_after`). A version is ready
//!   while a quorum of its replicas is well.
//! * With a `latency_target`, batches hold as many rows as a fit of `cost = a + b · rows` allows, or as trial finds where no line fits.
//! * With a cache, identical inputs under way are computed once, and a failure is shared but never remembered.
//! * A deadline is checked when a request enters, when a batch is formed, and when the answer is there; a late answer is an error. A
//!   request whose ticket was dropped or whose deadline passed in the queue never reaches the model.
//! * Inputs for a shadow are handed on after the primary has answered; a shadow's failures and slowness reach no caller, and no other shadow where inputs
//!   can be copied ([`mlp_core::Servable::clone_input`]).
//! * Every request that reached a version is reported once to the router, before its caller has the answer. A cancelled request is
//!   reported as refused.
//!
//! # What it does not do
//!
//! It speaks no network protocol and owns no process: a stack overflow, running out of memory, or a build with `panic = "abort"` ends the
//! application. A thread that hangs inside a model cannot be killed: with `stuck_after` another one takes its place and nobody waits for it,
//! without it dropping the server does. A replica that is being built or checked when the server is dropped is waited for as long as requests are; the batch
//! that a check is running may take up to `stuck_after` longer, and it runs no other.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod error;
mod options;
mod request;

mod balance;
mod builder;
mod health;
mod numbers;
mod server;
mod ticket;

mod admission;
mod answers;
mod bisect;
mod care;
mod prepare;
mod queue;
mod replicas;
mod roster;
mod shadow;
mod shared;
mod slot;
mod version;
mod worker;

mod cache;
mod cost;
mod flight;
mod gate;
mod identity;
mod ledger;
mod sync;
mod threads;
mod timer;

#[cfg(all(test, mlp_loom))]
mod models;
mod time;

pub use balance::{
    Balanced, Balancer, ConsistentHashing, LeastOutstanding, PowerOfTwoChoices, RoundRobin,
};
pub use builder::ServerBuilder;
pub use cache::{LruCache, PredictionCache, QuickCache, Remembered};
pub use error::ServeError;
pub use health::{ReplicaHealth, ServerHealth, VersionHealth};
pub use numbers::{Distribution, Numbers, Sample, VersionNumbers};
pub use options::{CachePolicy, ServeOptions};
pub use request::{Answer, Priority, Request};
pub use server::{Drained, Server, Settled};
pub use ticket::Ticket;
