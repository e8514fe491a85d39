//! The threads of all versions, so that none is left behind.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::Mutex;
use crate::sync::thread::{Builder, JoinHandle};

/// Threads that are joined when they end, or at the latest with the server.
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<Vec<Hand>>);

#[derive(Debug)]
struct Hand {
    thread: JoinHandle<()>,
    is_abandoned: Abandoned,
}

/// Whether a thread was given up, because it does not come back from a model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    pub(crate) fn set(&self, is_abandoned: bool) {
        self.0.store(is_abandoned, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Threads {
    pub(crate) fn spawn(
        &self,
        name: String,
        work: impl FnOnce(Abandoned) + Send + 'static,
    ) -> io::Result<()> {
        let is_abandoned = Abandoned::default();
        let own = is_abandoned.clone();
        let thread = Builder::new().name(name).spawn(move || work(own))?;
        self.0.lock().push(Hand { thread, is_abandoned });
        Ok(())
    }

    /// Joins the threads that have ended.
    pub(crate) fn reap(&self) {
        #[cfg(not(mlp_loom))]
        self.join_ended();
    }

    #[cfg(not(mlp_loom))]
    fn join_ended(&self) {
        let mut hands = self.0.lock();
        let (ended, working) =
            std::mem::take(&mut *hands).into_iter().partition(|hand| hand.thread.is_finished());
        *hands = working;
        drop(hands);
        join(ended);
    }

    /// Waits for all threads to end, except for those that were given up.
    pub(crate) fn join_all(&self) {
        loop {
            let hands = std::mem::take(&mut *self.0.lock());
            if hands.is_empty() {
                return;
            }
            join(hands);
        }
    }
}

/// In a model of threads each of them is waited for.
#[cfg(mlp_loom)]
fn join(hands: Vec<Hand>) {
    for Hand { thread, is_abandoned } in hands {
        assert!(!is_abandoned.get(), "no thread is given up in a model");
        thread.join().expect("a replica's thread ends well");
    }
}

/// Waits for threads to end; a thread does not wait for itself.
#[cfg(not(mlp_loom))]
fn join(hands: Vec<Hand>) {
    for Hand { thread, is_abandoned } in hands {
        // Looked at each time anew: it may be given up while others are waited for.
        while !is_abandoned.get() && !thread.is_finished() {
            if thread.thread().id() == std::thread::current().id() {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        if thread.is_finished() {
            // A panic of a replica's thread has nobody left to tell: its callers were told when their requests were dropped.
            let _ = thread.join();
        }
    }
}
