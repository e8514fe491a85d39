//! Moving averages that forget exponentially, for series without a season.

use serde::{Deserialize, Serialize};

use super::Anomaly;
use crate::error::{MonitorError, Result};

/// How a moving average follows, and when a value is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EwmaConfig {
    /// The weight of the newest value, above 0 and below 1. Default 0.1: about the last twenty values matter.
    pub weight: f64,
    /// So many standard deviations from the average are unusual. Default 4: once in 16,000 normal values.
    pub threshold: f64,
    /// So many values are learnt before any is called unusual. Default 30.
    pub warm_up: u64,
}

impl Default for EwmaConfig {
    fn default() -> Self {
        Self { weight: 0.1, threshold: 4.0, warm_up: 30 }
    }
}

impl EwmaConfig {
    /// Sets the weight of the newest value.
    #[must_use]
    pub fn with_weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Sets how many standard deviations are unusual.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }
}

/// An exponentially weighted mean and variance (Finch 2009, *Incremental calculation of weighted mean and variance*, section 9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    config: EwmaConfig,
    count: u64,
    mean: f64,
    variance: f64,
}

impl Ewma {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If the weight is not between 0 and 1, or the threshold is not above 0.
    pub fn new(config: EwmaConfig) -> Result<Self> {
        if config.weight <= 0.0 || config.weight >= 1.0 || config.weight.is_nan() {
            return Err(MonitorError::setting("weight", config.weight, "above 0 and below 1"));
        }
        if config.threshold <= 0.0 || config.threshold.is_nan() {
            return Err(MonitorError::setting("threshold", config.threshold, "above 0"));
        }
        Ok(Self { config, count: 0, mean: 0.0, variance: 0.0 })
    }

    /// Judges a value by what came before it, then learns it. NaN and infinite values teach nothing; infinity is unusual.
    pub fn update(&mut self, value: f64) -> Anomaly {
        let anomaly = self.judge(value);
        if value.is_finite() {
            let weight = self.config.weight.max(1.0 / (self.count + 1) as f64);
            let difference = value - self.mean;
            self.mean += weight * difference;
            self.variance = (1.0 - weight) * (self.variance + weight * difference * difference);
            self.count += 1;
        }
        anomaly
    }

    fn judge(&self, value: f64) -> Anomaly {
        if value.is_nan() || self.count < self.config.warm_up {
            return Anomaly::Unknown;
        }
        let difference = value - self.mean;
        let score = if difference == 0.0 { 0.0 } else { difference / self.variance.sqrt() };
        Anomaly::judge(score, self.mean, self.config.threshold)
    }

    /// The moving average; none before the first value.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The moving standard deviation; none before the second value.
    #[must_use]
    pub fn standard_deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| self.variance.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random;

    #[test]
    fn noise_is_usual_and_a_jump_is_not() {
        let mut ewma = Ewma::new(EwmaConfig::default()).unwrap();
        let mut generator = random::stream(1, 0);
        let unusual = (0..2_000)
            .filter(|_| ewma.update(10.0 + random::normal(&mut generator)).is_unusual())
            .count();
        // A moving variance of twenty values is itself noisy: 4 of its deviations are passed in about 1 of 500.
        assert!(unusual <= 10, "{unusual}");
        assert!(ewma.update(20.0).is_unusual());
    }

    #[test]
    fn nan_is_unknown_and_a_constant_series_is_usual_until_it_moves() {
        let mut ewma = Ewma::new(EwmaConfig::default()).unwrap();
        assert!((0..100).all(|_| !ewma.update(5.0).is_unusual()));
        assert_eq!(ewma.update(f64::NAN), Anomaly::Unknown);
        assert!(ewma.update(5.1).is_unusual());
        assert!(ewma.update(f64::INFINITY).is_unusual());
        assert!(Ewma::new(EwmaConfig::default().with_weight(1.0)).is_err());
    }
}
