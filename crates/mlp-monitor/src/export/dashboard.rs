//! A dashboard for Grafana.

use serde_json::{Value, json};

/// A graph: a title, what is drawn (PromQL), and in which unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrafanaPanel {
    title: String,
    unit: String,
    queries: Vec<(String, String)>,
}

impl GrafanaPanel {
    /// An empty graph; `unit` is one of Grafana's, such as `s`, `percentunit`, `reqps`, `short`.
    pub fn new(title: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { title: title.into(), unit: unit.into(), queries: Vec::new() }
    }

    /// Adds lines: a query, and how they are called in the legend, where `{{label}}` stands for a label's value.
    #[must_use]
    pub fn with_query(mut self, query: impl Into<String>, legend: impl Into<String>) -> Self {
        self.queries.push((query.into(), legend.into()));
        self
    }
}

/// A dashboard that Grafana imports as JSON (schema version 39, Grafana 10 and later); it asks for the Prometheus data source.
///
/// ```
/// use mlp_monitor::{GrafanaDashboard, GrafanaPanel};
///
/// let dashboard = GrafanaDashboard::alerts("house-prices")
///     .with_panel(GrafanaPanel::new("Predictions", "reqps").with_query("rate(predictions_total[5m])", "{{model}}"));
/// assert!(dashboard.to_json().contains("rate(predictions_total[5m])"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrafanaDashboard {
    title: String,
    panels: Vec<GrafanaPanel>,
}

/// Grafana's grid is 24 wide; two graphs side by side.
const WIDTH: usize = 12;
const HEIGHT: usize = 8;

impl GrafanaDashboard {
    /// A dashboard without graphs.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), panels: Vec::new() }
    }

    /// A dashboard of what [`AlertManager::expose`](crate::AlertManager::expose) writes.
    pub fn alerts(title: impl Into<String>) -> Self {
        Self::new(title)
            .with_panel(
                GrafanaPanel::new("Alerts", "short")
                    .with_query("sum by (severity, state) (mlp_alerts)", "{{severity}} {{state}}"),
            )
            .with_panel(
                GrafanaPanel::new("Notifications", "cps")
                    .with_query("rate(mlp_alert_sink_delivered_total[5m])", "{{sink}} delivered")
                    .with_query("rate(mlp_alert_sink_failed_total[5m])", "{{sink}} failed")
                    .with_query("rate(mlp_alert_sink_undelivered_total[5m])", "{{sink}} given up"),
            )
            .with_panel(
                GrafanaPanel::new("Waiting for sinks", "short")
                    .with_query("mlp_alert_sink_waiting", "{{sink}}"),
            )
            .with_panel(
                GrafanaPanel::new("State", "short")
                    .with_query("mlp_alert_silences", "silences")
                    .with_query("mlp_alert_store_faulty", "store faulty"),
            )
    }

    /// Adds a graph after those there are.
    #[must_use]
    pub fn with_panel(mut self, panel: GrafanaPanel) -> Self {
        self.panels.push(panel);
        self
    }

    /// The JSON that Grafana imports.
    #[must_use]
    pub fn to_json(&self) -> String {
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let target = |(index, (query, legend)): (usize, &(String, String))| {
            let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
            json!({"datasource": source, "expr": query, "legendFormat": legend, "refId": letter.to_string()})
        };
        let panel = |(index, panel): (usize, &GrafanaPanel)| -> Value {
            let queries: Vec<Value> = panel.queries.iter().enumerate().map(target).collect();
            json!({
                "id": index + 1,
                "type": "timeseries",
                "title": panel.title,
                "datasource": source,
                "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
                "gridPos": {"x": index % 2 * WIDTH, "y": index / 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
                "targets": queries,
            })
        };
        let dashboard = json!({
            "title": self.title,
            "schemaVersion": 39,
            "editable": true,
            "time": {"from": "now-6h", "to": "now"},
            "refresh": "30s",
            "tags": ["mlp"],
            "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
            "panels": self.panels.iter().enumerate().map(panel).collect::<Vec<_>>(),
        });
        format!("{dashboard:#}\n")
    }
}
