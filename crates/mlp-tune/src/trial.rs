//! The record of one trial: what was tried, what came of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Domain, Params, Timestamp};
use serde_json::Value;

/// The attribute that says why a trial failed.
pub(crate) const FAILURE: &str = "mlp:failure";
/// The attribute that says who runs a trial.
pub(crate) const LEASE: &str = "mlp:lease";
/// The attribute that says what a trial cost.
pub(crate) const COST: &str = "mlp:cost";
/// The attribute that says whose result a trial took over.
pub(crate) const REUSED: &str = "mlp:reused";
/// The attribute that says with which data and code a trial ran.
pub(crate) const INPUTS: &str = "mlp:inputs";
/// The attribute by which the checkpoints of a trial are told from those of others of its number.
pub(crate) const CHECKPOINTS: &str = "mlp:checkpoints";
/// The attribute with the values proposed for parameters that the trial may choose while it runs.
pub(crate) const SUGGESTED: &str = "mlp:suggested";
/// The start of the names of the marks that rungs leave, as Optuna calls them; they hold numbers.
pub(crate) const RUNG: &str = "completed_rung_";
/// The start of the names of constraint attributes, as Optuna 5 writes them.
const CONSTRAINT: &str = "constraints:";
/// The list of constraints of an Optuna before 5.
const CONSTRAINTS: &str = "constraints";

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
    /// What is tried. Shared between the copies of the record, like the other large parts.
    pub params: Arc<Params>,
    /// Where the parameters come from; may hold domains of parameters that this trial has not.
    pub domains: Arc<BTreeMap<String, Domain>>,
    /// One value per objective if it is complete or pruned after a report, none otherwise.
    pub values: Vec<f64>,
    /// Intermediate values by step: those of the first objective.
    pub reports: BTreeMap<i64, f64>,
    /// Intermediate values of all objectives by step, where several were reported.
    pub vector_reports: BTreeMap<i64, Vec<f64>>,
    /// Whatever the user attached.
    pub attributes: BTreeMap<String, Value>,
    /// What samplers, pruners and the study itself attached.
    pub system: Arc<BTreeMap<String, Value>>,
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

    /// Whether a pruner has paused it: it waits to be taken up again from its checkpoint, and counts as running.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let paused = || self.system.get(LEASE)?.get("paused")?.as_bool();
        self.state == TrialState::Running && paused() == Some(true)
    }

    /// What it cost, as far as its objective [said](crate::Trial::add_cost); 0 otherwise.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.system.get(COST).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// How long it took, by the wall clock; none if it has not ended.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        Some(self.finished?.since(self.started?))
    }

    /// The trial whose result it took over instead of running, with [`Duplicates::Reuse`](crate::Duplicates::Reuse).
    #[must_use]
    pub fn reused(&self) -> Option<u64> {
        self.system.get(REUSED)?.as_u64()
    }

    /// Why it failed, where that is known; none if it has not failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        // The reason may be there without the failure: what followed it could not be written, and the trial ran again.
        self.system.get(FAILURE).filter(|_| self.state == TrialState::Failed)?.as_str()
    }

    /// With which data and code it ran; none if its study did not say.
    pub(crate) fn inputs(&self) -> Option<&Value> {
        self.system.get(INPUTS).filter(|inputs| !inputs.is_null())
    }

    /// Its constraints: names and values, above 0 is violated. Those that an Optuna before 5 wrote have their places for names.
    pub fn constraints(&self) -> impl Iterator<Item = (Cow<'_, str>, f64)> {
        let named = self.system.range::<str, _>((Bound::Included(CONSTRAINT), Bound::Unbounded));
        let named = named.map_while(|(name, value)| {
            Some((Cow::Borrowed(name.strip_prefix(CONSTRAINT)?), constraint(value)))
        });
        let listed = self.system.get(CONSTRAINTS).and_then(Value::as_array).into_iter().flatten();
        let listed = listed
            .enumerate()
            .map(|(place, value)| (Cow::Owned(place.to_string()), constraint(value)));
        named.chain(listed)
    }

    /// The attributes with its constraints, as they were written.
    pub(crate) fn constraint_attributes(&self) -> impl Iterator<Item = (&String, &Value)> {
        let is_one = |name: &str| name == CONSTRAINTS || name.starts_with(CONSTRAINT);
        self.system.iter().filter(move |(name, _)| is_one(name))
    }

    /// By how much it violates its constraints: the sum of the positive ones, 0 if it is feasible.
    #[must_use]
    pub fn violation(&self) -> f64 {
        self.constraints().map(|(_, value)| value.max(0.0)).sum()
    }

    /// Whether it respects its constraints; without any it does.
    #[must_use]
    pub fn is_feasible(&self) -> bool {
        self.constraints().all(|(_, value)| value <= 0.0)
    }

    /// The intermediate values at a step: one, or as many as there are objectives.
    #[must_use]
    pub fn reported(&self, step: i64) -> Option<&[f64]> {
        let vector = self.vector_reports.get(&step).map(Vec::as_slice);
        vector.or_else(|| self.reports.get(&step).map(std::slice::from_ref))
    }

    pub(crate) fn constraint_attribute(name: &str) -> String {
        format!("{CONSTRAINT}{name}")
    }
}

/// A constraint that is no number is violated beyond measure.
fn constraint(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::TrialDraft;

    fn with_system(system: Value) -> TrialRecord {
        let mut draft = TrialDraft::new(TrialState::Complete);
        draft.system = Arc::new(serde_json::from_value(system).unwrap());
        draft.into_record(0)
    }

    #[test]
    fn constraints_of_either_age_are_read() {
        let none = with_system(json!({"constraintless": 1.0}));
        assert!(none.is_feasible() && none.violation() == 0.0);
        let new = with_system(json!({"constraints:memory": 0.5, "constraints:time": -1.0, "d": 9}));
        let pairs: Vec<_> = new.constraints().map(|(n, v)| (n.into_owned(), v)).collect();
        assert_eq!(pairs, [("memory".to_owned(), 0.5), ("time".to_owned(), -1.0)]);
        assert!(!new.is_feasible() && new.violation() == 0.5);
        let old = with_system(json!({"constraints": [1.0, 0.0, 2.0]}));
        assert_eq!((old.violation(), old.is_feasible()), (3.0, false));
        assert!(!with_system(json!({"constraints:memory": "NaN"})).is_feasible());
    }
}
