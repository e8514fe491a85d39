//! Stops a trial whose parts are worse than those of the best one, by a signed-rank test.

use mlp_core::Direction;
use mlp_stats::{Alternative, wilcoxon_signed_rank};

use super::{Decision, PruneRequest, Pruner, Verdict};
use crate::error::TuneError;
use crate::order;
use crate::trial::TrialRecord;

/// Stops a trial whose reports are worse than those of the best complete trial at the same steps, by Wilcoxon's signed-rank test (Optuna 5.0).
///
/// For reports that are parts of one result, such as the scores of folds, reported at steps 0, 1, 2 and so on in any order. A trial whose mean is
/// better than the best one's is never stopped. Steps that only one of the two has reported are left out, and a trial with a
/// value that is not finite goes on.
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

    fn is_worse(&self, trial: &TrialRecord, best: &TrialRecord, direction: Direction) -> bool {
        let common =
            trial.reports.iter().filter_map(|(step, value)| Some(value - best.reports.get(step)?));
        let differences: Vec<f64> = common.collect();
        if differences.len() < self.startup_steps.max(2) {
            return false;
        }
        let worse = match direction {
            Direction::Minimize => Alternative::Greater,
            Direction::Maximize => Alternative::Less,
        };
        let test = wilcoxon_signed_rank(&differences, worse);
        let (own, other) = (mean(trial), mean(best));
        test.is_ok_and(|test| test.p_value < self.threshold) && direction.is_better(other, own)
    }
}

fn mean(trial: &TrialRecord) -> f64 {
    trial.reports.values().sum::<f64>() / trial.reports.len() as f64
}

impl Pruner for WilcoxonPruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        let direction = request.direction();
        let complete: Vec<_> = request.history.complete().collect();
        let scores = complete.iter().map(|trial| order::score(trial));
        let Some((best, _)) = direction.best(scores) else { return Decision::Keep.into() };
        let best = complete[best];
        let is_finite = |trial: &TrialRecord| trial.reports.values().all(|value| value.is_finite());
        let is_comparable = is_finite(request.trial) && is_finite(best);
        match is_comparable && self.is_worse(request.trial, best, direction) {
            true => Decision::Prune.into(),
            false => Decision::Keep.into(),
        }
    }
}
