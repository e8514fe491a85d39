//! How good predictions were, once their true outcomes come in.

mod cohort;
mod join;
mod monitor;

pub use cohort::{CohortReport, Counts};
pub use monitor::{
    JoinCounts, PerformanceConfig, PerformanceMonitor, Scoring, Truth, VersionPerformance,
};
