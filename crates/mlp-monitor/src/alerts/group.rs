//! Alerts that are told together.

use std::collections::BTreeMap;
use std::time::Duration;

use mlp_core::{Labels, Severity};
use serde::{Deserialize, Serialize};

use super::{AlertRoute, Fingerprint};

/// The alerts of one route that have the group's labels in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) route: String,
    pub(crate) labels: Labels,
    pub(crate) members: BTreeMap<Fingerprint, Member>,
    created: Duration,
    last_told: Option<Duration>,
    /// Something must be told now, whatever the intervals say.
    pub(crate) urgent: bool,
}

/// What the sinks of a group know of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The severity they were told; none if they know nothing of it.
    pub(crate) told: Option<Severity>,
    /// Whether the alert belongs here now; after an escalation only its resolve is told here.
    pub(crate) here: bool,
}

impl Group {
    pub(crate) fn new(route: &AlertRoute, labels: Labels, now: Duration) -> Self {
        Self {
            route: route.name.clone(),
            labels,
            members: BTreeMap::new(),
            created: now,
            last_told: None,
            urgent: false,
        }
    }

    /// The stable name of a group: also the dedupe key of its notifications.
    pub(crate) fn key(route: &AlertRoute, labels: &Labels) -> String {
        let pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{}{{{}}}", route.name, pairs.join(","))
    }

    /// When a change may be told.
    pub(crate) fn change_due(&self, route: &AlertRoute) -> Duration {
        match self.last_told {
            _ if self.urgent => Duration::ZERO,
            None => self.created.saturating_add(route.group_wait),
            Some(last) => last.saturating_add(route.group_interval),
        }
    }

    /// When the same is told again.
    pub(crate) fn repeat_due(&self, route: &AlertRoute) -> Option<Duration> {
        self.last_told.map(|last| last.saturating_add(route.repeat_interval))
    }

    pub(crate) fn told(&mut self, now: Duration) {
        self.last_told = Some(now);
        self.urgent = false;
    }

    /// Whether nothing would be lost by forgetting the group.
    pub(crate) fn is_over(&self, route: &AlertRoute, now: Duration) -> bool {
        self.members.is_empty()
            && self.last_told.is_none_or(|last| last.saturating_add(route.group_interval) <= now)
    }
}
