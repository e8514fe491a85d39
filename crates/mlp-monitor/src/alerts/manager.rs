//! The alert manager as its users meet it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Alert, AlertSink, Clock};
use parking_lot::Mutex;

use super::outbox::Outbox;
use super::state::{Moment, Outgoing, State};
use super::timeline::Timeline;
use super::{
    Acknowledgement, AlertConfig, Fingerprint, Incident, Matcher, Silence, SilenceId, SinkStatus,
    Undelivered,
};
use crate::error::{MonitorError, Result};

/// The most labels an alert may have.
const MAX_LABELS: usize = 64;
/// The longest label name, label value or summary that is kept, in characters; longer ones are cut and end in "…".
const MAX_TEXT: usize = 1_024;

/// Turns alerts into notifications that a person can live with: routed by severity and labels, grouped, not repeated too early, silenced,
/// escalated, and resolved only where they were told.
///
/// Alerts come in through [`update`](Self::update); [`tick`](Self::tick), called every few seconds, tells what is due. All deadlines are
/// in monotonic time. It holds at most [`AlertConfig::max_incidents`] alerts; a million raises of the same alert are one of them.
///
/// ```
/// use mlp_core::{Alert, AlertStatus, Clock, Severity, SystemClock};
/// use mlp_monitor::{AlertConfig, AlertManager, AlertRoute, MemorySink};
/// use std::sync::Arc;
///
/// let (pager, log) = (Arc::new(MemorySink::new()), Arc::new(MemorySink::new()));
/// let clock = Arc::new(SystemClock::new());
/// let config = AlertConfig::new("log").with_route(AlertRoute::of(Severity::P0, ["pager"]));
/// let manager = AlertManager::new(config, [("pager", pager.clone() as _), ("log", log as _)], clock.clone())?;
/// manager.update(Alert {
///     labels: [("alertname".to_owned(), "errors_high".to_owned())].into(),
///     status: AlertStatus::Firing,
///     severity: Severity::P0,
///     summary: "error_rate is 0.02, above 0.01".to_owned(),
///     runbook_url: "https://runbooks.example/errors".to_owned(),
///     starts_at: clock.now(),
///     ends_at: None,
/// })?;
/// manager.tick();
/// assert_eq!(pager.notifications().len(), 1);
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct AlertManager {
    config: AlertConfig,
    outboxes: BTreeMap<String, Outbox>,
    timeline: Timeline,
    state: Mutex<State>,
}

impl AlertManager {
    /// Checks the configuration against the sinks, by name.
    ///
    /// # Errors
    /// If a route names a sink that is not there or no sink at all, two routes or sinks have the same name, or a bound is 0.
    pub fn new<N: Into<String>>(
        config: AlertConfig,
        sinks: impl IntoIterator<Item = (N, Arc<dyn AlertSink>)>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let mut outboxes = BTreeMap::new();
        for (name, sink) in sinks {
            let name = name.into();
            let outbox = Outbox::new(name.clone(), sink, config.max_queued);
            if outboxes.insert(name.clone(), outbox).is_some() {
                return Err(MonitorError::Duplicate { what: "sinks", name });
            }
        }
        config.check(&outboxes.keys().cloned().collect::<BTreeSet<_>>())?;
        Ok(Self { config, outboxes, timeline: Timeline::new(clock), state: Mutex::default() })
    }

    /// Takes an alert that fires or is over. The same alert again, by its labels, is the same incident; one that is over and unknown is
    /// nothing new. What a route tells without waiting is handed to its sinks by the next [`tick`](Self::tick) or delivery thread.
    ///
    /// # Errors
    /// If a firing alert has no runbook URL or more than 64 labels, or the manager holds as many incidents as it may.
    pub fn update(&self, alert: Alert) -> Result<()> {
        let alert = admit(alert)?;
        let moment = self.moment();
        let outgoing = self.state.lock().update(&self.config, alert, moment)?;
        self.hand_out(outgoing);
        Ok(())
    }

    /// Takes several alerts, such as what a [`RuleEngine`](crate::RuleEngine) says has changed.
    ///
    /// # Errors
    /// As [`update`](Self::update) for the first that is refused; those after it are taken all the same.
    pub fn update_all(&self, alerts: impl IntoIterator<Item = Alert>) -> Result<()> {
        let results: Vec<Result<()>> = alerts.into_iter().map(|alert| self.update(alert)).collect();
        results.into_iter().collect()
    }

    /// Lets time pass: ends silences, escalates, and tells and delivers what is due. Sinks are called on this thread.
    pub fn tick(&self) {
        let moment = self.moment();
        let outgoing = self.state.lock().advance(&self.config, moment);
        self.hand_out(outgoing);
        for outbox in self.outboxes.values() {
            outbox.deliver(|| self.timeline.now());
        }
    }

    /// Mutes the alerts that a matcher picks. They stay visible as suppressed, and are told at once if they still fire when it ends.
    ///
    /// # Errors
    /// If the matcher picks every alert: that would hide faults nobody has thought of.
    pub fn silence(
        &self,
        matcher: Matcher,
        span: Duration,
        by: impl Into<String>,
        comment: impl Into<String>,
    ) -> Result<SilenceId> {
        if matcher.is_all() {
            return Err(MonitorError::setting(
                "matcher of a silence",
                "everything",
                "a severity or a label",
            ));
        }
        let Moment { now, wall } = self.moment();
        let silence = Silence {
            id: SilenceId(0),
            matcher,
            by: by.into(),
            comment: comment.into(),
            starts_at: wall,
            ends_at: wall.after(span),
            until: now.saturating_add(span),
        };
        Ok(self.state.lock().silence(&self.config, silence, now))
    }

    /// Ends a silence before its time; the next [`tick`](Self::tick) tells what still fires.
    ///
    /// # Errors
    /// If there is no such silence.
    pub fn end_silence(&self, id: SilenceId) -> Result<()> {
        match self.state.lock().silences.remove(&id) {
            Some(_) => Ok(()),
            None => Err(MonitorError::Unknown { what: "silence", name: id.to_string() }),
        }
    }

    /// Says that somebody takes care of an incident: it is not repeated and does not escalate, and its resolve is still told.
    ///
    /// # Errors
    /// If no incident of this fingerprint fires.
    pub fn acknowledge(&self, fingerprint: Fingerprint, by: impl Into<String>) -> Result<()> {
        let acknowledgement = Acknowledgement { by: by.into(), at: self.timeline.wall() };
        self.state.lock().acknowledge(fingerprint, acknowledgement)
    }

    /// Everything that fires, or whose end is yet to be told, in order of the fingerprints.
    #[must_use]
    pub fn incidents(&self) -> Vec<Incident> {
        self.state.lock().incidents.values().cloned().collect()
    }

    /// The silences that have not ended.
    #[must_use]
    pub fn silences(&self) -> Vec<Silence> {
        self.state.lock().silences.values().cloned().collect()
    }

    /// How each sink is doing.
    #[must_use]
    pub fn sinks(&self) -> BTreeMap<String, SinkStatus> {
        self.outboxes.iter().map(|(name, outbox)| (name.clone(), outbox.status())).collect()
    }

    /// The latest notifications that a sink will never get: 100, and as many of P0. None for an unknown sink.
    #[must_use]
    pub fn undelivered(&self, sink: &str) -> Vec<Undelivered> {
        self.outboxes.get(sink).map(Outbox::undelivered).unwrap_or_default()
    }

    fn moment(&self) -> Moment {
        Moment { now: self.timeline.now(), wall: self.timeline.wall() }
    }

    fn hand_out(&self, outgoing: Vec<Outgoing>) {
        for Outgoing { sinks, notification } in outgoing {
            for outbox in sinks.iter().filter_map(|sink| self.outboxes.get(sink)) {
                outbox.push(notification.clone());
            }
        }
    }
}

/// Bounds what an alert may carry.
fn admit(alert: Alert) -> Result<Alert> {
    let name = || alert.labels.get("alertname").cloned().unwrap_or_default();
    if alert.runbook_url.trim().is_empty() {
        return Err(MonitorError::NoRunbook { what: "alert", name: cut(name()) });
    }
    if alert.labels.len() > MAX_LABELS {
        return Err(MonitorError::LimitExceeded { what: "labels of an alert", limit: MAX_LABELS });
    }
    let labels = alert.labels.into_iter().map(|(name, value)| (cut(name), cut(value))).collect();
    Ok(Alert { labels, summary: cut(alert.summary), runbook_url: cut(alert.runbook_url), ..alert })
}

/// At most 1,024 characters, the last of which says that there were more.
fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT - 1) {
        Some((end, _)) if text[end..].chars().nth(1).is_some() => format!("{}…", &text[..end]),
        _ => text,
    }
}

#[cfg(test)]
mod tests;
