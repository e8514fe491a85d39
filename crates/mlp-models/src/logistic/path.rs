//! Logistic regressions on fewer and fewer features, each from the one before.

use std::sync::Arc;

use mlp_core::{EliminationState, FitError, FittedModel, choose_columns};
use ndarray::{Array2, Axis};

use super::Classes;
use super::problem::Problem;
use crate::solve::{Factor, inverse};

/// The expected decrease of the objective from which on a last step is enough, if the order of the features is certain …
const SMALL: f64 = 1e-8;

/// … and if it is not: what is left is rounding.
const LEAST: f64 = 1e-20;

/// With more than this to gain, full steps may lead astray.
const FAR: f64 = 1.0;

/// After so many quasi-Newton steps without an end Newton's method takes over.
const MOST_STEPS: usize = 25;

/// The fit of the features that are left, and the inverse of its curvature.
///
/// Dropping a feature is one step of Newton's method under the condition that its weights are 0, and a downdate of the inverse by the rows
/// and columns dropped (the block inverse; Golub and Van Loan, *Matrix Computations*, section 2.1). What the curvature has changed meanwhile
/// is made good by quasi-Newton steps (Broyden, Fletcher, Goldfarb and Shanno 1970), each of which costs one pass over the rows and improves
/// the inverse for all steps to come.
#[derive(Debug)]
pub(super) struct LogisticElimination {
    problem: Problem,
    classes: Classes,
    names: Vec<String>,
    active: Vec<usize>,
    solution: Vec<f64>,
    inverse: Array2<f64>,
    max_iterations: usize,
}

impl LogisticElimination {
    pub(super) fn start(
        problem: Problem,
        classes: Classes,
        names: Vec<String>,
        max_iterations: usize,
    ) -> Result<Self, FitError> {
        let (solution, curvature) =
            problem.newton(vec![0.0; problem.size()], max_iterations, false)?;
        let inverse = inverse_curvature(&problem, curvature);
        let active = (0..names.len()).collect();
        let mut state = Self { problem, classes, names, active, solution, inverse, max_iterations };
        state.refine()?;
        Ok(state)
    }

    /// The parameters of these columns, in every function.
    fn parameters(&self, columns: &[usize]) -> Vec<usize> {
        let width = self.problem.width();
        (0..self.problem.functions())
            .flat_map(|function| columns.iter().map(move |column| function * width + column))
            .collect()
    }

    /// Takes the dropped parameters out of the solution and the inverse.
    fn downdate(&mut self, dropped: &[usize], left: &[usize]) {
        let block = |rows: &[usize], columns: &[usize]| {
            choose_columns(self.inverse.select(Axis(0), rows).view(), columns)
        };
        let (between, among) = (block(left, dropped), Factor::of(&block(dropped, dropped)));
        let weights = dropped.iter().map(|&at| self.solution[at]).collect();
        let pull = between.dot(&ndarray::Array1::from(among.solve(weights)));
        self.solution = left.iter().zip(pull).map(|(&at, pull)| self.solution[at] - pull).collect();
        let mut correction = Array2::zeros((dropped.len(), left.len()));
        for (mut column, row) in correction.columns_mut().into_iter().zip(between.rows()) {
            let solved = among.solve(row.to_vec());
            column.iter_mut().zip(solved).for_each(|(cell, value)| *cell = value);
        }
        self.inverse = block(left, left) - between.dot(&correction);
    }

    /// Goes to the minimum from nearby.
    fn refine(&mut self) -> Result<(), FitError> {
        let start = self.solution.clone();
        let mut gradient = self.problem.gradient(&self.solution);
        let mut last = FAR;
        for _ in 0..MOST_STEPS {
            let step = self.inverse.dot(&ndarray::ArrayView1::from(&gradient[..]));
            let decrease: f64 = step.iter().zip(&gradient).map(|(step, slope)| step * slope).sum();
            if decrease.is_nan() || decrease < -LEAST || decrease > last {
                break;
            }
            let next: Vec<f64> =
                self.solution.iter().zip(&step).map(|(w, step)| w - step).collect();
            let is_small = decrease <= SMALL && self.order_is_certain(&next, decrease);
            if is_small || decrease <= LEAST {
                self.solution = next;
                return Ok(());
            }
            let slopes = self.problem.gradient(&next);
            let changes: Vec<f64> =
                slopes.iter().zip(&gradient).map(|(new, old)| new - old).collect();
            update(&mut self.inverse, &step.mapv(|step| -step).to_vec(), &changes);
            (self.solution, gradient, last) = (next, slopes, decrease);
        }
        // Too far for steps that nobody watches: Newton's method from where this began, or else from 0.
        let newton = |from| self.problem.newton(from, self.max_iterations, true);
        let (solution, curvature) =
            newton(start).or_else(|_| newton(vec![0.0; self.problem.size()]))?;
        (self.solution, self.inverse) = (solution, inverse_curvature(&self.problem, curvature));
        Ok(())
    }

    /// Whether no two features could change their order: each weight is known to within the root of the expected decrease times its place in
    /// the inverse (the inequality of Cauchy and Schwarz).
    fn order_is_certain(&self, solution: &[f64], decrease: f64) -> bool {
        let width = self.problem.width();
        let mut known: Vec<(f64, f64)> = (0..self.active.len())
            .map(|feature| {
                let parameters = (0..self.problem.functions()).map(|f| f * width + feature);
                let squares: f64 = parameters.clone().map(|at| solution[at].powi(2)).sum();
                let spread: f64 = parameters.map(|at| self.inverse[[at, at]].abs()).sum();
                (squares.sqrt(), (spread * decrease).sqrt())
            })
            .collect();
        known.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        known.windows(2).all(|pair| pair[1].0 - pair[0].0 > 2.0 * (pair[0].1 + pair[1].1))
    }
}

/// The inverse of the objective's curvature.
///
/// With a function a class, adding one number to all intercepts changes nothing: in that direction, which no gradient ever has, any curvature
/// will do, and one is added so that there is an inverse.
fn inverse_curvature(problem: &Problem, mut curvature: Array2<f64>) -> Array2<f64> {
    let width = problem.width();
    if problem.functions() > 1 {
        let intercepts = || (0..problem.functions()).map(|function| (function + 1) * width - 1);
        let scale = intercepts().map(|at| curvature[[at, at]]).fold(0.0, f64::max);
        for i in intercepts() {
            intercepts().for_each(|j| curvature[[i, j]] += scale);
        }
    }
    inverse(curvature)
}

/// The quasi-Newton update of an inverse by a step and the change of the slopes along it.
fn update(inverse: &mut Array2<f64>, step: &[f64], changes: &[f64]) {
    let along: f64 = step.iter().zip(changes).map(|(step, change)| step * change).sum();
    if along <= 0.0 || !along.is_finite() {
        return;
    }
    let image = inverse.dot(&ndarray::ArrayView1::from(changes));
    let own: f64 = image.iter().zip(changes).map(|(image, change)| image * change).sum();
    let scale = (1.0 + own / along) / along;
    for (i, mut row) in inverse.rows_mut().into_iter().enumerate() {
        let (by_image, by_step) = (step[i] / along, scale * step[i] - image[i] / along);
        if let Some(row) = row.as_slice_mut() {
            for ((cell, image), step) in row.iter_mut().zip(&image).zip(step) {
                *cell += by_step * step - by_image * image;
            }
        }
    }
}

impl EliminationState for LogisticElimination {
    fn active(&self) -> &[usize] {
        &self.active
    }

    fn importances(&self) -> Vec<f64> {
        let width = self.problem.width();
        let length = |feature: usize| {
            let functions = self.solution.chunks_exact(width);
            functions.map(|function| function[feature].powi(2)).sum::<f64>().sqrt()
        };
        (0..self.active.len()).map(length).collect()
    }

    fn drop_features(&mut self, columns: &[usize]) -> Result<(), FitError> {
        let (gone, left) = crate::support::part(&self.active, columns)?;
        let ones = self.problem.width() - 1;
        let with_ones: Vec<usize> = left.iter().copied().chain([ones]).collect();
        let (dropped, kept) = (self.parameters(&gone), self.parameters(&with_ones));
        self.downdate(&dropped, &kept);
        self.problem.drop_columns(&gone);
        self.active = left.iter().map(|&at| self.active[at]).collect();
        self.refine()
    }

    fn model(&self) -> Result<Arc<dyn FittedModel>, FitError> {
        let names: Vec<String> =
            self.active.iter().map(|&column| self.names[column].clone()).collect();
        let solution = self.problem.uncentred(self.solution.clone());
        Ok(Arc::new(self.classes.model(&names, solution)))
    }
}
