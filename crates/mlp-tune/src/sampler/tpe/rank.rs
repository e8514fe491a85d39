//! How good trials are, for telling good ones from others.

use std::cmp::Ordering;

use mlp_core::Direction;

use crate::hypervolume::select_by_volume;
use crate::pareto::{self, front_numbers};
use crate::trial::{TrialRecord, TrialState};

/// How good a trial is: the smaller, the better. Complete and feasible ones by their loss, then pruned and paused ones, the farther they came the better,
/// then infeasible ones by their violation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rank {
    class: u8,
    first: f64,
    second: f64,
}

impl Rank {
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let firsts = self.first.total_cmp(&other.first);
        let seconds = self.second.total_cmp(&other.second);
        self.class.cmp(&other.class).then(firsts).then(seconds)
    }

    /// The loss that weights are made of: that of complete and feasible trials.
    pub(super) fn loss(&self) -> f64 {
        if self.class == 0 { self.first } else { f64::INFINITY }
    }
}

/// The value as something to minimise.
fn loss(direction: Direction, value: f64) -> f64 {
    if direction == Direction::Minimize { value } else { -value }
}

/// The rank of a trial of a study with one objective.
pub(super) fn rank(trial: &TrialRecord, direction: Direction) -> Rank {
    if !trial.is_feasible() {
        return Rank { class: 2, first: trial.violation(), second: 0.0 };
    }
    if trial.state == TrialState::Pruned || trial.is_paused() {
        let last = trial.reports.last_key_value();
        let first = last.map_or(1.0, |(step, _)| -(*step as f64));
        let second = last.map_or(0.0, |(_, value)| loss(direction, *value));
        let second = if second.is_nan() { f64::INFINITY } else { second };
        return Rank { class: 1, first, second };
    }
    let first = trial.value().map_or(f64::INFINITY, |value| loss(direction, value));
    Rank { class: 0, first, second: 0.0 }
}

/// The ranks of all trials of a study with several objectives: complete and feasible ones by the number of their front, and those of the
/// front in which the `good`-th stands by their share of its hypervolume, chosen greedily.
pub(super) fn ranks(trials: &[&TrialRecord], directions: &[Direction], good: usize) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = trials.iter().map(|trial| rank(trial, directions[0])).collect();
    let complete: Vec<usize> = (0..trials.len())
        .filter(|&k| ranks[k].class == 0 && trials[k].values.len() == directions.len())
        .collect();
    let losses: Vec<Vec<f64>> =
        complete.iter().map(|&k| pareto::losses(directions, &trials[k].values)).collect();
    let fronts = front_numbers(&losses);
    for (&k, &front) in complete.iter().zip(&fronts) {
        ranks[k].first = front as f64;
    }
    let better = |front: usize| fronts.iter().filter(|&&other| other < front).count();
    let Some(edge) = (0..complete.len()).find(|&front| better(front + 1) >= good) else {
        return ranks;
    };
    let members: Vec<usize> = (0..complete.len()).filter(|&k| fronts[k] == edge).collect();
    let wanted = good.saturating_sub(better(edge)).min(members.len());
    if wanted < members.len() {
        let points: Vec<Vec<f64>> = members.iter().map(|&k| losses[k].clone()).collect();
        members.iter().for_each(|&k| ranks[complete[k]].second = 1.0);
        for place in select_by_volume(&points, wanted) {
            ranks[complete[members[place]]].second = 0.0;
        }
    }
    ranks
}
