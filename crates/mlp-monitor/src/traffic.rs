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
/// the version's first one, on whatever thread that came, and predictions without numbers, are dropped and counted. Each thread records at one
/// of sixteen places with a lock of its own, so that threads do not wait for each other, nor for a reader but while it copies what that place
/// holds (with its first row of a version, until it has copied all): as many rows of a version as are kept, so with many threads up to sixteen
/// times those.
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
    /// Held while the lengths of a version's rows are found out, forgotten or relied on at several places; taken before the lock of a place.
    lengths: Mutex<()>,
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

impl Versions {
    /// How long the features and the outputs of a version are; 0 if that is not known here.
    fn lengths(&self, version: VersionNumber) -> [usize; 2] {
        let held = self.held.get(&version);
        held.map_or([0; 2], |held| [held.features.width, held.outputs.width])
    }
}

/// The latest rows of one width, one after the other, and when each came.
#[derive(Debug, Default)]
struct Rows {
    /// 0 before the first row.
    width: usize,
    values: VecDeque<f64>,
    came: VecDeque<u64>,
}

impl Rows {
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

/// The latest `limit` rows of several places, in the order in which they came.
fn merged(parts: &[(Vec<u64>, Vec<f64>)], limit: usize) -> Array2<f64> {
    let width = parts.first().map_or(0, |(came, values)| values.len() / came.len());
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (part, (came, _)) in parts.iter().enumerate() {
        order.extend(came.iter().enumerate().map(|(row, came)| (*came, part, row)));
    }
    order.sort_unstable();
    let latest = &order[order.len().saturating_sub(limit)..];
    Array2::from_shape_fn((latest.len(), width), |(at, column)| {
        let (_, part, row) = latest[at];
        parts[part].1[row * width + column]
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
            _ => Ok(Self {
                rows,
                came: AtomicU64::new(0),
                lengths: Mutex::default(),
                places: Box::default(),
            }),
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
        let _lengths = self.lengths.lock();
        for place in self.places.iter() {
            place.0.lock().held.remove(&version);
        }
    }

    fn array(&self, version: VersionNumber, part: impl Fn(&Held) -> &Rows) -> Array2<f64> {
        let mut parts = Vec::new();
        let lengths = self.lengths.lock();
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
        drop(lengths);
        merged(&parts, self.rows)
    }

    /// Takes a row, if it is as long as those before; a length of 0 is not known yet.
    fn take(&self, versions: &mut Versions, prediction: &PredictionRecord<'_>, known: [usize; 2]) {
        let given = given(prediction);
        let fits = |(given, known)| given == 0 || known == 0 || given == known;
        if given == [0; 2] || !given.into_iter().zip(known).all(fits) {
            versions.dropped += 1;
            return;
        }
        let came = self.came.fetch_add(1, Ordering::Relaxed);
        let held = versions.held.entry(prediction.version).or_default();
        held.last_taken = came;
        held.features.push(prediction.features.unwrap_or_default(), came, self.rows);
        held.outputs.push(prediction.outputs.unwrap_or_default(), came, self.rows);
        if versions.held.len() > MAX_VERSIONS {
            let silent =
                versions.held.iter().min_by_key(|(_, held)| held.last_taken).map(|(v, _)| *v);
            silent.and_then(|version| versions.held.remove(&version));
        }
    }

    /// How long the features and the outputs of a version are, wherever they came; 0 if that is not known.
    fn lengths(&self, version: VersionNumber) -> [usize; 2] {
        let of_places = self.places.iter().map(|place| place.0.lock().lengths(version));
        of_places.fold([0; 2], |known, own| [known[0].max(own[0]), known[1].max(own[1])])
    }
}

impl PredictionLog for TrafficWindow {
    fn record(&self, prediction: &PredictionRecord<'_>) {
        let place = &self.places[place()].0;
        let mut versions = place.lock();
        let known = versions.lengths(prediction.version);
        let of_new_length = |(given, known)| given > 0 && known == 0;
        if !given(prediction).into_iter().zip(known).any(of_new_length) {
            return self.take(&mut versions, prediction, known);
        }
        drop(versions);
        // The first row of a version here: another place may know how long its rows are.
        let _lengths = self.lengths.lock();
        let known = self.lengths(prediction.version);
        self.take(&mut place.lock(), prediction, known);
    }
}

/// How long the features and the outputs of a prediction are.
fn given(prediction: &PredictionRecord<'_>) -> [usize; 2] {
    [prediction.features, prediction.outputs].map(|row| row.unwrap_or_default().len())
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
    fn a_row_of_another_width_on_another_thread_is_dropped_and_replaces_nothing() {
        let window = TrafficWindow::new(10).unwrap();
        let on_another_thread = |features: &[f64], outputs: &[f64]| {
            std::thread::scope(|scope| {
                scope.spawn(|| window.record(&record(1, features, outputs))).join().unwrap()
            });
        };
        window.record(&record(1, &[1.0, 2.0], &[0.5]));
        on_another_thread(&[9.0], &[0.5]);
        on_another_thread(&[9.0, 9.0], &[0.5, 0.5]);
        // The rows before the odd ones are gone by now.
        (0..20).for_each(|_| window.record(&record(1, &[1.0, 2.0], &[0.5])));
        assert_eq!((window.features(V1).dim(), window.outputs(V1).dim()), ((10, 2), (10, 1)));
        assert_eq!(window.dropped(), 2);
        on_another_thread(&[3.0, 4.0], &[0.5]);
        assert_eq!(window.features(V1).row(9).to_vec(), [3.0, 4.0]);
        // A version that begins anew may have another width.
        window.clear(V1);
        on_another_thread(&[9.0], &[]);
        window.record(&record(1, &[1.0, 2.0], &[0.5]));
        window.record(&record(1, &[1.0], &[0.5]));
        on_another_thread(&[2.0], &[0.5, 0.5]);
        assert_eq!(
            (window.features(V1), window.outputs(V1)),
            (array![[9.0], [1.0]], array![[0.5]])
        );
        assert_eq!(window.dropped(), 4);
    }

    #[test]
    fn versions_are_bounded() {
        let window = TrafficWindow::new(1).unwrap();
        (0..150).for_each(|version| window.record(&record(version, &[1.0], &[1.0])));
        assert_eq!(window.features(VersionNumber(0)).nrows(), 0);
        assert_eq!(window.features(VersionNumber(149)).nrows(), 1);
    }
}
