//! The record of one trial: what was tried, what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mlp_core::{Domain, Params, Timestamp};
use serde_json::Value;

/// The attribute that says why a trial failed.
pub(crate) const FAILURE: &str = "mlp:failure";
/// The attribute that says who runs a trial.
pub(crate) const LEASE: &str = "mlp:lease";
/// The start of the names of constraint attributes, as Optuna 5 writes them.
const CONSTRAINT: &str = "constraints:";

/// How far a trial has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrialState {
    /// Its objective is being computed.
    Running,
    /// It has its values.
    Complete,
    /// It was stopped early; its value is the intermediate one at the largest step.
    Pruned,
    /// It ended without a value.
    Failed,
    /// It is enqueued, and has not started.
    Waiting,
}

impl TrialState {
    /// Whether the trial has ended.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Complete | Self::Pruned | Self::Failed)
    }
}

impl fmt::Display for TrialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Pruned => "pruned",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
        })
    }
}

/// One trial as the store has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrialRecord {
    /// Its place in the study, from 0.
    pub number: u64,
    /// How far it has come.
    pub state: TrialState,
    /// What is tried.
    pub params: Params,
    /// Where the parameters come from; may hold domains of parameters that this trial has not.
    pub domains: Arc<BTreeMap<String, Domain>>,
    /// One value per objective if it is complete or pruned after a report, none otherwise.
    pub values: Vec<f64>,
    /// Intermediate values by step.
    pub reports: BTreeMap<i64, f64>,
    /// Whatever the user attached.
    pub attributes: BTreeMap<String, Value>,
    /// What samplers, pruners and the study itself attached.
    pub system: BTreeMap<String, Value>,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

impl TrialRecord {
    /// The value of the only objective, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.values.first().copied()
    }

    /// Why it failed, where that is known.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.system.get(FAILURE)?.as_str()
    }

    /// By how much it violates its constraints: the sum of the positive ones, 0 if it is feasible.
    #[must_use]
    pub fn violation(&self) -> f64 {
        let constraints =
            self.system.iter().filter(|(name, _)| name.starts_with(CONSTRAINT)).map(|(_, v)| v);
        constraints.filter_map(Value::as_f64).map(|value| value.max(0.0)).sum()
    }

    pub(crate) fn constraint_attribute(name: &str) -> String {
        format!("{CONSTRAINT}{name}")
    }
}
