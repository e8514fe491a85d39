//! Gates: rules that a candidate must pass before it goes on, for use in continuous integration.

use std::fmt;

use mlp_core::{Direction, exact};
use serde::{Deserialize, Serialize};

use crate::evaluation::Evaluation;

/// One rule. A missing metric or NaN fails it, on either side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GateRule {
    /// The metric is at least this.
    AtLeast(String, #[serde(with = "exact")] f64),
    /// The metric is at most this.
    AtMost(String, #[serde(with = "exact")] f64),
    /// The metric is worse than the baseline's by at most this, in the units of the metric.
    MaxRegression(String, Direction, #[serde(with = "exact")] f64),
    /// The metric is worse than the baseline's by at most this share of the baseline's absolute value.
    MaxRelativeRegression(String, Direction, #[serde(with = "exact")] f64),
}

/// Rules that must all hold.
///
/// ```
/// # use mlp_core::{Clock, Direction, SystemClock};
/// # use mlp_eval::{EvalStore, EvalStoreExt, Gate, GateRule, InMemoryEvalStore, NewEvaluation, Stage};
/// # let (store, clock) = (InMemoryEvalStore::new(), SystemClock::new());
/// # let test = |f1| NewEvaluation::new("wine", Stage::Test, clock.now()).with_metric("f1", f1);
/// # let baseline = store.get(store.log(test(0.80), clock.now())?)?;
/// # let candidate = store.get(store.log(test(0.74), clock.now())?)?;
/// let gate = Gate::new([
///     GateRule::AtLeast("f1".into(), 0.7),
///     GateRule::MaxRegression("f1".into(), Direction::Maximize, 0.02),
/// ]);
/// let report = gate.judge(&candidate, Some(&baseline));
/// assert!(!report.passed());
/// println!("{report}"); // names each rule, its values, and whether it holds
/// # Ok::<(), mlp_core::StoreError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gate {
    rules: Vec<GateRule>,
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RuleOutcome {
    /// The rule, in words.
    pub rule: String,
    /// Whether it holds.
    pub holds: bool,
    /// The values it was judged by, in words.
    pub because: String,
}

/// What became of a gate. Prints as text; [`to_junit`](Self::to_junit) and [`to_json`](Self::to_json) are for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GateReport {
    /// Each rule, in order.
    pub rules: Vec<RuleOutcome>,
}

impl Gate {
    /// A gate of these rules.
    pub fn new(rules: impl IntoIterator<Item = GateRule>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }

    /// Judges a candidate. Without a baseline every rule that needs one fails.
    #[must_use]
    pub fn judge(&self, candidate: &Evaluation, baseline: Option<&Evaluation>) -> GateReport {
        GateReport {
            rules: self.rules.iter().map(|rule| rule.judge(candidate, baseline)).collect(),
        }
    }
}

impl GateRule {
    fn judge(&self, candidate: &Evaluation, baseline: Option<&Evaluation>) -> RuleOutcome {
        let absolute = |metric: &str, holds: fn(f64, f64) -> bool, bound: f64| {
            let value = candidate.metrics.get(metric);
            (value.is_some_and(|value| holds(value, bound)), format!("it is {}", show(value)))
        };
        let regression = |metric: &str, direction: Direction, allowed: &dyn Fn(f64) -> f64| {
            let value = candidate.metrics.get(metric);
            let before = baseline.and_then(|baseline| baseline.metrics.get(metric));
            let holds = value.zip(before).is_some_and(|(value, before)| {
                let worse = match direction {
                    // Equal infinities are no regression, although their difference is NaN.
                    _ if value == before => 0.0,
                    Direction::Maximize => before - value,
                    Direction::Minimize => value - before,
                };
                // From an infinity to a number is a regression, however large a share is allowed.
                worse <= allowed(before) && worse < f64::INFINITY
            });
            (holds, format!("it is {}, the baseline has {}", show(value), show(before)))
        };
        let (holds, because) = match self {
            Self::AtLeast(metric, bound) => absolute(metric, |value, bound| value >= bound, *bound),
            Self::AtMost(metric, bound) => absolute(metric, |value, bound| value <= bound, *bound),
            Self::MaxRegression(metric, direction, bound) => {
                regression(metric, *direction, &|_| *bound)
            }
            Self::MaxRelativeRegression(metric, direction, bound) => {
                regression(metric, *direction, &|before| *bound * before.abs())
            }
        };
        RuleOutcome { rule: self.to_string(), holds, because }
    }
}

fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "missing".to_owned(), |value| value.to_string())
}

impl fmt::Display for GateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(metric, bound) => write!(f, "{metric} is at least {bound}"),
            Self::AtMost(metric, bound) => write!(f, "{metric} is at most {bound}"),
            Self::MaxRegression(metric, _, bound) => {
                write!(f, "{metric} is worse than the baseline by at most {bound}")
            }
            Self::MaxRelativeRegression(metric, _, share) => {
                write!(f, "{metric} is worse than the baseline by at most {} %", share * 100.0)
            }
        }
    }
}

impl GateReport {
    /// Whether every rule holds. A gate without rules passes.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.rules.iter().all(|rule| rule.holds)
    }

    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({ "passed": self.passed(), "rules": self.rules }).to_string()
    }

    /// The report as JUnit XML: one test case a rule.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let failures = self.rules.iter().filter(|rule| !rule.holds).count();
        let cases: String = self.rules.iter().map(|rule| {
            let name = escape(&rule.rule);
            if rule.holds {
                return format!("  <testcase classname=\"gate\" name=\"{name}\"/>\n");
            }
            let because = escape(&rule.because);
            format!("  <testcase classname=\"gate\" name=\"{name}\"><failure message=\"{because}\"/></testcase>\n")
        }).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"gate\" tests=\"{}\" failures=\"{failures}\">\n{cases}</testsuite>\n",
            self.rules.len()
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl fmt::Display for GateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            let word = if rule.holds { "pass" } else { "FAIL" };
            writeln!(f, "{word}  {}: {}", rule.rule, rule.because)?;
        }
        f.write_str(if self.passed() { "the gate is passed" } else { "the gate is not passed" })
    }
}
