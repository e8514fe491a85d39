//! The deployment: which version serves, and how that changes.

mod breach;
mod commands;
mod core;
mod drill;
mod open;
mod router;
mod start;
mod tick;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use mlp_core::{
    AlertSink, Clock, Host, MetricSource, Notification, VersionNumber, VersionSource, catch_panic,
};
use parking_lot::{Condvar, Mutex};

use self::core::Core;
use crate::config::DeploymentConfig;
use crate::error::Result;
use crate::evidence::Evidence;
use crate::history::{HistoryEntry, PostMortem};
use crate::ledger::Canary;
use crate::share::Share;
use crate::status::{CanaryStatus, Status, VersionStatus};
use crate::table::Table;

pub use self::core::MAX_KEYS;
pub use drill::DrillReport;
pub use open::{DeploymentBuilder, Recovery};

/// Decides which version answers each request, and changes that safely.
///
/// It is a [`Router`](mlp_core::Router) for a server and steers the server as its [`Host`]: it asks the host to prepare and retire
/// versions, and never calls a model itself, so it can roll out anything of any type `M`. Server and deployment refer to each other; the
/// deployment holds its host weakly.
///
/// # What holds at every instant
///
/// * From the first deployment on exactly one version is active. A reader sees the state before a change or after it, never none. Before
///   the first deployment requests are routed to version 0, which no host holds.
/// * Every change makes a new generation. A change that expects another generation than the present one is refused as
///   [`Stale`](crate::Error::Stale). Outcomes of requests routed before a version took its present role are not counted for it.
/// * Nothing happens by itself but what a [`Trigger`](crate::Trigger) says. Error and latency triggers are weighed when an error or a
///   slow request is [observed](mlp_core::Router::observe); everything else in [`tick`](Self::tick).
/// * No traffic, NaN and failing metric sources mean hold: no promotion and no rollback.
/// * After a rollback the previous version serves, warm. Without a healthy target the version serves on, and people are paged.
///
/// # Calls from the host
///
/// The host may call `observe` from the threads that answer requests, but not while it holds a lock that its `health` takes.
/// `prepare` and `retire`, which may wait for such threads, are never called from `observe`.
pub struct Deployment<M: ?Sized + 'static> {
    config: DeploymentConfig,
    clock: Arc<dyn Clock>,
    metrics: Vec<Arc<dyn MetricSource>>,
    alerts: Option<Arc<dyn AlertSink>>,
    scaler: Option<Arc<dyn ScaleReplicas>>,
    recovery: Recovery,
    table: ArcSwap<Table>,
    host: Mutex<Option<Weak<dyn Host<M>>>>,
    core: Mutex<Core<M>>,
    /// Tells those who wait for a version to be let go of by its host.
    retired: Condvar,
    outbox: Mutex<VecDeque<Notification>>,
}

/// Asks the application's platform for more replicas of a version, before people are asked for a rollback.
pub trait ScaleReplicas: fmt::Debug + Send + Sync {
    /// Starts to add replicas; returns without waiting for them.
    fn scale_up(&self, version: VersionNumber);
}

impl<M: ?Sized + 'static> Deployment<M> {
    /// A deployment on the machine's clock, without a journal.
    ///
    /// # Errors
    /// If the configuration is out of range, naming the field.
    pub fn new(config: DeploymentConfig) -> Result<Self> {
        Self::builder(config).open()
    }

    /// A deployment with a clock, a journal, a metric source or alert sinks of one's own.
    pub fn builder(config: DeploymentConfig) -> DeploymentBuilder<M> {
        DeploymentBuilder::new(config)
    }

    /// Tells the deployment who holds the versions. The host is held weakly.
    pub fn attach(&self, host: &Arc<dyn Host<M>>) {
        *self.host.lock() = Some(Arc::downgrade(host));
    }

    /// Tells where a version's replicas come from: needed for versions that a journal remembers.
    ///
    /// # Errors
    /// If the version is not registered.
    pub fn attach_source(&self, version: VersionNumber, source: VersionSource<M>) -> Result<()> {
        let mut core = self.core.lock();
        core.ledger.entry(version)?;
        core.sources.insert(version, source);
        Ok(())
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &DeploymentConfig {
        &self.config
    }

    /// What was found in the journal when the deployment was opened.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The active version; none before the first deployment.
    #[must_use]
    pub fn active(&self) -> Option<VersionNumber> {
        self.core.lock().ledger.active
    }

    /// The generation of the present state.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.table.load().generation
    }

    /// The changes that were made, oldest first; at most [`DeploymentConfig::history_limit`], the journal keeps all.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.core.lock().history.iter().cloned().collect()
    }

    /// The post-mortem of the rollback that made this generation.
    #[must_use]
    pub fn post_mortem(&self, generation: u64) -> Option<PostMortem> {
        PostMortem::new(&self.history(), generation)
    }

    /// The post-mortem of the latest rollback.
    #[must_use]
    pub fn latest_post_mortem(&self) -> Option<PostMortem> {
        let history = self.history();
        let latest = history.iter().rev().find(|entry| entry.is_rollback())?.generation;
        PostMortem::new(&history, latest)
    }

    /// How the deployment stands, read as one.
    #[must_use]
    pub fn status(&self) -> Status {
        let core = self.core.lock();
        let bound = self.config.promotion_error_rate;
        let evidence = |version| core.counts.get(&version).map(|c| Evidence::of(c, bound));
        let is_tripped = |version| core.counts.get(&version).is_some_and(|c| c.is_tripped());
        let canary = core.ledger.canary.as_ref().and_then(|canary| {
            Some(CanaryStatus {
                version: canary.version,
                step: canary.step,
                steps: canary.plan.steps().len(),
                share: if is_tripped(canary.version) { Share::ZERO } else { canary.share() },
                is_paused: canary.paused,
                evidence: evidence(canary.version)?,
            })
        });
        let versions = core.ledger.versions.iter().map(|(&version, entry)| VersionStatus {
            version,
            bundle: entry.bundle.as_ref().clone(),
            state: entry.state,
            share: if is_tripped(version) { Share::ZERO } else { core.share(version) },
            flag: core
                .ledger
                .flags
                .iter()
                .find(|(other, _)| *other == version)
                .map(|(_, flag)| flag.clone()),
            blocked: entry.blocked.clone(),
            evidence: evidence(version),
        });
        Status {
            generation: core.ledger.generation,
            active: core.ledger.active,
            canary,
            standby: core.ledger.standby.clone(),
            versions: versions.collect(),
            approvals: core.approvals.clone(),
            frozen: core.ledger.frozen.clone(),
            journal_failure: core.journal_failure.clone(),
        }
    }

    fn host(&self) -> Option<Arc<dyn Host<M>>> {
        self.host.lock().as_ref().and_then(Weak::upgrade)
    }

    /// Asks the host; a panicking or absent host holds nothing healthy. Never called under the deployment's lock.
    fn is_healthy(&self, version: VersionNumber) -> bool {
        self.host()
            .and_then(|host| catch_panic(|| host.health(version)).ok())
            .is_some_and(|health| health.is_ready())
    }
}

impl<M: ?Sized> Core<M> {
    fn share(&self, version: VersionNumber) -> Share {
        let ledger = &self.ledger;
        let listed = |list: &[(VersionNumber, Share)]| {
            list.iter().find(|(other, _)| *other == version).map(|(_, share)| *share)
        };
        let canary = ledger.canary.as_ref().map_or(Share::ZERO, Canary::share);
        if let Some(canary) = ledger.canary.as_ref().filter(|canary| canary.version == version) {
            return canary.share();
        }
        // A canary stands below, challengers above; what lies between them is the active version's, from below its successor's in a retreat.
        let top = ledger.challengers_share().rest();
        let border = ledger.retreat.map_or(Share::ZERO, |retreat| retreat.keeps.rest());
        if ledger.retreat.is_some_and(|retreat| retreat.to == version) {
            return Share::between(canary, border.min(top));
        }
        if ledger.active == Some(version) {
            return Share::between(canary.max(border), top);
        }
        listed(&ledger.challengers).or_else(|| listed(&ledger.shadows)).unwrap_or_default()
    }
}

impl<M: ?Sized + 'static> fmt::Debug for Deployment<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("name", &self.config.name)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}
