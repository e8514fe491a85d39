//! Scores, two-sample tests and sequential evidence on slices of numbers.
//!
//! Everything above stands on these. Definitions are those of scikit-learn and SciPy, but for the p-value of the Kolmogorov-Smirnov test, which is
//! an approximation; what has no value (one class only, no rows) is an error
//! with its reason, never 0 or NaN by accident.
//!
//! # Examples
//!
//! ```
//! use mlp_stats::{ReferenceBins, Undefined, ks_two_sample, roc_auc};
//!
//! let truth = [true, false, true, false];
//! assert_eq!(roc_auc(&truth, &[0.9, 0.3, 0.6, 0.7])?, 0.75);
//! let error = roc_auc(&[true, true], &[0.9, 0.3]).unwrap_err();
//! assert_eq!(error.undefined_reason(), Some(Undefined::SingleClass { class: 1 }));
//!
//! let reference: Vec<f64> = (0..500).map(f64::from).collect();
//! let current: Vec<f64> = (0..500).map(|i| f64::from(i) * 1.5).collect();
//! assert!(ks_two_sample(&reference, &current)?.p_value < 0.001);
//! assert!(ReferenceBins::new(&reference, 10)?.psi(&current)?.value > 0.1);
//! # Ok::<(), mlp_stats::StatsError>(())
//! ```
//!
//! # Input policy
//!
//! NaN is an error that names its place. Empty, constant and tiny inputs have defined results or a typed [`Undefined`]. No input panics.
//!
//! # What it does not do
//!
//! It does not know what a model is: it takes labels, probabilities and numbers as slices.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod check;
mod error;
mod sort;
mod sum;

mod labels;
mod probabilities;
mod regression;

mod distribution;
mod ks;
mod multiple;
mod psi;
mod resampled;

mod evidence;

pub use distribution::{chi_squared_tail, f_tail, normal_tail, student_t_tail};
pub use error::{OrUndefined, StatsError, Undefined};
pub use evidence::RateEvidence;
pub use ks::{KsTest, ks_two_sample};
pub use labels::{Confusion, accuracy};
pub use multiple::benjamini_hochberg;
pub use probabilities::{log_loss, roc_auc, roc_auc_one_vs_rest};
pub use psi::{Psi, ReferenceBins};
pub use regression::{mean_absolute_error, mean_squared_error, r2, rmse};
pub use resampled::{ResampledT, corrected_resampled_t};
