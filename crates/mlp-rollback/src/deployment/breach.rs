//! What is done when triggers fire.

use std::collections::BTreeMap;

use mlp_core::{Alert, AlertStatus, Labels, Notification, Severity, VersionNumber};

use parking_lot::MutexGuard;

use super::Deployment;
use super::core::Core;
use crate::change::Change;
use crate::evidence;
use crate::ledger::Retreat;
use crate::record::{Action, Cause};
use crate::share::Share;
use crate::state::VersionState;
use crate::table::Tracked;
use crate::trigger::{Condition, Response};

/// Who automatic changes are made by.
pub(super) const AUTOMATIC: &str = "auto-rollback";
/// The most notifications that wait for delivery; the oldest is dropped.
const MAX_OUTBOX: usize = 1_024;
/// The most alerts of one notification; the oldest is dropped.
const MAX_ALERTS: usize = 16;

impl<M: ?Sized + 'static> Deployment<M> {
    /// One response to all that fired at once: the most severe one, with every cause.
    pub(super) fn respond(&self, tracked: &Tracked, fired: Vec<(Response, Cause)>) {
        let Some(response) = fired.iter().map(|(response, _)| *response).max() else { return };
        if !tracked.counts.decide(response) {
            return;
        }
        if response >= Response::Shadow && !tracked.counts.of_active {
            // No further request, while the decision is being written down. An active version serves on until its target takes over.
            tracked.counts.trip();
        }
        let causes = fired.into_iter().map(|(_, cause)| cause).collect();
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        let entry = core.ledger.versions.get(&tracked.version);
        if entry.is_none_or(|entry| entry.since != tracked.counts.since) {
            return; // It has another role by now: the evidence is about the old one.
        }
        self.act(&mut core, tracked.version, response, causes, &healthy);
        self.scale(core);
    }

    /// Asks for replicas, without the lock: whoever is asked may look at the deployment.
    pub(super) fn scale(&self, mut core: MutexGuard<'_, Core<M>>) {
        let versions = std::mem::take(&mut core.to_scale);
        drop(core);
        for version in versions {
            if let Some(scaler) = &self.scaler {
                // A panic of the scaler is its own affair: the trigger fires again and people are asked.
                let _ = mlp_core::catch_panic(|| scaler.scale_up(version));
            }
        }
    }

    /// The warm predecessors that can answer, the latest first.
    pub(super) fn healthy_targets(&self) -> Vec<VersionNumber> {
        let standby = self.core.lock().ledger.standby.clone();
        standby.into_iter().rev().filter(|version| self.is_healthy(*version)).collect()
    }

    /// Carries out a response.
    pub(super) fn act(
        &self,
        core: &mut Core<M>,
        version: VersionNumber,
        response: Response,
        causes: Vec<Cause>,
        healthy: &[VersionNumber],
    ) {
        let Ok(entry) = core.ledger.entry(version) else { return };
        let is_active = core.ledger.active == Some(version);
        let is_trial = matches!(entry.state, VersionState::Canary | VersionState::Challenger);
        let since = entry.since;
        if response == Response::ScaleThenWait && self.scale_first(core, version, since, &causes) {
            return;
        }
        match response {
            Response::AlertAndWait | Response::ScaleThenWait => {
                self.ask(core, version, causes, Severity::P1);
            }
            Response::Shadow if is_trial => {
                let action = Action::Demote { version, share: Share::WHOLE };
                self.tell(version, &causes, Severity::P2, "is a shadow now, to be investigated");
                if self.automatic(core, causes.clone(), action).is_err() {
                    // No place for another shadow: it is taken out instead.
                    let _ = self.automatic(core, causes, Action::Abort { version });
                }
            }
            Response::Shadow => self.ask(core, version, causes, Severity::P2),
            Response::Block => self.block_now(core, version, causes, healthy),
            Response::Retreat if is_active => self.retreat(core, version, causes, healthy),
            Response::Retreat | Response::RollBack => {
                self.take_out(core, version, causes, healthy);
            }
        }
    }

    /// Has replicas asked for the first time in a role, and slow requests counted anew; tells whether it did.
    fn scale_first(
        &self,
        core: &mut Core<M>,
        version: VersionNumber,
        since: u64,
        causes: &[Cause],
    ) -> bool {
        if self.scaler.is_none() || core.scaled.contains(&(version, since)) {
            return false;
        }
        core.scaled.retain(|(other, _)| *other != version);
        core.scaled.push((version, since));
        core.to_scale.push(version);
        self.tell(version, causes, Severity::P2, "gets more replicas");
        if let Some(counts) = core.counts.get(&version) {
            counts.forget_slow();
        }
        true
    }

    pub(super) fn automatic(
        &self,
        core: &mut Core<M>,
        causes: Vec<Cause>,
        action: Action,
    ) -> crate::Result<crate::Receipt> {
        self.automatic_because(core, "", causes, action)
    }

    pub(super) fn automatic_because(
        &self,
        core: &mut Core<M>,
        reason: &str,
        causes: Vec<Cause>,
        action: Action,
    ) -> crate::Result<crate::Receipt> {
        let begins_cool_down = core.ledger.begins_cool_down(&action);
        let result = self.commit(core, &Change::by(AUTOMATIC).because(reason), causes, action);
        if result.is_ok() && begins_cool_down {
            core.last_automatic = Some(self.clock.monotonic());
        }
        if let Some(reason) = core.journal_failure.clone() {
            let name = &self.config.name;
            let summary =
                format!("{name}: the journal failed, changes are not written down: {reason}");
            self.page("journal", None, Severity::P0, ("failed", summary));
        }
        result
    }

    fn take_out(
        &self,
        core: &mut Core<M>,
        version: VersionNumber,
        causes: Vec<Cause>,
        healthy: &[VersionNumber],
    ) {
        let Some(active) = core.ledger.active else { return };
        let is_shadow =
            core.ledger.entry(version).is_ok_and(|entry| entry.state == VersionState::Shadow);
        if is_shadow {
            self.tell(version, &causes, Severity::P2, "was taken out as a shadow");
            let _ = self.automatic(core, causes, Action::RollBack { from: version, to: active });
            return;
        }
        let is_repeat = self.is_repeat(core);
        if let Some(retreat) = core.ledger.retreat.filter(|retreat| retreat.to == version) {
            let text = format!(
                "failed while {} retreated to it: {} serves all again",
                retreat.from, retreat.from
            );
            self.cancel_retreat(core, retreat, true, causes.clone());
            self.tell(version, &causes, Severity::P0, &text);
            return;
        }
        let target = if version == active {
            if is_repeat {
                self.freeze_after(core, version, causes);
                return;
            }
            let usable = |target: &&VersionNumber| core.ledger.standby.contains(target);
            match healthy.iter().find(usable) {
                Some(target) => *target,
                None => {
                    self.unresolved(core, version, &causes);
                    return;
                }
            }
        } else {
            active
        };
        let action = Action::RollBack { from: version, to: target };
        match self.automatic(core, causes.clone(), action) {
            Ok(_) => {
                let text = format!("was rolled back to {target}");
                self.tell(version, &causes, Severity::P1, &text);
            }
            Err(_) => self.unresolved(core, version, &causes),
        }
        if is_repeat {
            self.freeze_after(core, version, causes);
        }
    }

    /// Whether one more automatic change of the active version would be one too many.
    fn is_repeat(&self, core: &Core<M>) -> bool {
        let within_cool_down = core.last_automatic.is_some_and(|last| {
            self.clock.monotonic().saturating_sub(last) < self.config.cool_down()
        });
        within_cool_down || core.ledger.frozen.is_some()
    }

    /// Stops everything automatic. What should have been done to an active version waits for somebody's approval.
    fn freeze_after(&self, core: &mut Core<M>, version: VersionNumber, causes: Vec<Cause>) {
        if core.ledger.frozen.is_none() {
            let text = "caused a second automatic rollback within the cool-down: everything automatic is frozen";
            self.tell(version, &causes, Severity::P0, text);
            let _ = self.automatic(core, causes.clone(), Action::Freeze);
        }
        if core.ledger.active == Some(version) {
            self.ask(core, version, causes, Severity::P0);
        }
    }

    /// The active version serves all again.
    pub(super) fn cancel_retreat(
        &self,
        core: &mut Core<M>,
        retreat: Retreat,
        failed: bool,
        causes: Vec<Cause>,
    ) {
        let Retreat { from, to, .. } = retreat;
        let _ = self.automatic(core, causes, Action::CancelRetreat { from, to, failed });
    }

    /// Nothing can take over: it serves on, people are paged, and the next tick tries again.
    fn unresolved(&self, core: &mut Core<M>, version: VersionNumber, causes: &[Cause]) {
        let text = "must be rolled back, but no healthy version can take over: it serves on";
        self.tell(version, causes, Severity::P0, text);
        if let Some(counts) = core.counts.get(&version) {
            counts.undecide();
        }
    }

    fn retreat(
        &self,
        core: &mut Core<M>,
        version: VersionNumber,
        causes: Vec<Cause>,
        healthy: &[VersionNumber],
    ) {
        if self.is_repeat(core) {
            self.freeze_after(core, version, causes);
            return;
        }
        let Some(&target) = healthy.iter().find(|target| core.ledger.standby.contains(target))
        else {
            self.unresolved(core, version, &causes);
            return;
        };
        self.tell(version, &causes, Severity::P1, &format!("retreats to {target}"));
        let keeps = Share::HALF;
        let _ = self.automatic(core, causes, Action::Retreat { from: version, to: target, keeps });
    }

    fn block_now(
        &self,
        core: &mut Core<M>,
        version: VersionNumber,
        causes: Vec<Cause>,
        healthy: &[VersionNumber],
    ) {
        let is_active = core.ledger.active == Some(version);
        let target = healthy.iter().find(|target| core.ledger.standby.contains(target)).copied();
        let to = target.filter(|_| is_active);
        let text = match (is_active, to) {
            (true, None) => "is blocked, but no healthy version can take over: it serves on",
            _ => "is blocked",
        };
        self.tell(version, &causes, Severity::P0, text);
        let _ = self.automatic(core, causes, Action::Block { version, to });
    }

    fn ask(
        &self,
        core: &mut Core<M>,
        version: VersionNumber,
        causes: Vec<Cause>,
        severity: Severity,
    ) {
        self.tell(version, &causes, severity, "waits for approval of a rollback");
        let waits_for = |cause: &Cause| {
            let waiting = core.approvals.iter().find(|waiting| waiting.version == version);
            waiting.is_some_and(|w| w.causes.iter().any(|known| known.trigger == cause.trigger))
        };
        if causes.iter().all(waits_for) {
            return;
        }
        // The alert is what waits, also after a restart.
        let _ = self.automatic(core, causes, Action::Alert { version });
    }

    /// The canary against the active version, over all steps of the canary.
    pub(super) fn worse_than_active(&self, tracked: &Tracked) -> Vec<(Response, Cause)> {
        let is_about =
            |condition: &Condition| matches!(condition, Condition::WorseThanActive { .. });
        if !self.config.triggers.iter().any(|trigger| is_about(&trigger.condition)) {
            return Vec::new();
        }
        let steps = {
            let core = self.core.lock();
            let is_canary =
                core.ledger.canary.as_ref().is_some_and(|c| c.version == tracked.version);
            if !is_canary {
                return Vec::new();
            }
            let mut steps = core.past_steps.clone();
            steps.extend(core.step_errors());
            steps
        };
        let (canary, active) =
            steps.iter().fold((0, 0), |(canary, active), step| (canary + step.1, active + step.2));
        let fired = self.config.triggers.iter().filter_map(|trigger| {
            let Condition::WorseThanActive { ratio, alpha } = trigger.condition else {
                return None;
            };
            let log_e: f64 = steps
                .iter()
                .map(|(share, canary, active)| {
                    evidence::log_e_worse(*canary, *active, *share, ratio)
                })
                .sum();
            let signal = "errors of the canary among all errors";
            let share = steps.last()?.0 * ratio;
            let threshold = share / (share + 1.0 - steps.last()?.0);
            (log_e >= -alpha.ln()).then(|| {
                let total = canary + active;
                let cause = evidence::cause(trigger, signal, canary, total, threshold, Some(log_e));
                (trigger.response, cause)
            })
        });
        fired.collect()
    }

    fn tell(&self, version: VersionNumber, causes: &[Cause], severity: Severity, what: &str) {
        let name = &self.config.name;
        let causes: Vec<_> = causes.iter().map(ToString::to_string).collect();
        let summary = format!("{name}: {version} {what} ({})", causes.join("; "));
        self.page("rollback", Some(version), severity, (what, summary));
    }

    fn page(
        &self,
        kind: &str,
        version: Option<VersionNumber>,
        severity: Severity,
        (what, summary): (&str, String),
    ) {
        if self.alerts.is_none() {
            return;
        }
        let mut labels: Labels = BTreeMap::from([
            ("alertname".to_owned(), kind.to_owned()),
            ("deployment".to_owned(), self.config.name.clone()),
        ]);
        let subject = version.map_or(String::new(), |version| version.to_string());
        if version.is_some() {
            labels.insert("version".to_owned(), subject.clone());
        }
        let group_labels = labels.clone();
        labels.insert("what".to_owned(), what.to_owned());
        let alert = Alert {
            labels,
            status: AlertStatus::Firing,
            severity,
            summary,
            runbook_url: String::new(),
            starts_at: self.clock.now(),
            ends_at: None,
        };
        let notification = Notification {
            dedupe_key: format!("{}/{kind}/{subject}/{severity}", self.config.name),
            group_labels,
            status: AlertStatus::Firing,
            severity,
            alerts: vec![alert],
        };
        let mut outbox = self.outbox.lock();
        let same_key = |waiting: &&mut Notification| waiting.dedupe_key == notification.dedupe_key;
        match outbox.iter_mut().find(same_key) {
            Some(waiting) => add_alerts(waiting, notification.alerts),
            None => {
                if outbox.len() >= MAX_OUTBOX {
                    outbox.pop_front();
                }
                outbox.push_back(notification);
            }
        }
    }
}

/// The newest first, and of each kind the latest only: what goes on is told again and again, and began when it was told first.
fn add_alerts(waiting: &mut Notification, mut alerts: Vec<Alert>) {
    for alert in &mut alerts {
        if let Some(known) = waiting.alerts.iter().find(|known| known.labels == alert.labels) {
            alert.starts_at = known.starts_at;
        }
    }
    waiting.alerts.retain(|known| alerts.iter().all(|alert| alert.labels != known.labels));
    waiting.alerts.splice(..0, alerts);
    waiting.alerts.truncate(MAX_ALERTS);
}
