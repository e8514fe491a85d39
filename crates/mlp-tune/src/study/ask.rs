//! How the next trial comes about: an orphan, an enqueued one, or a new one.

use std::collections::BTreeMap;
use std::time::Duration;

use mlp_core::{Domain, ParamValue, Params, StoreError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::state::State;
use super::{Study, Trial};
use crate::error::TuneError;
use crate::sampler::{Proposal, Request};
use crate::store::{StudyId, TrialDraft, TrialEvent};
use crate::trial::{FAILURE, LEASE, TrialRecord, TrialState};
use crate::worker;

/// The attribute with the parameters of an enqueued trial, as Optuna calls it.
const FIXED: &str = "fixed_params";
/// The attribute with the values proposed for parameters that the trial may choose while it runs.
pub(super) const SUGGESTED: &str = "mlp:suggested";

/// Who runs a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lease {
    worker: String,
    /// How often the trial has changed hands.
    pub(crate) epoch: u64,
    /// When others may take it, if they cannot tell that its worker is dead.
    until: Timestamp,
}

impl Lease {
    pub(crate) fn of(trial: &TrialRecord) -> Option<Self> {
        serde_json::from_value(trial.system.get(LEASE)?.clone()).ok()
    }

    fn has_lapsed(&self, now: Timestamp) -> bool {
        self.until < now || worker::is_dead(&self.worker)
    }
}

impl Study {
    /// Starts the next trial. Give its result with [`Trial::tell`] or the like; a trial that is dropped without one fails.
    ///
    /// # Errors
    /// [`TuneError::Exhausted`] if the sampler has nothing left; [`TuneError::TooManyPending`] if the study is ordered and earlier trials
    /// must end first; or if the store fails.
    pub fn ask(&self) -> Result<Trial<'_>, TuneError> {
        let mut state = self.state.lock();
        loop {
            let study = self.sync(&mut state)?;
            let started = match self.adopt(&mut state, study)? {
                Some(number) => Ok(number),
                None => match self.claim(&mut state, study)? {
                    Some(number) => Ok(number),
                    None => self.create(&mut state, study),
                },
            };
            match started {
                // Another process was faster: look again.
                Err(TuneError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error),
                Ok(number) => {
                    self.sync(&mut state)?;
                    state.mine.insert(number);
                    return Ok(Trial::new(self, &state.trials[number as usize]));
                }
            }
        }
    }

    /// Takes over a running trial whose worker is dead. One that died too often fails.
    fn adopt(&self, state: &mut State, study: StudyId) -> Result<Option<u64>, TuneError> {
        let now = self.clock.now();
        let orphans: Vec<(u64, u64)> = state
            .open
            .difference(&state.mine)
            .filter_map(|&number| {
                let trial = &state.trials[number as usize];
                let lease = Lease::of(trial).filter(|_| trial.state == TrialState::Running)?;
                lease.has_lapsed(now).then_some((number, lease.epoch))
            })
            .collect();
        for (number, epoch) in orphans {
            let dead = epoch + 1 >= self.attempts;
            let event = if dead {
                let reason = json!(format!("its process died, {} times in all", epoch + 1));
                let _ = self.write(
                    study,
                    number,
                    TrialEvent::System { name: FAILURE.into(), value: reason },
                )?;
                TrialEvent::Finish { state: TrialState::Failed, values: Vec::new(), finished: now }
            } else {
                TrialEvent::System { name: LEASE.into(), value: self.lease(epoch + 1) }
            };
            if self.write(study, number, event)? && !dead {
                return Ok(Some(number));
            }
        }
        self.sync(state)?;
        Ok(None)
    }

    /// Writes an event; `false` if another process was faster.
    fn write(&self, study: StudyId, number: u64, event: TrialEvent) -> Result<bool, TuneError> {
        match self.store.record(study, number, &event) {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn lease(&self, epoch: u64) -> Value {
        let until = self.clock.now().after(self.lease.max(Duration::from_secs(1)));
        json!(Lease { worker: worker::process().to_owned(), epoch, until })
    }

    /// Starts the first enqueued trial.
    fn claim(&self, state: &mut State, study: StudyId) -> Result<Option<u64>, TuneError> {
        let waiting = |number: &&u64| state.trials[**number as usize].state == TrialState::Waiting;
        let Some(&number) = state.open.iter().find(waiting) else { return Ok(None) };
        if !self.write(study, number, TrialEvent::Claim { started: self.clock.now() })? {
            self.sync(state)?;
            return self.claim(state, study);
        }
        self.write(study, number, TrialEvent::System { name: LEASE.into(), value: self.lease(0) })?;
        let fixed = fixed(&state.trials[number as usize], &state.domains);
        let params = self.complete(state, number, &fixed)?;
        for (name, value) in params.iter() {
            let (name, value) = (name.to_owned(), value.clone());
            let domain = state.domains[&name].clone();
            self.write(study, number, TrialEvent::Param { name, domain, value })?;
        }
        Ok(Some(number))
    }

    /// The fixed parameters with the sampler's for the others.
    fn complete(
        &self,
        state: &mut State,
        number: u64,
        fixed: &Params,
    ) -> Result<Params, TuneError> {
        let State { sampler, trials, .. } = state;
        let history = self.history(trials, number);
        let request = Request { space: &self.space, history, seed: self.seed };
        let mut params = Params::new();
        let mut proposed = None;
        for dimension in self.space.dimensions() {
            let name = dimension.name.as_str();
            if !dimension.is_active(&params) {
                continue;
            }
            if let Some(value) = fixed.get(name) {
                params.insert(name, value.clone());
                continue;
            }
            if proposed.is_none() {
                proposed = Some(match sampler.propose(&request) {
                    Err(TuneError::Exhausted) => Params::new(),
                    proposal => proposal?.params,
                });
            }
            let value = proposed.as_ref().and_then(|params| params.get(name)).cloned();
            let value = value.unwrap_or_else(|| sampler.suggest(&request, name, &dimension.domain));
            params.insert(name, value);
        }
        Ok(params)
    }

    fn create(&self, state: &mut State, study: StudyId) -> Result<u64, TuneError> {
        let number = state.trials.len() as u64;
        if let Some(waits_for) = self.waits_for(state, number) {
            return Err(TuneError::TooManyPending { number, waits_for });
        }
        let State { sampler, trials, learnt, .. } = state;
        let history = self.history(trials, number);
        let mut space = &self.space;
        if sampler.joins_suggestions() {
            learnt.learn(&self.space, history.complete());
            space = learnt.space().unwrap_or(space);
        }
        let request = Request { space, history, seed: self.seed };
        let Proposal { mut params, mut marks } = sampler.propose(&request)?;
        let undeclared = &space.dimensions()[self.space.dimensions().len()..];
        let suggested: Params = undeclared
            .iter()
            .filter_map(|d| Some((d.name.clone(), params.get(&d.name)?.clone())))
            .collect();
        if !suggested.is_empty() {
            params.retain(|name, _| suggested.get(name).is_none());
            marks.insert(SUGGESTED.to_owned(), json!(suggested));
        }
        marks.insert(LEASE.to_owned(), self.lease(0));
        let mut draft = TrialDraft::new(TrialState::Running);
        draft.params = params.into();
        draft.domains = state.domains.clone();
        draft.system = marks.into();
        draft.started = Some(self.clock.now());
        self.store.create_trial(study, number, &draft)?;
        Ok(number)
    }

    /// The earliest trial that must end before this one may start, in an ordered study.
    fn waits_for(&self, state: &State, number: u64) -> Option<u64> {
        let horizon = self.history(&state.trials, number).horizon?;
        state.open.first().copied().filter(|&open| open < horizon)
    }
}

/// The parameters of an enqueued trial, as typed values of the space's domains.
fn fixed(trial: &TrialRecord, domains: &BTreeMap<String, Domain>) -> Params {
    let mut params = (*trial.params).clone();
    let given = trial.system.get(FIXED).and_then(Value::as_object);
    for (name, value) in given.into_iter().flatten() {
        let value: Option<ParamValue> = serde_json::from_value(value.clone()).ok();
        if let Some((domain, value)) = domains.get(name).zip(value)
            && let Some(value) = suitable(domain, &value)
        {
            params.insert(name.as_str(), value);
        }
    }
    params
}

/// The value in the kind of the domain, in range or not.
fn suitable(domain: &Domain, value: &ParamValue) -> Option<ParamValue> {
    match (domain, value) {
        (Domain::Float { .. }, value) => value.as_float().map(Into::into),
        (Domain::Int { .. }, ParamValue::Int(_)) => Some(value.clone()),
        (Domain::Categorical { choices }, value) if choices.contains(value) => Some(value.clone()),
        _ => None,
    }
}

pub(super) fn enqueue(study: &Study, params: &Params) -> Result<(), TuneError> {
    let mut fixed = serde_json::Map::new();
    for (name, value) in params.iter() {
        let dimension = study.space.dimensions().iter().find(|d| d.name == name);
        let dimension =
            dimension.ok_or_else(|| TuneError::parameter(name, "it is not in the space"))?;
        let value = suitable(&dimension.domain, value).ok_or_else(|| {
            TuneError::parameter(name, format!("{value} does not suit its domain"))
        })?;
        fixed.insert(name.to_owned(), json!(value));
    }
    let mut draft = TrialDraft::new(TrialState::Waiting);
    draft.system = std::sync::Arc::new([(FIXED.to_owned(), Value::Object(fixed))].into());
    let mut state = study.state.lock();
    loop {
        let id = study.sync(&mut state)?;
        match study.store.create_trial(id, state.trials.len() as u64, &draft) {
            Err(StoreError::Conflict { .. }) => {}
            outcome => return Ok(outcome?),
        }
    }
}
