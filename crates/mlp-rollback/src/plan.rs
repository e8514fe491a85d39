//! How a canary's share grows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::share::Share;

/// The most steps a plan may have.
pub const MAX_STEPS: usize = 100;

/// The steps by which a canary's share grows, and what each step asks for before the next.
///
/// ```
/// use mlp_rollback::{CanaryPlan, Share};
///
/// // Steps of 20 % under a bound of 50 % are 20, 40 and 50, never 60.
/// let plan = CanaryPlan::stepping(Share::percent(20.0)?, Share::percent(50.0)?)?;
/// assert_eq!(plan.steps().iter().map(|share| share.as_percent()).collect::<Vec<_>>(), [20.0, 40.0, 50.0]);
/// # Ok::<(), mlp_rollback::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PlanParts", into = "PlanParts")]
pub struct CanaryPlan {
    steps: Vec<Share>,
    step_duration: Duration,
    step_requests: u64,
    promotion: Promotion,
}

/// What happens to a canary that passes its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// It is promoted as soon as the evidence for it suffices.
    Automatic,
    /// It stays at its last step until somebody promotes it.
    Manual,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanParts {
    steps: Vec<Share>,
    #[serde(default)]
    step_seconds: f64,
    #[serde(default = "default_step_requests")]
    step_requests: u64,
    #[serde(default = "default_promotion")]
    promotion: Promotion,
}

const fn default_step_requests() -> u64 {
    20
}

const fn default_promotion() -> Promotion {
    Promotion::Automatic
}

impl CanaryPlan {
    /// A plan of these shares, one after the other. Each step asks for 20 requests and no time; promotion is automatic.
    ///
    /// # Errors
    /// If there is no step or more than 100, a step is zero, or a step is smaller than the one before.
    pub fn new(steps: impl IntoIterator<Item = Share>) -> Result<Self> {
        let steps: Vec<_> = steps.into_iter().collect();
        let invalid = |reason: String| Err(Error::Invalid { field: "steps", reason });
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return invalid(format!("{} steps, from 1 to {MAX_STEPS} are allowed", steps.len()));
        }
        if steps[0] == Share::ZERO {
            return invalid("a step of 0 % would wait for requests that never come".to_owned());
        }
        if let Some(pair) = steps.windows(2).find(|pair| pair[1] < pair[0]) {
            return invalid(format!("{} after {}: shares must not shrink", pair[1], pair[0]));
        }
        Ok(Self {
            steps,
            step_duration: Duration::ZERO,
            step_requests: default_step_requests(),
            promotion: default_promotion(),
        })
    }

    /// One step of a fixed share.
    ///
    /// # Errors
    /// If the share is zero.
    pub fn fixed(share: Share) -> Result<Self> {
        Self::new([share])
    }

    /// Equal steps up to a bound; the last one is the bound itself.
    ///
    /// # Errors
    /// If the step or the bound is zero, or the steps would be more than 100.
    pub fn stepping(step: Share, bound: Share) -> Result<Self> {
        if step == Share::ZERO || bound == Share::ZERO {
            return Err(Error::Invalid {
                field: "steps",
                reason: "step and bound must be above 0 %".to_owned(),
            });
        }
        let grow = |share: &Share| (*share < bound).then(|| share.plus_up_to(step, bound));
        Self::new(std::iter::successors(Some(step.min(bound)), grow).take(MAX_STEPS + 1))
    }

    /// Asks each step to last at least this long, by the monotonic clock; at most a year.
    #[must_use]
    pub fn with_step_duration(mut self, duration: Duration) -> Self {
        self.step_duration = duration.min(LONGEST_STEP);
        self
    }

    /// Asks each step to see at least this many requests, so that silence never passes as success.
    #[must_use]
    pub fn with_step_requests(mut self, requests: u64) -> Self {
        self.step_requests = requests.max(1);
        self
    }

    /// Sets what happens after the last step.
    #[must_use]
    pub fn with_promotion(mut self, promotion: Promotion) -> Self {
        self.promotion = promotion;
        self
    }

    /// The shares, none smaller than the one before.
    #[must_use]
    pub fn steps(&self) -> &[Share] {
        &self.steps
    }

    /// How long a step lasts at least.
    #[must_use]
    pub fn step_duration(&self) -> Duration {
        self.step_duration
    }

    /// How many requests a step sees at least.
    #[must_use]
    pub fn step_requests(&self) -> u64 {
        self.step_requests
    }

    /// What happens after the last step.
    #[must_use]
    pub fn promotion(&self) -> Promotion {
        self.promotion
    }

    /// The largest share.
    #[must_use]
    pub fn bound(&self) -> Share {
        self.steps.last().copied().unwrap_or_default()
    }
}

/// Longer ones lose their meaning, and beyond some of them the text of the journal its precision.
const LONGEST_STEP: Duration = Duration::from_secs(366 * 24 * 3_600);

impl TryFrom<PlanParts> for CanaryPlan {
    type Error = Error;

    fn try_from(parts: PlanParts) -> Result<Self> {
        let duration = Duration::try_from_secs_f64(parts.step_seconds).map_err(|_| {
            let reason = format!("{} is no duration in seconds", parts.step_seconds);
            Error::Invalid { field: "step_seconds", reason }
        })?;
        Ok(Self::new(parts.steps)?
            .with_step_duration(duration)
            .with_step_requests(parts.step_requests)
            .with_promotion(parts.promotion))
    }
}

impl From<CanaryPlan> for PlanParts {
    fn from(plan: CanaryPlan) -> Self {
        Self {
            steps: plan.steps,
            step_seconds: plan.step_duration.as_secs_f64(),
            step_requests: plan.step_requests,
            promotion: plan.promotion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(share: f64) -> Share {
        Share::percent(share).unwrap()
    }

    #[test]
    fn steps_never_pass_their_bound() {
        for (step, bound) in [(20.0, 50.0), (50.0, 20.0), (7.0, 100.0), (100.0, 100.0)] {
            let plan = CanaryPlan::stepping(percent(step), percent(bound)).unwrap();
            assert!(plan.steps().iter().all(|share| *share <= percent(bound)));
            assert_eq!(plan.bound(), percent(bound));
        }
    }

    #[test]
    fn a_plan_that_cannot_be_followed_is_refused() {
        assert!(CanaryPlan::new([]).is_err());
        assert!(CanaryPlan::fixed(Share::ZERO).is_err());
        assert!(CanaryPlan::new([percent(20.0), percent(10.0)]).is_err());
        assert!(CanaryPlan::stepping(percent(0.5), percent(100.0)).is_err());
        assert!(CanaryPlan::stepping(percent(1.0), percent(100.0)).is_ok());
    }

    #[test]
    fn a_plan_is_checked_when_read_and_reads_back() {
        let plan = CanaryPlan::new([percent(5.0), percent(50.0)])
            .unwrap()
            .with_step_duration(Duration::from_millis(1500));
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<CanaryPlan>(&text).unwrap(), plan);
        assert!(serde_json::from_str::<CanaryPlan>(r#"{"steps":[]}"#).is_err());
        assert!(serde_json::from_str::<CanaryPlan>(r#"{"steps":[5],"stride":1}"#).is_err());
        assert!(serde_json::from_str::<CanaryPlan>(r#"{"steps":[5],"step_seconds":-1}"#).is_err());
    }
}
