//! Tells a daily peak from a spike at the wrong hour.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};
use mlp_stats::{HoltWinters, robust_scale};

/// Whether a value is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Anomaly {
    /// Nothing can be said: NaN, or too little is known.
    Unknown,
    /// As expected.
    Usual {
        /// How far off it is, in deviations that are usual.
        score: f64,
        /// What was expected.
        expected: f64,
    },
    /// Further off than the threshold.
    Unusual {
        /// How far off it is, in deviations that are usual; infinite if nothing has ever deviated.
        score: f64,
        /// What was expected.
        expected: f64,
    },
}

impl Anomaly {
    pub(super) fn judge(score: f64, expected: f64, threshold: f64) -> Self {
        if score.is_nan() {
            Self::Unknown
        } else if score.abs() > threshold {
            Self::Unusual { score, expected }
        } else {
            Self::Usual { score, expected }
        }
    }

    /// Whether the value is further off than the threshold.
    #[must_use]
    pub fn is_unusual(&self) -> bool {
        matches!(self, Self::Unusual { .. })
    }
}

/// When a value is unusual for its place in the season.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SeasonalConfig {
    /// So many robust deviations from the forecast are unusual. Default 5: forecasts of real traffic are off more often than a normal law says.
    pub threshold: f64,
    /// How many seasons of forecast errors the usual deviation is taken from. Default 2.
    pub error_seasons: usize,
    /// After so many unusual values in a row they are learnt all the same: the world has changed. Default: one season.
    pub accept_after: Option<usize>,
}

impl Default for SeasonalConfig {
    fn default() -> Self {
        Self { threshold: 5.0, error_seasons: 2, accept_after: None }
    }
}

impl SeasonalConfig {
    /// Sets how many robust deviations are unusual.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets after how many unusual values in a row they are learnt.
    #[must_use]
    pub fn with_accept_after(mut self, values: usize) -> Self {
        self.accept_after = Some(values);
        self
    }
}

/// Compares each value with its Holt-Winters forecast, in deviations that were usual so far (median and MAD of the latest errors).
///
/// An unusual value is not learnt, so a spike does not become tomorrow's forecast; a lasting change is, after a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeasonalDetector {
    config: SeasonalConfig,
    model: HoltWinters,
    errors: VecDeque<f64>,
    unusual_in_a_row: usize,
}

impl SeasonalDetector {
    /// Watches a series by a model of it. Until half a season of errors is known, nothing is unusual.
    ///
    /// # Errors
    /// If the threshold is not above 0, or no season of errors is kept.
    pub fn new(model: HoltWinters, config: SeasonalConfig) -> Result<Self> {
        if config.threshold <= 0.0 || config.threshold.is_nan() {
            return Err(MonitorError::setting("threshold", config.threshold, "above 0"));
        }
        if config.error_seasons == 0 {
            return Err(MonitorError::setting("error_seasons", 0, "at least 1"));
        }
        Ok(Self { config, model, errors: VecDeque::new(), unusual_in_a_row: 0 })
    }

    /// Judges the next value, and learns it unless it is unusual. NaN is unknown and teaches nothing.
    pub fn update(&mut self, value: f64) -> Anomaly {
        let expected = self.model.forecast(0);
        let anomaly = self.judge(value, expected);
        let patience = self.config.accept_after.unwrap_or(self.model.period());
        self.unusual_in_a_row = if anomaly.is_unusual() { self.unusual_in_a_row + 1 } else { 0 };
        let learnt =
            value.is_finite() && (!anomaly.is_unusual() || self.unusual_in_a_row > patience);
        self.model.update(if learnt { value } else { expected });
        if learnt {
            self.errors.push_back(value - expected);
            if self.errors.len() > self.config.error_seasons * self.model.period() {
                self.errors.pop_front();
            }
        }
        anomaly
    }

    fn judge(&self, value: f64, expected: f64) -> Anomaly {
        if value.is_nan() || self.errors.len() < self.model.period().div_ceil(2) {
            return Anomaly::Unknown;
        }
        let errors: Vec<f64> = self.errors.iter().copied().collect();
        match robust_scale(&errors) {
            Some(scale) => {
                Anomaly::judge(scale.z_score(value - expected), expected, self.config.threshold)
            }
            None => Anomaly::Unknown,
        }
    }

    /// The model, as it is after the last value.
    #[must_use]
    pub fn model(&self) -> &HoltWinters {
        &self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Season, Smoothing};
    use mlp_core::random;

    /// Requests an hour: quiet at night, a peak at noon, and noise.
    fn day(hour: usize, noise: f64) -> f64 {
        let angle = std::f64::consts::TAU * (hour % 24) as f64 / 24.0;
        1_000.0 - 800.0 * angle.cos() + 20.0 * noise
    }

    fn detector() -> (SeasonalDetector, random::ChaCha8Rng) {
        let mut generator = random::stream(7, 0);
        let history: Vec<f64> =
            (0..72).map(|hour| day(hour, random::normal(&mut generator))).collect();
        let model = HoltWinters::from_history(Season::Additive, Smoothing::default(), 24, &history)
            .unwrap();
        (SeasonalDetector::new(model, SeasonalConfig::default()).unwrap(), generator)
    }

    #[test]
    fn a_daily_peak_is_no_anomaly_and_a_spike_at_3_in_the_night_is() {
        let (mut detector, mut generator) = detector();
        for hour in 0..24 * 14 {
            let anomaly = detector.update(day(hour, random::normal(&mut generator)));
            assert!(!anomaly.is_unusual(), "hour {hour}: {anomaly:?}");
        }
        for hour in 0..24 {
            // At three as many requests as at noon: not the largest value of the day, at the wrong time.
            let value = if hour == 3 { 1_700.0 } else { day(hour, random::normal(&mut generator)) };
            assert_eq!(detector.update(value).is_unusual(), hour == 3, "hour {hour}");
        }
        for hour in 0..24 {
            let anomaly = detector.update(day(hour, random::normal(&mut generator)));
            assert!(!anomaly.is_unusual(), "the spike was not learnt: hour {hour}: {anomaly:?}");
        }
    }

    #[test]
    fn a_lasting_change_is_learnt_after_a_season() {
        let (mut detector, mut generator) = detector();
        let mut unusual = |add: f64| {
            (0..24 * 10)
                .filter(|hour| {
                    detector.update(day(*hour, random::normal(&mut generator)) + add).is_unusual()
                })
                .count()
        };
        assert_eq!(unusual(0.0), 0);
        let first = unusual(1_000.0);
        assert!((24..=60).contains(&first), "{first}");
        assert_eq!(unusual(1_000.0), 0);
    }

    #[test]
    fn a_gap_is_unknown_and_moves_only_the_time() {
        let (mut detector, mut generator) = detector();
        for hour in 0..24 * 4 {
            let gap = (30..50).contains(&hour);
            let value = if gap { f64::NAN } else { day(hour, random::normal(&mut generator)) };
            let anomaly = detector.update(value);
            assert!(
                !anomaly.is_unusual() && (!gap || anomaly == Anomaly::Unknown),
                "{hour}: {anomaly:?}"
            );
        }
    }
}
