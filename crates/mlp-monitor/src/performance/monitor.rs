//! Takes predictions and outcomes in, and tells how good each version is.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{
    Clock, Direction, Labels, MetricSource, PredictionId, PredictionLog, PredictionRecord, Reading,
    Signal, SourceError, VersionNumber,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::cohort::{CohortReport, Cohorts, Counts};
use super::config::{PerformanceConfig, SHARDS, Scoring, Truth};
use super::degradation::{Baseline, Degradation, PerformanceMeasure};
use super::segment::Segments;
use super::shard::{Scored, Shard};
use crate::error::Result;
use crate::rules::Observation;
use crate::slices::{SliceReport, SliceScore};

/// The name of the mean absolute error, as an observation and as a custom signal of triggers.
const MEAN_ABSOLUTE_ERROR: &str = "mean_absolute_error";

/// What came in, and what could not be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JoinCounts {
    /// Predictions taken in.
    pub predictions: u64,
    /// Predictions without outputs, with one that is NaN or a number that is not finite, or of too many versions: nothing to compare.
    pub dropped_predictions: u64,
    /// Predictions whose id and version were known already: the first one counts.
    pub duplicate_predictions: u64,
    /// Outcomes taken in.
    pub outcomes: u64,
    /// Outcomes whose id already had one: the first one counts.
    pub duplicate_outcomes: u64,
    /// Outcomes that waited for their prediction in vain: of unknown predictions, or too late.
    pub unknown_outcomes: u64,
    /// Outcomes that are no numbers: NaN, infinite, or beyond 1e140 in magnitude. They are not taken in; a valid one may follow.
    #[serde(default)]
    pub invalid_outcomes: u64,
    /// Pairs of a prediction and its outcome.
    pub joined: u64,
    /// Of those, pairs of a class and a number, which cannot be compared: they are scored as if no outcome had come.
    #[serde(default)]
    pub mismatched_outcomes: u64,
    /// Predictions whose outcome did not come in time.
    pub unlabelled: u64,
    /// Predictions without outcome, and outcomes without prediction, that were let go before their time because too many ids were open.
    #[serde(default)]
    pub evicted: u64,
    /// Ids in the window now.
    pub open: usize,
}

impl JoinCounts {
    fn add(&mut self, other: &Self) {
        self.predictions += other.predictions;
        self.dropped_predictions += other.dropped_predictions;
        self.duplicate_predictions += other.duplicate_predictions;
        self.outcomes += other.outcomes;
        self.duplicate_outcomes += other.duplicate_outcomes;
        self.unknown_outcomes += other.unknown_outcomes;
        self.invalid_outcomes += other.invalid_outcomes;
        self.joined += other.joined;
        self.mismatched_outcomes += other.mismatched_outcomes;
        self.unlabelled += other.unlabelled;
        self.evicted += other.evicted;
        self.open += other.open;
    }
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
    /// The matured cohorts of the last 1,000 spans, oldest first.
    pub cohorts: Vec<CohortReport>,
}

/// Joins predictions to their true outcomes by id, in whatever order they come, each pair once within the window, and scores each version.
///
/// It is a [`PredictionLog`], so a server can report to it, and a [`MetricSource`] of [`Signal::WrongPredictions`] (of classes, and of numbers if
/// there is a tolerance) and of the custom signal `mean_absolute_error` (of numbers), so that a rollback can be triggered by it. Memory is bounded
/// by [`PerformanceConfig::max_open`]. Windows are measured in monotonic time. Ids are spread over sixteen locks, each with counts of its
/// own that are added up when something is read: threads that record rarely wait for each other, and never for long for a reader.
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
    shards: Vec<Mutex<Shard>>,
}

impl PerformanceMonitor {
    /// Starts with nothing known.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(config: PerformanceConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        config.check()?;
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Ok(Self { config, clock, segments: Segments::default(), shards })
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
        let mut shard = self.shards[shard(id)].lock();
        // Read under the lock, so that time never goes back for a shard.
        let now = self.clock.monotonic();
        shard.advance(now, &self.config);
        shard.outcome(id, truth, now, &self.config);
    }

    /// How good a version is; none if it has never predicted.
    #[must_use]
    pub fn performance(&self, version: VersionNumber) -> Option<VersionPerformance> {
        let cohorts = self.collect(version)?.whole;
        let scored = self.scored(&cohorts);
        Some(VersionPerformance {
            version,
            scored,
            pending: cohorts.all.predictions - scored.predictions,
            cohorts: cohorts.held(false),
        })
    }

    /// How good all versions are, in their order.
    #[must_use]
    pub fn performances(&self) -> Vec<VersionPerformance> {
        self.versions().into_iter().filter_map(|version| self.performance(version)).collect()
    }

    fn versions(&self) -> BTreeSet<VersionNumber> {
        let of_shard = |shard: &Mutex<Shard>| shard.lock().versions.keys().copied().collect();
        self.shards.iter().flat_map::<Vec<_>, _>(of_shard).collect()
    }

    /// The accuracy of a version in each segment, of numbers without a tolerance the mean absolute error; none if it has never predicted. A
    /// segment with fewer outcomes than `min_count` has no value.
    #[must_use]
    pub fn segments(&self, version: VersionNumber, min_count: u64) -> Option<SliceReport> {
        let found = self.collect(version)?;
        let whole = self.scored(&found.whole);
        let is_accuracy = whole.judged > 0 || whole.numbers == 0;
        let score = |name: &str, cohorts: Option<&Cohorts>| {
            let counts = cohorts.map(|cohorts| self.scored(cohorts)).unwrap_or_default();
            let (count, value) = match is_accuracy {
                true => (counts.judged, counts.accuracy()),
                false => (counts.numbers, counts.mean_absolute_error()),
            };
            SliceScore::of(name, count, min_count, value)
        };
        let segments = self.segments.names().enumerate();
        Some(SliceReport {
            metric: if is_accuracy { "accuracy" } else { MEAN_ABSOLUTE_ERROR }.to_owned(),
            direction: if is_accuracy { Direction::Maximize } else { Direction::Minimize },
            whole: score("all", Some(&found.whole)),
            slices: segments.map(|(k, name)| score(name, found.segments.get(k))).collect(),
        })
    }

    /// Whether a version is worse than a baseline, by evidence rather than by a point, of all outcomes and of those since any cohort of the last
    /// 1,000; none if it has never predicted.
    ///
    /// # Errors
    /// If the baseline is out of its range.
    pub fn degradation(
        &self,
        version: VersionNumber,
        baseline: &Baseline,
    ) -> Result<Option<Degradation>> {
        baseline.check()?;
        let Some(Scored { whole, .. }) = self.collect(version) else { return Ok(None) };
        let cohorts = whole.held(self.config.scoring == Scoring::AtOnce);
        let first = whole.first.unwrap_or_default();
        Degradation::judge(&self.scored(&whole), &cohorts, first, baseline).map(Some)
    }

    /// Observations for rules on `subject` (labels such as the model's) with the version as label `version` added, all of the latest
    /// [`PerformanceConfig::recent`] cohorts, so that an old good record hides nothing and an old bad one is forgiven:
    ///
    /// * `accuracy`, of classes and of numbers within a tolerance, and `mean_absolute_error`, of numbers, each with the baseline as reference;
    /// * `degraded`, with a baseline: by how much the version is worse than it allows, for sure ([`Degradation::excess`]), above 0 if it is;
    /// * `label_coverage`: the share of predictions whose outcome came.
    ///
    /// A version whose last prediction is older than those cohorts, while another one has predicted since, is told of without values, but for
    /// `degraded`, which says that nothing is held against it, so that the alert ends. What else fires about it stays until it is forgotten: see
    /// [`forget`](Self::forget). While none predicts, all are judged by the cohorts up to the last one.
    ///
    /// # Errors
    /// If the baseline is out of its range.
    pub fn observations(
        &self,
        subject: &Labels,
        baseline: Option<&Baseline>,
    ) -> Result<Vec<(&'static str, Labels, Observation)>> {
        baseline.map_or(Ok(()), Baseline::check)?;
        let mut observed = Vec::new();
        let now = self.clock.monotonic();
        let first_recent = self.config.first_recent(now, self.latest(now));
        for version in self.versions() {
            let Some(Scored { whole, .. }) = self.collect(version) else { continue };
            let mut labels = subject.clone();
            labels.insert("version".to_owned(), version.to_string());
            self.observe(&whole, first_recent, &labels, baseline, &mut observed)?;
        }
        Ok(observed)
    }

    /// The last cohort of all versions that counts.
    fn latest(&self, now: Duration) -> Option<u64> {
        let with_open = self.config.scoring == Scoring::AtOnce;
        let of_shard = |shard: &Mutex<Shard>| {
            let mut shard = shard.lock();
            shard.advance(now, &self.config);
            shard.latest(with_open)
        };
        self.shards.iter().filter_map(of_shard).max()
    }

    fn observe(
        &self,
        cohorts: &Cohorts,
        first_recent: u64,
        labels: &Labels,
        baseline: Option<&Baseline>,
        observed: &mut Vec<(&'static str, Labels, Observation)>,
    ) -> Result<()> {
        let held = cohorts.held(self.config.scoring == Scoring::AtOnce);
        let recent = &held[held.partition_point(|cohort| cohort.number < first_recent)..];
        let mut counts = Counts::default();
        recent.iter().for_each(|cohort| counts.add(&cohort.counts));
        let is_regression = self.scored(cohorts).numbers > 0;
        let mut tell = |signal, value: Option<f64>, count, measure| {
            let mut observation = Observation { count, ..Observation::from(value) };
            let own = baseline.filter(|baseline| Some(baseline.measure) == measure);
            observation.reference = own.map(|baseline| baseline.value);
            observed.push((signal, labels.clone(), observation));
        };
        if !is_regression || self.config.tolerance.is_some() {
            let measure = Some(PerformanceMeasure::Accuracy);
            tell("accuracy", counts.accuracy(), Some(counts.judged), measure);
        }
        if is_regression {
            let measure = Some(PerformanceMeasure::MeanAbsoluteError);
            tell(MEAN_ABSOLUTE_ERROR, counts.mean_absolute_error(), Some(counts.numbers), measure);
        }
        if let Some(baseline) = baseline {
            let first = cohorts.first.unwrap_or_default();
            let found = Degradation::judge(&counts, recent, first, baseline)?;
            let is_forgiven = cohorts.last(true).is_none_or(|last| last < first_recent);
            let (excess, count) = match is_forgiven {
                true => (Some(baseline.least_excess()), None),
                false => (found.excess, Some(baseline.measure.count(&counts))),
            };
            tell("degraded", excess, count, None);
        }
        tell("label_coverage", counts.coverage(), Some(counts.predictions), None);
        Ok(())
    }

    /// Forgets a version that predicts no more, and its predictions that wait for their outcome; whether it was known. Outcomes of those that
    /// come later are unknown ones.
    ///
    /// Then have the rules forget its subject too, signal by signal, by [`RuleEngine::forget`](crate::RuleEngine::forget), and hand what is over to
    /// the alert manager. Rules that forget it first may raise it again by the next [`observations`](Self::observations), and so may those that
    /// were taken before: on several threads observations are taken and judged, and subjects forgotten, [in turn](crate::RuleEngine::in_turn).
    pub fn forget(&self, version: VersionNumber) -> bool {
        let forgotten = self.shards.iter().filter(|shard| shard.lock().forget(version));
        forgotten.count() > 0
    }

    /// What came in, and what could not be joined.
    #[must_use]
    pub fn counts(&self) -> JoinCounts {
        let now = self.clock.monotonic();
        let mut sum = JoinCounts::default();
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.advance(now, &self.config);
            sum.add(&shard.counts());
        }
        sum
    }

    fn scored(&self, cohorts: &Cohorts) -> Counts {
        match self.config.scoring {
            Scoring::Matured => cohorts.matured,
            Scoring::AtOnce => cohorts.all,
        }
    }

    /// What is known of a version, from all shards, one after the other.
    fn collect(&self, version: VersionNumber) -> Option<Scored> {
        let now = self.clock.monotonic();
        let mut sum = None;
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.advance(now, &self.config);
            shard.add_to(version, &mut sum);
        }
        sum
    }
}

fn shard(id: PredictionId) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
    usize::try_from(hash % SHARDS as u64).unwrap_or_default()
}

/// The most probable class (the first of equally probable ones), or the only output, if it can be compared.
fn predicted(outputs: &[f64]) -> Option<Truth> {
    match outputs {
        [] => None,
        [value] => Some(Truth::Value(*value)).filter(Truth::is_usable),
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
        let predicted = prediction.outputs.and_then(predicted);
        let segments = predicted.map_or(0, |_| self.segments.of(prediction));
        let mut shard = self.shards[shard(prediction.id)].lock();
        let now = self.clock.monotonic();
        shard.advance(now, &self.config);
        let (id, version) = (prediction.id, prediction.version);
        shard.predict(id, version, predicted, segments, now, &self.config);
    }
}

impl MetricSource for PerformanceMonitor {
    fn read(
        &self,
        version: VersionNumber,
        signal: &Signal,
    ) -> std::result::Result<Reading, SourceError> {
        let is_error = matches!(signal, Signal::Custom(name) if name == MEAN_ABSOLUTE_ERROR);
        let unknown = || SourceError::UnknownSignal { signal: signal.clone() };
        if *signal != Signal::WrongPredictions && !is_error {
            return Err(unknown());
        }
        let performance =
            self.performance(version).ok_or(SourceError::UnknownVersion { version })?;
        let scored = performance.scored;
        if is_error {
            return Ok(Reading::Mean {
                count: scored.numbers,
                mean: scored.mean_absolute_error().unwrap_or(0.0),
                squared_deviations: scored.squared_deviations(),
            });
        }
        // Numbers without a tolerance are neither right nor wrong.
        if scored.judged == 0 && scored.numbers > 0 {
            return Err(unknown());
        }
        Ok(Reading::Proportion { events: scored.wrong, trials: scored.judged })
    }
}

#[cfg(test)]
mod tests;
