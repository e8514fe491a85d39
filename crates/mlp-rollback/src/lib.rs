//! Versions of a model in production: blue-green, canary, shadow, A/B, and rollback that can be trusted.
//!
//! A [`Deployment`] decides which version answers each request ([`Router`](mlp_core::Router)) and tells a server which versions to hold
//! ([`Host`](mlp_core::Host)). It never calls a model, so it rolls out anything. It rolls back on evidence that is valid however often it is
//! looked at, instead of a plain threshold: a healthy canary survives, a broken one is gone after a handful of requests.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Outcome, OutcomeStatus, RequestKey, Router, VersionSource};
//! use mlp_rollback::{CanaryPlan, Change, Deployment, DeploymentConfig, Share, VersionBundle};
//! use std::{sync::Arc, time::Duration};
//! # use mlp_core::{Health, Host, HostError, Lifecycle, VersionNumber};
//! # #[derive(Debug)] struct Server;
//! # impl Host<str> for Server {
//! #     fn prepare(&self, _: VersionNumber, _: VersionSource<str>) -> Result<(), HostError> { Ok(()) }
//! #     fn health(&self, _: VersionNumber) -> Health { Health { lifecycle: Lifecycle::Ready, ..Health::ABSENT } }
//! #     fn retire(&self, _: VersionNumber) {}
//! # }
//!
//! let deployment = Deployment::<str>::new(DeploymentConfig::default().with_seed(7))?;
//! let server: Arc<dyn Host<str>> = Arc::new(Server); // serves what the deployment routes: with mlp-serve, `server.host()`
//! deployment.attach(&server);
//! let lead = Change::by("lead");
//! let v1 = deployment.register(VersionBundle::new("forest"), VersionSource::shared(Arc::from("v1")), &lead)?;
//! deployment.deploy(v1, &lead)?;
//! let v2 = deployment.register(VersionBundle::new("boosting"), VersionSource::shared(Arc::from("v2")), &lead)?;
//! deployment.start_canary(v2, CanaryPlan::fixed(Share::percent(20.0)?)?, &lead)?;
//!
//! for request in 0..100 { // the new version fails every time it is asked
//!     let route = deployment.route(&RequestKey::new(request));
//!     let status = if route.version == v2 { OutcomeStatus::Failed } else { OutcomeStatus::Answered };
//!     deployment.observe(&Outcome::new(&route, status, Duration::from_millis(1)));
//! }
//! let story = deployment.latest_post_mortem().expect("it was rolled back");
//! assert_eq!((story.incident.from, story.incident.to), (Some(v2), Some(v1)));
//! assert_eq!(story.incident.causes[0].trigger, "error-rate");
//! # Ok::<(), mlp_rollback::Error>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | deciding and changing | [`Deployment`], [`DeploymentConfig`], [`DeploymentBuilder`], [`Change`], [`Receipt`] |
//! | what is deployed | [`VersionBundle`], [`VersionState`], [`Status`] |
//! | strategies | [`CanaryPlan`], [`Share`], [`Promotion`], [`Flag`], [`Rule`] |
//! | what makes it act | [`Trigger`], [`Condition`], [`Response`], [`Evidence`], [`BusinessMetric`]; [`Analysis`] for Argo's rules, [`CanaryJudge`] for Kayenta's |
//! | looking after it | [`AutoRollback`] |
//! | what happened | [`HistoryEntry`], [`PostMortem`], [`Cause`], [`Journal`], [`FileJournal`] |
//!
//! # What it does not do
//!
//! It does not train, evaluate or call models, and starts no thread unless you start an [`AutoRollback`]. Somebody has to call
//! [`Deployment::tick`] for steps, promotions and retirements; only error and latency triggers act by themselves.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod bundle;
mod change;
mod config;
mod error;
mod plan;
mod share;
mod state;
mod trigger;

mod deployment;
mod flags;

mod analysis;
mod auto;
mod business;
mod history;
mod journal;
mod judge;
mod record;
mod status;

mod counts;
mod draw;
mod evidence;
mod exposure;
mod ledger;
mod sequences;
mod sync;
mod table;

pub use analysis::{Analysis, Measurement, Phase};
pub use auto::{AutoRollback, AutoRollbackOptions};
pub use bundle::VersionBundle;
pub use business::{BusinessMetric, MAX_METRIC_VERSIONS};
pub use change::{Change, MAX_NAME_BYTES, MAX_REASON_BYTES, Receipt};
pub use config::{DeploymentConfig, MAX_TRIGGERS};
pub use deployment::{
    Deployment, DeploymentBuilder, DrillReport, MAX_KEYS, Recovery, ScaleReplicas,
};
pub use error::{Error, Result};
pub use evidence::Evidence;
pub use flags::{Flag, MAX_FLAG_BYTES, MAX_RULES, Rule, bucket, murmur3_32, variant_bucket};
pub use history::{HistoryEntry, PostMortem, history_of};
pub use journal::{
    FileJournal, GENESIS, Journal, JournalContents, JournalLine, MemoryJournal, link, verify,
};
pub use judge::{Bad, CanaryJudge, Classification, Judgement, canary_score};
pub use ledger::{MAX_CHALLENGERS, MAX_PINS, MAX_VERSIONS};
pub use plan::{CanaryPlan, MAX_STEPS, Promotion};
pub use record::{Action, Cause, Intent, Record};
pub use share::Share;
pub use state::VersionState;
pub use status::{CanaryStatus, PendingApproval, Status, VersionStatus};
pub use trigger::{Condition, Response, Trigger};

#[cfg(test)]
mod vector_tests;
