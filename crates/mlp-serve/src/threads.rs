//! The threads of all versions, so that none is left behind.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sync::Mutex;
use crate::sync::thread::{Builder, JoinHandle};
use crate::time::Time;

/// Threads that are joined when they end, or at the latest with the server.
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<Vec<Hand>>);

#[derive(Debug)]
struct Hand {
    thread: JoinHandle<()>,
    is_abandoned: Abandoned,
    /// Whether the server does without what it does, once it ends.
    is_aside: bool,
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

thread_local! {
    /// For which server this thread works at this moment.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Notes that this thread works for a server for as long as it lives.
pub(crate) struct Inside(usize);

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

impl Threads {
    #[inline]
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Notes that the present thread works for this server.
    #[inline]
    pub(crate) fn enter(&self) -> Inside {
        Inside(INSIDE.replace(self.id()))
    }

    /// Whether the present thread works for this server: it would wait for itself.
    pub(crate) fn is_own(&self) -> bool {
        // A model runs all its threads in one of the system's, which keeps one value for all of them.
        cfg!(not(mlp_loom)) && INSIDE.get() == self.id()
    }

    pub(crate) fn spawn(
        &self,
        name: String,
        work: impl FnOnce(Abandoned) + Send + 'static,
    ) -> io::Result<()> {
        self.start(name, false, work)
    }

    /// Starts a thread that the server waits for only as long as for its requests when it ends.
    pub(crate) fn spawn_aside(
        &self,
        name: String,
        work: impl FnOnce(Abandoned) + Send + 'static,
    ) -> io::Result<()> {
        self.start(name, true, work)
    }

    fn start(
        &self,
        name: String,
        is_aside: bool,
        work: impl FnOnce(Abandoned) + Send + 'static,
    ) -> io::Result<()> {
        let is_abandoned = Abandoned::default();
        let (own, id) = (is_abandoned.clone(), self.id());
        let thread = Builder::new().name(name).spawn(move || {
            INSIDE.set(id);
            work(own);
        })?;
        self.0.lock().push(Hand { thread, is_abandoned, is_aside });
        Ok(())
    }

    #[cfg(all(test, not(mlp_loom)))]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
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
        join(ended, || true);
    }

    /// Waits for all threads to end, except for those that were given up, and for those that stand aside only until a moment.
    pub(crate) fn join_all(&self, time: &Time, until: Duration) {
        loop {
            let hands = std::mem::take(&mut *self.0.lock());
            if hands.is_empty() {
                return;
            }
            join(hands, || time.monotonic() >= until);
        }
    }
}

/// In a model of threads each of them is waited for.
#[cfg(mlp_loom)]
fn join(hands: Vec<Hand>, _: impl Fn() -> bool) {
    for Hand { thread, is_abandoned, is_aside } in hands {
        assert!(!is_abandoned.get() && !is_aside, "no thread is given up in a model");
        thread.join().expect("a replica's thread ends well");
    }
}

/// Waits for threads to end; a thread does not wait for itself.
#[cfg(not(mlp_loom))]
fn join(hands: Vec<Hand>, is_late: impl Fn() -> bool) {
    for Hand { thread, is_abandoned, is_aside } in hands {
        // Looked at each time anew: it may be given up while others are waited for.
        while !(is_abandoned.get() || thread.is_finished() || is_aside && is_late()) {
            if thread.thread().id() == std::thread::current().id() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // A panic has nobody left to tell: those who waited for the thread were told when it dropped its promises.
            let _ = thread.join();
        }
    }
}
