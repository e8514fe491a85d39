//! What was changed, by whom, why and when; and the post-mortem that is told from it.

use std::fmt;

use mlp_core::{Timestamp, VersionNumber};
use serde::{Deserialize, Serialize};

use crate::exposure;
use crate::record::{Action, Cause, Intent, Record};

/// One change that was made.
///
/// Its text is one line: when, from which version to which, by whom, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The generation that the change made.
    pub generation: u64,
    /// When.
    pub at: Timestamp,
    /// Who asked for it; an automatic change names its mechanism.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What fired, if it was automatic.
    pub causes: Vec<Cause>,
    /// The version that lost traffic by it.
    pub from: Option<VersionNumber>,
    /// The version that gained traffic by it.
    pub to: Option<VersionNumber>,
    /// The change.
    pub action: Action,
}

impl HistoryEntry {
    pub(crate) fn new(intent: Intent) -> Self {
        let active = intent.active_before;
        let (from, to) = match &intent.action {
            Action::Deploy { version } | Action::Promote { version } => (active, Some(*version)),
            Action::StartCanary { version, .. }
            | Action::StartChallenger { version, .. }
            | Action::StepCanary { version, .. } => (active, Some(*version)),
            Action::Abort { version } | Action::Demote { version, .. } => (Some(*version), active),
            Action::RollBack { from, to } | Action::Retreat { from, to, .. } => {
                (Some(*from), Some(*to))
            }
            Action::Block { version, to } => (Some(*version), *to),
            _ => (None, None),
        };
        let Intent { generation, at, actor, reason, causes, action, .. } = intent;
        Self { generation, at, actor, reason, causes, from, to, action }
    }

    /// Whether a version was taken out.
    #[must_use]
    pub fn is_rollback(&self) -> bool {
        matches!(
            self.action,
            Action::RollBack { .. }
                | Action::Abort { .. }
                | Action::Retreat { .. }
                | Action::Block { .. }
        )
    }

    fn is_about(&self, version: VersionNumber) -> bool {
        self.action.version() == Some(version)
            || self.from == Some(version)
            || self.to == Some(version)
    }
}

impl fmt::Display for HistoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} generation {}: {}", self.at, self.generation, Verb(&self.action))?;
        match (self.from, self.to) {
            (Some(from), Some(to)) => write!(f, " {from} → {to}")?,
            (None, Some(version)) | (Some(version), None) => write!(f, " {version}")?,
            (None, None) => {
                if let Some(version) = self.action.version() {
                    write!(f, " {version}")?;
                }
            }
        }
        write!(f, " by {}", self.actor)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        for (i, cause) in self.causes.iter().enumerate() {
            write!(f, "{}{cause}", if i == 0 { " [" } else { "; " })?;
        }
        if self.causes.is_empty() { Ok(()) } else { f.write_str("]") }
    }
}

struct Verb<'a>(&'a Action);

impl fmt::Display for Verb<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::Register { bundle, .. } => write!(f, "registered {:?} as", bundle.name),
            Action::Warm { .. } => f.write_str("warming"),
            Action::GiveUp { error, .. } => write!(f, "gave up ({error})"),
            Action::Deploy { .. } => f.write_str("deployed"),
            Action::StartCanary { plan, .. } => {
                write!(f, "canary of {}", plan.steps().first().copied().unwrap_or_default())
            }
            Action::StepCanary { step, .. } => write!(f, "canary to step {}", step + 1),
            Action::PauseCanary { .. } => f.write_str("paused"),
            Action::ResumeCanary { .. } => f.write_str("resumed"),
            Action::StartShadow { share, .. } => write!(f, "shadow of {share}"),
            Action::StartChallenger { share, .. } => write!(f, "challenger of {share}"),
            Action::StartFlag { flag, .. } => write!(f, "flag {flag} for"),
            Action::SetFlag { flag, .. } => write!(f, "flag set to {flag} for"),
            Action::Promote { .. } => f.write_str("promoted"),
            Action::Abort { .. } => f.write_str("aborted"),
            Action::RollBack { .. } => f.write_str("rolled back"),
            Action::Retreat { keeps, .. } => write!(f, "retreat, {keeps} kept,"),
            Action::CancelRetreat { to, failed, .. } => {
                let why = if *failed { "failed" } else { "is not ready" };
                write!(f, "retreat ended, {to} {why}, all to")
            }
            Action::Dismiss { .. } => f.write_str("dismissed the rollback of"),
            Action::Demote { share, .. } => write!(f, "made a shadow of {share}"),
            Action::Block { .. } => f.write_str("blocked"),
            Action::Unblock { .. } => f.write_str("unblocked"),
            Action::Pin { unit, .. } => write!(f, "pinned {unit:?} to"),
            Action::Unpin { unit } => write!(f, "unpinned {unit:?}"),
            Action::Archive { .. } => f.write_str("archived"),
            Action::Freeze => f.write_str("frozen"),
            Action::Unfreeze => f.write_str("unfrozen"),
            Action::Alert { .. } => f.write_str("alert about"),
            Action::Drill { to, nanoseconds, .. } => {
                write!(f, "drill to {to} in {:.3} ms of", *nanoseconds as f64 / 1e6)
            }
        }
    }
}

/// The changes that were made, from a journal's records: an intent without its commit was never made.
#[must_use]
pub fn history_of(records: &[Record]) -> Vec<HistoryEntry> {
    let mut open = None;
    let mut entries = Vec::new();
    for record in records {
        match record {
            Record::Intent(intent) => open = Some(intent.as_ref().clone()),
            Record::Commit { generation } => {
                let made = open.take().filter(|intent| intent.generation == *generation);
                entries.extend(made.map(HistoryEntry::new));
            }
            Record::Void { .. } => open = None,
        }
    }
    entries
}

/// The story of one rollback, told from the history alone.
///
/// Its text is a page for people: what happened, the numbers that decided it, and the timeline of the version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PostMortem {
    /// The rollback.
    pub incident: HistoryEntry,
    /// Everything before it that concerned the version, oldest first.
    pub timeline: Vec<HistoryEntry>,
    /// How long the version had served, from its first share of traffic.
    pub exposure: Option<std::time::Duration>,
}

impl PostMortem {
    /// The post-mortem of the rollback that made this generation.
    #[must_use]
    pub fn new(history: &[HistoryEntry], generation: u64) -> Option<Self> {
        let at = history
            .iter()
            .position(|entry| entry.generation == generation && entry.is_rollback())?;
        let incident = history[at].clone();
        let version = incident.from?;
        let timeline: Vec<_> =
            history[..at].iter().filter(|entry| entry.is_about(version)).cloned().collect();
        let started = exposure::serves_since(version, &history[..at]);
        let exposure = started.map(|since| incident.at.since(since));
        Some(Self { incident, timeline, exposure })
    }
}

impl fmt::Display for PostMortem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HistoryEntry { from, to, at, actor, reason, .. } = &self.incident;
        let name = |version: &Option<VersionNumber>| {
            version.map_or("nothing".to_owned(), |version| version.to_string())
        };
        writeln!(f, "Post-mortem of generation {}", self.incident.generation)?;
        writeln!(f, "  what      {} {} → {}", Verb(&self.incident.action), name(from), name(to))?;
        writeln!(f, "  when      {at}")?;
        writeln!(f, "  who       {actor}")?;
        if !reason.is_empty() {
            writeln!(f, "  why       {reason}")?;
        }
        if let Some(exposure) = self.exposure {
            writeln!(f, "  exposure  {exposure:?}")?;
        }
        for cause in &self.incident.causes {
            writeln!(f, "  cause     {cause}")?;
        }
        writeln!(f, "  timeline")?;
        for entry in self.timeline.iter().chain([&self.incident]) {
            writeln!(f, "    {entry}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::CanaryPlan;
    use crate::share::Share;

    const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

    /// How many hours version 1 had served when it was rolled back, if one change was made an hour.
    fn hours_served(changes: &[Action]) -> Option<u64> {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut active = None;
        let end = Action::RollBack { from: V1, to: VersionNumber(9) };
        let history: Vec<_> = (0..)
            .zip(changes.iter().chain([&end]))
            .map(|(generation, action)| {
                let (at, active_before) = (start.after(HOUR * generation), active);
                active = match action {
                    Action::Deploy { version } | Action::Promote { version } => Some(*version),
                    Action::RollBack { to, .. } | Action::Block { to: Some(to), .. } => Some(*to),
                    _ => active,
                };
                HistoryEntry::new(Intent {
                    generation: u64::from(generation),
                    at,
                    actor: "tester".to_owned(),
                    reason: String::new(),
                    idempotency_key: None,
                    causes: Vec::new(),
                    active_before,
                    keep_warm: 2,
                    action: action.clone(),
                })
            })
            .collect();
        let story = PostMortem::new(&history, changes.len() as u64).unwrap();
        story.exposure.map(|exposure| exposure.as_secs() / 3_600)
    }

    const V1: VersionNumber = VersionNumber(1);
    const V2: VersionNumber = VersionNumber(2);
    const V3: VersionNumber = VersionNumber(3);

    fn deploy(version: VersionNumber) -> Action {
        Action::Deploy { version }
    }

    fn canary(version: VersionNumber) -> Action {
        Action::StartCanary { version, plan: CanaryPlan::fixed(Share::HALF).unwrap() }
    }

    fn retreat_to(to: VersionNumber) -> Action {
        Action::Retreat { from: V2, to, keeps: Share::HALF }
    }

    #[test]
    fn the_target_of_a_retreat_serves_until_the_retreat_ends() {
        let rolled_back = |from, to| Action::RollBack { from, to };
        for ends in [
            Action::CancelRetreat { from: V2, to: V1, failed: false },
            Action::CancelRetreat { from: V2, to: V1, failed: true },
            Action::Promote { version: V3 },
            deploy(V3),
            rolled_back(V2, V3),
            Action::Block { version: V2, to: Some(V3) },
            retreat_to(V3),
            Action::GiveUp { version: V1, error: String::new() },
        ] {
            let changes = [deploy(V1), deploy(V2), retreat_to(V1), ends.clone()];
            assert_eq!(hours_served(&changes), None, "{ends:?}");
            let again = [&changes[..], &[deploy(V1)]].concat();
            assert_eq!(hours_served(&again), Some(1), "{ends:?}");
        }
        // That a canary is taken out meanwhile does not end it, nor that it ends with this version active.
        let changes = [deploy(V1), deploy(V2), canary(V3), retreat_to(V1), rolled_back(V3, V2)];
        assert_eq!(hours_served(&changes), Some(2));
        let changes = [deploy(V1), deploy(V2), retreat_to(V1), rolled_back(V2, V1)];
        assert_eq!(hours_served(&changes), Some(2));
    }

    #[test]
    fn a_block_ends_a_trial_but_not_the_service_of_a_version_that_nothing_replaces() {
        let blocked = Action::Block { version: V1, to: None };
        let unblocked = Action::Unblock { version: V1 };
        let changes = [deploy(V1), blocked.clone(), unblocked.clone()];
        assert_eq!(hours_served(&changes), Some(3));
        let changes = [deploy(V2), canary(V1), blocked, unblocked, deploy(V1)];
        assert_eq!(hours_served(&changes), Some(1));
    }
}
