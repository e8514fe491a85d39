//! What Prometheus scrapes and Grafana shows.

mod dashboard;
mod exposition;

pub use dashboard::{GrafanaDashboard, GrafanaPanel};
pub(crate) use exposition::is_name;
pub use exposition::{Exposition, MetricFamily, MetricKind};
