//! What the manager knows of one alert over time, and what mutes it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use mlp_core::{Alert, AlertStatus, Severity, Timestamp};
use serde::{Deserialize, Serialize};

use super::group::Member;
use super::{Fingerprint, Matcher};

/// One alert from its first firing until its resolve has been told. It keeps the highest severity it has had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Incident {
    /// Identifies it by its labels.
    pub fingerprint: Fingerprint,
    /// The alert, with the severity it has now.
    pub alert: Alert,
    /// The most urgent severity with which it was raised; it may have escalated since.
    pub raised_as: Severity,
    /// How often it was raised.
    pub raised: u64,
    /// Who takes care of it.
    pub acknowledged: Option<Acknowledgement>,
    /// Why nobody is told, if it is muted.
    pub suppressed: Option<Suppression>,
    /// Since when it has its severity, in the manager's time.
    pub(crate) urgent_since: Duration,
    /// A silence has muted it since it was last audible: once it is audible again it is told at once.
    pub(crate) hushed: bool,
    /// The groups that know of it, by their keys, and what their sinks were told.
    pub(crate) groups: BTreeMap<String, Member>,
}

impl Incident {
    pub(crate) fn is_firing(&self) -> bool {
        self.alert.status == AlertStatus::Firing
    }

    /// Whether it fires, and nothing mutes it.
    pub(crate) fn is_audible(&self) -> bool {
        self.is_firing() && self.suppressed.is_none()
    }

    /// Takes a raise that says something new: that it fires again, or is more urgent.
    pub(crate) fn raise(&mut self, alert: &Alert, now: Duration) {
        let louder = !self.is_firing() || alert.severity < self.alert.severity;
        self.raised_as = self.raised_as.min(alert.severity);
        self.alert.severity = self.alert.severity.min(alert.severity);
        self.alert.status = AlertStatus::Firing;
        self.alert.ends_at = None;
        if louder {
            self.urgent_since = now;
            self.acknowledged = None;
        }
    }

    pub(crate) fn resolve(&mut self, alert: Alert, wall: Timestamp) {
        self.alert.status = AlertStatus::Resolved;
        self.alert.ends_at = Some(alert.ends_at.unwrap_or(wall));
        self.alert.summary = alert.summary;
    }

    /// The severity after an escalation.
    pub(crate) fn escalated(&self) -> Severity {
        match self.alert.severity {
            Severity::P0 | Severity::P1 => Severity::P0,
            Severity::P2 => Severity::P1,
            Severity::P3 => Severity::P2,
        }
    }
}

/// Somebody takes care of an incident: it is not repeated and does not escalate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

/// Why nobody is told of an alert that fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppression {
    /// Somebody silenced it.
    Silenced(SilenceId),
    /// Another alert speaks for it.
    Inhibited(Fingerprint),
}

/// Identifies a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SilenceId(pub u64);

impl FromStr for SilenceId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for SilenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Mutes the alerts that a matcher picks for a while. Resolve notices of what was told before still go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Silence {
    /// Identifies it.
    pub id: SilenceId,
    /// What it mutes.
    pub matcher: Matcher,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub comment: String,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it ends by the wall clock as it was at its start; the manager counts monotonic time.
    pub ends_at: Timestamp,
    /// When it ends, in the manager's time.
    pub(crate) until: Duration,
}
