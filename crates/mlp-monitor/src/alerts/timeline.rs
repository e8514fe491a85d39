//! The manager's own time: monotonic, and continued over a restart.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Clock, Timestamp};

use super::state::Moment;

/// Time since the manager first started, in which deadlines are kept.
///
/// It follows the monotonic clock, so turning the wall clock moves no deadline. Over a restart, where no monotonic clock exists, it goes
/// on by what the wall clock says has passed, and never back.
#[derive(Debug)]
pub(crate) struct Timeline {
    clock: Arc<dyn Clock>,
    start: Duration,
    base: Duration,
}

impl Timeline {
    /// Begins at zero, or goes on from the moment at which the state was last written.
    pub(crate) fn new(clock: Arc<dyn Clock>, before: Option<Moment>) -> Self {
        let gone_on = |m: Moment| m.now.saturating_add(clock.now().since(m.wall));
        let base = before.map_or(Duration::ZERO, gone_on);
        Self { start: clock.monotonic(), base, clock }
    }

    pub(crate) fn now(&self) -> Duration {
        self.base.saturating_add(self.clock.monotonic().saturating_sub(self.start))
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now(), wall: self.wall() }
    }
}
