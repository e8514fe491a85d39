//! Named scores and the direction in which they improve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nonfinite::exact;

/// Named scores of one evaluation, trial or fold, in alphabetical order.
///
/// Every double is kept as it is: NaN and the infinities are values, and survive JSON. A metric that was not measured is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(BTreeMap<String, Exact>);

/// A double whose JSON form is exact.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Exact(#[serde(with = "exact")] f64);

impl Metrics {
    /// No metrics yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one metric.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        self.insert(name, value);
        self
    }

    /// Adds or replaces one metric, and returns the value it had.
    pub fn insert(&mut self, name: impl Into<String>, value: f64) -> Option<f64> {
        self.0.insert(name.into(), Exact(value)).map(|old| old.0)
    }

    /// The value of a metric, if it was measured.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|value| value.0)
    }

    /// All names and values, in alphabetical order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.0))
    }

    /// Keeps the metrics for which this holds.
    pub fn retain(&mut self, mut keeps: impl FnMut(&str, f64) -> bool) {
        self.0.retain(|name, value| keeps(name, value.0));
    }

    /// How many metrics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no metric.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>> FromIterator<(N, f64)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (N, f64)>>(metrics: I) -> Self {
        Self(metrics.into_iter().map(|(name, value)| (name.into(), Exact(value))).collect())
    }
}

impl<N: Into<String>> Extend<(N, f64)> for Metrics {
    fn extend<I: IntoIterator<Item = (N, f64)>>(&mut self, metrics: I) {
        self.0.extend(metrics.into_iter().map(|(name, value)| (name.into(), Exact(value))));
    }
}

/// Whether a larger or a smaller score is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Larger is better: accuracy, AUC.
    Maximize,
    /// Smaller is better: log loss, RMSE.
    Minimize,
}

impl Direction {
    /// Whether `score` is strictly better than `than`. NaN is never better, and nothing is better than NaN: it is no score.
    #[must_use]
    pub fn is_better(self, score: f64, than: f64) -> bool {
        match self {
            Self::Maximize => score > than,
            Self::Minimize => score < than,
        }
    }

    /// The position and value of the best score; the first of equal ones. Missing scores and NaN are passed over; the infinities count.
    #[must_use]
    pub fn best(self, scores: impl IntoIterator<Item = Option<f64>>) -> Option<(usize, f64)> {
        let present = scores
            .into_iter()
            .enumerate()
            .filter_map(|(i, score)| Some((i, score.filter(|s| !s.is_nan())?)));
        present.reduce(|best, next| if self.is_better(next.1, best.1) { next } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_double_survives_json() {
        let written: Metrics = [
            ("nan", f64::NAN),
            ("up", f64::INFINITY),
            ("down", f64::NEG_INFINITY),
            ("third", 1.0 / 3.0),
            ("zero", -0.0),
        ]
        .into_iter()
        .collect();
        let text = serde_json::to_string(&written).unwrap();
        let read: Metrics = serde_json::from_str(&text).unwrap();
        for ((name, was), (_, is)) in written.iter().zip(read.iter()) {
            assert!(was.to_bits() == is.to_bits(), "{name}: {was} became {is} through {text}");
        }
        assert_eq!(written.len(), read.len());
    }

    #[test]
    fn a_text_that_is_no_number_is_refused() {
        assert!(serde_json::from_str::<Metrics>(r#"{"accuracy": "high"}"#).is_err());
        assert!(serde_json::from_str::<Metrics>(r#"{"accuracy": null}"#).is_err());
    }

    #[test]
    fn a_missing_or_nan_score_never_wins() {
        let scores = [None, Some(f64::NAN), Some(0.5), Some(0.7), Some(0.7), Some(f64::NAN)];
        assert_eq!(Direction::Maximize.best(scores), Some((3, 0.7)));
        assert_eq!(Direction::Minimize.best(scores), Some((2, 0.5)));
        assert_eq!(Direction::Minimize.best([None, Some(f64::NAN)]), None);
        assert_eq!(
            Direction::Maximize.best([Some(1e300), Some(f64::INFINITY)]),
            Some((1, f64::INFINITY))
        );
    }
}
