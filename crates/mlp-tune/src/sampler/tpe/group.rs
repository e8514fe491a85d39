//! Parameters that are drawn together, and what was observed of them.

use std::cmp::Ordering;
use std::collections::HashMap;

use mlp_core::random::ChaCha8Rng;
use mlp_core::{Condition, Dimension, Direction, Domain, Params};

use super::branch::{self, Branch};
use super::rank::Rank;
use super::settings::{Branching, TpeSettings, Weighting};
use super::side::Side;
use super::weights::{even, improvement, recency};
use crate::axis;

/// Parameters that are active in the same trials. A group has good trials of its own, so each branch of a space learns from its own past.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) dimensions: Vec<Dimension>,
    objectives: usize,
    /// Which dimensions are choices that open branches, and how many each has.
    branching: Vec<(usize, usize)>,
    /// From the best trial to the worst.
    ranked: Vec<Observation>,
    below: Side,
    above: Side,
}

#[derive(Debug, Clone)]
struct Observation {
    rank: Rank,
    number: u64,
    places: Vec<f64>,
}

impl Observation {
    fn compare(&self, other: &Self) -> Ordering {
        self.rank.compare(&other.rank).then(self.number.cmp(&other.number))
    }
}

/// The places of the dimensions that are active in the same trials, part by part in the order of their first ones.
pub(super) fn parts(dimensions: &[Dimension]) -> Vec<Vec<usize>> {
    let mut parts: Vec<(Option<Condition>, Vec<usize>)> = Vec::new();
    let mut conditions: Vec<Option<Condition>> = Vec::new();
    for (place, dimension) in dimensions.iter().enumerate() {
        let condition = effective(&dimensions[..place], &conditions, dimension);
        conditions.push(condition.clone());
        match parts.iter_mut().find(|(other, _)| *other == condition) {
            Some((_, part)) => part.push(place),
            None => parts.push((condition, vec![place])),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// Divides the parts of which a trial has some parameters and lacks others, as in Optuna's decomposition into groups: the trial is of a smaller space, and counts for
/// those that it has. Whether there were any.
pub(super) fn divide(
    parts: &mut Vec<Vec<usize>>,
    dimensions: &[Dimension],
    params: &Params,
) -> bool {
    let has = |place: &usize| params.get(&dimensions[*place].name).is_some();
    let mut new = Vec::new();
    for part in parts.iter_mut().filter(|part| part.iter().any(has) && !part.iter().all(has)) {
        let (present, absent) = part.iter().partition(|place| has(place));
        *part = present;
        new.push(absent);
    }
    let any = !new.is_empty();
    parts.append(&mut new);
    parts.sort_unstable_by_key(|part| part[0]);
    any
}

/// The groups of a space, one for each of its parts.
pub(super) fn groups(
    parts: &[Vec<usize>],
    dimensions: &[Dimension],
    objectives: usize,
    settings: &TpeSettings,
) -> Vec<Group> {
    let opens_branches = |dimension: &Dimension| {
        let conditions = dimensions.iter().filter_map(|other| other.condition.as_ref());
        conditions.into_iter().any(|condition| condition.parameter == dimension.name)
    };
    let group = |dimensions: Vec<Dimension>| {
        let mut group = Group::new(dimensions, objectives, settings);
        if settings.branching == Branching::Promise && objectives == 1 {
            let dimensions = group.dimensions.iter().enumerate();
            let branching = dimensions.filter_map(|(place, dimension)| match &dimension.domain {
                Domain::Categorical { choices } if opens_branches(dimension) => {
                    Some((place, choices.len()))
                }
                _ => None,
            });
            group.branching = branching.collect();
        }
        group
    };
    let members = |part: &Vec<usize>| part.iter().map(|&place| dimensions[place].clone()).collect();
    parts.iter().map(|part| group(members(part))).collect()
}

/// The condition of a dimension, or that of its parent where every value of the parent fulfils it.
fn effective(
    earlier: &[Dimension],
    conditions: &[Option<Condition>],
    dimension: &Dimension,
) -> Option<Condition> {
    let condition = dimension.condition.as_ref()?;
    let parent = earlier.iter().position(|other| other.name == condition.parameter);
    let Some(parent) = parent else { return Some(condition.clone()) };
    let domain = &earlier[parent].domain;
    let met = condition.values.iter().filter(|value| domain.contains(value)).count() as u64;
    if domain.cardinality().is_some_and(|all| all <= met) {
        return conditions[parent].clone();
    }
    Some(condition.clone())
}

impl Group {
    pub(super) fn new(
        dimensions: Vec<Dimension>,
        objectives: usize,
        settings: &TpeSettings,
    ) -> Self {
        let domains = dimensions.iter().map(|dimension| &dimension.domain);
        let below = Side::new(domains, settings.bandwidth);
        let (branching, ranked) = (Vec::new(), Vec::new());
        Self { above: below.clone(), below, dimensions, objectives, branching, ranked }
    }

    pub(super) fn len(&self) -> usize {
        self.ranked.len()
    }

    /// Where the trial lies; none if it lacks a parameter of the group, or has one outside its domain.
    pub(super) fn places(&self, params: &Params) -> Option<Vec<f64>> {
        self.dimensions.iter().map(|d| axis::encode(&d.domain, params.get(&d.name)?)).collect()
    }

    /// Takes in a trial that has ended or is paused; whether it has a place here.
    pub(super) fn learn(
        &mut self,
        number: u64,
        params: &Params,
        rank: Rank,
        settings: &TpeSettings,
    ) -> bool {
        let Some(places) = self.places(params) else { return false };
        let new = Observation { rank, number, places };
        let place = self.ranked.partition_point(|other| other.compare(&new).is_lt());
        let side = if place < self.below.len() { &mut self.below } else { &mut self.above };
        side.insert(number, rank.loss(), &new.places);
        self.ranked.insert(place, new);
        self.balance(settings);
        true
    }

    /// Forgets a trial, if it has a place here.
    pub(super) fn forget(&mut self, number: u64, settings: &TpeSettings) {
        let Some(place) = self.ranked.iter().position(|other| other.number == number) else {
            return;
        };
        self.ranked.remove(place);
        if !self.below.remove(number) {
            self.above.remove(number);
        }
        self.balance(settings);
    }

    /// Moves the worst good ones, or the best others, until as many are good as should be.
    fn balance(&mut self, settings: &TpeSettings) {
        let target = settings.good(self.ranked.len(), self.objectives);
        while self.below.len() > target {
            let moved = &self.ranked[self.below.len() - 1];
            self.below.remove(moved.number);
            self.above.insert(moved.number, moved.rank.loss(), &moved.places);
        }
        while self.below.len() < target {
            let moved = &self.ranked[self.below.len()];
            self.above.remove(moved.number);
            self.below.insert(moved.number, moved.rank.loss(), &moved.places);
        }
    }

    /// Ranks what was observed anew.
    pub(super) fn rerank(&mut self, ranks: &HashMap<u64, Rank>) {
        for observation in &mut self.ranked {
            if let Some(rank) = ranks.get(&observation.number) {
                observation.rank = *rank;
            }
        }
        self.ranked.sort_by(Observation::compare);
        let good = self.below.len();
        for (place, observation) in self.ranked.iter().enumerate() {
            let (to, from) = match place < good {
                true => (&mut self.below, &mut self.above),
                false => (&mut self.above, &mut self.below),
            };
            if from.remove(observation.number) {
                to.insert(observation.number, observation.rank.loss(), &observation.places);
            }
        }
    }

    /// The candidate where good trials are dense and others are not. Trials that run, at these places, count as not good meanwhile.
    pub(super) fn propose(
        &mut self,
        current: u64,
        running: &[(u64, Vec<f64>)],
        settings: &TpeSettings,
        stream: &mut ChaCha8Rng,
    ) -> Vec<f64> {
        let fixed = self.branches(current, running);
        let (below, above) = self.weights(settings.weighting, running.len());
        let others = self.above.of_turn(current);
        for (number, places) in running {
            others.insert(*number, f64::INFINITY, places);
        }
        let good = self.below.of_turn(current);
        let given = good.given(&below, &fixed);
        let mut candidates: Vec<_> =
            (0..settings.candidates).map(|_| good.draw(&given, &fixed, stream)).collect();
        let leads = good.log_densities(&below, &candidates);
        let others = self.above.of_turn(current);
        let ratios = others.contest(&above, &candidates, &leads);
        let best = Direction::Maximize.best(ratios).map_or(0, |(place, _)| place);
        for (number, _) in running {
            others.remove(*number);
        }
        candidates.swap_remove(best)
    }

    /// The branches that come next, by dimension.
    fn branches(&self, current: u64, running: &[(u64, Vec<f64>)]) -> Vec<(usize, usize)> {
        if self.branching.is_empty() {
            return Vec::new();
        }
        let mut observed: Vec<&Observation> = self.ranked.iter().collect();
        observed.sort_unstable_by_key(|observation| observation.number);
        let next = |&(dimension, choices): &(usize, usize)| {
            let mut branches = vec![Branch::default(); choices];
            for observation in &observed {
                branches[observation.places[dimension] as usize].push(observation.rank.loss());
            }
            for (_, places) in running {
                branches[places[dimension] as usize].start();
            }
            (dimension, branch::next(&branches, current))
        };
        self.branching.iter().map(next).collect()
    }

    /// The weights of the good trials, and of the others with so many that run.
    fn weights(&self, weighting: Weighting, running: usize) -> (Vec<f64>, Vec<f64>) {
        let others = self.above.len() + running;
        let below = match weighting {
            _ if self.objectives > 1 => even(self.below.len()),
            Weighting::Recency => recency(self.below.len()),
            Weighting::Improvement => {
                let threshold = self.above.losses().iter().copied().fold(f64::INFINITY, f64::min);
                improvement(self.below.losses(), threshold)
            }
        };
        let above = match weighting {
            Weighting::Recency => recency(others),
            Weighting::Improvement => even(others),
        };
        (below, above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_are_active_in_the_same_trials_are_drawn_together() {
        let dimensions = [
            Dimension::categorical("model", ["svm", "mlp"]),
            Dimension::float("c", 0.0, 1.0).when("model", ["svm"]),
            Dimension::int("layers", 1, 2).when("model", ["mlp"]),
            Dimension::int("first", 1, 9).when("layers", [1, 2]),
            Dimension::int("second", 1, 9).when("layers", [2]),
            Dimension::float("rate", 0.0, 1.0),
            Dimension::float("always", 0.0, 1.0).when("model", ["svm", "mlp"]),
        ];
        let groups = groups(&parts(&dimensions), &dimensions, 1, &TpeSettings::default());
        let names: Vec<Vec<&str>> = groups
            .iter()
            .map(|group| group.dimensions.iter().map(|d| d.name.as_str()).collect())
            .collect();
        let expected: [&[&str]; 4] =
            [&["model", "rate", "always"], &["c"], &["layers", "first"], &["second"]];
        assert_eq!(names, expected);
    }

    #[test]
    fn parts_are_divided_where_a_trial_has_only_some_of_them_in_whatever_order() {
        let dimensions = [
            Dimension::float("new", 0.0, 1.0),
            Dimension::categorical("model", ["svm", "mlp"]),
            Dimension::float("c", 0.0, 1.0).when("model", ["svm"]),
            Dimension::float("rate", 0.0, 1.0),
            Dimension::float("newer", 0.0, 1.0),
        ];
        let oldest = Params::new().with("model", "mlp").with("rate", 0.5);
        let older = oldest.clone().with("new", 0.5);
        let whole = older.clone().with("newer", 0.5);
        let divided = |trials: &[&Params]| {
            let mut parts = parts(&dimensions);
            let changes: Vec<bool> =
                trials.iter().map(|trial| divide(&mut parts, &dimensions, trial)).collect();
            (parts, changes)
        };
        assert_eq!(divided(&[&whole]), (vec![vec![0, 1, 3, 4], vec![2]], vec![false]));
        let expected = vec![vec![0], vec![1, 3], vec![2], vec![4]];
        let (there, changes) = divided(&[&oldest, &whole, &older, &oldest]);
        assert_eq!((there, changes), (expected.clone(), vec![true, false, true, false]));
        assert_eq!(divided(&[&older, &oldest]).0, expected);
    }
}
