//! A part of the ids under one lock: what waits to be joined, and what became of what was.

use std::collections::BTreeMap;
use std::time::Duration;

use mlp_core::{PredictionId, VersionNumber};

use super::cohort::{Cohorts, Counts};
use super::config::{PerformanceConfig, SHARDS, Truth};
use super::join::{Arrival, Left, Pair, Waiting, Window};
use super::monitor::JoinCounts;

/// How many versions a part counts; predictions of further ones are dropped, and counted as such.
const MAX_VERSIONS: usize = 1_000;

/// How the predictions of one version turned out: all of them, and those of each segment.
#[derive(Debug, Default, Clone)]
pub(super) struct Scored {
    pub(super) whole: Cohorts,
    pub(super) segments: Vec<Cohorts>,
}

/// A part of the ids.
#[derive(Debug, Default)]
pub(super) struct Shard {
    window: Window,
    pub(super) versions: BTreeMap<VersionNumber, Scored>,
    counts: JoinCounts,
    /// Cohorts before this one are matured.
    first_open: u64,
}

impl Shard {
    /// Lets go of ids whose time is over, and closes the cohorts before.
    pub(super) fn advance(&mut self, now: Duration, config: &PerformanceConfig) {
        self.expire(now.saturating_sub(config.window), config);
        let first_open = config.first_open(now);
        if first_open > self.first_open {
            self.first_open = first_open;
            self.versions.values_mut().for_each(|scored| scored.mature(first_open));
        }
    }

    fn expire(&mut self, oldest: Duration, config: &PerformanceConfig) {
        let Left { lonely_outcomes, unlabelled, evicted } =
            self.window.expire(oldest, config.max_open / SHARDS - 1);
        self.counts.unknown_outcomes += lonely_outcomes;
        self.counts.unlabelled += unlabelled;
        self.counts.evicted += evicted;
    }

    /// Takes a prediction; none if there is nothing to compare.
    pub(super) fn predict(
        &mut self,
        id: PredictionId,
        version: VersionNumber,
        predicted: Option<Truth>,
        segments: u64,
        now: Duration,
        config: &PerformanceConfig,
    ) {
        let is_known = self.versions.len() < MAX_VERSIONS || self.versions.contains_key(&version);
        let Some(predicted) = predicted.filter(|_| is_known) else {
            self.counts.dropped_predictions += 1;
            return;
        };
        let waiting = Waiting { version, cohort: config.cohort_at(now), predicted, segments };
        let (arrival, pair) = self.window.predict(id, waiting, now);
        if arrival == Arrival::Duplicate {
            self.counts.duplicate_predictions += 1;
            return;
        }
        self.counts.predictions += 1;
        self.count(&waiting, &Counts { predictions: 1, ..Counts::default() });
        pair.into_iter().for_each(|pair| self.join(pair, config));
    }

    /// Takes an outcome.
    pub(super) fn outcome(
        &mut self,
        id: PredictionId,
        truth: Truth,
        now: Duration,
        config: &PerformanceConfig,
    ) {
        if !truth.is_usable() {
            self.counts.invalid_outcomes += 1;
            return;
        }
        let mut pairs = Vec::new();
        match self.window.outcome(id, truth, now, |pair| pairs.push(pair)) {
            Arrival::New => self.counts.outcomes += 1,
            Arrival::Duplicate => self.counts.duplicate_outcomes += 1,
        }
        pairs.into_iter().for_each(|pair| self.join(pair, config));
    }

    fn join(&mut self, (waiting, truth): Pair, config: &PerformanceConfig) {
        self.counts.joined += 1;
        let mut counts = Counts { labelled: 1, ..Counts::default() };
        match (waiting.predicted, truth) {
            (Truth::Class(predicted), Truth::Class(truth)) => {
                counts.judged = 1;
                counts.wrong = u64::from(predicted != truth);
            }
            (Truth::Value(predicted), Truth::Value(truth)) => {
                let error = (predicted - truth).abs();
                counts.numbers = 1;
                counts.absolute_error = error;
                counts.squared_error = error * error;
                counts.judged = u64::from(config.tolerance.is_some());
                counts.wrong = u64::from(config.tolerance.is_some_and(|most| error > most));
            }
            _ => {
                self.counts.mismatched_outcomes += 1;
                return;
            }
        }
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

    /// The last cohort of all versions that is still held: matured, or with `open` any.
    pub(super) fn latest(&self, open: bool) -> Option<u64> {
        self.versions.values().filter_map(|scored| scored.whole.last(open)).max()
    }

    /// What came in, and what is open.
    pub(super) fn counts(&self) -> JoinCounts {
        JoinCounts { open: self.window.len(), ..self.counts }
    }

    /// Forgets a version, and its predictions that wait for their outcome; whether there was anything to forget.
    pub(super) fn forget(&mut self, version: VersionNumber) -> bool {
        self.window.forget(version);
        self.versions.remove(&version).is_some()
    }

    /// Adds what it knows of one version to a sum.
    pub(super) fn add_to(&self, version: VersionNumber, sum: &mut Option<Scored>) {
        if let Some(scored) = self.versions.get(&version) {
            sum.get_or_insert_default().merge(scored);
        }
    }
}

impl Scored {
    fn mature(&mut self, first_open: u64) {
        self.whole.mature(first_open);
        self.segments.iter_mut().for_each(|cohorts| cohorts.mature(first_open));
    }

    fn merge(&mut self, other: &Self) {
        self.whole.merge(&other.whole);
        if self.segments.len() < other.segments.len() {
            self.segments.resize_with(other.segments.len(), Cohorts::default);
        }
        self.segments.iter_mut().zip(&other.segments).for_each(|(own, theirs)| own.merge(theirs));
    }
}
