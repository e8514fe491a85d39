//! Mixtures of product kernels over observed trials, updated trial by trial.

use mlp_core::Domain;
use mlp_core::random::{self, ChaCha8Rng};

use super::log_sum::{LogSum, TILE};
use super::numeric::Numeric;
use super::settings::Bandwidth;
use crate::axis::Axis;

/// A density over some parameters: one kernel per observed trial, and a broad prior. Kernels stand in the order of their trials' numbers, so
/// that the state does not depend on the order of the updates.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    numbers: Vec<u64>,
    pub(super) losses: Vec<f64>,
    columns: Vec<Column>,
    /// By kernel: the sum of its normalisers' logarithms.
    constants: Vec<f64>,
}

#[derive(Debug, Clone)]
enum Column {
    Numeric(Numeric),
    Categorical { choices: usize, chosen: Vec<usize> },
}

impl Mixture {
    pub(super) fn new<'a>(
        domains: impl IntoIterator<Item = &'a Domain>,
        bandwidth: Bandwidth,
    ) -> Self {
        let columns = domains.into_iter().map(|domain| match (Axis::of(domain), domain) {
            (Some(axis), _) => Column::Numeric(Numeric::new(axis, bandwidth)),
            (None, Domain::Categorical { choices }) => {
                Column::Categorical { choices: choices.len(), chosen: Vec::new() }
            }
            _ => unreachable!("a domain without an axis is categorical"),
        });
        let (numbers, losses, constants) = (Vec::new(), Vec::new(), Vec::new());
        Self { numbers, losses, columns: columns.collect(), constants }
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Adds the kernel of a trial that is not there.
    pub(super) fn insert(&mut self, number: u64, loss: f64, places: &[f64]) {
        let slot = self.numbers.partition_point(|&other| other < number);
        self.numbers.insert(slot, number);
        self.losses.insert(slot, loss);
        self.constants.insert(slot, 0.0);
        let mut changed = vec![slot];
        for (column, &place) in self.columns.iter_mut().zip(places) {
            match column {
                Column::Numeric(numeric) => {
                    changed.extend(numeric.insert(&self.numbers, slot, place));
                }
                Column::Categorical { chosen, .. } => chosen.insert(slot, place as usize),
            }
        }
        self.renew(changed);
    }

    /// Takes the kernel of a trial away; whether it was there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let Ok(slot) = self.numbers.binary_search(&number) else { return false };
        self.numbers.remove(slot);
        self.losses.remove(slot);
        self.constants.remove(slot);
        let mut changed = Vec::new();
        for column in &mut self.columns {
            match column {
                Column::Numeric(numeric) => {
                    changed.extend(numeric.remove(&self.numbers, slot, number));
                }
                Column::Categorical { chosen, .. } => {
                    chosen.remove(slot);
                }
            }
        }
        self.renew(changed);
        true
    }

    fn renew(&mut self, mut changed: Vec<usize>) {
        changed.sort_unstable();
        changed.dedup();
        for slot in changed {
            let constants = self.columns.iter().map(|column| match column {
                Column::Numeric(numeric) => numeric.constant(slot),
                Column::Categorical { .. } => 0.0,
            });
            self.constants[slot] = constants.sum();
        }
    }

    /// The weights of the kernels where some columns have these choices already.
    pub(super) fn given(&self, weights: &[f64], fixed: &[(usize, usize)]) -> Vec<f64> {
        let mut given = weights.to_vec();
        for &(column, choice) in fixed {
            let Column::Categorical { choices, chosen } = &self.columns[column] else { continue };
            for (kernel, weight) in given.iter_mut().enumerate() {
                let chosen = chosen.get(kernel).copied();
                *weight *= share(*choices, chosen, choice, weights.len() as f64);
            }
        }
        let sum: f64 = given.iter().sum();
        given.iter_mut().for_each(|weight| *weight /= sum);
        given
    }

    /// Draws a point; `weights` has one entry per kernel and a last one for the prior, and sums to 1. Columns with a fixed choice keep it.
    pub(super) fn draw(
        &self,
        weights: &[f64],
        fixed: &[(usize, usize)],
        stream: &mut ChaCha8Rng,
    ) -> Vec<f64> {
        let kernel = pick(weights.iter().copied(), random::uniform(stream));
        let kernels = weights.len() as f64;
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(place, column)| match column {
                Column::Numeric(numeric) => numeric.draw(kernel, stream),
                Column::Categorical { choices, chosen } => {
                    if let Some((_, choice)) = fixed.iter().find(|(column, _)| *column == place) {
                        return *choice as f64;
                    }
                    let chosen = chosen.get(kernel).copied();
                    let shares =
                        (0..*choices).map(|choice| share(*choices, chosen, choice, kernels));
                    pick(shares, random::uniform(stream)) as f64
                }
            })
            .collect()
    }

    /// The logarithm of the density at each point, up to a constant that is the same for all mixtures over the same parameters.
    pub(super) fn log_densities(&mut self, weights: &[f64], points: &[Vec<f64>]) -> Vec<f64> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            if let Column::Numeric(numeric) = column {
                numeric.prepare(points.iter().map(|point| point[place]));
            }
        }
        let kernels = weights.len() as f64;
        let base: Vec<f64> =
            self.constants.iter().zip(weights).map(|(c, weight)| weight.ln() + c).collect();
        let mut sums = vec![LogSum::new(); points.len()];
        let mut terms = [0.0; TILE];
        // Tile by tile, so that the kernels are read from the nearest cache for all points but the first.
        for (tile, base) in base.chunks(TILE).enumerate() {
            let terms = &mut terms[..base.len()];
            for (point, sum) in points.iter().zip(&mut sums) {
                terms.copy_from_slice(base);
                for (column, &place) in self.columns.iter().zip(point) {
                    column.add_kernels(place, tile * TILE, kernels, terms);
                }
                sum.add(terms);
            }
        }
        let prior_weight = weights.last().map_or(0.0, |weight| weight.ln());
        let columns = &self.columns;
        let densities = points.iter().zip(sums).map(|(point, mut sum)| {
            let columns = columns.iter().zip(point);
            let prior: f64 = columns.map(|(column, &place)| column.log_prior(place)).sum();
            sum.add(&mut [prior_weight + prior]);
            sum.ln()
        });
        densities.collect()
    }
}

impl Column {
    fn add_kernels(&self, place: f64, start: usize, kernels: f64, terms: &mut [f64]) {
        match self {
            Self::Numeric(numeric) => numeric.add_kernels(place, start, terms),
            Self::Categorical { choices, chosen } => {
                let place = place as usize;
                let log = |chosen| share(*choices, Some(chosen), place, kernels).ln();
                let (other, same) = (log(usize::MAX), log(place));
                for (term, chosen) in terms.iter_mut().zip(&chosen[start..]) {
                    *term += if *chosen == place { same } else { other };
                }
            }
        }
    }

    fn log_prior(&self, place: f64) -> f64 {
        match self {
            Self::Numeric(numeric) => numeric.log_prior(place),
            Self::Categorical { choices, .. } => -(*choices as f64).ln(),
        }
    }
}

/// What a categorical kernel gives to a choice: Optuna's smoothing, one prior weight shared by the kernels. The prior is even.
fn share(choices: usize, chosen: Option<usize>, choice: usize, kernels: f64) -> f64 {
    let smoothing = 1.0 / kernels;
    match chosen {
        None => 1.0 / choices as f64,
        Some(chosen) => {
            let hit = if chosen == choice { 1.0 } else { 0.0 };
            (smoothing + hit) / (smoothing * choices as f64 + 1.0)
        }
    }
}

/// The place of the weight in which a draw from [0, 1) falls.
fn pick(weights: impl Iterator<Item = f64>, draw: f64) -> usize {
    let (mut left, mut last) = (draw, 0);
    for (place, weight) in weights.enumerate() {
        left -= weight;
        if left < 0.0 {
            return place;
        }
        last = place;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::Dimension;

    fn mixed() -> Vec<Domain> {
        vec![
            Dimension::float("x", 0.0, 1.0).domain,
            Dimension::log_int("n", 1, 100).domain,
            Dimension::categorical("c", ["a", "b", "c"]).domain,
        ]
    }

    fn points(count: u64) -> Vec<Vec<f64>> {
        let mut stream = random::stream(4, 0);
        let one = |stream: &mut ChaCha8Rng| {
            let axis = Axis::of(&mixed()[1]).unwrap();
            let n = axis.settle(axis.low + random::uniform(stream) * axis.range());
            vec![random::uniform(stream), n, random::below(stream, 3) as f64]
        };
        (0..count).map(|_| one(&mut stream)).collect()
    }

    #[test]
    fn updates_in_any_order_give_the_same_bits_as_a_fresh_mixture() {
        for bandwidth in [Bandwidth::Watanabe, Bandwidth::Optuna] {
            let points = points(130);
            let mut fresh = Mixture::new(&mixed(), bandwidth);
            let mut worn = Mixture::new(&mixed(), bandwidth);
            for number in (0..130).rev() {
                worn.insert(number, 1.0, &points[number as usize]);
                // What is kept about cells must follow the updates.
                worn.log_densities(&vec![0.1; worn.len() + 1], &points[..7]);
            }
            for number in (0..130).filter(|number| number % 3 == 0) {
                worn.remove(number);
            }
            for number in (0..130).filter(|number| number % 3 != 0) {
                fresh.insert(number, 1.0, &points[number as usize]);
            }
            let weights = vec![1.0 / (fresh.len() + 1) as f64; fresh.len() + 1];
            let densities = |mixture: &mut Mixture| mixture.log_densities(&weights, &points);
            assert_eq!(densities(&mut fresh), densities(&mut worn));
        }
    }

    #[test]
    fn a_density_over_one_range_integrates_to_one() {
        let domain = Dimension::float("x", 0.0, 2.0).domain;
        let mut mixture = Mixture::new([&domain], Bandwidth::Watanabe);
        for (number, place) in [0.1, 0.15, 1.9].into_iter().enumerate() {
            mixture.insert(number as u64, 0.0, &[place]);
        }
        let points: Vec<_> = (0..20_000).map(|i| vec![(f64::from(i) + 0.5) * 1e-4]).collect();
        let densities = mixture.log_densities(&[0.25; 4], &points);
        let sum: f64 = densities.iter().map(|log| log.exp() * 1e-4).sum();
        assert!((sum / std::f64::consts::TAU.sqrt() - 1.0).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn log_densities_are_those_of_optunas_estimator_vectors() {
        // `_ParzenEstimator.log_pdf` of Optuna 5.0.0 with its default settings.
        let domains = [
            Dimension::float("x", 0.0, 1.0).domain,
            Dimension::log_int("n", 1, 100).domain,
            Dimension::stepped_float("s", 0.0, 1.0, 0.25).domain,
            Dimension::categorical("c", ["a", "b", "c"]).domain,
        ];
        let mut mixture = Mixture::new(&domains, Bandwidth::Optuna);
        let observations = [
            [0.1, 3.0, 0.0, 0.0],
            [0.15, 50.0, 0.25, 2.0],
            [0.8, 7.0, 1.0, 1.0],
            [0.82, 7.0, 0.25, 1.0],
        ];
        for (number, [x, n, s, c]) in (0..).zip(observations) {
            mixture.insert(number, 0.0, &[x, f64::ln(n), s, c]);
        }
        let points = [[0.12, 3.0, 0.0, 0.0], [0.5, 10.0, 0.5, 1.0], [0.99, 90.0, 1.0, 2.0]]
            .map(|[x, n, s, c]| vec![x, f64::ln(n), s, c]);
        let densities = mixture.log_densities(&super::super::weights::recency(4), &points);
        let known = [-3.140_715_367_329_282_7, -6.101_025_622_582_651, -10.340_873_322_820_793];
        // Ours leave √2π out for the one continuum.
        let shift = 0.5 * std::f64::consts::TAU.ln();
        for (own, known) in densities.iter().zip(known) {
            assert!((own - shift - known).abs() < 1e-9, "{} {known}", own - shift);
        }
    }

    #[test]
    fn the_masses_of_a_grid_and_of_choices_sum_to_one() {
        let domains = [
            Dimension::stepped_float("x", 0.0, 1.0, 0.25).domain,
            Dimension::log_int("n", 1, 9).domain,
            Dimension::categorical("c", ["a", "b", "c"]).domain,
        ];
        let mut mixture = Mixture::new(&domains, Bandwidth::Optuna);
        mixture.insert(0, 0.0, &[0.25, 3.0_f64.ln(), 1.0]);
        mixture.insert(1, 0.0, &[1.0, 0.0, 2.0]);
        let mut points = Vec::new();
        for x in 0..5 {
            for n in 1..=9 {
                points.extend(
                    (0..3).map(|c| vec![f64::from(x) * 0.25, f64::from(n).ln(), f64::from(c)]),
                );
            }
        }
        let densities = mixture.log_densities(&[0.3, 0.5, 0.2], &points);
        let sum: f64 = densities.iter().map(|log| log.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
}
