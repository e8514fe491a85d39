//! How far apart two distributions are.

mod jensen_shannon;
mod psi;
mod wasserstein;

pub use jensen_shannon::{JensenShannon, jensen_shannon};
pub use psi::{Psi, ReferenceBins, psi_of_counts, psi_of_counts_evidently};
pub use wasserstein::{normed_wasserstein, wasserstein};
