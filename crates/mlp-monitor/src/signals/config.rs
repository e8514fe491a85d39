//! How signals are kept.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};

use super::series::MAX_CAPACITY;
use crate::error::{MonitorError, Result};

/// How signals are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SignalsConfig {
    /// The length of a tumbling window. Default 10 s.
    #[serde(with = "span")]
    pub window: Duration,
    /// How many windows are kept, from 1 to 100,000: the longest sliding window is so many. Default 60, ten minutes.
    pub windows: usize,
    /// How many series (a name with labels) there may be, from 1 to 1,000,000; what goes to further ones is counted together under the label
    /// `overflow="true"`. Default 1,000.
    pub max_series: usize,
    /// How many points each level of a series' history keeps, from 10 to 1,000,000. Default 360: an hour of windows, then ten hours, then four days.
    pub history: usize,
}

impl Default for SignalsConfig {
    fn default() -> Self {
        Self { window: Duration::from_secs(10), windows: 60, max_series: 1_000, history: 360 }
    }
}

impl SignalsConfig {
    /// Sets the length of a tumbling window.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets how many windows are kept.
    #[must_use]
    pub fn with_windows(mut self, windows: usize) -> Self {
        self.windows = windows;
        self
    }

    /// Sets how many series there may be.
    #[must_use]
    pub fn with_max_series(mut self, series: usize) -> Self {
        self.max_series = series;
        self
    }

    /// Sets how many points each level of a history keeps.
    #[must_use]
    pub fn with_history(mut self, points: usize) -> Self {
        self.history = points;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.window.is_zero() {
            return Err(MonitorError::setting("window of signals", "0 s", "above 0"));
        }
        for (name, given, range, allowed) in [
            ("windows", self.windows, 1..=100_000, "from 1 to 100,000"),
            ("max_series", self.max_series, 1..=1_000_000, "from 1 to 1,000,000"),
            ("history", self.history, 10..=MAX_CAPACITY, "from 10 to 1,000,000"),
        ] {
            if !range.contains(&given) {
                return Err(MonitorError::setting(name, given, allowed));
            }
        }
        Ok(())
    }
}
