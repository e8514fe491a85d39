//! Counts of predictions made within one span of time, and of how they turned out.

use std::collections::BTreeMap;

use mlp_core::exact;
use serde::{Deserialize, Serialize};

/// How many spans back a version's history of matured cohorts reaches.
pub(super) const MAX_HISTORY: u64 = 1_000;

/// How predictions turned out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Predictions made.
    pub predictions: u64,
    /// Of those, the ones whose outcome came in time.
    pub labelled: u64,
    /// Of those, the ones that were right or wrong: classes, and numbers if there is a tolerance.
    #[serde(default)]
    pub judged: u64,
    /// Of those, the ones that were wrong.
    pub wrong: u64,
    /// Of those with an outcome, the ones that are numbers.
    #[serde(default)]
    pub numbers: u64,
    /// The sum of the absolute errors of the numbers.
    #[serde(with = "exact")]
    pub absolute_error: f64,
    /// The sum of their squares.
    #[serde(default, with = "exact")]
    pub squared_error: f64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.predictions += other.predictions;
        self.labelled += other.labelled;
        self.judged += other.judged;
        self.wrong += other.wrong;
        self.numbers += other.numbers;
        self.absolute_error += other.absolute_error;
        self.squared_error += other.squared_error;
    }

    /// The share of right ones among those that can be; none without such.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn accuracy(&self) -> Option<f64> {
        (self.judged > 0).then(|| (self.judged - self.wrong) as f64 / self.judged as f64)
    }

    /// The share of predictions whose outcome came; none without predictions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn coverage(&self) -> Option<f64> {
        (self.predictions > 0).then(|| self.labelled as f64 / self.predictions as f64)
    }

    /// The mean absolute error of the numbers; none without numbers.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn mean_absolute_error(&self) -> Option<f64> {
        (self.numbers > 0).then(|| self.absolute_error / self.numbers as f64)
    }

    /// The sum of the squared deviations of the absolute errors from their mean; 0 without numbers.
    #[must_use]
    pub(crate) fn squared_deviations(&self) -> f64 {
        let mean = self.mean_absolute_error().unwrap_or(0.0);
        (self.squared_error - self.absolute_error * mean).max(0.0)
    }
}

/// One matured cohort: predictions made within one span, all of whose outcomes have come or never will.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CohortReport {
    /// The number of the cohort: its first moment, in the monitor's monotonic time, divided by the length of a cohort.
    pub number: u64,
    /// How its predictions turned out.
    pub counts: Counts,
}

/// The cohorts of one version, or a part of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Cohorts {
    open: BTreeMap<u64, Counts>,
    pub(super) matured: Counts,
    pub(super) all: Counts,
    history: BTreeMap<u64, Counts>,
    /// The first cohort there was.
    pub(super) first: Option<u64>,
}

impl Cohorts {
    pub(super) fn count(&mut self, cohort: u64, counts: &Counts) {
        self.all.add(counts);
        self.first = Some(self.first.map_or(cohort, |first| first.min(cohort)));
        self.open.entry(cohort).or_default().add(counts);
    }

    /// The cohorts that are still held, the oldest first: matured ones, and with `open` those that are not.
    pub(super) fn held(&self, open: bool) -> Vec<CohortReport> {
        let mut held = self.history.clone();
        for (number, counts) in self.open.iter().filter(|_| open) {
            held.entry(*number).or_default().add(counts);
        }
        held.into_iter().map(|(number, counts)| CohortReport { number, counts }).collect()
    }

    /// The last cohort that is still held: matured, or with `open` any.
    pub(super) fn last(&self, open: bool) -> Option<u64> {
        let last = |cohorts: &BTreeMap<u64, Counts>| cohorts.last_key_value().map(|(k, _)| *k);
        last(&self.history).max(last(&self.open).filter(|_| open))
    }

    /// How many cohorts are open.
    #[cfg(test)]
    pub(super) fn n_open(&self) -> usize {
        self.open.len()
    }

    /// Takes cohorts before `first_open` as matured.
    pub(super) fn mature(&mut self, first_open: u64) {
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.key() < first_open) {
            let (number, counts) = entry.remove_entry();
            self.matured.add(&counts);
            self.history.entry(number).or_default().add(&counts);
        }
        while self.history.first_key_value().is_some_and(|(old, _)| old + MAX_HISTORY < first_open)
        {
            self.history.pop_first();
        }
    }

    /// Adds another part of the same version.
    pub(super) fn merge(&mut self, other: &Self) {
        self.matured.add(&other.matured);
        self.all.add(&other.all);
        self.first = [self.first, other.first].into_iter().flatten().min();
        for (number, counts) in &other.open {
            self.open.entry(*number).or_default().add(counts);
        }
        for (number, counts) in &other.history {
            self.history.entry(*number).or_default().add(counts);
        }
    }
}
