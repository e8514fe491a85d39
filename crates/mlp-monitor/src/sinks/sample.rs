//! Notifications that the tests of the sinks send.

use mlp_core::{Alert, AlertStatus, Labels, Notification, Severity};

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A group of which one alert fires and one is over, with all that must be escaped somewhere.
pub(crate) fn firing() -> Notification {
    let alert = |host: &str, status, severity, summary: &str| Alert {
        labels: labels([("alertname", "slow <&>"), ("host", host)]),
        status,
        severity,
        summary: summary.to_owned(),
        runbook_url: "https://runbooks.example/slow".to_owned(),
        starts_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        ends_at: (status == AlertStatus::Resolved).then(|| "2026-03-01T12:05:00Z".parse().unwrap()),
    };
    Notification {
        dedupe_key: r#"P1{alertname="slow <&>"}"#.to_owned(),
        group_labels: labels([("alertname", "slow <&>")]),
        status: AlertStatus::Firing,
        severity: Severity::P1,
        alerts: vec![
            alert("a", AlertStatus::Firing, Severity::P1, "p99 is 70, above 50 <!channel>"),
            alert("b", AlertStatus::Resolved, Severity::P2, "p99 is 40, fine again"),
        ],
    }
}

/// The same group when all of it is over.
pub(crate) fn resolved() -> Notification {
    let mut notification = firing();
    notification.status = AlertStatus::Resolved;
    for alert in &mut notification.alerts {
        alert.status = AlertStatus::Resolved;
        alert.ends_at = Some("2026-03-01T12:05:00Z".parse().unwrap());
    }
    notification
}

/// A group of many alerts with long texts.
pub(crate) fn storm(alerts: usize) -> Notification {
    let mut notification = firing();
    let mut alert = notification.alerts.remove(0);
    alert.summary = "<&>".repeat(300);
    notification.alerts = (0..alerts)
        .map(|k| {
            let mut alert = alert.clone();
            alert.labels.insert("host".to_owned(), format!("host-{k}"));
            alert
        })
        .collect();
    notification
}
