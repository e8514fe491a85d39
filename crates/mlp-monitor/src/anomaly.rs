//! Values that are unusual for their time: seasonal forecasts, robust z-scores, moving averages.

mod ewma;
mod holt_winters;
mod robust;
mod seasonal;

pub use ewma::{Ewma, EwmaConfig};
pub use holt_winters::{HoltWinters, Season, Smoothing};
pub use robust::{RobustScale, robust_scale};
pub use seasonal::{Anomaly, SeasonalConfig, SeasonalDetector};
