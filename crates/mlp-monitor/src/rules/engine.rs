//! Judges observations by rules, and says when something begins and ends to be wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mlp_core::{Alert, AlertStatus, Clock, Labels};
use parking_lot::Mutex;

use super::series::Series;
use super::{Rule, RuleTable};
use crate::alerts::{Fingerprint, Incident};
use crate::error::{MonitorError, Result};

/// The most series (a rule with a subject) that are not fine.
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
/// It says only what changes: an alert that begins, becomes more or less urgent, or is over; [`firing`](Self::firing) gives all that fires,
/// for whoever has missed a change. Durations are measured in monotonic time, so turning the wall clock changes no verdict. It follows at
/// most 100,000 pairs of rule and subject that are not fine; those that are take no room. Subjects are told apart as the alert manager
/// does: by the labels of their alerts, cut to its bounds.
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
    /// Held by [`in_turn`](Self::in_turn), never while `series` is.
    turn: Mutex<()>,
    /// By the labels of the alert, among them the name of the rule.
    series: Mutex<HashMap<Fingerprint, Series>>,
    max_series: usize,
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
        let (turn, series) = (Mutex::default(), Mutex::default());
        Ok(Self { rules, by_signal, clock, turn, series, max_series: MAX_SERIES })
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Judges what was measured of a signal of one subject, and returns what changed: alerts that begin, change their severity, or are
    /// over. A signal without rules changes nothing.
    ///
    /// Where several threads observe one subject, one may hand on its change after a later change of another: then an alert that is over goes
    /// on, or one that fires is not told. Measure, observe and hand on within one [turn](Self::in_turn) there, and forget likewise: what was measured
    /// before a subject was forgotten and is judged after that may fire for ever.
    ///
    /// # Errors
    /// If this would be more than 100,000 pairs of rule and subject that are not fine, or an alert more than 64 labels. Then nothing has
    /// changed, for any rule.
    pub fn observe(
        &self,
        signal: &str,
        subject: &Labels,
        observation: impl Into<Observation>,
    ) -> Result<Vec<Alert>> {
        let observation = observation.into();
        let (now, wall) = (self.clock.monotonic(), self.clock.now());
        let mut all = self.series.lock();
        let mut moved = Vec::new();
        let mut room = self.max_series.saturating_sub(all.len());
        for rule in self.rules_of(signal, subject) {
            let labels = rule.labels_of(subject)?;
            let fingerprint = Fingerprint::of(&labels);
            let before = all.get(&fingerprint);
            let mut series = before.cloned().unwrap_or_default();
            series.observe(rule, &observation, now);
            let change = series.change(rule, labels, &observation, wall);
            if before.is_none() && series != Series::default() {
                room = room.checked_sub(1).ok_or(MonitorError::LimitExceeded {
                    what: "series of rules",
                    limit: self.max_series,
                })?;
            }
            moved.push((fingerprint, series, change));
        }
        let mut changes = Vec::new();
        for (fingerprint, series, change) in moved {
            if series == Series::default() {
                all.remove(&fingerprint);
            } else {
                all.insert(fingerprint, series);
            }
            changes.extend(change);
        }
        Ok(changes)
    }

    /// Does something while no other thread is in this call: measure, judge what was measured and hand on what changed, and the changes of a
    /// subject come in the order in which it was measured, whichever thread they come from.
    ///
    /// Only calls of this wait for each other, for as long as the work takes. It must not call it again: that would wait for ever.
    ///
    /// ```
    /// use mlp_core::{Labels, Severity, SystemClock};
    /// use mlp_monitor::{AlertConfig, AlertManager, Limit, MemorySink, Rule, RuleEngine};
    /// use std::sync::Arc;
    ///
    /// let clock = Arc::new(SystemClock::new());
    /// let rule = Rule::new("errors", "error_rate", "https://runbooks.example/errors")?.with_critical(Limit::above(0.01), Severity::P0);
    /// let rules = RuleEngine::new(vec![rule], clock.clone())?;
    /// let alerts = AlertManager::new(AlertConfig::new("log"), [("log", Arc::new(MemorySink::new()) as _)], clock)?;
    /// let error_rate = || 0.02;
    /// rules.in_turn(|rules| alerts.update_all(rules.observe("error_rate", &Labels::new(), error_rate())?))?; // on any thread
    /// # Ok::<(), mlp_monitor::MonitorError>(())
    /// ```
    pub fn in_turn<T>(&self, work: impl FnOnce(&Self) -> T) -> T {
        let _turn = self.turn.lock();
        work(self)
    }

    /// All alerts that fire, in order of their labels: what to tell an alert manager that refused a change because it was full. It knows those
    /// that it has.
    #[must_use]
    pub fn firing(&self) -> Vec<Alert> {
        let series = self.series.lock();
        let mut firing: Vec<Alert> =
            series.values().filter_map(|series| series.firing.as_deref()).cloned().collect();
        firing.sort_by(|a, b| a.labels.cmp(&b.labels));
        firing
    }

    /// Forgets a subject that is no more, such as a replica that was removed, for all rules of a signal. Returns what fired, as over. Whoever
    /// observes the subject must have forgotten it first, such as by [`PerformanceMonitor::forget`](crate::PerformanceMonitor::forget); on several
    /// threads this is called [in turn](Self::in_turn), as measuring and observing are.
    ///
    /// # Errors
    /// If an alert would have more than 64 labels.
    pub fn forget(&self, signal: &str, subject: &Labels) -> Result<Vec<Alert>> {
        let wall = self.clock.now();
        let rules = self.rules_of(signal, subject);
        let keys: Result<Vec<Fingerprint>> = rules
            .map(|rule| rule.labels_of(subject).map(|labels| Fingerprint::of(&labels)))
            .collect();
        let mut all = self.series.lock();
        let forgotten = keys?.into_iter().filter_map(|key| all.remove(&key)?.firing);
        let over = forgotten.map(|alert| Alert {
            status: AlertStatus::Resolved,
            summary: "its subject is no more".to_owned(),
            ends_at: Some(wall),
            ..*alert
        });
        Ok(over.collect())
    }

    /// Takes incidents that fire as known, such as those that an alert manager kept over a restart: they resolve when their signal is
    /// clear, and a value between clear and firing does not end them. Incidents of other rules are passed over.
    ///
    /// An incident does not say which limit it passed: every one that is as urgent as it was raised, or less, counts as passed until a value
    /// is clear of it. What had passed a limit for less than the rule's duration is not an incident yet: its time begins anew.
    pub fn resume<'a>(&self, incidents: impl IntoIterator<Item = &'a Incident>) {
        let mut all = self.series.lock();
        for incident in incidents.into_iter().filter(|incident| incident.is_firing()) {
            let named = |rule: &&Rule| incident.alert.labels.get("alertname") == Some(&rule.name);
            let Some(rule) = self.rules.iter().find(named) else { continue };
            let alert = Alert { severity: incident.raised_as, ..incident.alert.clone() };
            all.insert(incident.fingerprint, Series::resumed(rule, alert));
        }
    }

    /// The rules that judge a subject by a signal.
    fn rules_of<'a>(&'a self, signal: &str, subject: &'a Labels) -> impl Iterator<Item = &'a Rule> {
        let indices = self.by_signal.get(signal).into_iter().flatten();
        indices.map(|&index| &self.rules[index]).filter(|rule| rule.applies_to(subject))
    }
}

#[cfg(test)]
mod tests;
