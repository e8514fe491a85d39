//! Bayesian optimisation with a Gaussian process.

mod descent;
mod kernel;

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::random::{self, ChaCha8Rng};
use mlp_core::{Dimension, Direction, Domain, ParamValue, Params, SearchSpace};
use mlp_stats::normal_tail;
use serde::{Deserialize, Serialize};

use super::generations::losses;
use super::learned::{Learned, News};
use super::random::draw;
use super::sobol;
use super::{Proposal, Request, Sampler};
use crate::axis::{self, Axis};
use crate::error::TuneError;
use crate::trial::{TrialRecord, TrialState};
use kernel::{Coordinate, Evidence, Hyper, Process};

/// How many random points, and how many near the best ones, are looked at before the search for the best improvement.
const RANDOM_POINTS: usize = 300;
const NEAR_POINTS: usize = 100;
/// From how many of them that search starts.
const STARTS: usize = 5;

/// Settings of [`GpSampler`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GpSettings {
    /// How many trials lie on Sobol's sequence first; by default twice the number of parameters, from 4 to 10.
    pub startup_trials: Option<usize>,
    /// How many trials the process is fitted to at most (200): the better half of them the best, the others the latest. A proposal takes time in
    /// proportion to the cube of this.
    pub max_trials: usize,
}

impl Default for GpSettings {
    fn default() -> Self {
        Self { startup_trials: None, max_trials: 200 }
    }
}

/// Bayesian optimisation: a Gaussian process is fitted to the trials, and the next one is where it expects the most improvement. For small
/// budgets, up to some hundred trials, of objectives that take seconds or more: a proposal takes milliseconds at 50 trials, most of a second
/// at 200.
///
/// The kernel is Matérn 5/2 with a length for each parameter; lengths, signal and noise are those of the largest posterior density. Losses
/// are seen on a scale that is logarithmic away from the best, so that a few terrible trials do not drown the others. Trials that run count
/// as if their result were what the process expects; those that a pruner has ended or paused do not count: what they reported is of another step. Infeasible trials count as the worst. One objective only.
#[derive(Debug)]
pub struct GpSampler {
    settings: GpSettings,
    learned: Learned,
    trials: BTreeMap<u64, Arc<TrialRecord>>,
}

impl Default for GpSampler {
    fn default() -> Self {
        Self::new(GpSettings::default())
    }
}

impl GpSampler {
    /// A sampler with settings of one's own.
    #[must_use]
    pub fn new(settings: GpSettings) -> Self {
        Self { settings, learned: Learned::default(), trials: BTreeMap::new() }
    }

    fn learn(&mut self, request: &Request<'_>) {
        let News { afresh, ended, .. } = self.learned.news(&request.history);
        if afresh {
            self.trials.clear();
        }
        for trial in ended.into_iter().filter(|trial| trial.state == TrialState::Complete) {
            let kept = Arc::clone(&request.history.trials[trial.number as usize]);
            self.trials.insert(trial.number, kept);
        }
    }

    /// Points and losses of the trials that the process is fitted to.
    fn observations(
        &self,
        space: &SearchSpace,
        directions: &[Direction],
    ) -> Vec<(Vec<Coordinate>, f64)> {
        let mut observed: Vec<(Vec<Coordinate>, f64)> = Vec::new();
        for trial in self.trials.values() {
            let Some(point) = coordinates(space, &trial.params) else { continue };
            let loss = losses(trial, directions).first().copied().unwrap_or(f64::INFINITY);
            observed.push((point, if trial.is_feasible() { loss } else { f64::INFINITY }));
        }
        let kept = self.settings.max_trials;
        if observed.len() > kept {
            let latest = observed.split_off(observed.len() - kept / 2);
            observed.sort_by(|one, other| one.1.total_cmp(&other.1));
            observed.truncate(kept - kept / 2);
            observed.extend(latest);
        }
        observed
    }
}

/// Where a trial lies; none if it has a parameter outside its domain, or none of the space at all: that lies nowhere. One that it lacks because the space
/// has grown since counts as not active there.
fn coordinates(space: &SearchSpace, params: &Params) -> Option<Vec<Coordinate>> {
    let coordinate = |dimension: &Dimension| {
        if !dimension.is_active(params) {
            return Some(Coordinate::Inactive);
        }
        let Some(value) = params.get(&dimension.name) else { return Some(Coordinate::Inactive) };
        let place = axis::encode(&dimension.domain, value)?;
        Some(match Axis::of(&dimension.domain) {
            Some(axis) if axis.range() > 0.0 => {
                Coordinate::Number((place - axis.low) / axis.range())
            }
            Some(_) => Coordinate::Number(0.5),
            None => Coordinate::Choice(place as usize),
        })
    };
    let point: Vec<_> = space.dimensions().iter().map(coordinate).collect::<Option<_>>()?;
    point.iter().any(|c| !matches!(c, Coordinate::Inactive)).then_some(point)
}

/// Losses on the scale that the process sees, of mean 0 and variance 1: linear near the best, logarithmic far from it.
fn warp(losses: &[f64]) -> Vec<f64> {
    let mut finite: Vec<f64> = losses.iter().copied().filter(|loss| loss.is_finite()).collect();
    finite.sort_unstable_by(f64::total_cmp);
    let (Some(&best), Some(&worst)) = (finite.first(), finite.last()) else {
        return vec![0.0; losses.len()];
    };
    let median = finite[finite.len() / 2];
    let scale = if median > best { median - best } else { (worst - best).max(f64::MIN_POSITIVE) };
    let seen = |loss: &f64| (loss.clamp(best, worst) - best) / scale;
    let logs: Vec<f64> = losses.iter().map(|loss| seen(loss).ln_1p()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len() as f64;
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    logs.iter().map(|log| (log - mean) / deviation).collect()
}

/// The hyperparameters of the largest posterior density, from two starts.
fn fit(points: &[Vec<Coordinate>], targets: &[f64]) -> Hyper {
    let evidence = Evidence::new(points, targets);
    let run = |shift: f64| {
        descent::minimise(|values| evidence.cost(values), evidence.start(shift).to_vec(), 40)
    };
    let (one, other) = (run(0.0), run(1.0));
    let best = if other.0 < one.0 { other.1 } else { one.1 };
    Hyper::from_slice(&best)
}

/// The logarithm of the expected improvement over `best` (Ament et al. 2023 for what is far below).
fn log_improvement(best: f64, mean: f64, deviation: f64) -> f64 {
    let z = (best - mean) / deviation;
    let log_density = -0.5 * z * z - 0.5 * std::f64::consts::TAU.ln();
    let log = if z > -25.0 {
        (log_density.exp() + z * normal_tail(-z)).max(f64::MIN_POSITIVE).ln()
    } else {
        // φ(z) + z Φ(z) = φ(z)/z² (1 − 3/z² + …).
        log_density - 2.0 * (-z).ln() + (-3.0 / (z * z)).ln_1p()
    };
    log + deviation.ln()
}

/// The search for the parameters with the largest expected improvement.
struct Search<'a> {
    space: &'a SearchSpace,
    process: &'a Process,
    best: f64,
}

impl Search<'_> {
    fn score(&self, params: &Params) -> f64 {
        let Some(point) = coordinates(self.space, params) else { return f64::NEG_INFINITY };
        let (mean, deviation) = self.process.at(&point);
        log_improvement(self.best, mean, deviation)
    }

    /// Parameters near others: each number moved by some of its range, now and then a choice made anew.
    fn near(&self, params: &Params, spread: f64, stream: &mut ChaCha8Rng) -> Params {
        let mut near = Params::new();
        for dimension in self.space.dimensions() {
            if !dimension.is_active(&near) {
                continue;
            }
            let moved = params.get(&dimension.name).map(|value| {
                moved(&dimension.domain, value, spread * random::normal(stream), stream)
            });
            let value = moved.unwrap_or_else(|| axis::uniform(&dimension.domain, stream));
            near.insert(dimension.name.as_str(), value);
        }
        near
    }

    /// Climbs along one number at a time, with steps that shrink; and tries other choices.
    fn climb(&self, mut params: Params, stream: &mut ChaCha8Rng) -> (f64, Params) {
        let mut score = self.score(&params);
        let mut step = 0.1;
        while step > 2e-5 {
            let mut risen = false;
            for dimension in self.space.dimensions() {
                for changed in self.neighbours(dimension, &params, step, stream) {
                    let there = self.score(&changed);
                    if there > score {
                        (score, params, risen) = (there, changed, true);
                    }
                }
            }
            // Along the diagonals too, where a ridge lies across the axes.
            for _ in 0..4 {
                let changed = self.near(&params, step, stream);
                let there = self.score(&changed);
                if there > score {
                    (score, params, risen) = (there, changed, true);
                }
            }
            if !risen {
                step *= 0.4;
            }
        }
        (score, params)
    }

    fn neighbours(
        &self,
        dimension: &Dimension,
        params: &Params,
        step: f64,
        stream: &mut ChaCha8Rng,
    ) -> Vec<Params> {
        let Some(value) = params.get(&dimension.name) else { return Vec::new() };
        let values: Vec<ParamValue> = match &dimension.domain {
            Domain::Categorical { choices } if step == 0.1 => choices.clone(),
            Domain::Categorical { .. } => Vec::new(),
            domain => [-step, step].map(|by| shifted(domain, value, by)).into(),
        };
        let others = values.into_iter().filter(|other| other != value);
        others.map(|other| self.with(params, &dimension.name, other, stream)).collect()
    }

    /// The parameters with another value of one; what becomes active by that is drawn.
    fn with(
        &self,
        params: &Params,
        name: &str,
        value: ParamValue,
        stream: &mut ChaCha8Rng,
    ) -> Params {
        let mut changed = Params::new();
        for dimension in self.space.dimensions() {
            if !dimension.is_active(&changed) {
                continue;
            }
            let kept = params.get(&dimension.name).cloned();
            let value = match dimension.name == name {
                true => value.clone(),
                false => kept.unwrap_or_else(|| axis::uniform(&dimension.domain, stream)),
            };
            changed.insert(dimension.name.as_str(), value);
        }
        changed
    }
}

/// The value so much of its range farther on; at least one step where there are steps.
fn shifted(domain: &Domain, value: &ParamValue, by: f64) -> ParamValue {
    let Some((axis, place)) = Axis::of(domain).and_then(|a| Some((a, a.encode(value)?))) else {
        return value.clone();
    };
    let there = axis.decode((place + by * axis.range()).clamp(axis.low, axis.high));
    if there != *value {
        return there;
    }
    match axis.cell(place) {
        Some((low, high)) => {
            let beyond =
                if by < 0.0 { low - 0.5 * (high - low) } else { high + 0.5 * (high - low) };
            axis.decode(beyond.clamp(axis.low, axis.high))
        }
        None => there,
    }
}

fn moved(domain: &Domain, value: &ParamValue, by: f64, stream: &mut ChaCha8Rng) -> ParamValue {
    match domain {
        Domain::Categorical { choices } => {
            let anew = random::uniform(stream) < 0.1;
            let place = random::below(stream, choices.len() as u64) as usize;
            if anew { choices[place].clone() } else { value.clone() }
        }
        domain => shifted(domain, value, by),
    }
}

impl Sampler for GpSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        let directions = request.history.directions();
        if directions.len() != 1 {
            return Err(TuneError::NotOneObjective { objectives: directions.len() });
        }
        if self.settings.max_trials < 2 {
            return Err(TuneError::setting("max_trials", self.settings.max_trials, "at least 2"));
        }
        self.learn(request);
        let space = request.space;
        let observed = self.observations(space, directions);
        let startup = (2 * space.dimensions().len()).clamp(4, 10);
        let startup = self.settings.startup_trials.unwrap_or(startup).max(1);
        if observed.len() < startup {
            return Ok(sobol::point(request).into());
        }
        let (mut points, losses): (Vec<_>, Vec<_>) = observed.into_iter().unzip();
        let mut targets = warp(&losses);
        let hyper = fit(&points, &targets);
        let fallback = || Ok(sobol::point(request).into());
        let Some(mut process) = Process::new(points.clone(), &targets, &hyper) else {
            return fallback();
        };
        for (_, params) in self.learned.beside(request) {
            let Some(point) = coordinates(space, &params) else { continue };
            targets.push(process.at(&point).0);
            points.push(point);
        }
        if points.len() > losses.len() {
            match Process::new(points.clone(), &targets, &hyper) {
                Some(with_running) => process = with_running,
                None => return fallback(),
            }
        }
        // The best is what the process makes of the best trial: with noise the best loss itself is luck.
        let best = points.iter().map(|point| process.at(point).0).fold(f64::INFINITY, f64::min);
        let search = Search { space, process: &process, best };
        Ok(search.run(&self.trials, directions[0], &mut request.stream()).into())
    }
}

impl Search<'_> {
    fn run(
        &self,
        trials: &BTreeMap<u64, Arc<TrialRecord>>,
        direction: Direction,
        stream: &mut ChaCha8Rng,
    ) -> Params {
        let mut known: Vec<&TrialRecord> =
            trials.values().map(AsRef::as_ref).filter(|trial| trial.is_feasible()).collect();
        let loss = |trial: &TrialRecord| losses(trial, &[direction]).first().copied();
        let loss = |trial: &TrialRecord| loss(trial).unwrap_or(f64::INFINITY);
        known.sort_by(|one, other| loss(one).total_cmp(&loss(other)));
        known.truncate(STARTS);
        let mut candidates: Vec<Params> =
            (0..RANDOM_POINTS).map(|_| draw(self.space, stream)).collect();
        for place in 0..NEAR_POINTS {
            let Some(trial) = known.get(place % known.len().max(1)) else { break };
            let spread = [0.2, 0.05, 0.01][place / known.len() % 3];
            candidates.push(self.near(&trial.params, spread, stream));
        }
        let mut scored: Vec<(f64, Params)> =
            candidates.into_iter().map(|params| (self.score(&params), params)).collect();
        scored.sort_by(|one, other| other.0.total_cmp(&one.0));
        scored.truncate(STARTS);
        let climbed = scored.into_iter().map(|(_, params)| self.climb(params, stream));
        let best = climbed.max_by(|one, other| one.0.total_cmp(&other.0));
        best.map_or_else(Params::new, |(_, params)| params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_improvement_is_continuous_where_its_formula_changes() {
        let [one, other] = [-25.0 + 1e-9, -25.0 - 1e-9].map(|z| log_improvement(z, 0.0, 1.0));
        assert!((one - other).abs() < 1e-4, "{one} {other}");
        // Far below, where the plain formula is 0.
        assert!(log_improvement(-40.0, 0.0, 1.0) > log_improvement(-41.0, 0.0, 1.0));
        let known = (0.398_942_280_401_432_7_f64).ln();
        assert!((log_improvement(0.0, 0.0, 1.0) - known).abs() < 1e-12);
    }

    #[test]
    fn a_trial_without_a_parameter_of_the_space_lies_nowhere() {
        let dimensions = ["x", "y"].map(|name| Dimension::float(name, 0.0, 2.0));
        let space = SearchSpace::new(dimensions).unwrap();
        assert_eq!(coordinates(&space, &Params::new()), None);
        assert_eq!(coordinates(&space, &Params::new().with("z", 1.0)), None);
        let expected = vec![Coordinate::Number(0.5), Coordinate::Inactive];
        assert_eq!(coordinates(&space, &Params::new().with("x", 1.0)), Some(expected));
    }

    #[test]
    fn losses_are_warped_in_their_order_and_infinities_are_the_worst() {
        let warped = warp(&[1.0, f64::INFINITY, 3.0, 1_000.0, 2.0, f64::NEG_INFINITY]);
        assert!(warped[0] < warped[4] && warped[4] < warped[2] && warped[2] < warped[3]);
        assert_eq!((warped[1], warped[5]), (warped[3], warped[0]));
        assert!(warped.iter().sum::<f64>().abs() < 1e-12);
        assert_eq!(warp(&[2.0, 2.0]), [0.0, 0.0]);
    }
}
