//! Judges observations by rules, and says when something begins and ends to be wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Alert, AlertStatus, Clock, Labels, Severity, Timestamp};
use parking_lot::Mutex;

use super::{Level, NoData, Rule, RuleTable};
use crate::alerts::Incident;
use crate::error::{MonitorError, Result};

/// The most series (a rule with a subject) that an engine follows.
const MAX_SERIES: usize = 100_000;

/// What was measured of a signal: a value, on how many cases it rests, and what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Observation {
    /// The value; none, or NaN, is no data.
    pub value: Option<f64>,
    /// On how many cases it rests; none is enough for any rule.
    pub count: Option<u64>,
    /// What a change is measured from: the baseline, or the value of the period before.
    pub reference: Option<f64>,
}

impl Observation {
    /// An observation without a value.
    pub const MISSING: Self = Self { value: None, count: None, reference: None };

    /// A value.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        Self { value: Some(value), count: None, reference: None }
    }

    /// Says on how many cases the value rests.
    #[must_use]
    pub const fn with_count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Says what the value is compared with.
    #[must_use]
    pub const fn with_reference(mut self, reference: f64) -> Self {
        self.reference = Some(reference);
        self
    }
}

impl From<f64> for Observation {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

impl From<Option<f64>> for Observation {
    fn from(value: Option<f64>) -> Self {
        Self { value, ..Self::MISSING }
    }
}

/// Judges observations by rules. Each rule follows each subject (the labels of an observation) by itself.
///
/// It says only what changes: an alert that begins, becomes more or less urgent, or is over. Durations are measured in monotonic time,
/// so turning the wall clock changes no verdict. It follows at most 100,000 pairs of rule and subject.
///
/// ```
/// use mlp_core::{AlertStatus, Labels, Severity, SystemClock};
/// use mlp_monitor::{Limit, Rule, RuleEngine};
/// use std::sync::Arc;
///
/// let rule = Rule::new("errors_high", "error_rate", "https://runbooks.example/errors")?
///     .with_critical(Limit::above(0.01), Severity::P0);
/// let rules = RuleEngine::new(vec![rule], Arc::new(SystemClock::new()))?;
/// assert!(rules.observe("error_rate", &Labels::new(), 0.01)?.is_empty());
/// let alerts = rules.observe("error_rate", &Labels::new(), 0.02)?;
/// assert_eq!((alerts[0].status, alerts[0].severity), (AlertStatus::Firing, Severity::P0));
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct RuleEngine {
    rules: Vec<Rule>,
    by_signal: BTreeMap<String, Vec<usize>>,
    clock: Arc<dyn Clock>,
    series: Mutex<BTreeMap<(usize, Labels), Series>>,
}

/// What is known of one rule for one subject.
#[derive(Debug, Default)]
struct Series {
    critical: Track,
    warning: Track,
    missing: Track,
    firing: Option<(Severity, Timestamp)>,
}

/// Where one limit stands.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Track {
    #[default]
    Clear,
    /// Passed since this moment of monotonic time, not yet long enough.
    Pending(Duration),
    Firing,
}

impl Track {
    /// Follows a limit that is passed.
    fn passed(&mut self, now: Duration, hold: Duration) {
        let since = match *self {
            Self::Clear => now,
            Self::Pending(since) => since,
            Self::Firing => return,
        };
        *self = if now.saturating_sub(since) >= hold { Self::Firing } else { Self::Pending(since) };
    }

    /// Follows a level with a value. No answer leaves it as it is.
    fn follow(
        &mut self,
        level: Option<Level>,
        observation: &Observation,
        now: Duration,
        hold: Duration,
    ) {
        let (Some(Level { limit, .. }), Some(value)) = (level, observation.value) else { return };
        if *self == Self::Firing {
            if limit.is_clear(value, observation.reference) == Some(true) {
                *self = Self::Clear;
            }
        } else {
            match limit.is_passed(value, observation.reference) {
                Some(true) => self.passed(now, hold),
                Some(false) => *self = Self::Clear,
                None => {}
            }
        }
    }
}

impl Series {
    fn observe(&mut self, rule: &Rule, observation: &Observation, now: Duration) {
        if has_data(rule, observation) {
            self.critical.follow(rule.critical, observation, now, rule.hold);
            self.warning.follow(rule.warning, observation, now, rule.hold);
            self.missing = Track::Clear;
            return;
        }
        match rule.no_data {
            NoData::KeepLast => {}
            NoData::Alert(_) => self.missing.passed(now, rule.hold),
            NoData::Ok => (self.critical, self.warning) = (Track::Clear, Track::Clear),
        }
    }

    /// How urgent it is now; none if nothing is wrong.
    fn severity(&self, rule: &Rule) -> Option<Severity> {
        let of = |track: Track, level: Option<Level>| {
            level.map(|level| level.severity).filter(|_| track == Track::Firing)
        };
        let missing = match rule.no_data {
            NoData::Alert(severity) if self.missing == Track::Firing => Some(severity),
            _ => None,
        };
        [of(self.critical, rule.critical), of(self.warning, rule.warning), missing]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Whether the rule can judge the observation: every limit of a rule needs the same things.
fn has_data(rule: &Rule, observation: &Observation) -> bool {
    let enough = observation.count.is_none_or(|count| count >= rule.minimum_count);
    let judged = |level: Level| {
        observation
            .value
            .is_some_and(|value| level.limit.is_passed(value, observation.reference).is_some())
    };
    enough && [rule.critical, rule.warning].into_iter().flatten().any(judged)
}

impl RuleEngine {
    /// Checks and takes the rules.
    ///
    /// # Errors
    /// If a rule makes no sense ([`Rule::check`]), or two have the same name.
    pub fn new(rules: Vec<Rule>, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut by_signal: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let rules = RuleTable::new(rules)?.into_rules();
        for (index, rule) in rules.iter().enumerate() {
            by_signal.entry(rule.signal.clone()).or_default().push(index);
        }
        Ok(Self { rules, by_signal, clock, series: Mutex::default() })
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Judges what was measured of a signal of one subject, and returns what changed: alerts that begin, change their severity, or are
    /// over. A signal without rules changes nothing.
    ///
    /// # Errors
    /// If this would be more than 100,000 pairs of rule and subject.
    pub fn observe(
        &self,
        signal: &str,
        subject: &Labels,
        observation: impl Into<Observation>,
    ) -> Result<Vec<Alert>> {
        let observation = observation.into();
        let (now, wall) = (self.clock.monotonic(), self.clock.now());
        let mut changes = Vec::new();
        let mut all = self.series.lock();
        for &index in self.by_signal.get(signal).into_iter().flatten() {
            let rule = &self.rules[index];
            if !rule.applies_to(subject) {
                continue;
            }
            let key = (index, subject.clone());
            if all.len() >= MAX_SERIES && !all.contains_key(&key) {
                return Err(MonitorError::LimitExceeded {
                    what: "series of rules",
                    limit: MAX_SERIES,
                });
            }
            let series = all.entry(key).or_default();
            series.observe(rule, &observation, now);
            let (before, after) = (series.firing, series.severity(rule));
            series.firing =
                after.map(|severity| (severity, before.map_or(wall, |(_, since)| since)));
            if before.map(|(severity, _)| severity) != after {
                changes.extend(alert(rule, subject, &observation, before, series.firing, wall));
            }
        }
        Ok(changes)
    }

    /// Takes incidents that fire as known, such as those that an alert manager kept over a restart: they resolve when their signal is
    /// clear, and a value between clear and firing does not end them. Incidents of other rules are passed over.
    pub fn resume<'a>(&self, incidents: impl IntoIterator<Item = &'a Incident>) {
        let mut all = self.series.lock();
        for incident in incidents.into_iter().filter(|incident| incident.is_firing()) {
            let alert = &incident.alert;
            let named = |rule: &Rule| alert.labels.get("alertname") == Some(&rule.name);
            let Some(index) = self.rules.iter().position(named) else { continue };
            let rule = &self.rules[index];
            let own = |name: &String| name == "alertname" || rule.labels.contains_key(name);
            let subject = alert.labels.iter().filter(|(name, _)| !own(name));
            let subject = subject.map(|(name, value)| (name.clone(), value.clone())).collect();
            let series = all.entry((index, subject)).or_default();
            let fires = |level: Option<Level>| {
                level.is_some_and(|level| level.severity >= incident.raised_as)
            };
            if fires(rule.critical) {
                series.critical = Track::Firing;
            } else if rule.warning.is_some() {
                series.warning = Track::Firing;
            }
            series.firing = series.severity(rule).map(|severity| (severity, alert.starts_at));
        }
    }
}

fn alert(
    rule: &Rule,
    subject: &Labels,
    observation: &Observation,
    before: Option<(Severity, Timestamp)>,
    after: Option<(Severity, Timestamp)>,
    now: Timestamp,
) -> Option<Alert> {
    let (severity, starts_at) = after.or(before)?;
    let mut labels = subject.clone();
    labels.extend(rule.labels.clone());
    labels.insert("alertname".to_owned(), rule.name.clone());
    Some(Alert {
        labels,
        status: if after.is_some() { AlertStatus::Firing } else { AlertStatus::Resolved },
        severity,
        summary: summary(rule, observation, after.map(|(severity, _)| severity)),
        runbook_url: rule.runbook_url.clone(),
        starts_at,
        ends_at: after.is_none().then_some(now),
    })
}

/// What happened, in a sentence: the rule's own words, the value, and the limit it passed.
fn summary(rule: &Rule, observation: &Observation, severity: Option<Severity>) -> String {
    let mut text = rule.summary.clone();
    if !text.is_empty() {
        text.push_str(": ");
    }
    let written = match observation.value {
        Some(value) if has_data(rule, observation) => {
            write!(text, "{} is {}", rule.signal, short(value))
        }
        _ => write!(text, "{} has no data", rule.signal),
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    if let Some(reference) = observation.reference {
        text.push_str(&format!(" (reference {})", short(reference)));
    }
    let passed = [rule.critical, rule.warning]
        .into_iter()
        .flatten()
        .find(|level| Some(level.severity) == severity);
    match (severity, passed) {
        (Some(_), Some(level)) if has_data(rule, observation) => {
            text.push_str(&format!(", {}", level.limit.describe()));
        }
        (None, _) => text.push_str(", fine again"),
        _ => {}
    }
    text
}

/// A number with at most six significant digits.
fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    rounded.to_string()
}

#[cfg(test)]
mod tests;
