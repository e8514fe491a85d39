//! linfa's algorithms as estimators, and the estimators of this crate as linfa's algorithms (feature `linfa`).

mod guarded;
mod learners;
mod wrap;

pub use guarded::{LinfaLinear, LinfaLogistic, LinfaTree};
pub use learners::{LinfaClasses, LinfaError, LinfaValues};
pub use wrap::LinfaEstimator;
