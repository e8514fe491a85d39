//! The early drift detection method of Baena-García and others.

use serde::{Deserialize, Serialize};

use super::{Config, DriftDetector, DriftSignal, as_error, checked, signal};
use crate::check;
use crate::error::StatsError;
use crate::sketch::Moments;

/// When an [`Eddm`] warns and finds a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EddmConfig {
    /// So many errors are seen before anything is found. Default 30.
    pub warm_start: u64,
    /// A warning is a fall of the distance between errors below this part of its greatest value. Default 0.95.
    pub alpha: f64,
    /// A change is a fall below this part. Default 0.9.
    pub beta: f64,
}

impl Default for EddmConfig {
    fn default() -> Self {
        Self { warm_start: 30, alpha: 0.95, beta: 0.9 }
    }
}

impl Config for EddmConfig {
    fn check(&self) -> Result<(), StatsError> {
        let Self { alpha, beta, .. } = *self;
        check::parameter("beta", beta, "above 0, up to 1", beta > 0.0 && beta <= 1.0)?;
        check::parameter("alpha", alpha, "from beta to 1", alpha >= beta && alpha <= 1.0)
    }
}

/// Finds a change when errors come closer together: their mean distance plus two standard deviations falls well below its greatest
/// value (Baena-García and others 2006). Better than [`Ddm`](super::Ddm) for slow changes, with more false alarms. As River's `EDDM`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eddm {
    #[serde(deserialize_with = "checked")]
    config: EddmConfig,
    count: u64,
    last_error: u64,
    distances: Moments,
    greatest: f64,
    last: DriftSignal,
}

impl Eddm {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If `beta` is not above 0, or `alpha` not from `beta` to 1.
    pub fn new(config: EddmConfig) -> Result<Self, StatsError> {
        config.check()?;
        Ok(Self::start(config))
    }

    fn start(config: EddmConfig) -> Self {
        let (distances, last) = (Moments::default(), DriftSignal::Stable);
        Self { config, count: 0, last_error: 0, distances, greatest: -1.0, last }
    }

    /// Takes the next prediction: whether it was wrong.
    pub fn record(&mut self, is_wrong: bool) -> DriftSignal {
        if self.last == DriftSignal::Drift {
            self.reset();
        }
        self.count = self.count.saturating_add(1);
        if is_wrong {
            self.distances.add(self.count.saturating_sub(self.last_error) as f64);
            self.last_error = self.count;
            self.judge();
        }
        // A warning holds until the next error says otherwise.
        self.last
    }

    fn judge(&mut self) {
        let EddmConfig { warm_start, alpha, beta } = self.config;
        if self.count <= warm_start {
            return;
        }
        let deviation = self.distances.sample_variance().unwrap_or(0.0).sqrt();
        let reach = self.distances.mean().unwrap_or(0.0) + 2.0 * deviation;
        if reach > self.greatest {
            self.greatest = reach;
        } else if self.distances.count() > warm_start {
            let level = reach / self.greatest;
            self.last = signal(level < beta, level < alpha);
        }
    }
}

impl DriftDetector for Eddm {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        Ok(self.record(as_error(value)?))
    }

    fn reset(&mut self) {
        *self = Self::start(self.config);
    }
}
