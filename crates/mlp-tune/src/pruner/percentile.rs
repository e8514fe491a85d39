//! Compares a trial with those that came as far.

use mlp_core::Direction;
use serde::{Deserialize, Serialize};

use super::{Decision, PruneRequest, Pruner, Verdict, standing};
use crate::error::TuneError;
use crate::trial::TrialRecord;

/// When a [`PercentilePruner`] looks at a trial at all. The defaults are Optuna's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Patience {
    /// How many trials must be complete first (5).
    pub startup_trials: usize,
    /// Before which step no trial is stopped (0).
    pub warmup_steps: i64,
    /// Every how many steps trials are looked at (1), counted from the warm-up; at least 1.
    pub interval_steps: i64,
    /// How many complete trials must have reported the step (1).
    pub min_trials: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { startup_trials: 5, warmup_steps: 0, interval_steps: 1, min_trials: 1 }
    }
}

impl Patience {
    /// Sets how many trials must be complete first.
    #[must_use]
    pub fn with_startup_trials(mut self, trials: usize) -> Self {
        self.startup_trials = trials;
        self
    }

    /// Sets before which step no trial is stopped.
    #[must_use]
    pub fn with_warmup_steps(mut self, steps: i64) -> Self {
        self.warmup_steps = steps;
        self
    }

    /// Sets every how many steps trials are looked at.
    #[must_use]
    pub fn with_interval_steps(mut self, steps: i64) -> Self {
        self.interval_steps = steps.max(1);
        self
    }

    /// Whether the last report is the first at or after a boundary of the intervals.
    fn looks_at(&self, trial: &TrialRecord, step: i64) -> bool {
        if step < self.warmup_steps {
            return false;
        }
        let interval = self.interval_steps.max(1);
        let boundary = (step - self.warmup_steps) / interval * interval + self.warmup_steps;
        trial.reports.keys().rev().nth(1).is_none_or(|&earlier| earlier < boundary)
    }
}

/// Stops a trial whose best value so far is worse than a percentile of the complete trials' values at the same step (Optuna 5.0).
///
/// A trial that has reported nothing but NaN is stopped as soon as another one is complete. With several objectives it is stopped if the front it belongs to
/// at its last step (0: nothing dominates it there) is behind that percentile of the fronts of the complete trials.
#[derive(Debug, Clone)]
pub struct PercentilePruner {
    percentile: f64,
    patience: Patience,
}

impl PercentilePruner {
    /// Keeps the trials in the best `percentile` per cent.
    ///
    /// # Errors
    /// If the percentile is not from 0 to 100.
    pub fn new(percentile: f64, patience: Patience) -> Result<Self, TuneError> {
        if !(0.0..=100.0).contains(&percentile) {
            return Err(TuneError::setting("percentile", percentile, "from 0 to 100"));
        }
        Ok(Self { percentile, patience })
    }

    /// Keeps the better half: the median rule.
    #[must_use]
    pub fn median(patience: Patience) -> Self {
        Self { percentile: 50.0, patience }
    }
}

impl PercentilePruner {
    /// With several objectives: whether the trial's front at its last step is behind a percentile of the fronts of the complete trials there.
    fn judge_fronts(&self, request: &PruneRequest<'_>) -> Verdict {
        let (step, own) = request.last_values();
        let has_values = |values: &&[f64]| {
            values.len() == own.len() && values.iter().all(|value| !value.is_nan())
        };
        let others = request.history.complete().filter_map(|trial| trial.reported(step));
        let others: Vec<Vec<f64>> = others.filter(has_values).map(<[f64]>::to_vec).collect();
        if others.len() < self.patience.min_trials.max(1) {
            return Decision::Keep.into();
        }
        if !has_values(&own) {
            return Decision::Prune.into();
        }
        let (own, others) = standing::fronts(request.directions(), &others, own);
        let mut others: Vec<f64> = others.into_iter().map(|front| front as f64).collect();
        let reference = quantile(&mut others, self.percentile / 100.0);
        if own as f64 > reference { Decision::Prune } else { Decision::Keep }.into()
    }
}

impl Pruner for PercentilePruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        let complete = || request.history.complete();
        let count = complete().count();
        let (step, _) = request.last();
        if count == 0
            || count < self.patience.startup_trials
            || !self.patience.looks_at(request.trial, step)
        {
            return Decision::Keep.into();
        }
        if request.directions().len() > 1 {
            return self.judge_fronts(request);
        }
        let direction = request.direction();
        let own = request.trial.reports.values().map(|value| Some(*value));
        let Some((_, best)) = direction.best(own) else { return Decision::Prune.into() };
        let mut others: Vec<f64> =
            complete().filter_map(|trial| trial.reports.get(&step).copied()).collect();
        others.retain(|value| !value.is_nan());
        if others.len() < self.patience.min_trials.max(1) {
            return Decision::Keep.into();
        }
        let percentile = match direction {
            Direction::Minimize => self.percentile,
            Direction::Maximize => 100.0 - self.percentile,
        };
        let reference = quantile(&mut others, percentile / 100.0);
        if direction.is_better(reference, best) { Decision::Prune } else { Decision::Keep }.into()
    }
}

/// The quantile by linear interpolation, as `numpy.percentile` has it. The values are not empty.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    if low == high { low } else { low + (high - low) * place.fract() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_interpolated() {
        assert!((quantile(&mut [0.5, 0.1, 0.4, 0.2, 0.3], 0.25) - 0.2).abs() < 1e-15);
        assert_eq!(quantile(&mut [f64::INFINITY, f64::INFINITY], 0.5), f64::INFINITY);
    }
}
