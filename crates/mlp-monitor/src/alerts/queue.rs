//! What one sink has yet to hear: kept in order, merged, held back, tried again. No locks, no threads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mlp_core::{Alert, AlertStatus, Labels, Notification, Severity, Timestamp, random};
use serde::Serialize;

use super::book::write;
use super::config::SinkSettings;
use super::kept::{HELD_BACK, Kept, UNDELIVERED, WAITING, key};
use super::message::message;
use super::state::Moment;
use super::store::AlertChange;
use super::{Circuit, RateLimit, SinkStatus, Undelivered};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// The longest that a page waits for a sink that fails, unless the receiver asks for more.
const LONGEST_RETRY_OF_A_PAGE: Duration = Duration::from_secs(30);
/// The longest that a receiver may ask to wait: beyond that its hint is a mistake.
const LONGEST_HINT: Duration = Duration::from_secs(3_600);
/// So many failures in a row are shown as an open circuit.
const CIRCUIT: u32 = 5;
/// How many notifications that could not be delivered are kept for people to look at; P0 has as many places of its own.
const MAX_UNDELIVERED: usize = 100;

/// Why a delivery failed, in words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    /// It may succeed later.
    Later { after: Option<Duration>, reason: String },
    /// It never will.
    Never(String),
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
    /// Of the jitter.
    seed: u64,
    waiting: VecDeque<Waiting>,
    under_way: Option<(Parcel, Duration)>,
    retry_at: Duration,
    /// Until when the receiver asked to be left alone.
    hint_until: Duration,
    /// When the latest notifications under the rate limit were taken.
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

impl Queue {
    /// An empty queue.
    pub(crate) fn new(name: String, limit: usize, settings: SinkSettings, seed: u64) -> Self {
        let seed = name
            .bytes()
            .fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self {
            name,
            limit,
            settings,
            seed,
            waiting: VecDeque::new(),
            under_way: None,
            retry_at: Duration::ZERO,
            hint_until: Duration::ZERO,
            sent: VecDeque::new(),
            summary: None,
            status: SinkStatus::default(),
            undelivered: VecDeque::new(),
            last_number: 0,
            changes: None,
        }
    }

    /// Records from now on what a store must hear.
    pub(crate) fn record_changes(&mut self) {
        self.changes.get_or_insert_default();
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
        self.last_number += 1;
        let waiting = Waiting { number: self.last_number, notification };
        self.record_waiting(&waiting);
        self.waiting.push_back(waiting);
        if self.waiting.len() > self.limit {
            self.make_room();
        }
    }

    /// Merges a notification into the last one of its group that waits, if that loses neither the first firing of an alert nor how it ended.
    fn merge(&mut self, notification: Notification) -> Option<Notification> {
        let same_group = |w: &&Waiting| w.notification.dedupe_key == notification.dedupe_key;
        let mut earlier: Vec<&Waiting> = self.waiting.iter().filter(same_group).collect();
        let Some(last) = earlier.pop() else { return Some(notification) };
        let fire = |n: &Waiting| -> BTreeSet<Labels> {
            let firing = n.notification.alerts.iter().filter(|a| a.status == AlertStatus::Firing);
            firing.map(|alert| alert.labels.clone()).collect()
        };
        let ended: Vec<&Alert> =
            notification.alerts.iter().filter(|a| a.status == AlertStatus::Resolved).collect();
        if !ended.is_empty() {
            let first_heard_now = fire(last);
            let heard: BTreeSet<Labels> = earlier.into_iter().flat_map(fire).collect();
            let unheard =
                |a: &&Alert| first_heard_now.contains(&a.labels) && !heard.contains(&a.labels);
            if ended.into_iter().any(|a| unheard(&a)) {
                return Some(notification);
            }
        }
        let number = last.number;
        let last = self.waiting.iter_mut().find(|w| w.number == number)?;
        let before = last.notification.alerts.drain(..);
        let mut alerts: BTreeMap<Labels, Alert> =
            before.map(|alert| (alert.labels.clone(), alert)).collect();
        alerts.extend(notification.alerts.into_iter().map(|alert| (alert.labels.clone(), alert)));
        let (key, labels) = (&notification.dedupe_key, &notification.group_labels);
        if let Some(merged) = message(key, labels, alerts.into_values().collect()) {
            last.notification = merged;
        }
        let merged = last.clone();
        self.record_waiting(&merged);
        self.status.merged += 1;
        None
    }

    /// Gives up all that waits of the least urgent group, of several the one that has waited longest: the newest may be the one. Nothing of a
    /// group with a page is given up, and no resolve is kept whose firing was not.
    fn make_room(&mut self) {
        let mut groups: BTreeMap<&str, (Severity, usize)> = BTreeMap::new();
        for (index, Waiting { notification, .. }) in self.waiting.iter().enumerate() {
            let group =
                groups.entry(&notification.dedupe_key).or_insert((notification.severity, index));
            group.0 = group.0.min(notification.severity);
        }
        let least = groups
            .into_iter()
            .max_by_key(|(_, (severity, first))| (*severity, std::cmp::Reverse(*first)));
        let Some((key, _)) = least.filter(|(_, (severity, _))| *severity > Severity::P0) else {
            return;
        };
        let key = key.to_owned();
        let (given_up, kept): (VecDeque<Waiting>, VecDeque<Waiting>) =
            self.waiting.drain(..).partition(|w| w.notification.dedupe_key == key);
        self.waiting = kept;
        for waiting in given_up {
            self.give_up(waiting, "the queue of the sink is full".to_owned());
        }
    }

    fn give_up(&mut self, Waiting { number, notification }: Waiting, reason: String) {
        self.forget_waiting(number);
        self.keep_undelivered(Undelivered { notification, reason });
    }

    /// Keeps for people to look at what a sink will never get.
    pub(crate) fn keep_undelivered(&mut self, undelivered: Undelivered) {
        self.status.undelivered += 1;
        self.last_number += 1;
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
        let parcel = match self.next(moment.now)? {
            Next::Waiting(index) => Parcel::Waiting(self.waiting.remove(index)?),
            Next::Summary(AlertStatus::Firing) => Parcel::Summary(self.held_back(moment.wall)?),
            Next::Summary(AlertStatus::Resolved) => Parcel::Summary(self.all_told(moment.wall)?),
        };
        self.under_way = Some((parcel.clone(), moment.now));
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
        message(&format!("held back from {}", self.name), &labels, vec![alert])
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
        message(&dedupe_key, &group_labels, alerts.into_iter().map(resolve).collect())
    }

    pub(crate) fn settle(&mut self, result: Result<(), Failure>, now: Duration) {
        let Some((parcel, _)) = self.under_way.take() else { return };
        let error = match result {
            Ok(()) => return self.delivered(parcel, now),
            Err(Failure::Later { after, reason }) => {
                self.status.failed += 1;
                self.status.failures_in_a_row = self.status.failures_in_a_row.saturating_add(1);
                if let Parcel::Waiting(waiting) = parcel {
                    self.waiting.push_front(waiting);
                }
                self.hint_until = now.saturating_add(after.unwrap_or_default().min(LONGEST_HINT));
                let pages = self.waiting.iter().any(|w| w.notification.severity == Severity::P0);
                let longest = if pages { LONGEST_RETRY_OF_A_PAGE } else { LONGEST_RETRY };
                let wait = backoff(self.status.failures_in_a_row, self.seed).min(longest);
                self.retry_at = now.saturating_add(wait).max(self.hint_until);
                reason
            }
            Err(Failure::Never(reason)) => {
                self.status.failures_in_a_row = 0;
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

    fn delivered(&mut self, parcel: Parcel, now: Duration) {
        self.status.failures_in_a_row = 0;
        self.status.delivered += 1;
        match parcel {
            Parcel::Waiting(waiting) => {
                self.forget_waiting(waiting.number);
                if let Some(limit) = self.settings.rate_limit {
                    self.sent.retain(|sent| now < sent.saturating_add(limit.per));
                    self.sent.push_back(now);
                }
            }
            Parcel::Summary(told) => self.told(told),
        }
    }

    fn told(&mut self, summary: Notification) {
        self.summary = Some(summary).filter(|told| told.status == AlertStatus::Firing);
        let summary = self.summary.clone();
        self.change(HELD_BACK, 0, summary.as_ref());
    }

    /// Whether the call under way has had its time.
    pub(crate) fn is_overdue(&self, now: Duration) -> bool {
        let due = |since: &Duration| since.saturating_add(self.settings.timeout) <= now;
        self.under_way.as_ref().is_some_and(|(_, since)| due(since))
    }

    /// Gives up on the call under way; what it was to deliver will be tried again.
    pub(crate) fn abandon(&mut self, now: Duration) {
        self.status.stuck += 1;
        let reason = format!("no answer within {:?}", self.settings.timeout);
        self.settle(Err(Failure::Later { after: None, reason }), now);
    }

    /// A call that was given up does not hang any more.
    pub(crate) fn no_longer_stuck(&mut self) {
        self.status.stuck = self.status.stuck.saturating_sub(1);
    }

    /// A call that was given up has come back. What it has delivered after all, and is as it was, need not be delivered again.
    pub(crate) fn came_back(&mut self, parcel: Parcel, result: Result<(), Failure>, now: Duration) {
        if result.is_err() {
            return;
        }
        if let Parcel::Waiting(late) = &parcel {
            let Some(index) = self.waiting.iter().position(|waiting| waiting == late) else {
                return;
            };
            self.waiting.remove(index);
        }
        self.delivered(parcel, now);
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
        if let Some(changes) = &mut self.changes {
            changes.push((key(kind, number, &self.name), value.map(write)));
        }
    }

    /// What the store must hear: all that changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<AlertChange> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Everything as it is kept.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (String, String)> {
        let row = |kind: &str, number: u64, text: String| (key(kind, number, &self.name), text);
        let waiting = self.parcels().map(move |w| row(WAITING, w.number, write(&w.notification)));
        let undelivered =
            self.undelivered.iter().map(move |(number, u)| row(UNDELIVERED, *number, write(u)));
        let held_back = self.summary.iter().map(move |told| row(HELD_BACK, 0, write(told)));
        waiting.chain(undelivered).chain(held_back)
    }

    /// Takes back what was kept under this sink's name.
    pub(crate) fn load(&mut self, kept: Kept) {
        self.waiting.extend(
            kept.waiting.into_iter().map(|(number, notification)| Waiting { number, notification }),
        );
        self.undelivered.extend(kept.undelivered);
        self.summary = kept.held_back;
        self.status.undelivered = self.undelivered.len() as u64;
        let numbers = self.waiting.iter().map(|w| w.number);
        let numbers = numbers.chain(self.undelivered.iter().map(|(number, _)| *number));
        self.last_number = numbers.max().unwrap_or(0);
    }
}

/// 1 s, doubled with each failure up to 5 min, of which between half and all is waited, so that sinks do not try in step.
fn backoff(failures: u32, seed: u64) -> Duration {
    let full = FIRST_RETRY
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)))
        .min(LONGEST_RETRY);
    full.mul_f64(0.5 + random::uniform(&mut random::stream(seed, u64::from(failures))) / 2.0)
}

#[cfg(test)]
mod tests;
