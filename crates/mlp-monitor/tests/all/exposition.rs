//! What Prometheus gets of a whole application.

use std::sync::Arc;

use mlp_core::{Alert, AlertStatus, Labels, ManualClock, Severity, Timestamp};
use mlp_monitor::{
    AlertConfig, AlertManager, Exposition, GrafanaDashboard, MemorySink, MetricKind,
};

fn labels(value: &str) -> Labels {
    [("model".to_owned(), value.to_owned())].into()
}

/// The manager's own metrics, and others with everything that must be escaped.
pub(crate) fn sample() -> String {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let sinks = [("log \"1\"", Arc::new(MemorySink::new()) as _)];
    let manager = AlertManager::new(AlertConfig::new("log \"1\""), sinks, clock).unwrap();
    manager
        .update(Alert {
            labels: labels("a"),
            status: AlertStatus::Firing,
            severity: Severity::P2,
            summary: "s".to_owned(),
            runbook_url: "https://runbooks.example/it".to_owned(),
            starts_at: Timestamp::UNIX_EPOCH,
            ends_at: None,
        })
        .unwrap();
    let mut metrics = Exposition::new();
    manager.expose(&mut metrics).unwrap();
    let names = ["plain", "a \"quoted\" one", "back\\slash", "two\nlines", "日本 🦀", ""];
    let mut family = metrics
        .family("mlp_serve_requests_total", MetricKind::Counter, "Requests \\ answered.\nAll.")
        .unwrap();
    for name in names {
        family.sample(&labels(name), 7.0).unwrap();
    }
    let mut family = metrics.family("mlp_score_ratio", MetricKind::Gauge, "Score.").unwrap();
    for (name, value) in
        names.into_iter().zip([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, 1e300])
    {
        family.sample(&labels(name), value).unwrap();
    }
    let mut family =
        metrics.family("mlp_serve_predict_seconds", MetricKind::Histogram, "Latency.").unwrap();
    family.histogram(&labels("a"), &[(0.001, 1), (0.01, 4)], 5, 0.5).unwrap();
    family.histogram(&Labels::new(), &[], 0, 0.0).unwrap();
    metrics.into_text()
}

#[test]
fn the_managers_own_metrics_count_alerts_and_sinks() {
    let text = sample();
    for line in [
        "mlp_alerts{severity=\"P2\",state=\"firing\"} 1",
        "mlp_alerts{severity=\"P0\",state=\"firing\"} 0",
        "mlp_alert_sink_delivered_total{sink=\"log \\\"1\\\"\"} 0",
        "mlp_alert_silences 0",
        "mlp_alert_store_faulty 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_the_exposition_has() {
    let json: serde_json::Value =
        serde_json::from_str(&GrafanaDashboard::alerts("mlp").to_json()).unwrap();
    let text = sample();
    let mut asked = 0;
    for panel in json["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let start = query.find("mlp_").unwrap();
            let name = query[start..]
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
            asked += 1;
        }
    }
    assert_eq!(asked, 7);
}
