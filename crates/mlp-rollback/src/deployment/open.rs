//! Opening a deployment: from nothing, or from what a journal remembers.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mlp_core::{AlertSink, Clock, MetricSource, StoreError, SystemClock, VersionNumber};
use parking_lot::{Condvar, Mutex};

use super::breach::AUTOMATIC;
use super::core::Core;
use super::{Deployment, ScaleReplicas};
use crate::change::Change;
use crate::config::DeploymentConfig;
use crate::error::{Error, Result};
use crate::journal::{Journal, Writer, verify};
use crate::ledger::Ledger;
use crate::record::{Action, Intent, Record};
use crate::state::VersionState;
use crate::table::Table;

/// Who repairs the state after a restart.
const RECOVERY: &str = "recovery";

/// What was found in the journal when the deployment was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// How many records were read.
    pub records: u64,
    /// Bytes of an unfinished last record that were ignored.
    pub torn_bytes: u64,
    /// The generation of an interrupted protective change that was finished.
    pub resumed: Option<u64>,
    /// The generation of an interrupted change that was voided.
    pub voided: Option<u64>,
}

/// Collects what a deployment works with. Everything has a default but the configuration.
#[derive(Debug)]
#[must_use]
pub struct DeploymentBuilder<M: ?Sized + 'static> {
    config: DeploymentConfig,
    clock: Arc<dyn Clock>,
    journal: Option<Arc<dyn Journal>>,
    metrics: Vec<Arc<dyn MetricSource>>,
    alerts: Option<Arc<dyn AlertSink>>,
    scaler: Option<Arc<dyn ScaleReplicas>>,
    models: std::marker::PhantomData<fn(&M)>,
}

impl<M: ?Sized + 'static> DeploymentBuilder<M> {
    pub(super) fn new(config: DeploymentConfig) -> Self {
        let clock = Arc::new(SystemClock::new());
        let models = std::marker::PhantomData;
        Self {
            config,
            clock,
            journal: None,
            metrics: Vec::new(),
            alerts: None,
            scaler: None,
            models,
        }
    }

    /// Sets the clock. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Writes every change to a journal, and begins with the state that it remembers. Default: no journal; the state ends with the process.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Adds a source for triggers of accuracy and business metrics; the first that knows a signal answers. Default: none; such triggers hold.
    pub fn metrics(mut self, metrics: Arc<dyn MetricSource>) -> Self {
        self.metrics.push(metrics);
        self
    }

    /// Sets where alerts go. They are delivered by [`Deployment::tick`]; at most 1,024 wait, the oldest is dropped. Default: nowhere.
    pub fn alerts(mut self, alerts: Arc<dyn AlertSink>) -> Self {
        self.alerts = Some(alerts);
        self
    }

    /// Sets whom [`Response::ScaleThenWait`](crate::Response::ScaleThenWait) asks for replicas. Default: nobody.
    pub fn scaler(mut self, scaler: Arc<dyn ScaleReplicas>) -> Self {
        self.scaler = Some(scaler);
        self
    }

    /// Opens the deployment. A change that was interrupted is finished if it took traffic away from a suspect version, and voided
    /// otherwise. What was warm before a restart is remembered as such but not held by the new host: see [`Deployment::restore`].
    ///
    /// # Errors
    /// If the configuration is out of range, or the journal cannot be read, is damaged, or holds a state that contradicts itself.
    pub fn open(self) -> Result<Deployment<M>> {
        self.config.check()?;
        let mut core = Core::new(Ledger::new(self.config.keep_warm));
        let mut recovery = Recovery::default();
        let mut open = None;
        if let Some(journal) = &self.journal {
            let contents = journal.read()?;
            let head = verify(&contents.lines)?;
            recovery.records = contents.lines.len() as u64;
            recovery.torn_bytes = contents.torn_bytes;
            for line in &contents.lines {
                let record = serde_json::from_str(&line.text).map_err(|error| {
                    let what = format!("journal line {}", line.sequence);
                    StoreError::Corrupt { what, reason: error.to_string() }
                })?;
                open = replay(&mut core, open, record, self.config.history_limit)?;
            }
            core.writer = Some(Writer::new(Arc::clone(journal), head, recovery.records));
        }
        let table =
            ArcSwap::from_pointee(Table::build(self.config.seed, &core.ledger, &core.counts));
        let mut deployment = Deployment {
            config: self.config,
            clock: self.clock,
            metrics: self.metrics,
            alerts: self.alerts,
            scaler: self.scaler,
            recovery: Recovery::default(),
            table,
            host: Mutex::new(None),
            core: Mutex::new(core),
            retired: Condvar::new(),
            outbox: Mutex::new(VecDeque::new()),
        };
        deployment.close_open_intent(open, &mut recovery)?;
        deployment.settle()?;
        deployment.recovery = recovery;
        Ok(deployment)
    }
}

/// Applies one record; returns the intent that is open after it.
fn replay<M: ?Sized>(
    core: &mut Core<M>,
    open: Option<Box<Intent>>,
    record: Record,
    limit: usize,
) -> Result<Option<Box<Intent>>> {
    let contradiction = |reason: String| StoreError::Corrupt { what: "journal".to_owned(), reason };
    match record {
        Record::Intent(intent) => {
            core.next_generation = core.next_generation.max(intent.generation + 1);
            Ok(Some(intent))
        }
        Record::Void { .. } => Ok(None),
        Record::Commit { generation } => {
            let Some(intent) = open.filter(|intent| intent.generation == generation) else {
                let reason = format!("generation {generation} is committed without its intent");
                return Err(contradiction(reason).into());
            };
            core.ledger.keep_warm = intent.keep_warm;
            core.ledger.check(&intent.action).map_err(|error| {
                contradiction(format!("generation {generation} cannot be: {error}"))
            })?;
            core.replay_intent(*intent, limit);
            Ok(None)
        }
    }
}

impl<M: ?Sized> Core<M> {
    fn replay_intent(&mut self, intent: Intent, limit: usize) {
        let reason = match intent.causes.first() {
            Some(cause) if intent.reason.is_empty() => cause.to_string(),
            _ => intent.reason.clone(),
        };
        match intent.action {
            Action::Unfreeze => self.cooling_since = None,
            _ if intent.actor == AUTOMATIC && self.ledger.begins_cool_down(&intent.action) => {
                self.cooling_since = Some(intent.at);
            }
            _ => {}
        }
        self.ledger.keep_warm = intent.keep_warm;
        self.ledger.apply(intent.generation, &intent.action, &reason);
        self.note_approvals(&intent);
        self.remember(intent, limit);
    }
}

impl<M: ?Sized + 'static> Deployment<M> {
    fn close_open_intent(&self, open: Option<Box<Intent>>, recovery: &mut Recovery) -> Result<()> {
        let mut core = self.core.lock();
        let Some(intent) = open else {
            core.ledger.keep_warm = self.config.keep_warm;
            self.publish(&mut core);
            return Ok(());
        };
        core.ledger.keep_warm = intent.keep_warm;
        let generation = intent.generation;
        if intent.action.is_protective() && core.ledger.check(&intent.action).is_ok() {
            core.write(&Record::Commit { generation })?;
            core.replay_intent(*intent, self.config.history_limit);
            recovery.resumed = Some(generation);
        } else {
            let reason = "interrupted".to_owned();
            core.write(&Record::Void { generation, reason })?;
            recovery.voided = Some(generation);
        }
        core.ledger.keep_warm = self.config.keep_warm;
        self.publish(&mut core);
        Ok(())
    }

    /// No host holds anything after a restart: what was being warmed is given up, what was draining is gone.
    fn settle(&self) -> Result<()> {
        let mut core = self.core.lock();
        let change = Change::by(RECOVERY).because("interrupted by a restart");
        let states: Vec<_> =
            core.ledger.versions.iter().map(|(v, entry)| (*v, entry.state)).collect();
        for (version, state) in states {
            let action = match state {
                VersionState::Warming => {
                    Action::GiveUp { version, error: "interrupted by a restart".to_owned() }
                }
                VersionState::Draining => Action::Archive { version },
                _ => continue,
            };
            self.commit(&mut core, &change, Vec::new(), action)?;
        }
        core.to_retire.clear();
        // A step begins anew, and so does a cool-down that may still last: a monotonic clock does not outlive its process.
        core.mark.entered = self.clock.monotonic();
        let is_recent = core
            .cooling_since
            .is_some_and(|then| self.clock.now().since(then) < self.config.cool_down());
        core.last_automatic = is_recent.then(|| self.clock.monotonic());
        Ok(())
    }

    /// Prepares on the attached host what the journal says is warm: the active version first, then its predecessors and trials. Call it
    /// after a restart, when the sources are attached. A trial that cannot be prepared is aborted; a predecessor is archived, and a retreat to
    /// it ends.
    ///
    /// # Errors
    /// If there is no host, or the active version has no source or cannot be prepared.
    pub fn restore(&self) -> Result<()> {
        let versions: Vec<_> = {
            let core = self.core.lock();
            let warm = |(version, entry): (&VersionNumber, &crate::ledger::Entry)| {
                entry.state.is_warm().then_some((*version, entry.state))
            };
            core.ledger.versions.iter().filter_map(warm).collect()
        };
        let first = |(_, state): &&(VersionNumber, VersionState)| *state == VersionState::Active;
        let rest = versions.iter().filter(|version| !first(version));
        for &(version, state) in versions.iter().filter(first).chain(rest) {
            let source = self.core.lock().sources.get(&version).cloned();
            let prepared = match source {
                Some(source) => self.prepare(version, source),
                None => Err(Error::NoSource { version }),
            };
            match (prepared, state) {
                (Ok(()), _) => {}
                (Err(error), VersionState::Active) => return Err(error),
                (Err(error), VersionState::Standby) => {
                    let change = Change::by(RECOVERY).because("it cannot be restored");
                    let error = error.to_string();
                    self.simple(&change, Action::GiveUp { version, error })?;
                }
                (Err(error), _) => {
                    let change = Change::by(RECOVERY).because(error.to_string());
                    self.abort(version, &change)?;
                }
            }
        }
        Ok(())
    }
}
