//! What can go wrong in a study.

use std::time::Duration;

use mlp_core::StoreError;

use crate::trial::TrialState;

/// A study refused or could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// A parameter of the space or of a suggestion is at fault.
    #[error("parameter {parameter:?}: {reason}")]
    Parameter {
        /// The parameter.
        parameter: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("{setting} is {given}, expected {allowed}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What was given.
        given: String,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// There is nothing left to try: every cell of the grid is done or claimed, every point was tried.
    #[error("the sampler has nothing left to propose")]
    Exhausted,
    /// No trial is complete (and feasible) yet.
    #[error("no trial of the study is complete")]
    NothingComplete,
    /// The study has not the one objective that the call needs.
    #[error("the study has {objectives} objectives, this needs exactly one")]
    NotOneObjective {
        /// How many objectives the study has.
        objectives: usize,
    },
    /// The result has the wrong number of values.
    #[error("{given} values were told, the study has {expected} objectives")]
    WrongNumberOfValues {
        /// How many were told.
        given: usize,
        /// How many objectives there are.
        expected: usize,
    },
    /// The trial already has its result.
    #[error("trial {number} is already {state}")]
    AlreadyFinished {
        /// The number of the trial.
        number: u64,
        /// The state it ended in.
        state: TrialState,
    },
    /// The trial has run for longer than it may, and has failed.
    #[error("trial {number} ran for longer than {} s", .limit.as_secs_f64())]
    Overdue {
        /// The number of the trial.
        number: u64,
        /// How long a trial may run.
        limit: Duration,
    },
    /// The next trial of an ordered study may only start when earlier ones have ended.
    #[error("trial {number} waits for trial {waits_for} to end")]
    TooManyPending {
        /// The trial that would start.
        number: u64,
        /// The trial that must end first.
        waits_for: u64,
    },
    /// The store failed.
    #[error("the study's store failed")]
    Store(#[from] StoreError),
}

impl TuneError {
    pub(crate) fn parameter(parameter: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Parameter { parameter: parameter.into(), reason: reason.into() }
    }

    pub(crate) fn setting(
        setting: &'static str,
        given: impl ToString,
        allowed: &'static str,
    ) -> Self {
        Self::Setting { setting, given: given.to_string(), allowed }
    }
}
