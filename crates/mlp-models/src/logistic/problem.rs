//! What a logistic regression minimises, and Newton's method for it.

use mlp_core::FitError;
use ndarray::{Array2, ArrayView2, s};

use crate::simd::{add_rows, four_dots};
use crate::solve::{dot, solve};

/// The expected decrease, relative to the objective, from which on quasi-Newton steps are cheaper than Newton's.
const NEAR: f64 = 0.01;

/// `functions` linear functions of the features, each with its intercept last; the parameters are theirs one after another.
#[derive(Debug)]
pub(super) struct Problem {
    /// The features and a column of ones (`n_rows × width`), row by row.
    rows: Vec<f64>,
    width: usize,
    labels: Vec<usize>,
    weights: Vec<f64>,
    functions: usize,
    penalty: f64,
}

impl Problem {
    pub(super) fn new(
        features: ArrayView2<'_, f64>,
        labels: Vec<usize>,
        weights: Vec<f64>,
        functions: usize,
        penalty: f64,
    ) -> Self {
        let rows = features.rows().into_iter();
        let rows = rows.flat_map(|row| row.into_iter().copied().chain([1.0])).collect();
        Self { rows, width: features.ncols() + 1, labels, weights, functions, penalty }
    }

    /// The number of features and the intercept.
    pub(super) fn width(&self) -> usize {
        self.width
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
    }

    /// Newton's method from 0 to the minimum, exact to rounding.
    pub(super) fn solve(&self, max_iterations: usize) -> Result<Vec<f64>, FitError> {
        Ok(self.newton(vec![0.0; self.size()], max_iterations, true)?.0)
    }

    /// Newton's method, with step halving while the objective tells progress, then with full steps until their size stops to shrink; or, if it
    /// need not be exact, until the minimum is near. Also gives the curvature before the last step.
    pub(super) fn newton(
        &self,
        from: Vec<f64>,
        max_iterations: usize,
        is_exact: bool,
    ) -> Result<(Vec<f64>, Array2<f64>), FitError> {
        let mut solution = from;
        let mut objective = self.objective(&solution);
        let mut last_decrease = f64::INFINITY;
        for _ in 0..max_iterations {
            let (gradient, hessian) = (self.gradient(&solution), self.hessian(&solution));
            let step = solve(hessian.clone(), gradient.clone());
            let decrease: f64 = step.iter().zip(&gradient).map(|(step, slope)| step * slope).sum();
            // Below this the objective is flat to rounding, and only the expected decrease still tells progress.
            if decrease <= 1e-10 * (1.0 + objective.abs()) {
                solution.iter_mut().zip(&step).for_each(|(value, step)| *value -= step);
                if !is_exact || decrease <= 1e-26 || decrease >= 0.25 * last_decrease {
                    return Ok((solution, hessian));
                }
                last_decrease = decrease;
                continue;
            }
            let Some((next, value)) = self.descend(&solution, &step, objective) else {
                return Err(FitError::NotConverged { iterations: max_iterations });
            };
            (solution, objective) = (next, value);
            if !is_exact && decrease <= NEAR * (1.0 + objective.abs()) {
                return Ok((solution, hessian));
            }
        }
        Err(FitError::NotConverged { iterations: max_iterations })
    }

    /// The first of the full step, half of it, a quarter, … that does not increase the objective; none if that is below rounding.
    fn descend(&self, from: &[f64], step: &[f64], objective: f64) -> Option<(Vec<f64>, f64)> {
        (0..40).find_map(|halving| {
            let length = 0.5_f64.powi(halving);
            let next: Vec<f64> =
                from.iter().zip(step).map(|(value, step)| value - length * step).collect();
            let value = self.objective(&next);
            (value <= objective).then_some((next, value))
        })
    }

    fn objective(&self, solution: &[f64]) -> f64 {
        let mut scores = vec![0.0; self.functions];
        let mut loss = 0.0;
        for (row, (&label, weight)) in self.labels.iter().zip(&self.weights).enumerate() {
            self.scores(solution, row, &mut scores);
            loss += weight * log_loss(&scores, label);
        }
        let squares: f64 = solution
            .chunks_exact(self.width())
            .flat_map(|function| &function[..self.width() - 1])
            .map(|w| w * w)
            .sum();
        loss + 0.5 * self.penalty * squares
    }

    fn scores<'a>(&'a self, solution: &[f64], row: usize, scores: &mut [f64]) -> &'a [f64] {
        let values = &self.rows[row * self.width..(row + 1) * self.width];
        for (score, function) in scores.iter_mut().zip(solution.chunks_exact(self.width)) {
            *score = dot(values, function);
        }
        values
    }

    /// The slope of the objective in every parameter.
    pub(super) fn gradient(&self, solution: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; self.size()];
        let mut probabilities = vec![0.0; 4 * self.functions];
        for (block, rows) in self.rows.chunks(4 * self.width).enumerate() {
            let count = rows.len() / self.width;
            let probabilities = &mut probabilities[..count * self.functions];
            if let ([_, _, _, _], 1) = (&probabilities[..], self.functions) {
                probabilities.copy_from_slice(&four_dots(rows, solution));
                probabilities.iter_mut().for_each(|score| *score = sigmoid(*score));
            } else {
                for (row, scores) in probabilities.chunks_exact_mut(self.functions).enumerate() {
                    self.scores(solution, 4 * block + row, scores);
                    normalise(scores);
                }
            }
            for (a, slopes) in gradient.chunks_exact_mut(self.width).enumerate() {
                let mut residuals = [0.0; 4];
                for (row, residual) in residuals[..count].iter_mut().enumerate() {
                    let label = self.labels[4 * block + row];
                    let truth = if self.functions == 1 { label == 1 } else { label == a };
                    let probability = probabilities[row * self.functions + a];
                    let weight = self.weights[4 * block + row];
                    *residual = weight * (probability - f64::from(u8::from(truth)));
                }
                add_rows(slopes, rows, residuals);
            }
        }
        for index in self.penalised() {
            gradient[index] += self.penalty * solution[index];
        }
        gradient
    }

    /// The curvature of the objective: for each pair of functions the rows, weighted, times the rows.
    pub(super) fn hessian(&self, solution: &[f64]) -> Array2<f64> {
        let (width, functions) = (self.width(), self.functions);
        let mut probabilities = Array2::zeros((self.labels.len(), functions));
        for (row, mut out) in probabilities.rows_mut().into_iter().enumerate() {
            if let Some(out) = out.as_slice_mut() {
                self.scores(solution, row, out);
                normalise(out);
            }
        }
        let mut hessian = Array2::zeros((self.size(), self.size()));
        let shape = (self.labels.len(), width);
        let mut weighted = self.rows.clone();
        for a in 0..functions {
            for b in 0..=a {
                for (row, values) in weighted.chunks_exact_mut(width).enumerate() {
                    let (p, q) = (probabilities[[row, a]], probabilities[[row, b]]);
                    let same = if a == b { p } else { 0.0 };
                    let curvature = self.weights[row] * (same - p * q);
                    let original = &self.rows[row * width..(row + 1) * width];
                    values.iter_mut().zip(original).for_each(|(v, x)| *v = curvature * x);
                }
                let block = product(&weighted, &self.rows, shape);
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
    fn penalised(&self) -> impl Iterator<Item = usize> {
        let width = self.width();
        (0..self.size()).filter(move |index| index % width != width - 1)
    }
}

/// The transpose of one matrix times another, both of this shape and row by row.
fn product(left: &[f64], right: &[f64], shape: (usize, usize)) -> Array2<f64> {
    match (ArrayView2::from_shape(shape, left), ArrayView2::from_shape(shape, right)) {
        (Ok(left), Ok(right)) => left.t().dot(&right),
        _ => unreachable!("both matrices have as many numbers as the shape says"),
    }
}

/// Minus the log-probability of a class from its scores: one score for two classes, else one a class.
fn log_loss(scores: &[f64], label: usize) -> f64 {
    if let [score] = scores {
        let margin = if label == 1 { *score } else { -*score };
        // log(1 + exp(−margin)) without overflow.
        return (-margin).max(0.0) + (-margin.abs()).exp().ln_1p();
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + scores.iter().map(|score| (score - top).exp()).sum::<f64>().ln() - scores[label]
}

/// Turns scores into probabilities: of class 1 if there is one score, else of each class.
pub(crate) fn normalise(scores: &mut [f64]) {
    if let [score] = scores {
        *score = sigmoid(*score);
        return;
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - top).exp();
        total += *score;
    }
    scores.iter_mut().for_each(|score| *score /= total);
}

/// `1 / (1 + exp(−score))`, taking the exponential of a negative number only; without a branch, which would be mispredicted half the time.
pub(crate) fn sigmoid(score: f64) -> f64 {
    let small = (-score.abs()).exp();
    let part = if score >= 0.0 { 1.0 } else { small };
    part / (1.0 + small)
}
