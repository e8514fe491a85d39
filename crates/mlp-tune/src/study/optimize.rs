//! Running an objective on several threads until a budget is spent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::ThreadId;
use std::time::Duration;

use mlp_core::{StoreError, catch_panic};
use parking_lot::Mutex;

use super::ask::{Asked, Take};
use super::{Study, Trial};
use crate::budget::{Budget, StopReason};
use crate::error::TuneError;
use crate::objective::{Scores, TrialError};
use crate::order;
use crate::trial::TrialRecord;

/// How long a thread waits at most for trials of other processes before it looks into the store again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a call of [`Study::optimize`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many trials it started; one that was paused and taken up again counts once.
    pub trials: u64,
    /// Why it ended.
    pub reason: StopReason,
}

/// What the threads of one call share.
#[derive(Debug, Default)]
struct Shared {
    started: u64,
    /// How many trials of this call have not come back yet.
    running: u64,
    reason: Option<StopReason>,
    error: Option<TuneError>,
}

/// What a thread does next.
enum Next<'a> {
    Run(Trial<'a>),
    /// Waits until a trial has ended, and looks again.
    Wait,
    Again,
    End,
}

/// A trial of this call that runs; it has come back when this is dropped, also by a panic of a store.
struct Running<'a> {
    study: &'a Study,
    shared: &'a Mutex<Shared>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.lock().running -= 1;
        self.study.ended.notify_all();
    }
}

impl Study {
    /// Runs trials until the budget is spent.
    ///
    /// The objective computes the scores of one trial; it may run on [several threads](Self::with_threads). A panic, an error or NaN fails
    /// that trial only. What it wants to keep between attempts it puts into the trial's [checkpoint folder](Trial::checkpoint_folder).
    ///
    /// A trial that [`ask`](Self::ask) has handed out may have the last cell of a grid, which is free again if it fails, or may have to end
    /// before the next one of an [ordered](Self::with_order) study starts. This call waits for such trials of other threads and processes, as
    /// long as its budget lets it; not for a cell that another `Study` of this process holds. One that the calling thread holds cannot end before this returns, so it is not waited for: its cell stays
    /// its own, and an ordered study that needs its end is refused.
    ///
    /// # Errors
    /// [`TuneError::TooManyPending`] if the study is ordered and the calling thread holds a trial that must end first; if a limit of the budget is not a
    /// number, the store fails, or the space does not suit the sampler. Trials that had started have ended by then.
    pub fn optimize<S: Into<Scores>>(
        &self,
        objective: impl Fn(&mut Trial<'_>) -> Result<S, TrialError> + Sync,
        budget: Budget,
    ) -> Result<Summary, TuneError> {
        budget.check()?;
        self.stop.store(false, Ordering::SeqCst);
        let (start, caller) = (self.clock.monotonic(), std::thread::current().id());
        let shared = Mutex::new(Shared::default());
        #[cfg(feature = "progress")]
        self.progress.start(&budget, self.ended_before(&budget)?);
        *self.deadline.lock() = budget.time.map(|limit| start.saturating_add(limit));
        let run = || {
            loop {
                match self.next(&budget, (start, caller), &shared) {
                    Next::Run(trial) => {
                        let _running = Running { study: self, shared: &shared };
                        if let Err(error) = run_one(trial, &objective) {
                            shared.lock().error.get_or_insert(error);
                        }
                    }
                    Next::Wait => {
                        let mut state = self.state.lock();
                        self.ended.wait_for(&mut state, LOOK_AGAIN);
                    }
                    Next::Again => {}
                    Next::End => break,
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
        *self.deadline.lock() = None;
        #[cfg(feature = "progress")]
        self.progress.end();
        let Shared { started, reason, error, .. } = shared.into_inner();
        match error {
            Some(error) => Err(error),
            None => Ok(Summary { trials: started, reason: reason.unwrap_or(StopReason::Stopped) }),
        }
    }

    /// Whether a trial that [`ask`](Self::ask) handed out, this one or any, may end while the caller waits. One of another process may.
    fn may_end(&self, caller: ThreadId, number: Option<u64>) -> bool {
        let state = self.state.lock();
        match number {
            Some(number) => state.mine.get(&number).is_none_or(|held| held.thread != caller),
            None => state.mine.values().any(|held| held.thread != caller),
        }
    }

    /// What a thread of this call does next. The threads decide one after the other.
    fn next(
        &self,
        budget: &Budget,
        (start, caller): (Duration, ThreadId),
        shared: &Mutex<Shared>,
    ) -> Next<'_> {
        let mut shared = shared.lock();
        if shared.reason.is_some() || shared.error.is_some() {
            return Next::End;
        }
        // A trial that runs has a cell of a grid, which is free again if it fails. Whether one does is looked at before the sampler is asked: the
        // trial may end in between. Trials of `ask` count as well, but for those that the caller holds: they cannot end before this returns.
        let is_any_running = shared.running > 0 || self.may_end(caller, None);
        let asked = self.limits(budget, start, shared.started).and_then(|limit| match limit {
            Limit::Open(what) => self.take(what),
            Limit::Reached(reason) => {
                shared.reason = Some(reason);
                Ok(None)
            }
        });
        match asked {
            Ok(Some(Asked::Run(trial))) => {
                shared.started += 1;
                shared.running += 1;
                Next::Run(trial)
            }
            Ok(Some(Asked::Resumed(trial))) => {
                shared.running += 1;
                Next::Run(trial)
            }
            Ok(Some(Asked::Reused)) => {
                shared.started += 1;
                Next::Again
            }
            Ok(Some(Asked::Claimed)) => Next::Wait,
            // What a trial reports that runs may make a paused one worth going on with.
            Ok(None)
                if shared.reason.is_none()
                    && shared.running > 0
                    && self.state.lock().pruner.pauses() =>
            {
                Next::Wait
            }
            Ok(None) => {
                shared.reason.get_or_insert(StopReason::Trials);
                self.ended.notify_all();
                Next::End
            }
            Err(TuneError::TooManyPending { waits_for, .. })
                if shared.running > 0 || self.may_end(caller, Some(waits_for)) =>
            {
                Next::Wait
            }
            Err(TuneError::Exhausted) if is_any_running => Next::Wait,
            Err(TuneError::Exhausted) => {
                shared.reason = Some(StopReason::Exhausted);
                self.ended.notify_all();
                Next::End
            }
            Err(error) => {
                shared.error = Some(error);
                self.ended.notify_all();
                Next::End
            }
        }
    }

    fn limits(&self, budget: &Budget, start: Duration, started: u64) -> Result<Limit, TuneError> {
        if self.stop.load(Ordering::SeqCst) {
            return Ok(Limit::Reached(StopReason::Stopped));
        }
        if budget.time.is_some_and(|limit| self.clock.monotonic().saturating_sub(start) >= limit) {
            return Ok(Limit::Reached(StopReason::Time));
        }
        let mut state = self.state.lock();
        self.sync(&mut state)?;
        if let Some(reason) = self.good_enough(budget, &state.trials, state.complete) {
            return Ok(Limit::Reached(reason));
        }
        if budget.trials.is_some_and(|limit| started >= limit) {
            return Ok(Limit::Open(Take::Paused));
        }
        Ok(Limit::Open(Take::Any { total: budget.total_trials }))
    }

    /// Whether what has ended so far is enough.
    fn good_enough(
        &self,
        budget: &Budget,
        trials: &[Arc<TrialRecord>],
        complete: u64,
    ) -> Option<StopReason> {
        if budget.complete_trials.is_some_and(|limit| complete >= limit) {
            return Some(StopReason::Trials);
        }
        if budget.cost.is_some_and(|limit| trials.iter().map(|t| t.cost()).sum::<f64>() >= limit) {
            return Some(StopReason::Cost);
        }
        if self.stoppers.iter().any(|stopper| stopper.should_stop(trials, &self.directions)) {
            return Some(StopReason::Stopper);
        }
        let [direction] = self.directions[..] else { return None };
        if budget.target.is_none() && budget.patience.is_none() && budget.plateau.is_none() {
            return None;
        }
        let scores: Vec<f64> = trials.iter().filter_map(|trial| order::score(trial)).collect();
        let (place, best) = direction.best(scores.iter().map(|score| Some(*score)))?;
        if budget.target.is_some_and(|target| !direction.is_better(target, best)) {
            return Some(StopReason::Target);
        }
        let since = (scores.len() - 1 - place) as u64;
        if budget.patience.is_some_and(|patience| since >= patience) {
            return Some(StopReason::Patience);
        }
        let plateau = budget.plateau.filter(|plateau| plateau.is_reached(&scores, direction));
        plateau.map(|_| StopReason::Plateau)
    }
}

/// What the budget says about the next trial.
enum Limit {
    /// Such a one may start.
    Open(Take),
    Reached(StopReason),
}

fn run_one<S: Into<Scores>>(
    mut trial: Trial<'_>,
    objective: &(impl Fn(&mut Trial<'_>) -> Result<S, TrialError> + Sync),
) -> Result<(), TuneError> {
    let outcome = catch_panic(|| objective(&mut trial).map(Into::into));
    let ended = match outcome {
        Ok(Ok(scores)) => trial.tell(scores),
        Ok(Err(TrialError::Pruned)) => trial.prune(),
        Ok(Err(TrialError::Interrupted)) => trial.interrupt(),
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
