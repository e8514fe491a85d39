//! A study: what is searched, how, and what came of it so far.

mod ask;
mod learnt;
mod optimize;

mod state;
mod trial;

pub use optimize::Summary;
pub use trial::Trial;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::{Clock, Direction, Params, SearchSpace, SystemClock};
use parking_lot::{Condvar, Mutex};

use crate::error::TuneError;
use crate::observer::TrialObserver;
use crate::pruner::{NoPruner, Pruner};
use crate::sampler::Sampler;
use crate::store::StudyStore;
use crate::store::journal::Journal;
use crate::store::memory::MemoryStore;
use crate::trial::TrialRecord;
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
    seed: u64,
    threads: usize,
    /// How many trials may be pending when the next starts, in an ordered study.
    pending: Option<u64>,
    lease: Duration,
    attempts: u64,
    store: Arc<dyn StudyStore>,
    observers: Vec<Arc<dyn TrialObserver>>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    ended: Condvar,
    stop: AtomicBool,
    panics: AtomicU64,
}

impl Study {
    /// A study of one objective, in memory, called `study`, with the TPE sampler, seed 0, one thread and no pruner.
    #[must_use]
    pub fn new(space: SearchSpace, direction: Direction) -> Self {
        Self::with_directions(space, vec![direction])
    }

    /// A study of several objectives.
    ///
    /// # Errors
    /// If there is no objective.
    pub fn with_objectives(
        space: SearchSpace,
        directions: impl IntoIterator<Item = Direction>,
    ) -> Result<Self, TuneError> {
        let directions: Vec<_> = directions.into_iter().collect();
        if directions.is_empty() {
            return Err(TuneError::setting("the number of objectives", 0, "at least 1"));
        }
        Ok(Self::with_directions(space, directions))
    }

    fn with_directions(space: SearchSpace, directions: Vec<Direction>) -> Self {
        Self {
            state: Mutex::new(State::new(&space)),
            space,
            directions,
            name: "study".to_owned(),
            seed: 0,
            threads: 1,
            pending: None,
            lease: Duration::from_secs(3600),
            attempts: 3,
            store: Arc::new(MemoryStore::new()),
            observers: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            ended: Condvar::new(),
            stop: AtomicBool::new(false),
            panics: AtomicU64::new(0),
        }
    }

    /// Sets who proposes.
    #[must_use]
    pub fn with_sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.state.get_mut().sampler = Box::new(sampler);
        self
    }

    /// Sets who stops trials early.
    #[must_use]
    pub fn with_pruner(mut self, pruner: impl Pruner + 'static) -> Self {
        self.state.get_mut().pruner = Box::new(pruner);
        self
    }

    /// Sets the seed of every random choice.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the name under which the store keeps the study.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how many threads `optimize` runs trials on; at least 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Makes the trials independent of the number of threads: trial k starts when all trials up to k − `pending` have ended, and its
    /// parameters and its pruning depend on these alone. Up to `pending` trials run at once, so it should be the number of threads or a little
    /// more. Without this, a trial learns from whatever has ended when it starts.
    #[must_use]
    pub fn with_order(mut self, pending: u64) -> Self {
        self.pending = Some(pending.max(1));
        self
    }

    /// Sets how long a trial of a process on another machine may be silent before it is run again (default: an hour). The trials of a dead
    /// process on this machine are run again at once.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how often a trial is run whose process dies, before it is failed (default: 3).
    #[must_use]
    pub fn with_attempts(mut self, attempts: u64) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Keeps the study in a store, and continues the study of its name if there is one.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn StudyStore>) -> Self {
        self.store = store;
        self
    }

    /// Keeps the study in a journal file, and continues the study of its name if the file has one. See [`Journal`].
    ///
    /// # Errors
    /// If the file cannot be opened or read.
    pub fn with_journal(self, path: impl AsRef<Path>) -> Result<Self, TuneError> {
        Ok(self.with_store(Arc::new(Journal::open(path)?)))
    }

    /// Adds somebody who hears about every trial.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn TrialObserver>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

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

    /// Ends the running `optimize` after the trials that have started; from an objective, an observer, or another thread.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.ended.notify_all();
    }

    /// How often an observer panicked.
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

    /// The best complete trial that respects its constraints; the first of equal ones.
    ///
    /// # Errors
    /// If no trial is complete and feasible, there are several objectives, or the store cannot be read.
    pub fn best(&self) -> Result<Arc<TrialRecord>, TuneError> {
        let [direction] = self.directions[..] else {
            return Err(TuneError::NotOneObjective { objectives: self.directions.len() });
        };
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
        let candidates: Vec<_> =
            trials.iter().filter(|trial| crate::order::score(trial).is_some()).collect();
        let dominated = |trial: &TrialRecord| {
            candidates.iter().any(|other| {
                crate::order::dominates(&self.directions, &other.values, &trial.values)
            })
        };
        Ok(candidates.iter().filter(|trial| !dominated(trial)).map(|t| Arc::clone(t)).collect())
    }

    /// Puts parameters into the queue: the next trial tries them, before the sampler is asked. Parameters that are not given are left to the
    /// sampler. First in, first out, over all processes of the study.
    ///
    /// # Errors
    /// If a parameter is not in the space, or is no number where one is needed, or is none of the choices. A number out of its range is
    /// taken: whoever enqueues it knows why.
    pub fn enqueue(&self, params: &Params) -> Result<(), TuneError> {
        ask::enqueue(self, params)
    }
}

/// The default pruner.
fn no_pruner() -> Box<dyn Pruner> {
    Box::new(NoPruner)
}
