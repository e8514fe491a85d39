//! Values that are unusual for their time: seasonal forecasts, robust z-scores, moving averages.

mod ewma;
mod seasonal;

pub use ewma::{Ewma, EwmaConfig};
pub use mlp_stats::{HoltWinters, RobustScale, Season, Smoothing, robust_scale};
pub use seasonal::{Anomaly, SeasonalConfig, SeasonalDetector};
