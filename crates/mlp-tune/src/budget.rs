//! How much a call of `optimize` may spend, and when it stops earlier.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of one call of [`Study::optimize`](crate::Study::optimize). Whatever is reached first ends it; without any limit it ends when
/// the sampler has nothing left, or [`Study::stop`](crate::Study::stop) is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Budget {
    /// How many trials this call may run.
    pub trials: Option<u64>,
    /// How many trials the study may have in all, whoever ran them.
    pub total_trials: Option<u64>,
    /// How many complete trials the study shall have.
    pub complete_trials: Option<u64>,
    /// After which time no further trial starts.
    pub time: Option<Duration>,
    /// The score that is good enough (one objective).
    pub target: Option<f64>,
    /// How many complete trials in a row may bring no better score (one objective).
    pub patience: Option<u64>,
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
    /// The target was reached.
    Target,
    /// The patience is over.
    Patience,
    /// The sampler has nothing left to propose.
    Exhausted,
    /// Somebody called [`Study::stop`](crate::Study::stop).
    Stopped,
}
