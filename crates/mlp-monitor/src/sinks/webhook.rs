//! Alertmanager's webhook, version 4: what most receivers already understand.

use mlp_core::{Alert, AlertSink, AlertStatus, Labels, Notification, SinkError};
use serde_json::{Value, json};

use super::http::{Endpoint, HttpOptions};
use crate::alerts::Fingerprint;
use crate::error::Result;

/// How many alerts a message lists; how many more there are is said in `truncatedAlerts`.
const MAX_ALERTS: usize = 1_000;
/// How Alertmanager writes the end of an alert that fires.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// Posts notifications as Alertmanager's webhook does (version 4). Severity, summary and runbook are annotations.
///
/// ```
/// use mlp_monitor::{HttpOptions, WebhookSink};
///
/// let sink = WebhookSink::new("https://hooks.example/alerts?key=geheim", HttpOptions::default())?;
/// assert!(!format!("{sink:?}").contains("geheim"));
/// assert!(WebhookSink::new("file:///etc/passwd", HttpOptions::default()).is_err());
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct WebhookSink(Endpoint);

impl WebhookSink {
    /// A sink that posts to this address.
    ///
    /// # Errors
    /// If the address is not http or https, has no host, or carries a password.
    pub fn new(url: &str, options: HttpOptions) -> Result<Self> {
        Endpoint::new(url, &options).map(Self)
    }
}

impl AlertSink for WebhookSink {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        self.0.post(&message(notification))
    }
}

fn message(notification: &Notification) -> Value {
    let Notification { dedupe_key, group_labels, status, alerts, .. } = notification;
    let told: Vec<Value> = alerts.iter().take(MAX_ALERTS).map(alert).collect();
    json!({
        "version": "4",
        "groupKey": dedupe_key,
        "truncatedAlerts": alerts.len() - told.len(),
        "status": status,
        "receiver": "mlp",
        "groupLabels": group_labels,
        "commonLabels": common(alerts.iter().map(|alert| alert.labels.clone())),
        "commonAnnotations": common(alerts.iter().map(annotations)),
        "externalURL": "",
        "alerts": told,
    })
}

fn alert(alert: &Alert) -> Value {
    json!({
        "status": alert.status,
        "labels": alert.labels,
        "annotations": annotations(alert),
        "startsAt": alert.starts_at,
        "endsAt": match (alert.status, alert.ends_at) {
            (AlertStatus::Resolved, Some(end)) => json!(end),
            _ => json!(NO_END),
        },
        "generatorURL": "",
        "fingerprint": Fingerprint::of(&alert.labels).to_string(),
    })
}

/// What an alert says beside what it is.
pub(super) fn annotations(alert: &Alert) -> Labels {
    let severity = alert.severity.to_string();
    [("severity", &severity), ("summary", &alert.summary), ("runbook_url", &alert.runbook_url)]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
}

/// The pairs that all have.
fn common(mut all: impl Iterator<Item = Labels>) -> Labels {
    let first = all.next().unwrap_or_default();
    all.fold(first, |mut common, labels| {
        common.retain(|name, value| labels.get(name) == Some(value));
        common
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::sample::{firing, storm};

    #[test]
    fn the_webhook_gets_what_alertmanager_documents() {
        assert_eq!(
            message(&firing()),
            json!({
                "version": "4",
                "groupKey": r#"P1{alertname="slow <&>"}"#,
                "truncatedAlerts": 0,
                "status": "firing",
                "receiver": "mlp",
                "groupLabels": {"alertname": "slow <&>"},
                "commonLabels": {"alertname": "slow <&>"},
                "commonAnnotations": {"runbook_url": "https://runbooks.example/slow"},
                "externalURL": "",
                "alerts": [
                    {
                        "status": "firing",
                        "labels": {"alertname": "slow <&>", "host": "a"},
                        "annotations": {"severity": "P1", "summary": "p99 is 70, above 50 <!channel>", "runbook_url": "https://runbooks.example/slow"},
                        "startsAt": "2026-03-01T12:00:00.000000Z",
                        "endsAt": "0001-01-01T00:00:00Z",
                        "generatorURL": "",
                        "fingerprint": Fingerprint::of(&firing().alerts[0].labels).to_string(),
                    },
                    {
                        "status": "resolved",
                        "labels": {"alertname": "slow <&>", "host": "b"},
                        "annotations": {"severity": "P2", "summary": "p99 is 40, fine again", "runbook_url": "https://runbooks.example/slow"},
                        "startsAt": "2026-03-01T12:00:00.000000Z",
                        "endsAt": "2026-03-01T12:05:00.000000Z",
                        "generatorURL": "",
                        "fingerprint": Fingerprint::of(&firing().alerts[1].labels).to_string(),
                    },
                ],
            })
        );
    }

    #[test]
    fn a_storm_is_cut_and_says_so() {
        let message = message(&storm(1_500));
        assert_eq!(message["alerts"].as_array().unwrap().len(), 1_000);
        assert_eq!(message["truncatedAlerts"], 500);
    }
}
