//! PagerDuty's Events API, version 2.

use mlp_core::{Alert, AlertSink, AlertStatus, Notification, Severity, SinkError};
use serde_json::{Value, json};

use super::Secret;
use super::http::{Endpoint, HttpOptions};
use super::text::{cut, title};
use crate::alerts::Fingerprint;
use crate::error::{MonitorError, Result};

/// Where events go in PagerDuty's US service region.
const EVENTS: &str = "https://events.pagerduty.com/v2/enqueue";
/// The longest dedup_key and summary that PagerDuty takes, in characters.
const MAX_KEY: usize = 255;
const MAX_SUMMARY: usize = 1_024;
/// How many alerts an event lists, and how many bytes of them: PagerDuty takes events of 512 KiB.
const MAX_ALERTS: usize = 50;
const MAX_DETAILS: usize = 384 * 1024;

/// Triggers and resolves incidents in PagerDuty: one for each group, by its dedupe key, so a notification that is sent twice is one incident.
#[derive(Debug)]
pub struct PagerDutySink {
    endpoint: Endpoint,
    routing_key: Secret,
}

impl PagerDutySink {
    /// A sink for the integration with this routing key.
    ///
    /// # Errors
    /// If the key is empty.
    pub fn new(routing_key: impl Into<Secret>, options: HttpOptions) -> Result<Self> {
        Self::at(EVENTS, routing_key, options)
    }

    /// A sink that posts elsewhere: to the service region EU, or to a service that takes the same events.
    ///
    /// # Errors
    /// If the key is empty, or the address is not http or https, has no host, or carries a password.
    pub fn at(url: &str, routing_key: impl Into<Secret>, options: HttpOptions) -> Result<Self> {
        let routing_key = routing_key.into();
        if routing_key.reveal().trim().is_empty() {
            return Err(MonitorError::setting("routing key", "empty", "not empty"));
        }
        Ok(Self { endpoint: Endpoint::new(url, &options)?, routing_key })
    }
}

impl AlertSink for PagerDutySink {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        self.endpoint.post(&event(notification, &self.routing_key))
    }
}

fn event(notification: &Notification, routing_key: &Secret) -> Value {
    let mut event = json!({
        "routing_key": routing_key.reveal(),
        "dedup_key": dedup_key(&notification.dedupe_key),
        "event_action": match notification.status {
            AlertStatus::Firing => "trigger",
            AlertStatus::Resolved => "resolve",
        },
    });
    let Some(first) = notification.alerts.first() else { return event };
    if notification.status == AlertStatus::Firing {
        event["client"] = json!("mlp");
        event["links"] = json!([{"href": cut(&first.runbook_url, MAX_SUMMARY), "text": "runbook"}]);
        event["payload"] = json!({
            "summary": cut(&format!("{}: {}", title(notification), first.summary), MAX_SUMMARY),
            "source": source(first),
            "severity": match notification.severity {
                Severity::P0 => "critical",
                Severity::P1 => "error",
                Severity::P2 => "warning",
                Severity::P3 => "info",
            },
            "timestamp": first.starts_at,
            "custom_details": {
                "alerts": listed(&notification.alerts),
                "alerts_in_all": notification.alerts.len(),
            },
        });
    }
    event
}

/// The first alerts, as many as have room.
fn listed(alerts: &[Alert]) -> Vec<Value> {
    let mut room = MAX_DETAILS;
    let details = alerts.iter().take(MAX_ALERTS).map(details);
    let fits = |details: &Value| {
        let length = details.to_string().len();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    };
    details.take_while(fits).collect()
}

fn details(alert: &Alert) -> Value {
    json!({"status": alert.status, "severity": alert.severity, "labels": alert.labels, "summary": cut(&alert.summary, 500)})
}

/// What it is about: the first label that names a thing.
fn source(alert: &Alert) -> String {
    let names = ["instance", "host", "model", "service", "alertname"];
    let found = names.iter().find_map(|name| alert.labels.get(*name));
    found.map_or_else(|| "mlp".to_owned(), |source| cut(source, 255))
}

/// The key itself where it fits; otherwise its beginning and a hash of it.
fn dedup_key(key: &str) -> String {
    if key.chars().count() <= MAX_KEY {
        return key.to_owned();
    }
    let hash = Fingerprint::of(&[("dedup_key".to_owned(), key.to_owned())].into());
    format!("{}…{hash}", key.chars().take(MAX_KEY - 17).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::sample::{firing, resolved, storm};

    #[test]
    fn pagerduty_gets_a_trigger_and_a_resolve_with_one_dedup_key() {
        let key = Secret::new("R0UT1NG");
        assert_eq!(
            event(&firing(), &key),
            json!({
                "routing_key": "R0UT1NG",
                "dedup_key": r#"P1{alertname="slow <&>"}"#,
                "event_action": "trigger",
                "client": "mlp",
                "links": [{"href": "https://runbooks.example/slow", "text": "runbook"}],
                "payload": {
                    "summary": "[FIRING:1] P1 slow <&>: p99 is 70, above 50 <!channel>",
                    "source": "a",
                    "severity": "error",
                    "timestamp": "2026-03-01T12:00:00.000000Z",
                    "custom_details": {
                        "alerts": [
                            {"status": "firing", "severity": "P1", "labels": {"alertname": "slow <&>", "host": "a"}, "summary": "p99 is 70, above 50 <!channel>"},
                            {"status": "resolved", "severity": "P2", "labels": {"alertname": "slow <&>", "host": "b"}, "summary": "p99 is 40, fine again"},
                        ],
                        "alerts_in_all": 2,
                    },
                },
            })
        );
        assert_eq!(
            event(&resolved(), &key),
            json!({"routing_key": "R0UT1NG", "dedup_key": r#"P1{alertname="slow <&>"}"#, "event_action": "resolve"})
        );
    }

    #[test]
    fn a_storm_stays_below_what_pagerduty_takes() {
        let mut storm = storm(10_000);
        storm.dedupe_key = "é".repeat(300);
        storm.alerts[0].summary = "x".repeat(2_000);
        let full = event(&storm, &Secret::new("key"));
        assert!(full.to_string().len() < 512 * 1024);
        for alert in &mut storm.alerts {
            alert
                .labels
                .extend((0..60).map(|k| (format!("{k}{}", "n".repeat(300)), "é\n".repeat(500))));
        }
        let event = event(&storm, &Secret::new("key"));
        assert!(event.to_string().len() < 512 * 1024, "{}", event.to_string().len());
        assert_eq!(event["payload"]["custom_details"]["alerts_in_all"], 10_000);
        assert!(!event["payload"]["custom_details"]["alerts"].as_array().unwrap().is_empty());
        assert_eq!(event["dedup_key"].as_str().unwrap().chars().count(), MAX_KEY);
        assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), MAX_SUMMARY);
        let sink = PagerDutySink::new("geheim", HttpOptions::default()).unwrap();
        assert!(!format!("{sink:?}").contains("geheim"));
        assert!(PagerDutySink::new(" ", HttpOptions::default()).is_err());
    }
}
