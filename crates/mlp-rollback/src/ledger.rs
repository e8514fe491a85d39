//! The state of a deployment as a function of the changes made to it: no clock, no thread, no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::{MAX_SHADOWS, VersionNumber};

use crate::bundle::VersionBundle;
use crate::error::{Error, Result};
use crate::plan::CanaryPlan;
use crate::record::Action;
use crate::share::Share;
use crate::state::VersionState;

/// The most versions a deployment remembers.
pub const MAX_VERSIONS: usize = 10_000;
/// The most challengers at once.
pub const MAX_CHALLENGERS: usize = 8;
/// The most pinned units.
pub const MAX_PINS: usize = 10_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) bundle: Arc<VersionBundle>,
    pub(crate) state: VersionState,
    /// Why it is blocked. A blocked version that nothing can replace stays active, so this is not only a state.
    pub(crate) blocked: Option<String>,
    /// The generation in which it took its present role: outcomes of an earlier one say nothing about it.
    pub(crate) since: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Canary {
    pub(crate) version: VersionNumber,
    pub(crate) plan: CanaryPlan,
    pub(crate) step: usize,
    pub(crate) paused: bool,
}

impl Canary {
    pub(crate) fn share(&self) -> Share {
        self.plan.steps()[self.step]
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Retreat {
    pub(crate) from: VersionNumber,
    pub(crate) to: VersionNumber,
    pub(crate) keeps: Share,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ledger {
    pub(crate) generation: u64,
    pub(crate) versions: BTreeMap<VersionNumber, Entry>,
    pub(crate) active: Option<VersionNumber>,
    pub(crate) canary: Option<Canary>,
    pub(crate) retreat: Option<Retreat>,
    pub(crate) challengers: Vec<(VersionNumber, Share)>,
    pub(crate) shadows: Vec<(VersionNumber, Share)>,
    /// Warm predecessors of the active version, the latest last.
    pub(crate) standby: Vec<VersionNumber>,
    pub(crate) pins: Arc<BTreeMap<String, VersionNumber>>,
    pub(crate) frozen: Option<String>,
    /// How many predecessors stay warm.
    pub(crate) keep_warm: usize,
}

impl Ledger {
    pub(crate) fn new(keep_warm: usize) -> Self {
        Self { keep_warm, ..Self::default() }
    }

    pub(crate) fn next_version(&self) -> VersionNumber {
        VersionNumber(self.versions.keys().next_back().map_or(1, |last| last.0 + 1))
    }

    pub(crate) fn entry(&self, version: VersionNumber) -> Result<&Entry> {
        self.versions.get(&version).ok_or(Error::UnknownVersion { version })
    }

    fn in_state(
        &self,
        version: VersionNumber,
        allowed: &'static str,
        test: impl Fn(VersionState) -> bool,
    ) -> Result<&Entry> {
        let entry = self.entry(version)?;
        if !test(entry.state) {
            return Err(Error::WrongState { version, state: entry.state, allowed });
        }
        Ok(entry)
    }

    fn not_blocked(&self, version: VersionNumber) -> Result<()> {
        match &self.entry(version)?.blocked {
            Some(reason) => Err(Error::Blocked { version, reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// A version that may begin to serve: it was just warmed, or is still warm.
    fn may_start(&self, version: VersionNumber) -> Result<()> {
        self.not_blocked(version)?;
        self.in_state(version, "warming or standby", |state| {
            matches!(state, VersionState::Warming | VersionState::Standby)
        })?;
        match self.retreat {
            Some(retreat) => Err(Error::RolloutUnderWay { version: retreat.from }),
            None => Ok(()),
        }
    }

    fn no_freeze(&self) -> Result<()> {
        self.frozen.as_ref().map_or(Ok(()), |reason| Err(Error::Frozen { reason: reason.clone() }))
    }

    fn no_canary(&self) -> Result<()> {
        let under_way = |version| Err(Error::RolloutUnderWay { version });
        self.canary.as_ref().map_or(Ok(()), |canary| under_way(canary.version))
    }

    fn is_canary(&self, version: VersionNumber) -> Result<&Canary> {
        self.entry(version)?;
        self.canary
            .as_ref()
            .filter(|canary| canary.version == version)
            .ok_or(Error::Nothing { what: "canary of that version" })
    }

    fn shadow_fits(&self) -> Result<()> {
        if self.shadows.len() >= MAX_SHADOWS {
            return Err(Error::LimitExceeded { what: "shadows", limit: MAX_SHADOWS });
        }
        Ok(())
    }

    fn shares_fit(&self, canary: Share, challengers: Share) -> Result<()> {
        let given = canary.as_percent() + challengers.as_percent();
        if given > 100.0 { Err(Error::SharesExceedWhole { given }) } else { Ok(()) }
    }

    pub(crate) fn challengers_share(&self) -> Share {
        self.challengers
            .iter()
            .fold(Share::ZERO, |sum, (_, share)| sum.plus_up_to(*share, Share::WHOLE))
    }

    /// Whether the action makes sense now. Whatever passes here can be applied.
    pub(crate) fn check(&self, action: &Action) -> Result<()> {
        match action {
            Action::Register { version, bundle } => self.check_register(*version, bundle),
            Action::Warm { version } => {
                self.not_blocked(*version)?;
                let cold = "registered, archived or rolled back";
                self.in_state(*version, cold, |state| {
                    matches!(
                        state,
                        VersionState::Registered
                            | VersionState::Archived
                            | VersionState::RolledBack
                    )
                })?;
                Ok(())
            }
            Action::GiveUp { version, .. } => {
                self.in_state(*version, "warming", |state| state == VersionState::Warming)?;
                Ok(())
            }
            Action::Deploy { version } => {
                self.no_canary()?;
                self.may_start(*version)
            }
            Action::StartCanary { version, plan } => {
                self.no_freeze()?;
                self.no_canary()?;
                self.needs_active()?;
                self.shares_fit(plan.bound(), self.challengers_share())?;
                self.may_start(*version)
            }
            Action::StepCanary { version, step } => {
                let canary = self.is_canary(*version)?;
                let steps = canary.plan.steps().len();
                if *step >= steps {
                    let reason = format!("step {step} of a plan with {steps} steps, from 0");
                    return Err(Error::Invalid { field: "step", reason });
                }
                Ok(())
            }
            Action::PauseCanary { version } | Action::ResumeCanary { version } => {
                self.is_canary(*version).map(|_| ())
            }
            Action::StartShadow { version, .. } => {
                self.needs_active()?;
                self.shadow_fits()?;
                self.may_start(*version)
            }
            Action::StartChallenger { version, share } => {
                self.needs_active()?;
                if self.challengers.len() >= MAX_CHALLENGERS {
                    let limit = MAX_CHALLENGERS;
                    return Err(Error::LimitExceeded { what: "challengers", limit });
                }
                let canary = self.canary.as_ref().map_or(Share::ZERO, |canary| canary.plan.bound());
                let others = canary.as_percent() + self.challengers_share().as_percent();
                if others + share.as_percent() > 100.0 {
                    return Err(Error::SharesExceedWhole { given: others + share.as_percent() });
                }
                self.may_start(*version)
            }
            Action::Promote { version } => {
                self.not_blocked(*version)?;
                self.in_trial(*version)?;
                match &self.canary {
                    Some(canary) if canary.version != *version => self.no_canary(),
                    _ => Ok(()),
                }
            }
            Action::Abort { version } => self.in_trial(*version),
            Action::Demote { version, .. } => {
                self.shadow_fits()?;
                self.in_state(*version, "canary or challenger", |state| {
                    matches!(state, VersionState::Canary | VersionState::Challenger)
                })?;
                Ok(())
            }
            Action::RollBack { from, to } => self.check_roll_back(*from, *to),
            Action::Retreat { from, to, .. } => {
                self.in_state(*from, "active", |state| state == VersionState::Active)?;
                self.not_blocked(*to)?;
                self.in_state(*to, "standby", |state| state == VersionState::Standby)?;
                Ok(())
            }
            Action::Block { version, to } => {
                self.entry(*version)?;
                to.map_or(Ok(()), |to| self.is_target(to))
            }
            Action::Unblock { version } => match self.entry(*version)?.blocked {
                Some(_) => Ok(()),
                None => Err(Error::Nothing { what: "block on that version" }),
            },
            Action::Pin { version, unit } => {
                if self.pins.len() >= MAX_PINS && !self.pins.contains_key(unit) {
                    return Err(Error::LimitExceeded { what: "pinned units", limit: MAX_PINS });
                }
                self.not_blocked(*version)?;
                self.in_state(*version, "warm", VersionState::is_warm)?;
                Ok(())
            }
            Action::Unpin { unit } => match self.pins.contains_key(unit) {
                true => Ok(()),
                false => Err(Error::Nothing { what: "pin of that unit" }),
            },
            Action::Archive { version } => {
                self.in_state(*version, "draining", |state| state == VersionState::Draining)?;
                Ok(())
            }
            Action::Unfreeze => match self.frozen {
                Some(_) => Ok(()),
                None => Err(Error::Nothing { what: "freeze" }),
            },
            Action::Alert { version } => self.entry(*version).map(|_| ()),
            Action::Freeze | Action::Drill { .. } => Ok(()),
        }
    }

    fn check_register(&self, version: VersionNumber, bundle: &VersionBundle) -> Result<()> {
        if self.versions.len() >= MAX_VERSIONS {
            return Err(Error::LimitExceeded { what: "registered versions", limit: MAX_VERSIONS });
        }
        if bundle.tags.len() > 64 {
            return Err(Error::LimitExceeded { what: "tags of a version", limit: 64 });
        }
        if version != self.next_version() {
            let reason = format!("{version}, the next one is {}", self.next_version());
            return Err(Error::Invalid { field: "version", reason });
        }
        Ok(())
    }

    fn needs_active(&self) -> Result<()> {
        self.active.map(|_| ()).ok_or(Error::Nothing { what: "active version" })
    }

    fn in_trial(&self, version: VersionNumber) -> Result<()> {
        self.in_state(version, "a canary, challenger or shadow", |state| {
            matches!(state, VersionState::Canary | VersionState::Challenger | VersionState::Shadow)
        })?;
        Ok(())
    }

    fn is_target(&self, version: VersionNumber) -> Result<()> {
        self.not_blocked(version)?;
        self.in_state(version, "standby or just warmed", |state| {
            matches!(state, VersionState::Standby | VersionState::Warming)
        })?;
        Ok(())
    }

    fn check_roll_back(&self, from: VersionNumber, to: VersionNumber) -> Result<()> {
        if Some(from) == self.active {
            return self.is_target(to);
        }
        self.in_trial(from)?;
        if Some(to) != self.active {
            let reason = format!("{from} is not active, so {to} cannot take its place");
            return Err(Error::Invalid { field: "to", reason });
        }
        Ok(())
    }

    /// Makes the change; `check` has passed.
    pub(crate) fn apply(&mut self, generation: u64, action: &Action, reason: &str) {
        self.generation = generation;
        match action {
            Action::Register { version, bundle } => {
                let bundle = Arc::new(bundle.as_ref().clone());
                let state = VersionState::Registered;
                self.versions
                    .insert(*version, Entry { bundle, state, blocked: None, since: generation });
            }
            Action::Warm { version } => self.set(*version, VersionState::Warming),
            Action::GiveUp { version, .. } => self.set(*version, VersionState::Archived),
            Action::Deploy { version } | Action::Promote { version } => self.activate(*version),
            Action::StartCanary { version, plan } => {
                self.leave(*version, VersionState::Canary);
                self.canary =
                    Some(Canary { version: *version, plan: plan.clone(), step: 0, paused: false });
            }
            Action::StepCanary { step, .. } => {
                self.canary.iter_mut().for_each(|canary| canary.step = *step);
            }
            Action::PauseCanary { .. } => self.pause(true),
            Action::ResumeCanary { .. } => self.pause(false),
            Action::StartShadow { version, share } | Action::Demote { version, share } => {
                self.leave(*version, VersionState::Shadow);
                self.shadows.push((*version, *share));
            }
            Action::StartChallenger { version, share } => {
                self.leave(*version, VersionState::Challenger);
                self.challengers.push((*version, *share));
            }
            Action::Abort { version } => self.leave(*version, VersionState::RolledBack),
            Action::RollBack { from, to } => self.roll_back(*from, *to, VersionState::RolledBack),
            Action::Retreat { from, to, keeps } => {
                self.retreat = Some(Retreat { from: *from, to: *to, keeps: *keeps });
            }
            Action::Block { version, to } => self.block(*version, *to, reason),
            Action::Unblock { version } => {
                let entry = self.versions.get_mut(version);
                if let Some(entry) = entry {
                    entry.blocked = None;
                    if entry.state == VersionState::Blocked {
                        entry.state = VersionState::Archived;
                    }
                }
            }
            Action::Pin { unit, version } => {
                Arc::make_mut(&mut self.pins).insert(unit.clone(), *version);
            }
            Action::Unpin { unit } => {
                Arc::make_mut(&mut self.pins).remove(unit);
            }
            Action::Archive { version } => self.set(*version, VersionState::Archived),
            Action::Freeze => self.frozen = Some(reason.to_owned()),
            Action::Unfreeze => self.frozen = None,
            Action::Alert { .. } | Action::Drill { .. } => {}
        }
    }

    fn set(&mut self, version: VersionNumber, state: VersionState) {
        let since = self.generation;
        if let Some(entry) = self.versions.get_mut(&version) {
            entry.state = state;
            entry.since = since;
        }
    }

    fn pause(&mut self, paused: bool) {
        self.canary.iter_mut().for_each(|canary| canary.paused = paused);
    }

    /// Takes a version out of every role but that of the active one, and gives it another state.
    fn leave(&mut self, version: VersionNumber, state: VersionState) {
        self.canary = self.canary.take().filter(|canary| canary.version != version);
        self.challengers.retain(|(other, _)| *other != version);
        self.shadows.retain(|(other, _)| *other != version);
        self.standby.retain(|other| *other != version);
        self.retreat = self.retreat.filter(|retreat| retreat.to != version);
        self.set(version, state);
    }

    fn activate(&mut self, version: VersionNumber) {
        self.retreat = None;
        self.leave(version, VersionState::Active);
        let Some(before) = self.active.replace(version) else { return };
        if self.versions.get(&before).is_some_and(|entry| entry.blocked.is_some()) {
            self.set(before, VersionState::Blocked);
            return;
        }
        self.set(before, VersionState::Standby);
        self.standby.push(before);
        while self.standby.len() > self.keep_warm {
            let oldest = self.standby.remove(0);
            self.set(oldest, VersionState::Draining);
        }
    }

    fn roll_back(&mut self, from: VersionNumber, to: VersionNumber, state: VersionState) {
        if Some(from) == self.active {
            self.retreat = None;
            self.leave(to, VersionState::Active);
            self.active = Some(to);
        }
        let is_blocked = self.versions.get(&from).is_some_and(|entry| entry.blocked.is_some());
        self.leave(from, if is_blocked { VersionState::Blocked } else { state });
    }

    fn block(&mut self, version: VersionNumber, to: Option<VersionNumber>, reason: &str) {
        match to {
            Some(to) => self.roll_back(version, to, VersionState::Blocked),
            None if self.active != Some(version) => self.leave(version, VersionState::Blocked),
            None => {}
        }
        Arc::make_mut(&mut self.pins).retain(|_, pinned| *pinned != version);
        if let Some(entry) = self.versions.get_mut(&version) {
            entry.blocked = Some(reason.to_owned());
        }
    }

    /// What must hold after every change; the tests ask.
    #[cfg(test)]
    pub(crate) fn fault(&self) -> Option<String> {
        let in_state = |state| {
            self.versions
                .iter()
                .filter(move |(_, entry)| entry.state == state)
                .map(|(version, _)| *version)
                .collect::<Vec<_>>()
        };
        let active: Vec<_> = self.active.into_iter().collect();
        let canary: Vec<_> = self.canary.iter().map(|canary| canary.version).collect();
        let mut standby = self.standby.clone();
        standby.sort();
        let sorted = |list: &[(VersionNumber, Share)]| {
            let mut versions: Vec<_> = list.iter().map(|(version, _)| *version).collect();
            versions.sort();
            versions
        };
        for (state, listed) in [
            (VersionState::Active, active),
            (VersionState::Canary, canary),
            (VersionState::Standby, standby),
            (VersionState::Challenger, sorted(&self.challengers)),
            (VersionState::Shadow, sorted(&self.shadows)),
        ] {
            if in_state(state) != listed {
                return Some(format!(
                    "{state}: {:?} by state, {listed:?} by role",
                    in_state(state)
                ));
            }
        }
        if self.standby.len() > self.keep_warm {
            return Some(format!("{} predecessors are warm", self.standby.len()));
        }
        let canary = self.canary.as_ref().map_or(Share::ZERO, Canary::share);
        self.shares_fit(canary, self.challengers_share()).err().map(|error| error.to_string())
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
