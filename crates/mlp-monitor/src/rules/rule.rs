//! A rule: a signal, its limits, and what a person should do when they are passed.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use mlp_core::{Labels, Severity};
use serde::{Deserialize, Serialize};

use super::Limit;
use crate::alerts::admit::admit_labels;
use crate::error::{MonitorError, Result};

/// A limit, and how urgent it is to have passed it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// The limit.
    pub limit: Limit,
    /// How urgent it is.
    pub severity: Severity,
}

/// What a rule makes of an observation without a value: missing, NaN, from too few cases, or a change that is undefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Everything stays as it is: a signal that comes and goes neither fires nor resolves. Only a rule's duration that has begun and not yet
    /// passed begins anew after such observations over a longer time than it.
    #[default]
    KeepLast,
    /// That is itself an alert, once it has lasted for the rule's duration.
    Alert(Severity),
    /// That is fine: what fired resolves.
    Ok,
}

/// When a signal is a matter for a person, how urgent it is, and where to read what to do.
///
/// Serde reads and writes durations as "90s", "5m" or "72h"; unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// The name of its alerts: their label `alertname`.
    pub name: String,
    /// The signal that it judges.
    pub signal: String,
    /// The subjects that it judges: those with all of these labels. Default: all.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub subject: Labels,
    /// The subjects that it does not judge: those with any of these labels. Default: none.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub except: Labels,
    /// Where to read what to do: required, an alert that nobody can act on is noise.
    pub runbook_url: String,
    /// What it means, in a sentence; the value and the limit are added to it.
    #[serde(default)]
    pub summary: String,
    /// The limit that deserves a look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Level>,
    /// The limit that needs somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<Level>,
    /// How long a limit must stay passed before the rule fires, with no gap in the data that is longer than this. Default: fires at the first
    /// observation. A gap is told by observations without a value. Between two observations nothing is known: a limit that both pass counts as
    /// passed from the first to the second, however far apart they are, so a daily figure fires on its second bad day.
    #[serde(default, with = "span")]
    pub hold: Duration,
    /// How many cases an observation must rest on; below that there is no data. Default 0: any number will do.
    #[serde(default)]
    pub minimum_count: u64,
    /// What an observation without a value means. Default: everything stays as it is, because gaps are not evidence.
    #[serde(default)]
    pub no_data: NoData,
    /// Labels added to its alerts.
    #[serde(default)]
    pub labels: Labels,
}

impl Rule {
    /// A rule without limits, to which at least one is added.
    ///
    /// # Errors
    /// If the name or the signal is empty, or there is no runbook URL.
    pub fn new(
        name: impl Into<String>,
        signal: impl Into<String>,
        runbook_url: impl Into<String>,
    ) -> Result<Self> {
        let rule = Self {
            name: name.into(),
            signal: signal.into(),
            subject: Labels::new(),
            except: Labels::new(),
            runbook_url: runbook_url.into(),
            summary: String::new(),
            warning: None,
            critical: None,
            hold: Duration::ZERO,
            minimum_count: 0,
            no_data: NoData::default(),
            labels: Labels::new(),
        };
        rule.check_names()?;
        Ok(rule)
    }

    /// Sets the limit that deserves a look.
    #[must_use]
    pub fn with_warning(mut self, limit: Limit, severity: Severity) -> Self {
        self.warning = Some(Level { limit, severity });
        self
    }

    /// Sets the limit that needs somebody.
    #[must_use]
    pub fn with_critical(mut self, limit: Limit, severity: Severity) -> Self {
        self.critical = Some(Level { limit, severity });
        self
    }

    /// Judges only subjects that have this label, such as `role="canary"`.
    #[must_use]
    pub fn with_subject(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.subject.insert(name.into(), value.into());
        self
    }

    /// Does not judge subjects that have this label, such as `role="canary"`: another rule does.
    #[must_use]
    pub fn with_except(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.except.insert(name.into(), value.into());
        self
    }

    /// Sets how long a limit must stay passed before the rule fires.
    #[must_use]
    pub fn with_hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Sets how many cases an observation must rest on.
    #[must_use]
    pub fn with_minimum_count(mut self, count: u64) -> Self {
        self.minimum_count = count;
        self
    }

    /// Sets what an observation without a value means.
    #[must_use]
    pub fn with_no_data(mut self, no_data: NoData) -> Self {
        self.no_data = no_data;
        self
    }

    /// Sets what the rule means, in a sentence.
    #[must_use]
    pub fn with_summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// Adds a label to its alerts.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Checks that the rule can be judged by.
    ///
    /// # Errors
    /// If it has no name, signal, runbook URL or limit, a limit makes no sense, or critical is less urgent than warning.
    pub fn check(&self) -> Result<()> {
        self.check_names()?;
        for (part, level) in [("warning", &self.warning), ("critical", &self.critical)] {
            if let Some(level) = level {
                level.limit.check(&format!("rule {:?}: {part}", self.name))?;
            }
        }
        match (&self.warning, &self.critical) {
            (None, None) => Err(MonitorError::setting(
                format!("rule {:?}: limits", self.name),
                "none",
                "a warning, a critical one, or both",
            )),
            (Some(warning), Some(critical)) if critical.severity > warning.severity => {
                Err(MonitorError::setting(
                    format!("rule {:?}: severity of critical", self.name),
                    critical.severity,
                    "at least as urgent as the warning's",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether it judges this subject.
    pub(super) fn applies_to(&self, subject: &Labels) -> bool {
        let has = |(name, value): (&String, &String)| subject.get(name) == Some(value);
        self.subject.iter().all(has) && !self.except.iter().any(has)
    }

    /// The labels of its alert about a subject, as the alert manager knows them: the rule's own go before the subject's.
    pub(super) fn labels_of(&self, subject: &Labels) -> Result<Labels> {
        let mut labels = subject.clone();
        labels.extend(self.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        labels.insert("alertname".to_owned(), self.name.clone());
        admit_labels(labels)
    }

    fn check_names(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(MonitorError::setting("name of a rule", "empty", "not empty"));
        }
        if self.signal.is_empty() {
            let name = format!("rule {:?}: signal", self.name);
            return Err(MonitorError::setting(name, "empty", "not empty"));
        }
        if self.runbook_url.trim().is_empty() {
            return Err(MonitorError::NoRunbook { what: "rule", name: self.name.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_a_runbook_cannot_be_made() {
        assert!(matches!(
            Rule::new("errors_high", "error_rate", " "),
            Err(MonitorError::NoRunbook { what: "rule", .. })
        ));
        let text = r#"{"name": "a", "signal": "b", "runbook_url": "", "critical": {"limit": {"above": {"fire": 1}}, "severity": "P0"}}"#;
        let read: Rule = serde_json::from_str(text).unwrap();
        assert!(matches!(read.check(), Err(MonitorError::NoRunbook { .. })));
    }

    #[test]
    fn a_rule_without_limits_or_with_an_urgent_warning_is_refused() {
        let rule = Rule::new("a", "b", "https://runbooks/a").unwrap();
        assert!(rule.check().is_err());
        let upside_down = rule
            .with_warning(Limit::above(1.0), Severity::P0)
            .with_critical(Limit::above(2.0), Severity::P1);
        assert!(upside_down.check().is_err());
    }

    #[test]
    fn a_rule_is_read_from_text_that_a_person_can_write() {
        let text = r#"{
            "name": "latency_high", "signal": "latency_p99_ms", "runbook_url": "https://runbooks/latency",
            "critical": {"limit": {"above": {"fire": 50}}, "severity": "P1"}, "hold": "5m"
        }"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(rule.hold, Duration::from_secs(300));
        let again: Rule = serde_json::from_str(&serde_json::to_string(&rule).unwrap()).unwrap();
        assert_eq!(again, rule);
        assert!(serde_json::from_str::<Rule>(&text.replace("hold", "hodl")).is_err());
    }
}
