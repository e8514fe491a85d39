//! How good predictions were, once their true outcomes come in.

mod cohort;
mod degradation;
mod join;
mod monitor;
mod segment;

pub use cohort::{CohortReport, Counts};
pub use degradation::{Baseline, Degradation, DegradationVerdict};
pub use monitor::{
    JoinCounts, PerformanceConfig, PerformanceMonitor, Scoring, Truth, VersionPerformance,
};
