//! Mixtures of product kernels over observed trials, updated trial by trial.

use mlp_core::random::{self, ChaCha8Rng};
use mlp_core::{Direction, Domain};

use super::column::{Column, share};
use super::log_sum::{LogSum, TILE};
use super::numeric::subtract_squares;
use super::tiles::{Tile, Tiles};
use super::width::Width;

/// After how many tiles a contest picks the point that it finishes first.
const FIRST_TILES: usize = 2;
/// More than all the rounding in the logarithm of a density comes to.
const ROUNDING: f64 = 1e-6;

/// A density over some parameters: one kernel per observed trial, and a broad prior. Kernels stand in the order of their trials' numbers, so
/// that the state does not depend on the order of the updates.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    numbers: Vec<u64>,
    pub(super) losses: Vec<f64>,
    columns: Vec<Column>,
    /// Which columns are ranges without steps, and which are not.
    ranges: Vec<usize>,
    others: Vec<usize>,
    /// By kernel: the sum of its normalisers' logarithms.
    constants: Vec<f64>,
}

impl Mixture {
    pub(super) fn new<'a>(domains: impl IntoIterator<Item = &'a Domain>, width: Width) -> Self {
        let columns: Vec<Column> =
            domains.into_iter().map(|domain| Column::new(domain, width)).collect();
        let is_range = |place: &usize| columns[*place].is_range();
        let (ranges, others) = (0..columns.len()).partition(is_range);
        let (numbers, losses, constants) = (Vec::new(), Vec::new(), Vec::new());
        Self { numbers, losses, columns, ranges, others, constants }
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
        self.prepare(points);
        let tiles = self.tiles(weights);
        let mut sums = vec![LogSum::new(); points.len()];
        // Tile by tile, so that the kernels are read from the nearest cache for all points but the first.
        for tile in tiles.iter() {
            for (point, sum) in points.iter().zip(&mut sums) {
                self.add_tile(&tile, point, sum);
            }
        }
        let densities = points.iter().zip(sums);
        densities.map(|(point, sum)| self.with_prior(&tiles, point, sum)).collect()
    }

    /// What remains of each lead when the logarithm of the density at its point is taken off, for those that may be the greatest; none for
    /// those that cannot be.
    ///
    /// The density at a point is a sum that only grows from kernel to kernel, so what is left of a lead only falls. Once it is below what a
    /// finished one has kept, the rest of the sum is not needed.
    pub(super) fn contest(
        &mut self,
        weights: &[f64],
        points: &[Vec<f64>],
        leads: &[f64],
    ) -> Vec<Option<f64>> {
        self.prepare(points);
        let tiles = self.tiles(weights);
        let mut sums = vec![LogSum::new(); points.len()];
        let mut rest = tiles.iter();
        for tile in rest.by_ref().take(FIRST_TILES) {
            for (point, sum) in points.iter().zip(&mut sums) {
                self.add_tile(&tile, point, sum);
            }
        }
        let left = |place: usize, sum: &LogSum| leads[place] - sum.ln();
        let hopes = sums.iter().enumerate().map(|(place, sum)| Some(left(place, sum)));
        let Some((first, _)) = Direction::Maximize.best(hopes) else {
            return vec![None; points.len()];
        };
        for tile in rest.clone() {
            self.add_tile(&tile, &points[first], &mut sums[first]);
        }
        let finish =
            |place: usize, sum| leads[place] - self.with_prior(&tiles, &points[place], sum);
        let bar = finish(first, sums[first]) - ROUNDING;
        let mut open: Vec<usize> = (0..points.len()).filter(|&place| place != first).collect();
        for tile in rest {
            open.retain(|&place| {
                let has_lost = left(place, &sums[place]) < bar;
                !has_lost
            });
            for &place in &open {
                self.add_tile(&tile, &points[place], &mut sums[place]);
            }
        }
        let is_open = |place: &usize| *place == first || open.contains(place);
        let finished = |place| is_open(&place).then(|| finish(place, sums[place]));
        (0..points.len()).map(finished).collect()
    }

    fn prepare(&mut self, points: &[Vec<f64>]) {
        for (place, column) in self.columns.iter_mut().enumerate() {
            if let Column::Numeric(numeric) = column {
                numeric.prepare(points.iter().map(|point| point[place]));
            }
        }
    }

    fn tiles(&self, weights: &[f64]) -> Tiles {
        debug_assert_eq!(weights.len(), self.len() + 1);
        // Equal weights stand together: their logarithm is taken once.
        let (mut last, mut log) = (f64::NAN, f64::NAN);
        let mut ln = |weight: f64| {
            if weight != last {
                (last, log) = (weight, weight.ln());
            }
            log
        };
        let base = self.constants.iter().zip(weights).map(|(c, &weight)| ln(weight) + c).collect();
        let prior = weights.last().map_or(0.0, |weight| weight.ln());
        Tiles { base, prior, kernels: weights.len() as f64 }
    }

    fn add_tile(&self, tile: &Tile<'_>, point: &[f64], sum: &mut LogSum) {
        let mut terms = [0.0; TILE];
        let terms = &mut terms[..tile.base.len()];
        terms.copy_from_slice(tile.base);
        // Ranges are taken together, so that the terms are loaded and stored once for several of them.
        let bell = |column: usize| self.columns[column].bell(point[column], tile);
        let (fours, rest) = self.ranges.as_chunks::<4>();
        let (twos, ones) = rest.as_chunks::<2>();
        for &[a, b, c, d] in fours {
            subtract_squares([bell(a), bell(b), bell(c), bell(d)], terms);
        }
        for &[a, b] in twos {
            subtract_squares([bell(a), bell(b)], terms);
        }
        for &one in ones {
            subtract_squares([bell(one)], terms);
        }
        for &column in &self.others {
            self.columns[column].add_kernels(point[column], tile, terms);
        }
        sum.add(terms);
    }

    fn with_prior(&self, tiles: &Tiles, point: &[f64], mut sum: LogSum) -> f64 {
        let columns = self.columns.iter().zip(point);
        let prior: f64 = columns.map(|(column, &place)| column.log_prior(place)).sum();
        sum.add(&mut [tiles.prior + prior]);
        sum.ln()
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
    use crate::axis::Axis;
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
        for width in [Width::WATANABE, Width::OPTUNA, Width::TIGHT] {
            let points = points(130);
            let mut fresh = Mixture::new(&mixed(), width);
            let mut worn = Mixture::new(&mixed(), width);
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
    fn a_contest_finishes_its_winner_and_few_others() {
        let mut mixture = Mixture::new(&mixed(), Width::WATANABE);
        let kernels = points(1_000);
        for (number, point) in kernels.iter().enumerate() {
            mixture.insert(number as u64, 1.0, point);
        }
        let weights = vec![1.0 / 1_001.0; 1_001];
        let (mut finished, mut all) = (0, 0);
        for points in points(240).chunks(24) {
            for spread in [0.0, 1.0, 100.0] {
                let leads: Vec<f64> = (0..24).map(|k| spread * f64::from(k * 7 % 24)).collect();
                let densities = mixture.log_densities(&weights, points);
                let left = leads.iter().zip(&densities).map(|(lead, density)| Some(lead - density));
                let left: Vec<Option<f64>> = left.collect();
                let contest = mixture.contest(&weights, points, &leads);
                let best = |left: &[Option<f64>]| Direction::Maximize.best(left.iter().copied());
                assert_eq!(best(&contest), best(&left));
                for (own, known) in contest.iter().zip(&left) {
                    assert!(own.is_none() || own == known);
                }
                finished += contest.iter().flatten().count();
                all += points.len();
            }
        }
        assert!(finished * 4 < all, "{finished} of {all}");
        // Equal ones are all finished, so that the first of them wins.
        let twins = vec![kernels[3].clone(); 3];
        assert!(mixture.contest(&weights, &twins, &[0.5; 3]).iter().all(Option::is_some));
        let nobody = mixture.contest(&weights, &twins, &[f64::NAN; 3]);
        assert!(Direction::Maximize.best(nobody).is_none());
    }

    #[test]
    fn a_density_over_one_range_integrates_to_one() {
        let domain = Dimension::float("x", 0.0, 2.0).domain;
        let mut mixture = Mixture::new([&domain], Width::WATANABE);
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
        let mut mixture = Mixture::new(&domains, Width::OPTUNA);
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
        let mut mixture = Mixture::new(&domains, Width::OPTUNA);
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
