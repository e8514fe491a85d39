//! A thread that looks after a deployment.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use mlp_core::catch_panic;
use parking_lot::{Condvar, Mutex};

use crate::change::Change;
use crate::deployment::Deployment;
use crate::error::{Error, Result};

/// How the thread works.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AutoRollbackOptions {
    /// How long it waits between two looks. Default 1 s: errors are weighed as they come in any case; this is for everything else.
    pub every: Duration,
    /// A drill after so many looks; 0 is as 1. Default: none.
    pub drill_every: Option<u64>,
}

impl Default for AutoRollbackOptions {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), drill_every: None }
    }
}

impl AutoRollbackOptions {
    /// Sets how long the thread waits between two looks.
    #[must_use]
    pub fn with_interval(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Rehearses a rollback after every so many looks.
    #[must_use]
    pub fn with_drill_every(mut self, looks: u64) -> Self {
        self.drill_every = Some(looks.max(1));
        self
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_stopping: bool,
    looks: u64,
    panics: u64,
}

/// Calls [`Deployment::tick`] now and then, until it is stopped or dropped, or the deployment is gone.
///
/// A panic in foreign code that a look calls (a metric source, a sink, a host) ends neither the look of another version nor the thread.
#[derive(Debug)]
pub struct AutoRollback {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl AutoRollback {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start<M: ?Sized + 'static>(
        deployment: &Arc<Deployment<M>>,
        options: AutoRollbackOptions,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (weak, its) = (Arc::downgrade(deployment), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("mlp-auto-rollback".to_owned())
            .spawn(move || look_after(&weak, &its, options))
            .map_err(|error| Error::Invalid { field: "thread", reason: error.to_string() })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// How often it has looked.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.shared.state.lock().looks
    }

    /// How many looks ended in a panic that nobody else caught.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.shared.state.lock().panics
    }

    /// Waits until it has looked so many times in all; returns at once if it is stopping.
    pub fn wait_for_looks(&self, looks: u64) {
        let mut state = self.shared.state.lock();
        while state.looks < looks && !state.is_stopping {
            self.shared.changed.wait(&mut state);
        }
    }

    /// Stops the thread and waits for the end of the look it may be in.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.shared.state.lock().is_stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A look that drops the last deployment may end up here on its own thread.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for AutoRollback {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn look_after<M: ?Sized + 'static>(
    deployment: &Weak<Deployment<M>>,
    shared: &Shared,
    options: AutoRollbackOptions,
) {
    loop {
        let looks = {
            let state = shared.state.lock();
            if state.is_stopping {
                break;
            }
            state.looks
        };
        let Some(deployment) = deployment.upgrade() else { break };
        let is_drill =
            options.drill_every.is_some_and(|every| (looks + 1).is_multiple_of(every.max(1)));
        let outcome = catch_panic(|| {
            deployment.tick();
            if is_drill {
                // A drill that finds no target has found what it is for; the deployment's history shows that none succeeded.
                let _ = deployment.drill(&Change::by("auto-rollback").because("scheduled drill"));
            }
        });
        drop(deployment);
        let mut state = shared.state.lock();
        state.looks += 1;
        state.panics += u64::from(outcome.is_err());
        shared.changed.notify_all();
        if !state.is_stopping {
            shared.changed.wait_for(&mut state, options.every);
        }
    }
    shared.state.lock().is_stopping = true;
    shared.changed.notify_all();
}
