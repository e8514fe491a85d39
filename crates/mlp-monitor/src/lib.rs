//! Rules, drift, late labels and data quality, alerts routed by severity.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod alerts;
mod error;
mod performance;
mod quality;
mod rules;
mod sinks;
mod text;
mod traffic;

pub use alerts::{
    Acknowledgement, AlertConfig, AlertManager, AlertRoute, Fingerprint, Incident, Inhibition,
    Matcher, Silence, SilenceId, SinkStatus, Suppression, Undelivered,
};
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
pub use traffic::{PredictionLogs, TrafficWindow};
