//! What one sink has yet to hear: kept in order, merged, held back, tried again. No locks, no threads.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::time::Duration;

use mlp_core::{
    Alert, AlertStatus, Labels, Notification, Severity, SinkError, StoreError, Timestamp, random,
};
use serde::{Deserialize, Serialize};

use super::RateLimit;
use super::book::{read, write};
use super::config::SinkSettings;
use super::state::{Moment, notify};
use super::store::{AlertChange, AlertRows};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// The longest that a page waits for a sink that fails, unless the receiver asks for more.
const LONGEST_RETRY_OF_A_PAGE: Duration = Duration::from_secs(30);
/// The longest that a receiver may ask to wait: beyond that its hint is a mistake.
const LONGEST_HINT: Duration = Duration::from_secs(3_600);
/// So many failures in a row open the circuit.
const CIRCUIT: u32 = 5;
/// How many notifications that could not be delivered are kept for people to look at; P0 has as many places of its own.
const MAX_UNDELIVERED: usize = 100;

/// A notification that a sink will never get, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The notification.
    pub notification: Notification,
    /// What the sink said, or that the queue was full.
    pub reason: String,
}

/// Whether a sink is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// It is called.
    #[default]
    Closed,
    /// Five deliveries in a row have failed: it is left alone until its next trial.
    Open,
    /// The next delivery is a trial: if it fails, the circuit opens again.
    HalfOpen,
}

/// How one sink is doing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// How many notifications wait, the one under way included.
    pub waiting: usize,
    /// How many it has taken since the manager was made.
    pub delivered: u64,
    /// How many deliveries failed and were to be tried again.
    pub failed: u64,
    /// How many notifications it will never get: refused, or pushed out of a full queue.
    pub undelivered: u64,
    /// How many deliveries have failed since the last that did not.
    pub failures_in_a_row: u32,
    /// Whether it is called.
    pub circuit: Circuit,
    /// How many calls were given up after their time, and have not come back.
    pub stuck: usize,
    /// Whether notifications are held back by the sink's rate limit.
    pub held_back: bool,
    /// What it said last when a delivery failed.
    pub last_error: Option<String>,
}

/// A notification in the queue, under the number that it has in the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    number: u64,
    notification: Notification,
}

/// What is to be delivered next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parcel {
    Waiting(Waiting),
    /// Tells that others are held back, or are no longer.
    Summary(Notification),
}

impl Parcel {
    pub(crate) fn notification(&self) -> &Notification {
        match self {
            Self::Waiting(waiting) => &waiting.notification,
            Self::Summary(notification) => notification,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    name: String,
    limit: usize,
    settings: SinkSettings,
    waiting: VecDeque<Waiting>,
    under_way: Option<(Parcel, Duration)>,
    retry_at: Duration,
    /// Until when the receiver asked to be left alone.
    hint_until: Duration,
    /// When the latest notifications under the rate limit went out.
    sent: VecDeque<Duration>,
    /// What receivers were told of notifications that are held back, while any is.
    summary: Option<Notification>,
    status: SinkStatus,
    undelivered: VecDeque<(u64, Undelivered)>,
    last_number: u64,
    /// What the store is yet to hear; none without a store.
    changes: Option<Vec<AlertChange>>,
}

/// What [`Queue::take`] would take.
enum Next {
    Waiting(usize),
    Summary(AlertStatus),
}

/// What the keys of rows begin with: a number of 20 digits, a slash and the name of the sink follow.
const WAITING: &str = "waiting/";
const UNDELIVERED: &str = "undelivered/";

impl Queue {
    /// An empty queue; `recorded` if a store is to hear of its changes.
    pub(crate) fn new(name: String, limit: usize, settings: SinkSettings, recorded: bool) -> Self {
        Self {
            name,
            limit,
            settings,
            waiting: VecDeque::new(),
            under_way: None,
            retry_at: Duration::ZERO,
            hint_until: Duration::ZERO,
            sent: VecDeque::new(),
            summary: None,
            status: SinkStatus::default(),
            undelivered: VecDeque::new(),
            last_number: 0,
            changes: recorded.then(Vec::new),
        }
    }

    pub(crate) fn status(&self, now: Duration) -> SinkStatus {
        let circuit = match self.status.failures_in_a_row {
            0..CIRCUIT => Circuit::Closed,
            _ if now < self.retry_at => Circuit::Open,
            _ => Circuit::HalfOpen,
        };
        SinkStatus {
            waiting: self.parcels().count(),
            circuit,
            held_back: self.summary.is_some(),
            ..self.status.clone()
        }
    }

    pub(crate) fn undelivered(&self) -> Vec<Undelivered> {
        self.undelivered.iter().map(|(_, undelivered)| undelivered.clone()).collect()
    }

    /// Takes a notification in.
    pub(crate) fn push(&mut self, notification: Notification, now: Duration) {
        if notification.severity == Severity::P0 {
            let soon = now.saturating_add(LONGEST_RETRY_OF_A_PAGE).max(self.hint_until);
            self.retry_at = self.retry_at.min(soon);
        }
        let Some(notification) = self.merge(notification) else { return };
        if self.waiting.len() >= self.limit {
            self.make_room();
        }
        self.last_number += 1;
        let waiting = Waiting { number: self.last_number, notification };
        self.record_waiting(&waiting);
        self.waiting.push_back(waiting);
    }

    /// Merges a notification into the last one of its group that waits, if that loses neither the first firing of an alert nor how it ended.
    fn merge(&mut self, notification: Notification) -> Option<Notification> {
        let same_group = |other: &Notification| other.dedupe_key == notification.dedupe_key;
        let ends_unheard = {
            let mut earlier: Vec<&Notification> =
                self.waiting.iter().map(|w| &w.notification).filter(|n| same_group(n)).collect();
            let last = earlier.pop();
            let fires = |n: &Notification, labels: &Labels| {
                n.alerts.iter().any(|a| a.labels == *labels && a.status == AlertStatus::Firing)
            };
            let mut ended =
                notification.alerts.iter().filter(|a| a.status == AlertStatus::Resolved);
            ended.any(|a| {
                last.is_some_and(|last| fires(last, &a.labels))
                    && !earlier.iter().any(|n| fires(n, &a.labels))
            })
        };
        if ends_unheard {
            return Some(notification);
        }
        let Some(last) = self.waiting.iter_mut().rev().find(|w| same_group(&w.notification)) else {
            return Some(notification);
        };
        let before = last.notification.alerts.drain(..);
        let mut alerts: BTreeMap<Labels, Alert> =
            before.map(|alert| (alert.labels.clone(), alert)).collect();
        alerts.extend(notification.alerts.into_iter().map(|alert| (alert.labels.clone(), alert)));
        let (key, labels) = (&notification.dedupe_key, &notification.group_labels);
        if let Some(merged) = notify(key, labels, alerts.into_values().collect()) {
            last.notification = merged;
        }
        let merged = last.clone();
        self.record_waiting(&merged);
        None
    }

    /// Gives up the oldest of the least urgent, unless all that waits is P0.
    fn make_room(&mut self) {
        let severities = self.waiting.iter().map(|w| w.notification.severity).enumerate();
        let least = severities.rev().max_by_key(|(_, severity)| *severity);
        let Some((index, _)) = least.filter(|(_, severity)| *severity > Severity::P0) else {
            return;
        };
        if let Some(waiting) = self.waiting.remove(index) {
            self.give_up(waiting, "the queue of the sink is full".to_owned());
        }
    }

    fn give_up(&mut self, Waiting { number, notification }: Waiting, reason: String) {
        self.forget_waiting(number);
        self.status.undelivered += 1;
        self.last_number += 1;
        let undelivered = Undelivered { notification, reason };
        self.change(UNDELIVERED, self.last_number, Some(&undelivered));
        self.undelivered.push_back((self.last_number, undelivered));
        let page = |u: &Undelivered| u.notification.severity == Severity::P0;
        let pages = self.undelivered.iter().filter(|(_, u)| page(u)).count();
        let crowded_by_pages = pages > MAX_UNDELIVERED;
        if crowded_by_pages || self.undelivered.len() - pages > MAX_UNDELIVERED {
            let oldest = self.undelivered.iter().position(|(_, u)| page(u) == crowded_by_pages);
            if let Some((number, _)) = oldest.and_then(|index| self.undelivered.remove(index)) {
                self.change(UNDELIVERED, number, None::<&Undelivered>);
            }
        }
    }

    /// What would be delivered now: the most urgent first, and of a group the first.
    fn next(&self, now: Duration) -> Option<Next> {
        if self.under_way.is_some() || now < self.retry_at {
            return None;
        }
        let allowed = self.allowed(now);
        let held = |w: &Waiting| !allowed && w.notification.severity > Severity::P0;
        let waiting = self.waiting.iter().enumerate();
        let urgent = waiting.filter(|(_, w)| !held(w)).min_by_key(|(_, w)| w.notification.severity);
        if let Some((_, urgent)) = urgent {
            let key = &urgent.notification.dedupe_key;
            let first = self.waiting.iter().position(|w| w.notification.dedupe_key == *key)?;
            return Some(Next::Waiting(first));
        }
        match (self.waiting.is_empty(), &self.summary) {
            (false, None) => Some(Next::Summary(AlertStatus::Firing)),
            (true, Some(_)) => Some(Next::Summary(AlertStatus::Resolved)),
            _ => None,
        }
    }

    pub(crate) fn is_ready(&self, now: Duration) -> bool {
        self.next(now).is_some()
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the rate limit lets another notification pass.
    fn allowed(&self, now: Duration) -> bool {
        let Some(RateLimit { notifications, per }) = self.settings.rate_limit else { return true };
        let recent = self.sent.iter().filter(|sent| now < sent.saturating_add(per)).count();
        recent < usize::try_from(notifications).unwrap_or(usize::MAX)
    }

    pub(crate) fn take(&mut self, moment: Moment) -> Option<Parcel> {
        let now = moment.now;
        let parcel = match self.next(now)? {
            Next::Waiting(index) => {
                if let Some(limit) = self.settings.rate_limit {
                    self.sent.retain(|sent| now < sent.saturating_add(limit.per));
                    self.sent.push_back(now);
                }
                Parcel::Waiting(self.waiting.remove(index)?)
            }
            Next::Summary(AlertStatus::Firing) => Parcel::Summary(self.held_back(moment.wall)?),
            Next::Summary(AlertStatus::Resolved) => Parcel::Summary(self.all_told(moment.wall)?),
        };
        self.under_way = Some((parcel.clone(), now));
        Some(parcel)
    }

    /// Says how much is held back.
    fn held_back(&self, wall: Timestamp) -> Option<Notification> {
        let RateLimit { notifications, per } = self.settings.rate_limit?;
        let alerts = || self.waiting.iter().flat_map(|w| &w.notification.alerts);
        let urgent = alerts().min_by_key(|alert| alert.severity)?;
        let labels = [("alertname", "NotificationsHeldBack"), ("sink", &self.name)];
        let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (waiting, about) = (self.waiting.len(), alerts().count());
        let alert = Alert {
            labels: labels.clone(),
            status: AlertStatus::Firing,
            severity: urgent.severity,
            summary: format!(
                "{waiting} notifications of {about} alerts wait, for more than {notifications} in {per:?} are held back. \
                 The most urgent is {}: {}",
                urgent.severity, urgent.summary
            ),
            runbook_url: urgent.runbook_url.clone(),
            starts_at: wall,
            ends_at: None,
        };
        notify(&format!("held back from {}", self.name), &labels, vec![alert])
    }

    /// Says that nothing is held back any more.
    fn all_told(&self, wall: Timestamp) -> Option<Notification> {
        let Notification { dedupe_key, group_labels, alerts, .. } = self.summary.clone()?;
        let resolve = |alert: Alert| Alert {
            status: AlertStatus::Resolved,
            summary: "everything that was held back has been told".to_owned(),
            ends_at: Some(wall),
            ..alert
        };
        notify(&dedupe_key, &group_labels, alerts.into_iter().map(resolve).collect())
    }

    pub(crate) fn settle(&mut self, result: Result<(), SinkError>, now: Duration) {
        let Some((parcel, _)) = self.under_way.take() else { return };
        let error = match result {
            Ok(()) => {
                self.status.failures_in_a_row = 0;
                self.status.delivered += 1;
                match parcel {
                    Parcel::Waiting(waiting) => self.forget_waiting(waiting.number),
                    Parcel::Summary(told) => self.told(told),
                }
                return;
            }
            Err(SinkError::Retry { after, source }) => {
                self.status.failed += 1;
                self.status.failures_in_a_row = self.status.failures_in_a_row.saturating_add(1);
                if let Parcel::Waiting(waiting) = parcel {
                    self.waiting.push_front(waiting);
                }
                self.hint_until = now.saturating_add(after.unwrap_or_default().min(LONGEST_HINT));
                let pages = self.waiting.iter().any(|w| w.notification.severity == Severity::P0);
                let longest = if pages { LONGEST_RETRY_OF_A_PAGE } else { LONGEST_RETRY };
                let wait = backoff(self.status.failures_in_a_row, &self.name).min(longest);
                self.retry_at = now.saturating_add(wait).max(self.hint_until);
                chain(source.as_ref())
            }
            Err(error) => {
                self.status.failures_in_a_row = 0;
                let reason = error.to_string();
                match parcel {
                    Parcel::Waiting(waiting) => self.give_up(waiting, reason.clone()),
                    // It would be refused again and again.
                    Parcel::Summary(told) => self.told(told),
                }
                reason
            }
        };
        self.status.last_error = Some(error.chars().take(1_000).collect());
    }

    fn told(&mut self, summary: Notification) {
        self.summary = Some(summary).filter(|told| told.status == AlertStatus::Firing);
    }

    /// Whether the call under way has had its time.
    pub(crate) fn is_overdue(&self, now: Duration) -> bool {
        let due = |since: &Duration| since.saturating_add(self.settings.timeout) <= now;
        self.under_way.as_ref().is_some_and(|(_, since)| due(since))
    }

    /// Gives up on the call under way; what it was to deliver will be tried again.
    pub(crate) fn abandon(&mut self, now: Duration) {
        self.status.stuck += 1;
        let text = format!("no answer within {:?}", self.settings.timeout);
        self.settle(Err(SinkError::Retry { after: None, source: text.into() }), now);
    }

    /// A call that was given up has come back.
    pub(crate) fn came_back(&mut self) {
        self.status.stuck = self.status.stuck.saturating_sub(1);
    }

    fn parcels(&self) -> impl Iterator<Item = &Waiting> {
        let under_way = self.under_way.iter().filter_map(|(parcel, _)| match parcel {
            Parcel::Waiting(waiting) => Some(waiting),
            Parcel::Summary(_) => None,
        });
        under_way.chain(&self.waiting)
    }

    fn record_waiting(&mut self, waiting: &Waiting) {
        self.change(WAITING, waiting.number, Some(&waiting.notification));
    }

    fn forget_waiting(&mut self, number: u64) {
        self.change(WAITING, number, None::<&Notification>);
    }

    fn change(&mut self, kind: &str, number: u64, value: Option<&impl Serialize>) {
        let key = self.key(kind, number);
        self.changes.iter_mut().for_each(|changes| changes.push((key.clone(), value.map(write))));
    }

    fn key(&self, kind: &str, number: u64) -> String {
        key(kind, number, &self.name)
    }

    /// What the store must hear: all that changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<AlertChange> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Everything as it is kept.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (String, String)> {
        let waiting = self.parcels().map(|w| (self.key(WAITING, w.number), write(&w.notification)));
        let undelivered =
            self.undelivered.iter().map(|(number, u)| (self.key(UNDELIVERED, *number), write(u)));
        waiting.chain(undelivered)
    }

    /// Takes back what was kept under this sink's name.
    pub(crate) fn load(&mut self, kept: Kept) {
        self.waiting.extend(
            kept.waiting.into_iter().map(|(number, notification)| Waiting { number, notification }),
        );
        self.undelivered.extend(kept.undelivered);
        self.status.undelivered = self.undelivered.len() as u64;
        let numbers = self.waiting.iter().map(|w| w.number);
        let numbers = numbers.chain(self.undelivered.iter().map(|(number, _)| *number));
        self.last_number = numbers.max().unwrap_or(0);
    }
}

fn key(kind: &str, number: u64, sink: &str) -> String {
    format!("{kind}{number:020}/{sink}")
}

/// The key under which a notification waits for a sink.
pub(crate) fn waiting_key(sink: &str, number: u64) -> String {
    key(WAITING, number, sink)
}

/// What was kept of one sink, in the order of the numbers.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) waiting: Vec<(u64, Notification)>,
    undelivered: Vec<(u64, Undelivered)>,
}

impl Kept {
    /// What was kept of every sink.
    pub(crate) fn load(rows: &AlertRows) -> Result<BTreeMap<String, Self>, StoreError> {
        let mut sinks: BTreeMap<String, Self> = BTreeMap::new();
        for (key, number, sink, text) in numbered(rows, WAITING) {
            sinks.entry(sink).or_default().waiting.push((number, read(key, text)?));
        }
        for (key, number, sink, text) in numbered(rows, UNDELIVERED) {
            sinks.entry(sink).or_default().undelivered.push((number, read(key, text)?));
        }
        Ok(sinks)
    }
}

/// The rows of a kind: key, number, sink and text. A key that is not written like one of ours is not ours.
fn numbered<'a>(
    rows: &'a AlertRows,
    kind: &'static str,
) -> impl Iterator<Item = (&'a str, u64, String, &'a str)> {
    rows.range(kind.to_owned()..).map_while(move |(key, text)| {
        let (number, sink) = key.strip_prefix(kind)?.split_once('/')?;
        Some((key.as_str(), number.parse().ok()?, sink.to_owned(), text.as_str()))
    })
}

/// An error and what is behind it.
fn chain(error: &(dyn Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// 1 s, doubled with each failure up to 5 min, of which between half and all is waited, so that sinks do not try in step.
fn backoff(failures: u32, name: &str) -> Duration {
    let full = FIRST_RETRY
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)))
        .min(LONGEST_RETRY);
    let seed =
        name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    full.mul_f64(0.5 + random::uniform(&mut random::stream(seed, u64::from(failures))) / 2.0)
}
