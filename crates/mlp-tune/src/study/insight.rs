//! What a study has found, as data for reports.

use std::fmt;

use mlp_core::ParamValue;
use serde::Serialize;

use super::Study;
use crate::error::TuneError;
use crate::order;
use crate::trial::TrialRecord;

/// A table of trials: one row each, in the order of their numbers. Shown as comma-separated values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrialTable {
    /// The names: `number`, `state`, `value` (or `value_0`, …), `started`, `seconds`, then the parameters and attributes with `param_` and `attribute_` before their names.
    pub columns: Vec<String>,
    /// The cells of each row as text; empty where a trial has none.
    pub rows: Vec<Vec<String>>,
}

impl fmt::Display for TrialTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            for (place, cell) in row.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                match cell.contains(['"', ',', '\n', '\r']) {
                    true => write!(f, "{comma}\"{}\"", cell.replace('"', "\"\""))?,
                    false => write!(f, "{comma}{cell}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A complete trial and the best score up to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HistoryPoint {
    /// The number of the trial.
    pub number: u64,
    /// Its score.
    #[serde(with = "mlp_core::exact")]
    pub value: f64,
    /// The best score of the feasible trials up to it; its own one if none is.
    #[serde(with = "mlp_core::exact")]
    pub best: f64,
    /// Whether it respects its constraints.
    pub is_feasible: bool,
}

/// One value of a parameter and the score it came with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SlicePoint {
    /// The number of the trial.
    pub number: u64,
    /// The value of the parameter.
    pub param: ParamValue,
    /// The score of the trial.
    #[serde(with = "mlp_core::exact")]
    pub value: f64,
}

impl Study {
    /// Every trial as a row of a table.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn table(&self) -> Result<TrialTable, TuneError> {
        let trials = self.trials()?;
        let names = |of: fn(&TrialRecord) -> Vec<&str>| {
            let mut names: Vec<&str> = trials.iter().flat_map(|trial| of(trial)).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let params = names(|trial| trial.params.iter().map(|(name, _)| name).collect());
        let attributes = names(|trial| trial.attributes.keys().map(String::as_str).collect());
        let objectives = self.directions.len();
        let mut columns = vec!["number".to_owned(), "state".to_owned()];
        columns.extend((0..objectives).map(|place| match objectives {
            1 => "value".to_owned(),
            _ => format!("value_{place}"),
        }));
        columns.extend(["started", "seconds"].map(str::to_owned));
        columns.extend(params.iter().map(|name| format!("param_{name}")));
        columns.extend(attributes.iter().map(|name| format!("attribute_{name}")));
        let row = |trial: &TrialRecord| {
            let text = |cell: Option<String>| cell.unwrap_or_default();
            let mut row = vec![trial.number.to_string(), trial.state.to_string()];
            row.extend(
                (0..objectives).map(|i| text(trial.values.get(i).map(|v| format!("{v:?}")))),
            );
            row.push(text(trial.started.map(|moment| moment.to_string())));
            row.push(text(trial.duration().map(|span| span.as_secs_f64().to_string())));
            row.extend(params.iter().map(|n| text(trial.params.get(n).map(ToString::to_string))));
            row.extend(
                attributes.iter().map(|n| text(trial.attributes.get(*n).map(ToString::to_string))),
            );
            row
        };
        Ok(TrialTable { columns, rows: trials.iter().map(|trial| row(trial)).collect() })
    }

    /// The complete trials in the order of their numbers, with the best score so far.
    ///
    /// # Errors
    /// If there are several objectives, or the store cannot be read.
    pub fn history_points(&self) -> Result<Vec<HistoryPoint>, TuneError> {
        let direction = self.direction()?;
        let mut best: Option<f64> = None;
        let mut points = Vec::new();
        for trial in self.trials()? {
            let Some(value) = complete_value(&trial) else { continue };
            if let Some(score) = order::score(&trial)
                && best.is_none_or(|best| direction.is_better(score, best))
            {
                best = Some(score);
            }
            let is_feasible = trial.is_feasible();
            let best = best.unwrap_or(value);
            points.push(HistoryPoint { number: trial.number, value, best, is_feasible });
        }
        Ok(points)
    }

    /// The values of a parameter in the complete trials, and the scores of an objective (from 0) they came with.
    ///
    /// # Errors
    /// If no complete trial has such a parameter, there is no such objective, or the store cannot be read.
    pub fn slice(&self, param: &str, objective: usize) -> Result<Vec<SlicePoint>, TuneError> {
        if objective >= self.directions.len() {
            return Err(TuneError::setting("the objective", objective, "one that the study has"));
        }
        let trials = self.trials()?;
        let point = |trial: &TrialRecord| {
            complete_value(trial)?;
            let (param, value) = (trial.params.get(param)?.clone(), *trial.values.get(objective)?);
            Some(SlicePoint { number: trial.number, param, value })
        };
        let points: Vec<_> = trials.iter().filter_map(|trial| point(trial)).collect();
        match points.is_empty() {
            true => Err(TuneError::parameter(param, "no complete trial has it")),
            false => Ok(points),
        }
    }
}

fn complete_value(trial: &TrialRecord) -> Option<f64> {
    trial.value().filter(|_| trial.state == crate::TrialState::Complete)
}
