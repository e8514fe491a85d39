//! What people and programs ask of a deployment.

use mlp_core::{VersionNumber, VersionSource};

use super::Deployment;
use super::core::Core;
use crate::bundle::VersionBundle;
use crate::change::{Change, Receipt};
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::plan::CanaryPlan;
use crate::record::{Action, Cause};
use crate::share::Share;
use crate::trigger::{Condition, Response};

impl<M: ?Sized + 'static> Deployment<M> {
    /// Makes a version known, with where its replicas come from. Nothing is built yet.
    ///
    /// # Errors
    /// If a bound was reached or the journal fails.
    pub fn register(
        &self,
        bundle: VersionBundle,
        source: VersionSource<M>,
        change: &Change,
    ) -> Result<VersionNumber> {
        let mut core = self.core.lock();
        if let Some(version) = core.registered_before(change, &bundle)? {
            core.sources.insert(version, source);
            return Ok(version);
        }
        let version = core.ledger.next_version();
        let action = Action::Register { version, bundle: Box::new(bundle) };
        self.commit(&mut core, change, Vec::new(), action)?;
        core.sources.insert(version, source);
        Ok(version)
    }

    /// Gives a version all traffic at once, after the host has built and warmed it (blue-green). The one before stays warm.
    ///
    /// # Errors
    /// If the version is unknown, blocked, serving already or cannot be prepared, a canary is under way, or the change is stale.
    pub fn deploy(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        self.start(version, change, Action::Deploy { version })
    }

    /// Lets a version answer the first share of a plan, after the host has built and warmed it.
    ///
    /// # Errors
    /// As [`deploy`](Self::deploy); if the deployment is frozen, nothing is active yet, or the shares would exceed the whole.
    pub fn start_canary(
        &self,
        version: VersionNumber,
        plan: CanaryPlan,
        change: &Change,
    ) -> Result<Receipt> {
        self.start(version, change, Action::StartCanary { version, plan })
    }

    /// Lets a version answer a fixed share, to be compared with the active one (A/B). At most eight challengers.
    ///
    /// # Errors
    /// As [`start_canary`](Self::start_canary).
    pub fn start_challenger(
        &self,
        version: VersionNumber,
        share: Share,
        change: &Change,
    ) -> Result<Receipt> {
        self.start(version, change, Action::StartChallenger { version, share })
    }

    /// Lets a version see copies of a share of the requests; nobody gets its answers. At most four shadows.
    ///
    /// # Errors
    /// As [`start_canary`](Self::start_canary).
    pub fn start_shadow(
        &self,
        version: VersionNumber,
        share: Share,
        change: &Change,
    ) -> Result<Receipt> {
        self.start(version, change, Action::StartShadow { version, share })
    }

    /// Lets a version answer the units that a flag chooses, whatever canaries and shares there are; only a pin comes before it. Requests
    /// without a unit never get it. At most eight challengers, flagged ones among them.
    ///
    /// # Errors
    /// As [`start_canary`](Self::start_canary).
    pub fn start_flag(
        &self,
        version: VersionNumber,
        flag: Flag,
        change: &Change,
    ) -> Result<Receipt> {
        self.start(version, change, Action::StartFlag { version, flag: Box::new(flag) })
    }

    /// Replaces the flag of a version: another percentage, other rules. The evidence about the version goes on.
    ///
    /// # Errors
    /// If no flag chooses who gets this version, or the change is stale.
    pub fn set_flag(&self, version: VersionNumber, flag: Flag, change: &Change) -> Result<Receipt> {
        self.simple(change, Action::SetFlag { version, flag: Box::new(flag) })
    }

    /// Moves the canary to the next step of its plan; at the last step it stays there.
    ///
    /// # Errors
    /// If this version is not the canary, or the change is stale.
    pub fn advance(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        let mut core = self.core.lock();
        let canary = core.ledger.canary.as_ref().filter(|canary| canary.version == version);
        let canary = canary.ok_or(Error::Nothing { what: "canary of that version" })?;
        let step = (canary.step + 1).min(canary.plan.steps().len() - 1);
        self.commit(&mut core, change, Vec::new(), Action::StepCanary { version, step })
    }

    /// Keeps the canary at its step. Triggers stay armed.
    ///
    /// # Errors
    /// If this version is not the canary, or the change is stale.
    pub fn pause(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        self.simple(change, Action::PauseCanary { version })
    }

    /// Lets a paused canary go on.
    ///
    /// # Errors
    /// If this version is not the canary, or the change is stale.
    pub fn resume(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        self.simple(change, Action::ResumeCanary { version })
    }

    /// Makes a canary, challenger or shadow the active version. The one before stays warm.
    ///
    /// # Errors
    /// If the version is none of these or not healthy, a breach of it was found, or the change is stale.
    pub fn promote(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        if let Some(receipt) = self.core.lock().repeated(change, &Action::Promote { version })? {
            return Ok(receipt);
        }
        if !self.is_healthy(version) {
            self.core.lock().ledger.entry(version)?;
            return Err(Error::Unhealthy { version });
        }
        let mut core = self.core.lock();
        if core.counts.get(&version).is_some_and(|counts| counts.is_tripped()) {
            return Err(Error::Unhealthy { version });
        }
        self.commit(&mut core, change, Vec::new(), Action::Promote { version })
    }

    /// Takes a canary, challenger or shadow out at once.
    ///
    /// # Errors
    /// If the version is none of these, or the change is stale.
    pub fn abort(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        self.simple(change, Action::Abort { version })
    }

    /// Replaces the active version by the latest predecessor that is warm and healthy. Two calls at once go back twice: whoever is not alone
    /// takes [`rollback_from`](Self::rollback_from), or names the generation.
    ///
    /// # Errors
    /// If there is none: then the active version serves on.
    pub fn rollback(&self, change: &Change) -> Result<Receipt> {
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        let from = core.ledger.active.ok_or(Error::Nothing { what: "active version" })?;
        if let Some((_, receipt)) = core.made_before(change, is_rollback)? {
            return Ok(receipt);
        }
        let to = healthy.into_iter().find(|target| core.ledger.standby.contains(target));
        let to = to.ok_or(Error::Nothing { what: "healthy version to roll back to" })?;
        self.commit(&mut core, change, Vec::new(), Action::RollBack { from, to })
    }

    /// As [`rollback`](Self::rollback), if this version is still the active one: of two that ask at once, one is refused instead of going
    /// back twice.
    ///
    /// # Errors
    /// As [`rollback`](Self::rollback); [`Error::WrongState`] if the version is not active.
    pub fn rollback_from(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        let is_repeat =
            |action: &Action| matches!(action, Action::RollBack { from, .. } if *from == version);
        if let Some((_, receipt)) = core.made_before(change, is_repeat)? {
            return Ok(receipt);
        }
        let state = core.ledger.entry(version)?.state;
        if core.ledger.active != Some(version) {
            return Err(Error::WrongState { version, state, allowed: "active" });
        }
        let to = healthy.into_iter().find(|target| core.ledger.standby.contains(target));
        let to = to.ok_or(Error::Nothing { what: "healthy version to roll back to" })?;
        self.commit(&mut core, change, Vec::new(), Action::RollBack { from: version, to })
    }

    /// Replaces the active version by this one, which is built and warmed first if it is not warm any more.
    ///
    /// # Errors
    /// If the version is unknown, blocked, active already or cannot be prepared, or the change is stale.
    pub fn rollback_to(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        let from = {
            let mut core = self.core.lock();
            let is_repeat =
                |action: &Action| matches!(action, Action::RollBack { to, .. } if *to == version);
            if let Some((_, receipt)) = core.made_before(change, is_repeat)? {
                return Ok(receipt);
            }
            core.ledger.active.ok_or(Error::Nothing { what: "active version" })?
        };
        self.start(version, change, Action::RollBack { from, to: version })
    }

    /// Takes a version out of service for a reason of security; it never serves again, restarts included, until it is unblocked. Without
    /// a healthy version to take over, an active one is blocked for the next change but serves on.
    ///
    /// # Errors
    /// If the version is unknown, or the change is stale.
    pub fn block(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        let is_active = core.ledger.active == Some(version);
        let to = healthy.into_iter().find(|target| core.ledger.standby.contains(target));
        let action = Action::Block { version, to: to.filter(|_| is_active) };
        self.commit(&mut core, change, Vec::new(), action)
    }

    /// Lets a blocked version serve again, when somebody deploys it.
    ///
    /// # Errors
    /// If the version is not blocked, or the change is stale.
    pub fn unblock(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        self.simple(change, Action::Unblock { version })
    }

    /// Gives all requests of a unit to one warm version, whatever canaries there are. At most 10,000 units of up to 200 bytes.
    ///
    /// # Errors
    /// If the version is not warm or is blocked, a bound was reached, or the change is stale.
    pub fn pin(
        &self,
        unit: impl Into<String>,
        version: VersionNumber,
        change: &Change,
    ) -> Result<Receipt> {
        let unit = unit.into();
        if unit.len() > 200 {
            return Err(Error::LimitExceeded { what: "bytes of a pinned unit", limit: 200 });
        }
        self.simple(change, Action::Pin { unit, version })
    }

    /// Takes a unit's pin away.
    ///
    /// # Errors
    /// If the unit is not pinned, or the change is stale.
    pub fn unpin(&self, unit: impl Into<String>, change: &Change) -> Result<Receipt> {
        self.simple(change, Action::Unpin { unit: unit.into() })
    }

    /// Stops automatic changes of the active version and new canaries.
    ///
    /// # Errors
    /// If the change is stale.
    pub fn freeze(&self, change: &Change) -> Result<Receipt> {
        self.simple(change, Action::Freeze)
    }

    /// Lets automatic changes go on, and ends the cool-down.
    ///
    /// # Errors
    /// If nothing is frozen, or the change is stale.
    pub fn unfreeze(&self, change: &Change) -> Result<Receipt> {
        let mut core = self.core.lock();
        let receipt = self.commit(&mut core, change, Vec::new(), Action::Unfreeze)?;
        core.last_automatic = None;
        // What was held back by the freeze is weighed again.
        core.counts.values().for_each(|counts| counts.undecide());
        Ok(receipt)
    }

    /// Carries out the rollback that waits for approval: a trial is taken out, an active version gives way to its predecessor.
    ///
    /// # Errors
    /// If nothing waits for this version, there is no healthy target, or the change is stale.
    pub fn approve(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        let is_repeat =
            |action: &Action| matches!(action, Action::RollBack { from, .. } if *from == version);
        if let Some((_, receipt)) = core.made_before(change, is_repeat)? {
            return Ok(receipt);
        }
        let waiting = core.approvals.iter().position(|approval| approval.version == version);
        let waiting = waiting.ok_or(Error::Nothing { what: "rollback of it that waits" })?;
        let active = core.ledger.active.ok_or(Error::Nothing { what: "active version" })?;
        let to = if version == active {
            let usable = healthy.into_iter().find(|target| core.ledger.standby.contains(target));
            usable.ok_or(Error::Nothing { what: "healthy version to roll back to" })?
        } else {
            active
        };
        let causes = core.approvals[waiting].causes.clone();
        self.commit(&mut core, change, causes, Action::RollBack { from: version, to })
    }

    /// Drops a rollback that waits for approval. The triggers stay armed: what goes on is told again.
    ///
    /// # Errors
    /// If nothing waits for this version, or the change is stale.
    pub fn dismiss(&self, version: VersionNumber, change: &Change) -> Result<Receipt> {
        let mut core = self.core.lock();
        let action = Action::Dismiss { version };
        if let Some(receipt) = core.repeated(change, &action)? {
            return Ok(receipt);
        }
        if !core.approvals.iter().any(|approval| approval.version == version) {
            return Err(Error::Nothing { what: "rollback of it that waits" });
        }
        let receipt = self.commit(&mut core, change, Vec::new(), action)?;
        if let Some(counts) = core.counts.get(&version) {
            counts.undecide();
        }
        Ok(receipt)
    }

    /// Reports drift of a version's inputs: fires the triggers for [`Condition::InputDrift`].
    ///
    /// # Errors
    /// If the version is unknown.
    pub fn report_drift(&self, version: VersionNumber, detail: impl Into<String>) -> Result<()> {
        self.report(version, &Condition::InputDrift, detail.into())
    }

    /// Reports a risk to security: fires the triggers for [`Condition::Security`].
    ///
    /// # Errors
    /// If the version is unknown.
    pub fn report_security(&self, version: VersionNumber, detail: impl Into<String>) -> Result<()> {
        self.report(version, &Condition::Security, detail.into())
    }

    fn report(&self, version: VersionNumber, condition: &Condition, detail: String) -> Result<()> {
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        core.ledger.entry(version)?;
        let detail: String = detail.chars().take(500).collect();
        let fired = self.config.triggers.iter().filter(|row| row.condition == *condition);
        let fired: Vec<(Response, Cause)> =
            fired.map(|row| (row.response, Cause::reported(&row.name, detail.clone()))).collect();
        let Some(response) = fired.iter().map(|(response, _)| *response).max() else {
            return Ok(());
        };
        if let Some(counts) = core.counts.get(&version) {
            // An active version serves on until its target takes over.
            if response >= Response::RollBack && !counts.of_active {
                counts.trip();
            }
        }
        let causes = fired.into_iter().map(|(_, cause)| cause).collect();
        self.act(&mut core, version, response, causes, &healthy);
        self.scale(core);
        Ok(())
    }

    pub(super) fn simple(&self, change: &Change, action: Action) -> Result<Receipt> {
        self.commit(&mut self.core.lock(), change, Vec::new(), action)
    }
}

fn is_rollback(action: &Action) -> bool {
    matches!(action, Action::RollBack { .. })
}

impl<M: ?Sized> Core<M> {
    fn registered_before(
        &mut self,
        change: &Change,
        bundle: &VersionBundle,
    ) -> Result<Option<VersionNumber>> {
        // What is written is compared: NaN is not equal to itself.
        let written = |bundle: &VersionBundle| serde_json::to_string(bundle).ok();
        let is_it = |action: &Action| matches!(action, Action::Register { bundle: known, .. } if written(known) == written(bundle));
        let made = self.made_before(change, is_it)?;
        Ok(made.and_then(|(action, _)| action.version()))
    }
}
