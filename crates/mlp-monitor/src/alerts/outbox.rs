//! What one sink has yet to hear: kept in order, merged, tried again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{
    AlertSink, AlertStatus, Labels, Notification, Severity, SinkError, catch_panic, random,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::state::notify;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// The longest that a receiver may ask to wait: beyond that its hint is a mistake.
const LONGEST_HINT: Duration = Duration::from_secs(3_600);
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

/// How one sink is doing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// How many notifications wait.
    pub waiting: usize,
    /// How many it has taken.
    pub delivered: u64,
    /// How many deliveries failed and were to be tried again.
    pub failed: u64,
    /// How many notifications it will never get: refused, or pushed out of a full queue.
    pub undelivered: u64,
    /// How many deliveries have failed since the last that did not.
    pub failures_in_a_row: u32,
    /// What it said last when a delivery failed.
    pub last_error: Option<String>,
}

/// The queue of one sink.
#[derive(Debug)]
pub(crate) struct Outbox {
    name: String,
    sink: Arc<dyn AlertSink>,
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Notification>,
    flight: Flight,
    retry_at: Duration,
    status: SinkStatus,
    undelivered: VecDeque<Undelivered>,
}

#[derive(Debug, Default, PartialEq)]
enum Flight {
    #[default]
    Landed,
    InTheAir,
}

impl Outbox {
    pub(crate) fn new(name: String, sink: Arc<dyn AlertSink>, limit: usize) -> Self {
        Self { name, sink, limit, queue: Mutex::default() }
    }

    pub(crate) fn push(&self, notification: Notification) {
        let mut queue = self.queue.lock();
        let Some(notification) = queue.merge(notification) else { return };
        if queue.waiting.len() >= self.limit {
            queue.make_room();
        }
        queue.waiting.push_back(notification);
    }

    pub(crate) fn status(&self) -> SinkStatus {
        let queue = self.queue.lock();
        SinkStatus { waiting: queue.waiting.len(), ..queue.status.clone() }
    }

    pub(crate) fn undelivered(&self) -> Vec<Undelivered> {
        self.queue.lock().undelivered.iter().cloned().collect()
    }

    /// Delivers what waits, the most urgent first, until the queue is empty or a delivery fails. No lock is held meanwhile.
    pub(crate) fn deliver(&self, now: impl Fn() -> Duration) {
        loop {
            let Some(notification) = self.queue.lock().take(now()) else { return };
            let result =
                catch_panic(|| self.sink.deliver(&notification)).unwrap_or_else(|panicked| {
                    Err(SinkError::Retry { after: None, source: Box::new(panicked) })
                });
            self.queue.lock().settle(notification, result, now(), &self.name);
        }
    }
}

impl Queue {
    /// Merges a notification into the last one of its group that waits, if that loses neither the first firing of an alert nor how it ended.
    fn merge(&mut self, notification: Notification) -> Option<Notification> {
        let same_group = |other: &&mut Notification| other.dedupe_key == notification.dedupe_key;
        let ends_unheard = {
            let mut earlier: Vec<_> =
                self.waiting.iter().filter(|n| n.dedupe_key == notification.dedupe_key).collect();
            let last = earlier.pop();
            let fires = |n: &Notification, labels: &Labels| {
                n.alerts.iter().any(|a| a.labels == *labels && a.status == AlertStatus::Firing)
            };
            let ended = notification.alerts.iter().filter(|a| a.status == AlertStatus::Resolved);
            ended.into_iter().any(|a| {
                last.is_some_and(|last| fires(last, &a.labels))
                    && !earlier.iter().any(|n| fires(n, &a.labels))
            })
        };
        if ends_unheard {
            return Some(notification);
        }
        let Some(last) = self.waiting.iter_mut().rev().find(same_group) else {
            return Some(notification);
        };
        let mut alerts: BTreeMap<Labels, _> =
            last.alerts.drain(..).map(|alert| (alert.labels.clone(), alert)).collect();
        alerts.extend(notification.alerts.into_iter().map(|alert| (alert.labels.clone(), alert)));
        if let Some(merged) = notify(
            &notification.dedupe_key,
            &notification.group_labels,
            alerts.into_values().collect(),
        ) {
            *last = merged;
        }
        None
    }

    /// Gives up the oldest of the least urgent, unless all that waits is P0.
    fn make_room(&mut self) {
        let least = self.waiting.iter().enumerate().rev().max_by_key(|(_, n)| n.severity);
        let Some((index, _)) = least.filter(|(_, n)| n.severity > Severity::P0) else { return };
        if let Some(notification) = self.waiting.remove(index) {
            self.give_up(notification, "the queue of the sink is full".to_owned());
        }
    }

    fn give_up(&mut self, notification: Notification, reason: String) {
        self.status.undelivered += 1;
        self.undelivered.push_back(Undelivered { notification, reason });
        let page = |u: &Undelivered| u.notification.severity == Severity::P0;
        let pages = self.undelivered.iter().filter(|u| page(u)).count();
        let crowded_by_pages = pages > MAX_UNDELIVERED;
        if crowded_by_pages || self.undelivered.len() - pages > MAX_UNDELIVERED {
            let oldest = self.undelivered.iter().position(|u| page(u) == crowded_by_pages);
            oldest.and_then(|index| self.undelivered.remove(index));
        }
    }

    fn take(&mut self, now: Duration) -> Option<Notification> {
        if self.flight == Flight::InTheAir || now < self.retry_at {
            return None;
        }
        let (index, _) = self.waiting.iter().enumerate().min_by_key(|(_, n)| n.severity)?;
        let first =
            self.waiting.iter().position(|n| n.dedupe_key == self.waiting[index].dedupe_key);
        let notification = self.waiting.remove(first.unwrap_or(index))?;
        self.flight = Flight::InTheAir;
        Some(notification)
    }

    fn settle(
        &mut self,
        notification: Notification,
        result: Result<(), SinkError>,
        now: Duration,
        name: &str,
    ) {
        self.flight = Flight::Landed;
        let error = match result {
            Ok(()) => {
                self.status.delivered += 1;
                self.status.failures_in_a_row = 0;
                return;
            }
            Err(SinkError::Retry { after, source }) => {
                self.status.failed += 1;
                self.status.failures_in_a_row = self.status.failures_in_a_row.saturating_add(1);
                let wait = backoff(self.status.failures_in_a_row, name);
                let hint = after.unwrap_or_default().min(LONGEST_HINT);
                self.retry_at = now.saturating_add(wait.max(hint));
                self.waiting.push_front(notification);
                source.to_string()
            }
            Err(error) => {
                self.status.failures_in_a_row = 0;
                let reason = error.to_string();
                self.give_up(notification, reason.clone());
                reason
            }
        };
        self.status.last_error = Some(error.chars().take(1_000).collect());
    }
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
