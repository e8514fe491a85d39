//! Notifications kept in memory, for tests and for pages that show the latest ones.

use std::collections::VecDeque;

use mlp_core::{AlertSink, Notification, SinkError};
use parking_lot::Mutex;

/// Keeps the latest notifications: the last 1,000, unless told otherwise.
#[derive(Debug)]
pub struct MemorySink {
    kept: Mutex<VecDeque<Notification>>,
    limit: usize,
}

impl MemorySink {
    /// A sink that keeps the last 1,000 notifications.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(1_000)
    }

    /// A sink that keeps the last `limit` notifications.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { kept: Mutex::default(), limit }
    }

    /// The notifications kept, oldest first.
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        self.kept.lock().iter().cloned().collect()
    }

    /// Takes the notifications kept, oldest first, and forgets them.
    #[must_use]
    pub fn take(&self) -> Vec<Notification> {
        self.kept.lock().drain(..).collect()
    }
}

impl Default for MemorySink {
    fn default() -> Self {
        Self::new()
    }
}

impl AlertSink for MemorySink {
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError> {
        let mut kept = self.kept.lock();
        kept.push_back(notification.clone());
        while kept.len() > self.limit {
            kept.pop_front();
        }
        Ok(())
    }
}
