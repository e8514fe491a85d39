//! How the next trial comes about: an orphan, a paused one, an enqueued one, or a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::{Domain, ParamValue, Params, StoreError};
use serde_json::{Value, json};

use super::duplicates::{self, Duplicates, MAX_REDRAWS};
use super::state::{Held, State};
use super::{Study, Trial};
use crate::error::TuneError;
use crate::history::History;
use crate::pruner::ResumeRequest;
use crate::sampler::{Proposal, Request};
use crate::store::{StudyId, TrialDraft, TrialEvent};
use crate::trial::{CHECKPOINTS, INPUTS, LEASE, REUSED, SUGGESTED, TrialRecord, TrialState};

/// The attribute with the parameters of an enqueued trial, as Optuna calls it.
pub(super) const FIXED: &str = "fixed_params";
/// The attribute with what is odd about an enqueued trial.
pub(super) const WARNINGS: &str = "mlp:warnings";
/// How many results in a row one call of `ask` takes over before it gives up.
const MAX_REUSED: usize = 1_000;

/// Which trials may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Any: orphans, paused and enqueued ones, and new ones; these only while there are fewer trials than `total`.
    Any { total: Option<u64> },
    /// Those that were paused and are worth going on with.
    Paused,
}

/// What was started.
#[derive(Debug)]
pub(super) enum Asked<'a> {
    Run(Trial<'a>),
    /// A trial that was paused.
    Resumed(Trial<'a>),
    /// A trial that took over the result of an earlier one.
    Reused,
    /// None, as the sampler has nothing left. A trial that another process runs may fail, which gives something back.
    Claimed,
}

/// A trial that was started in the store.
enum Started {
    Run(u64),
    Resumed(u64),
    Reused(u64),
}

impl Study {
    /// Starts the next trial. Give its result with [`Trial::tell`] or the like; a trial that is dropped without one fails.
    ///
    /// # Errors
    /// [`TuneError::Exhausted`] if the sampler has nothing left; [`TuneError::TooManyPending`] if the study is ordered and earlier trials
    /// must end first; or if the store fails.
    pub fn ask(&self) -> Result<Trial<'_>, TuneError> {
        for _ in 0..MAX_REUSED {
            match self.take(Take::Any { total: None })? {
                Some(Asked::Run(trial) | Asked::Resumed(trial)) => return Ok(trial),
                Some(Asked::Reused) => {}
                Some(Asked::Claimed) | None => break,
            }
        }
        Err(TuneError::Exhausted)
    }

    /// Starts a trial, if there is one that may start.
    pub(super) fn take(&self, what: Take) -> Result<Option<Asked<'_>>, TuneError> {
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        let asked = loop {
            let study = self.sync(&mut state)?;
            match self.start(&mut state, study, what, &mut ended) {
                // Another process was faster: look again.
                Err(TuneError::Store(StoreError::Conflict { .. })) => {}
                Err(TuneError::Exhausted) if self.runs_elsewhere(&state) => {
                    break Ok(Some(Asked::Claimed));
                }
                Err(error) => break Err(error),
                Ok(None) => break Ok(None),
                Ok(Some(started)) => {
                    self.sync(&mut state)?;
                    if let Started::Run(number) = started {
                        self.forget_others(&state.trials[number as usize]);
                    }
                    let mut run = |number: u64| {
                        let started = self.clock.monotonic();
                        let thread = std::thread::current().id();
                        state.mine.insert(number, Held { started, thread });
                        Trial::new(self, &state.trials[number as usize])
                    };
                    break Ok(Some(match started {
                        Started::Run(number) => Asked::Run(run(number)),
                        Started::Resumed(number) => Asked::Resumed(run(number)),
                        Started::Reused(number) => {
                            ended.push(number);
                            Asked::Reused
                        }
                    }));
                }
            }
        };
        if !ended.is_empty() {
            self.sync(&mut state)?;
            let ended: Vec<_> =
                ended.iter().map(|&n| Arc::clone(&state.trials[n as usize])).collect();
            drop(state);
            ended.iter().for_each(|trial| self.announce(trial));
        }
        asked
    }

    fn start(
        &self,
        state: &mut State,
        study: StudyId,
        what: Take,
        ended: &mut Vec<u64>,
    ) -> Result<Option<Started>, TuneError> {
        self.fail_overdue(state, study, ended)?;
        if what != Take::Paused {
            if state.open.len() > state.mine.len() + state.paused.len()
                && let Some(number) = self.adopt(state, study, ended)?
            {
                self.sync(state)?;
                self.renew_inputs(&state.trials[number as usize], study)?;
                // An enqueued one may have died before its parameters were written.
                let given = fixed(&state.trials[number as usize], &state.domains);
                self.complete(state, study, number, &given)?;
                return Ok(Some(Started::Run(number)));
            }
            if let Some(number) = self.claim(state, study)? {
                return Ok(Some(Started::Run(number)));
            }
        }
        if let Some(number) = self.pick_paused(state)? {
            self.resume(state, study, number)?;
            self.renew_inputs(&state.trials[number as usize], study)?;
            return Ok(Some(Started::Resumed(number)));
        }
        match what {
            Take::Any { total }
                if total.is_none_or(|total| (state.trials.len() as u64) < total) =>
            {
                self.create(state, study).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Writes an event; `false` if another process was faster.
    pub(super) fn write(
        &self,
        study: StudyId,
        number: u64,
        event: TrialEvent,
    ) -> Result<bool, TuneError> {
        match self.store.record(study, number, &event) {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The paused trial that the pruner would go on with.
    fn pick_paused(&self, state: &mut State) -> Result<Option<u64>, TuneError> {
        let State { pruner, trials, paused, .. } = state;
        if !pruner.pauses() {
            return Ok(None);
        }
        if self.pending.is_some() {
            let setting = "the pruner of an ordered study";
            return Err(TuneError::setting(setting, "one that pauses trials", "one that does not"));
        }
        if paused.is_empty() {
            return Ok(None);
        }
        let waiting: Vec<&TrialRecord> =
            paused.iter().map(|&number| trials[number as usize].as_ref()).collect();
        let history = self.history(trials, trials.len() as u64);
        let request = ResumeRequest { paused: &waiting, history, study: &self.name };
        Ok(pruner.resume(&request))
    }

    /// Starts the first enqueued trial.
    fn claim(&self, state: &mut State, study: StudyId) -> Result<Option<u64>, TuneError> {
        let Some(&number) = state.waiting.first() else { return Ok(None) };
        if let Some(waits_for) = self.waits_for(state, number) {
            return Err(TuneError::TooManyPending { number, waits_for });
        }
        let now = self.clock.now();
        let lease = self.next_lease(&state.trials[number as usize], now);
        let mut system = BTreeMap::from([(LEASE.to_owned(), lease)]);
        system.extend(self.checkpoint_mark().map(|mark| (CHECKPOINTS.to_owned(), mark)));
        if let Some(inputs) = &self.inputs {
            system.insert(INPUTS.to_owned(), inputs.clone());
        }
        if !self.write(study, number, TrialEvent::Claim { started: now, system })? {
            self.sync(state)?;
            return self.claim(state, study);
        }
        let fixed = fixed(&state.trials[number as usize], &state.domains);
        self.complete(state, study, number, &fixed)?;
        Ok(Some(number))
    }

    /// Says with which data and code a trial runs from now on, if it ran with others.
    fn renew_inputs(&self, trial: &TrialRecord, study: StudyId) -> Result<(), TuneError> {
        if trial.inputs() != self.inputs.as_ref() {
            let value = self.inputs.clone().unwrap_or_default();
            let event = TrialEvent::System { name: INPUTS.into(), value };
            self.store.record(study, trial.number, &event)?;
        }
        Ok(())
    }

    /// Gives a trial the parameters that it lacks: the given ones, and the sampler's for the others.
    fn complete(
        &self,
        state: &mut State,
        study: StudyId,
        number: u64,
        given: &Params,
    ) -> Result<(), TuneError> {
        let State { sampler, trials, domains, .. } = state;
        let history = self.history(trials, number);
        let request = self.request(history);
        let mut params = Params::new();
        let mut proposed = None;
        for dimension in self.space.dimensions() {
            let name = dimension.name.as_str();
            if !dimension.is_active(&params) {
                continue;
            }
            if let Some(value) = given.get(name) {
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
        let present = &trials[number as usize].params;
        for (name, value) in params.iter().filter(|(name, _)| present.get(name).is_none()) {
            let (name, value) = (name.to_owned(), value.clone());
            let domain = domains[&name].clone();
            self.write(study, number, TrialEvent::Param { name, domain, value })?;
        }
        Ok(())
    }

    fn create(&self, state: &mut State, study: StudyId) -> Result<Started, TuneError> {
        let number = state.trials.len() as u64;
        if let Some(waits_for) = self.waits_for(state, number) {
            return Err(TuneError::TooManyPending { number, waits_for });
        }
        let (Proposal { params, mut marks, .. }, reused) = self.propose(state, number)?;
        let now = self.clock.now();
        if let Some(inputs) = &self.inputs {
            marks.insert(INPUTS.to_owned(), inputs.clone());
        }
        if let Some(earlier) = &reused {
            marks.insert(REUSED.to_owned(), json!(earlier.number));
            let constraints = earlier.constraint_attributes();
            marks.extend(constraints.map(|(name, value)| (name.clone(), value.clone())));
        }
        // Also where the result is there already: who dies before it is written leaves a trial to be run.
        marks.insert(LEASE.to_owned(), self.first_lease(now));
        marks.extend(self.checkpoint_mark().map(|mark| (CHECKPOINTS.to_owned(), mark)));
        let mut draft = TrialDraft::new(TrialState::Running);
        draft.params = params.into();
        draft.domains = Arc::clone(&state.domains);
        draft.system = marks.into();
        draft.started = Some(now);
        self.store.create_trial(study, number, &draft)?;
        let Some(earlier) = reused else { return Ok(Started::Run(number)) };
        let values = earlier.values.clone();
        let event = TrialEvent::Finish { state: TrialState::Complete, values, finished: now };
        self.store.record(study, number, &event)?;
        Ok(Started::Reused(number))
    }

    /// What the next trial tries, and the trial whose result it takes over.
    fn propose(
        &self,
        state: &mut State,
        number: u64,
    ) -> Result<(Proposal, Option<Arc<TrialRecord>>), TuneError> {
        if self.duplicates == Duplicates::Allow || self.space.dimensions().is_empty() {
            return Ok((self.propose_once(state, number, 0)?, None));
        }
        state.known.learn(&self.space, &state.trials);
        let inputs = self.inputs.as_ref();
        let mut last = None;
        for attempt in 0..=MAX_REDRAWS {
            let proposal = self.propose_once(state, number, attempt)?;
            let history = self.history(&state.trials, number);
            let Some(earlier) = state.known.find(&history, &proposal.params, inputs) else {
                return Ok((proposal, None));
            };
            if self.duplicates == Duplicates::Reuse {
                let earlier = Arc::clone(&state.trials[earlier.number as usize]);
                let has_result = earlier.state == TrialState::Complete
                    && earlier.values.len() == self.directions.len()
                    && history.horizon.is_none_or(|horizon| earlier.number < horizon);
                return Ok((proposal, has_result.then_some(earlier)));
            }
            last = Some(proposal);
        }
        let history = self.history(&state.trials, number);
        let is_known = |params: &Params| state.known.find(&history, params, inputs).is_some();
        match (duplicates::first_new(&self.space, is_known), self.duplicates, last) {
            (Some(params), ..) => Ok((params.into(), None)),
            (None, Duplicates::Resample, Some(last)) => Ok((last, None)),
            _ => Err(TuneError::Exhausted),
        }
    }

    fn propose_once(
        &self,
        state: &mut State,
        number: u64,
        attempt: u64,
    ) -> Result<Proposal, TuneError> {
        let State { sampler, trials, learnt, .. } = state;
        let history = self.history(trials, number);
        let mut space = &self.space;
        if sampler.joins_suggestions() {
            learnt.learn(&self.space, &history);
            space = learnt.space().unwrap_or(space);
        }
        // Another attempt draws from another stream, a function of seed and number as well.
        let seed = self.seed ^ attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let request = Request { space, declared: &self.space, history, seed };
        let mut proposal = sampler.propose(&request)?;
        let undeclared = &space.dimensions()[self.space.dimensions().len()..];
        if !undeclared.is_empty() {
            let suggested: Params = undeclared
                .iter()
                .filter_map(|d| Some((d.name.clone(), proposal.params.get(&d.name)?.clone())))
                .collect();
            proposal.params.retain(|name, _| suggested.get(name).is_none());
            proposal.marks.insert(SUGGESTED.to_owned(), json!(suggested));
        }
        Ok(proposal)
    }

    /// What is asked of a sampler for one of the declared parameters, or for one that a trial chooses.
    pub(super) fn request<'a>(&'a self, history: History<'a>) -> Request<'a> {
        Request { space: &self.space, declared: &self.space, history, seed: self.seed }
    }

    /// The earliest trial that must end before this one may start, in an ordered study.
    fn waits_for(&self, state: &State, number: u64) -> Option<u64> {
        let horizon = self.history(&state.trials, number).horizon?;
        state.open.first().copied().filter(|&open| open < horizon)
    }
}

/// The parameters of an enqueued trial, as typed values of the space's domains.
fn fixed(trial: &TrialRecord, domains: &BTreeMap<String, Domain>) -> Params {
    let mut params = Params::clone(&trial.params);
    let given = trial.system.get(FIXED).and_then(Value::as_object);
    for (name, value) in given.into_iter().flatten() {
        if params.get(name).is_some() {
            continue;
        }
        if let Some(value) = domains.get(name).and_then(|domain| typed(domain, value)) {
            params.insert(name.as_str(), value);
        }
    }
    params
}

/// A value of an enqueued trial in the kind of a domain; none if it is of another kind, or none of the choices.
pub(super) fn typed(domain: &Domain, value: &Value) -> Option<ParamValue> {
    let value = match value {
        Value::Null => ParamValue::from("None"), // as a choice of Optuna's is read
        value => serde_json::from_value(value.clone()).ok()?,
    };
    suitable(domain, &value)
}

/// What is said of an enqueued value that does not lie in its domain.
pub(super) fn outside(name: &str, value: &ParamValue) -> String {
    format!("{name} = {value} is outside of its domain")
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
    let (mut fixed, mut warnings) = (serde_json::Map::new(), Vec::new());
    for (name, value) in params.iter() {
        let dimension = study.space.dimensions().iter().find(|d| d.name == name);
        let Some(dimension) = dimension else {
            warnings.push(format!("{name} is not in the space: it is for a parameter of that name chosen while the trial runs"));
            fixed.insert(name.to_owned(), json!(value));
            continue;
        };
        let value = suitable(&dimension.domain, value).ok_or_else(|| {
            TuneError::parameter(name, format!("{value} does not suit its domain"))
        })?;
        if !dimension.domain.contains(&value) {
            warnings.push(outside(name, &value));
        }
        fixed.insert(name.to_owned(), json!(value));
    }
    let mut draft = TrialDraft::new(TrialState::Waiting);
    let system = Arc::make_mut(&mut draft.system);
    system.insert(FIXED.to_owned(), Value::Object(fixed));
    if !warnings.is_empty() {
        system.insert(WARNINGS.to_owned(), json!(warnings));
    }
    let mut state = study.state.lock();
    loop {
        let id = study.sync(&mut state)?;
        match study.store.create_trial(id, state.trials.len() as u64, &draft) {
            Err(StoreError::Conflict { .. }) => {}
            outcome => return Ok(outcome?),
        }
    }
}
