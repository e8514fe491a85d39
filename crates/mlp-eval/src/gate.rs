//! Gates: rules that a candidate must pass before it goes on, for use in continuous integration.

use std::fmt;

use mlp_core::{Direction, EvaluationId, StoreError, exact};
use serde::{Deserialize, Serialize};

use crate::evaluation::Evaluation;
use crate::series::SeriesKey;
use crate::store::EvalStore;

/// One rule about a metric, or about one of its series. A missing value or NaN fails it, on either side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GateRule {
    /// The metric is at least this.
    AtLeast(SeriesKey, #[serde(with = "exact")] f64),
    /// The metric is at most this.
    AtMost(SeriesKey, #[serde(with = "exact")] f64),
    /// The metric is worse than the baseline's by at most this, in the units of the metric.
    MaxRegression(SeriesKey, Direction, #[serde(with = "exact")] f64),
    /// The metric is worse than the baseline's by at most this share of the baseline's absolute value.
    MaxRelativeRegression(SeriesKey, Direction, #[serde(with = "exact")] f64),
    /// The mean over folds is at least this with this confidence (a one-sided t bound, corrected for folds that share training rows). The
    /// folds are the points of the series: [`Gate::judge_with`] reads them. The confidence is 0.5 or more and less than 1; with any other the rule
    /// fails.
    ConfidentlyAtLeast(SeriesKey, #[serde(with = "exact")] f64, f64),
    /// The mean over folds is at most this with this confidence, as above.
    ConfidentlyAtMost(SeriesKey, #[serde(with = "exact")] f64, f64),
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

    /// Judges a candidate. Without a baseline every rule that needs one fails, and so does every rule about folds.
    #[must_use]
    pub fn judge(&self, candidate: &Evaluation, baseline: Option<&Evaluation>) -> GateReport {
        let rules = self.rules.iter().map(|rule| rule.judge(candidate, baseline, &[]));
        GateReport { rules: rules.collect() }
    }

    /// Judges an evaluation of a store, reading the folds that its rules ask for.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or if the storage fails.
    pub fn judge_with(
        &self,
        store: &dyn EvalStore,
        candidate: EvaluationId,
        baseline: Option<EvaluationId>,
    ) -> Result<GateReport, StoreError> {
        let candidate = store.get(candidate)?;
        let baseline = baseline.map(|id| store.get(id)).transpose()?;
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let folds: Vec<f64> = match rule {
                GateRule::ConfidentlyAtLeast(key, ..) | GateRule::ConfidentlyAtMost(key, ..) => {
                    store.series(candidate.id, key)?.iter().map(|point| point.value).collect()
                }
                _ => Vec::new(),
            };
            rules.push(rule.judge(&candidate, baseline.as_ref(), &folds));
        }
        Ok(GateReport { rules })
    }
}

impl GateRule {
    fn judge(
        &self,
        candidate: &Evaluation,
        baseline: Option<&Evaluation>,
        folds: &[f64],
    ) -> RuleOutcome {
        let absolute = |metric: &SeriesKey, holds: fn(f64, f64) -> bool, bound: f64| {
            let value = candidate.value(metric);
            (value.is_some_and(|value| holds(value, bound)), format!("it is {}", show(value)))
        };
        let regression =
            |metric: &SeriesKey, direction: Direction, allowed: &dyn Fn(f64) -> f64| {
                let value = candidate.value(metric);
                let before = baseline.and_then(|baseline| baseline.value(metric));
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
                // No share of an infinite baseline is a number, and none of it is nothing.
                regression(metric, *direction, &|before| {
                    if *bound == 0.0 { 0.0 } else { *bound * before.abs() }
                })
            }
            Self::ConfidentlyAtLeast(_, bound, confidence) => {
                let low = confidence_bound(folds, *confidence, -1.0);
                let holds = low.is_some_and(|low| low >= *bound);
                (holds, fold_words(folds, low, *confidence))
            }
            Self::ConfidentlyAtMost(_, bound, confidence) => {
                let high = confidence_bound(folds, *confidence, 1.0);
                let holds = high.is_some_and(|high| high <= *bound);
                (holds, fold_words(folds, high, *confidence))
            }
        };
        RuleOutcome { rule: self.to_string(), holds, because }
    }
}

/// What a confidence may be.
const CONFIDENCES: std::ops::Range<f64> = 0.5..1.0;

/// The one-sided bound of the mean over folds: above it, or below it on the side -1. None of fewer than two folds, of a value that is not
/// finite, or for a confidence out of range.
///
/// The variance is that of Nadeau and Bengio (2003) for k folds, 1/k + 1/(k − 1) times the sample's, since folds share training rows.
fn confidence_bound(folds: &[f64], confidence: f64, side: f64) -> Option<f64> {
    let k = folds.len() as f64;
    if folds.len() < 2 || folds.iter().any(|score| !score.is_finite()) {
        return None;
    }
    if !CONFIDENCES.contains(&confidence) {
        return None;
    }
    let mean = folds.iter().sum::<f64>() / k;
    let variance = folds.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (k - 1.0);
    let error = (variance * (1.0 / k + 1.0 / (k - 1.0))).sqrt();
    let t = mlp_stats::student_t_quantile(confidence, k - 1.0);
    Some(mean + side * t * error)
}

fn fold_words(folds: &[f64], bound: Option<f64>, confidence: f64) -> String {
    match bound {
        _ if !CONFIDENCES.contains(&confidence) => {
            format!(
                "a confidence of {confidence} gives no bound: it is 0.5 or more and less than 1"
            )
        }
        Some(bound) => format!("the bound from {} folds is {bound}", folds.len()),
        None => format!("{} folds give no bound: two or more finite ones are needed", folds.len()),
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
            Self::ConfidentlyAtLeast(key, bound, confidence) => {
                write!(f, "{key} is at least {bound} with confidence {confidence}")
            }
            Self::ConfidentlyAtMost(key, bound, confidence) => {
                write!(f, "{key} is at most {bound} with confidence {confidence}")
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

/// A text as the value of an attribute. Characters that XML 1.0 has no way to write become U+FFFD.
fn escape(text: &str) -> String {
    let escaped = text.chars().map(|letter| match letter {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\t' | '\n' | '\r' => format!("&#{};", u32::from(letter)),
        '\0'..' ' | '\u{FFFE}' | '\u{FFFF}' => "\u{FFFD}".to_owned(),
        _ => letter.to_string(),
    });
    escaped.collect()
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
