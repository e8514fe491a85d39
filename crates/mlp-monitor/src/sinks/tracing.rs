//! Events of the `tracing` crate.

use mlp_core::{AlertSink, AlertStatus, Notification, Severity, SinkError};
use tracing::{error, info, warn};

/// Writes each notification as an event: P0 and P1 as errors, P2 as a warning, P3 and what is over as information.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingSink;

impl AlertSink for TracingSink {
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError> {
        let Notification { dedupe_key: key, severity, status, alerts, .. } = notification;
        let (count, first) = (alerts.len(), alerts.first());
        let summary = first.map_or("", |alert| alert.summary.as_str());
        let runbook = first.map_or("", |alert| alert.runbook_url.as_str());
        match (status, severity) {
            (AlertStatus::Resolved, _) | (_, Severity::P3) => {
                info!(key, %severity, %status, alerts = count, summary, runbook, "alert");
            }
            (_, Severity::P2) => {
                warn!(key, %severity, %status, alerts = count, summary, runbook, "alert")
            }
            (_, Severity::P0 | Severity::P1) => {
                error!(key, %severity, %status, alerts = count, summary, runbook, "alert");
            }
        }
        Ok(())
    }
}
