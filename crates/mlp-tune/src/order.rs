//! Which of two results is better.

use std::cmp::Ordering;

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

/// The front of each result: 0 for those that nothing dominates, 1 for those that only these dominate, and so on.
pub(crate) fn fronts(directions: &[Direction], results: &[&[f64]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..results.len()).collect();
    // Whatever dominates a result stands before it.
    order.sort_by(|&one, &other| {
        let pairs = results[one].iter().zip(results[other]).zip(directions);
        let compared = pairs.map(|((one, other), direction)| match direction {
            Direction::Minimize => one.total_cmp(other),
            Direction::Maximize => other.total_cmp(one),
        });
        compared.fold(Ordering::Equal, Ordering::then)
    });
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut fronts = vec![0; results.len()];
    for place in order {
        let is_dominated = |front: &Vec<usize>| {
            front.iter().any(|&other| dominates(directions, results[other], results[place]))
        };
        let front = members.iter().position(|front| !is_dominated(front));
        fronts[place] = front.unwrap_or(members.len());
        match front {
            Some(front) => members[front].push(place),
            None => members.push(vec![place]),
        }
    }
    fronts
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

    #[test]
    fn a_front_is_dominated_by_the_one_before_it_only() {
        let directions = [Direction::Minimize, Direction::Maximize];
        let results: [&[f64]; 5] =
            [&[0.0, 1.0], &[1.0, 3.0], &[2.0, 2.0], &[2.0, 2.0], &[3.0, 1.0]];
        assert_eq!(fronts(&directions, &results), [0, 0, 1, 1, 2]);
    }
}
