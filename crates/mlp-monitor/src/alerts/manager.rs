//! The alert manager as its users meet it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp_core::{Alert, AlertSink, Clock, Notification, StoreError};
use parking_lot::{Mutex, MutexGuard};

use super::admit::cut;
use super::book::Book;
use super::kept::Kept;
use super::outbox::Outbox;
use super::queue::Queue;
use super::rows::Scope;
use super::state::{Moment, Outgoing, State};
use super::store::{AlertRows, AlertStore};
use super::timeline::Timeline;
use super::{
    Acknowledgement, AlertConfig, Fingerprint, Incident, Matcher, Silence, SilenceId, SinkStatus,
    Undelivered,
};
use crate::error::{MonitorError, Result};
use crate::ticker::Ticker;

/// How long the manager waits for its sinks when it is dropped.
const FAREWELL: Duration = Duration::from_secs(5);
/// After a restart nothing escalates before this has passed: what was over in the meantime can be said first.
const RESPITE: Duration = Duration::from_secs(300);
/// A timeout that no clock can count is this long.
const LONGEST_FLUSH: Duration = Duration::from_secs(86_400);

/// Turns alerts into notifications that a person can live with: routed by severity and labels, grouped, not repeated too early, silenced,
/// escalated, and resolved only where they were told.
///
/// Alerts come in through [`update`](Self::update); [`tick`](Self::tick), called every few seconds or by
/// [`ticker`](Self::ticker), tells what is due. Each sink is called on a thread of its own, so one that hangs or fails delays no other;
/// a delivery that fails is tried again, and what waits is kept. All deadlines are in monotonic time. It holds at most
/// [`AlertConfig::max_incidents`] alerts, and as many pages beyond them; a million raises of the same alert are one of them.
///
/// With a store ([`open`](Self::open)) everything but the counts survives a restart: incidents, what was told of them, silences, and
/// what sinks have yet to hear. A store that fails stops no notification; [`store_fault`](Self::store_fault) says so, and the next tick writes
/// everything anew. A store that is slow makes only those wait that change something, and while all is written anew only that tick.
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
/// manager.flush(std::time::Duration::from_secs(60)); // or do something else meanwhile
/// assert_eq!(pager.notifications().len(), 1);
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct AlertManager {
    config: AlertConfig,
    outboxes: BTreeMap<String, Arc<Outbox>>,
    /// The sinks whose receivers forget, and after how long.
    validity: BTreeMap<String, Duration>,
    timeline: Arc<Timeline>,
    book: Arc<Book>,
    state: Mutex<State>,
}

impl AlertManager {
    /// A manager whose state ends with it. The configuration is checked against the sinks, by name.
    ///
    /// # Errors
    /// If a route names a sink that is not there or no sink at all, two routes or sinks have the same name, or a bound, a repeat interval or
    /// a time before an escalation is 0.
    pub fn new<N: Into<String>>(
        config: AlertConfig,
        sinks: impl IntoIterator<Item = (N, Arc<dyn AlertSink>)>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Self::build(config, named(sinks)?, clock, Book::default(), &AlertRows::new())
    }

    /// A manager that goes on where another one on the same store ended, and keeps its own state there.
    ///
    /// What was told is not told again; what was on its way to a sink when the other ended is sent again, with the same dedupe key, and what
    /// waited for a sink that is no more goes where its group is sent now. Nothing else is told before the first [`tick`](Self::tick), and
    /// nothing escalates within five minutes: say first what is over. A manager that still runs on the store is superseded: it refuses
    /// alerts and tells nobody any more.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if the store cannot be read or written, or what it keeps is damaged; then a manager that runs on it goes on.
    pub fn open<N: Into<String>>(
        config: AlertConfig,
        sinks: impl IntoIterator<Item = (N, Arc<dyn AlertSink>)>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn AlertStore>,
    ) -> Result<Self> {
        let sinks = named(sinks)?;
        config.check(&sinks.keys().cloned().collect())?;
        // What cannot be read must not end the manager that can still write it.
        let rows = store.load()?;
        State::load(&config, &rows)?;
        Kept::load(&rows)?;
        let (book, rows) = Book::open(store)?;
        let manager = Self::build(config, sinks, clock, book, &rows)?;
        manager.commit(manager.state.lock(), Vec::new(), manager.timeline.moment());
        manager.outboxes.values().for_each(Outbox::wake);
        Ok(manager)
    }

    fn build(
        config: AlertConfig,
        sinks: BTreeMap<String, Arc<dyn AlertSink>>,
        clock: Arc<dyn Clock>,
        book: Book,
        rows: &AlertRows,
    ) -> Result<Self> {
        config.check(&sinks.keys().cloned().collect())?;
        let (mut state, written) = State::load(&config, rows)?;
        // Processes of one program that start together do not try in step.
        let seed = clock.now().as_micros().unsigned_abs() ^ u64::from(std::process::id()) << 40;
        let timeline = Arc::new(Timeline::new(clock, written));
        state.spare(&config, RESPITE, timeline.now());
        let book = Arc::new(book);
        let mut kept = Kept::load(rows)?;
        let validity = sinks
            .iter()
            .filter_map(|(name, sink)| Some((name.clone(), sink.validity()?)))
            .collect();
        let outboxes = sinks.into_iter().map(|(name, sink)| {
            let settings = config.sinks.get(&name).cloned().unwrap_or_default();
            let mut queue = Queue::new(name.clone(), config.max_queued, settings, seed);
            if book.is_kept() {
                queue.record_changes();
            }
            queue.load(kept.remove(&name).unwrap_or_default());
            let outbox =
                Outbox::new(name.clone(), sink, Arc::clone(&book), Arc::clone(&timeline), queue);
            (name, Arc::new(outbox))
        });
        let outboxes = outboxes.collect();
        let state = Mutex::new(state);
        let manager = Self { config, outboxes, validity, timeline, book, state };
        manager.adopt(kept);
        Ok(manager)
    }

    /// Hands what was kept for sinks that are no more to those that hear of the same group now.
    fn adopt(&self, orphans: BTreeMap<String, Kept>) {
        let now = self.timeline.now();
        let mut changes = Vec::new();
        for (sink, kept) in orphans {
            changes.extend(kept.keys(&sink).into_iter().map(|key| (key, None)));
            for (_, notification) in kept.waiting {
                for heir in self.heirs(&notification) {
                    heir.lock().queue.push(notification.clone(), now);
                }
            }
            for (_, mut undelivered) in kept.undelivered {
                undelivered.reason =
                    format!("to {sink:?}, which is no more: {}", undelivered.reason);
                if let Some(heir) = self.heirs(&undelivered.notification).first() {
                    heir.lock().queue.keep_undelivered(undelivered);
                }
            }
        }
        for outbox in self.outboxes.values() {
            changes.extend(outbox.lock().queue.take_changes());
        }
        self.book.note(changes);
        self.book.flush();
    }

    /// Who hears now of the group of a notification: as its route says, or the route that takes its most urgent alert.
    fn heirs(&self, notification: &Notification) -> Vec<&Arc<Outbox>> {
        let state = self.state.lock();
        let group = state.groups.get(&notification.dedupe_key);
        let own = group
            .and_then(|group| self.config.all_routes().find(|route| route.name == group.route));
        let taking = || notification.alerts.first().map(|alert| self.config.route_of(alert));
        let route = own.or_else(taking).unwrap_or(&self.config.default_route);
        route.sinks.iter().filter_map(|name| self.outboxes.get(name)).collect()
    }

    /// Takes an alert that fires or is over. The same alert again, by its labels, is the same incident; one that is over and unknown is
    /// nothing new. What a route tells without waiting is on its way when this returns.
    ///
    /// With a store, what this changes is kept when it returns, unless the store fails ([`store_fault`](Self::store_fault)): then it is as
    /// soon as the store takes it. The number of raises, and the summary of a raise that says nothing else that is new, are not kept.
    ///
    /// # Errors
    /// If an alert has more than 64 labels, or a firing one no runbook URL, or the manager holds as many incidents as it may: of P0 twice
    /// [`max_incidents`](AlertConfig::max_incidents). Or if another manager has taken over the store.
    pub fn update(&self, alert: Alert) -> Result<()> {
        self.update_all([alert])
    }

    /// Takes several alerts, such as what a [`RuleEngine`](crate::RuleEngine) says has changed, and keeps them together. Of one alert the later
    /// call counts: where several threads judge one subject, they hand on what changed [in turn](crate::RuleEngine::in_turn).
    ///
    /// # Errors
    /// As [`update`](Self::update) for the first that is refused; those after it are taken all the same.
    pub fn update_all(&self, alerts: impl IntoIterator<Item = Alert>) -> Result<()> {
        self.check_epoch()?;
        let moment = self.timeline.moment();
        let mut state = self.state.lock();
        let (outgoing, first_fault) = state.update_all(&self.config, alerts, moment);
        self.commit(state, outgoing, moment);
        first_fault.and_then(|()| self.check_epoch())
    }

    /// Lets time pass: ends silences, escalates, and tells what is due. It waits for no sink.
    pub fn tick(&self) {
        if self.book.is_superseded() {
            return;
        }
        let moment = self.timeline.moment();
        let mut state = self.state.lock();
        let outgoing = state.advance(&self.config, &self.validity, moment);
        self.commit(state, outgoing, moment);
        self.outboxes.values().for_each(Outbox::wake);
        if self.book.is_behind() {
            self.write_all();
        }
    }

    /// Calls [`tick`](Self::tick) at this interval, on a thread that ends when the returned guard is dropped.
    ///
    /// # Errors
    /// If the interval is 0, or no thread can be started.
    pub fn ticker(self: &Arc<Self>, interval: Duration) -> Result<Ticker> {
        let manager = Arc::clone(self);
        Ticker::start("mlp-alert-ticker", interval, move || manager.tick())
    }

    /// Waits until no sink has anything that could be delivered now; what is to be tried again later does not count. False if that takes
    /// longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let deadline = deadline.unwrap_or_else(|| Instant::now() + LONGEST_FLUSH);
        // Every sink is waited for, whatever the others do.
        let late = self.outboxes.values().filter(|outbox| !outbox.flush(deadline));
        late.count() == 0
    }

    /// Mutes the alerts that a matcher picks. They stay visible as suppressed, and are told at once if they still fire when it ends.
    ///
    /// # Errors
    /// If the matcher picks every alert, by naming nothing or all four severities: that would hide faults nobody has thought of. If there are
    /// as many silences as there may be.
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
        self.check_epoch()?;
        let moment = self.timeline.moment();
        let silence = Silence {
            id: SilenceId(0),
            matcher,
            by: cut(by.into()),
            comment: cut(comment.into()),
            starts_at: moment.wall,
            ends_at: moment.wall.after(span),
            until: moment.now.saturating_add(span),
        };
        let mut state = self.state.lock();
        let id = state.silence(&self.config, silence, moment.now)?;
        self.commit(state, Vec::new(), moment);
        Ok(id)
    }

    /// Ends a silence before its time; the next [`tick`](Self::tick) tells what still fires.
    ///
    /// # Errors
    /// If there is no such silence.
    pub fn end_silence(&self, id: SilenceId) -> Result<()> {
        self.check_epoch()?;
        let mut state = self.state.lock();
        if state.silences.remove(&id).is_none() {
            return Err(MonitorError::Unknown { what: "silence", name: id.to_string() });
        }
        self.commit(state, Vec::new(), self.timeline.moment());
        Ok(())
    }

    /// Says that somebody takes care of an incident: it is not repeated and does not escalate, and its resolve is still told.
    ///
    /// # Errors
    /// If no incident of this fingerprint fires.
    pub fn acknowledge(&self, fingerprint: Fingerprint, by: impl Into<String>) -> Result<()> {
        self.check_epoch()?;
        let moment = self.timeline.moment();
        let mut state = self.state.lock();
        state.acknowledge(fingerprint, Acknowledgement { by: cut(by.into()), at: moment.wall })?;
        self.commit(state, Vec::new(), moment);
        Ok(())
    }

    /// Everything that fires, or whose end is yet to be told, in order of the fingerprints.
    #[must_use]
    pub fn incidents(&self) -> Vec<Incident> {
        self.state.lock().incidents.values().cloned().collect()
    }

    pub(crate) fn each_incident(&self, look: impl FnMut(&Incident)) {
        self.state.lock().incidents.values().for_each(look);
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
        self.outboxes.get(sink).map(|outbox| outbox.undelivered()).unwrap_or_default()
    }

    /// Why the store lacks something, if it does: it failed and will be tried again at the next tick, or another manager has it.
    #[must_use]
    pub fn store_fault(&self) -> Option<String> {
        self.book.fault()
    }

    fn check_epoch(&self) -> Result<()> {
        match self.book.fault().filter(|_| self.book.is_superseded()) {
            Some(reason) => Err(StoreError::conflict("alert manager", "state", reason).into()),
            None => Ok(()),
        }
    }

    /// Queues what is to be told, and keeps it together with what has changed, before any sink is called. The locks are gone while the store
    /// is written.
    fn commit(&self, mut state: MutexGuard<'_, State>, outgoing: Vec<Outgoing>, moment: Moment) {
        let mut changes = match self.book.is_kept() {
            true => state.take_rows(Scope::Changed, moment),
            false => {
                state.forget_changes();
                Vec::new()
            }
        };
        let told: BTreeSet<&String> = outgoing.iter().flat_map(|o| &o.sinks).collect();
        let mut desks: BTreeMap<&String, _> = self
            .outboxes
            .iter()
            .filter(|(name, _)| told.contains(name))
            .map(|(name, outbox)| (name, outbox.lock()))
            .collect();
        for Outgoing { sinks, notification } in &outgoing {
            for sink in sinks {
                if let Some(desk) = desks.get_mut(sink) {
                    desk.queue.push(notification.clone(), moment.now);
                }
            }
        }
        desks.values_mut().for_each(|desk| changes.extend(desk.queue.take_changes()));
        self.book.note(changes);
        drop(desks);
        drop(state);
        self.book.flush();
        told.into_iter().filter_map(|name| self.outboxes.get(name)).for_each(Outbox::wake);
    }

    /// Writes everything, for a store that lacks something.
    fn write_all(&self) {
        self.book.replace(|| {
            let mut state = self.state.lock();
            let mut desks: Vec<_> = self.outboxes.values().map(|outbox| outbox.lock()).collect();
            let changes = state.take_rows(Scope::All, self.timeline.moment());
            let mut rows: AlertRows =
                changes.into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
            for desk in &mut desks {
                rows.extend(desk.queue.rows());
                drop(desk.queue.take_changes());
            }
            (rows, (state, desks))
        });
    }
}

/// Waits a few seconds for what can be delivered at once. Sinks that hang are left to themselves; with a store nothing is lost.
impl Drop for AlertManager {
    fn drop(&mut self) {
        self.flush(FAREWELL);
        self.outboxes.values().for_each(|outbox| outbox.close());
    }
}

fn named<N: Into<String>>(
    sinks: impl IntoIterator<Item = (N, Arc<dyn AlertSink>)>,
) -> Result<BTreeMap<String, Arc<dyn AlertSink>>> {
    let mut by_name = BTreeMap::new();
    for (name, sink) in sinks {
        let name = name.into();
        if by_name.insert(name.clone(), sink).is_some() {
            return Err(MonitorError::Duplicate { what: "sinks", name });
        }
    }
    Ok(by_name)
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod muting;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod state_machine;
#[cfg(test)]
mod storms;
#[cfg(test)]
mod tests;
