//! Which of two results is better.

use mlp_core::Direction;

use crate::trial::{TrialRecord, TrialState};

/// The first value of a trial that may win: complete and feasible.
pub(crate) fn score(trial: &TrialRecord) -> Option<f64> {
    let may_win = trial.state == TrialState::Complete && trial.is_feasible();
    trial.value().filter(|_| may_win)
}

/// Whether `one` is at least as good as `other` everywhere, and better somewhere.
pub(crate) fn dominates(directions: &[Direction], one: &[f64], other: &[f64]) -> bool {
    let pairs = || directions.iter().zip(one.iter().zip(other));
    !pairs().any(|(direction, (one, other))| direction.is_better(*other, *one))
        && pairs().any(|(direction, (one, other))| direction.is_better(*one, *other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_and_the_equal_do_not_dominate() {
        let directions = [Direction::Minimize, Direction::Maximize];
        assert!(dominates(&directions, &[1.0, 3.0], &[2.0, 2.0]));
        assert!(!dominates(&directions, &[0.0, 1.0], &[1.0, 3.0]));
        assert!(!dominates(&directions, &[1.0, 1.0], &[1.0, 1.0]));
    }
}
