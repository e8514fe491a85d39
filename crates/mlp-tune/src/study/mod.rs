//! A study: what is searched, how, and what came of it so far.

mod ask;
mod checkpoint;
mod duplicates;
mod insight;
mod instance;
mod learnt;
mod lease;
mod optimize;
#[cfg(feature = "progress")]
mod progress;
mod setup;
mod state;
mod suggest;
mod trial;

pub use duplicates::Duplicates;
pub use insight::{HistoryPoint, SlicePoint, TrialTable};
pub use optimize::Summary;
pub use trial::Trial;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::{Clock, Direction, Params, SearchSpace, StoreError, catch_panic};
use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use crate::budget::Stopper;
use crate::error::TuneError;
use crate::observer::TrialObserver;
use crate::pareto::{front_numbers, losses};
use crate::pruner::{NoPruner, Pruner};
use crate::store::StudyStore;
use crate::trial::TrialRecord;
use instance::Instance;
use state::State;

/// A search for good parameters: a space, a sampler, perhaps a pruner, and the trials so far.
///
/// A study with a [journal](Self::with_journal) goes on where it stopped, in this process, another one, or several at once. The k-th trial
/// depends on the space, the seed, k and the visible history alone, so 15 trials, a restart and 15 more are the same 30 trials. A trial whose
/// process died is run again under its own number, with its own parameters.
///
/// ```
/// use mlp_core::{Dimension, Direction, SearchSpace};
/// use mlp_tune::{Budget, Study};
///
/// let space = SearchSpace::new([Dimension::float("x", -5.0, 5.0)])?;
/// let study = Study::new(space, Direction::Minimize).with_seed(7);
/// study.optimize(
///     |trial| {
///         let x = trial.float("x")?;
///         Ok((x - 2.0).powi(2))
///     },
///     Budget::trials(30),
/// )?;
/// assert!(study.best()?.value() < Some(1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Study {
    space: SearchSpace,
    directions: Vec<Direction>,
    name: String,
    /// Tells this study from others of the process.
    instance: Instance,
    seed: u64,
    threads: usize,
    /// How many trials may be pending when the next starts, in an ordered study.
    pending: Option<u64>,
    lease: Duration,
    attempts: u64,
    trial_limit: Option<Duration>,
    duplicates: Duplicates,
    /// The versions of data and code.
    inputs: Option<Value>,
    checkpoints: Option<PathBuf>,
    store: Arc<dyn StudyStore>,
    observers: Vec<Arc<dyn TrialObserver>>,
    callbacks: Vec<Callback>,
    stoppers: Vec<Arc<dyn Stopper>>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    ended: Condvar,
    stop: AtomicBool,
    /// When the time of the running `optimize` is over, by the monotonic clock.
    deadline: Mutex<Option<Duration>>,
    panics: AtomicU64,
    #[cfg(feature = "progress")]
    progress: progress::Progress,
}

type EndOfTrial = dyn Fn(&Study, &TrialRecord) + Send + Sync;

/// A function that is called when a trial has ended.
struct Callback(Box<EndOfTrial>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl Study {
    /// Where is searched.
    #[must_use]
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// The name of the study.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends the running `optimize` after the trials that have started; from an objective, a callback, or another thread. A long objective may look whether its
    /// trial [is stopping](Trial::is_stopping).
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.ended.notify_all();
    }

    /// Whether the running `optimize` is to end: somebody called [`stop`](Self::stop), or its budget of time is spent.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        let is_late = |deadline| self.clock.monotonic() >= deadline;
        self.stop.load(Ordering::SeqCst) || self.deadline.lock().is_some_and(is_late)
    }

    /// Tells everybody that a trial has ended.
    fn announce(&self, trial: &TrialRecord) {
        self.forget_checkpoints(trial.number);
        self.ended.notify_all();
        let caught = |tell: &dyn Fn()| {
            if catch_panic(tell).is_err() {
                self.panics.fetch_add(1, Ordering::Relaxed);
            }
        };
        for observer in &self.observers {
            caught(&|| observer.trial_finished(&self.name, trial));
        }
        for Callback(callback) in &self.callbacks {
            caught(&|| callback(self, trial));
        }
        #[cfg(feature = "progress")]
        self.advance();
    }

    /// Ends the trials that a pruner has paused and that nobody takes up any more, as pruned, and returns how many they were. In a store a paused trial
    /// counts as running. Those that somebody else takes up or ends meanwhile are left to them.
    ///
    /// # Errors
    /// If the store fails; those that were not ended by then stay paused.
    pub fn prune_paused(&self) -> Result<u64, TuneError> {
        let paused: Vec<Trial<'_>> = {
            let mut state = self.state.lock();
            self.sync(&mut state)?;
            let paused = state.paused.iter().map(|&number| &state.trials[number as usize]);
            paused.map(|trial| Trial::new(self, trial)).collect()
        };
        let (mut count, mut paused) = (0, paused.into_iter());
        while let Some(trial) = paused.next() {
            match trial.prune() {
                Ok(()) => count += 1,
                // Somebody else has ended it, or taken it up.
                Err(
                    TuneError::AlreadyFinished { .. }
                    | TuneError::Store(StoreError::Conflict { .. }),
                ) => {}
                Err(error) => {
                    paused.for_each(Trial::leave);
                    return Err(error);
                }
            }
        }
        Ok(count)
    }

    /// How often an observer or a callback panicked.
    #[must_use]
    pub fn observer_panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Every trial, in the order of their numbers.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn trials(&self) -> Result<Vec<Arc<TrialRecord>>, TuneError> {
        let mut state = self.state.lock();
        self.sync(&mut state)?;
        Ok(state.trials.clone())
    }

    /// The direction of the only objective.
    fn direction(&self) -> Result<Direction, TuneError> {
        match self.directions[..] {
            [direction] => Ok(direction),
            _ => Err(TuneError::NotOneObjective { objectives: self.directions.len() }),
        }
    }

    /// The best complete trial that respects its constraints; the first of equal ones.
    ///
    /// # Errors
    /// If no trial is complete and feasible, there are several objectives, or the store cannot be read.
    pub fn best(&self) -> Result<Arc<TrialRecord>, TuneError> {
        let direction = self.direction()?;
        let trials = self.trials()?;
        let scores = trials.iter().map(|trial| crate::order::score(trial));
        let (place, _) = direction.best(scores).ok_or(TuneError::NothingComplete)?;
        Ok(Arc::clone(&trials[place]))
    }

    /// The complete and feasible trials that no other one dominates: none is at least as good in every objective and better in one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn pareto_front(&self) -> Result<Vec<Arc<TrialRecord>>, TuneError> {
        let trials = self.trials()?;
        let may_win = |trial: &&Arc<TrialRecord>| crate::order::score(trial).is_some();
        let candidates: Vec<_> = trials.iter().filter(may_win).collect();
        let losses: Vec<_> =
            candidates.iter().map(|trial| losses(&self.directions, &trial.values)).collect();
        let fronts = candidates.into_iter().zip(front_numbers(&losses));
        Ok(fronts.filter(|(_, front)| *front == 0).map(|(trial, _)| Arc::clone(trial)).collect())
    }

    /// Attaches a note of one's own to the study, or replaces the one of that name. Whoever opens the study sees it: Python's
    /// `study.user_attrs` on a [journal](Self::with_journal), for one.
    ///
    /// ```
    /// use mlp_core::{Dimension, Direction, SearchSpace};
    /// use mlp_tune::Study;
    ///
    /// let space = SearchSpace::new([Dimension::float("x", -5.0, 5.0)])?;
    /// let study = Study::new(space, Direction::Minimize);
    /// study.set_attribute("dataset", "wine, 2026-11")?;
    /// study.set_attribute("folds", 5)?;
    /// assert_eq!(study.attributes()?["folds"], 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the store fails.
    pub fn set_attribute(&self, name: &str, value: impl Into<Value>) -> Result<(), TuneError> {
        let id = self.sync(&mut self.state.lock())?;
        Ok(self.store.set_attribute(id, name, &value.into())?)
    }

    /// What was [attached](Self::set_attribute) to the study, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn attributes(&self) -> Result<BTreeMap<String, Value>, TuneError> {
        let id = self.sync(&mut self.state.lock())?;
        Ok(self.store.attributes(id)?)
    }

    /// Puts parameters into the queue: the next trial tries them, before the sampler is asked. Parameters that are not given are left to the
    /// sampler. First in, first out, over all processes of the study. Names that are not in the space are for parameters that the trial
    /// [chooses](Trial::suggest) while it runs; the trial's attribute `mlp:warnings` lists them.
    ///
    /// # Errors
    /// If a parameter of the space is no number where one is needed, or is none of the choices. A number out of its range is
    /// taken, and listed in `mlp:warnings`: whoever enqueues it knows why.
    pub fn enqueue(&self, params: &Params) -> Result<(), TuneError> {
        ask::enqueue(self, params)
    }
}

/// The default pruner.
fn no_pruner() -> Box<dyn Pruner> {
    Box::new(NoPruner)
}
