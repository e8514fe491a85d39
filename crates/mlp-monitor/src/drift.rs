//! Whether features and predictions are distributed as they were: significance and effect size together.

mod column;
mod config;
mod reference;
mod report;
mod stream;

pub use config::{DriftConfig, DriftTest};
pub use reference::DriftReference;
pub use report::{ColumnDrift, ColumnTest, DriftReport, DriftVerdict, SliceDrift};
pub use stream::{StreamChange, StreamDrift};

#[cfg(test)]
mod tests;
