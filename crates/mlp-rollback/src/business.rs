//! A metric of the business, such as revenue a request, recorded so that no single value can decide.

use std::collections::BTreeMap;

use mlp_core::{MetricSource, Reading, Signal, SourceError, VersionNumber};
use mlp_stats::{Moments, Winsor};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::trigger::Trigger;

/// The most versions a metric is kept for; the one whose last value is the oldest is forgotten.
pub const MAX_METRIC_VERSIONS: usize = 64;

/// Collects a metric by version, each value cut to a range that was fixed beforehand (winsorised), and answers as a [`MetricSource`].
///
/// Revenue has few values that are a thousand times the typical one: without the cut one order would promote a version and the lack of one
/// would roll it back. The range and the standard deviation come from a baseline of the past; the test is about the mean of the cut
/// values.
///
/// ```
/// use mlp_core::VersionNumber;
/// use mlp_rollback::BusinessMetric;
///
/// let past: Vec<f64> = (0..1_000).map(|k| f64::from(k % 40)).collect();
/// let revenue = BusinessMetric::from_baseline("revenue", &past, 0.01)?;
/// revenue.record(VersionNumber(2), 25.0);
/// revenue.record(VersionNumber(2), 1e12); // counts as 39
/// assert_eq!(revenue.mean(VersionNumber(2)), Some(32.0));
/// let trigger = revenue.trigger(); // 10 % below the active version's mean: rollback
/// # Ok::<(), mlp_rollback::Error>(())
/// ```
#[derive(Debug)]
pub struct BusinessMetric {
    signal: String,
    range: Winsor,
    deviation: f64,
    values: Mutex<Values>,
}

#[derive(Debug, Default)]
struct Values {
    /// How many values there were.
    recorded: u64,
    /// What each version earned, and which of all values was its last.
    versions: BTreeMap<VersionNumber, (Moments, u64)>,
}

impl BusinessMetric {
    /// A metric whose values are cut to the baseline's quantiles `share` and `1 − share`, from 0 to 0.5.
    ///
    /// # Errors
    /// If the baseline has fewer than two values, one that is not finite or none that differs, or the share is out of range.
    pub fn from_baseline(signal: impl Into<String>, baseline: &[f64], share: f64) -> Result<Self> {
        let invalid = |reason: String| Error::Invalid { field: "baseline", reason };
        let range =
            Winsor::of_sample(baseline, share).map_err(|error| invalid(error.to_string()))?;
        let mut moments = Moments::default();
        baseline.iter().for_each(|value| moments.add(range.apply(*value)));
        let deviation = moments.sample_variance().map_or(0.0, f64::sqrt);
        if deviation <= 0.0 {
            return Err(invalid("once it is cut, all its values are the same".to_owned()));
        }
        Ok(Self { signal: signal.into(), range, deviation, values: Mutex::default() })
    }

    /// Takes one value that a version earned. One that is NaN is left out.
    pub fn record(&self, version: VersionNumber, value: f64) {
        let mut values = self.values.lock();
        values.recorded += 1;
        let recorded = values.recorded;
        let (moments, last) = values.versions.entry(version).or_default();
        moments.add(self.range.apply(value));
        *last = recorded;
        if values.versions.len() > MAX_METRIC_VERSIONS {
            let oldest = values.versions.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(version, _)| *version) {
                values.versions.remove(&oldest);
            }
        }
    }

    /// Forgets what a version earned, as when it begins anew.
    pub fn forget(&self, version: VersionNumber) {
        self.values.lock().versions.remove(&version);
    }

    /// The mean of a version's values after the cut; none without values.
    #[must_use]
    pub fn mean(&self, version: VersionNumber) -> Option<f64> {
        self.values.lock().versions.get(&version)?.0.mean()
    }

    /// The range that values are cut to.
    #[must_use]
    pub fn range(&self) -> Winsor {
        self.range
    }

    /// The standard deviation of the baseline after the cut.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// The trigger that rolls a trial back at once if its mean is 10 % below the active version's.
    #[must_use]
    pub fn trigger(&self) -> Trigger {
        Trigger::business(&self.signal, self.deviation)
    }
}

impl MetricSource for BusinessMetric {
    fn read(
        &self,
        version: VersionNumber,
        signal: &Signal,
    ) -> std::result::Result<Reading, SourceError> {
        if !matches!(signal, Signal::Custom(name) if *name == self.signal) {
            return Err(SourceError::UnknownSignal { signal: signal.clone() });
        }
        let known = self.values.lock().versions.get(&version).copied();
        let moments = known.map(|(moments, _)| moments).unwrap_or_default();
        let count = moments.count();
        let squared_deviations = moments.variance().unwrap_or(0.0) * count as f64;
        Ok(Reading::Mean { count, mean: moments.mean().unwrap_or(0.0), squared_deviations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_champion_that_goes_on_earning_is_not_forgotten_for_its_low_number() {
        let metric = BusinessMetric::from_baseline("revenue", &[1.0, 2.0, 3.0], 0.0).unwrap();
        let champion = VersionNumber(1);
        for challenger in 2..200 {
            metric.record(champion, 3.0);
            metric.record(VersionNumber(challenger), 1.0);
        }
        let read = metric.read(champion, &Signal::Custom("revenue".to_owned())).unwrap();
        assert_eq!((read.count(), metric.mean(champion)), (198, Some(3.0)));
        assert_eq!(metric.mean(VersionNumber(2)), None, "it has not earned for the longest time");
        assert_eq!(metric.values.lock().versions.len(), MAX_METRIC_VERSIONS);
    }
}
