//! Newton's method to the minimum of a logistic regression.

use mlp_core::FitError;
use ndarray::Array2;

use super::problem::Problem;
use crate::solve::{dot, solve};

/// The expected decrease, relative to the objective, from which on quasi-Newton steps are cheaper than Newton's.
const NEAR: f64 = 0.01;

/// The expected decrease, relative to the objective, below which the objective itself tells nothing any more.
const FLAT: f64 = 1e-10;

/// After a step of at most this expected decrease, relative to the objective, the curvature is as good as the same.
const SAME_CURVATURE: f64 = 1e-6;

/// Every so-many-th row gives the place to start from where rows are many.
const THINNING: usize = 8;

impl Problem {
    /// Newton's method to the minimum, exact to rounding: from 0 or, where rows are many, from near the minimum of every eighth row.
    pub(super) fn solve(&self, max_iterations: usize) -> Result<Vec<f64>, FitError> {
        let from =
            self.thinned().and_then(|few| few.newton(few.start(), max_iterations, false).ok());
        let from = from.map_or_else(|| self.start(), |(near, _)| near);
        Ok(self.newton(from, max_iterations, true)?.0)
    }

    fn start(&self) -> Vec<f64> {
        vec![0.0; self.size()]
    }

    /// Every so-many-th row, with a penalty that weighs as much among them; none if they would be few or lack a class.
    fn thinned(&self) -> Option<Self> {
        if self.labels.len() < 40 * THINNING.max(self.size()) {
            return None;
        }
        let labels: Vec<usize> = self.labels.iter().copied().step_by(THINNING).collect();
        let classes = self.functions.max(2);
        let has_rows = |class: usize| labels.iter().filter(|label| **label == class).count() > 5;
        (0..classes).all(has_rows).then(|| Self {
            rows: self.rows.chunks_exact(self.width).step_by(THINNING).flatten().copied().collect(),
            means: self.means.clone(),
            weights: self.weights.iter().copied().step_by(THINNING).collect(),
            penalty: self.penalty / THINNING as f64,
            labels,
            ..*self
        })
    }

    /// Newton's method, with step halving while the objective tells progress, then with full steps until their size stops to shrink; or, if it
    /// need not be exact, until the minimum is near. Also gives the curvature of the last steps: near the minimum it hardly changes, and is kept.
    pub(super) fn newton(
        &self,
        from: Vec<f64>,
        max_iterations: usize,
        is_exact: bool,
    ) -> Result<(Vec<f64>, Array2<f64>), FitError> {
        let mut solution = from;
        let mut probabilities = vec![0.0; self.labels.len() * self.functions];
        let mut objective = self.evaluate(&solution, &mut probabilities);
        let mut curvature: Option<Array2<f64>> = None;
        let mut last_decrease = f64::INFINITY;
        for _ in 0..max_iterations {
            let gradient = self.gradient_at(&solution, &probabilities);
            let is_old = curvature.is_some();
            let hessian = curvature.take().unwrap_or_else(|| self.hessian_at(&probabilities));
            let step = solve(&hessian, gradient.clone());
            let decrease = dot(&step, &gradient);
            let scale = 1.0 + objective.abs();
            // Below this the objective is flat to rounding, and only the expected decrease still tells progress.
            if decrease <= FLAT * scale {
                solution.iter_mut().zip(&step).for_each(|(value, step)| *value -= step);
                let rests = decrease >= 0.25 * last_decrease;
                if !is_exact || decrease <= 1e-26 || (rests && !is_old) {
                    return Ok((solution, hessian));
                }
                last_decrease = decrease;
                curvature = (!rests).then_some(hessian);
                self.evaluate(&solution, &mut probabilities);
                continue;
            }
            let next = self.descend(&solution, &step, objective, &mut probabilities);
            (solution, objective) =
                next.ok_or(FitError::NotConverged { iterations: max_iterations })?;
            if !is_exact && decrease <= NEAR * scale {
                return Ok((solution, hessian));
            }
            curvature = (decrease <= SAME_CURVATURE * scale).then_some(hessian);
        }
        Err(FitError::NotConverged { iterations: max_iterations })
    }

    /// The first of the full step, half of it, a quarter, … that does not increase the objective; none if that is below rounding.
    fn descend(
        &self,
        from: &[f64],
        step: &[f64],
        objective: f64,
        probabilities: &mut [f64],
    ) -> Option<(Vec<f64>, f64)> {
        (0..40).find_map(|halving| {
            let length = 0.5_f64.powi(halving);
            let next: Vec<f64> =
                from.iter().zip(step).map(|(value, step)| value - length * step).collect();
            let value = self.evaluate(&next, probabilities);
            (value <= objective).then_some((next, value))
        })
    }
}
