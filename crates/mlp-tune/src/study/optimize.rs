//! Running an objective on several threads until a budget is spent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mlp_core::{StoreError, catch_panic};
use parking_lot::Mutex;

use super::{Study, Trial};
use crate::budget::{Budget, StopReason};
use crate::error::TuneError;
use crate::objective::{Scores, TrialError};
use crate::order;
use crate::trial::TrialState;

/// How long a thread waits at most for trials of other processes before it looks into the store again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a call of [`Study::optimize`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many trials it ran.
    pub trials: u64,
    /// Why it ended.
    pub reason: StopReason,
}

/// What the threads of one call share.
#[derive(Debug, Default)]
struct Progress {
    started: u64,
    reason: Option<StopReason>,
    error: Option<TuneError>,
}

impl Study {
    /// Runs trials until the budget is spent.
    ///
    /// The objective computes the scores of one trial; it may run on [several threads](Self::with_threads). A panic, an error or NaN fails
    /// that trial only. What it wants to keep between attempts it stores by itself.
    ///
    /// # Errors
    /// If the store fails, or the space does not suit the sampler. Trials that had started have ended by then.
    pub fn optimize<S: Into<Scores>>(
        &self,
        objective: impl Fn(&mut Trial<'_>) -> Result<S, TrialError> + Sync,
        budget: Budget,
    ) -> Result<Summary, TuneError> {
        self.stop.store(false, Ordering::SeqCst);
        let start = self.clock.monotonic();
        let progress = Mutex::new(Progress::default());
        let run = || {
            while let Some(trial) = self.next(&budget, start, &progress) {
                if let Err(error) = run_one(trial, &objective) {
                    let mut progress = progress.lock();
                    progress.error.get_or_insert(error);
                    drop(progress);
                    self.ended.notify_all();
                }
            }
        };
        if self.threads == 1 {
            run();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads {
                    scope.spawn(run);
                }
            });
        }
        let Progress { started, reason, error } = progress.into_inner();
        match error {
            Some(error) => Err(error),
            None => Ok(Summary { trials: started, reason: reason.unwrap_or(StopReason::Stopped) }),
        }
    }

    /// The next trial of this call; none when it ends.
    fn next(
        &self,
        budget: &Budget,
        start: Duration,
        progress: &Mutex<Progress>,
    ) -> Option<Trial<'_>> {
        loop {
            let mut shared = progress.lock();
            if shared.reason.is_some() || shared.error.is_some() {
                return None;
            }
            let asked = match self.reason_to_stop(budget, start, shared.started) {
                Ok(None) => self.ask(),
                Ok(Some(reason)) => {
                    shared.reason = Some(reason);
                    self.ended.notify_all();
                    return None;
                }
                Err(error) => Err(error),
            };
            match asked {
                Ok(trial) => {
                    shared.started += 1;
                    return Some(trial);
                }
                Err(TuneError::TooManyPending { .. }) => {
                    drop(shared);
                    let mut state = self.state.lock();
                    self.ended.wait_for(&mut state, LOOK_AGAIN);
                }
                Err(TuneError::Exhausted) => {
                    drop(shared);
                    // A cell that is claimed may yet fail, and is free again then.
                    let mut state = self.state.lock();
                    if state.mine.is_empty() {
                        drop(state);
                        progress.lock().reason.get_or_insert(StopReason::Exhausted);
                        return None;
                    }
                    self.ended.wait_for(&mut state, LOOK_AGAIN);
                }
                Err(error) => {
                    shared.error = Some(error);
                    return None;
                }
            }
        }
    }

    fn reason_to_stop(
        &self,
        budget: &Budget,
        start: Duration,
        started: u64,
    ) -> Result<Option<StopReason>, TuneError> {
        if self.stop.load(Ordering::SeqCst) {
            return Ok(Some(StopReason::Stopped));
        }
        if budget.trials.is_some_and(|limit| started >= limit) {
            return Ok(Some(StopReason::Trials));
        }
        if budget.time.is_some_and(|limit| self.clock.monotonic().saturating_sub(start) >= limit) {
            return Ok(Some(StopReason::Time));
        }
        let mut state = self.state.lock();
        if budget.total_trials.is_some() || budget.complete_trials.is_some() {
            self.sync(&mut state)?;
        }
        if let Some(limit) = budget.total_trials {
            // Trials of a dead process, and enqueued ones, are still to be run.
            let others = state.open.difference(&state.mine).count() as u64;
            if state.trials.len() as u64 >= limit && others == 0 {
                return Ok(Some(StopReason::Trials));
            }
        }
        if let Some(limit) = budget.complete_trials {
            let complete = state.trials.iter().filter(|t| t.state == TrialState::Complete).count();
            if complete as u64 >= limit {
                return Ok(Some(StopReason::Trials));
            }
        }
        Ok(self.good_enough(budget, &state.trials))
    }

    fn good_enough(
        &self,
        budget: &Budget,
        trials: &[std::sync::Arc<crate::trial::TrialRecord>],
    ) -> Option<StopReason> {
        let [direction] = self.directions[..] else { return None };
        if budget.target.is_none() && budget.patience.is_none() {
            return None;
        }
        let scores: Vec<f64> = trials.iter().filter_map(|trial| order::score(trial)).collect();
        let (place, best) = direction.best(scores.iter().map(|score| Some(*score)))?;
        if budget.target.is_some_and(|target| !direction.is_better(target, best)) {
            return Some(StopReason::Target);
        }
        let since = (scores.len() - 1 - place) as u64;
        budget.patience.is_some_and(|patience| since >= patience).then_some(StopReason::Patience)
    }
}

fn run_one<S: Into<Scores>>(
    mut trial: Trial<'_>,
    objective: &(impl Fn(&mut Trial<'_>) -> Result<S, TrialError> + Sync),
) -> Result<(), TuneError> {
    let outcome = catch_panic(|| objective(&mut trial).map(Into::into));
    let ended = match outcome {
        Ok(Ok(scores)) => trial.tell(scores),
        Ok(Err(TrialError::Pruned)) => trial.prune(),
        Ok(Err(error)) => trial.fail(&error.to_string()),
        Err(panicked) => trial.fail(&panicked.to_string()),
    };
    match ended {
        // The trial has failed, or belongs to somebody else by now: the study goes on.
        Err(TuneError::WrongNumberOfValues { .. } | TuneError::AlreadyFinished { .. })
        | Err(TuneError::Store(StoreError::Conflict { .. })) => Ok(()),
        ended => ended,
    }
}
