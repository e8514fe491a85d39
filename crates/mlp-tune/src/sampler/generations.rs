//! Trials by generations, as evolutionary samplers mark them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::Direction;

use super::learned::{Learned, News};
use crate::history::History;
use crate::pareto;
use crate::trial::{TrialRecord, TrialState};

/// The complete trials of each generation. Which trials a generation consists of is a matter of the history alone: the first `size` of
/// its complete ones by number.
#[derive(Debug)]
pub(super) struct Generations {
    /// The name of the mark with the number of a trial's generation.
    mark: &'static str,
    learned: Learned,
    members: Vec<BTreeMap<u64, Arc<TrialRecord>>>,
}

impl Generations {
    pub(super) fn new(mark: &'static str) -> Self {
        Self { mark, learned: Learned::default(), members: Vec::new() }
    }

    /// Takes in what has ended since the last time; returns the first generation that has other members than before, if any. `size` is how
    /// many trials each generation consists of, `counts` which of those that bear a mark are members.
    pub(super) fn learn(
        &mut self,
        history: &History<'_>,
        size: impl Fn(usize) -> usize,
        counts: impl Fn(&TrialRecord) -> bool,
    ) -> Option<usize> {
        let News { afresh, ended, .. } = self.learned.news(history);
        let mut changed = None;
        if afresh {
            self.members.clear();
            changed = Some(0);
        }
        for trial in ended.into_iter().filter(|trial| trial.state == TrialState::Complete) {
            let Some(generation) = self.generation_of(trial) else { continue };
            // More generations than trials are somebody else's marks.
            if generation > trial.number as usize || !counts(trial) {
                continue;
            }
            if self.members.len() <= generation {
                self.members.resize_with(generation + 1, BTreeMap::new);
            }
            let kept = Arc::clone(&history.trials[trial.number as usize]);
            self.members[generation].insert(trial.number, kept);
            let position = self.members[generation].range(..trial.number).count();
            if position < size(generation) {
                changed = Some(changed.map_or(generation, |first| generation.min(first)));
            }
        }
        changed
    }

    fn generation_of(&self, trial: &TrialRecord) -> Option<usize> {
        let mark = trial.system.get(self.mark)?;
        let number = mark.as_u64().or_else(|| mark.get(0)?.as_u64())?;
        usize::try_from(number).ok()
    }

    /// The trials that a generation consists of; none if it is not complete.
    pub(super) fn complete(
        &self,
        generation: usize,
        size: usize,
    ) -> Option<Vec<&Arc<TrialRecord>>> {
        let members = self.members.get(generation)?;
        (members.len() >= size).then(|| members.values().take(size).collect())
    }
}

/// The values of a trial as losses.
pub(super) fn losses(trial: &TrialRecord, directions: &[Direction]) -> Vec<f64> {
    pareto::losses(directions, &trial.values)
}
