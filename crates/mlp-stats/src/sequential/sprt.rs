//! Wald's sequential test of two rates.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;

/// A test of "the rate is `p0`" against "it is `p1`" that stops as soon as it can (Wald 1945): of all tests with these error rates it needs
/// the fewest trials on average, if one of the two rates is true.
///
/// ```
/// use mlp_stats::{SprtDecision, SprtPlan};
///
/// // 1 % errors are healthy, 5 % are not; at most 1 % false alarms and 5 % misses.
/// let plan = SprtPlan::new(0.01, 0.05, 0.01, 0.05)?;
/// let mut state = plan.start();
/// let decision = (0..200).map(|_| state.record(false)).find(|decision| *decision != SprtDecision::GoOn);
/// assert_eq!((decision, state.trials()), (Some(SprtDecision::AcceptNull), 73));
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct SprtPlan {
    p0: f64,
    p1: f64,
    alpha: f64,
    beta: f64,
}

/// What is stored of a plan, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    p0: f64,
    p1: f64,
    alpha: f64,
    beta: f64,
}

impl TryFrom<Stored> for SprtPlan {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        Self::new(stored.p0, stored.p1, stored.alpha, stored.beta)
    }
}

/// What the trials so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SprtDecision {
    /// Neither rate is ruled out.
    GoOn,
    /// The rate is `p0`.
    AcceptNull,
    /// The rate is `p1`.
    RejectNull,
}

/// The trials so far under a plan. Once decided, it stays so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredState")]
pub struct SprtState {
    plan: SprtPlan,
    events: u64,
    trials: u64,
    decision: SprtDecision,
}

/// What is stored of a state, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredState {
    plan: SprtPlan,
    events: u64,
    trials: u64,
    decision: SprtDecision,
}

impl TryFrom<StoredState> for SprtState {
    type Error = StatsError;

    fn try_from(stored: StoredState) -> Result<Self, StatsError> {
        let StoredState { plan, events, trials, decision } = stored;
        check::parameter("events", events as f64, "at most trials", events <= trials)?;
        Ok(Self { plan, events, trials, decision })
    }
}

impl SprtPlan {
    /// A test of `p0` against a greater `p1`, with the chance `alpha` of a false alarm and `beta` of a miss.
    ///
    /// # Errors
    /// If a number is not above 0 and below 1, `p1` is not above `p0`, or `alpha + beta` is not below 1.
    pub fn new(p0: f64, p1: f64, alpha: f64, beta: f64) -> Result<Self, StatsError> {
        for (name, value) in [("p0", p0), ("p1", p1), ("alpha", alpha), ("beta", beta)] {
            check::open_unit(name, value)?;
        }
        check::parameter("p1", p1, "above p0", p1 > p0)?;
        check::parameter("alpha + beta", alpha + beta, "below 1", alpha + beta < 1.0)?;
        Ok(Self { p0, p1, alpha, beta })
    }

    /// The logarithm of the likelihood ratio from which on the null hypothesis is rejected.
    #[must_use]
    pub fn upper(&self) -> f64 {
        ((1.0 - self.beta) / self.alpha).ln()
    }

    /// The logarithm of the likelihood ratio up to which the null hypothesis is accepted.
    #[must_use]
    pub fn lower(&self) -> f64 {
        (self.beta / (1.0 - self.alpha)).ln()
    }

    /// No trials yet.
    #[must_use]
    pub fn start(self) -> SprtState {
        SprtState { plan: self, events: 0, trials: 0, decision: SprtDecision::GoOn }
    }
}

impl SprtState {
    /// Counts one trial, unless the test is decided.
    pub fn record(&mut self, event: bool) -> SprtDecision {
        if self.decision == SprtDecision::GoOn {
            self.trials = self.trials.saturating_add(1);
            self.events = self.events.saturating_add(u64::from(event));
            self.decide();
        }
        self.decision
    }

    /// Adds the trials of another state under the same plan, as if they had come last. A decision of this state stays.
    ///
    /// # Errors
    /// If the plan differs.
    pub fn merge(&mut self, other: &Self) -> Result<SprtDecision, StatsError> {
        check::parameter("p1", other.plan.p1, "that of this plan", self.plan == other.plan)?;
        if self.decision == SprtDecision::GoOn {
            self.trials = self.trials.saturating_add(other.trials);
            self.events = self.events.saturating_add(other.events).min(self.trials);
            self.decide();
        }
        Ok(self.decision)
    }

    fn decide(&mut self) {
        let ratio = self.log_likelihood_ratio();
        if ratio >= self.plan.upper() {
            self.decision = SprtDecision::RejectNull;
        } else if ratio <= self.plan.lower() {
            self.decision = SprtDecision::AcceptNull;
        }
    }

    /// The logarithm of how many times likelier the trials are at `p1` than at `p0`.
    #[must_use]
    pub fn log_likelihood_ratio(&self) -> f64 {
        let SprtPlan { p0, p1, .. } = self.plan;
        let good = ((-p1).ln_1p() - (-p0).ln_1p()) * self.trials.saturating_sub(self.events) as f64;
        (p1 / p0).ln() * self.events as f64 + good
    }

    /// How many trials were counted.
    #[must_use]
    pub fn trials(&self) -> u64 {
        self.trials
    }

    /// What they amount to.
    #[must_use]
    pub fn decision(&self) -> SprtDecision {
        self.decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_cannot_be_kept_is_an_error() {
        assert!(SprtPlan::new(0.05, 0.01, 0.01, 0.05).is_err());
        assert!(SprtPlan::new(0.01, 0.05, 0.6, 0.5).is_err());
        assert!(SprtPlan::new(0.0, 0.05, 0.01, 0.05).is_err());
        assert!(SprtPlan::new(0.01, f64::NAN, 0.01, 0.05).is_err());
    }

    #[test]
    fn a_decision_stays() {
        let mut state = SprtPlan::new(0.01, 0.5, 0.01, 0.05).unwrap().start();
        while state.record(true) == SprtDecision::GoOn {}
        let decided = state;
        assert_eq!(state.record(false), SprtDecision::RejectNull);
        assert_eq!(state, decided);
    }
}
