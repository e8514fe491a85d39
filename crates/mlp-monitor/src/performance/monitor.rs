//! Takes predictions and outcomes in, and tells how good each version is.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use mlp_core::{
    Clock, MetricSource, PredictionId, PredictionLog, PredictionRecord, Reading, Signal,
    SourceError, VersionNumber,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::cohort::{CohortReport, Cohorts, Counts};
use super::join::{Arrival, Left, Pair, Waiting, Window};
use crate::error::{MonitorError, Result};

/// Ids are spread over this many locks, so that requests on several threads rarely meet.
const SHARDS: usize = 16;
/// How many versions are counted; predictions of further ones are dropped, and counted as such.
const MAX_VERSIONS: usize = 1_000;

/// What was predicted, or what was true.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// A class, by its index.
    Class(usize),
    /// A number.
    Value(f64),
}

/// Which outcomes count when a version is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// Those of predictions whose window for outcomes is over: early outcomes are often of one kind (a fraud is reported sooner than an
    /// honest sale), and would give a wrong picture.
    #[default]
    Matured,
    /// Every outcome as soon as it comes: right if how long it takes says nothing about what it is.
    AtOnce,
}

/// How predictions and outcomes are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PerformanceConfig {
    /// How long after a prediction its outcome may come. Default 24 h.
    #[serde(with = "span")]
    pub window: Duration,
    /// The predictions of such a span are scored together. Default 1 h.
    #[serde(with = "span")]
    pub cohort: Duration,
    /// Which outcomes count.
    pub scoring: Scoring,
    /// How far off a predicted number may be and count as right. Default 0: errors of numbers are told by their size.
    pub tolerance: f64,
    /// How many ids are held in the window. Default 1,000,000, about 150 MB; the oldest beyond it are let go, and counted.
    pub max_open: usize,
}

impl Default for PerformanceConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(24 * 3_600),
            cohort: Duration::from_secs(3_600),
            scoring: Scoring::default(),
            tolerance: 0.0,
            max_open: 1_000_000,
        }
    }
}

impl PerformanceConfig {
    /// Sets how long after a prediction its outcome may come.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets the span whose predictions are scored together.
    #[must_use]
    pub fn with_cohort(mut self, cohort: Duration) -> Self {
        self.cohort = cohort;
        self
    }

    /// Sets which outcomes count.
    #[must_use]
    pub fn with_scoring(mut self, scoring: Scoring) -> Self {
        self.scoring = scoring;
        self
    }

    /// Sets how far off a predicted number may be and count as right.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets how many ids are held.
    #[must_use]
    pub fn with_max_open(mut self, ids: usize) -> Self {
        self.max_open = ids;
        self
    }

    fn check(&self) -> Result<()> {
        if self.window.is_zero() {
            return Err(MonitorError::setting("window", "0s", "above 0"));
        }
        if self.cohort.is_zero() {
            return Err(MonitorError::setting("cohort", "0s", "above 0"));
        }
        if self.tolerance < 0.0 || !self.tolerance.is_finite() {
            return Err(MonitorError::setting(
                "tolerance",
                self.tolerance,
                "0 or above, and finite",
            ));
        }
        if self.max_open < SHARDS {
            return Err(MonitorError::setting("max_open", self.max_open, "at least 16"));
        }
        Ok(())
    }
}

/// What came in, and what could not be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JoinCounts {
    /// Predictions taken in.
    pub predictions: u64,
    /// Predictions without numeric outputs, or of too many versions: nothing to compare.
    pub dropped_predictions: u64,
    /// Predictions whose id and version were known already: the first one counts.
    pub duplicate_predictions: u64,
    /// Outcomes taken in.
    pub outcomes: u64,
    /// Outcomes whose id already had one: the first one counts.
    pub duplicate_outcomes: u64,
    /// Outcomes that waited for their prediction in vain: of unknown predictions, or too late.
    pub unknown_outcomes: u64,
    /// Pairs of a prediction and its outcome.
    pub joined: u64,
    /// Predictions whose outcome did not come in time.
    pub unlabelled: u64,
    /// Ids in the window now.
    pub open: usize,
}

/// How good a version is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionPerformance {
    /// The version.
    pub version: VersionNumber,
    /// What it is scored by: matured cohorts only, or everything, as configured.
    pub scored: Counts,
    /// Predictions that are not scored yet.
    pub pending: u64,
    /// The matured cohorts, oldest first; at most the last 1,000.
    pub cohorts: Vec<CohortReport>,
}

/// Joins predictions to their true outcomes by id, in whatever order they come, each pair once, and scores each version.
///
/// It is a [`PredictionLog`], so a server can report to it, and a [`MetricSource`] of [`Signal::WrongPredictions`], so that a rollback can
/// be triggered by it. Memory is bounded by [`PerformanceConfig::max_open`]. Windows are measured in monotonic time.
///
/// A predicted class is the most probable output if there is more than one output; a single output is a number.
///
/// ```
/// use mlp_core::{ManualClock, PredictionId, PredictionLog, PredictionRecord, Role, Timestamp, VersionNumber};
/// use mlp_monitor::{PerformanceConfig, PerformanceMonitor, Truth};
/// use std::{sync::Arc, time::Duration};
///
/// let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
/// let monitor = PerformanceMonitor::new(PerformanceConfig::default(), clock.clone())?;
/// let (id, version) = (PredictionId::generate(), VersionNumber(1));
/// let record = PredictionRecord::new(id, version, Role::Active, Timestamp::UNIX_EPOCH);
/// monitor.record(&record.with_data(None, Some(&[0.2, 0.8])));
/// monitor.outcome(id, Truth::Class(1));
/// clock.advance(Duration::from_secs(25 * 3_600)); // the window for outcomes is over
/// assert_eq!(monitor.performance(version).unwrap().scored.accuracy(), Some(1.0));
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct PerformanceMonitor {
    config: PerformanceConfig,
    clock: Arc<dyn Clock>,
    windows: Vec<Mutex<Window>>,
    scores: Mutex<Scores>,
}

#[derive(Debug, Default)]
struct Scores {
    versions: BTreeMap<VersionNumber, Cohorts>,
    counts: JoinCounts,
}

impl PerformanceMonitor {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If a span is zero, the tolerance is negative or not finite, or fewer than 16 ids may be held.
    pub fn new(config: PerformanceConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        config.check()?;
        let windows = (0..SHARDS).map(|_| Mutex::default()).collect();
        Ok(Self { config, clock, windows, scores: Mutex::default() })
    }

    /// Takes the true outcome of a prediction, which may come before the prediction does.
    pub fn outcome(&self, id: PredictionId, truth: Truth) {
        let now = self.clock.monotonic();
        let mut pairs = Vec::new();
        let mut window = self.windows[shard(id)].lock();
        let left = self.expire(&mut window, now);
        let arrival = window.outcome(id, truth, now, |pair| pairs.push(pair));
        drop(window);
        let mut scores = self.scores.lock();
        match arrival {
            Arrival::New => scores.counts.outcomes += 1,
            Arrival::Duplicate => scores.counts.duplicate_outcomes += 1,
        }
        pairs.into_iter().for_each(|pair| scores.join(pair, self.config.tolerance));
        scores.leave(left);
    }

    /// How good a version is; none if it has never predicted.
    #[must_use]
    pub fn performance(&self, version: VersionNumber) -> Option<VersionPerformance> {
        self.mature();
        let scores = self.scores.lock();
        let cohorts = scores.versions.get(&version)?;
        let scored = self.scored(cohorts);
        Some(VersionPerformance {
            version,
            scored,
            pending: cohorts.all.predictions - scored.predictions,
            cohorts: cohorts.history.iter().copied().collect(),
        })
    }

    /// How good all versions are, in their order.
    #[must_use]
    pub fn performances(&self) -> Vec<VersionPerformance> {
        let versions: Vec<VersionNumber> = self.scores.lock().versions.keys().copied().collect();
        versions.into_iter().filter_map(|version| self.performance(version)).collect()
    }

    /// What came in, and what could not be joined.
    #[must_use]
    pub fn counts(&self) -> JoinCounts {
        self.mature();
        let open = self.windows.iter().map(|window| window.lock().len()).sum();
        JoinCounts { open, ..self.scores.lock().counts }
    }

    fn scored(&self, cohorts: &Cohorts) -> Counts {
        match self.config.scoring {
            Scoring::Matured => cohorts.matured,
            Scoring::AtOnce => cohorts.all,
        }
    }

    /// Lets go of ids whose time is over, and closes the cohorts before.
    fn mature(&self) {
        let now = self.clock.monotonic();
        let mut left = Left::default();
        for window in &self.windows {
            let gone = self.expire(&mut window.lock(), now);
            left.lonely_outcomes += gone.lonely_outcomes;
            left.unlabelled += gone.unlabelled;
        }
        let first_open =
            now.checked_sub(self.config.window).map_or(0, |oldest| self.cohort(oldest));
        let mut scores = self.scores.lock();
        scores.leave(left);
        scores.versions.values_mut().for_each(|cohorts| cohorts.mature(first_open));
    }

    fn expire(&self, window: &mut Window, now: Duration) -> Left {
        let oldest = now.saturating_sub(self.config.window);
        window.expire(oldest, self.config.max_open / SHARDS - 1)
    }

    fn cohort(&self, at: Duration) -> u64 {
        u64::try_from(at.as_nanos() / self.config.cohort.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Scores {
    fn predicted(&mut self, waiting: &Waiting, arrival: Arrival) {
        if arrival == Arrival::Duplicate {
            self.counts.duplicate_predictions += 1;
            return;
        }
        self.counts.predictions += 1;
        let counts = Counts { predictions: 1, ..Counts::default() };
        self.versions.entry(waiting.version).or_default().count(waiting.cohort, &counts);
    }

    fn join(&mut self, (waiting, truth): Pair, tolerance: f64) {
        self.counts.joined += 1;
        let error = error(waiting.predicted, truth);
        let counts = Counts {
            labelled: 1,
            wrong: u64::from(error.is_nan() || error > tolerance),
            absolute_error: error,
            ..Counts::default()
        };
        self.versions.entry(waiting.version).or_default().count(waiting.cohort, &counts);
    }

    fn leave(&mut self, left: Left) {
        self.counts.unknown_outcomes += left.lonely_outcomes;
        self.counts.unlabelled += left.unlabelled;
    }
}

/// How far a prediction is from the truth: 0 or 1 for classes, and for a class against a number.
fn error(predicted: Truth, truth: Truth) -> f64 {
    match (predicted, truth) {
        (Truth::Class(predicted), Truth::Class(truth)) if predicted == truth => 0.0,
        (Truth::Value(predicted), Truth::Value(truth)) if predicted == truth => 0.0,
        (Truth::Value(predicted), Truth::Value(truth)) => (predicted - truth).abs(),
        _ => 1.0,
    }
}

fn shard(id: PredictionId) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
    usize::try_from(hash % SHARDS as u64).unwrap_or_default()
}

/// The most probable class (the first of equally probable ones), or the only output.
fn predicted(outputs: &[f64]) -> Option<Truth> {
    match outputs {
        [] => None,
        [value] => Some(Truth::Value(*value)),
        outputs if outputs.iter().any(|output| output.is_nan()) => None,
        outputs => {
            let best = outputs
                .iter()
                .enumerate()
                .reduce(|best, next| if next.1 > best.1 { next } else { best });
            best.map(|(class, _)| Truth::Class(class))
        }
    }
}

impl PredictionLog for PerformanceMonitor {
    fn record(&self, prediction: &PredictionRecord<'_>) {
        let now = self.clock.monotonic();
        let known = |scores: &Scores| {
            scores.versions.len() < MAX_VERSIONS
                || scores.versions.contains_key(&prediction.version)
        };
        let Some(predicted) =
            prediction.outputs.and_then(predicted).filter(|_| known(&self.scores.lock()))
        else {
            self.scores.lock().counts.dropped_predictions += 1;
            return;
        };
        let waiting = Waiting { version: prediction.version, cohort: self.cohort(now), predicted };
        let mut window = self.windows[shard(prediction.id)].lock();
        let left = self.expire(&mut window, now);
        let (arrival, pair) = window.predict(prediction.id, waiting, now);
        drop(window);
        let mut scores = self.scores.lock();
        scores.predicted(&waiting, arrival);
        pair.into_iter().for_each(|pair| scores.join(pair, self.config.tolerance));
        scores.leave(left);
    }
}

impl MetricSource for PerformanceMonitor {
    fn read(
        &self,
        version: VersionNumber,
        signal: &Signal,
    ) -> std::result::Result<Reading, SourceError> {
        if *signal != Signal::WrongPredictions {
            return Err(SourceError::UnknownSignal { signal: signal.clone() });
        }
        let performance =
            self.performance(version).ok_or(SourceError::UnknownVersion { version })?;
        let Counts { wrong, labelled, .. } = performance.scored;
        Ok(Reading::Proportion { events: wrong, trials: labelled })
    }
}

#[cfg(test)]
mod tests;
