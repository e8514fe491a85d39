//! How a server comes to its end: what was accepted is answered, and all threads are joined.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mlp_core::Servable;

use super::Shared;
use super::table::Table;
use crate::server::Drained;
use crate::version::Version;

impl<M: ?Sized + Servable + 'static> Shared<M> {
    pub(crate) fn drain(&self, timeout: Duration) -> Drained {
        let until = self.time.monotonic().saturating_add(timeout);
        let versions = {
            // Under the lock of changes, so that a version that is being prepared either is closed here or sees the flag.
            let changes = self.changes.lock();
            self.is_draining.store(true, Ordering::Release);
            let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
            self.table.load().versions.iter().cloned().chain(leaving).collect::<Vec<_>>()
        };
        versions.iter().for_each(|version| version.close());
        let ending = Ending { versions, until };
        if !self.threads.is_own() {
            return Drained { unanswered: ending.settle() };
        }
        // This thread would wait for itself.
        let unanswered = ending.versions.iter().map(|version| version.queue.lock().open).sum();
        let ending = Arc::new(ending);
        let elsewhere = Arc::clone(&ending);
        let name = "mlp-serve drain".to_owned();
        if self
            .threads
            .spawn(name, move |_| {
                elsewhere.settle();
            })
            .is_err()
        {
            ending.versions.iter().for_each(|version| version.abort());
        }
        Drained { unanswered }
    }
}

/// Versions that are closed, and until when they are waited for.
struct Ending<M: ?Sized + Servable> {
    versions: Vec<Arc<Version<M>>>,
    until: Duration,
}

impl<M: ?Sized + Servable> Ending<M> {
    /// Waits until all that was accepted is answered, and refuses what is left; how much that is.
    fn settle(&self) -> usize {
        let left = self.versions.iter().map(|version| version.wait_until_quiet(self.until)).sum();
        self.versions.iter().for_each(|version| version.abort());
        left
    }
}

impl<M: ?Sized + Servable + 'static> Drop for Shared<M> {
    fn drop(&mut self) {
        let until = self.time.monotonic().saturating_add(self.options.drain_timeout);
        let timer = Arc::clone(&self.timer);
        let changes = self.changes.get_mut();
        let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
        let versions: Vec<_> = self.table.load().versions.iter().cloned().chain(leaving).collect();
        self.table.store(Arc::new(Table::empty()));
        versions.iter().for_each(|version| version.close());
        let (threads, time) = (Arc::clone(&self.threads), self.time.clone());
        let ending = Ending { versions, until };
        let end = move || {
            let left = ending.settle();
            drop(ending);
            // Whoever is left may still have a deadline to hear of.
            if left == 0 {
                timer.close();
            }
            threads.join_all(&time, until);
            timer.close();
        };
        if !self.threads.is_own() {
            return end();
        }
        // This thread would wait for itself. Without another one its versions end by themselves, since they are closed.
        let name = "mlp-serve end".to_owned();
        if crate::sync::thread::Builder::new().name(name).spawn(end).is_err() {
            self.timer.close();
        }
    }
}
