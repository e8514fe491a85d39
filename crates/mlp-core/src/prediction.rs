//! What becomes of predictions after they were given.

use std::fmt::Debug;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{PredictionId, VersionNumber};
use crate::router::Role;

/// Receives every prediction: for late labels, drift, replay and audit.
///
/// # Contract
///
/// It is called on the path of the request: it returns fast, never blocks, and drops (and counts) what it cannot take.
pub trait PredictionLog: Debug + Send + Sync {
    /// Takes note of one prediction.
    fn record(&self, prediction: &PredictionRecord<'_>);
}

/// One prediction as it was given.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PredictionRecord<'a> {
    /// The identity by which the true outcome can be joined.
    pub id: PredictionId,
    /// The version that answered.
    pub version: VersionNumber,
    /// Its role.
    pub role: Role,
    /// When the answer was given.
    pub at: Timestamp,
    /// The features, if the input is made of numbers.
    pub features: Option<&'a [f64]>,
    /// The outputs, if the output is made of numbers: probabilities, or the predicted value.
    pub outputs: Option<&'a [f64]>,
    /// From entering the server to the answer.
    pub latency: Duration,
}

impl<'a> PredictionRecord<'a> {
    /// A prediction without features, outputs and latency.
    #[must_use]
    pub const fn new(id: PredictionId, version: VersionNumber, role: Role, at: Timestamp) -> Self {
        Self { id, version, role, at, features: None, outputs: None, latency: Duration::ZERO }
    }

    /// Adds what was asked and what was answered.
    #[must_use]
    pub const fn with_data(
        mut self,
        features: Option<&'a [f64]>,
        outputs: Option<&'a [f64]>,
    ) -> Self {
        self.features = features;
        self.outputs = outputs;
        self
    }

    /// Adds how long it took.
    #[must_use]
    pub const fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }
}
