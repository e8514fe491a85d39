//! What time brings: steps, promotions, triggers that read a metric source, retirement, delivery of alerts.

use mlp_core::{Lifecycle, Reading, Signal, SinkError, SourceError, VersionNumber, catch_panic};

use super::Deployment;
use super::breach::AUTOMATIC;
use super::core::Core;
use crate::change::Change;
use crate::evidence;
use crate::history::HistoryEntry;
use crate::plan::Promotion;
use crate::record::{Action, Cause};
use crate::share::Share;
use crate::state::VersionState;
use crate::table::Tracked;
use crate::trigger::{Condition, Response, Trigger};

/// What a trigger that reads a metric source says.
enum Verdict {
    Fires(Cause),
    Holds,
    /// The source failed, or has nothing: neither promote nor roll back.
    Silent,
}

impl<M: ?Sized + 'static> Deployment<M> {
    /// Looks at everything once: health, triggers, steps, promotion; lets the host go of what is not needed, and delivers alerts. Returns
    /// the changes it made.
    ///
    /// Call it now and then from a thread of yours, not from the threads that answer requests, or let an
    /// [`AutoRollback`](crate::AutoRollback) call it.
    pub fn tick(&self) -> Vec<HistoryEntry> {
        let before = self.core.lock().next_generation;
        let tracked = self.table.load().tracked.clone();
        // Before anything new is found, so that each step of a retreat lasts from one tick to the next.
        self.go_on_blocking();
        self.go_on_retreating();
        let mut silent = false;
        for tracked in &tracked {
            silent |= self.weigh(tracked);
        }
        if !silent {
            self.go_on_with_canary();
        }
        self.retire_unneeded();
        self.deliver();
        let core = self.core.lock();
        core.history.iter().filter(|entry| entry.generation >= before).cloned().collect()
    }

    /// Weighs all evidence about one version; tells whether a source was silent.
    fn weigh(&self, tracked: &Tracked) -> bool {
        let state = {
            let core = self.core.lock();
            match core.ledger.entry(tracked.version) {
                Ok(entry) if entry.since == tracked.counts.since => entry.state,
                _ => return false,
            }
        };
        self.learn_baseline(tracked, state);
        if tracked.counts.is_decided(Response::RollBack) {
            return false;
        }
        let mut fired = Vec::new();
        let mut silent = false;
        let is_unhealthy = |lifecycle| lifecycle == Lifecycle::Unhealthy;
        if state.is_routed() && self.is_ill(tracked.version, is_unhealthy) {
            let detail = "its host says that it cannot answer, at two looks in a row".to_owned();
            fired.push((Response::RollBack, Cause::reported("health", detail)));
        }
        fired.extend(evidence::breaches(&self.config.triggers, &tracked.counts));
        for trigger in &self.config.triggers {
            match self.read(trigger, tracked, state) {
                Some(Verdict::Fires(cause)) => fired.push((trigger.response, cause)),
                Some(Verdict::Silent) => silent |= state == VersionState::Canary,
                Some(Verdict::Holds) | None => {}
            }
        }
        fired.extend(self.worse_than_active(tracked));
        self.respond(tracked, fired);
        silent
    }

    /// Whether the host said at two looks in a row that a version cannot answer. That it is being prepared or drained is no such thing, and
    /// neither is a host that panics.
    fn is_ill(&self, version: VersionNumber, cannot_answer: fn(Lifecycle) -> bool) -> bool {
        let says_so = self
            .host()
            .and_then(|host| catch_panic(|| host.health(version)).ok())
            .is_some_and(|health| cannot_answer(health.lifecycle));
        let mut core = self.core.lock();
        let said_so = core.ill.contains(&version);
        if says_so {
            core.ill.insert(version);
        } else {
            core.ill.remove(&version);
        }
        says_so && said_so
    }

    /// A blocked version that nothing could replace serves only until something can.
    fn go_on_blocking(&self) {
        let (active, blocked) = {
            let core = self.core.lock();
            let Some(active) = core.ledger.active else { return };
            match core.ledger.entry(active).map(|entry| entry.blocked.clone()) {
                Ok(Some(blocked)) => (active, blocked),
                _ => return,
            }
        };
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        let to = healthy.into_iter().find(|target| core.ledger.standby.contains(target));
        if core.ledger.active == Some(active) && to.is_some() {
            // It goes for the reason for which it was blocked.
            let known = core.history.iter().rev().find_map(|entry| match entry.action {
                Action::Block { version, .. } if version == active => {
                    Some((entry.reason.clone(), entry.causes.clone()))
                }
                _ => None,
            });
            let (reason, causes) = known
                .unwrap_or_else(|| (String::new(), vec![Cause::reported("security", blocked)]));
            let action = Action::Block { version: active, to };
            let _ = self.automatic_because(&mut core, &reason, causes, action);
        }
    }

    fn learn_baseline(&self, tracked: &Tracked, state: VersionState) {
        if state == VersionState::Active {
            return;
        }
        let times = self.config.triggers.iter().find_map(|trigger| match trigger.condition {
            Condition::SlowerThanBaseline { times, .. } => Some(times),
            _ => None,
        });
        let table = self.table.load();
        let p99 = table
            .tracked
            .iter()
            .find(|other| other.counts.of_active)
            .and_then(|active| active.counts.p99());
        if let (Some(times), Some(p99)) = (times, p99) {
            tracked.counts.set_slow_above(p99.mul_f64(times));
        }
    }

    fn read(&self, trigger: &Trigger, tracked: &Tracked, state: VersionState) -> Option<Verdict> {
        let version = tracked.version;
        let signal = match &trigger.condition {
            Condition::AccuracyDrop { .. } => Signal::WrongPredictions,
            Condition::MetricDrop { signal, .. } => Signal::Custom(signal.clone()),
            _ => return None,
        };
        let reading = |version| self.read_safely(version, &signal);
        match trigger.condition {
            Condition::AccuracyDrop { relative, baseline, alpha } => {
                let Some(Reading::Proportion { events, trials }) = reading(version) else {
                    return Some(Verdict::Silent);
                };
                let bound = 1.0 - baseline * (1.0 - relative);
                if trials == 0 || events > trials || bound <= 0.0 {
                    return Some(Verdict::Silent);
                }
                let wrong = tracked.counts.wrong_in_time(events, trials);
                let signal = "share of wrong predictions";
                let cause = evidence::rate_above(trigger, &wrong, trials, (bound, alpha), signal);
                Some(cause.map_or(Verdict::Holds, Verdict::Fires))
            }
            Condition::MetricDrop { relative, deviation, alpha, .. }
                if matches!(state, VersionState::Canary | VersionState::Challenger) =>
            {
                let active = self.active()?;
                let verdict = reading(version).zip(reading(active)).and_then(|(trial, active)| {
                    evidence::metric_drop(trigger, &trial, &active, relative, deviation, alpha)
                });
                Some(match verdict {
                    None => Verdict::Silent,
                    Some(None) => Verdict::Holds,
                    Some(Some(cause)) => Verdict::Fires(cause),
                })
            }
            _ => None,
        }
    }

    /// What the first source that knows the signal says; nothing if it fails or panics.
    fn read_safely(&self, version: VersionNumber, signal: &Signal) -> Option<Reading> {
        self.metrics.iter().find_map(|source| {
            match catch_panic(|| source.read(version, signal)) {
                Ok(Err(SourceError::UnknownSignal { .. })) => None,
                said => Some(said.ok().and_then(|said| said.ok())),
            }
        })?
    }

    /// 50 %, 25 %, then nothing: one step a tick, as long as the target is fit.
    fn go_on_retreating(&self) {
        let Some(retreat) = self.core.lock().ledger.retreat else { return };
        // After a restart a version that was warm may not be there at all.
        let cannot_answer =
            |lifecycle| matches!(lifecycle, Lifecycle::Unhealthy | Lifecycle::Absent);
        let (fit, ill) = (self.is_healthy(retreat.to), self.is_ill(retreat.to, cannot_answer));
        let mut core = self.core.lock();
        if core.ledger.retreat != Some(retreat) || core.ledger.frozen.is_some() {
            return;
        }
        if ill {
            let detail = "its host says that it cannot answer, at two looks in a row".to_owned();
            let causes = vec![Cause::reported("health", detail)];
            self.cancel_retreat(&mut core, retreat, false, causes);
            return;
        }
        let tripped = core.counts.get(&retreat.to).is_some_and(|counts| counts.is_tripped());
        if !fit || tripped {
            return;
        }
        let causes = core.history.iter().rev().find_map(|entry| match entry.action {
            Action::Retreat { from, .. } if from == retreat.from => Some(entry.causes.clone()),
            _ => None,
        });
        let causes = causes.unwrap_or_default();
        let (from, to) = (retreat.from, retreat.to);
        let action = if retreat.keeps > Share::QUARTER {
            Action::Retreat { from, to, keeps: Share::QUARTER }
        } else {
            Action::RollBack { from, to }
        };
        let _ = self.automatic(&mut core, causes, action);
    }

    fn go_on_with_canary(&self) {
        let Some(version) = self.core.lock().ledger.canary.as_ref().map(|canary| canary.version)
        else {
            return;
        };
        let fit = self.is_healthy(version);
        let mut core = self.core.lock();
        let Some(action) = self.next_canary_action(&core, version).filter(|_| fit) else { return };
        let reason = match &action {
            Action::Promote { .. } => "the evidence says that it is good enough",
            _ => "the step has seen enough",
        };
        // Refused or not written down: it stays where it is, and the next tick tries again.
        let _ = self.commit(&mut core, &Change::by(AUTOMATIC).because(reason), Vec::new(), action);
    }

    fn next_canary_action(&self, core: &Core<M>, version: VersionNumber) -> Option<Action> {
        let canary = core.ledger.canary.as_ref().filter(|canary| canary.version == version)?;
        let counts = core.counts.get(&version)?;
        if canary.paused
            || core.ledger.frozen.is_some()
            || core.approvals.iter().any(|approval| approval.version == version)
            || counts.is_decided(Response::AlertAndWait)
        {
            return None;
        }
        let in_step = counts.requests().saturating_sub(core.mark.requests);
        let elapsed = self.clock.monotonic().saturating_sub(core.mark.entered);
        if in_step < canary.plan.step_requests() || elapsed < canary.plan.step_duration() {
            return None;
        }
        let bound = self.config.promotion_error_rate;
        let (errors, requests) = counts.errors();
        if evidence::log_e_above(errors, requests, bound) > 0.0 {
            return None; // It leans the wrong way: hold.
        }
        if canary.step + 1 < canary.plan.steps().len() {
            return Some(Action::StepCanary { version, step: canary.step + 1 });
        }
        let enough =
            evidence::log_e_below(errors, requests, bound) >= -self.config.promotion_alpha.ln();
        let automatic = canary.plan.promotion() == Promotion::Automatic;
        (automatic && enough).then_some(Action::Promote { version })
    }

    /// Delivers waiting alerts. What cannot be delivered now waits for the next tick; what the sink refuses is dropped.
    fn deliver(&self) {
        let Some(sink) = &self.alerts else { return };
        let waiting = std::mem::take(&mut *self.outbox.lock());
        for notification in waiting {
            let again = match catch_panic(|| sink.deliver(&notification)) {
                Ok(Ok(())) | Ok(Err(SinkError::Refused { .. })) | Err(_) => false,
                Ok(Err(_)) => true,
            };
            if again {
                self.outbox.lock().push_back(notification);
            }
        }
    }
}
