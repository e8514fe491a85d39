//! Monitoring that does not cry wolf: drift with effect sizes, late labels, data quality, rules, and alerts routed by urgency.
//!
//! What is measured of a model goes through rules, and what the rules say through an alert manager to the people on call. Drift needs
//! significance and an effect size, accuracy counts only predictions whose outcome is known, and an alert without a runbook is refused.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Labels, ManualClock, Severity, Timestamp};
//! use mlp_monitor::{AlertConfig, AlertManager, AlertRoute, Limit, MemorySink, Rule, RuleEngine};
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
//! let rule = Rule::new("errors", "error_rate", "https://runbooks.example/errors")?.with_critical(Limit::above(0.01), Severity::P0);
//! let rules = RuleEngine::new(vec![rule], clock.clone())?;
//! let pager = Arc::new(MemorySink::new());
//! let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
//! let alerts = AlertManager::new(config, [("pager", pager.clone() as _)], clock)?;
//!
//! // Measured, judged and handed on in one turn: on however many threads, nothing old comes after what is newer.
//! let errors = AtomicU64::new(1); // of a hundred requests
//! let judge = || {
//!     rules.in_turn(|rules| {
//!         let rate = errors.load(Ordering::Relaxed) as f64 / 100.0;
//!         alerts.update_all(rules.observe("error_rate", &Labels::new(), rate)?)
//!     })
//! };
//! judge()?; // equal to the limit is fine
//! errors.fetch_add(1, Ordering::Relaxed);
//! judge()?;
//! alerts.flush(std::time::Duration::from_secs(60));
//! assert_eq!(pager.notifications().len(), 1);
//! # Ok::<(), mlp_monitor::MonitorError>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | drift of features and predictions | [`DriftReference`], [`DriftReport`], [`StreamDrift`] |
//! | accuracy by late labels | [`PerformanceMonitor`], [`Truth`], [`Degradation`] |
//! | what a running system tells | [`Signals`], [`Counter`], [`Gauge`], [`Latency`], [`TimeSeries`]; by feature `SystemSignals` |
//! | parts of the data | [`Slices`], [`SliceReport`] |
//! | the latest traffic | [`TrafficWindow`], [`PredictionLogs`] |
//! | data quality | [`QualityReport`], [`TableQuality`] |
//! | anomalies and service levels | [`SeasonalDetector`], [`Ewma`], [`robust_scale`], [`Slo`], [`SloMonitor`] |
//! | what deserves attention | [`Rule`], [`RuleTable`], [`RuleEngine`], [`Limit`] |
//! | who hears of it, and how often | [`AlertManager`], [`AlertRoute`], [`AlertConfig`] |
//! | how they hear of it | [`MemorySink`], [`ChannelSink`], [`JsonLinesSink`]; by features `WebhookSink`, `SlackSink`, `PagerDutySink`, `AlertmanagerSink`, `MailSink`, `TracingSink` |
//! | state that survives a restart | [`AlertStore`], [`MemoryAlertStore`]; on SQLite in `mlp-sqlite` |
//! | Prometheus and Grafana | [`Exposition`], [`GrafanaDashboard`] |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! | --- | --- |
//! | `http` | sinks that post JSON: Alertmanager's webhook and interface, Slack, PagerDuty |
//! | `smtp` | a sink that sends mail |
//! | `tracing` | a sink that writes events of the `tracing` crate |
//! | `sysinfo` | `SystemSignals`: CPU and memory of the process and the machine |
//! | `testing` | `testing`: the contract of [`AlertStore`], executable against any backend |
//!
//! # What it does not do
//!
//! It keeps no time series for years, and serves no port: the application answers a scrape with [`Exposition`].
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod alerts;
mod anomaly;
mod drift;
mod error;
mod export;
mod performance;
mod quality;
mod rules;
mod signals;
mod sinks;
mod slices;
mod slo;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;
mod ticker;
mod traffic;

pub use alerts::{
    Acknowledgement, AlertChange, AlertConfig, AlertManager, AlertRoute, AlertRows, AlertStore,
    Circuit, Fingerprint, Incident, Inhibition, Matcher, MemoryAlertStore, RateLimit, Silence,
    SilenceId, SinkSettings, SinkStatus, Suppression, Undelivered, check_epoch,
};
pub use anomaly::{
    Anomaly, Ewma, EwmaConfig, HoltWinters, RobustScale, Season, SeasonalConfig, SeasonalDetector,
    Smoothing, robust_scale,
};
pub use drift::{
    ColumnDrift, ColumnTest, DriftConfig, DriftReference, DriftReferenceBuilder, DriftReport,
    DriftTest, DriftVerdict, SliceDrift, StreamChange, StreamDrift,
};
pub use error::{MonitorError, Result};
pub use export::{Exposition, GrafanaDashboard, GrafanaPanel, MetricFamily, MetricKind};
pub use performance::{
    Baseline, CohortReport, Counts, Degradation, DegradationVerdict, JoinCounts, PerformanceConfig,
    PerformanceMeasure, PerformanceMonitor, Scoring, Truth, VersionPerformance,
};
pub use quality::{
    FaultCount, QualityCounts, QualityFault, QualityReport, SchemaFault, TableQuality,
};
pub use rules::{
    ChangeDirection, ChangeMeasure, Level, Limit, NoData, Observation, Rule, RuleEngine, RuleTable,
};
#[cfg(feature = "sysinfo")]
pub use signals::SystemSignals;
pub use signals::{
    Counter, Gauge, Latency, LatencySummary, SeriesPoint, Signals, SignalsConfig, TimeSeries,
    WindowSummary,
};
#[cfg(any(feature = "http", feature = "smtp"))]
pub use sinks::Secret;
#[cfg(feature = "tracing")]
pub use sinks::TracingSink;
#[cfg(feature = "http")]
pub use sinks::{
    AlertmanagerSink, Destinations, HttpOptions, PagerDutySink, SlackSink, WebhookSink,
};
pub use sinks::{ChannelSink, JsonLinesSink, MemorySink};
#[cfg(feature = "smtp")]
pub use sinks::{MailEncryption, MailOptions, MailSink};
pub use slices::{SliceReport, SliceScore, Slices};
pub use slo::{BurnRateTier, EventCounts, Slo, SloMonitor};
pub use ticker::Ticker;
pub use traffic::{PredictionLogs, TrafficWindow};
