//! The covariance matrix adaptation evolution strategy.

mod margin;
mod strategy;

use mlp_core::random;
use mlp_core::{Dimension, Params, SearchSpace};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::generations::{Generations, losses};
use super::tpe::TpeSampler;
use super::{Proposal, Request, Sampler};
use crate::axis::Axis;
use crate::error::TuneError;
use crate::trial::TrialRecord;
use strategy::Strategy;

/// The mark with the generation of a trial and the point that was drawn for it.
const GENERATION: &str = "mlp:cma";

/// What happens when a run of [`CmaEsSampler`] has come to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// It goes on.
    #[default]
    Never,
    /// A new one begins elsewhere, with twice as many trials a generation (Auger and Hansen 2005).
    Larger,
}

/// Settings of [`CmaEsSampler`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CmaEsSettings {
    /// How many trials a generation has; at least 4. By default 4 + ⌊3 ln d⌋ for d numbers.
    pub population: Option<usize>,
    /// The first standard deviation as a share of each range (1/6, as Optuna has it); above 0, at most 1.
    pub sigma: f64,
    /// What happens when a run has come to its end.
    pub restart: Restart,
}

impl Default for CmaEsSettings {
    fn default() -> Self {
        Self { population: None, sigma: 1.0 / 6.0, restart: Restart::Never }
    }
}

impl CmaEsSettings {
    fn check(&self) -> Result<(), TuneError> {
        if let Some(population) = self.population.filter(|population| *population < 4) {
            return Err(TuneError::setting("population", population, "at least 4"));
        }
        if !(self.sigma > 0.0 && self.sigma <= 1.0) {
            return Err(TuneError::setting("sigma", self.sigma, "above 0, at most 1"));
        }
        Ok(())
    }
}

/// CMA-ES (Hansen 2016, with negative weights), for numbers that interact and some hundreds of trials or more. Integers and steps, on a logarithmic
/// scale too, keep moving by the margin of Hamano et al. 2022.
///
/// It follows the numbers that are always active; choices and what depends on them are [`TpeSampler`]'s, and so is all of a space with no such
/// number. A generation is the first of its trials that are complete; trials that fail are replaced, infeasible ones rank last. One
/// objective only.
///
/// When a range gets wider the generations so far are gone through anew, with their trials where they lie in the wider range; trials outside a range that has
/// become narrower are replaced. When a number is added or taken away it begins anew: a generation cannot consist of points of two spaces.
#[derive(Debug)]
pub struct CmaEsSampler {
    settings: CmaEsSettings,
    space: SearchSpace,
    generations: Generations,
    /// The states before each generation, as far as they are known.
    states: Vec<State>,
    others: TpeSampler,
}

#[derive(Debug, Clone)]
struct State {
    strategy: Strategy,
    /// How many runs there were before.
    restarts: u64,
}

impl Default for CmaEsSampler {
    fn default() -> Self {
        Self::new(CmaEsSettings::default())
    }
}

impl CmaEsSampler {
    /// A sampler with settings of one's own.
    #[must_use]
    pub fn new(settings: CmaEsSettings) -> Self {
        Self {
            settings,
            space: SearchSpace::default(),
            generations: Generations::new(GENERATION),
            states: Vec::new(),
            others: TpeSampler::default(),
        }
    }

    fn numbers(space: &SearchSpace) -> Vec<(&Dimension, Axis)> {
        let always = space.dimensions().iter().filter(|dimension| dimension.condition.is_none());
        let numbers = always.filter_map(|d| Some((d, Axis::of(&d.domain)?)));
        numbers.filter(|(_, axis)| axis.range() > 0.0).collect()
    }

    fn start(&self, restarts: u64, seed: u64) -> State {
        let numbers = Self::numbers(&self.space);
        let least = 4 + (3.0 * (numbers.len() as f64).ln()).floor() as usize;
        let population = self.settings.population.unwrap_or(least) << restarts.min(10);
        let grids = numbers.iter().map(|(_, axis)| axis.step.map(|_| *axis)).collect();
        let mut stream = random::stream(seed, u64::MAX - restarts);
        let mean = numbers.iter().map(|_| match restarts {
            0 => 0.5,
            _ => random::uniform(&mut stream),
        });
        let strategy = Strategy::new(mean.collect(), self.settings.sigma, population, grids);
        State { strategy, restarts }
    }

    /// Brings the states up to date; the last one is that of the next trial.
    fn learn(&mut self, request: &Request<'_>) -> Result<(), TuneError> {
        let directions = request.history.directions();
        if directions.len() != 1 {
            return Err(TuneError::NotOneObjective { objectives: directions.len() });
        }
        let numbers = Self::numbers(&self.space);
        let states = &self.states;
        let size = |generation: usize| {
            states.get(generation).map_or(usize::MAX, |state| state.strategy.lambda)
        };
        let has_point = |trial: &TrialRecord| point(trial, &numbers).is_some();
        if let Some(changed) = self.generations.learn(&request.history, size, has_point) {
            self.states.truncate(changed + 1);
        }
        if self.states.is_empty() {
            self.states.push(self.start(0, request.seed));
        }
        while let Some(state) = self.states.last() {
            let (generation, size) = (self.states.len() - 1, state.strategy.lambda);
            let Some(trials) = self.generations.complete(generation, size) else { break };
            let mut state = state.clone();
            let mut points: Vec<(f64, f64, Vec<f64>)> = Vec::new();
            for trial in trials {
                let Some(point) = point(trial, &numbers) else { continue };
                let loss = losses(trial, directions).first().copied().unwrap_or(f64::INFINITY);
                let violation = if trial.is_feasible() { 0.0 } else { trial.violation() };
                points.push((violation, loss, point));
            }
            points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
            let ordered: Vec<&[f64]> = points.iter().map(|point| point.2.as_slice()).collect();
            state.strategy.update(&ordered, points[0].1);
            if self.settings.restart == Restart::Larger && state.strategy.has_ended() {
                state = self.start(state.restarts + 1, request.seed);
            }
            self.states.push(state);
        }
        Ok(())
    }
}

/// Where a trial lies among these numbers, as shares of their ranges: what was drawn, as long as it stands for the trial's values, and these themselves where a
/// range is another one by now. None if other numbers were drawn, or a value lies outside its range.
fn point(trial: &TrialRecord, numbers: &[(&Dimension, Axis)]) -> Option<Vec<f64>> {
    let drawn = trial.system.get(GENERATION)?.get(1)?.as_array()?;
    if drawn.len() != numbers.len() {
        return None;
    }
    let share = |((dimension, axis), drawn): (&(&Dimension, Axis), &serde_json::Value)| {
        let place = axis.encode(trial.params.get(&dimension.name)?)?;
        let is_there = |share: &f64| {
            let distance = axis.settle(axis.low + share * axis.range()) - place;
            (0.0..=1.0).contains(share) && distance.abs() <= 1e-9 * axis.range()
        };
        drawn.as_f64().filter(is_there).or(Some((place - axis.low) / axis.range()))
    };
    numbers.iter().zip(drawn).map(share).collect()
}

impl Sampler for CmaEsSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        self.settings.check()?;
        if self.space != *request.space {
            self.space = request.space.clone();
            self.states.clear();
            self.generations = Generations::new(GENERATION);
        }
        let numbers = Self::numbers(request.space);
        if numbers.is_empty() {
            return self.others.propose(request);
        }
        self.learn(request)?;
        let all = numbers.len() == request.space.dimensions().len();
        let mut params = if all { Params::new() } else { self.others.propose(request)?.params };
        let generation = self.states.len() - 1;
        let point = self.states[generation].strategy.draw(&mut request.stream_of(GENERATION));
        for ((dimension, axis), share) in numbers.iter().zip(&point) {
            let value = axis.decode(axis.low + share * axis.range());
            params.insert(dimension.name.as_str(), value);
        }
        let marks = [(GENERATION.to_owned(), json!([generation, point]))].into();
        Ok(Proposal { params, marks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minimises a function by generations; returns the best loss after so many evaluations.
    fn minimise(loss: impl Fn(&[f64]) -> f64, n: usize, evaluations: usize) -> f64 {
        let lambda = 4 + (3.0 * (n as f64).ln()) as usize;
        let mut strategy = Strategy::new(vec![0.5; n], 1.0 / 6.0, lambda, vec![None; n]);
        let (mut best, mut number) = (f64::INFINITY, 0);
        while number < evaluations {
            let mut points: Vec<(f64, Vec<f64>)> = Vec::new();
            for _ in 0..lambda {
                let point = strategy.draw(&mut random::stream(1, number as u64));
                number += 1;
                points.push((loss(&point), point));
            }
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            best = best.min(points[0].0);
            let ordered: Vec<&[f64]> = points.iter().map(|point| point.1.as_slice()).collect();
            strategy.update(&ordered, points[0].0);
        }
        best
    }

    #[test]
    fn an_ill_conditioned_bowl_is_solved_as_fast_as_the_tutorial_says() {
        // The ellipsoid of condition 10^6, turned: some 10^3.3 evaluations in five dimensions to 10^-10.
        let bowl = |x: &[f64]| {
            let y: Vec<f64> = x.iter().map(|x| x - 0.3).collect();
            let sum: f64 = y.iter().sum::<f64>() / 5.0 * 2.0;
            (0..5).map(|k| 10_f64.powf(6.0 * k as f64 / 4.0) * (y[k] - sum).powi(2)).sum()
        };
        let early = minimise(bowl, 5, 200);
        let late = minimise(bowl, 5, 3_000);
        assert!(late < 1e-9 && early > 1e-3, "{early} {late}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let settings = CmaEsSettings { sigma: 0.0, ..CmaEsSettings::default() };
        assert!(settings.check().unwrap_err().to_string().contains("sigma"));
        let settings = CmaEsSettings { population: Some(3), ..CmaEsSettings::default() };
        assert!(settings.check().unwrap_err().to_string().contains("population"));
    }
}
