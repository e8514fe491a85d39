//! Scores, two-sample tests, sequential evidence, streaming detectors and sketches, on slices of numbers.
//!
//! Everything above stands on these. Definitions are those of scikit-learn, SciPy and River, to the last digit that matters; every one
//! names its source. What has no value (one class only, no rows) is an error with its reason, never 0 or NaN by accident.
//!
//! | question | look at |
//! | --- | --- |
//! | How good are the predictions? | [`Confusion`], [`BinaryScores`], [`ClassScores`], [`RegressionScores`] |
//! | Is one model better than another? | [`corrected_resampled_t`], [`Bootstrap`] |
//! | Do two samples differ, and how much? | [`ks_two_sample`], [`anderson_darling_k_sample`], [`mann_whitney`], [`wilcoxon_signed_rank`], [`welch_t_test`], [`count_test`], [`fisher_exact`] |
//! | How far apart are two distributions? | [`ReferenceBins::psi`], [`jensen_shannon()`], [`wasserstein()`] |
//! | May I look after every request? | [`RateEvidence`], [`CanaryEvidence`], [`ConfidenceSequence`], [`SprtPlan`], [`MeanDifferenceEvidence`] |
//! | Has this stream changed? | [`Adwin`], [`PageHinkley`], [`Kswin`], [`Ddm`], [`Eddm`], [`HddmA`], [`HddmW`] |
//! | What was this stream like? | [`QuantileSketch`], [`Moments`], [`MovingMoments`], [`HoltWinters`], [`robust_scale`] |
//! | Is it still true after so many tests? | [`Correction`] |
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
//! * NaN is an error that names its place, everywhere; where only the order counts (ranks, areas, distribution functions) infinite values
//!   are values like others, elsewhere they are errors, too. Streams differ in one thing: [`Moments`], [`MovingMoments`] and
//!   [`QuantileSketch`] leave out what they cannot take and count it, as [`robust_scale`] and [`HoltWinters`] pass over it, since one bad
//!   value must not end a service.
//! * Empty, constant and tiny inputs have defined results or a typed [`Undefined`]; [`OrUndefined`] gives a deliberate value instead.
//! * Weights are finite and not negative. Rows without weight do not count.
//! * No input panics, of any length or value, stored states that were tampered with among them; [`Confusion::count`] alone does, like an index.
//!   A result beyond what a double can hold is an error.
//!
//! # What it does not do
//!
//! It does not know what a model is: it takes labels, probabilities and numbers as slices.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod check;
mod error;
mod sort;
mod sum;

mod distribution;
mod scores;

mod bootstrap;
mod divergence;
mod multiple;
mod resampled;
mod two_sample;

mod sequential;
mod sketch;
mod smoothing;
mod stream;

pub use bootstrap::{Bootstrap, BootstrapDraws};
pub use distribution::{
    chi_squared_tail, f_tail, normal_quantile, normal_tail, student_t_quantile, student_t_tail,
};
pub use divergence::*;
pub use error::{OrUndefined, StatsError, Undefined};
pub use multiple::{Correction, benjamini_hochberg};
pub use resampled::{ResampledT, corrected_resampled_t};
pub use scores::*;
pub use sequential::*;
pub use sketch::*;
pub use smoothing::*;
pub use stream::*;
pub use two_sample::*;
