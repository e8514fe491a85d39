//! A host without models, and what most tests begin with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{
    Clock, Health, Host, HostError, Lifecycle, ManualClock, MetricSource, ModelError, Notification,
    Outcome, OutcomeStatus, RequestKey, Route, Router, SinkError, Timestamp, VersionNumber,
    VersionSource,
};
use mlp_rollback::{Change, Deployment, DeploymentConfig, Journal, Share, VersionBundle};
use parking_lot::Mutex;

/// What a version consists of here: nothing is ever called.
pub(crate) type Model = str;

#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) versions: Mutex<BTreeMap<VersionNumber, Lifecycle>>,
    pub(crate) retired: Mutex<Vec<VersionNumber>>,
}

impl FakeHost {
    pub(crate) fn set(&self, version: VersionNumber, lifecycle: Lifecycle) {
        self.versions.lock().insert(version, lifecycle);
    }
}

impl Host<Model> for FakeHost {
    fn prepare(
        &self,
        version: VersionNumber,
        source: VersionSource<Model>,
    ) -> Result<(), HostError> {
        source.build().map_err(|source| HostError::Build { version, source })?;
        self.set(version, Lifecycle::Ready);
        Ok(())
    }

    fn health(&self, version: VersionNumber) -> Health {
        let lifecycle = self.versions.lock().get(&version).copied();
        Health { lifecycle: lifecycle.unwrap_or(Lifecycle::Absent), ..Health::ABSENT }
    }

    fn retire(&self, version: VersionNumber) {
        std::thread::yield_now(); // Letting go takes its time.
        self.versions.lock().remove(&version);
        self.retired.lock().push(version);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pager(pub(crate) Mutex<Vec<Notification>>);

impl mlp_core::AlertSink for Pager {
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError> {
        self.0.lock().push(notification.clone());
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) deployment: Arc<Deployment<Model>>,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) pager: Arc<Pager>,
    pub(crate) sequence: Mutex<u64>,
}

pub(crate) fn config() -> DeploymentConfig {
    DeploymentConfig::default().with_seed(7)
}

pub(crate) fn me() -> Change {
    Change::by("tester").because("a test")
}

pub(crate) fn percent(share: f64) -> Share {
    Share::percent(share).unwrap()
}

pub(crate) fn good() -> VersionSource<Model> {
    VersionSource::shared(Arc::from("a model"))
}

pub(crate) fn broken() -> VersionSource<Model> {
    VersionSource::new(|| Err(ModelError::InvalidInput { reason: "no such file".to_owned() }))
}

impl World {
    pub(crate) fn new(config: DeploymentConfig) -> Self {
        Self::with_journal(config, None)
    }

    pub(crate) fn with_journal(
        config: DeploymentConfig,
        journal: Option<Arc<dyn Journal>>,
    ) -> Self {
        Self::with_metrics(config, journal, Vec::new())
    }

    pub(crate) fn with_metrics(
        config: DeploymentConfig,
        journal: Option<Arc<dyn Journal>>,
        metrics: Vec<Arc<dyn MetricSource>>,
    ) -> Self {
        let clock =
            Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap()));
        let pager = Arc::new(Pager::default());
        let mut builder = Deployment::builder(config)
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .alerts(Arc::clone(&pager) as _);
        if let Some(journal) = journal {
            builder = builder.journal(journal);
        }
        for source in metrics {
            builder = builder.metrics(source);
        }
        let deployment = Arc::new(builder.open().unwrap());
        let host = Arc::new(FakeHost::default());
        deployment.attach(&(Arc::clone(&host) as _));
        Self { deployment, host, clock, pager, sequence: Mutex::new(0) }
    }

    /// Version 1 active, and `others` more registered.
    pub(crate) fn started(config: DeploymentConfig, others: u64) -> Self {
        let world = Self::new(config);
        world.deployment.deploy(world.register(), &me()).unwrap();
        (0..others).for_each(|_| {
            world.register();
        });
        world
    }

    pub(crate) fn register(&self) -> VersionNumber {
        self.deployment.register(VersionBundle::new("model"), good(), &me()).unwrap()
    }

    pub(crate) fn next(&self) -> Route {
        let mut sequence = self.sequence.lock();
        *sequence += 1;
        self.deployment.route(&RequestKey::new(*sequence))
    }

    pub(crate) fn report(&self, route: &Route, status: OutcomeStatus) {
        self.deployment.observe(&Outcome::new(route, status, Duration::from_micros(100)));
    }

    /// Routes requests until `version` got so many, each ending like this.
    pub(crate) fn serve(&self, version: VersionNumber, count: usize, status: OutcomeStatus) {
        let mut seen = 0;
        for _ in 0..count * 1_000 {
            if seen == count {
                return;
            }
            let route = self.next();
            let hit = route.version == version;
            seen += usize::from(hit);
            self.report(&route, if hit { status } else { OutcomeStatus::Answered });
        }
        panic!("{version} got {seen} of {count} requests");
    }

    /// The share of the next requests that this version gets.
    pub(crate) fn share(&self, version: VersionNumber) -> f64 {
        let hits = (0..10_000).filter(|_| self.next().version == version).count();
        hits as f64 / 10_000.0
    }

    pub(crate) fn state(&self, version: VersionNumber) -> mlp_rollback::VersionState {
        self.deployment.status().version(version).unwrap().state
    }
}

pub(crate) const V1: VersionNumber = VersionNumber(1);
pub(crate) const V2: VersionNumber = VersionNumber(2);
pub(crate) const V3: VersionNumber = VersionNumber(3);
pub(crate) const V4: VersionNumber = VersionNumber(4);
