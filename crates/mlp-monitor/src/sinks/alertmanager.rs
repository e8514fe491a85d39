//! Alertmanager's own interface, version 2: alerts are handed to a real Alertmanager.

use std::time::Duration;

use mlp_core::{Alert, AlertSink, AlertStatus, Notification, SinkError, Timestamp};
use serde_json::{Value, json};

use super::http::{Endpoint, HttpOptions};
use super::webhook::annotations;
use crate::error::{MonitorError, Result};

/// Pushes alerts to Alertmanager (`POST /api/v2/alerts`), which groups, silences and routes them once more.
///
/// Alertmanager takes an alert whose end has passed for over, so a firing one is pushed with an end in the future, its validity away. The alert
/// manager here pushes what fires again after half of that, whether it is acknowledged, silenced or neither; if this process ends for good,
/// Alertmanager takes its alerts for over when their validity ends.
#[derive(Debug)]
pub struct AlertmanagerSink {
    endpoint: Endpoint,
    valid_for: Duration,
    severity: SeverityLabel,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum SeverityLabel {
    No,
    Yes,
}

impl AlertmanagerSink {
    /// A sink for the Alertmanager at this address, such as `http://localhost:9093`.
    ///
    /// # Errors
    /// If the address is not http or https, has no host, or carries a password.
    pub fn new(url: &str, options: HttpOptions) -> Result<Self> {
        let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
        let endpoint = Endpoint::new(&url, &options)?;
        let valid_for = Duration::from_secs(24 * 3_600);
        Ok(Self { endpoint, valid_for, severity: SeverityLabel::No })
    }

    /// Sets how long Alertmanager takes an alert for firing without hearing of it again. Default 24 h.
    ///
    /// # Errors
    /// If it is 0.
    pub fn with_validity(mut self, valid_for: Duration) -> Result<Self> {
        if valid_for.is_zero() {
            return Err(MonitorError::setting("validity of a pushed alert", "0 s", "above 0"));
        }
        self.valid_for = valid_for;
        Ok(self)
    }

    /// Adds a label `severity`, for Alertmanager to route by. Labels are what tells alerts apart there: one that escalates is a second alert,
    /// and the first ends when its validity does. Without it, severity is an annotation.
    #[must_use]
    pub fn with_severity_label(mut self) -> Self {
        self.severity = SeverityLabel::Yes;
        self
    }

    fn alert(&self, alert: &Alert, now: Timestamp) -> Value {
        let end = match (alert.status, alert.ends_at) {
            (AlertStatus::Resolved, end) => end.unwrap_or(now).min(now),
            (AlertStatus::Firing, _) => now.after(self.valid_for),
        };
        let mut labels = alert.labels.clone();
        // Alertmanager refuses a whole batch for one empty label.
        labels.retain(|_, value| !value.is_empty());
        if self.severity == SeverityLabel::Yes {
            labels.insert("severity".to_owned(), alert.severity.to_string());
        }
        json!({
            "labels": labels,
            "annotations": annotations(alert),
            "startsAt": alert.starts_at.min(end),
            "endsAt": end,
        })
    }
}

impl AlertSink for AlertmanagerSink {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        let now = Timestamp::from(std::time::SystemTime::now());
        let alerts: Vec<Value> = notification.alerts.iter().map(|a| self.alert(a, now)).collect();
        self.endpoint.post(&alerts)
    }

    fn validity(&self) -> Option<Duration> {
        Some(self.valid_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::sample::firing;

    #[test]
    fn alertmanager_gets_labels_annotations_and_an_end() {
        let sink = AlertmanagerSink::new("http://localhost:9093/", HttpOptions::default()).unwrap();
        let sink = sink.with_validity(Duration::from_secs(3_600)).unwrap();
        let now = "2026-03-01T12:10:00Z".parse().unwrap();
        let [firing, resolved] = [0, 1].map(|k| firing().alerts[k].clone());
        assert_eq!(
            sink.alert(&firing, now),
            json!({
                "labels": {"alertname": "slow <&>", "host": "a"},
                "annotations": {"severity": "P1", "summary": "p99 is 70, above 50 <!channel>", "runbook_url": "https://runbooks.example/slow"},
                "startsAt": "2026-03-01T12:00:00.000000Z",
                "endsAt": "2026-03-01T13:10:00.000000Z",
            })
        );
        assert_eq!(sink.alert(&resolved, now)["endsAt"], "2026-03-01T12:05:00.000000Z");
        let labelled = sink.with_severity_label().alert(&firing, now);
        assert_eq!(labelled["labels"]["severity"], "P1");
    }
}
