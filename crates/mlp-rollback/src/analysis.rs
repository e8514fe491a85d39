//! Argo Rollouts' way of judging a metric by counting measurements, for those who move from there.

use serde::{Deserialize, Serialize};

/// How one measurement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurement {
    /// The condition for success holds.
    Success,
    /// The condition for failure holds.
    Failure,
    /// Neither holds.
    Inconclusive,
    /// The metric could not be measured.
    Error,
}

/// What the measurements amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// More measurements are needed.
    Running,
    /// Go on.
    Successful,
    /// Pause.
    Inconclusive,
    /// Abort.
    Failed,
    /// Abort: it could not be measured.
    Error,
}

/// Counts the measurements of one metric and judges them with Argo Rollouts' semantics (`analysis/analysis.go` at commit 9f8d111d).
///
/// Unlike [`Trigger`](crate::Trigger) this promises nothing about false alarms: it counts failures.
///
/// ```
/// use mlp_rollback::{Analysis, Measurement, Phase};
///
/// let mut analysis = Analysis::new().with_count(3).with_failure_limit(Some(1));
/// assert_eq!(analysis.measure(Measurement::Failure), Phase::Running);
/// assert_eq!(analysis.measure(Measurement::Failure), Phase::Failed);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    count: Option<u64>,
    failure_limit: Option<u64>,
    inconclusive_limit: Option<u64>,
    consecutive_error_limit: u64,
    consecutive_success_limit: Option<u64>,
    #[serde(default)]
    seen: Seen,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    measured: u64,
    failed: u64,
    inconclusive: u64,
    consecutive_errors: u64,
    consecutive_successes: u64,
}

impl Default for Analysis {
    fn default() -> Self {
        Self::new()
    }
}

impl Analysis {
    /// An analysis with Argo's defaults: no failure and no inconclusive measurement is tolerated, four errors in a row are.
    #[must_use]
    pub fn new() -> Self {
        Self {
            count: None,
            failure_limit: Some(0),
            inconclusive_limit: Some(0),
            consecutive_error_limit: 4,
            consecutive_success_limit: None,
            seen: Seen::default(),
        }
    }

    /// Ends after so many measurements, errors not counted. Default: no end, unless there is a limit of consecutive successes.
    #[must_use]
    pub fn with_count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Tolerates so many failures; `None`: any number.
    #[must_use]
    pub fn with_failure_limit(mut self, limit: Option<u64>) -> Self {
        self.failure_limit = limit;
        self
    }

    /// Tolerates so many inconclusive measurements; `None`: any number.
    #[must_use]
    pub fn with_inconclusive_limit(mut self, limit: Option<u64>) -> Self {
        self.inconclusive_limit = limit;
        self
    }

    /// Tolerates so many errors in a row.
    #[must_use]
    pub fn with_consecutive_error_limit(mut self, limit: u64) -> Self {
        self.consecutive_error_limit = limit;
        self
    }

    /// Succeeds after so many successes in a row.
    #[must_use]
    pub fn with_consecutive_success_limit(mut self, limit: u64) -> Self {
        self.consecutive_success_limit = Some(limit);
        self
    }

    /// Counts one measurement and judges all so far.
    pub fn measure(&mut self, measurement: Measurement) -> Phase {
        let seen = &mut self.seen;
        seen.measured += u64::from(measurement != Measurement::Error);
        seen.failed += u64::from(measurement == Measurement::Failure);
        seen.inconclusive += u64::from(measurement == Measurement::Inconclusive);
        let count = |kind, before| if measurement == kind { before + 1 } else { 0 };
        seen.consecutive_errors = count(Measurement::Error, seen.consecutive_errors);
        seen.consecutive_successes = count(Measurement::Success, seen.consecutive_successes);
        self.phase()
    }

    /// What the measurements so far amount to.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let Seen { measured, failed, inconclusive, consecutive_errors, consecutive_successes } =
            self.seen;
        let is_over = |limit: Option<u64>, count| limit.is_some_and(|limit| count > limit);
        if consecutive_errors > self.consecutive_error_limit {
            return Phase::Error;
        }
        if is_over(self.inconclusive_limit, inconclusive) {
            return Phase::Inconclusive;
        }
        if is_over(self.failure_limit, failed) {
            return Phase::Failed;
        }
        if self.consecutive_success_limit.is_some_and(|limit| consecutive_successes >= limit) {
            return Phase::Successful;
        }
        match self.count {
            Some(count) if measured >= count && self.consecutive_success_limit.is_some() => {
                Phase::Failed
            }
            Some(count) if measured >= count => Phase::Successful,
            _ => Phase::Running,
        }
    }
}
