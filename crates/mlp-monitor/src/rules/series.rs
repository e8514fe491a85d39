//! One rule for one subject, over time.

use std::fmt::Write as _;
use std::time::Duration;

use mlp_core::{Alert, AlertStatus, Labels, Severity, Timestamp};

use super::{Level, NoData, Observation, Rule};

/// What is known of one rule for one subject. The default knows nothing: all is fine.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series {
    critical: Track,
    warning: Track,
    missing: Track,
    /// The alert that fires, with the severity it has now.
    pub(super) firing: Option<Box<Alert>>,
}

/// Where one limit stands.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Track {
    #[default]
    Clear,
    /// Passed, not yet long enough: since when, and when it was last seen, in monotonic time.
    Pending {
        since: Duration,
        seen: Duration,
    },
    Firing,
}

impl Track {
    /// Follows a limit that is passed.
    fn passed(&mut self, now: Duration, hold: Duration) {
        let since = match *self {
            Self::Clear => now,
            Self::Pending { since, .. } => since,
            Self::Firing => return,
        };
        let long_enough = now.saturating_sub(since) >= hold;
        *self = if long_enough { Self::Firing } else { Self::Pending { since, seen: now } };
    }

    /// Follows an observation without data: a gap that lasts longer than the rule's duration begins that anew.
    fn missed(&mut self, now: Duration, hold: Duration) {
        if matches!(*self, Self::Pending { seen, .. } if now.saturating_sub(seen) > hold) {
            *self = Self::Clear;
        }
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
    /// What is known of an alert that fired before a restart.
    pub(super) fn resumed(rule: &Rule, alert: Alert) -> Self {
        let missing = match rule.no_data {
            NoData::Alert(severity) => Some(severity),
            NoData::KeepLast | NoData::Ok => None,
        };
        let severity = |level: Option<Level>| level.map(|level| level.severity);
        let all = [severity(rule.critical), severity(rule.warning), missing];
        // The rule may have been changed since: an incident that fits no level ends when all are clear.
        let fits = |severity: Severity| severity >= alert.severity;
        let none_fits = !all.into_iter().flatten().any(fits);
        let track = |severity: Option<Severity>| match severity {
            Some(severity) if none_fits || fits(severity) => Track::Firing,
            _ => Track::Clear,
        };
        let [critical, warning, missing] = all.map(track);
        Self { critical, warning, missing, firing: Some(Box::new(alert)) }
    }

    pub(super) fn observe(&mut self, rule: &Rule, observation: &Observation, now: Duration) {
        if has_data(rule, observation) {
            self.critical.follow(rule.critical, observation, now, rule.hold);
            self.warning.follow(rule.warning, observation, now, rule.hold);
            self.missing = Track::Clear;
            return;
        }
        self.critical.missed(now, rule.hold);
        self.warning.missed(now, rule.hold);
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

    /// The alert that begins, is more or less urgent than before, or is over with this observation.
    pub(super) fn change(
        &mut self,
        rule: &Rule,
        labels: Labels,
        observation: &Observation,
        wall: Timestamp,
    ) -> Option<Alert> {
        let after = self.severity(rule);
        if self.firing.as_ref().map(|alert| alert.severity) == after {
            return None;
        }
        let before = self.firing.take();
        let over = after.is_none();
        let alert = Alert {
            labels,
            status: if over { AlertStatus::Resolved } else { AlertStatus::Firing },
            severity: after.or(before.as_ref().map(|alert| alert.severity))?,
            summary: summary(rule, observation, after),
            runbook_url: rule.runbook_url.clone(),
            starts_at: before.map_or(wall, |alert| alert.starts_at),
            ends_at: over.then_some(wall),
        };
        if !over {
            self.firing = Some(Box::new(alert.clone()));
        }
        Some(alert)
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
