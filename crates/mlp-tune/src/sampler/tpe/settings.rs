//! Settings of the tree-structured Parzen estimator.

use serde::{Deserialize, Serialize};

use crate::error::TuneError;

/// How wide the kernels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bandwidth {
    /// Trials take turns with three rules, by their numbers: Optuna's; its neighbours above Watanabe's floor; these and the middle of the range as
    /// a neighbour. No single rule suited every function tried: wide kernels are slow in many dimensions, narrow ones stay in one basin.
    #[default]
    Turns,
    /// The distance to the farther neighbour, the ends of the range and its middle among the neighbours; at least max(0.03, (1/(2+n))²) of the
    /// range for n observations (Watanabe 2023).
    Watanabe,
    /// The distance to the farther observed neighbour; at least 1/min(100, 2+n) of the range (Optuna 5.0).
    Optuna,
}

/// How much each observed trial counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Good trials by their improvement over the best of the others, the others evenly (Watanabe 2023).
    #[default]
    Improvement,
    /// The last 25 fully, earlier ones less the older they are (Optuna 5.0).
    Recency,
}

/// How a choice that other parameters depend on is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branching {
    /// Every second trial in the leading branch, the others in turns in those that are not too far behind (after Li et al. 2020, *Efficient
    /// Automatic CASH via Rising Bandits*). With several objectives as [`Density`](Self::Density).
    #[default]
    Promise,
    /// Like any other parameter, by the densities of good and other trials: that soon locks onto the branch that is good soonest.
    Density,
}

/// Settings of [`TpeSampler`](super::TpeSampler). The defaults are those Watanabe recommends (2023, arXiv 2304.11127), but that trials take turns with
/// [bandwidths](Bandwidth::Turns) and that [branches](Branching::Promise) are tried in turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TpeSettings {
    /// How many trials are drawn at random first (10).
    pub startup_trials: usize,
    /// How many candidates are compared (24).
    pub candidates: usize,
    /// Which share of the trials counts as good (0.15); above 0, below 1.
    pub good_share: f64,
    /// How many trials at most count as good (25); with several objectives there is no such bound.
    pub max_good: usize,
    /// How wide the kernels are.
    pub bandwidth: Bandwidth,
    /// How much each trial counts. With several objectives good trials count evenly.
    pub weighting: Weighting,
    /// How a choice that other parameters depend on is made.
    pub branching: Branching,
}

impl Default for TpeSettings {
    fn default() -> Self {
        Self {
            startup_trials: 10,
            candidates: 24,
            good_share: 0.15,
            max_good: 25,
            bandwidth: Bandwidth::Turns,
            weighting: Weighting::Improvement,
            branching: Branching::Promise,
        }
    }
}

impl TpeSettings {
    /// The settings that Watanabe recommends (2023, arXiv 2304.11127), as `optunahub`'s `tpe_tutorial` has them.
    #[must_use]
    pub fn watanabe() -> Self {
        Self { bandwidth: Bandwidth::Watanabe, branching: Branching::Density, ..Self::default() }
    }

    /// The settings of Optuna 5.0's sampler.
    #[must_use]
    pub fn optuna() -> Self {
        Self {
            good_share: 0.1,
            bandwidth: Bandwidth::Optuna,
            weighting: Weighting::Recency,
            branching: Branching::Density,
            ..Self::default()
        }
    }

    /// Sets how many trials are drawn at random first.
    #[must_use]
    pub fn with_startup_trials(mut self, trials: usize) -> Self {
        self.startup_trials = trials;
        self
    }

    /// How many of so many trials count as good, for so many objectives.
    pub(super) fn good(&self, trials: usize, objectives: usize) -> usize {
        // 0.1 × 250 must be 25, not 25.000000000000004.
        let share = (self.good_share * trials as f64 * (1.0 - 1e-12)).ceil() as usize;
        if objectives > 1 { share } else { share.min(self.max_good) }
    }

    pub(super) fn check(&self) -> Result<(), TuneError> {
        if self.candidates == 0 {
            return Err(TuneError::setting("candidates", 0, "at least 1"));
        }
        if !(self.good_share > 0.0 && self.good_share < 1.0) {
            return Err(TuneError::setting("good_share", self.good_share, "above 0 and below 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_good_trials_is_rounded_up_and_capped() {
        let optuna = TpeSettings::optuna();
        let counts = [1, 10, 11, 250, 10_000].map(|trials| optuna.good(trials, 1));
        assert_eq!(counts, [1, 1, 2, 25, 25]);
        assert_eq!(TpeSettings::default().good(20, 1), 3);
        assert_eq!(optuna.good(10_000, 2), 1_000);
    }
}
