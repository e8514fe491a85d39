//! The non-dominated sorting genetic algorithm.

use std::sync::Arc;

use mlp_core::random::{self, ChaCha8Rng};
use mlp_core::{Dimension, Direction, ParamValue, Params, SearchSpace};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::generations::{Generations, losses};
use super::random::draw;
use super::{Proposal, Request, Sampler};
use crate::axis::{self, Axis};
use crate::error::TuneError;
use crate::pareto::{crowding_distances, dominates, front_numbers};
use crate::trial::TrialRecord;

/// The mark with the generation of a trial.
const GENERATION: &str = "mlp:nsga2";

/// How children come from their parents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variation {
    /// Each parameter from either parent; a mutated one is drawn anew (Optuna's default).
    #[default]
    Uniform,
    /// Numbers by simulated binary crossover and polynomial mutation, both with distribution index 20 (Deb et al. 2002); choices as above.
    Simulated,
}

/// Settings of [`NsgaSampler`]. The defaults are those of Optuna 5.0's `NSGAIISampler`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NsgaSettings {
    /// How many trials a generation has (50); at least 2.
    pub population: usize,
    /// How likely a child has two parents (0.9); from 0 to 1.
    pub crossover: f64,
    /// How likely a parameter comes from the second parent (0.5); from 0 to 1.
    pub swapping: f64,
    /// How likely a parameter mutates; by default one of them on average.
    pub mutation: Option<f64>,
    /// How children come from their parents.
    pub variation: Variation,
}

impl Default for NsgaSettings {
    fn default() -> Self {
        Self {
            population: 50,
            crossover: 0.9,
            swapping: 0.5,
            mutation: None,
            variation: Variation::Uniform,
        }
    }
}

impl NsgaSettings {
    fn check(&self) -> Result<(), TuneError> {
        if self.population < 2 {
            return Err(TuneError::setting("population", self.population, "at least 2"));
        }
        let shares = [("crossover", self.crossover), ("swapping", self.swapping)];
        let shares = shares.into_iter().chain(self.mutation.map(|share| ("mutation", share)));
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(TuneError::setting(name, share, "from 0 to 1"));
            }
        }
        Ok(())
    }
}

/// NSGA-II (Deb et al. 2002), for several objectives: generations of trials, whose parents are chosen by front and crowding distance.
///
/// A generation is the first `population` of its trials that are complete; trials that fail are replaced. Infeasible trials rank after all
/// feasible ones, by their violation. In a conditional space a child takes what is active from its parents, and draws what neither has.
#[derive(Debug)]
pub struct NsgaSampler {
    settings: NsgaSettings,
    space: SearchSpace,
    generations: Generations,
    /// The parents of each generation but the first, as far as they are known.
    parents: Vec<Vec<Member>>,
}

#[derive(Debug, Clone)]
struct Member {
    params: Arc<Params>,
    losses: Vec<f64>,
    violation: f64,
}

impl Member {
    fn new(trial: &TrialRecord, directions: &[Direction]) -> Self {
        let violation = if trial.is_feasible() { 0.0 } else { trial.violation() };
        Self { params: Arc::clone(&trial.params), losses: losses(trial, directions), violation }
    }

    fn dominates(&self, other: &Self) -> bool {
        if self.violation > 0.0 || other.violation > 0.0 {
            return self.violation < other.violation;
        }
        dominates(&self.losses, &other.losses)
    }
}

impl Default for NsgaSampler {
    fn default() -> Self {
        Self::new(NsgaSettings::default())
    }
}

impl NsgaSampler {
    /// A sampler with settings of one's own.
    #[must_use]
    pub fn new(settings: NsgaSettings) -> Self {
        Self {
            settings,
            space: SearchSpace::default(),
            generations: Generations::new(GENERATION),
            parents: Vec::new(),
        }
    }

    /// Brings the parents up to date; returns the generation that the next trial belongs to.
    fn learn(&mut self, request: &Request<'_>) -> usize {
        let size = self.settings.population;
        if let Some(changed) = self.generations.learn(&request.history, |_| size, |_| true) {
            self.parents.truncate(changed);
        }
        let directions = request.history.directions();
        while let Some(trials) = self.generations.complete(self.parents.len(), size) {
            let mut candidates = self.parents.last().cloned().unwrap_or_default();
            candidates.extend(trials.into_iter().map(|trial| Member::new(trial, directions)));
            self.parents.push(select(candidates, size));
        }
        self.parents.len()
    }

    fn child(&self, parents: &[Member], stream: &mut ChaCha8Rng) -> Params {
        let first = tournament(parents, None, stream);
        let crossed = random::uniform(stream) < self.settings.crossover;
        let second = if crossed { tournament(parents, Some(first), stream) } else { first };
        let (first, second) = (&parents[first].params, &parents[second].params);
        let mutation = self.settings.mutation.unwrap_or(1.0 / first.len().max(1) as f64);
        let mut child = Params::new();
        for dimension in self.space.dimensions().iter() {
            if !dimension.is_active(&child) {
                continue;
            }
            let swapped = random::uniform(stream) < self.settings.swapping;
            let mutated = random::uniform(stream) < mutation;
            let [one, other] = [first, second].map(|params| {
                params.get(&dimension.name).filter(|value| dimension.domain.contains(value))
            });
            let (one, other) = if swapped { (other, one) } else { (one, other) };
            let value = match one.or(other) {
                Some(value) => self.vary(dimension, value, other.unwrap_or(value), mutated, stream),
                None => axis::uniform(&dimension.domain, stream),
            };
            child.insert(dimension.name.as_str(), value);
        }
        child
    }

    fn vary(
        &self,
        dimension: &Dimension,
        one: &ParamValue,
        other: &ParamValue,
        mutated: bool,
        stream: &mut ChaCha8Rng,
    ) -> ParamValue {
        let axis = Axis::of(&dimension.domain);
        let numeric = axis.filter(|_| self.settings.variation == Variation::Simulated);
        let places = numeric.and_then(|axis| Some((axis, axis.encode(one)?, axis.encode(other)?)));
        match places {
            None if mutated => axis::uniform(&dimension.domain, stream),
            None => one.clone(),
            Some((axis, one, other)) => {
                let place = simulated_crossover(one, other, random::uniform(stream));
                let place = place.clamp(axis.low, axis.high);
                let place = match mutated {
                    true => polynomial_mutation(&axis, place, random::uniform(stream)),
                    false => place,
                };
                axis.decode(place)
            }
        }
    }
}

/// Deb and Agrawal 1995, with distribution index 20: a child as near to the first parent as the two are to each other.
fn simulated_crossover(one: f64, other: f64, draw: f64) -> f64 {
    let power = 1.0 / 21.0;
    let spread = match draw <= 0.5 {
        true => (2.0 * draw).powf(power),
        false => (1.0 / (2.0 * (1.0 - draw))).powf(power),
    };
    0.5 * ((1.0 + spread) * one + (1.0 - spread) * other)
}

/// Deb and Goyal 1996, with distribution index 20.
fn polynomial_mutation(axis: &Axis, place: f64, draw: f64) -> f64 {
    let power = 1.0 / 21.0;
    let share = match draw < 0.5 {
        true => (2.0 * draw).powf(power) - 1.0,
        false => 1.0 - (2.0 * (1.0 - draw)).powf(power),
    };
    let room = if share < 0.0 { place - axis.low } else { axis.high - place };
    (place + share * room).clamp(axis.low, axis.high)
}

/// The place of the better of two; not `other`.
fn tournament(parents: &[Member], other: Option<usize>, stream: &mut ChaCha8Rng) -> usize {
    let count = parents.len() - usize::from(other.is_some());
    let mut candidate = || {
        let place = random::below(stream, count.max(1) as u64) as usize;
        place + usize::from(other.is_some_and(|other| place >= other && count > 0))
    };
    let (one, two) = (candidate(), candidate());
    if parents[one].dominates(&parents[two]) { one } else { two }
}

/// The best `size` of them: front by front, of the last one those that stand most alone.
fn select(candidates: Vec<Member>, size: usize) -> Vec<Member> {
    let (feasible, mut infeasible): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|member| member.violation == 0.0);
    let all: Vec<Vec<f64>> = feasible.iter().map(|member| member.losses.clone()).collect();
    let numbers = front_numbers(&all);
    let mut order: Vec<usize> = Vec::new();
    for front in 0..feasible.len() {
        if order.len() >= size {
            break;
        }
        let mut members: Vec<usize> = (0..all.len()).filter(|&k| numbers[k] == front).collect();
        if order.len() + members.len() > size {
            let losses: Vec<Vec<f64>> = members.iter().map(|&k| all[k].clone()).collect();
            let distances = crowding_distances(&losses);
            let mut places: Vec<usize> = (0..members.len()).collect();
            places.sort_by(|&one, &other| distances[other].total_cmp(&distances[one]));
            members = places.into_iter().map(|place| members[place]).collect();
        }
        order.extend(members);
    }
    infeasible.sort_by(|one, other| one.violation.total_cmp(&other.violation));
    let chosen = order.into_iter().map(|place| feasible[place].clone());
    chosen.chain(infeasible).take(size).collect()
}

impl Sampler for NsgaSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        self.settings.check()?;
        if self.space != *request.space {
            self.space = request.space.clone();
        }
        let generation = self.learn(request);
        let mut stream = request.stream();
        let params = match self.parents.last() {
            Some(parents) => self.child(parents, &mut stream),
            None => draw(request.space, &mut stream),
        };
        Ok(Proposal { params, marks: [(GENERATION.to_owned(), json!(generation))].into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(losses: &[f64], violation: f64) -> Member {
        Member { params: Arc::default(), losses: losses.to_vec(), violation }
    }

    #[test]
    fn the_first_fronts_and_the_lonely_are_selected() {
        let front = [[0.0, 4.0], [1.0, 3.0], [1.1, 2.9], [4.0, 0.0]].map(|p| member(&p, 0.0));
        let others = [member(&[5.0, 5.0], 0.0), member(&[-1.0, -1.0], 0.5)];
        let all: Vec<Member> = front.into_iter().chain(others).collect();
        let chosen = |size| -> Vec<f64> {
            select(all.clone(), size).iter().map(|member| member.losses[0]).collect()
        };
        assert_eq!(chosen(2), [0.0, 4.0]);
        assert_eq!(chosen(3), [0.0, 4.0, 1.1]);
        assert_eq!(chosen(5), [0.0, 1.0, 1.1, 4.0, 5.0]);
        // Infeasible ones come last, however good.
        assert_eq!(chosen(6)[5], -1.0);
    }

    #[test]
    fn a_tournament_never_takes_the_same_parent_twice() {
        let parents = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]].map(|p| member(&p, 0.0));
        let mut stream = random::stream(1, 0);
        for other in 0..3 {
            let taken: Vec<usize> =
                (0..50).map(|_| tournament(&parents, Some(other), &mut stream)).collect();
            assert!(taken.iter().all(|place| *place != other && *place < 3));
            let best = if other == 0 { 1 } else { 0 };
            assert!(taken.iter().filter(|place| **place == best).count() > 25);
        }
    }

    #[test]
    fn simulated_variation_stays_near_and_inside() {
        assert_eq!(simulated_crossover(1.0, 3.0, 0.5), 1.0);
        assert!(simulated_crossover(1.0, 3.0, 0.999) < 1.0);
        let axis = Axis::of(&Dimension::float("x", 0.0, 1.0).domain).unwrap();
        assert_eq!(polynomial_mutation(&axis, 0.3, 0.5), 0.3);
        assert_eq!(polynomial_mutation(&axis, 0.3, 0.0), 0.0);
        assert!(polynomial_mutation(&axis, 0.3, 1.0 - 1e-16) <= 1.0);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let settings = NsgaSettings { mutation: Some(1.5), ..NsgaSettings::default() };
        assert!(settings.check().unwrap_err().to_string().contains("mutation"));
        let settings = NsgaSettings { population: 1, ..NsgaSettings::default() };
        assert!(settings.check().unwrap_err().to_string().contains("population"));
    }
}
