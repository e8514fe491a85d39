//! The thread of a sink, and the queue that it works off.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mlp_core::{AlertSink, Notification, SinkError, catch_panic};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::book::Book;
use super::queue::{Queue, SinkStatus, Undelivered};
use super::timeline::Timeline;

/// So many calls of a sink may hang at once: then it is left alone until one of them comes back.
const MAX_STUCK: usize = 3;

/// Delivers to one sink, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Outbox {
    name: String,
    sink: Arc<dyn AlertSink>,
    book: Arc<Book>,
    timeline: Arc<Timeline>,
    desk: Mutex<Desk>,
    /// Something may be deliverable, or the outbox closes.
    work: Condvar,
    /// The thread has found nothing to do.
    idle: Condvar,
}

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) queue: Queue,
    /// Counts the threads that were given up while in a call: one that comes back under an earlier number ends.
    worker: u64,
    thread: Option<JoinHandle<()>>,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(
        name: String,
        sink: Arc<dyn AlertSink>,
        book: Arc<Book>,
        timeline: Arc<Timeline>,
        queue: Queue,
    ) -> Self {
        let desk = Desk { queue, worker: 0, thread: None, closed: false };
        let desk = Mutex::new(desk);
        Self { name, sink, book, timeline, desk, work: Condvar::new(), idle: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock()
    }

    pub(crate) fn status(&self) -> SinkStatus {
        self.lock().queue.status(self.timeline.now())
    }

    pub(crate) fn undelivered(&self) -> Vec<Undelivered> {
        self.lock().queue.undelivered()
    }

    /// Has delivered what can be delivered now, and gives up on a call that has had its time.
    pub(crate) fn wake(self: &Arc<Self>) {
        let mut desk = self.lock();
        let now = self.timeline.now();
        if desk.queue.is_overdue(now) && desk.queue.status(now).stuck < MAX_STUCK {
            desk.queue.abandon(now);
            desk.thread = None;
            desk.worker += 1;
        }
        if desk.thread.is_none() && !desk.closed && desk.queue.is_ready(now) {
            self.start(&mut desk);
        }
        self.work.notify_all();
    }

    fn start(self: &Arc<Self>, desk: &mut Desk) {
        let (outbox, worker) = (Arc::clone(self), desk.worker);
        let name = format!("mlp-alert-{}", self.name);
        // Where no thread can be started now, the next call tries again.
        desk.thread = thread::Builder::new().name(name).spawn(move || outbox.work(worker)).ok();
    }

    fn work(&self, worker: u64) {
        let mut desk = self.lock();
        while !desk.closed {
            let superseded = self.book.is_superseded();
            let next = if superseded { None } else { desk.queue.take(self.timeline.moment()) };
            let Some(parcel) = next else {
                self.idle.notify_all();
                self.work.wait(&mut desk);
                continue;
            };
            drop(desk);
            let result = self.call(parcel.notification());
            desk = self.lock();
            if desk.worker != worker {
                desk.queue.came_back();
                return;
            }
            desk.queue.settle(result, self.timeline.now());
            let changes = desk.queue.take_changes();
            self.book.apply(&changes);
        }
        self.idle.notify_all();
    }

    fn call(&self, notification: &Notification) -> Result<(), SinkError> {
        catch_panic(|| self.sink.deliver(notification)).unwrap_or_else(|panicked| {
            Err(SinkError::Retry { after: None, source: Box::new(panicked) })
        })
    }

    /// Waits until nothing can be delivered now; false if that takes longer than until `deadline`.
    pub(crate) fn flush(self: &Arc<Self>, deadline: Instant) -> bool {
        self.wake();
        let mut desk = self.lock();
        while desk.queue.is_under_way() || desk.queue.is_ready(self.timeline.now()) {
            if desk.closed || self.book.is_superseded() || desk.thread.is_none() {
                return false;
            }
            if self.idle.wait_until(&mut desk, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Ends the thread; one that is in a call ends when the call comes back.
    pub(crate) fn close(&self) {
        let mut desk = self.lock();
        desk.closed = true;
        self.work.notify_all();
        let idle = !desk.queue.is_under_way();
        let thread = desk.thread.take().filter(|_| idle);
        drop(desk);
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            debug_assert!(false, "the thread of a sink catches the panics of its sink");
        }
    }
}
