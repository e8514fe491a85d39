//! Who runs a trial, until when, and what became of those that nobody runs.

use std::time::Duration;

use mlp_core::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::{Held, State};
use super::{Study, instance};
use crate::error::TuneError;
use crate::store::{StudyId, TrialEvent};
use crate::trial::{FAILURE, LEASE, TrialRecord, TrialState};
use crate::worker::{self, Liveness};

/// Who runs a trial. Every change of it raises the epoch by one, so that of two that reach for a trial one gets it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Lease {
    /// The process; empty if nobody runs the trial for now.
    worker: String,
    /// Which study of the process it is.
    study: u64,
    epoch: u64,
    /// When others may take the trial, if they cannot tell whether its worker lives: microseconds since 1970.
    until: i64,
    /// How often a process died over it.
    #[serde(default)]
    deaths: u64,
}

/// How often the lease of a trial has changed.
pub(super) fn epoch(trial: &TrialRecord) -> Option<u64> {
    trial.system.get(LEASE)?.get("epoch")?.as_u64()
}

impl Lease {
    fn of(trial: &TrialRecord) -> Option<Self> {
        Self::deserialize(trial.system.get(LEASE)?).ok()
    }

    fn is_free(&self) -> bool {
        self.worker.is_empty()
    }

    /// Whether it belongs to this study. If that does not run the trial, its result could not be written.
    fn is_of(&self, study: &Study) -> bool {
        self.study == study.instance.number() && self.is_of_this_process()
    }

    fn is_of_this_process(&self) -> bool {
        self.worker == worker::process()
    }

    /// Whether its worker is gone: certainly on this machine, by the clock on another one.
    fn has_lapsed(&self, now: Timestamp) -> bool {
        if self.is_of_this_process() {
            return !instance::is_living(self.study);
        }
        match worker::liveness(&self.worker) {
            Liveness::Dead => true,
            Liveness::Alive => false,
            Liveness::Unknown => self.until < now.as_micros(),
        }
    }

    fn into_value(self) -> Value {
        let mut fields = serde_json::Map::new();
        fields.insert("worker".to_owned(), self.worker.into());
        fields.insert("study".to_owned(), self.study.into());
        fields.insert("epoch".to_owned(), self.epoch.into());
        fields.insert("until".to_owned(), self.until.into());
        if self.deaths > 0 {
            fields.insert("deaths".to_owned(), self.deaths.into());
        }
        Value::Object(fields)
    }
}

impl Study {
    /// The first lease of a new trial.
    pub(super) fn first_lease(&self, now: Timestamp) -> Value {
        self.lease(now, 0, 0)
    }

    /// The lease of a trial that is taken from now on.
    pub(super) fn next_lease(&self, trial: &TrialRecord, now: Timestamp) -> Value {
        let lease = Lease::of(trial);
        let (epoch, deaths) = lease.map_or((0, 0), |lease| (lease.epoch + 1, lease.deaths));
        self.lease(now, epoch, deaths)
    }

    fn lease(&self, now: Timestamp, epoch: u64, deaths: u64) -> Value {
        let until = now.after(self.lease.max(Duration::from_secs(1)));
        let worker = worker::process().to_owned();
        let until = until.as_micros();
        Lease { worker, study: self.instance.number(), epoch, until, deaths }.into_value()
    }

    /// Takes over a running trial that nobody runs: its worker is dead, or has let it go. One whose workers died too often fails; the numbers of
    /// such trials are added to `ended`.
    pub(super) fn adopt(
        &self,
        state: &mut State,
        study: StudyId,
        ended: &mut Vec<u64>,
    ) -> Result<Option<u64>, TuneError> {
        let now = self.clock.now();
        let orphans: Vec<(u64, Lease)> = state
            .open
            .iter()
            .filter(|number| !state.mine.contains_key(number) && !state.paused.contains(number))
            .filter_map(|&number| {
                let trial = &state.trials[number as usize];
                let lease = Lease::of(trial).filter(|_| trial.state == TrialState::Running)?;
                let is_orphan = lease.is_free() || lease.is_of(self) || lease.has_lapsed(now);
                is_orphan.then_some((number, lease))
            })
            .collect();
        for (number, lease) in orphans {
            let deaths = lease.deaths + u64::from(!lease.is_free());
            if deaths >= self.attempts {
                let reason = format!("its process died, {deaths} times in all");
                if self.fail(study, number, &reason)? {
                    ended.push(number);
                }
                continue;
            }
            let value = self.lease(now, lease.epoch + 1, deaths);
            if self.write(study, number, TrialEvent::System { name: LEASE.into(), value })? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Whether another process runs a trial, as far as one can tell.
    pub(super) fn runs_elsewhere(&self, state: &State) -> bool {
        let now = self.clock.now();
        let is_elsewhere = |lease: Lease| {
            !lease.is_free() && !lease.is_of_this_process() && !lease.has_lapsed(now)
        };
        state.open.difference(&state.paused).any(|&number| {
            let trial = &state.trials[number as usize];
            let lease = Lease::of(trial).filter(|_| trial.state == TrialState::Running);
            lease.is_some_and(is_elsewhere)
        })
    }

    /// Fails trials of this study that have run for longer than the limit: their objective hangs.
    pub(super) fn fail_overdue(
        &self,
        state: &State,
        study: StudyId,
        ended: &mut Vec<u64>,
    ) -> Result<(), TuneError> {
        let Some(limit) = self.trial_limit else { return Ok(()) };
        let now = self.clock.monotonic();
        for (&number, &Held { started, .. }) in &state.mine {
            if now.saturating_sub(started) > limit && self.fail(study, number, &overdue(limit))? {
                ended.push(number);
            }
        }
        Ok(())
    }

    /// Fails a trial, by whoever runs it.
    pub(super) fn fail(
        &self,
        study: StudyId,
        number: u64,
        reason: &str,
    ) -> Result<bool, TuneError> {
        self.write(
            study,
            number,
            TrialEvent::System { name: FAILURE.into(), value: json!(reason) },
        )?;
        let finished = self.clock.now();
        let event = TrialEvent::Finish { state: TrialState::Failed, values: Vec::new(), finished };
        self.write(study, number, event)
    }

    /// Takes a paused trial up again. A conflict if somebody else was faster.
    pub(super) fn resume(
        &self,
        state: &State,
        study: StudyId,
        number: u64,
    ) -> Result<(), TuneError> {
        let value = self.next_lease(&state.trials[number as usize], self.clock.now());
        Ok(self.store.record(study, number, &TrialEvent::System { name: LEASE.into(), value })?)
    }

    /// Whether this study holds a trial under a later lease than `epoch`: it was let go, and runs here again.
    pub(super) fn holds_anew(&self, trial: &TrialRecord, epoch: Option<u64>) -> bool {
        Lease::of(trial)
            .is_some_and(|lease| lease.is_of(self) && epoch.is_none_or(|epoch| lease.epoch > epoch))
    }

    /// What is written when a trial is let go without a result, to be run again or taken up later.
    pub(super) fn letting_go(trial: &TrialRecord, now: Timestamp, pauses: bool) -> TrialEvent {
        let lease = Lease::of(trial);
        let (epoch, deaths) = lease.map_or((0, 0), |lease| (lease.epoch + 1, lease.deaths));
        let free = Lease { worker: String::new(), study: 0, epoch, until: now.as_micros(), deaths };
        let mut value = free.into_value();
        if pauses {
            value["paused"] = json!(true);
        }
        TrialEvent::System { name: LEASE.into(), value }
    }

    /// The renewed lease of a trial whose lease is half over, and its epoch.
    pub(super) fn renewal(&self, trial: &TrialRecord) -> Option<(u64, TrialEvent)> {
        let lease = Lease::of(trial)?;
        let now = self.clock.now();
        let half = now.after(self.lease.max(Duration::from_secs(1)) / 2);
        (lease.until < half.as_micros()).then(|| {
            let epoch = lease.epoch + 1;
            let value = self.lease(now, epoch, lease.deaths);
            (epoch, TrialEvent::System { name: LEASE.into(), value })
        })
    }
}

/// Why a trial that ran for too long has failed.
pub(super) fn overdue(limit: Duration) -> String {
    format!("it ran for longer than {} s", limit.as_secs_f64())
}
