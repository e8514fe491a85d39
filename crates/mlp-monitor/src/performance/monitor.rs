//! Takes predictions and outcomes in, and tells how good each version is.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use mlp_core::{
    Clock, Direction, Labels, MetricSource, PredictionId, PredictionLog, PredictionRecord, Reading,
    Signal, SourceError, VersionNumber,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::cohort::{CohortReport, Cohorts, Counts};
use super::degradation::{Baseline, Degradation};
use super::join::{Arrival, Left, Pair, Waiting, Window};
use super::segment::Segments;
use crate::error::{MonitorError, Result};
use crate::rules::Observation;
use crate::slices::{SliceReport, SliceScore};

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
    segments: Segments,
    windows: Vec<Mutex<Window>>,
    scores: Mutex<Scores>,
}

#[derive(Debug, Default)]
struct Scores {
    versions: BTreeMap<VersionNumber, Scored>,
    counts: JoinCounts,
}

/// How the predictions of one version turned out: all of them, and those of each segment.
#[derive(Debug, Default)]
struct Scored {
    whole: Cohorts,
    segments: Vec<Cohorts>,
}

impl PerformanceMonitor {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If a span is zero, the tolerance is negative or not finite, or fewer than 16 ids may be held.
    pub fn new(config: PerformanceConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        config.check()?;
        let windows = (0..SHARDS).map(|_| Mutex::default()).collect();
        let segments = Segments::default();
        Ok(Self { config, clock, segments, windows, scores: Mutex::default() })
    }

    /// Scores the predictions for which this holds also by themselves, under a name; at most 64 such segments, which may overlap. It is asked
    /// once for each prediction, on the thread that reports it.
    ///
    /// ```
    /// use mlp_core::{PredictionRecord, SystemClock};
    /// use mlp_monitor::{PerformanceConfig, PerformanceMonitor};
    /// use std::sync::Arc;
    ///
    /// let monitor = PerformanceMonitor::new(PerformanceConfig::default(), Arc::new(SystemClock::new()))?
    ///     .with_segment("sweet", |record: &PredictionRecord<'_>| record.features.is_some_and(|row| row[3] > 4.0))?;
    /// # Ok::<(), mlp_monitor::MonitorError>(())
    /// ```
    ///
    /// # Errors
    /// If the name is taken, or there are 64 segments.
    pub fn with_segment(
        mut self,
        name: impl Into<String>,
        holds: impl Fn(&PredictionRecord<'_>) -> bool + Send + Sync + 'static,
    ) -> Result<Self> {
        self.segments.add(name.into(), Box::new(holds))?;
        Ok(self)
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
        let cohorts = &scores.versions.get(&version)?.whole;
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

    /// The accuracy of a version in each segment; none if it has never predicted. A segment with fewer outcomes than `min_count` has no value.
    #[must_use]
    pub fn segments(&self, version: VersionNumber, min_count: u64) -> Option<SliceReport> {
        self.mature();
        let scores = self.scores.lock();
        let found = scores.versions.get(&version)?;
        let score = |name: &str, cohorts: Option<&Cohorts>| {
            let counts = cohorts.map(|cohorts| self.scored(cohorts)).unwrap_or_default();
            SliceScore::of(name, counts.labelled, min_count, counts.accuracy())
        };
        let segments = self.segments.names().enumerate();
        Some(SliceReport {
            metric: "accuracy".to_owned(),
            direction: Direction::Maximize,
            whole: score("all", Some(&found.whole)),
            slices: segments.map(|(k, name)| score(name, found.segments.get(k))).collect(),
        })
    }

    /// Whether a version is worse than a baseline, by evidence rather than by a point; none if it has never predicted.
    ///
    /// # Errors
    /// If the baseline is out of its range.
    pub fn degradation(
        &self,
        version: VersionNumber,
        baseline: &Baseline,
    ) -> Result<Option<Degradation>> {
        baseline.check()?;
        self.mature();
        let scores = self.scores.lock();
        let Some(Scored { whole, .. }) = scores.versions.get(&version) else { return Ok(None) };
        let cohorts: Vec<_> = whole.held(self.config.scoring == Scoring::AtOnce).collect();
        Degradation::judge(&self.scored(whole), &cohorts, whole.forgotten, baseline).map(Some)
    }

    /// Observations for rules, with the version as label `version`: `accuracy` (a change is measured from `baseline`), on how many outcomes it
    /// rests, and `label_coverage`, the share of predictions whose outcome came.
    #[must_use]
    pub fn observations(&self, baseline: Option<f64>) -> Vec<(&'static str, Labels, Observation)> {
        let of_version = |performance: VersionPerformance| {
            let scored = performance.scored;
            let labels = Labels::from([("version".to_owned(), performance.version.to_string())]);
            let mut accuracy = Observation::from(scored.accuracy()).with_count(scored.labelled);
            accuracy.reference = baseline;
            let coverage = Observation::from(scored.coverage()).with_count(scored.predictions);
            [("accuracy", labels.clone(), accuracy), ("label_coverage", labels, coverage)]
        };
        self.performances().into_iter().flat_map(of_version).collect()
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
        scores.versions.values_mut().for_each(|scored| scored.mature(first_open));
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
        self.count(waiting, &Counts { predictions: 1, ..Counts::default() });
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
        self.count(&waiting, &counts);
    }

    fn count(&mut self, waiting: &Waiting, counts: &Counts) {
        let Scored { whole, segments } = self.versions.entry(waiting.version).or_default();
        whole.count(waiting.cohort, counts);
        let mut left = waiting.segments;
        while left != 0 {
            let segment = left.trailing_zeros() as usize;
            left &= left - 1;
            if segments.len() <= segment {
                segments.resize_with(segment + 1, Cohorts::default);
            }
            segments[segment].count(waiting.cohort, counts);
        }
    }

    fn leave(&mut self, left: Left) {
        self.counts.unknown_outcomes += left.lonely_outcomes;
        self.counts.unlabelled += left.unlabelled;
    }
}

impl Scored {
    fn mature(&mut self, first_open: u64) {
        self.whole.mature(first_open);
        self.segments.iter_mut().for_each(|cohorts| cohorts.mature(first_open));
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
        let waiting = Waiting {
            version: prediction.version,
            cohort: self.cohort(now),
            predicted,
            segments: self.segments.of(prediction),
        };
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
