//! Rules in a table that one can read, load from a file and change; and the usual ones to begin with.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use mlp_core::Severity;
use serde::{Deserialize, Serialize};

use super::{ChangeDirection, Level, Limit, NoData, Rule};
use crate::error::{MonitorError, Result};
use crate::text::{Align, TextTable};

/// Rules with distinct names, in an order: alerts of one observation come in it.
///
/// As JSON it is a list of rules; as text, a table.
///
/// ```
/// use mlp_core::SystemClock;
/// use mlp_monitor::{RuleEngine, RuleTable};
/// use std::{sync::Arc, time::Duration};
///
/// let mut table = RuleTable::usual("https://runbooks.example", Duration::from_millis(50))?;
/// println!("{table}");
/// table.get_mut("revenue_changed").unwrap().minimum_count = 500;
/// table.remove("click_through_changed");
///
/// let text = serde_json::to_string_pretty(&table)?; // what a file holds, for people to edit
/// let table = RuleTable::from_json(&text)?;
/// let rules = RuleEngine::new(table.into_rules(), Arc::new(SystemClock::new()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Rule>", into = "Vec<Rule>")]
pub struct RuleTable(Vec<Rule>);

impl TryFrom<Vec<Rule>> for RuleTable {
    type Error = MonitorError;

    fn try_from(rules: Vec<Rule>) -> Result<Self> {
        Self::new(rules)
    }
}

impl From<RuleTable> for Vec<Rule> {
    fn from(table: RuleTable) -> Self {
        table.0
    }
}

impl RuleTable {
    /// Checks the rules.
    ///
    /// # Errors
    /// If one makes no sense ([`Rule::check`]), or two have the same name.
    pub fn new(rules: Vec<Rule>) -> Result<Self> {
        for (index, rule) in rules.iter().enumerate() {
            rule.check()?;
            if rules[..index].iter().any(|other| other.name == rule.name) {
                return Err(MonitorError::Duplicate { what: "rules", name: rule.name.clone() });
            }
        }
        Ok(Self(rules))
    }

    /// The usual rules: 1 % of errors, of missing values and of violations of the schema, evidence of a loss of more than the margin of the
    /// baseline (0.05 of accuracy), a column that drifted and drift of a twentieth of the columns, 10 % of change in the business, and a 99th
    /// percentile of the latency of at most `p99`.
    ///
    /// What tells early comes first: a canary's signals before those of the whole, data before outcomes, outcomes before money. Each rule has
    /// labels by which alerts can be routed: `area` (system, data, model, business) and `timing` (leading, lagging). The runbook of each is its name
    /// under the URL `runbooks`. The signals are those that the parts of this crate observe:
    ///
    /// | signal | from |
    /// | --- | --- |
    /// | `error_rate`, `latency_p99_ms` | a share and latencies of [`Signals`](crate::Signals), called `error_rate` and `latency`; those of a canary have the label `role="canary"`, and only the rules for canaries judge them |
    /// | `missing_rate`, `schema_violation_rate` | [`TableQuality`](crate::TableQuality) |
    /// | `drifted`, `drift_psi`, `drifted_share` | [`DriftReport`](crate::DriftReport) |
    /// | `degraded`, `label_coverage` | [`PerformanceMonitor`](crate::PerformanceMonitor) |
    /// | `click_through_rate`, `conversion_rate`, `revenue` | the application, with the value before as reference |
    ///
    /// # Errors
    /// If there is no URL of runbooks, or `p99` is 0.
    pub fn usual(runbooks: &str, p99: Duration) -> Result<Self> {
        if p99.is_zero() {
            return Err(MonitorError::setting("p99", "0 s", "above 0"));
        }
        if runbooks.trim().is_empty() {
            return Err(MonitorError::NoRunbook { what: "table", name: "usual rules".to_owned() });
        }
        let rule = |name: &str, signal: &str, area: &str, timing: &str| {
            let runbook = format!("{}/{name}", runbooks.trim_end_matches('/'));
            let rule = Rule::new(name, signal, runbook)?;
            Ok::<_, MonitorError>(rule.with_label("area", area).with_label("timing", timing))
        };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let millis = p99.as_secs_f64() * 1e3;
        let slow = Limit::above(millis).with_clear(millis * 0.9);
        let errors = Limit::above(0.01).with_clear(0.008);
        let change = Limit::relative_change(0.1, ChangeDirection::Either).with_clear(0.08);
        let business = |name, signal| {
            let rule = rule(name, signal, "business", "lagging")?;
            let rule = rule.with_warning(change, Severity::P2).with_minimum_count(1_000);
            Ok::<_, MonitorError>(rule.with_hold(minutes(15)))
        };
        Self::new(vec![
            rule("canary_errors", "error_rate", "system", "leading")?
                .with_subject("role", "canary")
                .with_summary("The canary fails.")
                .with_critical(errors, Severity::P1)
                .with_minimum_count(100),
            rule("canary_slow", "latency_p99_ms", "system", "leading")?
                .with_subject("role", "canary")
                .with_summary("The canary is slow.")
                .with_critical(slow, Severity::P2)
                .with_minimum_count(500)
                .with_hold(minutes(1)),
            rule("data_missing", "missing_rate", "data", "leading")?
                .with_summary("Values are missing.")
                .with_critical(Limit::above(0.01).with_clear(0.008), Severity::P1)
                .with_minimum_count(100),
            rule("data_against_schema", "schema_violation_rate", "data", "leading")?
                .with_summary("Values break a rule of the schema.")
                .with_critical(Limit::above(0.01).with_clear(0.008), Severity::P1)
                .with_minimum_count(100),
            rule("column_drifted", "drifted", "model", "leading")?
                .with_summary("A column is not distributed as in the reference.")
                .with_warning(Limit::above(0.5), Severity::P3),
            rule("column_drifted_far", "drift_psi", "model", "leading")?
                .with_summary("A column is distributed very differently from the reference.")
                .with_critical(Limit::above(0.25).with_clear(0.2), Severity::P2),
            rule("drift_wide", "drifted_share", "model", "leading")?
                .with_summary("More than one column in twenty has drifted.")
                .with_critical(Limit::above(0.05), Severity::P2),
            rule("errors", "error_rate", "system", "lagging")?
                .with_except("role", "canary")
                .with_summary("Requests fail.")
                .with_critical(errors, Severity::P0)
                .with_minimum_count(100)
                .with_hold(minutes(1)),
            rule("slow", "latency_p99_ms", "system", "lagging")?
                .with_except("role", "canary")
                .with_summary("Requests are slow.")
                .with_critical(slow, Severity::P1)
                .with_minimum_count(500)
                .with_hold(minutes(5)),
            rule("labels_late", "label_coverage", "model", "leading")?
                .with_summary("Outcomes do not come: accuracy says little.")
                .with_warning(Limit::below(0.5).with_clear(0.6), Severity::P3)
                .with_minimum_count(100),
            rule("accuracy_fell", "degraded", "model", "lagging")?
                .with_summary("The model is worse than its baseline allows, by the evidence of recent outcomes.")
                .with_critical(Limit::above(0.0), Severity::P1),
            business("click_through_changed", "click_through_rate")?
                .with_summary("Fewer or more people click than before."),
            business("conversion_changed", "conversion_rate")?
                .with_summary("Fewer or more people buy than before."),
            business("revenue_changed", "revenue")?
                .with_summary("The revenue is not what it was before."),
        ])
    }

    /// Reads a list of rules from JSON.
    ///
    /// # Errors
    /// If the text is no list of rules (the error names line and column), or as [`new`](Self::new).
    pub fn from_json(text: &str) -> Result<Self> {
        let rules: Vec<Rule> = serde_json::from_str(text)
            .map_err(|source| MonitorError::RuleText { source: source.into() })?;
        Self::new(rules)
    }

    /// Reads a file of JSON.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`from_json`](Self::from_json).
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let text = std::fs::read_to_string(path.as_ref())
            .map_err(|source| MonitorError::RuleText { source: source.into() })?;
        Self::from_json(&text)
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// The rules, to judge by.
    #[must_use]
    pub fn into_rules(self) -> Vec<Rule> {
        self.0
    }

    /// The rule of this name, to be changed. [`RuleEngine::new`](crate::RuleEngine::new) checks what became of it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Rule> {
        self.0.iter_mut().find(|rule| rule.name == name)
    }

    /// Takes out the rule of this name.
    pub fn remove(&mut self, name: &str) -> Option<Rule> {
        let index = self.0.iter().position(|rule| rule.name == name)?;
        Some(self.0.remove(index))
    }
}

impl fmt::Display for RuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut heading = ["rule", "signal", "of", "warning", "critical", "for"]
            .map(|name| (name, Align::Left))
            .to_vec();
        heading.extend([("at least", Align::Right), ("no data", Align::Left)]);
        let mut table = TextTable::new(&heading);
        let level = |level: &Option<Level>| match level {
            Some(Level { limit, severity }) => format!("{severity} {}", limit.describe()),
            None => "-".to_owned(),
        };
        for rule in &self.0 {
            let subject = rule.subject.iter().map(|(name, value)| format!("{name}={value}"));
            let subject: Vec<String> = subject.collect();
            let except = rule.except.iter().map(|(name, value)| format!("{name}={value}"));
            let except: Vec<String> = except.collect();
            table.row(vec![
                rule.name.clone(),
                rule.signal.clone(),
                match (subject.is_empty(), except.is_empty()) {
                    (true, true) => "all".to_owned(),
                    (false, true) => subject.join(", "),
                    (true, false) => format!("all but {}", except.join(", ")),
                    (false, false) => format!("{} but {}", subject.join(", "), except.join(", ")),
                },
                level(&rule.warning),
                level(&rule.critical),
                format!("{:#}", jiff::SignedDuration::try_from(rule.hold).unwrap_or_default()),
                rule.minimum_count.to_string(),
                match rule.no_data {
                    NoData::KeepLast => "as before".to_owned(),
                    NoData::Alert(severity) => severity.to_string(),
                    NoData::Ok => "fine".to_owned(),
                },
            ]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Observation, RuleEngine};
    use mlp_core::{Labels, ManualClock, Timestamp};
    use std::sync::Arc;

    fn usual() -> RuleTable {
        RuleTable::usual("https://runbooks/", Duration::from_millis(50)).unwrap()
    }

    /// Whether the rule of this name fires at this observation, once its duration is over.
    fn fires(name: &str, subject: &[(&str, &str)], observation: Observation) -> bool {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let rules = RuleEngine::new(usual().into_rules(), clock.clone()).unwrap();
        let signal = usual().get_mut(name).unwrap().signal.clone();
        let subject: Labels =
            subject.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut alerts = rules.observe(&signal, &subject, observation).unwrap();
        clock.advance(Duration::from_secs(3_600));
        alerts.extend(rules.observe(&signal, &subject, observation).unwrap());
        alerts.iter().any(|alert| alert.labels["alertname"] == name)
    }

    #[test]
    fn the_usual_limits_are_1_5_and_10_percent_and_strict() {
        let of = |value: f64| Observation::new(value).with_count(10_000);
        let from = |value: f64| of(value).with_reference(1.0);
        for (name, fine, too_far) in [
            ("errors", of(0.01), of(0.0101)),
            ("data_missing", of(0.01), of(0.0101)),
            ("data_against_schema", of(0.01), of(0.0101)),
            ("slow", of(50.0), of(50.1)),
            ("drift_wide", of(0.05), of(0.06)),
            ("accuracy_fell", of(0.0), of(0.001)),
            ("revenue_changed", from(0.9), from(0.899)),
            ("conversion_changed", from(1.1), from(1.101)),
            ("click_through_changed", from(1.1), from(1.101)),
            ("column_drifted", of(0.0), of(1.0)),
            ("column_drifted_far", of(0.25), of(0.26)),
            ("labels_late", of(0.5), of(0.49)),
        ] {
            assert!(!fires(name, &[], fine), "{name}");
            assert!(fires(name, &[], too_far), "{name}");
        }
    }

    #[test]
    fn a_canary_is_judged_before_the_whole_and_leading_before_lagging() {
        let table = usual();
        let position =
            |name: &str| table.rules().iter().position(|rule| rule.name == name).unwrap();
        assert!(position("canary_errors") < position("errors"));
        assert!(position("column_drifted") < position("accuracy_fell"));
        assert!(position("accuracy_fell") < position("revenue_changed"));
        let bad = Observation::new(0.5).with_count(10_000);
        assert!(fires("canary_errors", &[("role", "canary"), ("model", "wine")], bad));
        assert!(!fires("canary_errors", &[("role", "active")], bad));
        assert!(!fires("canary_errors", &[], bad));
        // A canary of 1 % that fails is no failure of the whole, whatever else fails.
        for name in ["errors", "slow"] {
            let bad = Observation::new(99.0).with_count(10_000);
            assert!(!fires(name, &[("role", "canary")], bad), "{name}");
            assert!(fires(name, &[("role", "active")], bad), "{name}");
            assert!(fires(name, &[], bad), "{name}");
        }
        // A canary tells at once, the whole after a minute.
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let rules = RuleEngine::new(table.into_rules(), clock).unwrap();
        let subject = Labels::from([("role".to_owned(), "canary".to_owned())]);
        let alerts = rules.observe("error_rate", &subject, bad).unwrap();
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0].labels["alertname"], "canary_errors");
        assert_eq!(alerts[0].labels["timing"], "leading");
    }

    #[test]
    fn a_column_that_drifted_is_told_whatever_its_index() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let rules = RuleEngine::new(usual().into_rules(), clock).unwrap();
        let (mut drifted, mut below, mut told) = (0, 0, 0);
        for seed in 0..100 {
            let mut generator = mlp_core::random::stream(seed, 0);
            let mut sample = |shift: f64| {
                ndarray::Array2::from_shape_simple_fn((1_000, 1), || {
                    mlp_core::random::normal(&mut generator) + shift
                })
            };
            let (before, now) = (sample(0.0), sample(0.3));
            let config = crate::DriftConfig::default();
            let reference = crate::DriftReference::new(["x"], before.view(), config).unwrap();
            let report = reference.compare(now.view()).unwrap();
            drifted += report.drifted().count();
            below += report.columns.iter().filter(|column| column.psi <= 0.1).count();
            let subject = Labels::from([("run".to_owned(), seed.to_string())]);
            for (signal, labels, value) in report.observations(&subject) {
                let alerts = rules.observe(signal, &labels, value).unwrap();
                told += alerts.iter().filter(|a| a.labels["alertname"] == "column_drifted").count();
            }
        }
        assert_eq!(told, drifted);
        assert!(drifted >= 95 && below >= 20, "{drifted} {below}: the index alone would be silent");
    }

    #[test]
    fn a_table_is_read_from_a_file_and_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.json");
        let text = serde_json::to_string_pretty(&usual()).unwrap();
        std::fs::write(&path, text.replace("5m", "7m")).unwrap();
        let mut table = RuleTable::load(&path).unwrap();
        assert_eq!(table.get_mut("slow").unwrap().hold, Duration::from_secs(420));
        assert_eq!(table.remove("errors").unwrap().runbook_url, "https://runbooks/errors");
        assert_eq!((table.remove("errors"), table.rules().len()), (None, 13));

        let wrong = RuleTable::from_json("[\n {\"nam\": 1}]").unwrap_err();
        let source = std::error::Error::source(&wrong).unwrap().to_string();
        assert!(source.contains("line 2"), "{source}");
        assert!(RuleTable::load(folder.path().join("none.json")).is_err());
        let twice = [text[1..text.len() - 1].to_owned(), text[1..text.len() - 1].to_owned()];
        let twice = RuleTable::from_json(&format!("[{}]", twice.join(","))).unwrap_err();
        assert!(matches!(twice, MonitorError::Duplicate { .. }));
        assert!(RuleTable::usual(" ", Duration::from_millis(50)).is_err());
        assert!(RuleTable::usual("https://runbooks", Duration::ZERO).is_err());
    }

    #[test]
    fn a_table_can_be_read_by_people() {
        let text = usual().to_string();
        let line = text.lines().find(|line| line.starts_with("canary_slow")).unwrap();
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        let expected = [
            "canary_slow",
            "latency_p99_ms",
            "role=canary",
            "-",
            "P2 above 50",
            "1m",
            "500",
            "as before",
        ];
        assert_eq!(cells, expected);
    }
}
