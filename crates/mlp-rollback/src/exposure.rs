//! Since when a version answers requests, told from the history alone.

use mlp_core::{Timestamp, VersionNumber};

use crate::history::HistoryEntry;
use crate::record::Action;

/// Since when a version has answered requests without a break after all these changes; none if it answers none.
pub(crate) fn serves_since(version: VersionNumber, changes: &[HistoryEntry]) -> Option<Timestamp> {
    let mut roles = Roles::default();
    let mut since = None;
    for change in changes {
        roles.change(version, &change.action);
        since = roles.serves(version).then(|| since.unwrap_or(change.at));
    }
    since
}

/// The roles that answer requests, as far as one version is concerned.
#[derive(Debug, Default)]
struct Roles {
    /// Not known before the first change of it, if the history does not go back to the beginning.
    active: Option<VersionNumber>,
    retreat_to: Option<VersionNumber>,
    /// Whether the version is a canary or challenger.
    in_trial: bool,
}

impl Roles {
    fn serves(&self, version: VersionNumber) -> bool {
        self.active == Some(version) || self.retreat_to == Some(version) || self.in_trial
    }

    fn change(&mut self, version: VersionNumber, action: &Action) {
        match *action {
            Action::Deploy { version: gains } | Action::Promote { version: gains } => {
                self.leave(version, gains);
                self.activate(gains);
            }
            Action::StartCanary { version: gains, .. }
            | Action::StartChallenger { version: gains, .. }
            | Action::StartFlag { version: gains, .. } => {
                self.leave(version, gains);
                self.in_trial |= gains == version;
            }
            Action::RollBack { from, to } | Action::Block { version: from, to: Some(to) } => {
                // If `to` is active already, `from` is a trial, and a retreat goes on.
                if self.active != Some(to) {
                    self.leave(version, to);
                    self.activate(to);
                }
                self.leave(version, from);
            }
            Action::Retreat { to, .. } => self.retreat_to = Some(to),
            Action::CancelRetreat { .. } => self.retreat_to = None,
            // One that is active serves on although it is blocked.
            Action::Block { version: loses, to: None }
            | Action::Abort { version: loses }
            | Action::StartShadow { version: loses, .. }
            | Action::Demote { version: loses, .. }
            | Action::GiveUp { version: loses, .. } => self.leave(version, loses),
            _ => {}
        }
    }

    /// Every retreat is one of the active version, and ends with its time.
    fn activate(&mut self, version: VersionNumber) {
        (self.active, self.retreat_to) = (Some(version), None);
    }

    /// A version takes another role, or none.
    fn leave(&mut self, version: VersionNumber, leaves: VersionNumber) {
        self.in_trial &= leaves != version;
        self.retreat_to = self.retreat_to.filter(|to| *to != leaves);
    }
}
