//! The Page-Hinkley test.

use serde::{Deserialize, Serialize};

use super::running::RunningMean;
use super::{Config, DriftDetector, DriftSignal, checked, finite, signal};
use crate::check;
use crate::error::StatsError;

/// When a [`PageHinkley`] test finds a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageHinkleyConfig {
    /// So many values are seen before anything is found. Default 30.
    pub min_instances: u64,
    /// How far values may stray from the mean for nothing. Default 0.005.
    pub delta: f64,
    /// The sum of what is beyond that counts as a change from here on. Default 50.
    pub threshold: f64,
    /// How much of the sum is kept from value to value. Default 0.9999.
    pub alpha: f64,
    /// Which way the mean may change. Default: both.
    pub mode: PageHinkleyMode,
}

/// Which change of the mean is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageHinkleyMode {
    /// A rise.
    Up,
    /// A fall.
    Down,
    /// Either.
    #[default]
    Both,
}

impl Default for PageHinkleyConfig {
    fn default() -> Self {
        let mode = PageHinkleyMode::Both;
        Self { min_instances: 30, delta: 0.005, threshold: 50.0, alpha: 0.9999, mode }
    }
}

impl Config for PageHinkleyConfig {
    fn check(&self) -> Result<(), StatsError> {
        let Self { delta, threshold, alpha, .. } = *self;
        check::parameter("delta", delta, "at least 0", delta >= 0.0 && delta.is_finite())?;
        let allowed = threshold > 0.0 && threshold.is_finite();
        check::parameter("threshold", threshold, "above 0", allowed)?;
        check::parameter("alpha", alpha, "in (0, 1]", alpha > 0.0 && alpha <= 1.0)
    }
}

/// Adds up how far values are from their running mean, and finds a change when the sum has risen too far above its least value, or
/// fallen below its greatest (Page 1954; Hinkley 1970; with the forgetting factor of Sebastião and Fernandes 2017). As River's
/// `PageHinkley`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageHinkley {
    #[serde(deserialize_with = "checked")]
    config: PageHinkleyConfig,
    mean: RunningMean,
    rise: f64,
    fall: f64,
    /// None before the first value.
    least_rise: Option<f64>,
    greatest_fall: f64,
    is_drift: bool,
}

impl PageHinkley {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If `delta` is negative, `threshold` not above 0, `alpha` not in (0, 1], or one is not finite.
    pub fn new(config: PageHinkleyConfig) -> Result<Self, StatsError> {
        config.check()?;
        Ok(Self::start(config))
    }

    fn start(config: PageHinkleyConfig) -> Self {
        let mean = RunningMean::default();
        let (rise, fall, greatest_fall) = (0.0, 0.0, -1.0);
        Self { config, mean, rise, fall, least_rise: None, greatest_fall, is_drift: false }
    }
}

impl DriftDetector for PageHinkley {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        let value = finite(value)?;
        if self.is_drift {
            self.reset();
        }
        let PageHinkleyConfig { min_instances, delta, threshold, alpha, mode } = self.config;
        self.mean.update(value);
        let deviation = value - self.mean.mean;
        self.rise = alpha * self.rise + deviation - delta;
        self.fall = alpha * self.fall + deviation + delta;
        let least = self.least_rise.map_or(self.rise, |least| least.min(self.rise));
        self.least_rise = Some(least);
        self.greatest_fall = self.greatest_fall.max(self.fall);
        if self.mean.count >= min_instances {
            let has_risen = self.rise - least > threshold;
            let has_fallen = self.greatest_fall - self.fall > threshold;
            self.is_drift = match mode {
                PageHinkleyMode::Up => has_risen,
                PageHinkleyMode::Down => has_fallen,
                PageHinkleyMode::Both => has_risen || has_fallen,
            };
        }
        Ok(signal(self.is_drift, false))
    }

    fn reset(&mut self) {
        *self = Self::start(self.config);
    }
}
