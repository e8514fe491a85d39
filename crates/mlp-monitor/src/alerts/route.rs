//! Where alerts are sent, in which groups, and how often.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::{optional, required};
use mlp_core::{Alert, Labels, Severity};
use serde::{Deserialize, Serialize};

use super::Matcher;

/// Where the alerts that it picks are sent, in which groups, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
#[non_exhaustive]
pub struct AlertRoute {
    /// What it is called; part of the dedupe key of its notifications.
    pub name: String,
    /// The alerts that it takes.
    pub matcher: Matcher,
    /// The sinks that hear of them.
    pub sinks: Vec<String>,
    /// The labels that alerts of a group have in common. Default `alertname`: one cause on many subjects is one notification.
    pub group_by: Vec<String>,
    /// How long a new group waits for more of the same. Default 30 s, and nothing for a route of P0 alone.
    #[serde(with = "required")]
    pub group_wait: Duration,
    /// How long a group rests before it tells of what changed: what joins it, pages too, is told then. Default 5 min.
    #[serde(with = "required")]
    pub group_interval: Duration,
    /// How long until the same is told again while nobody has acknowledged it; above 0. Default 4 h.
    #[serde(with = "required")]
    pub repeat_interval: Duration,
}

/// A route as people write it: what they leave out is as in [`AlertRoute::new`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    matcher: Matcher,
    sinks: Vec<String>,
    group_by: Option<Vec<String>>,
    #[serde(default, with = "optional")]
    group_wait: Option<Duration>,
    #[serde(default, with = "optional")]
    group_interval: Option<Duration>,
    #[serde(default, with = "optional")]
    repeat_interval: Option<Duration>,
}

impl From<Written> for AlertRoute {
    fn from(written: Written) -> Self {
        let route = Self::new(written.name, written.matcher, written.sinks);
        Self {
            group_by: written.group_by.unwrap_or(route.group_by),
            group_wait: written.group_wait.unwrap_or(route.group_wait),
            group_interval: written.group_interval.unwrap_or(route.group_interval),
            repeat_interval: written.repeat_interval.unwrap_or(route.repeat_interval),
            ..route
        }
    }
}

impl AlertRoute {
    /// A route of the alerts that `matcher` picks to these sinks.
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        matcher: Matcher,
        sinks: impl IntoIterator<Item = S>,
    ) -> Self {
        let page = matcher.severities.iter().eq([&Severity::P0]);
        Self {
            name: name.into(),
            matcher,
            sinks: sinks.into_iter().map(Into::into).collect(),
            group_by: vec!["alertname".to_owned()],
            group_wait: Duration::from_secs(if page { 0 } else { 30 }),
            group_interval: Duration::from_secs(5 * 60),
            repeat_interval: Duration::from_secs(4 * 3_600),
        }
    }

    /// A route of one severity, named after it. P0 does not wait for its group: the first alert of a group pages at once, and more of the same
    /// group after the group interval, in one notification with the first.
    pub fn of<S: Into<String>>(severity: Severity, sinks: impl IntoIterator<Item = S>) -> Self {
        Self::new(severity.to_string(), Matcher::all().with_severity(severity), sinks)
    }

    /// Sets the labels that alerts of a group have in common; none makes one group of all.
    #[must_use]
    pub fn with_group_by<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.group_by = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how long a new group waits for more of the same.
    #[must_use]
    pub fn with_group_wait(mut self, wait: Duration) -> Self {
        self.group_wait = wait;
        self
    }

    /// Sets how long a group rests before it tells of what changed.
    #[must_use]
    pub fn with_group_interval(mut self, interval: Duration) -> Self {
        self.group_interval = interval;
        self
    }

    /// Sets how long until the same is told again.
    #[must_use]
    pub fn with_repeat_interval(mut self, interval: Duration) -> Self {
        self.repeat_interval = interval;
        self
    }

    pub(crate) fn group_labels(&self, alert: &Alert) -> Labels {
        let pair = |name: &String| Some((name.clone(), alert.labels.get(name)?.clone()));
        self.group_by.iter().filter_map(pair).collect()
    }
}
