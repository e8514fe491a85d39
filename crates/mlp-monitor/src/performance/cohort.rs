//! Counts of predictions made within one span of time, and of how they turned out.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// How many matured cohorts a version's history keeps.
const MAX_HISTORY: usize = 1_000;

/// How predictions turned out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Predictions made.
    pub predictions: u64,
    /// Of those, the ones whose outcome came in time.
    pub labelled: u64,
    /// Of those, the ones that were wrong.
    pub wrong: u64,
    /// The sum of absolute errors of those with an outcome: 0 or 1 each for classes.
    pub absolute_error: f64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.predictions += other.predictions;
        self.labelled += other.labelled;
        self.wrong += other.wrong;
        self.absolute_error += other.absolute_error;
    }

    /// The share of right ones among those with an outcome; none without outcomes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn accuracy(&self) -> Option<f64> {
        (self.labelled > 0).then(|| (self.labelled - self.wrong) as f64 / self.labelled as f64)
    }

    /// The share of predictions whose outcome came; none without predictions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn coverage(&self) -> Option<f64> {
        (self.predictions > 0).then(|| self.labelled as f64 / self.predictions as f64)
    }

    /// The mean absolute error of those with an outcome; none without outcomes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn mean_absolute_error(&self) -> Option<f64> {
        (self.labelled > 0).then(|| self.absolute_error / self.labelled as f64)
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

/// The cohorts of one version.
#[derive(Debug, Default)]
pub(super) struct Cohorts {
    open: BTreeMap<u64, Counts>,
    pub(super) matured: Counts,
    pub(super) all: Counts,
    pub(super) history: VecDeque<CohortReport>,
    /// How many cohorts have left the history.
    pub(super) forgotten: u64,
}

impl Cohorts {
    pub(super) fn count(&mut self, cohort: u64, counts: &Counts) {
        self.all.add(counts);
        self.open.entry(cohort).or_default().add(counts);
    }

    /// The cohorts that are still held, the oldest first: matured ones, and with `open` those that are not.
    pub(super) fn held(&self, open: bool) -> impl DoubleEndedIterator<Item = CohortReport> {
        let later = self.open.iter().filter(move |_| open);
        let later = later.map(|(number, counts)| CohortReport { number: *number, counts: *counts });
        self.history.iter().copied().chain(later)
    }

    /// Takes cohorts before `first_open` as matured.
    pub(super) fn mature(&mut self, first_open: u64) {
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.key() < first_open) {
            let (number, counts) = entry.remove_entry();
            self.matured.add(&counts);
            self.history.push_back(CohortReport { number, counts });
            if self.history.len() > MAX_HISTORY {
                self.history.pop_front();
                self.forgotten += 1;
            }
        }
    }
}
