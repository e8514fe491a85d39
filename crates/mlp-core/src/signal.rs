//! Evidence about a version, as counts and moments: what triggers decide by.

use std::error::Error;
use std::fmt::{self, Debug};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::VersionNumber;

/// Tells counts and values of a signal for a version.
///
/// Triggers read this, never alerts: an alert is grouped, silenced and delayed for people, evidence is not.
///
/// # Contract
///
/// A reading covers everything the version has done since it started to serve, so that two readings can be subtracted. No evidence yet is a
/// reading of zero; an unknown version or signal is an error.
pub trait MetricSource: Debug + Send + Sync {
    /// Reads a signal.
    ///
    /// # Errors
    /// If the source does not know the version or the signal, or cannot be read now.
    fn read(&self, version: VersionNumber, signal: &Signal) -> Result<Reading, SourceError>;
}

/// What is measured of a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signal {
    /// Requests that failed, of all requests: a [`Reading::Proportion`].
    Errors,
    /// Requests that took longer than this, of all requests: a [`Reading::Proportion`].
    SlowerThan(Duration),
    /// How well a shadow's answers agree with the primary's: a [`Reading::Mean`].
    Agreement,
    /// Predictions whose true outcome came and was another, of all with an outcome: a [`Reading::Proportion`].
    WrongPredictions,
    /// A measure of the application's own, such as revenue a request.
    Custom(String),
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors => f.pad("errors"),
            Self::SlowerThan(limit) => f.pad(&format!("requests slower than {limit:?}")),
            Self::Agreement => f.pad("agreement"),
            Self::WrongPredictions => f.pad("wrong predictions"),
            Self::Custom(name) => f.pad(name),
        }
    }
}

/// What a source knows of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// So many events in so many trials.
    Proportion {
        /// How often it happened.
        events: u64,
        /// How often it could have happened.
        trials: u64,
    },
    /// The moments of a value.
    Mean {
        /// How many values there were.
        count: u64,
        /// Their mean; 0 if there were none.
        mean: f64,
        /// The sum of their squared deviations from the mean.
        squared_deviations: f64,
    },
}

impl Reading {
    /// How much evidence there is: trials or values.
    #[must_use]
    pub fn count(&self) -> u64 {
        match *self {
            Self::Proportion { trials, .. } => trials,
            Self::Mean { count, .. } => count,
        }
    }

    /// The share of events, or the mean; none without evidence, or if it is NaN.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn value(&self) -> Option<f64> {
        match *self {
            Self::Proportion { trials: 0, .. } | Self::Mean { count: 0, .. } => None,
            Self::Proportion { events, trials } => Some(events as f64 / trials as f64),
            Self::Mean { mean, .. } => Some(mean).filter(|mean| !mean.is_nan()),
        }
    }
}

/// A source could not be read. Whoever decides by it holds: it neither promotes nor rolls back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The source has never heard of the version.
    #[error("{version} is unknown to the source")]
    UnknownVersion {
        /// The version.
        version: VersionNumber,
    },
    /// The source does not measure that.
    #[error("the source does not measure {signal}")]
    UnknownSignal {
        /// The signal.
        signal: Signal,
    },
    /// The source failed in a way of its own.
    #[error("the source failed")]
    Failed {
        /// The source's own error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_evidence_has_no_value() {
        assert_eq!(Reading::Proportion { events: 0, trials: 0 }.value(), None);
        assert_eq!(Reading::Mean { count: 0, mean: 0.0, squared_deviations: 0.0 }.value(), None);
        assert_eq!(
            Reading::Mean { count: 3, mean: f64::NAN, squared_deviations: f64::NAN }.value(),
            None
        );
        assert_eq!(Reading::Proportion { events: 1, trials: 4 }.value(), Some(0.25));
    }
}
