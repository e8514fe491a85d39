//! Who hears of which alerts, and how often: data that can be read, checked and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use mlp_core::{Alert, Labels, Severity};
use serde::{Deserialize, Serialize};

use super::AlertRoute;
use crate::error::{MonitorError, Result};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Picks alerts by severity and labels. One that names nothing picks every alert.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Matcher {
    /// The severities; none means all of them.
    pub severities: BTreeSet<Severity>,
    /// Labels that the alert must have with these values.
    pub labels: Labels,
}

impl Matcher {
    /// Picks every alert.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Picks a severity, beside those picked before.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severities.insert(severity);
        self
    }

    /// Picks alerts that have a label with this value.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Whether an alert is picked.
    #[must_use]
    pub fn matches(&self, alert: &Alert) -> bool {
        let severity = self.severities.is_empty() || self.severities.contains(&alert.severity);
        severity && self.labels.iter().all(|(name, value)| alert.labels.get(name) == Some(value))
    }

    /// Whether it picks every alert.
    pub(crate) fn is_all(&self) -> bool {
        let all = [Severity::P0, Severity::P1, Severity::P2, Severity::P3];
        let every = self.severities.is_empty() || all.iter().all(|s| self.severities.contains(s));
        every && self.labels.is_empty()
    }
}

/// While an alert that `source` picks fires, those that `target` picks are not told, if the two agree in the labels `equal`.
///
/// An alert that `source` picks too is never inhibited by the same rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibition {
    /// What speaks for both.
    pub source: Matcher,
    /// What is not told meanwhile.
    pub target: Matcher,
    /// The labels in which both must agree; a label that both lack agrees.
    pub equal: Vec<String>,
}

/// How many notifications a sink gets in a span of time. Pages (P0) are not counted among those that are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many, at least 1.
    pub notifications: u32,
    /// In which span, above 0.
    #[serde(with = "span")]
    pub per: Duration,
}

/// How a sink is treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SinkSettings {
    /// After how long a delivery counts as failed, whatever becomes of the call. Default 30 s.
    #[serde(with = "span", default = "default_timeout")]
    pub timeout: Duration,
    /// How much it hears. Beyond that, notifications are held back, merged by group and told when there is room again; one summary says how
    /// many wait, and another that all has been told. P0 always goes out. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

fn default_timeout() -> Duration {
    MINUTE / 2
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self { timeout: default_timeout(), rate_limit: None }
    }
}

impl SinkSettings {
    /// Sets after how long a delivery counts as failed.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits how many notifications the sink gets in a span of time.
    #[must_use]
    pub fn with_rate_limit(mut self, notifications: u32, per: Duration) -> Self {
        self.rate_limit = Some(RateLimit { notifications, per });
        self
    }

    fn check(&self, name: &str) -> Result<()> {
        let fault = |part, given: String, allowed| {
            Err(MonitorError::setting(format!("sink {name:?}: {part}"), given, allowed))
        };
        if self.timeout.is_zero() {
            return fault("timeout", "0 s".to_owned(), "above 0");
        }
        match self.rate_limit {
            Some(RateLimit { notifications: 0, .. }) => {
                fault("rate_limit.notifications", "0".to_owned(), "at least 1")
            }
            Some(RateLimit { per: Duration::ZERO, .. }) => {
                fault("rate_limit.per", "0 s".to_owned(), "above 0")
            }
            _ => Ok(()),
        }
    }
}

/// How alerts become notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AlertConfig {
    /// The routes; the first that takes an alert gets it.
    #[serde(default)]
    pub routes: Vec<AlertRoute>,
    /// What becomes of alerts that no route takes: they go here, none is dropped.
    pub default_route: AlertRoute,
    /// Which alerts speak for others.
    #[serde(default)]
    pub inhibitions: Vec<Inhibition>,
    /// After how long an alert that nobody acknowledged becomes more urgent by one; above 0. Default: P1 after its hour, P2 after its day.
    /// It is the same incident, told from then on by the route of its new severity: a sink of both routes hears of it under the dedupe keys of
    /// both, the first of which is resolved with it.
    #[serde(default = "default_escalation", with = "spans")]
    pub escalate_after: BTreeMap<Severity, Duration>,
    /// How many incidents are held, open or about to be told as resolved. Default 10,000: more are no help to anybody. Beyond it others are
    /// refused with an error, but P0 is taken up to twice as many.
    #[serde(default = "default_incidents")]
    pub max_incidents: usize,
    /// How many silences are held. Default 1,000.
    #[serde(default = "default_silences")]
    pub max_silences: usize,
    /// How sinks are treated that are not to be treated as usual, by name.
    #[serde(default)]
    pub sinks: BTreeMap<String, SinkSettings>,
    /// How many notifications may wait for one sink. Default 1,000; P0 is kept beyond it.
    #[serde(default = "default_queue")]
    pub max_queued: usize,
}

fn default_escalation() -> BTreeMap<Severity, Duration> {
    BTreeMap::from([(Severity::P1, HOUR), (Severity::P2, 24 * HOUR)])
}

fn default_incidents() -> usize {
    10_000
}

fn default_silences() -> usize {
    1_000
}

fn default_queue() -> usize {
    1_000
}

/// Serde for a span per severity, written as "1h".
mod spans {
    use super::{BTreeMap, Deserialize, Duration, Serialize, Severity, span};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Span(#[serde(with = "span")] Duration);

    pub(super) fn serialize<S: Serializer>(
        spans: &BTreeMap<Severity, Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(spans.iter().map(|(severity, span)| (severity, Span(*span))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Severity, Duration>, D::Error> {
        let spans = BTreeMap::<Severity, Span>::deserialize(deserializer)?;
        Ok(spans.into_iter().map(|(severity, span)| (severity, span.0)).collect())
    }
}

impl AlertConfig {
    /// Sends every alert to one sink, until routes are added.
    #[must_use]
    pub fn new(default_sink: impl Into<String>) -> Self {
        Self {
            routes: Vec::new(),
            default_route: AlertRoute::new("default", Matcher::all(), [default_sink]),
            inhibitions: Vec::new(),
            escalate_after: default_escalation(),
            max_incidents: default_incidents(),
            max_silences: default_silences(),
            sinks: BTreeMap::new(),
            max_queued: default_queue(),
        }
    }

    /// Adds a route after those there are.
    #[must_use]
    pub fn with_route(mut self, route: AlertRoute) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds alerts that speak for others.
    #[must_use]
    pub fn with_inhibition(mut self, inhibition: Inhibition) -> Self {
        self.inhibitions.push(inhibition);
        self
    }

    /// Sets after how long an alert of a severity becomes more urgent when nobody acknowledges it.
    #[must_use]
    pub fn with_escalation(mut self, severity: Severity, after: Duration) -> Self {
        self.escalate_after.insert(severity, after);
        self
    }

    /// Sets how a sink is treated.
    #[must_use]
    pub fn with_sink(mut self, name: impl Into<String>, settings: SinkSettings) -> Self {
        self.sinks.insert(name.into(), settings);
        self
    }

    /// Lets no alert become more urgent by waiting.
    #[must_use]
    pub fn without_escalation(mut self) -> Self {
        self.escalate_after.clear();
        self
    }

    /// All routes, the default one last.
    pub(crate) fn all_routes(&self) -> impl Iterator<Item = &AlertRoute> {
        self.routes.iter().chain([&self.default_route])
    }

    /// The route that takes an alert.
    pub(crate) fn route_of(&self, alert: &Alert) -> &AlertRoute {
        self.routes.iter().find(|route| route.matcher.matches(alert)).unwrap_or(&self.default_route)
    }

    /// The route of this name; the default one if there is none any more.
    pub(crate) fn route(&self, name: &str) -> &AlertRoute {
        self.routes.iter().find(|route| route.name == name).unwrap_or(&self.default_route)
    }

    /// How many incidents may be held when one of this severity comes: pages have as many places of their own.
    pub(crate) fn room_for(&self, severity: Severity) -> usize {
        match severity {
            Severity::P0 => self.max_incidents.saturating_mul(2),
            _ => self.max_incidents,
        }
    }

    pub(crate) fn check(&self, sinks: &BTreeSet<String>) -> Result<()> {
        let mut names = BTreeSet::new();
        for route in self.all_routes() {
            if !names.insert(&route.name) {
                return Err(MonitorError::Duplicate { what: "routes", name: route.name.clone() });
            }
            if route.sinks.is_empty() {
                let name = format!("sinks of route {:?}", route.name);
                return Err(MonitorError::setting(name, "none", "at least one"));
            }
            if route.repeat_interval.is_zero() {
                let name = format!("repeat_interval of route {:?}", route.name);
                return Err(MonitorError::setting(name, "0 s", "above 0"));
            }
            if let Some(sink) = route.sinks.iter().find(|sink| !sinks.contains(*sink)) {
                return Err(MonitorError::Unknown { what: "sink", name: sink.clone() });
            }
        }
        if let Some(severity) =
            self.escalate_after.keys().find(|severity| **severity == Severity::P0)
        {
            return Err(MonitorError::setting(
                "escalate_after",
                severity,
                "P1, P2 or P3: nothing is above P0",
            ));
        }
        if self.escalate_after.values().any(Duration::is_zero) {
            return Err(MonitorError::setting("escalate_after", "0 s", "above 0"));
        }
        for (name, settings) in &self.sinks {
            if !sinks.contains(name) {
                return Err(MonitorError::Unknown { what: "sink", name: name.clone() });
            }
            settings.check(name)?;
        }
        let bounds = [
            ("max_incidents", self.max_incidents),
            ("max_silences", self.max_silences),
            ("max_queued", self.max_queued),
        ];
        for (name, given) in bounds {
            if given == 0 {
                return Err(MonitorError::setting(name, given, "at least 1"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
        "routes": [
            {"name": "pages", "matcher": {"severities": ["P0"]}, "sinks": ["pager", "chat"], "repeat_interval": "1h"},
            {"name": "search", "matcher": {"labels": {"team": "search"}}, "sinks": ["chat"], "group_by": ["host"], "group_wait": "10s"}
        ],
        "default_route": {"name": "default", "sinks": ["log"]},
        "inhibitions": [{"source": {"severities": ["P0"]}, "target": {"severities": ["P2"]}, "equal": ["host"]}],
        "escalate_after": {"P1": "30m"},
        "max_incidents": 500,
        "sinks": {"chat": {"timeout": "5s", "rate_limit": {"notifications": 20, "per": "1h"}}}
    }"#;

    fn sinks() -> BTreeSet<String> {
        ["pager", "chat", "log"].map(str::to_owned).into()
    }

    #[test]
    fn a_configuration_is_read_from_text_as_it_is_built() {
        let read: AlertConfig = serde_json::from_str(TEXT).unwrap();
        let pages = Matcher::all().with_severity(Severity::P0);
        let search = Matcher::all().with_label("team", "search");
        let mut built = AlertConfig::new("log")
            .with_route(
                AlertRoute::new("pages", pages.clone(), ["pager", "chat"])
                    .with_repeat_interval(HOUR),
            )
            .with_route(
                AlertRoute::new("search", search, ["chat"])
                    .with_group_by(["host"])
                    .with_group_wait(Duration::from_secs(10)),
            )
            .with_inhibition(Inhibition {
                source: pages,
                target: Matcher::all().with_severity(Severity::P2),
                equal: vec!["host".to_owned()],
            })
            .without_escalation()
            .with_escalation(Severity::P1, HOUR / 2)
            .with_sink(
                "chat",
                SinkSettings::default()
                    .with_timeout(Duration::from_secs(5))
                    .with_rate_limit(20, HOUR),
            );
        built.max_incidents = 500;
        assert_eq!(read, built);
        assert_eq!(
            read.routes[0].group_wait,
            Duration::ZERO,
            "a page read from text does not wait"
        );
        assert_eq!(read.default_route.group_wait, MINUTE / 2);
        read.check(&sinks()).unwrap();
        let again: AlertConfig =
            serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        let least = r#"{"default_route": {"name": "default", "sinks": ["log"]}}"#;
        assert_eq!(serde_json::from_str::<AlertConfig>(least).unwrap(), AlertConfig::new("log"));
    }

    #[test]
    fn unknown_keys_anywhere_are_refused_and_named() {
        for key in [
            "routes",
            "group_by",
            "severities",
            "equal",
            "max_incidents",
            "timeout",
            "per",
            "repeat_interval",
        ] {
            let text = TEXT.replace(&format!("\"{key}\""), "\"misspelt\"");
            let error = serde_json::from_str::<AlertConfig>(&text).unwrap_err().to_string();
            assert!(error.contains("misspelt"), "{key}: {error}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for (before, after, about) in [
            (r#""repeat_interval": "1h""#, r#""repeat_interval": "0s""#, "repeat_interval"),
            (r#""P1": "30m""#, r#""P1": "0s""#, "escalate_after"),
            (r#""P1": "30m""#, r#""P0": "30m""#, "escalate_after"),
            (r#""max_incidents": 500"#, r#""max_incidents": 0"#, "max_incidents"),
            (r#""notifications": 20"#, r#""notifications": 0"#, "rate_limit"),
            (r#""per": "1h""#, r#""per": "0s""#, "rate_limit"),
            (r#""timeout": "5s""#, r#""timeout": "0s""#, "timeout"),
            (r#""sinks": ["log"]"#, r#""sinks": ["nobody"]"#, "nobody"),
            (r#""sinks": ["log"]"#, r#""sinks": []"#, "default"),
            (r#""name": "search""#, r#""name": "pages""#, "pages"),
            (r#""sinks": {"chat""#, r#""sinks": {"other""#, "other"),
        ] {
            assert!(TEXT.contains(before), "{before}");
            let config: AlertConfig = serde_json::from_str(&TEXT.replace(before, after)).unwrap();
            let error = config.check(&sinks()).unwrap_err().to_string();
            assert!(error.contains(about), "{after}: {error}");
        }
    }
}
