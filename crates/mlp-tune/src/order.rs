//! Which of two results is better.

use crate::trial::{TrialRecord, TrialState};

/// The first value of a trial that may win: complete and feasible.
pub(crate) fn score(trial: &TrialRecord) -> Option<f64> {
    let may_win = trial.state == TrialState::Complete && trial.is_feasible();
    trial.value().filter(|_| may_win)
}
