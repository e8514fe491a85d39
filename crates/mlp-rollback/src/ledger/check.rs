//! Which changes make sense in which state.

use mlp_core::{MAX_SHADOWS, VersionNumber};

use super::{Canary, Entry, Ledger, MAX_CHALLENGERS, MAX_PINS, MAX_VERSIONS};
use crate::bundle::VersionBundle;
use crate::error::{Error, Result};
use crate::record::Action;
use crate::share::Share;
use crate::state::VersionState;

impl Ledger {
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
                self.in_state(*version, "warming or standby", |state| {
                    matches!(state, VersionState::Warming | VersionState::Standby)
                })?;
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
                self.shares_fit(&[plan.bound()])?;
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
                self.no_freeze()?;
                self.needs_active()?;
                self.shadow_fits()?;
                self.may_start(*version)
            }
            Action::StartChallenger { version, share } => {
                self.no_freeze()?;
                self.challenger_fits()?;
                let canary = self.canary.as_ref().map_or(Share::ZERO, |canary| canary.plan.bound());
                self.shares_fit(&[canary, *share])?;
                self.may_start(*version)
            }
            Action::StartFlag { version, .. } => {
                self.no_freeze()?;
                self.challenger_fits()?;
                self.may_start(*version)
            }
            Action::SetFlag { version, .. } => {
                self.entry(*version)?;
                let is_flagged = self.flags.iter().any(|(other, _)| other == version);
                if is_flagged {
                    Ok(())
                } else {
                    Err(Error::Nothing { what: "flag of that version" })
                }
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
            Action::CancelRetreat { from, to, .. } => match self.retreat {
                Some(retreat) if retreat.from == *from && retreat.to == *to => Ok(()),
                _ => Err(Error::Nothing { what: "retreat between these versions" }),
            },
            Action::Dismiss { version } => self.entry(*version).map(|_| ()),
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

    fn challenger_fits(&self) -> Result<()> {
        self.needs_active()?;
        if self.challengers.len() + self.flags.len() >= MAX_CHALLENGERS {
            return Err(Error::LimitExceeded { what: "challengers", limit: MAX_CHALLENGERS });
        }
        Ok(())
    }

    fn shadow_fits(&self) -> Result<()> {
        if self.shadows.len() >= MAX_SHADOWS {
            return Err(Error::LimitExceeded { what: "shadows", limit: MAX_SHADOWS });
        }
        Ok(())
    }

    /// Whether these shares fit beside those of the challengers.
    pub(super) fn shares_fit(&self, shares: &[Share]) -> Result<()> {
        let challengers = self.challengers.iter().map(|(_, share)| share);
        // Whole millionths: sums of percentages are not exact.
        let sum: u32 = challengers.chain(shares).map(|share| share.millionths()).sum();
        if sum > Share::WHOLE.millionths() {
            return Err(Error::SharesExceedWhole { given: f64::from(sum) / 1e4 });
        }
        Ok(())
    }
}
