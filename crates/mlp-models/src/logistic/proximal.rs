//! Newton's method with an L1 penalty.

use mlp_core::{FitError, choose_columns};
use ndarray::{Array2, Axis};

use super::problem::Problem;
use crate::descent::minimise;
use crate::solve::{Factor, dot, row_dot};

/// The most sweeps of coordinate descent a step.
const MOST_SWEEPS: usize = 1_000;

impl Problem {
    /// The minimum of the objective plus `l1 · Σ |w|` over all weights but the intercepts.
    ///
    /// Each step minimises the quadratic model with the penalty by coordinate descent, and then goes as far towards there as the objective falls (Lee, Sun
    /// and Saunders 2014, *Proximal Newton-type methods*; Yuan, Ho and Lin 2012 for logistic regression). Ends when the expected decrease is at rest; or
    /// when the steps are used up, if the last one was not to lower the objective by more than 1e-10 of it.
    pub(super) fn solve_l1(&self, l1: f64, max_iterations: usize) -> Result<Vec<f64>, FitError> {
        let mut penalties = vec![0.0; self.size()];
        self.penalised().for_each(|at| penalties[at] = l1);
        let penalty = |solution: &[f64]| -> f64 {
            solution.iter().zip(&penalties).map(|(value, l1)| l1 * value.abs()).sum()
        };
        let mut solution = vec![0.0; self.size()];
        let mut probabilities = vec![0.0; self.n_rows() * self.functions()];
        let mut objective = self.evaluate(&solution, &mut probabilities);
        let (mut last_decrease, mut is_flat) = (f64::INFINITY, false);
        for _ in 0..max_iterations {
            let gradient = self.gradient_at(&solution, &probabilities);
            let hessian = self.hessian_at(&probabilities);
            let pull: Vec<f64> = hessian
                .rows()
                .into_iter()
                .zip(&gradient)
                .map(|(row, slope)| row_dot(row, &solution) - slope)
                .collect();
            let (target, is_exact) = self.towards(&hessian, &pull, l1, &solution);
            let step: Vec<f64> = target.iter().zip(&solution).map(|(to, from)| to - from).collect();
            let decrease = penalty(&solution) - penalty(&target) - dot(&step, &gradient);
            // Below this the objective is flat to rounding, and only the expected decrease still tells progress.
            is_flat = decrease <= 1e-10 * (1.0 + objective.abs());
            if is_flat {
                solution = target;
                if is_exact && (decrease <= 1e-24 || decrease >= 0.5 * last_decrease) {
                    return Ok(solution);
                }
                last_decrease = decrease;
                self.evaluate(&solution, &mut probabilities);
                continue;
            }
            let next = (0..40).find_map(|halving| {
                let length = 0.5_f64.powi(halving);
                let next: Vec<f64> =
                    solution.iter().zip(&step).map(|(from, step)| from + length * step).collect();
                let value = self.evaluate(&next, &mut probabilities) + penalty(&next);
                (value <= objective).then_some((next, value))
            });
            let Some((next, value)) = next else {
                return Err(FitError::NotConverged { iterations: max_iterations });
            };
            (solution, objective) = (next, value);
        }
        // Where the curvature is mostly rounding the expected decrease is, too, and does not come to rest.
        if is_flat {
            return Ok(solution);
        }
        Err(FitError::NotConverged { iterations: max_iterations })
    }

    /// The minimum of the quadratic model with the penalty, from here, or a place on the way, and whether it is the minimum: the intercepts, which nothing
    /// holds, are solved for as functions of the weights, so that the descent has to do with the weights alone.
    fn towards(
        &self,
        hessian: &Array2<f64>,
        pull: &[f64],
        l1: f64,
        from: &[f64],
    ) -> (Vec<f64>, bool) {
        let width = self.width();
        let (free, held): (Vec<usize>, Vec<usize>) =
            (0..self.size()).partition(|at| at % width == width - 1);
        let block = |rows: &[usize], columns: &[usize]| {
            choose_columns(hessian.select(Axis(0), rows).view(), columns)
        };
        let (among_free, between) = (Factor::of(&block(&free, &free)), block(&held, &free));
        let free_pull: Vec<f64> = free.iter().map(|&at| pull[at]).collect();
        let solved = among_free.solve(free_pull.clone());
        let mut reduced = block(&held, &held);
        for (mut row, cross) in reduced.rows_mut().into_iter().zip(between.rows()) {
            let taken = among_free.solve(cross.to_vec());
            row.iter_mut()
                .zip(between.rows())
                .for_each(|(cell, cross)| *cell -= row_dot(cross, &taken));
        }
        let held_pull: Vec<f64> = held
            .iter()
            .zip(between.rows())
            .map(|(&at, cross)| pull[at] - row_dot(cross, &solved))
            .collect();
        let mut weights: Vec<f64> = held.iter().map(|&at| from[at]).collect();
        let penalties = vec![l1; weights.len()];
        let sweeps = minimise(&reduced, &held_pull, &penalties, &mut weights, 1e-13, MOST_SWEEPS);
        let left: Vec<f64> = free_pull
            .iter()
            .zip(between.columns())
            .map(|(pull, cross)| pull - row_dot(cross, &weights))
            .collect();
        let mut target = vec![0.0; self.size()];
        held.iter().zip(weights).for_each(|(&at, weight)| target[at] = weight);
        free.iter().zip(among_free.solve(left)).for_each(|(&at, value)| target[at] = value);
        (target, sweeps.is_some())
    }
}
