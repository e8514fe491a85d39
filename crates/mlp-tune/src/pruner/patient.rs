//! Waits until a trial has stopped improving; and bounds that no value may cross.

use mlp_core::Direction;

use super::{Decision, PruneRequest, Pruner, ResumeRequest, Verdict};
use crate::error::TuneError;
use crate::trial::TrialRecord;

/// Lets another pruner decide, or stops the trial itself, once its last `patience + 1` reports brought no improvement over the ones before
/// (Optuna 5.0); with several objectives, in none of them.
#[derive(Debug)]
pub struct PatientPruner {
    inner: Option<Box<dyn Pruner>>,
    patience: usize,
    least_gain: f64,
}

impl PatientPruner {
    /// Stops trials by itself.
    #[must_use]
    pub fn new(patience: usize) -> Self {
        Self { inner: None, patience, least_gain: 0.0 }
    }

    /// Asks another pruner once the patience is over.
    #[must_use]
    pub fn around(inner: impl Pruner + 'static, patience: usize) -> Self {
        Self { inner: Some(Box::new(inner)), ..Self::new(patience) }
    }

    /// Sets by how much the later reports may be worse than the earlier ones and still count as an improvement.
    ///
    /// # Errors
    /// If it is negative or NaN.
    pub fn with_tolerance(mut self, gain: f64) -> Result<Self, TuneError> {
        if gain.is_nan() || gain < 0.0 {
            return Err(TuneError::setting("tolerance", gain, "0 or more"));
        }
        self.least_gain = gain;
        Ok(self)
    }

    fn has_stalled(&self, request: &PruneRequest<'_>) -> bool {
        let mut objectives = request.directions().iter().enumerate();
        objectives.all(|(place, direction)| self.has_stalled_in(request.trial, place, *direction))
    }

    fn has_stalled_in(&self, trial: &TrialRecord, objective: usize, direction: Direction) -> bool {
        let reported = trial.reports.keys().filter_map(|step| trial.reported(*step));
        let values: Vec<_> =
            reported.filter_map(|values| values.get(objective)).map(|v| Some(*v)).collect();
        if values.len() <= self.patience + 1 {
            return false;
        }
        let (before, after) = values.split_at(values.len() - self.patience - 1);
        let best = |values: &[Option<f64>]| Some(direction.best(values.iter().copied())?.1);
        let Some((before, after)) = best(before).zip(best(after)) else { return false };
        let bar = match direction {
            Direction::Minimize => before + self.least_gain,
            Direction::Maximize => before - self.least_gain,
        };
        direction.is_better(bar, after)
    }
}

impl Pruner for PatientPruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        if !self.has_stalled(request) {
            return Decision::Keep.into();
        }
        self.inner.as_mut().map_or(Decision::Prune.into(), |inner| inner.judge(request))
    }

    fn pauses(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.pauses())
    }

    fn resume(&mut self, request: &ResumeRequest<'_>) -> Option<u64> {
        self.inner.as_mut()?.resume(request)
    }
}

/// Stops a trial that reports NaN or a value outside of bounds.
#[derive(Debug, Clone, Copy)]
pub struct ThresholdPruner {
    lower: f64,
    upper: f64,
    warmup_steps: i64,
    objective: usize,
}

impl ThresholdPruner {
    /// Values from `lower` to `upper` are fine.
    ///
    /// # Errors
    /// If a bound is NaN, or the lower one above the upper one.
    pub fn new(lower: f64, upper: f64) -> Result<Self, TuneError> {
        if lower <= upper {
            return Ok(Self { lower, upper, warmup_steps: 0, objective: 0 });
        }
        let given = format!("{lower} to {upper}");
        Err(TuneError::setting("the bounds", given, "a range that is not empty"))
    }

    /// Sets before which step no trial is stopped.
    #[must_use]
    pub fn with_warmup_steps(mut self, steps: i64) -> Self {
        self.warmup_steps = steps;
        self
    }

    /// Sets which objective's values are looked at, from 0; the first unless set.
    #[must_use]
    pub fn with_objective(mut self, objective: usize) -> Self {
        self.objective = objective;
        self
    }
}

impl Pruner for ThresholdPruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        let (step, values) = request.last_values();
        let Some(value) = values.get(self.objective) else { return Decision::Keep.into() };
        let fine = (self.lower..=self.upper).contains(value) || step < self.warmup_steps;
        if fine { Decision::Keep } else { Decision::Prune }.into()
    }
}
