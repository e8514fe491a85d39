//! Whether features and predictions are distributed as they were: significance and effect size together.

mod builder;
mod categories;
mod column;
mod config;
mod reference;
mod report;
mod stream;

pub use builder::DriftReferenceBuilder;
pub use config::{DriftConfig, DriftTest};
pub use reference::DriftReference;
pub use report::{ColumnDrift, ColumnTest, DriftReport, DriftVerdict, SliceDrift};
pub use stream::{StreamChange, StreamDrift};

#[cfg(test)]
mod calibration;
#[cfg(test)]
mod tests;
