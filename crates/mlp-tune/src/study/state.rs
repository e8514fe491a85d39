//! What a study keeps in memory: a mirror of the store, and what was made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlp_core::{Domain, SearchSpace};

use super::Study;
use super::learnt::Learnt;
use crate::error::TuneError;
use crate::history::History;
use crate::pruner::Pruner;
use crate::sampler::Sampler;
use crate::sampler::tpe::TpeSampler;
use crate::store::StudyId;
use crate::trial::TrialRecord;

#[derive(Debug)]
pub(super) struct State {
    pub(super) sampler: Box<dyn Sampler>,
    pub(super) pruner: Box<dyn Pruner>,
    pub(super) learnt: Learnt,
    pub(super) domains: Arc<BTreeMap<String, Domain>>,
    pub(super) id: Option<StudyId>,
    pub(super) revision: u64,
    pub(super) trials: Vec<Arc<TrialRecord>>,
    /// The numbers of the trials that have not ended.
    pub(super) open: BTreeSet<u64>,
    /// The numbers of the trials that this study runs.
    pub(super) mine: BTreeSet<u64>,
}

impl State {
    pub(super) fn new(space: &SearchSpace) -> Self {
        let domains = space.dimensions().iter().map(|d| (d.name.clone(), d.domain.clone()));
        Self {
            sampler: Box::new(TpeSampler::default()),
            pruner: super::no_pruner(),
            learnt: Learnt::default(),
            domains: Arc::new(domains.collect()),
            id: None,
            revision: 0,
            trials: Vec::new(),
            open: BTreeSet::new(),
            mine: BTreeSet::new(),
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
        for trial in changes.trials {
            let number = trial.number;
            if trial.state.is_finished() {
                state.open.remove(&number);
                state.mine.remove(&number);
            } else {
                state.open.insert(number);
            }
            match state.trials.get_mut(number as usize) {
                Some(place) => *place = trial,
                None => state.trials.push(trial),
            }
        }
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
