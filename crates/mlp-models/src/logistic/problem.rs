//! What a logistic regression minimises, its slope and its curvature.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::link::{normalise, softmax_loss};
use crate::simd::{add_rows, four_dots};
use crate::solve::dot;

/// How many rows are weighted at a time.
const BLOCK: usize = 256;

/// `functions` linear functions of the features, each with its intercept last; the parameters are theirs one after another.
///
/// The features are taken around their means: far from zero, a feature is nearly a multiple of the intercept's ones, and what it adds to them is lost
/// in the curvature's rounding. The intercepts, which nothing holds, take the means up: [`uncentred`](Self::uncentred).
#[derive(Debug)]
pub(super) struct Problem {
    /// The features, less their means, and a column of ones (`n_rows × width`), row by row.
    pub(super) rows: Vec<f64>,
    /// The means of the features.
    pub(super) means: Vec<f64>,
    pub(super) width: usize,
    pub(super) labels: Vec<usize>,
    pub(super) weights: Vec<f64>,
    pub(super) functions: usize,
    pub(super) penalty: f64,
}

impl Problem {
    pub(super) fn new(
        features: ArrayView2<'_, f64>,
        labels: Vec<usize>,
        weights: Vec<f64>,
        functions: usize,
        penalty: f64,
    ) -> Self {
        let width = features.ncols() + 1;
        let means = means(features, &weights);
        let mut rows = Vec::with_capacity(features.nrows() * width);
        for row in features.rows() {
            rows.extend(row.iter().zip(&means).map(|(value, mean)| value - mean));
            rows.push(1.0);
        }
        Self { rows, means, width, labels, weights, functions, penalty }
    }

    /// The same functions of the features as they are. With a function a class, the intercepts sum to 0: a number added to all of them changes nothing.
    pub(super) fn uncentred(&self, mut solution: Vec<f64>) -> Vec<f64> {
        let last = self.width - 1;
        for function in solution.chunks_exact_mut(self.width) {
            let shift: f64 = function.iter().zip(&self.means).map(|(w, mean)| w * mean).sum();
            function[last] -= shift;
        }
        if self.functions > 1 {
            let intercepts = || (0..self.functions).map(|function| function * self.width + last);
            let mean = intercepts().map(|at| solution[at]).sum::<f64>() / self.functions as f64;
            intercepts().for_each(|at| solution[at] -= mean);
        }
        solution
    }

    /// The number of features and the intercept.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn n_rows(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn functions(&self) -> usize {
        self.functions
    }

    /// How many parameters there are.
    pub(super) fn size(&self) -> usize {
        self.functions * self.width()
    }

    /// Drops these columns of the features, which ascend.
    pub(super) fn drop_columns(&mut self, columns: &[usize]) {
        // In place: what lies between one dropped number and the next, over the end of its row, moves to the left in one piece.
        let starts = (0..self.labels.len()).map(|row| row * self.width);
        let mut dropped = starts.flat_map(|start| columns.iter().map(move |column| start + column));
        let Some(mut last) = dropped.next() else { return };
        let mut to = last;
        for next in dropped.chain([self.rows.len()]) {
            self.rows.copy_within(last + 1..next, to);
            to += next - last - 1;
            last = next;
        }
        self.rows.truncate(to);
        self.width -= columns.len();
        for &column in columns.iter().rev() {
            self.means.remove(column);
        }
    }

    /// The objective; the probabilities (`n_rows × functions`) are left for what is asked next.
    pub(super) fn evaluate(&self, solution: &[f64], probabilities: &mut [f64]) -> f64 {
        self.scores(solution, probabilities);
        let loss = match self.functions {
            1 => self.binary_loss(probabilities),
            functions => {
                let rows = probabilities.chunks_exact_mut(functions).zip(&self.labels);
                let loss = |((scores, label), weight): ((&mut [f64], &usize), &f64)| {
                    weight * softmax_loss(scores, *label)
                };
                rows.zip(&self.weights).map(loss).sum()
            }
        };
        let squares: f64 = self.penalised().map(|at| solution[at] * solution[at]).sum();
        loss + 0.5 * self.penalty * squares
    }

    /// Turns scores into probabilities of class 1, and sums the losses.
    fn binary_loss(&self, scores: &mut [f64]) -> f64 {
        let mut loss = 0.0;
        // Where weights are equal, the logarithms of some factors between 1 and 2 are the logarithm of their product.
        let rows = scores.chunks_mut(64).zip(self.labels.chunks(64)).zip(self.weights.chunks(64));
        for ((scores, labels), weights) in rows {
            let is_even = weights.iter().all(|weight| *weight == weights[0]);
            let mut product = 1.0;
            for ((score, label), weight) in scores.iter_mut().zip(labels).zip(weights) {
                let small = (-score.abs()).exp();
                let against = if *label == 1 { -*score } else { *score };
                loss += weight * against.max(0.0);
                if is_even {
                    product *= 1.0 + small;
                } else {
                    loss += weight * small.ln_1p();
                }
                let part = if *score >= 0.0 { 1.0 } else { small };
                *score = part / (1.0 + small);
            }
            if is_even {
                loss += weights[0] * product.ln();
            }
        }
        loss
    }

    /// The scores of every row by every function (`n_rows × functions`).
    fn scores(&self, solution: &[f64], scores: &mut [f64]) {
        let (width, functions) = (self.width, self.functions);
        for (rows, scores) in self.rows.chunks(4 * width).zip(scores.chunks_mut(4 * functions)) {
            for (a, function) in solution.chunks_exact(width).enumerate() {
                if rows.len() == 4 * width {
                    let four = four_dots(rows, function);
                    (0..4).for_each(|row| scores[row * functions + a] = four[row]);
                } else {
                    for (row, values) in rows.chunks_exact(width).enumerate() {
                        scores[row * functions + a] = dot(values, function);
                    }
                }
            }
        }
    }

    /// The slope of the objective in every parameter.
    pub(super) fn gradient(&self, solution: &[f64]) -> Vec<f64> {
        let mut probabilities = vec![0.0; self.labels.len() * self.functions];
        self.scores(solution, &mut probabilities);
        probabilities.chunks_exact_mut(self.functions).for_each(normalise);
        self.gradient_at(solution, &probabilities)
    }

    /// The same where the probabilities are known.
    pub(super) fn gradient_at(&self, solution: &[f64], probabilities: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; self.size()];
        for (block, rows) in self.rows.chunks(4 * self.width).enumerate() {
            let count = rows.len() / self.width;
            for (a, slopes) in gradient.chunks_exact_mut(self.width).enumerate() {
                let mut residuals = [0.0; 4];
                for (place, residual) in residuals[..count].iter_mut().enumerate() {
                    let row = 4 * block + place;
                    let label = self.labels[row];
                    let truth = if self.functions == 1 { label == 1 } else { label == a };
                    let probability = probabilities[row * self.functions + a];
                    *residual = self.weights[row] * (probability - f64::from(u8::from(truth)));
                }
                add_rows(slopes, rows, residuals);
            }
        }
        for index in self.penalised() {
            gradient[index] += self.penalty * solution[index];
        }
        gradient
    }

    /// The curvature of the objective where the probabilities are these: for each pair of functions the rows, weighted, times the rows.
    pub(super) fn hessian_at(&self, probabilities: &[f64]) -> Array2<f64> {
        let (width, functions) = (self.width, self.functions);
        let mut hessian = Array2::zeros((self.size(), self.size()));
        // Some rows at a time, which stay in the nearest memory.
        let mut weighted = vec![0.0; BLOCK * width];
        let mut block = Array2::zeros((width, width));
        for a in 0..functions {
            for b in 0..=a {
                block.fill(0.0);
                for (from, rows) in self.rows.chunks(BLOCK * width).enumerate() {
                    let weighted = &mut weighted[..rows.len()];
                    let parts = weighted.chunks_exact_mut(width).zip(rows.chunks_exact(width));
                    for (place, (values, original)) in parts.enumerate() {
                        let row = from * BLOCK + place;
                        let of = &probabilities[row * functions..(row + 1) * functions];
                        let same = if a == b { of[a] } else { 0.0 };
                        let curvature = self.weights[row] * (same - of[a] * of[b]);
                        values.iter_mut().zip(original).for_each(|(v, x)| *v = curvature * x);
                    }
                    add_product(weighted, rows, width, &mut block);
                }
                let (from, to) = (a * width, b * width);
                hessian.slice_mut(s![from..from + width, to..to + width]).assign(&block);
                hessian.slice_mut(s![to..to + width, from..from + width]).assign(&block.t());
            }
        }
        for index in self.penalised() {
            hessian[[index, index]] += self.penalty;
        }
        hessian
    }

    /// The parameters that are penalised: all but the intercepts.
    pub(super) fn penalised(&self) -> impl Iterator<Item = usize> {
        let width = self.width();
        (0..self.size()).filter(move |index| index % width != width - 1)
    }
}

/// The weighted means of the features, around the first row, so that the mean of a constant is that constant.
fn means(features: ArrayView2<'_, f64>, weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let first = features.row(0);
    let mut sums = vec![0.0; features.ncols()];
    for (row, weight) in features.rows().into_iter().zip(weights) {
        let parts = sums.iter_mut().zip(row.iter().zip(first));
        parts.for_each(|(sum, (value, first))| *sum += weight * (value - first));
    }
    sums.iter().zip(first).map(|(sum, first)| first + sum / total).collect()
}

/// Adds the transpose of one matrix times another, both of this width and row by row.
fn add_product(left: &[f64], right: &[f64], width: usize, to: &mut Array2<f64>) {
    let shape = (left.len() / width, width);
    match (ArrayView2::from_shape(shape, left), ArrayView2::from_shape(shape, right)) {
        (Ok(left), Ok(right)) => general_mat_mul(1.0, &left.t(), &right, 1.0, to),
        _ => unreachable!("both matrices have as many numbers as the shape says"),
    }
}
