//! The state of a deployment as a function of the changes made to it: no clock, no thread, no I/O.

mod check;

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::VersionNumber;

use crate::bundle::VersionBundle;
use crate::error::{Error, Result};
use crate::flags::Flag;
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
    /// Challengers whose units a flag chooses.
    pub(crate) flags: Vec<(VersionNumber, Flag)>,
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

    pub(crate) fn challengers_share(&self) -> Share {
        self.challengers
            .iter()
            .fold(Share::ZERO, |sum, (_, share)| sum.plus_up_to(*share, Share::WHOLE))
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
            Action::GiveUp { version, .. } => self.leave(*version, VersionState::Archived),
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
            Action::StartFlag { version, flag } => {
                self.leave(*version, VersionState::Challenger);
                self.flags.push((*version, flag.as_ref().clone()));
            }
            Action::SetFlag { version, flag } => {
                let known = self.flags.iter_mut().find(|(other, _)| other == version);
                if let Some((_, known)) = known {
                    known.clone_from(flag);
                }
            }
            Action::Abort { version } => self.leave(*version, VersionState::RolledBack),
            Action::RollBack { from, to } => self.roll_back(*from, *to, VersionState::RolledBack),
            Action::Retreat { from, to, keeps } => {
                self.retreat = Some(Retreat { from: *from, to: *to, keeps: *keeps });
            }
            Action::CancelRetreat { to, failed, .. } => {
                self.retreat = None;
                if *failed {
                    self.leave(*to, VersionState::RolledBack);
                }
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
            Action::Alert { .. } | Action::Dismiss { .. } | Action::Drill { .. } => {}
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
        self.flags.retain(|(other, _)| *other != version);
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
        let sorted = |mut versions: Vec<VersionNumber>| {
            versions.sort();
            versions
        };
        let by_share = self.challengers.iter().map(|(version, _)| *version);
        let challengers = by_share.chain(self.flags.iter().map(|(version, _)| *version));
        let shadows = self.shadows.iter().map(|(version, _)| *version);
        for (state, listed) in [
            (VersionState::Active, active),
            (VersionState::Canary, canary),
            (VersionState::Standby, sorted(self.standby.clone())),
            (VersionState::Challenger, sorted(challengers.collect())),
            (VersionState::Shadow, sorted(shadows.collect())),
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
        self.shares_fit(&[canary]).err().map(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
