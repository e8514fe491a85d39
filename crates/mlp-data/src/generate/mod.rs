//! Data made to order: for tests, demonstrations and planted faults. Each is a function of its options and a seed.

mod classification;
mod friedman;
mod shift;

pub use classification::{ClassificationOptions, make_classification};
pub use friedman::make_friedman1;
pub use shift::{Shift, plant_shift};
