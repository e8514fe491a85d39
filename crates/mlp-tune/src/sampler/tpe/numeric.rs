//! The kernels of a mixture along one numeric parameter.

use std::ops::Range;

use mlp_core::random::{self, ChaCha8Rng};

use super::width::Width;
use crate::axis::Axis;

/// The place of the prior among the sorted observations: no trial has this number.
const PRIOR: u64 = u64::MAX;
/// How many cells of a grid keep their masses under every kernel; beyond that all are forgotten.
const MAX_CELLS: usize = 128;

/// Truncated normal kernels on an axis, in the order of their trials' numbers. What depends on the neighbours is renewed where it changes.
#[derive(Debug, Clone)]
pub(super) struct Numeric {
    axis: Axis,
    width: Width,
    /// Places and trial numbers, sorted.
    sorted: Vec<(f64, u64)>,
    mu: Vec<f64>,
    sigma: Vec<f64>,
    /// 1/(σ√2).
    inverse: Vec<f64>,
    /// The logarithm of the normaliser; without √2π on a continuum.
    constant: Vec<f64>,
    /// The logarithm of the prior's normaliser, like `constant`.
    prior_constant: f64,
    /// What σ was last held above.
    floor: f64,
    /// On a grid: the logarithm of the mass of a cell under each kernel and the prior, by the place of the cell. Only saves time.
    cells: Vec<(f64, Vec<f64>)>,
}

impl Numeric {
    pub(super) fn new(axis: Axis, width: Width) -> Self {
        let middle = axis.low + axis.range() / 2.0;
        let sorted = if width.middle { vec![(middle, PRIOR)] } else { Vec::new() };
        let mut numeric = Self {
            axis,
            width,
            sorted,
            mu: Vec::new(),
            sigma: Vec::new(),
            inverse: Vec::new(),
            constant: Vec::new(),
            prior_constant: 0.0,
            floor: f64::NAN,
            cells: Vec::new(),
        };
        let (mu, sigma) = numeric.prior();
        numeric.prior_constant = numeric.constant_of(mu, sigma);
        numeric
    }

    /// Adds the kernel of the trial that stands at `slot` of `numbers`; returns the slots whose kernels changed.
    pub(super) fn insert(&mut self, numbers: &[u64], slot: usize, place: f64) -> Vec<usize> {
        self.mu.insert(slot, place);
        for values in [&mut self.sigma, &mut self.inverse, &mut self.constant] {
            values.insert(slot, 0.0);
        }
        self.cells.iter_mut().for_each(|(_, masses)| masses.insert(slot, 0.0));
        let entry = (place, numbers[slot]);
        let position = self.sorted.partition_point(|other| before(other, &entry));
        self.sorted.insert(position, entry);
        self.update(numbers, position.saturating_sub(1)..position + 2)
    }

    /// Takes the kernel away that stood at `slot` before `number` was taken from `numbers`; returns the slots whose kernels changed.
    pub(super) fn remove(&mut self, numbers: &[u64], slot: usize, number: u64) -> Vec<usize> {
        let entry = (self.mu.remove(slot), number);
        for values in [&mut self.sigma, &mut self.inverse, &mut self.constant] {
            values.remove(slot);
        }
        self.cells.iter_mut().for_each(|(_, masses)| {
            masses.remove(slot);
        });
        let position = self.sorted.partition_point(|other| before(other, &entry));
        self.sorted.remove(position);
        self.update(numbers, position.saturating_sub(1)..position + 1)
    }

    /// Renews the kernels around changed positions; and all of them if the least bandwidth has changed with their number.
    fn update(&mut self, numbers: &[u64], positions: Range<usize>) -> Vec<usize> {
        let floor = self.width.floor(numbers.len()) * self.axis.range();
        let few = self.sorted.len() <= 3; // the ends count differently then
        let all = floor != self.floor || few;
        self.floor = floor;
        if all {
            self.cells.clear();
        }
        let end = self.sorted.len();
        let positions = if all { 0..end } else { positions.start..positions.end.min(end) };
        let mut changed = Vec::new();
        for position in positions {
            let (mu, number) = self.sorted[position];
            let Ok(slot) = numbers.binary_search(&number) else { continue }; // the prior
            let sigma = self.gap_at(position).clamp(self.floor, self.axis.range());
            if sigma == self.sigma[slot] {
                continue;
            }
            self.sigma[slot] = sigma;
            self.inverse[slot] = std::f64::consts::FRAC_1_SQRT_2 / sigma;
            self.constant[slot] = self.constant_of(mu, sigma);
            for (place, masses) in &mut self.cells {
                masses[slot] = log_mass(&self.axis, *place, mu, sigma);
            }
            changed.push(slot);
        }
        changed
    }

    /// The distance to the farther neighbour.
    fn gap_at(&self, position: usize) -> f64 {
        let place = self.sorted[position].0;
        let ends_count = self.width.ends || self.sorted.len() < 2;
        let end = |distance| if ends_count { distance } else { 0.0 };
        let left = match position.checked_sub(1) {
            Some(left) => place - self.sorted[left].0,
            None => end(place - self.axis.low),
        };
        let right = match self.sorted.get(position + 1) {
            Some(right) => right.0 - place,
            None => end(self.axis.high - place),
        };
        left.max(right)
    }

    fn constant_of(&self, mu: f64, sigma: f64) -> f64 {
        let mass = mass((self.axis.low - mu) / sigma, (self.axis.high - mu) / sigma);
        let width = if self.axis.step.is_some() { 0.0 } else { sigma.ln() };
        -mass.ln() - width
    }

    /// The prior's mean and standard deviation.
    fn prior(&self) -> (f64, f64) {
        (self.axis.low + self.axis.range() / 2.0, self.axis.range())
    }

    /// The logarithm of a kernel's normaliser.
    pub(super) fn constant(&self, slot: usize) -> f64 {
        self.constant[slot]
    }

    /// The logarithm of the prior's density at a place.
    pub(super) fn log_prior(&self, place: f64) -> f64 {
        let (mu, sigma) = self.prior();
        let kernel = match self.axis.step {
            Some(_) => log_mass(&self.axis, place, mu, sigma),
            None => -0.5 * ((place - mu) / sigma).powi(2),
        };
        kernel + self.prior_constant
    }

    /// Makes sure that the masses of these cells are known, if the axis is a grid.
    pub(super) fn prepare(&mut self, places: impl Iterator<Item = f64>) {
        if self.axis.step.is_none() {
            return;
        }
        if self.cells.len() > MAX_CELLS {
            self.cells.clear();
        }
        for place in places {
            let position = self.cells.partition_point(|(other, _)| *other < place);
            if self.cells.get(position).is_none_or(|(other, _)| *other != place) {
                let kernels = self.mu.iter().zip(&self.sigma);
                let masses = kernels.map(|(mu, sigma)| log_mass(&self.axis, place, *mu, *sigma));
                self.cells.insert(position, (place, masses.collect()));
            }
        }
    }

    /// Whether it is a range without steps.
    pub(super) fn is_range(&self) -> bool {
        self.axis.step.is_none()
    }

    /// Some of the kernels of a range, seen from a place.
    pub(super) fn bell(&self, place: f64, slots: Range<usize>) -> Bell<'_> {
        Bell { place, mu: &self.mu[slots.clone()], inverse: &self.inverse[slots] }
    }

    /// Adds to each term the logarithm of its kernel's mass at a place of a grid, without its constant; the first term is that of slot
    /// `start`. The place must be prepared.
    pub(super) fn add_masses(&self, place: f64, start: usize, terms: &mut [f64]) {
        let position = self.cells.partition_point(|(other, _)| *other < place);
        let masses = &self.cells[position].1[start..];
        for (term, mass) in terms.iter_mut().zip(masses) {
            *term += mass;
        }
    }

    /// A place drawn from a kernel; from the prior if there is no such kernel.
    pub(super) fn draw(&self, slot: usize, stream: &mut ChaCha8Rng) -> f64 {
        let (mu, sigma) = match self.mu.get(slot) {
            Some(&mu) => (mu, self.sigma[slot]),
            None => self.prior(),
        };
        // The centre lies in the range and σ is at most its width, so a third of the draws at least are in it.
        loop {
            let place = mu + sigma * random::normal(stream);
            if (self.axis.low..=self.axis.high).contains(&place) {
                return self.axis.settle(place);
            }
        }
    }
}

/// Some kernels of a range, seen from a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bell<'a> {
    place: f64,
    mu: &'a [f64],
    inverse: &'a [f64],
}

/// Takes from each term what is in the exponents of its kernels along some ranges. In a form of which the compiler makes vectors.
pub(super) fn subtract_squares<const N: usize>(bells: [Bell<'_>; N], terms: &mut [f64]) {
    let length = terms.len();
    let bells = bells.map(|bell| (bell.place, &bell.mu[..length], &bell.inverse[..length]));
    for (slot, term) in terms.iter_mut().enumerate() {
        for (place, mu, inverse) in &bells {
            let z = (place - mu[slot]) * inverse[slot];
            *term -= z * z;
        }
    }
}

fn before(one: &(f64, u64), other: &(f64, u64)) -> bool {
    one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)).is_lt()
}

/// The logarithm of the mass of the grid cell around a place.
fn log_mass(axis: &Axis, place: f64, mu: f64, sigma: f64) -> f64 {
    let (low, high) = axis.cell(place).unwrap_or((place, place));
    mass((low - mu) / sigma, (high - mu) / sigma).ln()
}

/// The mass of the standard normal distribution between two points, from the tail that keeps the digits. At least the smallest double.
fn mass(low: f64, high: f64) -> f64 {
    let upper_tail = |x: f64| 0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2);
    let (low, high) = if low > 0.0 { (low, high) } else { (-high, -low) };
    (upper_tail(low) - upper_tail(high)).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::Dimension;

    fn check(width: Width, observations: &[f64], sigmas: &[f64]) {
        let domain = Dimension::float("x", -1.0, 1.0).domain;
        let mut numeric = Numeric::new(Axis::of(&domain).unwrap(), width);
        let numbers: Vec<u64> = (0..observations.len() as u64).collect();
        for (slot, &place) in observations.iter().enumerate() {
            numeric.insert(&numbers[..=slot], slot, place);
        }
        assert_eq!(numeric.prior(), (0.0, 2.0));
        assert_eq!(numeric.mu, observations);
        assert_eq!(numeric.sigma.len(), sigmas.len());
        for (own, known) in numeric.sigma.iter().zip(sigmas) {
            assert!((own - known).abs() < 1e-12, "σ of {observations:?}: {own}, not {known}");
        }
    }

    #[test]
    fn kernels_on_minus_one_to_one_are_optunas() {
        check(Width::OPTUNA, &[], &[]);
        check(Width::OPTUNA, &[0.4], &[1.4]);
        check(Width::OPTUNA, &[-0.3, 0.3], &[0.6, 0.6]);
    }

    #[test]
    fn tight_kernels_reach_to_observed_neighbours_and_centred_ones_to_the_middle_too() {
        check(Width::TIGHT, &[0.4], &[1.4]);
        check(Width::TIGHT, &[0.3, 0.4, 0.9], &[0.1, 0.5, 0.5]);
        check(Width::CENTRED, &[0.3, 0.4, 0.9], &[0.3, 0.5, 0.5]);
        check(Width::CENTRED, &[0.4], &[0.4]);
        let crowd = [0.50, 0.505, 0.51, 0.515, 0.52];
        check(Width::TIGHT, &crowd, &[0.06; 5]);
    }

    #[test]
    fn the_ends_and_the_prior_are_neighbours_in_watanabes_bandwidth() {
        check(Width::WATANABE, &[], &[]);
        check(Width::WATANABE, &[0.4], &[0.6]);
        check(Width::WATANABE, &[-0.3, 0.3], &[0.7, 0.7]);
        // Close ones are held above max(0.03, (1/7)²) of the range.
        let crowd = [0.50, 0.505, 0.51, 0.515, 0.52];
        check(Width::WATANABE, &crowd, &[0.5, 0.06, 0.06, 0.06, 0.48]);
    }
}
