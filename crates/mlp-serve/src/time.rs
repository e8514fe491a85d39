//! Time as the server reads it and waits for it.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Clock, SystemClock, Timestamp};

use crate::sync::{Condvar, MutexGuard};

/// How long a waiting thread goes without looking at a clock that is not the machine's: such a clock cannot wake anybody.
const GLANCE: Duration = Duration::from_millis(1);

/// The machine's clock, or one that was given.
#[derive(Debug, Clone)]
pub(crate) enum Time {
    System(SystemClock),
    Given(Arc<dyn Clock>),
}

impl Time {
    #[inline]
    pub(crate) fn monotonic(&self) -> Duration {
        match self {
            Self::System(clock) => clock.monotonic(),
            Self::Given(clock) => clock.monotonic(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System(clock) => clock.now(),
            Self::Given(clock) => clock.now(),
        }
    }

    /// Waits to be woken, at most until a moment of monotonic time. May return early: the caller looks again.
    pub(crate) fn wait<T>(
        &self,
        condvar: &Condvar,
        guard: &mut MutexGuard<'_, T>,
        until: Option<Duration>,
    ) {
        let Some(until) = until else { return condvar.wait(guard) };
        let left = until.saturating_sub(self.monotonic());
        condvar.wait_for(
            guard,
            match self {
                Self::System(_) => left,
                Self::Given(_) => left.min(GLANCE),
            },
        );
    }
}
