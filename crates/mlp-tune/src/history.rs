//! The part of a study's past that a decision may look at.

use std::sync::Arc;

use mlp_core::Direction;

use crate::trial::{TrialRecord, TrialState};

/// The trials that a sampler or pruner may look at when it decides about trial `current`.
///
/// In an ordered study these are the same ones whatever the number of threads: trials below a horizon count as finished, those between it
/// and the current one as running.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    pub(crate) trials: &'a [Arc<TrialRecord>],
    pub(crate) current: u64,
    /// Where finished trials end in an ordered study.
    pub(crate) horizon: Option<u64>,
    pub(crate) directions: &'a [Direction],
}

impl<'a> History<'a> {
    /// The finished trials: complete, pruned and failed ones, in the order of their numbers.
    pub fn finished(&self) -> impl DoubleEndedIterator<Item = &'a TrialRecord> + use<'a> {
        let History { horizon, current, .. } = *self;
        self.trials.iter().map(AsRef::as_ref).filter(move |trial| {
            trial.state.is_finished()
                && trial.number != current
                && horizon.is_none_or(|horizon| trial.number < horizon)
        })
    }

    /// The complete trials, in the order of their numbers.
    pub fn complete(&self) -> impl DoubleEndedIterator<Item = &'a TrialRecord> + use<'a> {
        self.finished().filter(|trial| trial.state == TrialState::Complete)
    }

    /// The trials that run beside the current one. In an ordered study they may have ended by now: what they have reported, or chosen while they run, is a matter of
    /// time.
    pub fn running(&self) -> impl DoubleEndedIterator<Item = &'a TrialRecord> + use<'a> {
        let History { horizon, current, .. } = *self;
        self.trials.iter().map(AsRef::as_ref).filter(move |trial| {
            trial.number != current
                && match horizon {
                    Some(horizon) => trial.number >= horizon && trial.number < current,
                    None => trial.state == TrialState::Running,
                }
        })
    }

    /// The number of the trial that the decision is about.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.current
    }

    /// The directions of the objectives.
    #[must_use]
    pub fn directions(&self) -> &'a [Direction] {
        self.directions
    }
}
