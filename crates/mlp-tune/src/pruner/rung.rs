//! The rungs of successive halving, as marks that trials carry.

use mlp_core::exact;
use serde_json::{Value, json};

use crate::history::History;
use crate::trial::{RUNG, TrialRecord};

/// The attribute that says that a trial has reached a rung, as Optuna calls it; it holds the value there, or one per objective.
pub(super) fn mark(rung: u32) -> String {
    format!("{RUNG}{rung}")
}

/// The first rung that a trial has not reached.
pub(super) fn next(trial: &TrialRecord) -> u32 {
    (0..).find(|rung| !trial.system.contains_key(&mark(*rung))).unwrap_or_default()
}

/// What a mark holds. JSON has no infinities: they stand as texts in memory, and as numbers in the file.
pub(super) fn record(values: &[f64]) -> Value {
    let number = |value: &f64| match value.is_finite() {
        true => json!(value),
        false => json!(if *value > 0.0 { "Infinity" } else { "-Infinity" }),
    };
    match values {
        [value] => number(value),
        values => values.iter().map(number).collect(),
    }
}

/// What a trial had at a rung, if it has reached it.
pub(super) fn reached(trial: &TrialRecord, mark: &str) -> Option<Vec<f64>> {
    let number = |value: &Value| value.as_f64().or_else(|| exact::deserialize(value).ok());
    match trial.system.get(mark)? {
        Value::Array(values) => values.iter().map(number).collect(),
        value => number(value).map(|value| vec![value]),
    }
}

/// What the other trials had that have reached a rung: those that have ended, however they did, and in a free study those that run.
pub(super) fn rivals(
    history: &History<'_>,
    rung: u32,
    competes: impl Fn(&TrialRecord) -> bool,
) -> Vec<Vec<f64>> {
    let mark = mark(rung);
    // How far a running trial has come is nothing that an ordered study may look at.
    let running = history.horizon.is_none().then(|| history.running()).into_iter().flatten();
    let others = history.finished().chain(running).filter(|trial| competes(trial));
    others.filter_map(|trial| reached(trial, &mark)).collect()
}
