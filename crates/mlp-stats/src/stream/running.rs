//! A mean that follows its values.

use serde::{Deserialize, Serialize};

/// The count and the mean of the values so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RunningMean {
    pub(super) count: u64,
    pub(super) mean: f64,
}

impl RunningMean {
    pub(super) fn update(&mut self, value: f64) {
        self.count += 1;
        self.mean += (value - self.mean) / self.count as f64;
    }
}
