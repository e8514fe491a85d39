//! How good predictions were, once their true outcomes come in.

mod cohort;
mod config;
mod degradation;
mod join;
mod monitor;
mod segment;
mod shard;

pub use cohort::{CohortReport, Counts};
pub use config::{PerformanceConfig, Scoring, Truth};
pub use degradation::{Baseline, Degradation, DegradationVerdict, PerformanceMeasure};
pub use monitor::{JoinCounts, PerformanceMonitor, VersionPerformance};
