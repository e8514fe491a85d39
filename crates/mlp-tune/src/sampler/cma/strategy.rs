//! One run of the covariance matrix adaptation: a normal distribution that follows what is good.

use mlp_core::random::{self, ChaCha8Rng};
use mlp_stats::normal_quantile;

use super::margin::hold_margin;
use crate::axis::Axis;
use crate::linalg::{Matrix, dot};

/// The state of a run, with the names of Hansen 2016 (*The CMA Evolution Strategy: A Tutorial*, arXiv 1604.00772).
#[derive(Debug, Clone)]
pub(super) struct Strategy {
    pub(super) lambda: usize,
    weights: Vec<f64>,
    mu_eff: f64,
    c_sigma: f64,
    d_sigma: f64,
    c_c: f64,
    c_1: f64,
    c_mu: f64,
    pub(super) mean: Vec<f64>,
    pub(super) sigma: f64,
    pub(super) covariance: Matrix,
    /// Square roots of the eigenvalues, and the eigenvectors.
    scales: Vec<f64>,
    vectors: Matrix,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    /// By how much each coordinate is stretched so that integers keep moving (Hamano et al. 2022).
    pub(super) stretch: Vec<f64>,
    /// The axis behind each coordinate that has steps; none on a continuum.
    pub(super) grids: Vec<Option<Axis>>,
    generation: u32,
    /// The best loss of each generation, for the end of a run.
    bests: Vec<f64>,
}

impl Strategy {
    /// A run on [0, 1] in each coordinate.
    pub(super) fn new(mean: Vec<f64>, sigma: f64, lambda: usize, grids: Vec<Option<Axis>>) -> Self {
        let n = mean.len() as f64;
        let half = (lambda as f64 + 1.0) / 2.0;
        let raw: Vec<f64> = (1..=lambda).map(|rank| half.ln() - (rank as f64).ln()).collect();
        let mu = lambda / 2;
        let effective = |weights: &[f64]| {
            let sum: f64 = weights.iter().sum();
            sum * sum / dot(weights, weights)
        };
        let (mu_eff, mu_eff_negative) = (effective(&raw[..mu]), effective(&raw[mu..]));
        let c_1 = 2.0 / ((n + 1.3).powi(2) + mu_eff);
        let gain = mu_eff - 2.0 + 1.0 / mu_eff;
        let c_mu = (1.0 - c_1).min(2.0 * (0.25 + gain) / ((n + 2.0).powi(2) + mu_eff));
        let positive: f64 = raw.iter().filter(|w| **w > 0.0).sum();
        let negative: f64 = raw.iter().filter(|w| **w < 0.0).map(|w| -w).sum();
        let bound = (1.0 + c_1 / c_mu)
            .min(1.0 + 2.0 * mu_eff_negative / (mu_eff + 2.0))
            .min((1.0 - c_1 - c_mu) / (n * c_mu));
        let scaled = |w: &f64| if *w >= 0.0 { w / positive } else { w * bound / negative };
        let c_sigma = (mu_eff + 2.0) / (n + mu_eff + 5.0);
        let damping = (((mu_eff - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0);
        let size = mean.len();
        Self {
            lambda,
            weights: raw.iter().map(scaled).collect(),
            mu_eff,
            c_sigma,
            d_sigma: 1.0 + 2.0 * damping + c_sigma,
            c_c: (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n),
            c_1,
            c_mu,
            sigma,
            covariance: Matrix::identity(size),
            scales: vec![1.0; size],
            vectors: Matrix::identity(size),
            path_sigma: vec![0.0; size],
            path_c: vec![0.0; size],
            stretch: vec![1.0; size],
            mean,
            grids,
            generation: 0,
            bests: Vec::new(),
        }
    }

    /// A point of the distribution, in [0, 1]: drawn again while it is outside, and held inside at last.
    pub(super) fn draw(&self, stream: &mut ChaCha8Rng) -> Vec<f64> {
        let mut point = self.mean.clone();
        for _ in 0..100 {
            point = self.draw_once(stream);
            if point.iter().all(|x| (0.0..=1.0).contains(x)) {
                return point;
            }
        }
        point.into_iter().map(|x| x.clamp(0.0, 1.0)).collect()
    }

    fn draw_once(&self, stream: &mut ChaCha8Rng) -> Vec<f64> {
        let z: Vec<f64> = self.scales.iter().map(|scale| scale * random::normal(stream)).collect();
        let y = self.vectors.times(&z);
        let moved = self.mean.iter().zip(&self.stretch).zip(y);
        moved.map(|((mean, stretch), y)| mean + self.sigma * stretch * y).collect()
    }

    /// Moves the distribution: `points` from the best to the worst, `lambda` of them, the best with loss `best`.
    pub(super) fn update(&mut self, points: &[&[f64]], best: f64) {
        self.generation += 1;
        self.bests.push(best);
        let n = self.mean.len() as f64;
        let steps: Vec<Vec<f64>> = points
            .iter()
            .map(|point| {
                let moved = point.iter().zip(&self.mean).zip(&self.stretch);
                moved.map(|((x, mean), stretch)| (x - mean) / (self.sigma * stretch)).collect()
            })
            .collect();
        let mut step = vec![0.0; self.mean.len()];
        for (weight, y) in self.weights.iter().zip(&steps).filter(|(weight, _)| **weight > 0.0) {
            step.iter_mut().zip(y).for_each(|(sum, y)| *sum += weight * y);
        }
        for (k, mean) in self.mean.iter_mut().enumerate() {
            *mean = (*mean + self.sigma * self.stretch[k] * step[k]).clamp(0.0, 1.0);
        }
        let whitened = self.whiten(&step);
        let rate = (self.c_sigma * (2.0 - self.c_sigma) * self.mu_eff).sqrt();
        for (path, z) in self.path_sigma.iter_mut().zip(&whitened) {
            *path = (1.0 - self.c_sigma) * *path + rate * z;
        }
        let length = dot(&self.path_sigma, &self.path_sigma).sqrt();
        let expected = n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n));
        let started = 1.0 - (1.0 - self.c_sigma).powi(2 * self.generation as i32);
        let follows = length / started.sqrt() < (1.4 + 2.0 / (n + 1.0)) * expected;
        let follows = if follows { 1.0 } else { 0.0 };
        let rate = follows * (self.c_c * (2.0 - self.c_c) * self.mu_eff).sqrt();
        for (path, y) in self.path_c.iter_mut().zip(&step) {
            *path = (1.0 - self.c_c) * *path + rate * y;
        }
        self.adapt(&steps, follows, n);
        self.sigma *= (self.c_sigma / self.d_sigma * (length / expected - 1.0)).min(1.0).exp();
        self.decompose();
        hold_margin(self, normal_quantile);
    }

    /// C^(−1/2) y.
    fn whiten(&self, y: &[f64]) -> Vec<f64> {
        let turned = self.vectors.transposed_times(y);
        let scaled: Vec<f64> =
            turned.iter().zip(&self.scales).map(|(z, scale)| z / scale).collect();
        self.vectors.times(&scaled)
    }

    fn adapt(&mut self, steps: &[Vec<f64>], follows: f64, n: f64) {
        let weights: Vec<f64> = self
            .weights
            .iter()
            .zip(steps)
            .map(|(weight, y)| {
                let z = self.whiten(y);
                let length = dot(&z, &z);
                if *weight >= 0.0 || length == 0.0 { *weight } else { weight * n / length }
            })
            .collect();
        let pause = (1.0 - follows) * self.c_c * (2.0 - self.c_c);
        let sum: f64 = self.weights.iter().sum();
        let keep = 1.0 + self.c_1 * pause - self.c_1 - self.c_mu * sum;
        let old = self.covariance.clone();
        self.covariance = Matrix::from_fn(self.mean.len(), |row, column| {
            let many: f64 = weights.iter().zip(steps).map(|(w, y)| w * y[row] * y[column]).sum();
            keep * old.at(row, column)
                + self.c_1 * self.path_c[row] * self.path_c[column]
                + self.c_mu * many
        });
    }

    fn decompose(&mut self) {
        let (values, vectors) = self.covariance.clone().eigen();
        let largest = values.iter().copied().fold(0.0, f64::max);
        // What rounding made negative is held at the least share that a double can tell.
        self.scales = values.iter().map(|value| value.max(largest * 1e-14).sqrt()).collect();
        self.vectors = vectors;
    }

    /// Whether the run has come to its end: it moves no more, or the loss has not for a long time, or the matrix is ill-conditioned.
    pub(super) fn has_ended(&self) -> bool {
        let n = self.mean.len();
        let largest = self.scales.iter().copied().fold(0.0, f64::max);
        let least = self.scales.iter().copied().fold(f64::INFINITY, f64::min);
        let span = 10 + 30 * n / self.lambda;
        let recent = &self.bests[self.bests.len().saturating_sub(span)..];
        let low = recent.iter().copied().fold(f64::INFINITY, f64::min);
        let high = recent.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.sigma * largest < 1e-12
            || largest / least >= 1e7
            || (recent.len() == span && high - low < 1e-12)
    }
}
