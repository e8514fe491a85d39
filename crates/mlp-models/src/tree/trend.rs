//! Monotone constraints: predictions that never move against a feature.

use std::collections::BTreeMap;

use mlp_core::FitError;
use serde::{Deserialize, Serialize};

/// What a prediction may do as a feature grows and all others stay: the prediction of a number, or the probability of the second of two classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// Never fall.
    Increasing,
    /// Never rise.
    Decreasing,
}

/// The constraint on each feature; empty if there is none at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trends(Vec<Option<Trend>>);

impl Trends {
    /// `classes`: how many there are, 0 for numbers.
    pub(crate) fn new(
        wanted: &BTreeMap<String, Trend>,
        names: &[String],
        classes: usize,
    ) -> Result<Self, FitError> {
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        if classes > 2 {
            return Err(FitError::failed(format!(
                "monotone constraints need numbers or two classes, there are {classes} classes"
            )));
        }
        if let Some(unknown) = wanted.keys().find(|&name| !names.contains(name)) {
            return Err(FitError::failed(format!(
                "monotone constraint on {unknown:?}: there is no such feature"
            )));
        }
        Ok(Self(names.iter().map(|name| wanted.get(name).copied()).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn of(&self, feature: usize) -> Option<Trend> {
        self.0.get(feature).copied().flatten()
    }
}

/// What leaves below a node may answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    low: f64,
    high: f64,
}

impl Bounds {
    pub(crate) const NONE: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    pub(crate) fn clip(self, value: f64) -> f64 {
        value.max(self.low).min(self.high)
    }

    /// Whether a split into these two answers keeps within the bounds and to the trend.
    pub(crate) fn allow(self, trend: Option<Trend>, left: f64, right: f64) -> bool {
        let holds = |value: f64| self.low <= value && value <= self.high;
        let follows = match trend {
            None => true,
            Some(Trend::Increasing) => left <= right,
            Some(Trend::Decreasing) => left >= right,
        };
        follows && holds(left) && holds(right)
    }

    /// The bounds of both children: where there is a trend, neither crosses the middle of their answers.
    pub(crate) fn split(self, trend: Option<Trend>, left: f64, right: f64) -> [Self; 2] {
        let middle = left + (right - left) / 2.0;
        let (below, above) = (Self { high: middle, ..self }, Self { low: middle, ..self });
        match trend {
            None => [self, self],
            Some(Trend::Increasing) => [below, above],
            Some(Trend::Decreasing) => [above, below],
        }
    }
}
