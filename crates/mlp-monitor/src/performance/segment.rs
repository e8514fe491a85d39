//! Parts of the predictions that are scored by themselves.

use std::fmt;

use mlp_core::PredictionRecord;

use crate::error::{MonitorError, Result};

/// The most segments there may be: a prediction remembers its own in 64 bits.
const MAX_SEGMENTS: usize = 64;

type Holds = dyn Fn(&PredictionRecord<'_>) -> bool + Send + Sync;

/// Names, and which predictions belong to each.
#[derive(Default)]
pub(super) struct Segments(Vec<(String, Box<Holds>)>);

impl Segments {
    pub(super) fn add(&mut self, name: String, holds: Box<Holds>) -> Result<()> {
        if self.0.len() >= MAX_SEGMENTS {
            return Err(MonitorError::LimitExceeded { what: "segments", limit: MAX_SEGMENTS });
        }
        if self.names().any(|known| known == name) {
            return Err(MonitorError::Duplicate { what: "segments", name });
        }
        self.0.push((name, holds));
        Ok(())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The segments of a prediction, a bit each.
    pub(super) fn of(&self, prediction: &PredictionRecord<'_>) -> u64 {
        let holding = self.0.iter().enumerate().filter(|(_, (_, holds))| holds(prediction));
        holding.fold(0, |bits, (segment, _)| bits | 1 << segment)
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
