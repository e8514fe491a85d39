//! A bar that shows how far a study has come.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::Study;
use crate::budget::Budget;

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

    /// A bar as long as the budget; without a number of trials it counts only.
    pub(super) fn start(&self, budget: &Budget) {
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
