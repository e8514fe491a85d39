//! A mean that follows its values.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The count and the mean of the values so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunningMean {
    pub(super) count: u64,
    pub(super) mean: f64,
}

impl RunningMean {
    pub(super) fn update(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        self.mean += (value - self.mean) / self.count as f64;
    }
}

/// Reads a stored mean of errors, which is a rate.
pub(super) fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunningMean, D::Error> {
    let rate = RunningMean::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&rate.mean) {
        Ok(rate)
    } else {
        Err(D::Error::custom(format_args!("the error rate is {}, must be in [0, 1]", rate.mean)))
    }
}
