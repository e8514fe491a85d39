//! A bar that shows how far a study has come.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::Study;
use crate::budget::Budget;
use crate::error::TuneError;
use crate::trial::TrialState;

/// The bar of the running `optimize`.
#[derive(Debug, Default)]
pub(super) struct Progress {
    wanted: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// A bar as long as the budget, at the trials that count towards it already; without a number of trials it counts only.
    pub(super) fn start(&self, budget: &Budget, before: u64) {
        if !self.wanted {
            return;
        }
        let length = budget.trials.or(budget.total_trials).or(budget.complete_trials);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(5));
        let template = match length {
            Some(_) => "{elapsed_precise} {bar:30} {pos}/{len} trials, {per_sec}, {eta} left {msg}",
            None => "{elapsed_precise} {spinner} {pos} trials, {per_sec} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(before);
        // What was done before says nothing of the speed.
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
        *self.bar.lock() = Some(bar);
    }

    pub(super) fn end(&self) {
        if let Some(bar) = self.bar.lock().take() {
            bar.abandon();
        }
    }
}

impl Study {
    /// Shows a bar on standard error while `optimize` runs: the trials that have ended, how many a second, the time left and the best score.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        self.progress.want();
        self
    }

    /// How many trials of earlier calls count towards the budget that the bar shows.
    pub(super) fn ended_before(&self, budget: &Budget) -> Result<u64, TuneError> {
        if !self.progress.wanted || budget.trials.is_some() {
            return Ok(0);
        }
        let trials = self.trials()?;
        let counts: fn(&TrialState) -> bool = match (budget.total_trials, budget.complete_trials) {
            (Some(_), _) => |state| state.is_finished(),
            (None, Some(_)) => |state| *state == TrialState::Complete,
            (None, None) => return Ok(0),
        };
        Ok(trials.iter().filter(|trial| counts(&trial.state)).count() as u64)
    }

    /// One more trial has ended.
    pub(super) fn advance(&self) {
        let bar = self.progress.bar.lock();
        let Some(bar) = bar.as_ref() else { return };
        bar.inc(1);
        if let Ok(best) = self.best() {
            let value = best.value().unwrap_or(f64::NAN);
            bar.set_message(format!("| best {value:.6} (trial {})", best.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use mlp_core::{Dimension, Direction, SearchSpace};

    use super::*;

    #[test]
    fn the_bar_of_a_resumed_study_starts_at_the_trials_that_are_there() {
        let space = SearchSpace::new([Dimension::float("x", 0.0, 1.0)]).unwrap();
        let study = Study::new(space, Direction::Minimize).with_progress();
        let objective = |trial: &mut crate::Trial<'_>| match trial.number() {
            0 => Err(crate::TrialError::failed("once")),
            _ => Ok(0.0),
        };
        study.optimize(objective, Budget::trials(7)).unwrap();
        let position = |budget: Budget| {
            study.progress.start(&budget, study.ended_before(&budget).unwrap());
            let bar = study.progress.bar.lock().clone().unwrap();
            (bar.position(), bar.length())
        };
        assert_eq!(position(Budget::total_trials(20)), (7, Some(20)));
        assert_eq!(position(Budget::unlimited().with_complete_trials(10)), (6, Some(10)));
        assert_eq!(position(Budget::trials(5)), (0, Some(5)));
        assert_eq!(position(Budget::unlimited()), (0, None));
        study.progress.end();
    }
}
