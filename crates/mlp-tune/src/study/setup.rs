//! What a study is made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use mlp_core::{Clock, Direction, SearchSpace, SystemClock};
use parking_lot::{Condvar, Mutex};
use serde_json::json;

use super::instance::Instance;
use super::state::State;
use super::{Callback, Duplicates, Study};
use crate::budget::Stopper;
use crate::error::TuneError;
use crate::observer::TrialObserver;
use crate::pruner::Pruner;
use crate::sampler::Sampler;
use crate::store::StudyStore;
use crate::store::journal::Journal;
use crate::store::memory::MemoryStore;
use crate::trial::TrialRecord;

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
            instance: Instance::new(),
            seed: 0,
            threads: 1,
            pending: None,
            lease: Duration::from_secs(3600),
            attempts: 3,
            trial_limit: None,
            duplicates: Duplicates::Allow,
            inputs: None,
            checkpoints: None,
            store: Arc::new(MemoryStore::new()),
            observers: Vec::new(),
            callbacks: Vec::new(),
            stoppers: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            ended: Condvar::new(),
            stop: AtomicBool::new(false),
            deadline: Mutex::new(None),
            panics: AtomicU64::new(0),
            #[cfg(feature = "progress")]
            progress: super::progress::Progress::default(),
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
    ///
    /// [`GridSampler`](crate::GridSampler) and [`BruteForceSampler`](crate::BruteForceSampler) must know what is taken by now: under them it may depend on
    /// the threads which trial tries a point again that failed, and for brute force which one gets a point that trials choose while they run.
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

    /// Sets how long a trial may run before it is failed, if it hangs: at its next report, or by another thread or trial of this study. The objective itself cannot be
    /// stopped: its thread is lost until it returns, and what it returns is too late.
    #[must_use]
    pub fn with_trial_limit(mut self, limit: Duration) -> Self {
        self.trial_limit = Some(limit);
        self
    }

    /// Sets what happens when the sampler proposes what was tried before.
    #[must_use]
    pub fn with_duplicates(mut self, duplicates: Duplicates) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Sets the versions of the data and of the code that trials run with, such as the fingerprint of a dataset and a commit: what was tried with others was
    /// [not the same](Duplicates). They are kept with each trial; one that goes on after an interruption, a pause or the death of its process has those of
    /// the study that it goes on in.
    #[must_use]
    pub fn with_inputs(mut self, data: impl Into<String>, code: impl Into<String>) -> Self {
        self.inputs = Some(json!({"data": data.into(), "code": code.into()}));
        self
    }

    /// Sets the folder in which [trials keep](crate::Trial::checkpoint_folder) what they need to go on where they stopped. Those of the study's name there are this
    /// study's: a trial finds what it kept itself and removes what others of its number have left, so studies of one name in different stores need different folders.
    #[must_use]
    pub fn with_checkpoints(mut self, folder: impl Into<PathBuf>) -> Self {
        self.checkpoints = Some(folder.into());
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

    /// Adds a function that is called with every trial that has ended, as an observer is, and may [stop](Self::stop) the study.
    #[must_use]
    pub fn with_callback(
        mut self,
        callback: impl Fn(&Self, &TrialRecord) + Send + Sync + 'static,
    ) -> Self {
        self.callbacks.push(Callback(Box::new(callback)));
        self
    }

    /// Adds somebody who decides when `optimize` ends.
    #[must_use]
    pub fn with_stopper(mut self, stopper: Arc<dyn Stopper>) -> Self {
        self.stoppers.push(stopper);
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}
