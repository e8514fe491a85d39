//! What the manager knows of one alert over time, and what mutes it.

use std::fmt;
use std::time::Duration;

use mlp_core::{Alert, AlertStatus, Severity, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Fingerprint, Matcher};

/// One alert from its first firing until its resolve has been told. It keeps the highest severity it has had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Incident {
    /// Identifies it by its labels.
    pub fingerprint: Fingerprint,
    /// The alert, with the severity it has now.
    pub alert: Alert,
    /// How often it was raised.
    pub raised: u64,
    /// Who takes care of it.
    pub acknowledged: Option<Acknowledgement>,
    /// Why nobody is told, if it is muted.
    pub suppressed: Option<Suppression>,
    /// Since when it has its severity, in the manager's time.
    pub(crate) urgent_since: Duration,
    /// The groups that know of it.
    pub(crate) groups: Vec<String>,
}

impl Incident {
    pub(crate) fn is_firing(&self) -> bool {
        self.alert.status == AlertStatus::Firing
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
