//! What a study keeps in memory: a mirror of the store, and what was made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use mlp_core::{Domain, SearchSpace};

use super::Study;
use super::duplicates::Known;
use super::learnt::Learnt;
use crate::error::TuneError;
use crate::history::History;
use crate::pruner::Pruner;
use crate::sampler::Sampler;
use crate::sampler::tpe::TpeSampler;
use crate::store::StudyId;
use crate::trial::{TrialRecord, TrialState};

/// A trial that this study runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// When it started, by the monotonic clock.
    pub(super) started: Duration,
    /// The thread that it was handed to.
    pub(super) thread: ThreadId,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) sampler: Box<dyn Sampler>,
    pub(super) pruner: Box<dyn Pruner>,
    pub(super) learnt: Learnt,
    pub(super) known: Known,
    pub(super) domains: Arc<BTreeMap<String, Domain>>,
    pub(super) id: Option<StudyId>,
    pub(super) revision: u64,
    pub(super) trials: Vec<Arc<TrialRecord>>,
    /// The numbers of the trials that have not ended.
    pub(super) open: BTreeSet<u64>,
    /// Those among them that a pruner has paused.
    pub(super) paused: BTreeSet<u64>,
    /// Those among them that are enqueued.
    pub(super) waiting: BTreeSet<u64>,
    /// Those among them that this study runs.
    pub(super) mine: BTreeMap<u64, Held>,
    /// How many trials are complete.
    pub(super) complete: u64,
}

impl State {
    pub(super) fn new(space: &SearchSpace) -> Self {
        let domains = space.dimensions().iter().map(|d| (d.name.clone(), d.domain.clone()));
        Self {
            sampler: Box::new(TpeSampler::default()),
            pruner: super::no_pruner(),
            learnt: Learnt::default(),
            known: Known::default(),
            domains: Arc::new(domains.collect()),
            id: None,
            revision: 0,
            trials: Vec::new(),
            open: BTreeSet::new(),
            paused: BTreeSet::new(),
            waiting: BTreeSet::new(),
            mine: BTreeMap::new(),
            complete: 0,
        }
    }

    /// Takes in one trial as the store has it now. A finished one never changes again.
    fn take_in(&mut self, trial: Arc<TrialRecord>) {
        let number = trial.number;
        let mut mark = |set: fn(&mut Self) -> &mut BTreeSet<u64>, is_in: bool| {
            let set = set(self);
            if is_in {
                set.insert(number);
            } else {
                set.remove(&number);
            }
        };
        mark(|state| &mut state.open, !trial.state.is_finished());
        mark(|state| &mut state.waiting, trial.state == TrialState::Waiting);
        mark(|state| &mut state.paused, trial.is_paused());
        if trial.state.is_finished() {
            self.mine.remove(&number);
            self.complete += u64::from(trial.state == TrialState::Complete);
        }
        match self.trials.get_mut(number as usize) {
            Some(place) => *place = trial,
            None => self.trials.push(trial),
        }
    }
}

impl Study {
    /// Brings the mirror up to date, and opens the study the first time.
    pub(super) fn sync(&self, state: &mut State) -> Result<StudyId, TuneError> {
        let id = match state.id {
            Some(id) => id,
            None => *state.id.insert(self.store.open_study(&self.name, &self.directions)?),
        };
        let changes = self.store.changes(id, state.revision)?;
        state.revision = changes.revision;
        changes.trials.into_iter().for_each(|trial| state.take_in(trial));
        Ok(id)
    }

    pub(super) fn history<'a>(
        &'a self,
        trials: &'a [Arc<TrialRecord>],
        number: u64,
    ) -> History<'a> {
        let horizon = self.pending.map(|pending| (number + 1).saturating_sub(pending));
        History { trials, current: number, horizon, directions: &self.directions }
    }
}
