//! What the manager tells Prometheus.

use std::collections::BTreeMap;

use mlp_core::{Labels, Severity};

use super::{AlertManager, Circuit, SinkStatus};
use crate::error::Result;
use crate::export::{Exposition, MetricKind};

impl AlertManager {
    /// Adds the manager's own metrics: alerts by severity and state, silences, what each sink has taken and what waits for it, and whether
    /// the store fails.
    ///
    /// # Errors
    /// If there are metrics of these names (`mlp_alert…`) already.
    pub fn expose(&self, metrics: &mut Exposition) -> Result<()> {
        let mut alerts =
            metrics.family("mlp_alerts", MetricKind::Gauge, "Alerts by severity and state.")?;
        for ((severity, state), count) in self.counts() {
            alerts.sample(
                &labels([("severity", &severity.to_string()), ("state", state)]),
                count as f64,
            )?;
        }
        let help = "Silences that have not ended.";
        let silences = self.silences().len() as f64;
        metrics
            .family("mlp_alert_silences", MetricKind::Gauge, help)?
            .sample(&Labels::new(), silences)?;
        let help = "1 while the store of alert state lacks something.";
        let faulty = f64::from(u8::from(self.store_fault().is_some()));
        metrics
            .family("mlp_alert_store_faulty", MetricKind::Gauge, help)?
            .sample(&Labels::new(), faulty)?;
        self.expose_sinks(metrics)
    }

    fn counts(&self) -> BTreeMap<(Severity, &'static str), u64> {
        let severities = [Severity::P0, Severity::P1, Severity::P2, Severity::P3];
        let states = ["firing", "suppressed", "resolved"];
        let mut counts: BTreeMap<_, u64> = severities
            .into_iter()
            .flat_map(|severity| states.map(|state| ((severity, state), 0)))
            .collect();
        self.each_incident(|incident| {
            let state = match (incident.is_firing(), incident.suppressed) {
                (false, _) => "resolved",
                (true, Some(_)) => "suppressed",
                (true, None) => "firing",
            };
            *counts.entry((incident.alert.severity, state)).or_default() += 1;
        });
        counts
    }

    fn expose_sinks(&self, metrics: &mut Exposition) -> Result<()> {
        type Read = fn(&SinkStatus) -> f64;
        let all: [(&str, MetricKind, &str, Read); 7] = [
            ("mlp_alert_sink_delivered_total", MetricKind::Counter, "Notifications taken.", |s| {
                s.delivered as f64
            }),
            (
                "mlp_alert_sink_merged_total",
                MetricKind::Counter,
                "Notifications told by another one of their group that waited.",
                |s| s.merged as f64,
            ),
            (
                "mlp_alert_sink_failed_total",
                MetricKind::Counter,
                "Deliveries that failed and were tried again.",
                |s| s.failed as f64,
            ),
            (
                "mlp_alert_sink_undelivered_total",
                MetricKind::Counter,
                "Notifications that were given up.",
                |s| s.undelivered as f64,
            ),
            ("mlp_alert_sink_waiting", MetricKind::Gauge, "Notifications that wait.", |s| {
                s.waiting as f64
            }),
            (
                "mlp_alert_sink_stuck",
                MetricKind::Gauge,
                "Calls given up that have not come back.",
                |s| s.stuck as f64,
            ),
            ("mlp_alert_sink_open", MetricKind::Gauge, "1 while the circuit is open.", |s| {
                f64::from(u8::from(s.circuit == Circuit::Open))
            }),
        ];
        let sinks = self.sinks();
        for (name, kind, help, read) in all {
            let mut family = metrics.family(name, kind, help)?;
            for (sink, status) in &sinks {
                family.sample(&labels([("sink", sink)]), read(status))?;
            }
        }
        Ok(())
    }
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
