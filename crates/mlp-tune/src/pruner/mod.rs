//! Who stops a trial that will come to nothing.

mod halving;
mod patient;
mod percentile;
mod wilcoxon;

pub use halving::{HalvingPruner, HyperbandPruner};
pub use patient::{PatientPruner, ThresholdPruner};
pub use percentile::{Patience, PercentilePruner};
pub use wilcoxon::WilcoxonPruner;

use std::collections::BTreeMap;
use std::fmt::Debug;

use mlp_core::Direction;
use serde_json::Value;

use crate::history::History;
use crate::trial::TrialRecord;

/// What a pruner decides about: a running trial beside what is known.
#[derive(Debug, Clone, Copy)]
pub struct PruneRequest<'a> {
    /// The trial with its reports so far; there is at least one.
    pub trial: &'a TrialRecord,
    /// The other trials.
    pub history: History<'a>,
    /// The name of the study.
    pub study: &'a str,
    pub(crate) direction: Direction,
}

impl PruneRequest<'_> {
    /// The direction of the intermediate values: that of the first objective.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The last report: its step and value.
    #[must_use]
    pub fn last(&self) -> (i64, f64) {
        self.trial.reports.last_key_value().map_or((0, f64::NAN), |(step, value)| (*step, *value))
    }
}

/// What a pruner decides.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether the trial should stop.
    pub prune: Decision,
    /// What the pruner wants to find with the trial later, such as the rungs it completed.
    pub marks: BTreeMap<String, Value>,
}

/// Whether a trial goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decision {
    /// It goes on.
    #[default]
    Keep,
    /// It stops.
    Prune,
}

impl From<Decision> for Verdict {
    fn from(prune: Decision) -> Self {
        Self { prune, marks: BTreeMap::new() }
    }
}

/// Decides after a report whether the trial should stop.
///
/// Called by [`Trial::should_prune`](crate::Trial::should_prune), under the lock of the study: it must be quick, and must not call the study.
pub trait Pruner: Debug + Send {
    /// Decides about a trial that has reported.
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict;
}

/// Never stops a trial.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPruner;

impl Pruner for NoPruner {
    fn judge(&mut self, _: &PruneRequest<'_>) -> Verdict {
        Decision::Keep.into()
    }
}
