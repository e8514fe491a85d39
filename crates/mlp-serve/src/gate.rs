//! Counts work that is under way, and lets somebody wait until there is none.

use std::sync::Arc;
use std::time::Duration;

use crate::sync::{Condvar, Mutex};
use crate::time::Time;

#[derive(Debug, Default)]
pub(crate) struct Gate {
    inside: Mutex<usize>,
    empty: Condvar,
}

/// One piece of work inside a gate; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Gate>);

impl Gate {
    pub(crate) fn enter(self: &Arc<Self>) -> Pass {
        *self.inside.lock() += 1;
        Pass(Arc::clone(self))
    }

    /// Waits until nothing is inside, at most until a moment; how much is inside then.
    pub(crate) fn wait_until_empty(&self, time: &Time, until: Option<Duration>) -> usize {
        let mut inside = self.inside.lock();
        while *inside > 0 && until.is_none_or(|until| time.monotonic() < until) {
            time.wait(&self.empty, &mut inside, until);
        }
        *inside
    }
}

impl Pass {
    /// Another piece of work inside the same gate.
    pub(crate) fn again(&self) -> Self {
        self.0.enter()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.0.inside.lock();
        *inside -= 1;
        if *inside == 0 {
            self.0.empty.notify_all();
        }
    }
}
