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
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
//! let rule = Rule::new("errors", "error_rate", "https://runbooks.example/errors")?.with_critical(Limit::above(0.01), Severity::P0);
//! let rules = RuleEngine::new(vec![rule], clock.clone())?;
//! let pager = Arc::new(MemorySink::new());
//! let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
//! let alerts = AlertManager::new(config, [("pager", pager.clone() as _)], clock)?;
//!
//! alerts.update_all(rules.observe("error_rate", &Labels::new(), 0.01)?)?; // equal to the limit is fine
//! alerts.update_all(rules.observe("error_rate", &Labels::new(), 0.02)?)?;
//! alerts.tick();
//! assert_eq!(pager.notifications().len(), 1);
//! # Ok::<(), mlp_monitor::MonitorError>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | drift of features and predictions | [`DriftReference`], [`DriftReport`] |
//! | accuracy by late labels | [`PerformanceMonitor`], [`Truth`] |
//! | the latest traffic | [`TrafficWindow`], [`PredictionLogs`] |
//! | data quality | [`QualityReport`] |
//! | anomalies and service levels | [`SeasonalDetector`], [`Ewma`], [`robust_scale`], [`Slo`] |
//! | what deserves attention | [`Rule`], [`RuleEngine`], [`Limit`] |
//! | who hears of it | [`AlertManager`], [`AlertRoute`], [`MemorySink`], [`ChannelSink`], [`JsonLinesSink`] |
//!
//! # What it does not do
//!
//! It keeps no time series for years, speaks no network protocol yet, and loses its state with the process. Sinks are called by whoever calls
//! [`AlertManager::tick`]: one that hangs holds up the others.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod alerts;
mod anomaly;
mod drift;
mod error;
mod performance;
mod quality;
mod rules;
mod sinks;
mod slo;
mod text;
mod traffic;

pub use alerts::{
    Acknowledgement, AlertConfig, AlertManager, AlertRoute, Fingerprint, Incident, Inhibition,
    Matcher, Silence, SilenceId, SinkStatus, Suppression, Undelivered,
};
pub use anomaly::{
    Anomaly, Ewma, EwmaConfig, HoltWinters, RobustScale, Season, SeasonalConfig, SeasonalDetector,
    Smoothing, robust_scale,
};
pub use drift::{ColumnDrift, DriftConfig, DriftReference, DriftReport, DriftVerdict};
pub use error::{MonitorError, Result};
pub use performance::{
    CohortReport, Counts, JoinCounts, PerformanceConfig, PerformanceMonitor, Scoring, Truth,
    VersionPerformance,
};
pub use quality::{QualityCounts, QualityFault, QualityReport};
pub use rules::{
    ChangeDirection, ChangeMeasure, Level, Limit, NoData, Observation, Rule, RuleEngine,
};
pub use sinks::{ChannelSink, JsonLinesSink, MemorySink};
pub use slo::{BurnRateTier, EventCounts, Slo};
pub use traffic::{PredictionLogs, TrafficWindow};
