//! Alerts that are told together.

use std::collections::BTreeSet;
use std::time::Duration;

use mlp_core::{Labels, Severity};
use serde::{Deserialize, Serialize};

use super::{AlertRoute, Fingerprint, Incident};

/// The alerts of one route that have the group's labels in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) route: String,
    pub(crate) labels: Labels,
    /// Kept with each incident: a group of many costs no more to change than one of few.
    #[serde(skip)]
    pub(crate) members: BTreeSet<Fingerprint>,
    created: Duration,
    last_told: Option<Duration>,
    /// When receivers that forget heard last of everything that fires.
    refreshed: Option<Duration>,
    /// Something must be told now, whatever the intervals say.
    pub(crate) urgent: bool,
}

/// What the sinks of a group know of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The severity they were told; none if they know nothing of it.
    pub(crate) told: Option<Severity>,
    /// Whether they are to hear of it once more: a silence has ended.
    #[serde(default)]
    pub(crate) again: bool,
    /// Whether the alert belongs here now; after an escalation only its resolve is told here.
    pub(crate) here: bool,
}

impl Member {
    /// Whether the sinks are to hear of a change.
    pub(crate) fn is_news(self, incident: &Incident) -> bool {
        let audible = self.here && incident.is_audible();
        match self.told {
            None => audible,
            Some(told) => {
                let louder = incident.alert.severity < told;
                !incident.is_firing() || audible && (self.again || louder)
            }
        }
    }

    /// Whether the sinks hear of it again, after the repeat interval.
    pub(crate) fn is_repeated(self, incident: &Incident) -> bool {
        let audible = self.here && incident.is_audible();
        self.told.is_some() && audible && incident.acknowledged.is_none()
    }
}

impl Group {
    pub(crate) fn new(route: &AlertRoute, labels: Labels, now: Duration) -> Self {
        Self {
            route: route.name.clone(),
            labels,
            members: BTreeSet::new(),
            created: now,
            last_told: None,
            refreshed: None,
            urgent: false,
        }
    }

    /// The stable name of a group: also the dedupe key of its notifications.
    pub(crate) fn key(route: &AlertRoute, labels: &Labels) -> String {
        let pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{}{{{}}}", route.name, pairs.join(","))
    }

    /// Whether a change may be told.
    pub(crate) fn tells_changes(&self, route: &AlertRoute, now: Duration) -> bool {
        let due = match self.last_told {
            _ if self.urgent => Duration::ZERO,
            None => self.created.saturating_add(route.group_wait),
            Some(last) => last.saturating_add(route.group_interval),
        };
        due <= now
    }

    /// Whether it is time to tell the same again.
    pub(crate) fn tells_again(&self, route: &AlertRoute, now: Duration) -> bool {
        self.last_told.is_some_and(|last| last.saturating_add(route.repeat_interval) <= now)
    }

    /// Whether receivers that take what they heard to hold for this long are to hear of it again: after half of it.
    pub(crate) fn tells_forgetful(&self, validity: Duration, now: Duration) -> bool {
        self.refreshed.is_some_and(|last| last.saturating_add(validity / 2) <= now)
    }

    pub(crate) fn told(&mut self, now: Duration) {
        self.last_told = Some(now);
        self.refreshed = self.refreshed.or(self.last_told);
        self.urgent = false;
    }

    pub(crate) fn refreshed(&mut self, now: Duration) {
        self.refreshed = Some(now);
    }

    /// Whether nothing would be lost by forgetting the group.
    pub(crate) fn is_over(&self, route: &AlertRoute, now: Duration) -> bool {
        self.members.is_empty()
            && self.last_told.is_none_or(|last| last.saturating_add(route.group_interval) <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_kept_by_a_build_that_did_not_tell_again_is_read() {
        let kept = r#"{"told":"P1","here":true}"#;
        let read: Member = serde_json::from_str(kept).unwrap();
        assert_eq!(read, Member { told: Some(Severity::P1), again: false, here: true });
    }
}
