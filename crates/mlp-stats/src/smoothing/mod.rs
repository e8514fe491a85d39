//! Series that are followed, and values that stand out.

mod ewma;
mod holt_winters;
mod robust;

pub use ewma::MovingMoments;
pub use holt_winters::{HoltWinters, Season, Smoothing};
pub use robust::{RobustScale, robust_scale};
