//! The latest predictions of each version, as current data for drift and data quality.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlp_core::{PredictionLog, PredictionRecord, VersionNumber};
use ndarray::Array2;
use parking_lot::Mutex;

use crate::error::{MonitorError, Result};
use crate::signals::{Apart, PLACES, place};

/// How many versions are kept; the one that has been silent for longest makes room.
const MAX_VERSIONS: usize = 100;

/// Keeps the features and outputs of the latest predictions of each version.
///
/// A server reports to it as a [`PredictionLog`]; a drift report compares what it holds with a reference. Rows whose length differs from
/// the version's first one, and predictions without numbers, are dropped and counted. Each thread records at one of sixteen places with a lock of
/// its own, so that threads do not wait for each other, nor for a reader but while it copies what that place holds: as many rows of a version as
/// are kept, so with many threads up to sixteen times those.
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
    /// How many predictions came: their order across places.
    came: AtomicU64,
    places: Box<[Apart<Mutex<Versions>>; PLACES]>,
}

#[derive(Debug, Default)]
struct Versions {
    held: BTreeMap<VersionNumber, Held>,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Held {
    features: Rows,
    outputs: Rows,
    last_taken: u64,
}

/// The latest rows of one width, one after the other, and when each came.
#[derive(Debug, Default)]
struct Rows {
    width: usize,
    values: VecDeque<f64>,
    came: VecDeque<u64>,
}

impl Rows {
    fn fits(&self, row: &[f64]) -> bool {
        row.is_empty() || self.values.is_empty() || row.len() == self.width
    }

    fn push(&mut self, row: &[f64], came: u64, limit: usize) {
        if row.is_empty() {
            return;
        }
        self.width = row.len();
        self.values.extend(row);
        self.came.push_back(came);
        while self.came.len() > limit {
            self.values.drain(..self.width);
            self.came.pop_front();
        }
    }
}

/// The latest `limit` rows of several places, in the order in which they came; of one width, that of the row that came first.
fn merged(parts: &[(Vec<u64>, Vec<f64>)], limit: usize) -> Array2<f64> {
    let width_of = |(came, values): &(Vec<u64>, Vec<f64>)| values.len() / came.len();
    let Some(first) = parts.iter().min_by_key(|(came, _)| came[0]) else {
        return Array2::zeros((0, 0));
    };
    let width = width_of(first);
    let fitting: Vec<_> = parts.iter().filter(|part| width_of(part) == width).collect();
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (part, (came, _)) in fitting.iter().enumerate() {
        order.extend(came.iter().enumerate().map(|(row, came)| (*came, part, row)));
    }
    order.sort_unstable();
    let latest = &order[order.len().saturating_sub(limit)..];
    Array2::from_shape_fn((latest.len(), width), |(at, column)| {
        let (_, part, row) = latest[at];
        fitting[part].1[row * width + column]
    })
}

impl TrafficWindow {
    /// Keeps the latest `rows` predictions of each of at most 100 versions.
    ///
    /// # Errors
    /// If that is none.
    pub fn new(rows: usize) -> Result<Self> {
        match rows {
            0 => Err(MonitorError::setting("rows of a traffic window", rows, "at least 1")),
            _ => Ok(Self { rows, came: AtomicU64::new(0), places: Box::default() }),
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
        self.places.iter().map(|place| place.0.lock().dropped).sum()
    }

    /// Forgets what it holds of a version, so that the next report sees only what comes from now on.
    pub fn clear(&self, version: VersionNumber) {
        for place in self.places.iter() {
            place.0.lock().held.remove(&version);
        }
    }

    fn array(&self, version: VersionNumber, part: impl Fn(&Held) -> &Rows) -> Array2<f64> {
        let mut parts = Vec::new();
        for place in self.places.iter() {
            // Copied row after row; the matrix is made once no lock is held.
            let versions = place.0.lock();
            let held = versions.held.get(&version).map(&part);
            if let Some(rows) = held.filter(|rows| !rows.came.is_empty()) {
                parts.push((
                    rows.came.iter().copied().collect(),
                    rows.values.iter().copied().collect(),
                ));
            }
        }
        merged(&parts, self.rows)
    }
}

impl PredictionLog for TrafficWindow {
    fn record(&self, prediction: &PredictionRecord<'_>) {
        let features = prediction.features.unwrap_or_default();
        let outputs = prediction.outputs.unwrap_or_default();
        let mut versions = self.places[place()].0.lock();
        let fits = versions
            .held
            .get(&prediction.version)
            .is_none_or(|held| held.features.fits(features) && held.outputs.fits(outputs));
        if features.is_empty() && outputs.is_empty() || !fits {
            versions.dropped += 1;
            return;
        }
        let came = self.came.fetch_add(1, Ordering::Relaxed);
        let held = versions.held.entry(prediction.version).or_default();
        held.last_taken = came;
        held.features.push(features, came, self.rows);
        held.outputs.push(outputs, came, self.rows);
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
    fn rows_of_several_threads_come_in_their_order() {
        let window = TrafficWindow::new(1_000).unwrap();
        for step in 0..6 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for k in 0..300 {
                        let value = f64::from(step * 300 + k);
                        window.record(&record(1, &[value, -value], &[0.5]));
                    }
                });
            });
        }
        let features = window.features(V1);
        assert_eq!(features.dim(), (1_000, 2));
        let expected: Vec<f64> = (800..1_800).map(f64::from).collect();
        assert_eq!(features.column(0).to_vec(), expected);
        assert_eq!((window.outputs(V1).dim(), window.dropped()), ((1_000, 1), 0));
    }

    #[test]
    fn versions_are_bounded() {
        let window = TrafficWindow::new(1).unwrap();
        (0..150).for_each(|version| window.record(&record(version, &[1.0], &[1.0])));
        assert_eq!(window.features(VersionNumber(0)).nrows(), 0);
        assert_eq!(window.features(VersionNumber(149)).nrows(), 1);
    }
}
