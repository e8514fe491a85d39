//! What makes a deployment act, as a table that a user can read and change.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One row of the table: when this holds, do that.
///
/// ```
/// use mlp_rollback::{Condition, Response, Trigger};
///
/// let strict = Trigger::new("errors", Condition::ErrorRateAbove { rate: 0.001, alpha: 0.01 }, Response::RollBack);
/// let text = serde_json::to_string(&strict)?;
/// assert_eq!(text, r#"{"name":"errors","condition":{"error_rate_above":{"rate":0.001,"alpha":0.01}},"response":"roll_back"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Trigger {
    /// What it is called in history and alerts, at most 200 bytes.
    pub name: String,
    /// When it fires.
    pub condition: Condition,
    /// What is done then.
    pub response: Response,
}

/// When a trigger fires.
///
/// `alpha` bounds the chance that a version which keeps to its bound is ever acted upon, however often the evidence is looked at: the
/// trigger fires when the e-value reaches 1/α. Between that and nothing the deployment holds. Rates of errors, slow requests and wrong
/// predictions are weighed over the version's whole time in its role and since each cohort of a thousand, all within the one `alpha`: a
/// version that breaks after a million good requests is found as one that breaks at once, within some dozens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Condition {
    /// Requests fail more often than at this rate.
    ErrorRateAbove {
        /// The bound, from 0 to 1.
        rate: f64,
        /// The chance of a false alarm.
        alpha: f64,
    },
    /// More than 1 % of the requests take longer than `times` the 99th percentile of the active version when the trial began.
    SlowerThanBaseline {
        /// How many times the baseline's 99th percentile.
        times: f64,
        /// The chance of a false alarm.
        alpha: f64,
    },
    /// A canary fails more often than `ratio` times the active version, judged by whose errors come: what makes both fail cancels out.
    WorseThanActive {
        /// The allowed ratio of the error rates.
        ratio: f64,
        /// The chance of a false alarm.
        alpha: f64,
    },
    /// The accuracy fell by more than this part of the baseline's accuracy: 0.05 of 0.8 is 0.76.
    AccuracyDrop {
        /// The part, from 0 to 1.
        relative: f64,
        /// The accuracy that is compared with, from 0 to 1.
        baseline: f64,
        /// The chance of a false alarm.
        alpha: f64,
    },
    /// The mean of a custom signal fell by more than this part of the active version's. For values with outliers, such as revenue, let a
    /// [`BusinessMetric`](crate::BusinessMetric) cut them.
    MetricDrop {
        /// The name of the [`Signal::Custom`](mlp_core::Signal::Custom).
        signal: String,
        /// The part, from 0 to 1.
        relative: f64,
        /// The standard deviation of one value, after any cut of outliers.
        deviation: f64,
        /// The chance of a false alarm.
        alpha: f64,
    },
    /// A plain comparison, as most tools do it: the share of errors is above this after so many requests, of all, or of those since a recent
    /// cohort, at least a thousand. It is looked at after every error, so a healthy version is taken out by chance sooner or later. Here for
    /// those who must have it.
    NaiveErrorRate {
        /// The bound, from 0 to 1.
        rate: f64,
        /// Not before so many requests.
        min_requests: u64,
    },
    /// Somebody reported that the inputs drifted.
    InputDrift,
    /// Somebody reported that the version is a risk to security.
    Security,
}

/// What is done when a trigger fires, from the mildest to the most severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Response {
    /// People are told, and a rollback waits for their approval.
    AlertAndWait,
    /// The application is asked for more replicas; if the trigger fires again after that, as [`Response::AlertAndWait`].
    ScaleThenWait,
    /// The version answers nobody any more but sees all requests as a shadow, so that it can be investigated. The active version stays,
    /// and people are told.
    Shadow,
    /// The version's share shrinks in steps: 100 %, 50 %, 25 %, 0 %, one a call of [`tick`](crate::Deployment::tick).
    Retreat,
    /// The version is taken out at once.
    RollBack,
    /// The version is taken out at once and never serves again until somebody unblocks it.
    Block,
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AlertAndWait => "alert and wait for approval",
            Self::ScaleThenWait => "scale, then alert and wait for approval",
            Self::Shadow => "shadow and investigate",
            Self::Retreat => "gradual rollback",
            Self::RollBack => "rollback",
            Self::Block => "block and roll back",
        })
    }
}

impl Trigger {
    /// A row of the table.
    pub fn new(name: impl Into<String>, condition: Condition, response: Response) -> Self {
        Self { name: name.into(), condition, response }
    }

    /// The table that needs no knowledge of the application:
    ///
    /// | trigger | response |
    /// | --- | --- |
    /// | error rate > 1 % | rollback |
    /// | p99 > 2 × that of the active version | alert and wait for approval |
    /// | input drift reported | shadow and investigate |
    /// | security reported | block and roll back |
    ///
    /// Accuracy and business metrics need a baseline: add [`Trigger::accuracy`] and [`Trigger::business`].
    #[must_use]
    pub fn default_table() -> Vec<Self> {
        vec![
            Self::new(
                "error-rate",
                Condition::ErrorRateAbove { rate: 0.01, alpha: 0.01 },
                Response::RollBack,
            ),
            Self::new(
                "latency",
                Condition::SlowerThanBaseline { times: 2.0, alpha: 0.01 },
                Response::AlertAndWait,
            ),
            Self::new("input-drift", Condition::InputDrift, Response::Shadow),
            Self::new("security", Condition::Security, Response::Block),
        ]
    }

    /// An accuracy 5 % below the baseline's, relative → gradual rollback.
    #[must_use]
    pub fn accuracy(baseline: f64) -> Self {
        let condition = Condition::AccuracyDrop { relative: 0.05, baseline, alpha: 0.01 };
        Self::new("accuracy", condition, Response::Retreat)
    }

    /// A business metric 10 % below the active version's, relative → rollback at once.
    pub fn business(signal: impl Into<String>, deviation: f64) -> Self {
        let signal = signal.into();
        let condition = Condition::MetricDrop { signal, relative: 0.10, deviation, alpha: 0.01 };
        Self::new("business", condition, Response::RollBack)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |field, reason: String| Err(Error::Invalid { field, reason });
        if self.name.is_empty() || self.name.len() > 200 {
            return invalid("trigger name", format!("{:?}: 1 to 200 bytes", self.name));
        }
        let inside = |value: f64| value > 0.0 && value < 1.0;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let (alpha, fine) = match self.condition {
            Condition::ErrorRateAbove { rate, alpha } => (alpha, inside(rate)),
            Condition::SlowerThanBaseline { times, alpha } => {
                (alpha, positive(times) && times <= 1e6)
            }
            Condition::WorseThanActive { ratio, alpha } => (alpha, positive(ratio)),
            Condition::AccuracyDrop { relative, baseline, alpha } => {
                (alpha, inside(relative) && baseline > 0.0 && baseline <= 1.0)
            }
            Condition::MetricDrop { relative, deviation, alpha, .. } => {
                (alpha, inside(relative) && positive(deviation))
            }
            Condition::NaiveErrorRate { rate, .. } => (0.5, inside(rate)),
            Condition::InputDrift | Condition::Security => (0.5, true),
        };
        if !inside(alpha) {
            return invalid("alpha", format!("{alpha} must be above 0 and below 1"));
        }
        if !fine {
            return invalid("condition", format!("{:?} is out of range", self.condition));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_back_and_refuses_unknown_keys() {
        let mut table = Trigger::default_table();
        table.extend([Trigger::accuracy(0.8), Trigger::business("revenue", 12.5)]);
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Trigger>>(&text).unwrap(), table);
        assert!(serde_json::from_str::<Vec<Trigger>>(&text.replace("rate", "ratte")).is_err());
        assert!(table.iter().all(|trigger| trigger.check().is_ok()));
    }

    #[test]
    fn a_bound_out_of_range_is_refused() {
        for condition in [
            Condition::ErrorRateAbove { rate: 0.0, alpha: 0.01 },
            Condition::ErrorRateAbove { rate: f64::NAN, alpha: 0.01 },
            Condition::ErrorRateAbove { rate: 0.1, alpha: 1.0 },
            Condition::SlowerThanBaseline { times: f64::INFINITY, alpha: 0.01 },
            Condition::AccuracyDrop { relative: 0.05, baseline: 0.0, alpha: 0.01 },
        ] {
            let trigger = Trigger::new("x", condition, Response::RollBack);
            assert!(trigger.check().is_err(), "{trigger:?} was taken");
        }
    }
}
