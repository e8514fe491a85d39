//! A running trial, as its objective sees it.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{ParamValue, Params};
use serde_json::{Value, json};

use super::Study;
use super::state::State;
use super::{checkpoint, lease};
use crate::error::TuneError;
use crate::objective::Scores;
use crate::pruner::{Decision, PruneRequest};
use crate::store::{StudyId, TrialEvent};
use crate::trial::{COST, FAILURE, TrialRecord, TrialState};

/// A trial that runs: its parameters, and where it reports.
#[derive(Debug)]
pub struct Trial<'a> {
    pub(super) study: &'a Study,
    pub(super) number: u64,
    pub(super) params: Arc<Params>,
    /// That of the lease under which it runs.
    epoch: Option<u64>,
    started: Duration,
    is_resumed: bool,
    cost: f64,
    /// What tells its checkpoints from those of others of its number.
    pub(super) mark: Option<u64>,
    /// Whether the pruner wants it to be taken up later rather than to end.
    pauses: bool,
    ended: bool,
}

impl<'a> Trial<'a> {
    pub(super) fn new(study: &'a Study, record: &TrialRecord) -> Self {
        Self {
            study,
            number: record.number,
            params: Arc::clone(&record.params),
            epoch: lease::epoch(record),
            started: study.clock.monotonic(),
            is_resumed: lease::epoch(record).is_some_and(|epoch| epoch > 0),
            cost: record.cost(),
            mark: checkpoint::mark(record),
            pauses: false,
            ended: false,
        }
    }

    /// Its place in the study, from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it has run before: it was paused or interrupted, or its process died.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The study it belongs to.
    #[must_use]
    pub fn study(&self) -> &'a Study {
        self.study
    }

    /// The parameters to try.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    fn value(&self, name: &str) -> Result<&ParamValue, TuneError> {
        let missing = || TuneError::parameter(name, "the trial has no such parameter");
        self.params.get(name).ok_or_else(missing)
    }

    fn typed<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl Fn(&ParamValue) -> Option<T>,
    ) -> Result<T, TuneError> {
        let value = self.value(name)?;
        let wrong = || TuneError::parameter(name, format!("it is {}, not {kind}", value.kind()));
        read(value).ok_or_else(wrong)
    }

    /// A parameter that is a number.
    ///
    /// # Errors
    /// If the trial has no such parameter, or it is no number.
    pub fn float(&self, name: &str) -> Result<f64, TuneError> {
        self.typed(name, "a number", ParamValue::as_float)
    }

    /// A parameter that is an integer.
    ///
    /// # Errors
    /// If the trial has no such parameter, or it is no integer.
    pub fn int(&self, name: &str) -> Result<i64, TuneError> {
        self.typed(name, "an integer", |value| match value {
            ParamValue::Int(value) => Some(*value),
            _ => None,
        })
    }

    /// A parameter that is a text.
    ///
    /// # Errors
    /// If the trial has no such parameter, or it is no text.
    pub fn text(&self, name: &str) -> Result<String, TuneError> {
        self.typed(name, "a text", |value| match value {
            ParamValue::Text(value) => Some(value.clone()),
            _ => None,
        })
    }

    /// A parameter that is a boolean.
    ///
    /// # Errors
    /// If the trial has no such parameter, or it is no boolean.
    pub fn boolean(&self, name: &str) -> Result<bool, TuneError> {
        self.typed(name, "a boolean", |value| match value {
            ParamValue::Bool(value) => Some(*value),
            _ => None,
        })
    }

    fn record(&mut self, event: &TrialEvent) -> Result<(), TuneError> {
        let study = self.study;
        if let Some(limit) = study.trial_limit.filter(|limit| self.elapsed() > *limit) {
            self.end(TrialState::Failed, Vec::new(), Some(&lease::overdue(limit)))?;
            return Err(TuneError::Overdue { number: self.number, limit });
        }
        let mut state = study.state.lock();
        let id = study.sync(&mut state)?;
        let renewal = study.renewal(self.own(&state)?);
        if let Some((epoch, renewal)) = renewal
            && Some(epoch) == self.epoch.map(|epoch| epoch + 1)
            && study.write(id, self.number, renewal)?
        {
            self.epoch = Some(epoch);
        }
        Ok(study.store.record(id, self.number, event)?)
    }

    fn elapsed(&self) -> Duration {
        self.study.clock.monotonic().saturating_sub(self.started)
    }

    /// Reports an intermediate value: the score after this many folds, epochs, trees. The first report of a step stands. In a study of
    /// several objectives it is one value per objective, or one for the first alone.
    ///
    /// # Errors
    /// If the step is negative, the number of values is wrong, or the store fails.
    pub fn report(&mut self, step: i64, values: impl Into<Scores>) -> Result<(), TuneError> {
        if step < 0 {
            return Err(TuneError::setting("the step of a report", step, "0 or more"));
        }
        let (Scores(values), expected) = (values.into(), self.study.directions.len());
        if values.len() != 1 && values.len() != expected {
            return Err(TuneError::WrongNumberOfValues { given: values.len(), expected });
        }
        self.record(&TrialEvent::Report { step, values })
    }

    /// Whether the trial should stop, as far as the pruner sees. Then return [`TrialError::Pruned`](crate::TrialError::Pruned).
    ///
    /// Under a pruner that [pauses](crate::PromotionPruner) trials it may be taken up again later: the objective is then called anew for the same trial,
    /// and goes on from [what it kept](Self::checkpoint_folder).
    ///
    /// # Errors
    /// If the store fails.
    pub fn should_prune(&mut self) -> Result<bool, TuneError> {
        let study = self.study;
        let mut state = study.state.lock();
        let id = study.sync(&mut state)?;
        let State { pruner, trials, .. } = &mut *state;
        let trial = &trials[self.number as usize];
        if trial.reports.is_empty() {
            return Ok(false);
        }
        let history = study.history(trials, self.number);
        let verdict = pruner.judge(&PruneRequest { trial, history, study: &study.name });
        for (name, value) in verdict.marks {
            study.store.record(id, self.number, &TrialEvent::System { name, value })?;
        }
        self.pauses = verdict.prune == Decision::Pause;
        Ok(verdict.prune != Decision::Keep)
    }

    /// Whether somebody wants the running [`optimize`](Study::optimize) to end, with [`Study::stop`] or by its budget of time. An objective that takes long may look
    /// now and then, and return [`TrialError::Interrupted`](crate::TrialError::Interrupted): its trial is run again when the study goes on.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.study.is_stopping()
    }

    /// Attaches a note of one's own.
    ///
    /// # Errors
    /// If the store fails.
    pub fn set_attribute(&mut self, name: &str, value: impl Into<Value>) -> Result<(), TuneError> {
        self.record(&TrialEvent::Attribute { name: name.to_owned(), value: value.into() })
    }

    /// States by how much a constraint is violated: above 0 is infeasible. Infeasible trials never win.
    ///
    /// # Errors
    /// If the value is not finite, or the store fails.
    pub fn set_constraint(&mut self, name: &str, violation: f64) -> Result<(), TuneError> {
        if !violation.is_finite() {
            return Err(TuneError::setting("a constraint", violation, "a finite number"));
        }
        let name = TrialRecord::constraint_attribute(name);
        self.record(&TrialEvent::System { name, value: json!(violation) })
    }

    /// Adds to what the trial cost, in whatever unit the [budget](crate::Budget::with_cost) has.
    ///
    /// # Errors
    /// If the amount is negative or not finite, or the store fails.
    pub fn add_cost(&mut self, amount: f64) -> Result<(), TuneError> {
        if !(amount >= 0.0 && amount.is_finite()) {
            return Err(TuneError::setting("the cost of a trial", amount, "finite, 0 or more"));
        }
        self.cost += amount;
        self.record(&TrialEvent::System { name: COST.into(), value: json!(self.cost) })
    }

    /// Ends the trial with its scores. NaN fails it; the infinities are scores.
    ///
    /// # Errors
    /// If the number of scores is wrong (the trial fails), another worker has taken the trial over, or the store fails.
    pub fn tell(mut self, scores: impl Into<Scores>) -> Result<(), TuneError> {
        let Scores(values) = scores.into();
        let expected = self.study.directions.len();
        if values.len() != expected {
            let given = values.len();
            self.fail(&format!("{given} values for {expected} objectives"))?;
            return Err(TuneError::WrongNumberOfValues { given, expected });
        }
        if values.iter().any(|value| value.is_nan()) {
            return self.fail("the score is not a number");
        }
        self.end(TrialState::Complete, values, None)
    }

    /// Ends the trial as pruned, or pauses it if that is what the pruner wanted; the values of a pruned trial are the intermediate ones at the largest step, if there
    /// are as many as objectives and all are numbers.
    ///
    /// # Errors
    /// If another worker has taken the trial over, or the store fails.
    pub fn prune(mut self) -> Result<(), TuneError> {
        if self.pauses {
            return self.let_go();
        }
        self.ended = true;
        let objectives = self.study.directions.len();
        self.write_end(TrialState::Pruned, None, |trial| {
            let last = trial.reports.last_key_value().and_then(|(step, _)| trial.reported(*step));
            let values = last.unwrap_or_default();
            let is_score = values.len() == objectives && !values.iter().any(|v| v.is_nan());
            if is_score { values.to_vec() } else { Vec::new() }
        })
    }

    /// Ends the trial without a value.
    ///
    /// # Errors
    /// If another worker has taken the trial over, or the store fails.
    pub fn fail(mut self, reason: &str) -> Result<(), TuneError> {
        self.end(TrialState::Failed, Vec::new(), Some(reason))
    }

    /// Lets the trial go without a result: it is run again, under its number and with its parameters, before new ones start.
    ///
    /// # Errors
    /// If another worker has taken the trial over, or the store fails.
    pub fn interrupt(mut self) -> Result<(), TuneError> {
        self.pauses = false;
        self.let_go()
    }

    fn let_go(mut self) -> Result<(), TuneError> {
        self.ended = true;
        let study = self.study;
        self.part_with(|state, id| {
            let event = Study::letting_go(self.own(state)?, study.clock.now(), self.pauses);
            study.store.record(id, self.number, &event)?;
            study.sync(state)?;
            Ok(())
        })?;
        study.ended.notify_all();
        Ok(())
    }

    /// Takes the trial off this study's hands, after a last word on it. If that cannot be written the trial still runs nowhere, and is taken
    /// up again.
    fn part_with<T>(
        &self,
        last_word: impl FnOnce(&mut State, StudyId) -> Result<T, TuneError>,
    ) -> Result<T, TuneError> {
        let mut state = self.study.state.lock();
        let synced = self.study.sync(&mut state);
        let outcome = synced.and_then(|id| last_word(&mut state, id));
        if !self.study.holds_anew(&state.trials[self.number as usize], self.epoch) {
            state.mine.remove(&self.number);
        }
        outcome
    }

    /// Drops the trial without a word: it stays as it is in the store.
    pub(super) fn leave(mut self) {
        self.ended = true;
    }

    /// The record of the trial, if it still runs and belongs to this worker.
    fn own<'s>(&self, state: &'s State) -> Result<&'s TrialRecord, TuneError> {
        let record = &state.trials[self.number as usize];
        if record.state.is_finished() || lease::epoch(record) != self.epoch {
            return Err(TuneError::AlreadyFinished { number: self.number, state: record.state });
        }
        Ok(record)
    }

    fn end(
        &mut self,
        state: TrialState,
        values: Vec<f64>,
        failure: Option<&str>,
    ) -> Result<(), TuneError> {
        self.ended = true;
        self.write_end(state, failure, |_| values)
    }

    fn write_end(
        &self,
        ending: TrialState,
        failure: Option<&str>,
        values: impl FnOnce(&TrialRecord) -> Vec<f64>,
    ) -> Result<(), TuneError> {
        let study = self.study;
        let finished = study.clock.now();
        let record = self.part_with(|state, id| {
            let values = values(self.own(state)?);
            if let Some(reason) = failure {
                let value = json!(reason.chars().take(1_000).collect::<String>());
                study.store.record(
                    id,
                    self.number,
                    &TrialEvent::System { name: FAILURE.into(), value },
                )?;
            }
            let event = TrialEvent::Finish { state: ending, values, finished };
            study.store.record(id, self.number, &event)?;
            study.sync(state)?;
            Ok(Arc::clone(&state.trials[self.number as usize]))
        })?;
        study.announce(&record);
        Ok(())
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // A store that fails now keeps the trial as running: its lease lapses with the process.
            let reason = Some("it was dropped without a result");
            let _ = self.write_end(TrialState::Failed, reason, |_| Vec::new());
        }
    }
}
