//! The drift detection method of Gama and others.

use serde::{Deserialize, Serialize};

use super::running::{RunningMean, rate};
use super::{Config, DriftDetector, DriftSignal, as_error, checked, signal};
use crate::check;
use crate::error::StatsError;

/// When a [`Ddm`] warns and finds a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DdmConfig {
    /// So many predictions are seen before anything is found. Default 30.
    pub warm_start: u64,
    /// A warning is so many standard deviations above the least error rate. Default 2.
    pub warning_threshold: f64,
    /// A change is so many. Default 3.
    pub drift_threshold: f64,
}

impl Default for DdmConfig {
    fn default() -> Self {
        Self { warm_start: 30, warning_threshold: 2.0, drift_threshold: 3.0 }
    }
}

impl Config for DdmConfig {
    fn check(&self) -> Result<(), StatsError> {
        let Self { warning_threshold: warning, drift_threshold: drift, .. } = *self;
        check::parameter("drift_threshold", drift, "above 0", drift > 0.0 && drift.is_finite())?;
        let allowed = warning > 0.0 && warning <= drift;
        check::parameter("warning_threshold", warning, "above 0, up to drift_threshold", allowed)
    }
}

/// Finds a change when the error rate so far is well above its least value (Gama and others 2004). As River's `DDM`.
///
/// At low error rates and early in a stream it has many false alarms; [`RateEvidence`](crate::RateEvidence) has a bound on them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ddm {
    #[serde(deserialize_with = "checked")]
    config: DdmConfig,
    #[serde(deserialize_with = "rate")]
    rate: RunningMean,
    /// The error rate and its standard deviation when their sum was least.
    least: Option<(f64, f64)>,
    last: DriftSignal,
}

impl Ddm {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If a threshold is not above 0 and finite, or the one of a warning is greater than that of a change.
    pub fn new(config: DdmConfig) -> Result<Self, StatsError> {
        config.check()?;
        Ok(Self::start(config))
    }

    fn start(config: DdmConfig) -> Self {
        Self { config, rate: RunningMean::default(), least: None, last: DriftSignal::Stable }
    }

    /// Takes the next prediction: whether it was wrong.
    pub fn record(&mut self, is_wrong: bool) -> DriftSignal {
        if self.last == DriftSignal::Drift {
            self.reset();
        }
        self.rate.update(f64::from(u8::from(is_wrong)));
        let RunningMean { count, mean: rate } = self.rate;
        let deviation = (rate * (1.0 - rate) / count as f64).sqrt();
        if count > self.config.warm_start {
            let (mut least, mut least_deviation) = self.least.unwrap_or((rate, deviation));
            if rate + deviation <= least + least_deviation {
                (least, least_deviation) = (rate, deviation);
            }
            self.least = Some((least, least_deviation));
            let is_above = |times: f64| rate + deviation > least + times * least_deviation;
            let is_drift = is_above(self.config.drift_threshold);
            self.last = signal(is_drift, is_above(self.config.warning_threshold));
        }
        self.last
    }
}

impl DriftDetector for Ddm {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        Ok(self.record(as_error(value)?))
    }

    fn reset(&mut self) {
        *self = Self::start(self.config);
    }
}
