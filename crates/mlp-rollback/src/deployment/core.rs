//! What the deployment's lock protects, and the one place where state changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{StoreError, Timestamp, VersionNumber, VersionSource};

use super::Deployment;
use crate::change::{Change, Receipt};
use crate::counts::Counts;
use crate::error::{Error, Result};
use crate::history::HistoryEntry;
use crate::journal::Writer;
use crate::ledger::Ledger;
use crate::record::{Action, Cause, Intent, Record};
use crate::share::Share;
use crate::state::VersionState;
use crate::status::PendingApproval;
use crate::table::Table;
use crate::trigger::Condition;

/// How many idempotency keys are remembered; the oldest is forgotten.
pub const MAX_KEYS: usize = 10_000;

/// The counters when the canary entered its step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StepMark {
    pub(super) entered: Duration,
    pub(super) requests: u64,
    pub(super) canary_errors: u64,
    pub(super) active_errors: u64,
}

/// The canary's share among its requests and those of the active version, and the errors of both.
pub(super) type StepErrors = (f64, u64, u64);

/// What a change that cannot be written down is taken back to.
struct Before {
    ledger: Ledger,
    counts: BTreeMap<VersionNumber, Arc<Counts>>,
    approvals: Vec<PendingApproval>,
    past_steps: Vec<StepErrors>,
    mark: StepMark,
}

pub(super) struct Core<M: ?Sized> {
    pub(super) ledger: Ledger,
    pub(super) writer: Option<Writer>,
    pub(super) journal_failure: Option<String>,
    pub(super) next_generation: u64,
    pub(super) counts: BTreeMap<VersionNumber, Arc<Counts>>,
    pub(super) sources: BTreeMap<VersionNumber, VersionSource<M>>,
    pub(super) history: VecDeque<HistoryEntry>,
    pub(super) keys: VecDeque<(String, Action, Receipt)>,
    pub(super) mark: StepMark,
    /// The steps that are over.
    pub(super) past_steps: Vec<StepErrors>,
    /// When the last automatic change began a cool-down.
    pub(super) last_automatic: Option<Duration>,
    /// When, by the wall clock, the last automatic change of which the journal tells began a cool-down.
    pub(super) cooling_since: Option<Timestamp>,
    pub(super) approvals: Vec<PendingApproval>,
    /// Versions for which more replicas were asked, each with the generation of its role.
    pub(super) scaled: Vec<(VersionNumber, u64)>,
    /// Versions that the host may still hold but nobody needs.
    pub(super) to_retire: Vec<VersionNumber>,
    /// Protective changes that the journal could not take yet.
    pub(super) unwritten: VecDeque<Record>,
    /// For which versions replicas are to be asked, once the lock is free.
    pub(super) to_scale: Vec<VersionNumber>,
    /// Versions whose host said at the last look that they cannot answer.
    pub(super) ill: BTreeSet<VersionNumber>,
    /// Versions that the host is letting go of right now.
    pub(super) retiring: BTreeSet<VersionNumber>,
}

impl<M: ?Sized> Core<M> {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            writer: None,
            journal_failure: None,
            next_generation: 1,
            counts: BTreeMap::new(),
            sources: BTreeMap::new(),
            history: VecDeque::new(),
            keys: VecDeque::new(),
            mark: StepMark::default(),
            past_steps: Vec::new(),
            last_automatic: None,
            cooling_since: None,
            approvals: Vec::new(),
            scaled: Vec::new(),
            to_retire: Vec::new(),
            unwritten: VecDeque::new(),
            to_scale: Vec::new(),
            ill: BTreeSet::new(),
            retiring: BTreeSet::new(),
        }
    }

    /// Writes what could not be written before, and then this.
    pub(super) fn write(&mut self, record: &Record) -> Result<()> {
        self.write_unwritten()?;
        self.write_one(record)?;
        self.journal_failure = None;
        Ok(())
    }

    fn write_unwritten(&mut self) -> Result<()> {
        while let Some(earlier) = self.unwritten.pop_front() {
            if let Err(error) = self.write_one(&earlier) {
                self.note_journal_failure(&error);
                self.unwritten.push_front(earlier);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Everything waits behind a record that is still to be written, also behind one that was not begun.
    fn note_journal_failure(&mut self, error: &Error) {
        let reason = std::error::Error::source(error).map(ToString::to_string);
        self.journal_failure.get_or_insert_with(|| reason.unwrap_or_else(|| error.to_string()));
    }

    fn write_one(&mut self, record: &Record) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = writer.append(record);
        // A record that is too long, or could not be read back, was not begun: the journal is as good as before.
        let was_begun = |error: &&StoreError| {
            !matches!(error, StoreError::LimitExceeded { .. } | StoreError::Invalid { .. })
        };
        if let Some(error) = written.as_ref().err().filter(was_begun) {
            self.journal_failure.get_or_insert(error.to_string());
        }
        Ok(written?)
    }

    /// What waits for approval after a change: an alert with causes asks for one, a new role or a dismissal ends it.
    pub(super) fn note_approvals(&mut self, intent: &Intent) {
        let ledger = &self.ledger;
        self.approvals.retain(|approval| {
            ledger.entry(approval.version).is_ok_and(|entry| entry.since == approval.since)
        });
        match intent.action {
            Action::Alert { version } if !intent.causes.is_empty() => {
                let Ok(since) = self.ledger.entry(version).map(|entry| entry.since) else { return };
                let waiting = self.approvals.iter_mut().find(|waiting| waiting.version == version);
                match waiting {
                    // Of each trigger the latest: what goes on is reported again and again.
                    Some(waiting) => intent.causes.iter().for_each(|cause| {
                        waiting.causes.retain(|known| known.trigger != cause.trigger);
                        waiting.causes.push(cause.clone());
                    }),
                    None => {
                        let causes = intent.causes.clone();
                        self.approvals.push(PendingApproval { version, since, causes });
                    }
                }
            }
            Action::Dismiss { version } => {
                self.approvals.retain(|approval| approval.version != version);
            }
            _ => {}
        }
    }

    /// The receipt of an earlier change under the same key.
    pub(super) fn repeated(&mut self, change: &Change, action: &Action) -> Result<Option<Receipt>> {
        let made = self.made_before(change, |known| asks_the_same(known, action))?;
        Ok(made.map(|(_, receipt)| receipt))
    }

    /// An earlier change under the same key, if it is one of these. One that is not written down yet is first: who asks again was told that a
    /// restart would not remember it.
    pub(super) fn made_before(
        &mut self,
        change: &Change,
        is_it: impl Fn(&Action) -> bool,
    ) -> Result<Option<(Action, Receipt)>> {
        let Some(key) = &change.idempotency_key else { return Ok(None) };
        let Some((_, action, receipt)) = self.keys.iter().find(|(known, ..)| known == key) else {
            return Ok(None);
        };
        if !is_it(action) {
            return Err(Error::KeyReused { key: key.clone() });
        }
        let made = (action.clone(), *receipt);
        let is_unwritten = |record: &Record| matches!(record, Record::Intent(intent) if intent.generation == made.1.generation);
        if self.unwritten.iter().any(is_unwritten) {
            self.write_unwritten()?;
            self.journal_failure = None;
        }
        Ok(Some(made))
    }

    pub(super) fn check_generation(&self, change: &Change) -> Result<()> {
        let current = self.ledger.generation;
        match change.expected_generation {
            Some(expected) if expected != current => Err(Error::Stale { expected, current }),
            _ => Ok(()),
        }
    }

    pub(super) fn remember(&mut self, intent: Intent, limit: usize) -> Receipt {
        let receipt = Receipt {
            generation: intent.generation,
            active_before: intent.active_before,
            active: self.ledger.active,
        };
        if let Some(key) = intent.idempotency_key.clone() {
            self.keys.push_back((key, intent.action.clone(), receipt));
            if self.keys.len() > MAX_KEYS {
                self.keys.pop_front();
            }
        }
        self.history.push_back(HistoryEntry::new(intent));
        if self.history.len() > limit {
            self.history.pop_front();
        }
        receipt
    }

    /// Fresh counters for whoever took a new role, none for who has none.
    pub(super) fn refresh_counts(&mut self, times: Option<f64>) {
        // The counters still are those before the change: the active version of then is the baseline.
        let active = self.counts.values().find(|counts| counts.of_active);
        let baseline = active
            .and_then(|counts| counts.p99())
            .and_then(|p99| times.map(|times| p99.mul_f64(times)));
        let mut counts = BTreeMap::new();
        let target = self.ledger.retreat.map(|retreat| retreat.to);
        for (&version, entry) in &self.ledger.versions {
            if !entry.state.is_routed() && Some(version) != target {
                continue;
            }
            let known = self.counts.get(&version).filter(|known| known.since == entry.since);
            let known = known.cloned().unwrap_or_else(|| {
                let is_active = entry.state == VersionState::Active;
                Arc::new(Counts::new(entry.since, baseline, is_active))
            });
            counts.insert(version, known);
        }
        self.counts = counts;
    }
}

/// Whether two changes were asked for alike, whatever was found out on the way.
fn asks_the_same(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (Action::Block { version, .. }, Action::Block { version: other, .. })
        | (Action::StepCanary { version, .. }, Action::StepCanary { version: other, .. }) => {
            version == other
        }
        (Action::Drill { .. }, Action::Drill { .. }) => true,
        _ => one == other,
    }
}

impl Ledger {
    /// Whether an automatic change like this begins a cool-down: it takes a version that answers out of service. A shadow answers nobody.
    pub(super) fn begins_cool_down(&self, action: &Action) -> bool {
        match action {
            Action::RollBack { from, .. } => {
                self.entry(*from).is_ok_and(|entry| entry.state != VersionState::Shadow)
            }
            Action::Block { to, .. } => to.is_some(),
            _ => false,
        }
    }
}

impl<M: ?Sized + 'static> Deployment<M> {
    /// Writes the intent, makes the change, swaps the routing table, writes the commit. A protective change is made first: a suspect version
    /// gets no request while a disk is slow, and if the process dies before the intent is there, nobody was told of the change.
    pub(super) fn commit(
        &self,
        core: &mut Core<M>,
        change: &Change,
        causes: Vec<Cause>,
        action: Action,
    ) -> Result<Receipt> {
        change.check()?;
        if let Some(receipt) = core.repeated(change, &action)? {
            return Ok(receipt);
        }
        core.check_generation(change)?;
        core.ledger.check(&action)?;
        let generation = core.next_generation;
        let intent = Intent {
            generation,
            at: self.clock.now(),
            actor: change.actor.clone(),
            reason: change.reason.clone(),
            idempotency_key: change.idempotency_key.clone(),
            causes,
            active_before: core.ledger.active,
            keep_warm: core.ledger.keep_warm,
            action,
        };
        core.next_generation += 1;
        let (written, commit) =
            (Record::Intent(Box::new(intent.clone())), Record::Commit { generation });
        let mut failure = None;
        if intent.action.is_protective() {
            self.apply(core, &intent);
            // The change is made all the same, and is written as soon as the journal takes anything again.
            failure = core.write(&written).err();
            if let Some(error) = &failure {
                core.note_journal_failure(error);
                core.unwritten.push_back(written);
                core.unwritten.push_back(commit);
            } else if core.write(&commit).is_err() {
                // The intent is there: a restart finishes the change.
                core.unwritten.push_back(commit);
            }
        } else {
            core.write(&written)?;
            let before = core.before();
            self.apply(core, &intent);
            if let Err(error) = core.write(&commit) {
                core.take_back(before);
                self.show(core);
                return Err(error);
            }
        }
        let receipt = core.remember(intent, self.config.history_limit);
        match failure {
            // Who asked must know that a restart would not remember it; what is automatic pages about the journal.
            Some(error) if change.actor != super::breach::AUTOMATIC => Err(error),
            _ => Ok(receipt),
        }
    }

    fn apply(&self, core: &mut Core<M>, intent: &Intent) {
        let states = |ledger: &Ledger| -> Vec<_> {
            ledger.versions.iter().map(|(version, entry)| (*version, entry.state)).collect()
        };
        let before = states(&core.ledger);
        let retreat_before = core.ledger.retreat;
        let (shares, step) = (core.step_shares(), core.step_errors());
        let reason = match intent.causes.first() {
            Some(cause) if intent.reason.is_empty() => cause.to_string(),
            _ => intent.reason.clone(),
        };
        core.ledger.apply(intent.generation, &intent.action, &reason);
        for (version, was) in before {
            let is = core.ledger.versions.get(&version).map(|entry| entry.state);
            let was_held = was.is_warm() || was == VersionState::Warming;
            if was_held && !is.is_some_and(|is| is.is_warm() || is == VersionState::Warming) {
                core.to_retire.push(version);
            }
        }
        core.note_approvals(intent);
        self.publish(core);
        if let Some(retreat) = retreat_before.filter(|_| core.ledger.retreat.is_none()) {
            // If it still serves, whether it must go is weighed anew, towards another target.
            if let Some(counts) = core.counts.get(&retreat.from) {
                counts.undecide();
            }
        }
        self.mark_step(core, intent, (shares, step));
    }

    /// The errors of each share are judged by it: where a share changes, those under the new one are counted from here.
    fn mark_step(
        &self,
        core: &mut Core<M>,
        intent: &Intent,
        (shares, step): (Option<(Share, Share)>, Option<StepErrors>),
    ) {
        let active_changed = core.ledger.active != intent.active_before;
        let started = matches!(intent.action, Action::StartCanary { .. });
        let stepped = matches!(intent.action, Action::StepCanary { .. });
        if active_changed || started {
            core.past_steps.clear();
            core.mark_errors();
        } else if stepped || core.step_shares() != shares {
            core.past_steps.extend(step);
            let (_, canary, active) = step.unwrap_or_default();
            core.mark.canary_errors += canary;
            core.mark.active_errors += active;
        }
        if let Some(requests) = core.canary_counts().map(|counts| counts.requests())
            && (active_changed || started || stepped)
        {
            core.mark.entered = self.clock.monotonic();
            core.mark.requests = requests;
        }
    }

    /// Makes counters and routing follow the ledger.
    pub(super) fn publish(&self, core: &mut Core<M>) {
        let times = self.config.triggers.iter().find_map(|trigger| match trigger.condition {
            Condition::SlowerThanBaseline { times, .. } => Some(times),
            _ => None,
        });
        core.refresh_counts(times);
        self.show(core);
    }

    fn show(&self, core: &Core<M>) {
        self.table.store(Arc::new(Table::build(self.config.seed, &core.ledger, &core.counts)));
    }
}

impl<M: ?Sized> Core<M> {
    fn before(&self) -> Before {
        Before {
            ledger: self.ledger.clone(),
            counts: self.counts.clone(),
            approvals: self.approvals.clone(),
            past_steps: self.past_steps.clone(),
            mark: self.mark,
        }
    }

    fn take_back(&mut self, before: Before) {
        Before {
            ledger: self.ledger,
            counts: self.counts,
            approvals: self.approvals,
            past_steps: self.past_steps,
            mark: self.mark,
        } = before;
    }

    fn canary_counts(&self) -> Option<&Arc<Counts>> {
        self.counts.get(&self.ledger.canary.as_ref()?.version)
    }

    fn active_counts(&self) -> Option<&Arc<Counts>> {
        self.counts.get(&self.ledger.active?)
    }

    fn mark_errors(&mut self) {
        let of = |counts: Option<&Arc<Counts>>| counts.map_or(0, |counts| counts.errors().0);
        let (canary, active) = (of(self.canary_counts()), of(self.active_counts()));
        (self.mark.canary_errors, self.mark.active_errors) = (canary, active);
    }

    /// What the canary and the active version answer.
    fn step_shares(&self) -> Option<(Share, Share)> {
        let canary = self.ledger.canary.as_ref()?;
        Some((canary.share(), self.share(self.ledger.active?)))
    }

    /// The canary's share in this step, and the errors of canary and active version in it.
    pub(super) fn step_errors(&self) -> Option<StepErrors> {
        let canary = self.canary_counts()?.errors().0.saturating_sub(self.mark.canary_errors);
        let active = self.active_counts()?.errors().0.saturating_sub(self.mark.active_errors);
        // Among the errors of these two, and units that a flag or a pin takes away from both are no part of either.
        let (of_canary, of_active) = self.step_shares()?;
        let both = of_canary.as_fraction() + of_active.as_fraction();
        Some((of_canary.as_fraction() / both, canary, active))
    }
}
