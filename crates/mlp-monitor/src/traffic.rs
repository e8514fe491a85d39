//! The latest predictions of each version, as current data for drift and data quality.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mlp_core::{PredictionLog, PredictionRecord, VersionNumber};
use ndarray::Array2;
use parking_lot::Mutex;

use crate::error::{MonitorError, Result};

/// How many versions are kept; the one that has been silent for longest makes room.
const MAX_VERSIONS: usize = 100;

/// Keeps the features and outputs of the latest predictions of each version.
///
/// A server reports to it as a [`PredictionLog`]; a drift report compares what it holds with a reference. Rows whose length differs from
/// the version's first one, and predictions without numbers, are dropped and counted.
///
/// ```
/// use mlp_core::{PredictionId, PredictionLog, PredictionRecord, Role, Timestamp, VersionNumber};
/// use mlp_monitor::TrafficWindow;
///
/// let traffic = TrafficWindow::new(1_000)?;
/// let record = PredictionRecord::new(PredictionId::generate(), VersionNumber(1), Role::Active, Timestamp::UNIX_EPOCH);
/// traffic.record(&record.with_data(Some(&[5.0, 7.0]), Some(&[0.2, 0.8])));
/// assert_eq!(traffic.features(VersionNumber(1)), ndarray::array![[5.0, 7.0]]);
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct TrafficWindow {
    rows: usize,
    versions: Mutex<Versions>,
}

#[derive(Debug, Default)]
struct Versions {
    held: BTreeMap<VersionNumber, Held>,
    taken: u64,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Held {
    features: Rows,
    outputs: Rows,
    last_taken: u64,
}

/// The latest rows of one width, one after the other.
#[derive(Debug, Default)]
struct Rows {
    width: usize,
    values: VecDeque<f64>,
}

impl Rows {
    fn fits(&self, row: &[f64]) -> bool {
        row.is_empty() || self.values.is_empty() || row.len() == self.width
    }

    fn push(&mut self, row: &[f64], limit: usize) {
        if row.is_empty() {
            return;
        }
        self.width = row.len();
        self.values.extend(row);
        while self.values.len() > limit * self.width {
            self.values.drain(..self.width);
        }
    }

    fn to_array(&self) -> Array2<f64> {
        let n_rows = self.values.len().checked_div(self.width).unwrap_or_default();
        Array2::from_shape_fn((n_rows, self.width), |(row, column)| {
            self.values[row * self.width + column]
        })
    }
}

impl TrafficWindow {
    /// Keeps the latest `rows` predictions of each of at most 100 versions.
    ///
    /// # Errors
    /// If that is none.
    pub fn new(rows: usize) -> Result<Self> {
        match rows {
            0 => Err(MonitorError::setting("rows of a traffic window", rows, "at least 1")),
            _ => Ok(Self { rows, versions: Mutex::default() }),
        }
    }

    /// The features of a version's latest predictions (`n_rows × n_features`), oldest first; empty for an unknown version.
    #[must_use]
    pub fn features(&self, version: VersionNumber) -> Array2<f64> {
        self.array(version, |held| &held.features)
    }

    /// The outputs of a version's latest predictions (`n_rows × n_outputs`), oldest first; empty for an unknown version.
    #[must_use]
    pub fn outputs(&self, version: VersionNumber) -> Array2<f64> {
        self.array(version, |held| &held.outputs)
    }

    /// How many predictions could not be kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.versions.lock().dropped
    }

    /// Forgets what it holds of a version, so that the next report sees only what comes from now on.
    pub fn clear(&self, version: VersionNumber) {
        self.versions.lock().held.remove(&version);
    }

    fn array(&self, version: VersionNumber, part: impl Fn(&Held) -> &Rows) -> Array2<f64> {
        let versions = self.versions.lock();
        versions
            .held
            .get(&version)
            .map_or_else(|| Array2::zeros((0, 0)), |held| part(held).to_array())
    }
}

impl PredictionLog for TrafficWindow {
    fn record(&self, prediction: &PredictionRecord<'_>) {
        let features = prediction.features.unwrap_or_default();
        let outputs = prediction.outputs.unwrap_or_default();
        let mut versions = self.versions.lock();
        let fits = versions
            .held
            .get(&prediction.version)
            .is_none_or(|held| held.features.fits(features) && held.outputs.fits(outputs));
        if features.is_empty() && outputs.is_empty() || !fits {
            versions.dropped += 1;
            return;
        }
        versions.taken += 1;
        let taken = versions.taken;
        let held = versions.held.entry(prediction.version).or_default();
        held.last_taken = taken;
        held.features.push(features, self.rows);
        held.outputs.push(outputs, self.rows);
        if versions.held.len() > MAX_VERSIONS {
            let silent =
                versions.held.iter().min_by_key(|(_, held)| held.last_taken).map(|(v, _)| *v);
            silent.and_then(|version| versions.held.remove(&version));
        }
    }
}

/// Hands each prediction to several logs, in order.
#[derive(Debug, Clone, Default)]
pub struct PredictionLogs(Vec<Arc<dyn PredictionLog>>);

impl PredictionLogs {
    /// One log made of several.
    #[must_use]
    pub fn new(logs: Vec<Arc<dyn PredictionLog>>) -> Self {
        Self(logs)
    }
}

impl PredictionLog for PredictionLogs {
    fn record(&self, prediction: &PredictionRecord<'_>) {
        self.0.iter().for_each(|log| log.record(prediction));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::{PredictionId, Role, Timestamp};
    use ndarray::array;

    const V1: VersionNumber = VersionNumber(1);

    fn record<'a>(version: u64, features: &'a [f64], outputs: &'a [f64]) -> PredictionRecord<'a> {
        let id = PredictionId::generate();
        PredictionRecord::new(id, VersionNumber(version), Role::Active, Timestamp::UNIX_EPOCH)
            .with_data(Some(features), Some(outputs))
    }

    #[test]
    fn a_window_keeps_the_latest_rows_of_each_version() {
        let window = Arc::new(TrafficWindow::new(2).unwrap());
        let log = PredictionLogs::new(vec![window.clone()]);
        for value in [1.0, 2.0, 3.0] {
            log.record(&record(1, &[value, -value], &[value / 10.0]));
        }
        assert_eq!(window.features(V1), array![[2.0, -2.0], [3.0, -3.0]]);
        assert_eq!(window.outputs(V1), array![[0.2], [0.3]]);
        window.clear(V1);
        assert_eq!(window.features(V1).dim(), (0, 0));
    }

    #[test]
    fn rows_of_another_length_and_rows_without_numbers_are_dropped_and_counted() {
        let window = TrafficWindow::new(10).unwrap();
        window.record(&record(1, &[1.0, 2.0], &[0.5]));
        window.record(&record(1, &[1.0], &[0.5]));
        window.record(&record(1, &[], &[]));
        assert_eq!(
            (window.features(V1).nrows(), window.outputs(V1).nrows(), window.dropped()),
            (1, 1, 2)
        );
    }

    #[test]
    fn versions_are_bounded() {
        let window = TrafficWindow::new(1).unwrap();
        (0..150).for_each(|version| window.record(&record(version, &[1.0], &[1.0])));
        assert_eq!(window.features(VersionNumber(0)).nrows(), 0);
        assert_eq!(window.features(VersionNumber(149)).nrows(), 1);
    }
}
