//! Logistic regression for two classes and more.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Signature,
};
use ndarray::{Array2, ArrayView2, ArrayViewMut1, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::solve::solve;
use crate::support::{check_finite, check_two_classes, weights};

/// Fits the probability of each class: minimises `Σ wᵢ · logloss + ‖W‖² / (2C)`, intercepts free, as scikit-learn's `LogisticRegression`
/// (one sigmoid for two classes, softmax for more).
///
/// Solved by Newton's method with step halving, so that the coefficients are exact to rounding: rankings by them do not hang on a solver's
/// tolerance. The cost grows with the cube of features times classes; it is meant for up to some hundreds of features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogisticRegression {
    /// The inverse of the weight of the penalty, above 0. 1 by default, as in scikit-learn.
    pub c: f64,
    /// The most Newton steps to take; ten are usual.
    pub max_iterations: usize,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { c: 1.0, max_iterations: 100 }
    }
}

impl LogisticRegression {
    /// Sets the inverse of the weight of the penalty.
    #[must_use]
    pub fn with_c(mut self, c: f64) -> Self {
        self.c = c;
        self
    }

    fn check(&self) -> Result<(), FitError> {
        let params = Params::new().with("c", self.c);
        let mut read = params.read("logistic_regression");
        read.float("c", 1.0, f64::MIN_POSITIVE..=f64::MAX);
        Ok(read.finish()?)
    }
}

impl Estimator for LogisticRegression {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.check()?;
        data.check_finite()?;
        let (labels, names) = data.classes()?;
        check_two_classes(&labels, names)?;
        // Classes that these rows lack have probability 0: they take no part in the fit.
        let present: Vec<usize> = (0..names.len()).filter(|class| labels.contains(class)).collect();
        let place: Vec<usize> =
            labels.iter().map(|label| present.partition_point(|class| class < label)).collect();
        let features = data.features();
        let problem = Problem {
            rows: features.view(),
            labels: &place,
            weights: &weights(&data),
            functions: if present.len() == 2 { 1 } else { present.len() },
            penalty: 1.0 / self.c,
        };
        let solution = problem.solve(self.max_iterations)?;
        let signature = Signature::classifier(data.names().iter().cloned(), names.iter().cloned());
        Ok(Arc::new(FittedLogistic { signature, present, weights: solution }))
    }
}

/// The minimisation: `functions` linear functions of the features, each with its intercept last.
struct Problem<'a> {
    rows: ArrayView2<'a, f64>,
    labels: &'a [usize],
    weights: &'a [f64],
    functions: usize,
    penalty: f64,
}

impl Problem<'_> {
    fn width(&self) -> usize {
        self.rows.ncols() + 1
    }

    /// Newton's method: with step halving while the objective tells progress, then with full steps until their size stops to shrink.
    fn solve(&self, max_iterations: usize) -> Result<Vec<f64>, FitError> {
        let mut solution = vec![0.0; self.functions * self.width()];
        let mut objective = self.objective(&solution);
        let mut last_decrease = f64::INFINITY;
        for _ in 0..max_iterations {
            let (gradient, hessian) = self.derivatives(&solution);
            let step = solve(hessian, gradient.clone());
            let decrease: f64 = step.iter().zip(&gradient).map(|(step, slope)| step * slope).sum();
            // Below this the objective is flat to rounding, and only the expected decrease still tells progress.
            if decrease <= 1e-10 * (1.0 + objective.abs()) {
                solution.iter_mut().zip(&step).for_each(|(value, step)| *value -= step);
                if decrease <= 1e-26 || decrease >= 0.25 * last_decrease {
                    return Ok(solution);
                }
                last_decrease = decrease;
                continue;
            }
            let Some((next, value)) = self.descend(&solution, &step, objective) else {
                return Err(FitError::NotConverged { iterations: max_iterations });
            };
            (solution, objective) = (next, value);
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
        for (row, (&label, weight)) in self.labels.iter().zip(self.weights).enumerate() {
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

    fn scores(&self, solution: &[f64], row: usize, scores: &mut [f64]) {
        let values = self.rows.row(row);
        for (score, function) in scores.iter_mut().zip(solution.chunks_exact(self.width())) {
            let (weights, intercept) = function.split_at(self.width() - 1);
            *score = intercept[0]
                + values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>();
        }
    }

    /// The gradient and the Hessian of the objective.
    fn derivatives(&self, solution: &[f64]) -> (Vec<f64>, Array2<f64>) {
        let (width, functions) = (self.width(), self.functions);
        let size = functions * width;
        let (mut gradient, mut hessian) = (vec![0.0; size], Array2::zeros((size, size)));
        let mut probabilities = vec![0.0; functions];
        let mut extended = vec![1.0; width];
        for (row, (&label, &weight)) in self.labels.iter().zip(self.weights).enumerate() {
            self.scores(solution, row, &mut probabilities);
            normalise(&mut probabilities);
            extended[..width - 1]
                .iter_mut()
                .zip(self.rows.row(row))
                .for_each(|(place, value)| *place = *value);
            for a in 0..functions {
                let truth = if functions == 1 { label == 1 } else { label == a };
                let residual = weight * (probabilities[a] - f64::from(u8::from(truth)));
                gradient[a * width..]
                    .iter_mut()
                    .zip(&extended)
                    .for_each(|(slope, value)| *slope += residual * value);
                for b in 0..=a {
                    let same = if a == b { probabilities[a] } else { 0.0 };
                    let curvature = weight * (same - probabilities[a] * probabilities[b]);
                    add_outer(&mut hessian, a * width, b * width, curvature, &extended);
                }
            }
        }
        for index in (0..size).filter(|index| index % width != width - 1) {
            gradient[index] += self.penalty * solution[index];
            hessian[[index, index]] += self.penalty;
        }
        (gradient, hessian)
    }
}

/// Adds `factor · v vᵀ` to the block of the lower triangle at (row, column).
fn add_outer(matrix: &mut Array2<f64>, row: usize, column: usize, factor: f64, v: &[f64]) {
    for (i, left) in v.iter().enumerate() {
        let scaled = factor * left;
        let mut line = matrix.row_mut(row + i);
        if let Some(line) = line.as_slice_mut() {
            line[column..column + v.len()]
                .iter_mut()
                .zip(v)
                .for_each(|(cell, right)| *cell += scaled * right);
        }
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
fn normalise(scores: &mut [f64]) {
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

/// `1 / (1 + exp(−score))`, taking the exponential of a negative number only.
fn sigmoid(score: f64) -> f64 {
    if score >= 0.0 { 1.0 / (1.0 + (-score).exp()) } else { score.exp() / (1.0 + score.exp()) }
}

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedLogistic {
    signature: Signature,
    /// The classes that took part in the fit, ascending.
    present: Vec<usize>,
    /// One function for two classes, else one a class: the weights of the features, then the intercept.
    weights: Vec<f64>,
}

impl FittedLogistic {
    /// The weights of the features: one row for two classes, else one a class that took part (`functions × n_features`).
    #[must_use]
    pub fn coefficients(&self) -> Vec<Vec<f64>> {
        self.functions().map(|function| function[..self.signature.n_features()].to_vec()).collect()
    }

    /// The intercept of each function.
    #[must_use]
    pub fn intercepts(&self) -> Vec<f64> {
        self.functions().map(|function| function[self.signature.n_features()]).collect()
    }

    fn functions(&self) -> impl Iterator<Item = &[f64]> {
        self.weights.chunks_exact(self.signature.n_features() + 1)
    }

    fn write(&self, scores: &mut [f64], mut out: ArrayViewMut1<'_, f64>) {
        out.fill(0.0);
        if let [score] = scores {
            // Both by the sigmoid: one less the other would lose the digits of a small probability.
            out[self.present[0]] = sigmoid(-*score);
            out[self.present[1]] = sigmoid(*score);
        } else {
            normalise(scores);
            self.present
                .iter()
                .zip(scores.iter())
                .for_each(|(&class, probability)| out[class] = *probability);
        }
    }
}

impl Model for FittedLogistic {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        let n_features = self.signature.n_features();
        let mut scores = scratch.take(self.weights.len() / (n_features + 1));
        for (row, out) in rows.rows().into_iter().zip(out.rows_mut()) {
            for (score, function) in scores.iter_mut().zip(self.functions()) {
                *score = function[n_features]
                    + row.iter().zip(function).map(|(value, weight)| value * weight).sum::<f64>();
            }
            self.write(&mut scores, out);
        }
        scratch.give(scores);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedLogistic {
    /// The Euclidean length of a feature's weights over the functions: the absolute weight where there are two classes.
    fn importances(&self) -> Option<Vec<f64>> {
        let length = |feature: usize| {
            self.functions().map(|function| function[feature].powi(2)).sum::<f64>().sqrt()
        };
        Some((0..self.signature.n_features()).map(length).collect())
    }

    fn complexity(&self) -> Complexity {
        Complexity {
            parameters: self.weights.len(),
            bytes: size_of::<Self>() + size_of_val(&self.weights[..]),
        }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedLogistic {
    const KIND: &'static str = "mlp-models/logistic";

    fn fault(&self) -> Option<String> {
        let classes = self.signature.classes().map_or(0, <[String]>::len);
        let functions = if self.present.len() == 2 { 1 } else { self.present.len() };
        let fits = self.present.len() >= 2
            && self.present.is_sorted_by(|a, b| a < b)
            && self.present.last().is_some_and(|&last| last < classes)
            && self.weights.len() == functions * (self.signature.n_features() + 1);
        (!fits).then(|| "the weights do not fit the features and classes".to_owned())
    }
}
