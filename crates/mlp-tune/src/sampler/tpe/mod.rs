//! The tree-structured Parzen estimator.

mod parzen;

use std::collections::BTreeSet;

use mlp_core::{Condition, Dimension, Direction, Domain, ParamValue, Params};
use serde::{Deserialize, Serialize};

use super::random::draw;
use super::{Proposal, Request, Sampler};
use crate::axis::Axis;
use crate::error::TuneError;
use crate::trial::{TrialRecord, TrialState};
use parzen::Mixture;

/// How wide the kernels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bandwidth {
    /// The distance to the farther neighbour, the ends of the range and its middle among the neighbours; at least max(0.03, (1/(2+n))²) of the
    /// range for n observations (Watanabe 2023).
    #[default]
    Watanabe,
    /// The distance to the farther observed neighbour; at least 1/min(100, 2+n) of the range (Optuna 5.0).
    Optuna,
}

impl Bandwidth {
    fn floor(self, observations: usize) -> f64 {
        let n = observations as f64;
        match self {
            Self::Watanabe => (1.0 / (2.0 + n)).powi(2).max(0.03),
            Self::Optuna => 1.0 / (n + 2.0).min(100.0),
        }
    }
}

/// How much each observed trial counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Good trials by their improvement over the best of the others, the others evenly (Watanabe 2023).
    #[default]
    Improvement,
    /// The last 25 fully, earlier ones less the older they are (Optuna 5.0).
    Recency,
}

/// Settings of [`TpeSampler`]. The defaults are those Watanabe recommends (2023, arXiv 2304.11127), as `optunahub`'s `tpe_tutorial` has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TpeSettings {
    /// How many trials are drawn at random first (10).
    pub startup_trials: usize,
    /// How many candidates are compared (24).
    pub candidates: usize,
    /// Which share of the trials counts as good (0.15); above 0, below 1.
    pub good_share: f64,
    /// How many trials at most count as good (25).
    pub max_good: usize,
    /// How wide the kernels are.
    pub bandwidth: Bandwidth,
    /// How much each trial counts.
    pub weighting: Weighting,
}

impl Default for TpeSettings {
    fn default() -> Self {
        Self {
            startup_trials: 10,
            candidates: 24,
            good_share: 0.15,
            max_good: 25,
            bandwidth: Bandwidth::Watanabe,
            weighting: Weighting::Improvement,
        }
    }
}

impl TpeSettings {
    /// The settings of Optuna 5.0's sampler.
    #[must_use]
    pub fn optuna() -> Self {
        Self {
            good_share: 0.1,
            bandwidth: Bandwidth::Optuna,
            weighting: Weighting::Recency,
            ..Self::default()
        }
    }

    /// Sets how many trials are drawn at random first.
    #[must_use]
    pub fn with_startup_trials(mut self, trials: usize) -> Self {
        self.startup_trials = trials;
        self
    }

    /// How many of so many trials count as good.
    fn good(&self, trials: usize) -> usize {
        // 0.1 × 250 must be 25, not 25.000000000000004.
        ((self.good_share * trials as f64 * (1.0 - 1e-12)).ceil() as usize).min(self.max_good)
    }

    fn check(&self) -> Result<(), TuneError> {
        if self.candidates == 0 {
            return Err(TuneError::setting("candidates", 0, "at least 1"));
        }
        if !(self.good_share > 0.0 && self.good_share < 1.0) {
            return Err(TuneError::setting("good_share", self.good_share, "above 0 and below 1"));
        }
        Ok(())
    }
}

/// The tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, with the settings of Watanabe 2023.
///
/// Proposes where good trials are dense and the others are not. Parameters under the same condition are drawn together; a conditional group
/// has good trials of its own, so each branch of a space learns from its own past. Trials that run count as not good, so parallel ones spread
/// out. Densities are kept between trials and updated, not rebuilt.
///
/// With several objectives a trial ranks by how many others dominate it.
#[derive(Debug)]
pub struct TpeSampler {
    settings: TpeSettings,
    groups: Vec<Group>,
    of: Vec<Dimension>,
    seen: BTreeSet<u64>,
}

impl Default for TpeSampler {
    fn default() -> Self {
        Self::new(TpeSettings::default())
    }
}

/// The parameters under one condition, and what was observed of them.
#[derive(Debug)]
struct Group {
    dimensions: Vec<Dimension>,
    /// From the best trial to the worst.
    ranked: Vec<Observation>,
    below: Mixture,
    above: Mixture,
}

#[derive(Debug, Clone)]
struct Observation {
    rank: Rank,
    number: u64,
    places: Vec<f64>,
}

/// How good a trial is: the smaller, the better.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rank {
    class: u8,
    first: f64,
    second: f64,
}

impl Rank {
    fn before(&self, number: u64, other: &Observation) -> bool {
        let classes = self.class.cmp(&other.rank.class);
        let firsts = self.first.total_cmp(&other.rank.first);
        let seconds = self.second.total_cmp(&other.rank.second);
        classes.then(firsts).then(seconds).then(number.cmp(&other.number)).is_lt()
    }

    /// The loss that weights are made of: that of complete and feasible trials.
    fn loss(&self) -> f64 {
        if self.class == 0 { self.first } else { f64::INFINITY }
    }
}

impl TpeSampler {
    /// A sampler with settings of one's own.
    #[must_use]
    pub fn new(settings: TpeSettings) -> Self {
        Self { settings, groups: Vec::new(), of: Vec::new(), seen: BTreeSet::new() }
    }

    /// Takes in what has ended since the last time.
    fn learn(&mut self, request: &Request<'_>) {
        let dimensions = request.space.dimensions();
        let directions = request.history.directions();
        // With several objectives every new trial may change every rank.
        if self.of != dimensions || directions.len() > 1 {
            self.of = dimensions.to_vec();
            self.groups = groups(dimensions, self.settings.bandwidth);
            self.seen.clear();
        }
        let counts =
            |trial: &&TrialRecord| matches!(trial.state, TrialState::Complete | TrialState::Pruned);
        for trial in request.history.finished().filter(counts) {
            if self.seen.insert(trial.number) {
                let rank = rank(trial, request);
                for group in &mut self.groups {
                    group.learn(trial, rank, &self.settings);
                }
            }
        }
    }

    fn sample(&mut self, request: &Request<'_>) -> Params {
        let mut stream = request.stream();
        let running: Vec<_> = request.history.running().collect();
        let mut params = Params::new();
        for group in &mut self.groups {
            if !group.dimensions[0].is_active(&params) {
                continue;
            }
            // Trials that run count as not good while this one is chosen.
            let mut liars = Vec::new();
            for trial in &running {
                if let Some(places) = group.places(&trial.params) {
                    group.above.insert(trial.number, f64::INFINITY, &places);
                    liars.push(trial.number);
                }
            }
            let best = group.propose(&self.settings, &mut stream);
            for number in liars {
                group.above.remove(number);
            }
            for (dimension, place) in group.dimensions.iter().zip(best) {
                params.insert(dimension.name.as_str(), decode(&dimension.domain, place));
            }
        }
        params
    }
}

impl Sampler for TpeSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        self.settings.check()?;
        self.learn(request);
        if self.seen.len() < self.settings.startup_trials {
            return Ok(draw(request.space, &mut request.stream()).into());
        }
        Ok(self.sample(request).into())
    }

    fn joins_suggestions(&self) -> bool {
        true
    }
}

fn groups(dimensions: &[Dimension], bandwidth: Bandwidth) -> Vec<Group> {
    let mut members: Vec<(Option<Condition>, Vec<Dimension>)> = Vec::new();
    for dimension in dimensions {
        match members.iter_mut().find(|(condition, _)| *condition == dimension.condition) {
            Some((_, group)) => group.push(dimension.clone()),
            None => members.push((dimension.condition.clone(), vec![dimension.clone()])),
        }
    }
    let mixture = |dimensions: &[Dimension]| {
        Mixture::new(dimensions.iter().map(|dimension| &dimension.domain), bandwidth)
    };
    members
        .into_iter()
        .map(|(_, dimensions)| Group {
            below: mixture(&dimensions),
            above: mixture(&dimensions),
            dimensions,
            ranked: Vec::new(),
        })
        .collect()
}

impl Group {
    /// Where the trial lies; none if it lacks a parameter of the group, or has one outside its domain.
    fn places(&self, params: &Params) -> Option<Vec<f64>> {
        self.dimensions.iter().map(|d| encode(&d.domain, params.get(&d.name)?)).collect()
    }

    fn learn(&mut self, trial: &TrialRecord, rank: Rank, settings: &TpeSettings) {
        let Some(places) = self.places(&trial.params) else { return };
        let number = trial.number;
        let place = self.ranked.partition_point(|other| !rank.before(number, other));
        let good = self.below.len();
        let side = if place < good { &mut self.below } else { &mut self.above };
        side.insert(number, rank.loss(), &places);
        self.ranked.insert(place, Observation { rank, number, places });
        let target = settings.good(self.ranked.len());
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

    /// The candidate where good trials are dense and others are not.
    fn propose(
        &self,
        settings: &TpeSettings,
        stream: &mut mlp_core::random::ChaCha8Rng,
    ) -> Vec<f64> {
        let (below, above) = self.weights(settings.weighting);
        let mut candidates: Vec<_> =
            (0..settings.candidates).map(|_| self.below.draw(&below, stream)).collect();
        let good = self.below.log_densities(&below, &candidates);
        let others = self.above.log_densities(&above, &candidates);
        let ratios = good.iter().zip(&others).map(|(good, other)| Some(good - other));
        let best = Direction::Maximize.best(ratios).map_or(0, |(place, _)| place);
        candidates.swap_remove(best)
    }

    fn weights(&self, weighting: Weighting) -> (Vec<f64>, Vec<f64>) {
        match weighting {
            Weighting::Recency => (recency(self.below.len()), recency(self.above.len())),
            Weighting::Improvement => {
                let threshold = self.above.losses.iter().copied().fold(f64::INFINITY, f64::min);
                let even = normalised(vec![1.0; self.above.len() + 1]);
                (improvement(&self.below.losses, threshold), even)
            }
        }
    }
}

/// Weights of so many kernels and the prior.
fn recency(kernels: usize) -> Vec<f64> {
    let mut weights = ramp(kernels);
    weights.push(1.0);
    normalised(weights)
}

/// Optuna's default weights of so many trials, the oldest first.
fn ramp(trials: usize) -> Vec<f64> {
    let old = trials.saturating_sub(25);
    let low = 1.0 / trials.max(1) as f64;
    let step = if old > 1 { (1.0 - low) / (old - 1) as f64 } else { 0.0 };
    let weight = |trial: usize| if trial < old { low + step * trial as f64 } else { 1.0 };
    (0..trials).map(weight).collect()
}

/// Weights by the improvement over a threshold, with the prior's; even ones where that says nothing.
fn improvement(losses: &[f64], threshold: f64) -> Vec<f64> {
    let gains: Vec<f64> = losses.iter().map(|loss| (threshold - loss).max(1e-12)).collect();
    let sum: f64 = gains.iter().sum();
    if gains.is_empty() || !sum.is_finite() {
        return normalised(vec![1.0; losses.len() + 1]);
    }
    let prior = sum / gains.len() as f64;
    normalised(gains.into_iter().chain([prior]).collect())
}

fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

fn rank(trial: &TrialRecord, request: &Request<'_>) -> Rank {
    let directions = request.history.directions();
    let violation = trial.violation();
    if violation > 0.0 {
        return Rank { class: 2, first: violation, second: 0.0 };
    }
    let loss = |value: f64| if directions[0] == Direction::Minimize { value } else { -value };
    if trial.state == TrialState::Pruned {
        // The further a pruned trial came, the better.
        let last = trial.reports.last_key_value();
        let first = last.map_or(1.0, |(step, _)| -(*step as f64));
        let second = last.map_or(0.0, |(_, value)| loss(*value));
        let second = if second.is_nan() { f64::INFINITY } else { second };
        return Rank { class: 1, first, second };
    }
    let first = match directions.len() {
        1 => trial.value().map_or(f64::INFINITY, loss),
        _ => {
            let dominates = |other: &&TrialRecord| {
                crate::order::dominates(directions, &other.values, &trial.values)
            };
            request.history.complete().filter(dominates).count() as f64
        }
    };
    Rank { class: 0, first, second: 0.0 }
}

fn encode(domain: &Domain, value: &ParamValue) -> Option<f64> {
    match domain {
        Domain::Categorical { choices } => {
            choices.iter().position(|choice| choice == value).map(|place| place as f64)
        }
        _ => Axis::of(domain)?.encode(value),
    }
}

fn decode(domain: &Domain, place: f64) -> ParamValue {
    match (domain, Axis::of(domain)) {
        (_, Some(axis)) => axis.decode(place),
        (Domain::Categorical { choices }, None) => choices[place as usize].clone(),
        _ => unreachable!("a domain without an axis is categorical"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_good_trials_is_rounded_up_and_capped() {
        let optuna = TpeSettings::optuna();
        let counts = [1, 10, 11, 250, 10_000].map(|trials| optuna.good(trials));
        assert_eq!(counts, [1, 1, 2, 25, 25]);
        assert_eq!(TpeSettings::default().good(20), 3);
    }

    #[test]
    fn old_trials_weigh_less() {
        assert_eq!(ramp(0), [0.0; 0]);
        assert_eq!(ramp(10), [1.0; 10]);
        let weights = ramp(50);
        assert_eq!((weights[0], weights[24], weights[49]), (0.02, 1.0, 1.0));
        assert!(weights.is_sorted());
    }

    #[test]
    fn improvement_over_the_others_weighs() {
        assert_eq!(improvement(&[1.0, 3.0], 4.0), [0.5, 1.0 / 6.0, 2.0 / 6.0]);
        assert_eq!(improvement(&[1.0], f64::INFINITY), [0.5, 0.5]);
        assert_eq!(improvement(&[f64::NEG_INFINITY], 0.0), [0.5, 0.5]);
    }
}
