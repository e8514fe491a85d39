//! How much a call of `optimize` may spend, and when it stops earlier.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::Direction;
use serde::{Deserialize, Serialize};

use crate::error::TuneError;
use crate::trial::TrialRecord;

/// Limits of one call of [`Study::optimize`](crate::Study::optimize). Whatever is reached first ends it; without any limit it ends when
/// the sampler has nothing left, or [`Study::stop`](crate::Study::stop) is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Budget {
    /// How many trials this call may start. Those that a pruner has paused are taken up beyond it.
    pub trials: Option<u64>,
    /// How many trials the study may have in all, whoever ran them.
    pub total_trials: Option<u64>,
    /// How many complete trials the study shall have.
    pub complete_trials: Option<u64>,
    /// After which time no further trial starts.
    pub time: Option<Duration>,
    /// What the trials of the study may cost in all, as far as their objectives [say](crate::Trial::add_cost); no further trial starts then.
    pub cost: Option<f64>,
    /// The score that is good enough (one objective).
    pub target: Option<f64>,
    /// How many complete trials in a row may bring no better score (one objective).
    pub patience: Option<u64>,
    /// When the best scores are all alike (one objective).
    pub plateau: Option<Plateau>,
}

/// The best scores do not differ any more: the standard deviation of the best `top` ones has not been above `spread` since `patience` complete trials
/// (Ray Tune's `ExperimentPlateauStopper`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Plateau {
    /// How many of the best scores are compared (10); at least 2.
    pub top: usize,
    /// The largest standard deviation that is a plateau (0.001).
    pub spread: f64,
    /// For how many complete trials it must have lasted (0).
    pub patience: u64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { top: 10, spread: 0.001, patience: 0 }
    }
}

impl Plateau {
    /// A plateau of so many best scores within such a standard deviation.
    #[must_use]
    pub fn new(top: usize, spread: f64) -> Self {
        Self { top: top.max(2), spread, patience: 0 }
    }

    /// Sets for how many complete trials it must have lasted.
    #[must_use]
    pub fn with_patience(mut self, trials: u64) -> Self {
        self.patience = trials;
        self
    }

    /// Whether scores, in the order of their trials, have reached it.
    pub(crate) fn is_reached(&self, scores: &[f64], direction: Direction) -> bool {
        let top = self.top.max(2);
        let mut best: Vec<f64> = Vec::new();
        let mut lasted = 0;
        for &score in scores {
            let place = best.partition_point(|other| !direction.is_better(score, *other));
            best.insert(place, score);
            best.truncate(top);
            let mean = best.iter().sum::<f64>() / top as f64;
            let variance = best.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / top as f64;
            // Infinite scores have no deviation: they are no plateau.
            let flat = best.len() == top && variance.sqrt() <= self.spread;
            lasted = if flat { lasted + 1 } else { 0 };
        }
        lasted > self.patience
    }
}

impl Budget {
    /// Refuses limits that are no numbers: none would ever be reached, or every one at once.
    pub(crate) fn check(&self) -> Result<(), TuneError> {
        let spread = self.plateau.map(|plateau| plateau.spread);
        let limits = [
            ("the budget's target", self.target),
            ("the budget's cost", self.cost),
            ("the spread of the budget's plateau", spread),
        ];
        for (setting, limit) in limits {
            if let Some(limit) = limit.filter(|limit| limit.is_nan()) {
                return Err(TuneError::setting(setting, limit, "a number"));
            }
        }
        Ok(())
    }
}

/// Decides when a study ends, beside its budget.
pub trait Stopper: Debug + Send + Sync {
    /// Whether the study has come far enough; asked before each trial, with every trial there is.
    fn should_stop(&self, trials: &[Arc<TrialRecord>], directions: &[Direction]) -> bool;
}

impl Budget {
    /// At most this many trials in this call.
    #[must_use]
    pub fn trials(trials: u64) -> Self {
        Self { trials: Some(trials), ..Self::default() }
    }

    /// Until the study has this many trials, those of earlier calls and processes among them: what a resumed study wants.
    #[must_use]
    pub fn total_trials(trials: u64) -> Self {
        Self { total_trials: Some(trials), ..Self::default() }
    }

    /// No limit but those added.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// Ends when the study has this many complete trials.
    #[must_use]
    pub fn with_complete_trials(mut self, trials: u64) -> Self {
        self.complete_trials = Some(trials);
        self
    }

    /// Starts no trial after this time. Running trials end by themselves.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Starts no trial when those of the study have cost so much.
    #[must_use]
    pub fn with_cost(mut self, cost: f64) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Ends when the best scores are all alike.
    #[must_use]
    pub fn with_plateau(mut self, plateau: Plateau) -> Self {
        self.plateau = Some(plateau);
        self
    }

    /// Ends when a score reaches the target.
    #[must_use]
    pub fn with_target(mut self, score: f64) -> Self {
        self.target = Some(score);
        self
    }

    /// Ends when so many complete trials in a row brought no better score.
    #[must_use]
    pub fn with_patience(mut self, trials: u64) -> Self {
        self.patience = Some(trials);
        self
    }
}

/// Why a call of `optimize` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// A number of trials was reached.
    Trials,
    /// The time is over.
    Time,
    /// The cost is spent.
    Cost,
    /// The target was reached.
    Target,
    /// The patience is over.
    Patience,
    /// The best scores are all alike.
    Plateau,
    /// A [`Stopper`] said so.
    Stopper,
    /// The sampler has nothing left to propose.
    Exhausted,
    /// Somebody called [`Study::stop`](crate::Study::stop).
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plateau_is_a_small_spread_of_the_best_for_long_enough() {
        let plateau = Plateau::new(3, 0.1);
        let reached = |scores: &[f64]| plateau.is_reached(scores, Direction::Minimize);
        assert!(!reached(&[1.0, 1.0]), "too few");
        assert!(reached(&[5.0, 1.0, 1.01, 0.99, 7.0]));
        assert!(!reached(&[5.0, 1.0, 1.01, 0.99, 7.0, 0.5]), "a better one");
        assert!(!reached(&[f64::INFINITY; 5]));
        let patient = plateau.with_patience(2);
        assert!(!patient.is_reached(&[1.0; 4], Direction::Maximize));
        assert!(patient.is_reached(&[1.0; 5], Direction::Maximize));
    }
}
