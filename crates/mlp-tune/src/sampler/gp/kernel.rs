//! The Gaussian process: a Matérn 5/2 kernel with a length for each parameter, and what it says between observations.

use crate::linalg::{Matrix, dot};

/// The least noise, as a share of the variance of the observations: it keeps the matrix positive definite.
const MIN_NOISE: f64 = 1e-6;

/// Logarithms of the lengths, of the variance of the signal and of that of the noise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hyper {
    pub(super) lengths: Vec<f64>,
    pub(super) signal: f64,
    pub(super) noise: f64,
}

impl Hyper {
    pub(super) fn to_vec(&self) -> Vec<f64> {
        self.lengths.iter().copied().chain([self.signal, self.noise]).collect()
    }

    pub(super) fn from_slice(values: &[f64]) -> Self {
        let lengths = values[..values.len() - 2].to_vec();
        Self { lengths, signal: values[values.len() - 2], noise: values[values.len() - 1] }
    }
}

/// Squared distances by parameter between two points. A point has two coordinates a parameter: its place in [0, 1] and whether it is active
/// there; one that is not active lies apart from all that are, as far as half the range.
pub(super) fn squares<'a>(
    one: &'a [Coordinate],
    other: &'a [Coordinate],
) -> impl Iterator<Item = f64> + 'a {
    one.iter().zip(other).map(|(one, other)| match (one, other) {
        (Coordinate::Number(one), Coordinate::Number(other)) => (one - other) * (one - other),
        (Coordinate::Choice(one), Coordinate::Choice(other)) if one == other => 0.0,
        (Coordinate::Inactive, Coordinate::Inactive) => 0.0,
        (Coordinate::Choice(_), Coordinate::Choice(_)) => 1.0,
        (Coordinate::Choice(_), _) | (_, Coordinate::Choice(_)) => 1.0,
        (Coordinate::Number(place), Coordinate::Inactive)
        | (Coordinate::Inactive, Coordinate::Number(place)) => 0.5 + (place - 0.5) * (place - 0.5),
    })
}

/// One parameter of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Coordinate {
    /// A place in [0, 1].
    Number(f64),
    /// One of some choices.
    Choice(usize),
    /// The parameter does not exist there.
    Inactive,
}

/// Matérn 5/2 of a squared scaled distance.
fn matern(square: f64) -> f64 {
    let scaled = (5.0 * square).sqrt();
    (1.0 + scaled + scaled * scaled / 3.0) * (-scaled).exp()
}

/// −2 times the derivative of [`matern`] by the squared distance.
fn matern_slope(square: f64) -> f64 {
    let scaled = (5.0 * square).sqrt();
    5.0 / 3.0 * (1.0 + scaled) * (-scaled).exp()
}

/// A process fitted to observations of mean 0 and variance 1.
#[derive(Debug)]
pub(super) struct Process {
    points: Vec<Vec<Coordinate>>,
    inverse_squares: Vec<f64>,
    signal: f64,
    lower: Matrix,
    alpha: Vec<f64>,
}

/// What hyperparameters cost, minus the logarithm of their posterior density, and its gradient.
pub(super) struct Evidence<'a> {
    squares: Vec<Vec<f64>>,
    targets: &'a [f64],
    /// The mean of the prior of the logarithms of the lengths.
    length: f64,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(points: &[Vec<Coordinate>], targets: &'a [f64]) -> Self {
        let pairs = (0..points.len()).flat_map(|row| (0..row).map(move |column| (row, column)));
        let squares = pairs.map(|(row, column)| squares(&points[row], &points[column]).collect());
        let dimensions = points.first().map_or(0, Vec::len);
        // Lengths grow with the dimension, as distances do (Hvarfner et al. 2024).
        let length = 0.3_f64.ln() + 0.5 * (dimensions.max(1) as f64).ln();
        Self { squares: squares.collect(), targets, length }
    }

    pub(super) fn start(&self, shift: f64) -> Hyper {
        let dimensions = self.squares.first().map_or(0, Vec::len);
        Hyper { lengths: vec![self.length + shift; dimensions], signal: 0.0, noise: NOISE_MEAN }
    }

    /// Infinite where the matrix is not positive definite.
    pub(super) fn cost(&self, values: &[f64]) -> (f64, Vec<f64>) {
        let hyper = Hyper::from_slice(values);
        let n = self.targets.len();
        let inverse: Vec<f64> = hyper.lengths.iter().map(|length| (-2.0 * length).exp()).collect();
        let signal = hyper.signal.exp();
        let noise = hyper.noise.exp() + MIN_NOISE;
        let scaled: Vec<f64> = self.squares.iter().map(|squares| dot(squares, &inverse)).collect();
        let pair = |row: usize, column: usize| {
            let (high, low) = (row.max(column), row.min(column));
            high * (high - 1) / 2 + low
        };
        let matrix = Matrix::from_fn(n, |row, column| match row == column {
            true => signal + noise,
            false if column > row => 0.0,
            false => signal * matern(scaled[pair(row, column)]),
        });
        let failed = || (f64::INFINITY, vec![0.0; values.len()]);
        let Some(lower) = matrix.cholesky() else { return failed() };
        let alpha = lower.solve_upper(&lower.solve_lower(self.targets));
        let log_determinant: f64 = (0..n).map(|k| lower.at(k, k).ln()).sum();
        let mut cost = 0.5 * dot(self.targets, &alpha) + log_determinant;
        // The gradient is ½ tr((K⁻¹ − ααᵀ) ∂K).
        let inverted = invert(&lower);
        let outer =
            |row: usize, column: usize| inverted.at(row, column) - alpha[row] * alpha[column];
        let mut gradient = vec![0.0; values.len()];
        let dimensions = hyper.lengths.len();
        for row in 0..n {
            for column in 0..row {
                let place = pair(row, column);
                let weight = outer(row, column) * signal;
                gradient[dimensions] += weight * matern(scaled[place]);
                let slope = weight * matern_slope(scaled[place]);
                for (k, square) in self.squares[place].iter().enumerate() {
                    gradient[k] += slope * square * inverse[k];
                }
            }
            gradient[dimensions] += 0.5 * outer(row, row) * signal;
            gradient[dimensions + 1] += 0.5 * outer(row, row) * hyper.noise.exp();
        }
        let priors = hyper.lengths.iter().map(|length| (*length, self.length, 1.0));
        let priors = priors.chain([(hyper.signal, 0.0, 1.0), (hyper.noise, NOISE_MEAN, 3.0)]);
        for (slope, (value, mean, deviation)) in gradient.iter_mut().zip(priors) {
            let z = (value - mean) / deviation;
            cost += 0.5 * z * z;
            *slope += z / deviation;
        }
        if cost.is_finite() { (cost, gradient) } else { failed() }
    }
}

/// The mean of the prior of the logarithm of the noise: little, as most objectives have, with much room for more.
const NOISE_MEAN: f64 = -10.0;

/// (LLᵀ)⁻¹, its lower triangle.
fn invert(lower: &Matrix) -> Matrix {
    let n = lower.row(0).len();
    // Row k of `columns` is column k of L⁻¹.
    let columns: Vec<Vec<f64>> = (0..n)
        .map(|k| {
            let mut column = vec![0.0; n];
            column[k] = 1.0 / lower.at(k, k);
            for row in k + 1..n {
                let sum = dot(&lower.row(row)[k..row], &column[k..row]);
                column[row] = -sum / lower.at(row, row);
            }
            column
        })
        .collect();
    Matrix::from_fn(n, |row, column| match column > row {
        true => 0.0,
        false => dot(&columns[row][row..], &columns[column][row..]),
    })
}

impl Process {
    /// None if the matrix is not positive definite.
    pub(super) fn new(
        points: Vec<Vec<Coordinate>>,
        targets: &[f64],
        hyper: &Hyper,
    ) -> Option<Self> {
        let inverse_squares: Vec<f64> = hyper.lengths.iter().map(|l| (-2.0 * l).exp()).collect();
        let signal = hyper.signal.exp();
        let noise = hyper.noise.exp() + MIN_NOISE;
        let matrix = Matrix::from_fn(points.len(), |row, column| {
            if column > row {
                return 0.0;
            }
            let pairs = squares(&points[row], &points[column]).zip(&inverse_squares);
            let square: f64 = pairs.map(|(square, inverse)| square * inverse).sum();
            signal * matern(square) + if row == column { noise } else { 0.0 }
        });
        let lower = matrix.cholesky()?;
        let alpha = lower.solve_upper(&lower.solve_lower(targets));
        Some(Self { points, inverse_squares, signal, lower, alpha })
    }

    /// Mean and standard deviation at a point, without the noise.
    pub(super) fn at(&self, point: &[Coordinate]) -> (f64, f64) {
        let covariance = |other: &Vec<Coordinate>| {
            let pairs = squares(point, other).zip(&self.inverse_squares);
            self.signal * matern(pairs.map(|(square, inverse)| square * inverse).sum())
        };
        let covariances: Vec<f64> = self.points.iter().map(covariance).collect();
        let mean = dot(&covariances, &self.alpha);
        let explained = self.lower.solve_lower(&covariances);
        let variance = self.signal - dot(&explained, &explained);
        (mean, variance.max(1e-18).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random;

    fn data(n: usize) -> (Vec<Vec<Coordinate>>, Vec<f64>) {
        let mut stream = random::stream(2, 0);
        let mut point = |k: usize| {
            let inner = match k % 3 {
                0 => Coordinate::Inactive,
                _ => Coordinate::Number(random::uniform(&mut stream)),
            };
            vec![Coordinate::Number(random::uniform(&mut stream)), Coordinate::Choice(k % 2), inner]
        };
        let points: Vec<_> = (0..n).map(&mut point).collect();
        let targets = (0..n).map(|k| (k as f64 * 0.7).sin()).collect();
        (points, targets)
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (points, targets) = data(14);
        let evidence = Evidence::new(&points, &targets);
        let values = [-0.9, 0.2, -0.4, 0.3, -4.0_f64];
        let (_, gradient) = evidence.cost(&values);
        for k in 0..values.len() {
            let moved = |by: f64| {
                let mut values = values;
                values[k] += by;
                evidence.cost(&values).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[k]).abs() < 1e-5 * slope.abs().max(1.0), "{k}: {slope}");
        }
    }

    #[test]
    fn a_process_passes_through_its_observations_and_is_unsure_elsewhere() {
        let (points, targets) = data(8);
        let hyper = Hyper { lengths: vec![-1.0; 3], signal: 0.0, noise: -20.0 };
        let process = Process::new(points.clone(), &targets, &hyper).unwrap();
        for (point, target) in points.iter().zip(&targets) {
            let (mean, deviation) = process.at(point);
            assert!((mean - target).abs() < 1e-3 && deviation < 0.01, "{mean} {target}");
        }
        let elsewhere = [Coordinate::Number(9.0), Coordinate::Choice(5), Coordinate::Number(9.0)];
        let (mean, deviation) = process.at(&elsewhere);
        assert!(mean.abs() < 1e-3 && (deviation - 1.0).abs() < 1e-3);
    }
}
