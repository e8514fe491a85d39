//! Parameters that a trial chooses while it runs.

use std::sync::Arc;

use mlp_core::{Domain, ParamValue, Scale};
use serde_json::Value;

use super::Trial;
use super::ask::{FIXED, WARNINGS, outside, typed};
use super::learnt::same_kind;
use super::state::State;
use crate::error::TuneError;
use crate::store::{StudyId, TrialEvent};
use crate::trial::SUGGESTED;

impl Trial<'_> {
    /// Chooses a parameter while the trial runs. A name that was chosen before, or is in the space, keeps its value; one that was
    /// [enqueued](crate::Study::enqueue), from here or from Python, has the value given there, in range or not.
    ///
    /// # Errors
    /// If the domain is ill-formed, the name was chosen from a domain of another kind, the enqueued value is of another kind or none of the choices, or
    /// the store fails.
    pub fn suggest(&mut self, name: &str, domain: &Domain) -> Result<ParamValue, TuneError> {
        let study = self.study;
        let mut state = study.state.lock();
        let id = study.sync(&mut state)?;
        let State { sampler, trials, .. } = &mut *state;
        let record = &trials[self.number as usize];
        if let Some(value) = self.params.get(name) {
            let known = record.domains.get(name);
            if known.is_some_and(|known| same_kind(known, domain)) {
                return Ok(value.clone());
            }
            return Err(TuneError::parameter(name, "it was chosen from a domain of another kind"));
        }
        let dimension =
            mlp_core::Dimension { name: name.to_owned(), domain: domain.clone(), condition: None };
        mlp_core::SearchSpace::new([dimension])
            .map_err(|error| TuneError::parameter(error.parameter, error.reason))?;
        if let Some(given) = record.system.get(FIXED).and_then(|fixed| fixed.get(name)) {
            let value = typed(domain, given).ok_or_else(|| {
                TuneError::parameter(
                    name,
                    format!("{given} was enqueued, which does not suit its domain"),
                )
            })?;
            if !domain.contains(&value) {
                let mut warnings = match record.system.get(WARNINGS) {
                    Some(Value::Array(warnings)) => warnings.clone(),
                    _ => Vec::new(),
                };
                warnings.push(outside(name, &value).into());
                let (name, value) = (WARNINGS.to_owned(), Value::Array(warnings));
                study.store.record(id, self.number, &TrialEvent::System { name, value })?;
            }
            return self.choose(id, name, domain, value);
        }
        let history = study.history(trials, self.number);
        let request = study.request(history);
        let proposed = record.system.get(SUGGESTED).and_then(|proposed| proposed.get(name));
        let proposed: Option<ParamValue> =
            proposed.and_then(|value| serde_json::from_value(value.clone()).ok());
        let value = proposed
            .filter(|value| domain.contains(value))
            .unwrap_or_else(|| sampler.suggest(&request, name, domain));
        self.choose(id, name, domain, value)
    }

    fn choose(
        &mut self,
        study: StudyId,
        name: &str,
        domain: &Domain,
        value: ParamValue,
    ) -> Result<ParamValue, TuneError> {
        let (name, domain) = (name.to_owned(), domain.clone());
        Arc::make_mut(&mut self.params).insert(name.as_str(), value.clone());
        let event = TrialEvent::Param { name, domain, value: value.clone() };
        self.study.store.record(study, self.number, &event)?;
        Ok(value)
    }

    /// Chooses a double from `low` to `high` while the trial runs; see [`suggest`](Self::suggest).
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest).
    pub fn suggest_float(&mut self, name: &str, low: f64, high: f64) -> Result<f64, TuneError> {
        self.suggest(name, &Domain::Float { low, high, scale: Scale::Linear, step: None })?;
        self.float(name)
    }

    /// Chooses a double from `low` to `high`, its logarithm spread evenly, while the trial runs; see [`suggest`](Self::suggest).
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest); `low` must be above 0.
    pub fn suggest_log_float(&mut self, name: &str, low: f64, high: f64) -> Result<f64, TuneError> {
        self.suggest(name, &Domain::Float { low, high, scale: Scale::Log, step: None })?;
        self.float(name)
    }

    /// Chooses one of `low`, `low + step`, … up to `high` while the trial runs; see [`suggest`](Self::suggest).
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest); `step` must be above 0.
    pub fn suggest_stepped_float(
        &mut self,
        name: &str,
        low: f64,
        high: f64,
        step: f64,
    ) -> Result<f64, TuneError> {
        self.suggest(name, &Domain::Float { low, high, scale: Scale::Linear, step: Some(step) })?;
        self.float(name)
    }

    /// Chooses an integer from `low` to `high` while the trial runs; see [`suggest`](Self::suggest).
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest).
    pub fn suggest_int(&mut self, name: &str, low: i64, high: i64) -> Result<i64, TuneError> {
        self.suggest(name, &Domain::Int { low, high, scale: Scale::Linear, step: 1 })?;
        self.int(name)
    }

    /// Chooses an integer from `low` to `high`, its logarithm spread evenly, while the trial runs; see [`suggest`](Self::suggest).
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest); `low` must be at least 1.
    pub fn suggest_log_int(&mut self, name: &str, low: i64, high: i64) -> Result<i64, TuneError> {
        self.suggest(name, &Domain::Int { low, high, scale: Scale::Log, step: 1 })?;
        self.int(name)
    }

    /// Chooses one of `low`, `low + step`, … up to `high` while the trial runs; see [`suggest`](Self::suggest).
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest); `step` must be at least 1.
    pub fn suggest_stepped_int(
        &mut self,
        name: &str,
        low: i64,
        high: i64,
        step: i64,
    ) -> Result<i64, TuneError> {
        self.suggest(name, &Domain::Int { low, high, scale: Scale::Linear, step })?;
        self.int(name)
    }

    /// Chooses one of some values while the trial runs; see [`suggest`](Self::suggest).
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest).
    pub fn suggest_choice<V: Into<ParamValue>>(
        &mut self,
        name: &str,
        choices: impl IntoIterator<Item = V>,
    ) -> Result<ParamValue, TuneError> {
        let choices = choices.into_iter().map(Into::into).collect();
        self.suggest(name, &Domain::Categorical { choices })
    }
}
