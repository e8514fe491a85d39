//! Alerts as they reach a person: what fired, how urgent it is, and where it is sent.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Debug};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Names and values that identify an alert or a group of alerts, in alphabetical order of the names.
pub type Labels = BTreeMap<String, String>;

/// How urgent an alert is. `P0` is the most urgent, and the smallest in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Page somebody at once.
    P0,
    /// Within the hour.
    P1,
    /// Within the day.
    P2,
    /// In the next sprint.
    P3,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        })
    }
}

/// Whether an alert holds or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// It holds.
    Firing,
    /// It is over.
    Resolved,
}

impl fmt::Display for AlertStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        })
    }
}

/// One thing that is wrong, identified by its labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What identifies it: `alertname`, the subject, and more.
    pub labels: Labels,
    /// Whether it holds.
    pub status: AlertStatus,
    /// How urgent it is.
    pub severity: Severity,
    /// What happened, in one sentence for people.
    pub summary: String,
    /// Where to read what to do about it.
    pub runbook_url: String,
    /// When it began to hold.
    pub starts_at: Timestamp,
    /// When it was over.
    pub ends_at: Option<Timestamp>,
}

/// One message about a group of alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The same for every message about this group, whatever its alerts: receivers recognise repeats by it.
    pub dedupe_key: String,
    /// What the alerts of the group have in common.
    pub group_labels: Labels,
    /// Firing while one of the alerts is.
    pub status: AlertStatus,
    /// The most urgent of the alerts.
    pub severity: Severity,
    /// The alerts of the group.
    pub alerts: Vec<Alert>,
}

/// Delivers notifications: to a pager, a chat, a mailbox, a file.
///
/// # Contract
///
/// It may be slow or fail: it is called on a thread of its own. The same notification may come twice, with the same dedupe key.
pub trait AlertSink: Debug + Send + Sync {
    /// Delivers one notification.
    ///
    /// # Errors
    /// Says whether trying again makes sense.
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError>;

    /// For how long the receiver takes an alert to fire that it does not hear of again; none if until it hears that it is over. What fires is
    /// told again in time, whether anybody has acknowledged it or not.
    fn validity(&self) -> Option<Duration> {
        None
    }
}

/// A sink did not deliver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Not now; trying again may succeed.
    #[error("delivery failed for now")]
    Retry {
        /// How long the receiver asks to wait.
        after: Option<Duration>,
        /// The sink's own error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Never: the receiver refuses this notification.
    #[error("the receiver refuses the notification: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_severity_is_the_smallest() {
        assert_eq!([Severity::P2, Severity::P0, Severity::P1].iter().min(), Some(&Severity::P0));
    }
}
