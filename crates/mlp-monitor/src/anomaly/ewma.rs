//! Moving averages that forget exponentially, for series without a season.

use mlp_stats::MovingMoments;
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

/// A deviation smaller than this share of the mean is rounding.
const ROUNDING: f64 = 1e-9;

/// Compares each value with the exponentially weighted mean of those before it, in their weighted standard deviations (of at least a
/// billionth of the mean).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Ewma {
    config: EwmaConfig,
    moments: MovingMoments,
}

/// What is stored of it, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    config: EwmaConfig,
    moments: MovingMoments,
}

impl TryFrom<Stored> for Ewma {
    type Error = MonitorError;

    fn try_from(Stored { config, moments }: Stored) -> Result<Self> {
        Self::new(config)?;
        if moments.weight() != config.weight {
            let given = moments.weight();
            return Err(MonitorError::setting("weight of the moments", given, "the configured"));
        }
        Ok(Self { config, moments })
    }
}

impl Ewma {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If the weight is not between 0 and 1, or the threshold is not above 0.
    pub fn new(config: EwmaConfig) -> Result<Self> {
        let moments = MovingMoments::new(config.weight)
            .map_err(|_| MonitorError::setting("weight", config.weight, "above 0 and below 1"))?;
        if config.threshold <= 0.0 || config.threshold.is_nan() {
            return Err(MonitorError::setting("threshold", config.threshold, "above 0"));
        }
        Ok(Self { config, moments })
    }

    /// Judges a value by what came before it, then learns it. NaN and infinite values teach nothing; infinity is unusual.
    pub fn update(&mut self, value: f64) -> Anomaly {
        let anomaly = self.judge(value);
        self.moments.add(value);
        anomaly
    }

    fn judge(&self, value: f64) -> Anomaly {
        let (Some(mean), deviation) = (self.mean(), self.standard_deviation()) else {
            return Anomaly::Unknown;
        };
        if value.is_nan() || self.moments.count() < self.config.warm_up {
            return Anomaly::Unknown;
        }
        let difference = value - mean;
        let usual = deviation.unwrap_or(0.0).max(ROUNDING * mean.abs());
        let score = if difference == 0.0 { 0.0 } else { difference / usual };
        Anomaly::judge(score, mean, self.config.threshold)
    }

    /// The moving average; none before the first value.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.moments.mean()
    }

    /// The moving standard deviation; none before the second value.
    #[must_use]
    pub fn standard_deviation(&self) -> Option<f64> {
        self.moments.standard_deviation()
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
        let mut ewma = Ewma::new(EwmaConfig::default()).unwrap();
        assert!((0..1_000).all(|_| !ewma.update(0.1).is_unusual()), "rounding is no deviation");
    }

    #[test]
    fn a_stored_average_goes_on_and_one_that_makes_no_sense_is_refused() {
        let mut ewma = Ewma::new(EwmaConfig::default()).unwrap();
        for value in [1.0, f64::NAN, 3.0, f64::INFINITY, 1e140, -1e140] {
            let anomaly = ewma.update(value);
            let text = serde_json::to_string(&anomaly).unwrap();
            assert_eq!(serde_json::from_str::<Anomaly>(&text).unwrap(), anomaly);
        }
        let text = serde_json::to_string(&ewma).unwrap();
        let mut read: Ewma = serde_json::from_str(&text).unwrap();
        assert_eq!(read.update(2.0), ewma.update(2.0));
        assert_eq!(read, ewma);
        for (part, instead) in [
            ("\"weight\":0.1", "\"weight\":5"),
            ("\"weight\":0.1", "\"weight\":0.2"),
            ("{\"config\"", "{\"more\":1,\"config\""),
        ] {
            let wrong = text.replacen(part, instead, 1);
            assert!(wrong != text && serde_json::from_str::<Ewma>(&wrong).is_err(), "{instead}");
        }
    }
}
