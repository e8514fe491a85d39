//! Drift detection by McDiarmid's bound on moving averages.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Config, DriftDetector, DriftSignal, as_error, checked, signal};
use crate::check;
use crate::error::StatsError;

/// When an [`HddmW`] warns and finds a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HddmWConfig {
    /// The chance of a false alarm at one look. Default 0.001.
    pub drift_confidence: f64,
    /// The chance of a false warning at one look. Default 0.005.
    pub warning_confidence: f64,
    /// The weight of the newest prediction. Default 0.05.
    pub lambda: f64,
    /// Whether a fall of the error rate is a change, too. Default: no.
    pub two_sided: bool,
}

impl Default for HddmWConfig {
    fn default() -> Self {
        Self { drift_confidence: 0.001, warning_confidence: 0.005, lambda: 0.05, two_sided: false }
    }
}

impl Config for HddmWConfig {
    fn check(&self) -> Result<(), StatsError> {
        check::open_unit("drift_confidence", self.drift_confidence)?;
        check::open_unit("warning_confidence", self.warning_confidence)?;
        check::open_unit("lambda", self.lambda)
    }
}

/// Compares an exponentially weighted error rate with that since its best time, by McDiarmid's inequality (Frías-Blanco and others 2015,
/// the W-test): quicker than [`HddmA`](super::HddmA) for sudden changes. As River's `HDDM_W`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HddmW {
    #[serde(deserialize_with = "checked")]
    config: HddmWConfig,
    all: Weighted,
    rise: Cut,
    fall: Cut,
    is_drift: bool,
}

/// A moving average and the sum of the squares of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighted {
    #[serde(deserialize_with = "rate")]
    mean: Option<f64>,
    #[serde(deserialize_with = "squares")]
    squares: f64,
}

/// Reads a stored average of errors, which is a rate.
fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let mean = Option::<f64>::deserialize(deserializer)?;
    match mean {
        Some(mean) if !(0.0..=1.0).contains(&mean) => {
            Err(D::Error::custom(format_args!("the error rate is {mean}, must be in [0, 1]")))
        }
        _ => Ok(mean),
    }
}

/// Reads a stored sum of the squares of weights, which add up to 1.
fn squares<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let squares = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&squares) {
        Ok(squares)
    } else {
        Err(D::Error::custom(format_args!("the squares are {squares}, must be in [0, 1]")))
    }
}

impl Weighted {
    const EMPTY: Self = Self { mean: None, squares: 1.0 };

    fn update(&mut self, value: f64, lambda: f64) {
        self.mean = Some(self.mean.map_or(value, |mean| lambda * value + (1.0 - lambda) * mean));
        self.squares = lambda * lambda + (1.0 - lambda).powi(2) * self.squares;
    }

    fn reach(squares: f64, confidence: f64) -> f64 {
        (squares * (1.0 / confidence).ln() / 2.0).sqrt()
    }
}

/// The stream up to its best bound so far, and since.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cut {
    bound: Option<f64>,
    before: Weighted,
    since: Weighted,
}

impl Cut {
    const EMPTY: Self = Self { bound: None, before: Weighted::EMPTY, since: Weighted::EMPTY };

    fn update(&mut self, all: &Weighted, bound: f64, is_better: bool, value: f64, lambda: f64) {
        if is_better || self.bound.is_none() {
            *self = Self { bound: Some(bound), before: *all, since: Weighted::EMPTY };
        } else {
            self.since.update(value, lambda);
        }
    }

    /// Whether the average since is further above (`sign` 1) or below (−1) that before than chance explains.
    fn has_changed(&self, sign: f64, confidence: f64) -> bool {
        let (Some(before), Some(since)) = (self.before.mean, self.since.mean) else { return false };
        let reach = Weighted::reach(self.before.squares + self.since.squares, confidence);
        sign * (since - before) > reach
    }
}

impl HddmW {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If a confidence or `lambda` is not above 0 and below 1.
    pub fn new(config: HddmWConfig) -> Result<Self, StatsError> {
        config.check()?;
        Ok(Self::start(config))
    }

    fn start(config: HddmWConfig) -> Self {
        Self { config, all: Weighted::EMPTY, rise: Cut::EMPTY, fall: Cut::EMPTY, is_drift: false }
    }

    /// Takes the next prediction: whether it was wrong.
    pub fn record(&mut self, is_wrong: bool) -> DriftSignal {
        if self.is_drift {
            self.reset();
        }
        let HddmWConfig { drift_confidence, warning_confidence, lambda, two_sided } = self.config;
        let value = f64::from(u8::from(is_wrong));
        self.all.update(value, lambda);
        let mean = self.all.mean.unwrap_or(value);
        let reach = Weighted::reach(self.all.squares, drift_confidence);
        let (upper, lower) = (mean + reach, mean - reach);
        let is_least = self.rise.bound.is_some_and(|bound| upper < bound);
        self.rise.update(&self.all, upper, is_least, value, lambda);
        let is_greatest = self.fall.bound.is_some_and(|bound| lower > bound);
        self.fall.update(&self.all, lower, is_greatest, value, lambda);
        let changed = |confidence: f64| {
            (
                self.rise.has_changed(1.0, confidence),
                two_sided && self.fall.has_changed(-1.0, confidence),
            )
        };
        let ((rise, fall), (rise_warning, fall_warning)) =
            (changed(drift_confidence), changed(warning_confidence));
        self.is_drift = rise || fall;
        signal(self.is_drift, rise_warning || fall_warning)
    }
}

impl DriftDetector for HddmW {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        Ok(self.record(as_error(value)?))
    }

    fn reset(&mut self) {
        *self = Self::start(self.config);
    }
}
