//! Mixtures of product kernels over observed trials, updated trial by trial.

use mlp_core::Domain;
use mlp_core::random::{self, ChaCha8Rng};

use super::Bandwidth;
use crate::axis::Axis;

/// The place of the prior among the sorted observations: no trial has this number.
const PRIOR: u64 = u64::MAX;

/// A density over some parameters: one kernel per observed trial, and a broad prior. Kernels stand in the order of their trials' numbers, so
/// that the state does not depend on the order of the updates.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    pub(super) numbers: Vec<u64>,
    pub(super) losses: Vec<f64>,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
enum Column {
    Numeric(Numeric),
    Categorical { choices: usize, chosen: Vec<usize> },
}

#[derive(Debug, Clone)]
struct Numeric {
    axis: Axis,
    bandwidth: Bandwidth,
    /// Places and trial numbers, sorted.
    sorted: Vec<(f64, u64)>,
    /// By kernel: its place, its distance to the farther neighbour, 1/σ, and the logarithm of its normaliser without √2π.
    mu: Vec<f64>,
    gap: Vec<f64>,
    inverse: Vec<f64>,
    constant: Vec<f64>,
    /// What σ was last held above.
    floor: f64,
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
        Self { numbers: Vec::new(), losses: Vec::new(), columns: columns.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Adds the kernel of a trial that is not there.
    pub(super) fn insert(&mut self, number: u64, loss: f64, places: &[f64]) {
        let slot = self.numbers.partition_point(|&other| other < number);
        self.numbers.insert(slot, number);
        self.losses.insert(slot, loss);
        for (column, &place) in self.columns.iter_mut().zip(places) {
            match column {
                Column::Numeric(numeric) => numeric.insert(&self.numbers, slot, place),
                Column::Categorical { chosen, .. } => chosen.insert(slot, place as usize),
            }
        }
    }

    /// Takes the kernel of a trial away.
    pub(super) fn remove(&mut self, number: u64) {
        let Ok(slot) = self.numbers.binary_search(&number) else { return };
        self.numbers.remove(slot);
        self.losses.remove(slot);
        for column in &mut self.columns {
            match column {
                Column::Numeric(numeric) => numeric.remove(&self.numbers, slot, number),
                Column::Categorical { chosen, .. } => {
                    chosen.remove(slot);
                }
            }
        }
    }

    /// Draws a point; `weights` has one entry per kernel and a last one for the prior, and sums to 1.
    pub(super) fn draw(&self, weights: &[f64], stream: &mut ChaCha8Rng) -> Vec<f64> {
        let kernel = pick(weights, random::uniform(stream));
        let kernels = weights.len() as f64;
        let columns = self.columns.iter();
        columns
            .map(|column| match column {
                Column::Numeric(numeric) => numeric.draw(kernel, stream),
                Column::Categorical { choices, chosen } => {
                    let rows = (0..*choices)
                        .map(|choice| share(*choices, chosen.get(kernel), choice, kernels));
                    pick(&rows.collect::<Vec<_>>(), random::uniform(stream)) as f64
                }
            })
            .collect()
    }

    /// The logarithm of the density at each point, up to a constant that is the same for all mixtures over the same parameters.
    pub(super) fn log_densities(&self, weights: &[f64], points: &[Vec<f64>]) -> Vec<f64> {
        let mut base: Vec<f64> = weights.iter().map(|weight| weight.ln()).collect();
        for column in &self.columns {
            if let Column::Numeric(numeric) = column {
                numeric.add_constants(&mut base);
            }
        }
        let mut terms = vec![0.0; base.len()];
        let densities = points.iter().map(|point| {
            terms.copy_from_slice(&base);
            for (column, &place) in self.columns.iter().zip(point) {
                column.add_kernels(place, &mut terms);
            }
            log_sum_exp(&terms)
        });
        densities.collect()
    }
}

impl Column {
    fn add_kernels(&self, place: f64, terms: &mut [f64]) {
        match self {
            Self::Numeric(numeric) => numeric.add_kernels(place, terms),
            Self::Categorical { choices, chosen } => {
                let (kernels, place) = (terms.len() as f64, place as usize);
                let log = |chosen| share(*choices, chosen, place, kernels).ln();
                let (other, same) = (log(Some(&usize::MAX)), log(Some(&place)));
                for (term, chosen) in terms.iter_mut().zip(chosen) {
                    *term += if *chosen == place { same } else { other };
                }
                if let Some(prior) = terms.last_mut() {
                    *prior += log(None);
                }
            }
        }
    }
}

/// What a categorical kernel gives to a choice: Optuna's smoothing, one prior weight shared by the kernels. The prior is even.
fn share(choices: usize, chosen: Option<&usize>, choice: usize, kernels: f64) -> f64 {
    let smoothing = 1.0 / kernels;
    match chosen {
        None => 1.0 / choices as f64,
        Some(&chosen) => {
            let hit = if chosen == choice { 1.0 } else { 0.0 };
            (smoothing + hit) / (smoothing * choices as f64 + 1.0)
        }
    }
}

fn pick(weights: &[f64], draw: f64) -> usize {
    let mut left = draw;
    for (place, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return place;
        }
    }
    weights.len() - 1
}

fn log_sum_exp(terms: &[f64]) -> f64 {
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    // What is 2^-53 of the largest term in sum over a thousand kernels does not show: no exponential for it.
    let sum: f64 = terms.iter().map(|term| term - top).filter(|d| *d > -44.0).map(f64::exp).sum();
    top + sum.ln()
}

impl Numeric {
    fn new(axis: Axis, bandwidth: Bandwidth) -> Self {
        let middle = axis.low + axis.range() / 2.0;
        let sorted = match bandwidth {
            Bandwidth::Watanabe => vec![(middle, PRIOR)],
            Bandwidth::Optuna => Vec::new(),
        };
        let empty = Vec::new;
        let (mu, gap, inverse, constant) = (empty(), empty(), empty(), empty());
        Self { axis, bandwidth, sorted, mu, gap, inverse, constant, floor: f64::NAN }
    }

    fn insert(&mut self, numbers: &[u64], slot: usize, place: f64) {
        self.mu.insert(slot, place);
        self.gap.insert(slot, 0.0);
        self.inverse.insert(slot, 0.0);
        self.constant.insert(slot, 0.0);
        let entry = (place, numbers[slot]);
        let position = self.sorted.partition_point(|other| before(other, &entry));
        self.sorted.insert(position, entry);
        self.update(numbers, position.saturating_sub(1)..position + 2);
    }

    fn remove(&mut self, numbers: &[u64], slot: usize, number: u64) {
        let entry = (self.mu.remove(slot), number);
        self.gap.remove(slot);
        self.inverse.remove(slot);
        self.constant.remove(slot);
        let position = self.sorted.partition_point(|other| before(other, &entry));
        self.sorted.remove(position);
        self.update(numbers, position.saturating_sub(1)..position + 1);
    }

    /// Renews the gaps around changed positions; and all kernels if the least bandwidth has changed with their number.
    fn update(&mut self, numbers: &[u64], positions: std::ops::Range<usize>) {
        let floor = self.bandwidth.floor(numbers.len()) * self.axis.range();
        let few = self.sorted.len() <= 3; // the ends count differently then
        let all = floor != self.floor || few;
        self.floor = floor;
        let positions = if all { 0..self.sorted.len() } else { positions };
        for position in positions {
            let Some(&(_, number)) = self.sorted.get(position) else { continue };
            let Ok(slot) = numbers.binary_search(&number) else { continue }; // the prior
            self.gap[slot] = self.gap_at(position);
            let sigma = self.sigma(slot);
            self.inverse[slot] = 1.0 / sigma;
            self.constant[slot] = self.constant_of(self.mu[slot], sigma);
        }
    }

    fn sigma(&self, slot: usize) -> f64 {
        self.gap[slot].clamp(self.floor, self.axis.range())
    }

    fn gap_at(&self, position: usize) -> f64 {
        let place = self.sorted[position].0;
        let ends_count = self.bandwidth == Bandwidth::Watanabe || self.sorted.len() < 2;
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

    fn prior(&self) -> (f64, f64) {
        (self.axis.low + self.axis.range() / 2.0, self.axis.range())
    }

    fn add_constants(&self, terms: &mut [f64]) {
        for (term, constant) in terms.iter_mut().zip(&self.constant) {
            *term += constant;
        }
        let (mu, sigma) = self.prior();
        if let Some(prior) = terms.last_mut() {
            *prior += self.constant_of(mu, sigma);
        }
    }

    fn add_kernels(&self, place: f64, terms: &mut [f64]) {
        let (prior_mu, prior_sigma) = self.prior();
        let Some((prior, terms)) = terms.split_last_mut() else { return };
        if let Some((low, high)) = self.axis.cell(place) {
            for ((term, mu), inverse) in terms.iter_mut().zip(&self.mu).zip(&self.inverse) {
                *term += mass((low - mu) * inverse, (high - mu) * inverse).ln();
            }
            *prior += mass((low - prior_mu) / prior_sigma, (high - prior_mu) / prior_sigma).ln();
            return;
        }
        for ((term, mu), inverse) in terms.iter_mut().zip(&self.mu).zip(&self.inverse) {
            let z = (place - mu) * inverse;
            *term -= 0.5 * z * z;
        }
        let z = (place - prior_mu) / prior_sigma;
        *prior -= 0.5 * z * z;
    }

    fn draw(&self, kernel: usize, stream: &mut ChaCha8Rng) -> f64 {
        let (mu, sigma) = match self.mu.get(kernel) {
            Some(&mu) => (mu, self.sigma(kernel)),
            None => self.prior(),
        };
        // The centre lies in the range and σ is at most its width, so a third of the draws at least are in it.
        loop {
            let place = mu + sigma * random::normal(stream);
            if (self.axis.low..=self.axis.high).contains(&place) {
                return self.axis.encode(&self.axis.decode(place)).unwrap_or(mu);
            }
        }
    }
}

fn before(one: &(f64, u64), other: &(f64, u64)) -> bool {
    one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)).is_lt()
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

    fn check(bandwidth: Bandwidth, observations: &[f64], sigmas: &[f64]) {
        let domain = Dimension::float("x", -1.0, 1.0).domain;
        let mut mixture = Mixture::new([&domain], bandwidth);
        for (number, &place) in observations.iter().enumerate() {
            mixture.insert(number as u64, 0.0, &[place]);
        }
        let Column::Numeric(numeric) = &mixture.columns[0] else { panic!() };
        assert_eq!(numeric.prior(), (0.0, 2.0));
        assert_eq!(numeric.mu, observations);
        for (slot, sigma) in sigmas.iter().enumerate() {
            assert!((numeric.sigma(slot) - sigma).abs() < 1e-12, "σ of {observations:?}");
        }
    }

    #[test]
    fn kernels_on_minus_one_to_one_are_optunas() {
        check(Bandwidth::Optuna, &[], &[]);
        check(Bandwidth::Optuna, &[0.4], &[1.4]);
        check(Bandwidth::Optuna, &[-0.3, 0.3], &[0.6, 0.6]);
        check(Bandwidth::Watanabe, &[-0.3, 0.3], &[0.7, 0.7]);
    }

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
            let n = axis.low + random::uniform(stream) * axis.range();
            let n = axis.encode(&axis.decode(n)).unwrap();
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
            }
            for number in (0..130).filter(|number| number % 3 == 0) {
                worn.remove(number);
            }
            for number in (0..130).filter(|number| number % 3 != 0) {
                fresh.insert(number, 1.0, &points[number as usize]);
            }
            let weights = vec![1.0 / (fresh.len() + 1) as f64; fresh.len() + 1];
            let densities = |mixture: &Mixture| mixture.log_densities(&weights, &points);
            assert_eq!(densities(&fresh), densities(&worn));
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
}
