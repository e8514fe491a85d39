//! Who stops a trial that will come to nothing.

mod halving;
mod ladder;
mod patient;
mod percentile;
mod promotion;
mod rung;
mod standing;
mod wilcoxon;

pub use halving::{HalvingPruner, HyperbandPruner};
pub use patient::{PatientPruner, ThresholdPruner};
pub use percentile::{Patience, PercentilePruner};
pub use promotion::PromotionPruner;
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
}

impl<'a> PruneRequest<'a> {
    /// The direction of the intermediate values of the first objective.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.history.directions()[0]
    }

    /// The directions of the intermediate values: as many as the last report has values.
    #[must_use]
    pub fn directions(&self) -> &'a [Direction] {
        let all = self.history.directions();
        &all[..self.last_values().1.len().clamp(1, all.len())]
    }

    /// The last report: its step and its value for the first objective.
    #[must_use]
    pub fn last(&self) -> (i64, f64) {
        self.trial.reports.last_key_value().map_or((0, f64::NAN), |(step, value)| (*step, *value))
    }

    /// The last report: its step and all its values.
    #[must_use]
    pub fn last_values(&self) -> (i64, &'a [f64]) {
        let (step, _) = self.last();
        (step, self.trial.reported(step).unwrap_or_default())
    }
}

/// What a pruner that pauses trials decides about: which one goes on.
#[derive(Debug, Clone, Copy)]
pub struct ResumeRequest<'a> {
    /// The paused trials, in the order of their numbers; there is at least one.
    pub paused: &'a [&'a TrialRecord],
    /// All trials.
    pub history: History<'a>,
    /// The name of the study.
    pub study: &'a str,
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
    /// It stops for now, and may be taken up again.
    Pause,
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

    /// Whether it pauses trials.
    fn pauses(&self) -> bool {
        false
    }

    /// The number of the paused trial that goes on before a new one starts; none if no one is worth it yet.
    fn resume(&mut self, _request: &ResumeRequest<'_>) -> Option<u64> {
        None
    }
}

impl Pruner for Box<dyn Pruner> {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        (**self).judge(request)
    }

    fn pauses(&self) -> bool {
        (**self).pauses()
    }

    fn resume(&mut self, request: &ResumeRequest<'_>) -> Option<u64> {
        (**self).resume(request)
    }
}

/// Never stops a trial.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPruner;

impl Pruner for NoPruner {
    fn judge(&mut self, _: &PruneRequest<'_>) -> Verdict {
        Decision::Keep.into()
    }
}
