//! What an objective returns.

use std::error::Error;
use std::fmt;

/// The scores of a trial, one per objective. Made from an `f64`, an array or a `Vec`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores(pub Vec<f64>);

impl From<f64> for Scores {
    fn from(score: f64) -> Self {
        Self(vec![score])
    }
}

impl From<Vec<f64>> for Scores {
    fn from(scores: Vec<f64>) -> Self {
        Self(scores)
    }
}

impl<const N: usize> From<[f64; N]> for Scores {
    fn from(scores: [f64; N]) -> Self {
        Self(scores.to_vec())
    }
}

/// Why an objective returned no score. Any error becomes one with `?`, and fails that trial only.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrialError {
    /// The trial was stopped early, as [`Trial::should_prune`](crate::Trial::should_prune) advised.
    Pruned,
    /// The objective was asked to [stop](crate::Trial::is_stopping) before it had a result: the trial is run again when the study goes on.
    Interrupted,
    /// The objective failed.
    Failed(Box<dyn Error + Send + Sync>),
}

impl TrialError {
    /// The objective failed for a reason in words.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into().into())
    }
}

impl fmt::Display for TrialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Pruned => return f.write_str("pruned"),
            Self::Interrupted => return f.write_str("interrupted"),
            Self::Failed(error) => error,
        };
        write!(f, "{error}")?;
        let mut source = error.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

// Not itself an `Error`: so that every error converts, as with `?`.
impl<E: Error + Send + Sync + 'static> From<E> for TrialError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}
