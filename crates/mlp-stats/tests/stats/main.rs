//! The statistics against SciPy, scikit-learn, statsmodels and River, and what must hold for any input.
//!
//! `MLP_VECTORS_DIR` names another folder with the same file names.

mod evidence;
mod extremes;
mod properties;
mod scores;
mod sequential;
mod stream;
mod support;
mod tampered;
mod two_sample;
