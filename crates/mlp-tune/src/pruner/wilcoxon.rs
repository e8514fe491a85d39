//! Stops a trial whose parts are worse than those of the best one, by a signed-rank test.

use std::collections::BTreeMap;

use mlp_core::Direction;
use mlp_stats::{Alternative, wilcoxon_signed_rank};

use super::{Decision, PruneRequest, Pruner, Verdict};
use crate::error::TuneError;
use crate::order;
use crate::pareto::{front_numbers, losses};
use crate::trial::TrialRecord;

/// Stops a trial whose reports are worse than those of the best complete trial at the same steps, by Wilcoxon's signed-rank test (Optuna 5.0).
///
/// For reports that are parts of one result, such as the scores of folds, reported at steps 0, 1, 2 and so on in any order. A trial whose mean is
/// better than the best one's is never stopped. Steps that only one of the two has reported are left out, and a trial with a
/// value that is not finite goes on. With several objectives it is compared with each complete trial that no other dominates, and stopped if it is worse than one of
/// them in every objective.
///
/// ```
/// use mlp_core::{Dimension, Direction, SearchSpace};
/// use mlp_tune::{Budget, Study, TrialError, WilcoxonPruner};
///
/// let space = SearchSpace::new([Dimension::float("x", -1.0, 1.0)])?;
/// let study = Study::new(space, Direction::Minimize).with_pruner(WilcoxonPruner::new(0.1)?);
/// study.optimize(
///     |trial| {
///         let x = trial.float("x")?;
///         let folds: Vec<f64> = (0..10).map(|fold| x.abs() + 0.01 * f64::from(fold)).collect();
///         for (step, loss) in folds.iter().enumerate() {
///             trial.report(step as i64, *loss)?;
///             if trial.should_prune()? {
///                 return Err(TrialError::Pruned);
///             }
///         }
///         Ok(folds.iter().sum::<f64>() / 10.0)
///     },
///     Budget::trials(20),
/// )?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct WilcoxonPruner {
    threshold: f64,
    startup_steps: usize,
}

impl WilcoxonPruner {
    /// Stops at p-values below the threshold; Optuna's default is 0.1. The larger, the sooner.
    ///
    /// # Errors
    /// If the threshold is not from 0 to 1.
    pub fn new(threshold: f64) -> Result<Self, TuneError> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(TuneError::setting("threshold", threshold, "0 to 1"));
        }
        Ok(Self { threshold, startup_steps: 2 })
    }

    /// Sets from how many common steps on a trial may be stopped; at least 2 are needed in any case.
    #[must_use]
    pub fn with_startup_steps(mut self, steps: usize) -> Self {
        self.startup_steps = steps;
        self
    }

    /// Whether the trial is worse than another one in an objective: in the mean, and by the test.
    fn is_worse(
        &self,
        trial: &TrialRecord,
        other: &TrialRecord,
        objective: usize,
        direction: Direction,
    ) -> bool {
        let (own, others) = (parts(trial, objective), parts(other, objective));
        let common = own.iter().filter_map(|(step, value)| Some(value - others.get(step)?));
        let differences: Vec<f64> = common.collect();
        if differences.len() < self.startup_steps.max(2) {
            return false;
        }
        let worse = match direction {
            Direction::Minimize => Alternative::Greater,
            Direction::Maximize => Alternative::Less,
        };
        let test = wilcoxon_signed_rank(&differences, worse);
        test.is_ok_and(|test| test.p_value < self.threshold)
            && direction.is_better(mean(&others), mean(&own))
    }
}

/// The reports of an objective by step.
fn parts(trial: &TrialRecord, objective: usize) -> BTreeMap<i64, f64> {
    let part = |&step: &i64| Some((step, *trial.reported(step)?.get(objective)?));
    trial.reports.keys().filter_map(part).collect()
}

fn mean(parts: &BTreeMap<i64, f64>) -> f64 {
    parts.values().sum::<f64>() / parts.len() as f64
}

fn is_finite(trial: &TrialRecord) -> bool {
    let is_finite =
        |step: &i64| trial.reported(*step).is_some_and(|v| v.iter().all(|v| v.is_finite()));
    trial.reports.keys().all(is_finite)
}

/// What a trial is compared with: the best complete one, or with several objectives those that nothing dominates.
fn bests<'a>(request: &PruneRequest<'a>) -> Vec<&'a TrialRecord> {
    let complete = request.history.complete().filter(|trial| order::score(trial).is_some());
    let complete: Vec<&TrialRecord> = complete.collect();
    if let [direction] = request.history.directions() {
        let best = direction.best(complete.iter().map(|trial| order::score(trial)));
        return best.map(|(place, _)| complete[place]).into_iter().collect();
    }
    let directions = request.history.directions();
    let values: Vec<_> = complete.iter().map(|trial| losses(directions, &trial.values)).collect();
    let fronts = front_numbers(&values);
    complete.into_iter().zip(fronts).filter(|(_, front)| *front == 0).map(|(t, _)| t).collect()
}

impl Pruner for WilcoxonPruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        if !is_finite(request.trial) {
            return Decision::Keep.into();
        }
        let directions = request.directions();
        let is_beaten_by = |best: &TrialRecord| {
            let mut objectives = directions.iter().enumerate();
            objectives
                .all(|(place, direction)| self.is_worse(request.trial, best, place, *direction))
        };
        let mut bests = bests(request).into_iter().filter(|best| is_finite(best));
        match bests.any(is_beaten_by) {
            true => Decision::Prune.into(),
            false => Decision::Keep.into(),
        }
    }
}
