//! How a sink is doing, as people and dashboards see it.

use mlp_core::Notification;
use serde::{Deserialize, Serialize};

/// A notification that a sink will never get, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The notification.
    pub notification: Notification,
    /// What the sink said, or that the queue was full.
    pub reason: String,
}

/// Whether a sink is called, as far as its failures are concerned. It is left alone for longer after each: 1 s at first, 5 min at most, and
/// half a minute at most while a page waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// Fewer than five deliveries in a row have failed.
    #[default]
    Closed,
    /// Five or more deliveries in a row have failed, and it is left alone until its next trial.
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
    /// How many were merged into one of the same group that waited: it told both.
    pub merged: u64,
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
