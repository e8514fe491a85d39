//! How a deployment is set up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::trigger::{Condition, Trigger};

/// The most triggers of a deployment.
pub const MAX_TRIGGERS: usize = 32;

/// How a deployment decides.
///
/// ```
/// use mlp_rollback::DeploymentConfig;
///
/// let config: DeploymentConfig = serde_json::from_str(r#"{ "seed": 7, "keep_warm": 3 }"#)?;
/// assert_eq!(config.keep_warm, 3);
/// assert!(serde_json::from_str::<DeploymentConfig>(r#"{ "keep_wram": 3 }"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DeploymentConfig {
    /// What is deployed, in alerts: 1 to 200 bytes. Default "model".
    pub name: String,
    /// What the draw of each request depends on, besides the request. Default 0: any fixed number will do.
    pub seed: u64,
    /// How many predecessors of the active version stay warm, from 1 to 16. Default 2: the one before, and one more if that is broken too.
    pub keep_warm: usize,
    /// How long after an automatic rollback another one freezes the deployment instead. Default 600 s: long enough for a person to look.
    pub cool_down_seconds: f64,
    /// What makes the deployment act. Default: [`Trigger::default_table`].
    pub triggers: Vec<Trigger>,
    /// A canary may be promoted when the evidence says that its error rate is below this. Default 0.01, the bound of the error trigger.
    pub promotion_error_rate: f64,
    /// How often a canary at the bound may be promoted all the same. Default 0.05: a promotion can be taken back.
    pub promotion_alpha: f64,
    /// How many changes are kept in memory for [`history`](crate::Deployment::history), at most 1,000,000. Default 10,000, some megabytes; the journal keeps all.
    pub history_limit: usize,
}

impl Default for DeploymentConfig {
    fn default() -> Self {
        Self {
            name: "model".to_owned(),
            seed: 0,
            keep_warm: 2,
            cool_down_seconds: 600.0,
            triggers: Trigger::default_table(),
            promotion_error_rate: 0.01,
            promotion_alpha: 0.05,
            history_limit: 10_000,
        }
    }
}

impl DeploymentConfig {
    /// Sets what the deployment is called in alerts.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the seed of the draw.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many predecessors stay warm.
    #[must_use]
    pub fn with_keep_warm(mut self, keep_warm: usize) -> Self {
        self.keep_warm = keep_warm;
        self
    }

    /// Sets how long after an automatic rollback another one freezes the deployment.
    #[must_use]
    pub fn with_cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down_seconds = cool_down.as_secs_f64();
        self
    }

    /// Replaces the table of triggers.
    #[must_use]
    pub fn with_triggers(mut self, triggers: impl IntoIterator<Item = Trigger>) -> Self {
        self.triggers = triggers.into_iter().collect();
        self
    }

    /// Sets what the evidence must say before a canary is promoted: its error rate is below `error_rate`, wrong at most with probability `alpha`.
    #[must_use]
    pub fn with_promotion(mut self, error_rate: f64, alpha: f64) -> Self {
        self.promotion_error_rate = error_rate;
        self.promotion_alpha = alpha;
        self
    }

    pub(crate) fn cool_down(&self) -> Duration {
        Duration::try_from_secs_f64(self.cool_down_seconds).unwrap_or(Duration::MAX)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |field, reason: String| Err(Error::Invalid { field, reason });
        if self.name.is_empty() || self.name.len() > 200 {
            return invalid("name", "it must have 1 to 200 bytes".to_owned());
        }
        if !(1..=16).contains(&self.keep_warm) {
            return invalid("keep_warm", format!("{}, from 1 to 16 are allowed", self.keep_warm));
        }
        if !(self.cool_down_seconds >= 0.0 && self.cool_down_seconds.is_finite()) {
            return invalid("cool_down_seconds", format!("{}", self.cool_down_seconds));
        }
        for (field, value) in [
            ("promotion_error_rate", self.promotion_error_rate),
            ("promotion_alpha", self.promotion_alpha),
        ] {
            if !(value > 0.0 && value < 1.0) {
                return invalid(field, format!("{value} must be above 0 and below 1"));
            }
        }
        if !(1..=1_000_000).contains(&self.history_limit) {
            return invalid(
                "history_limit",
                format!("{}, from 1 to 1,000,000", self.history_limit),
            );
        }
        if self.triggers.len() > MAX_TRIGGERS {
            return Err(Error::LimitExceeded { what: "triggers", limit: MAX_TRIGGERS });
        }
        self.triggers.iter().try_for_each(Trigger::check)?;
        let mut times = self.triggers.iter().filter_map(|trigger| match trigger.condition {
            Condition::SlowerThanBaseline { times, .. } => Some(times),
            _ => None,
        });
        let first = times.next();
        if times.any(|other| Some(other) != first) {
            let reason = "slow requests are counted against one multiple of the baseline's p99: triggers must agree on it";
            return invalid("triggers", reason.to_owned());
        }
        Ok(())
    }
}
