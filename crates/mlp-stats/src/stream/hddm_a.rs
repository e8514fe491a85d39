//! Drift detection by Hoeffding's bound on means.

use serde::{Deserialize, Serialize};

use super::running::{RunningMean, rate};
use super::{Config, DriftDetector, DriftSignal, as_error, checked, signal};
use crate::check;
use crate::error::StatsError;

/// When an [`HddmA`] warns and finds a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HddmAConfig {
    /// The chance of a false alarm at one look. Default 0.001.
    pub drift_confidence: f64,
    /// The chance of a false warning at one look. Default 0.005.
    pub warning_confidence: f64,
    /// Whether a fall of the error rate is a change, too. Default: no.
    pub two_sided: bool,
}

impl Default for HddmAConfig {
    fn default() -> Self {
        Self { drift_confidence: 0.001, warning_confidence: 0.005, two_sided: false }
    }
}

impl Config for HddmAConfig {
    fn check(&self) -> Result<(), StatsError> {
        check::open_unit("drift_confidence", self.drift_confidence)?;
        check::open_unit("warning_confidence", self.warning_confidence)
    }
}

/// Compares the error rate so far with the part of the stream at which its upper bound was least, by Hoeffding's inequality
/// (Frías-Blanco and others 2015, the A-test). As River's `HDDM_A`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct HddmA {
    config: HddmAConfig,
    all: RunningMean,
    /// The stream up to where its upper bound was least, and to where its lower bound was greatest.
    least: Cut,
    greatest: Cut,
    is_drift: bool,
}

/// What is stored of a detector, before its parts are compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(deserialize_with = "checked")]
    config: HddmAConfig,
    #[serde(deserialize_with = "rate")]
    all: RunningMean,
    least: Cut,
    greatest: Cut,
    is_drift: bool,
}

impl TryFrom<Stored> for HddmA {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { config, all, least, greatest, is_drift } = stored;
        for Cut { part, .. } in [&least, &greatest] {
            // Of a stream with a prediction every part has one.
            let is_part = part.count <= all.count && (part.count > 0 || all.count == 0);
            check::parameter("count", part.count as f64, "of a part of the stream", is_part)?;
        }
        Ok(Self { config, all, least, greatest, is_drift })
    }
}

/// A part of the stream and the bound on its mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cut {
    #[serde(deserialize_with = "rate")]
    part: RunningMean,
    bound: f64,
}

impl HddmA {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If a confidence is not above 0 and below 1.
    pub fn new(config: HddmAConfig) -> Result<Self, StatsError> {
        config.check()?;
        Ok(Self::start(config))
    }

    fn start(config: HddmAConfig) -> Self {
        let (all, cut) = (RunningMean::default(), Cut::default());
        Self { config, all, least: cut, greatest: cut, is_drift: false }
    }

    /// Takes the next prediction: whether it was wrong.
    pub fn record(&mut self, is_wrong: bool) -> DriftSignal {
        if self.is_drift {
            self.reset();
        }
        self.all.update(f64::from(u8::from(is_wrong)));
        let count = self.all.count as f64;
        let reach = ((1.0 / self.config.drift_confidence).ln() / (2.0 * count)).sqrt();
        let (upper, lower) = (self.all.mean + reach, self.all.mean - reach);
        if self.all.count == 1 || upper <= self.least.bound {
            self.least = Cut { part: self.all, bound: upper };
        }
        if self.all.count == 1 || lower >= self.greatest.bound {
            self.greatest = Cut { part: self.all, bound: lower };
        }
        let rise = self.apart(&self.least, self.all.mean - self.least.part.mean);
        let mut is_warning = rise == DriftSignal::Warning;
        self.is_drift = rise == DriftSignal::Drift;
        if self.config.two_sided {
            let fall = self.apart(&self.greatest, self.greatest.part.mean - self.all.mean);
            self.is_drift |= fall == DriftSignal::Drift;
            is_warning |= fall == DriftSignal::Warning;
        }
        signal(self.is_drift, is_warning)
    }

    /// Whether the mean of all is further from that of a part than chance explains.
    fn apart(&self, cut: &Cut, difference: f64) -> DriftSignal {
        let (all, part) = (self.all.count as f64, cut.part.count as f64);
        if cut.part.count == self.all.count || difference < 0.0 {
            return DriftSignal::Stable;
        }
        let scale = (all - part) / part * (1.0 / all) / 2.0;
        let is_beyond = |confidence: f64| difference >= (scale * (2.0 / confidence).ln()).sqrt();
        signal(is_beyond(self.config.drift_confidence), is_beyond(self.config.warning_confidence))
    }
}

impl DriftDetector for HddmA {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        Ok(self.record(as_error(value)?))
    }

    fn reset(&mut self) {
        *self = Self::start(self.config);
    }
}
