//! The thread of a sink, and the queue that it works off.

use std::error::Error;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mlp_core::{AlertSink, Notification, SinkError, catch_panic};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::book::Book;
use super::queue::{Failure, Queue};
use super::timeline::Timeline;
use super::{SinkStatus, Undelivered};

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
    /// The thread has found nothing to do, or was given up.
    idle: Condvar,
}

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) queue: Queue,
    /// Counts the threads that were given up while in a call: one that comes back under an earlier number ends.
    worker: u64,
    thread: Option<JoinHandle<()>>,
    /// Whether the thread has ended, or is about to.
    ended: bool,
    /// Whether the thread is in a call of the sink or the store.
    calls: bool,
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
        let desk =
            Desk { queue, worker: 0, thread: None, ended: false, calls: false, closed: false };
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
        if desk.ended {
            // It fell over outside of what it catches: what it was about to deliver is tried again, by another one.
            (desk.thread, desk.ended) = (None, false);
            let reason = "the thread of the sink has ended".to_owned();
            desk.queue.settle(Err(Failure::Later { after: None, reason }), now);
        }
        if desk.queue.is_overdue(now) && desk.queue.status(now).stuck < MAX_STUCK {
            desk.queue.abandon(now);
            desk.thread = None;
            desk.worker += 1;
        }
        if desk.thread.is_none() && !desk.closed && desk.queue.is_ready(now) {
            self.start(&mut desk);
        }
        self.work.notify_all();
        self.idle.notify_all();
    }

    fn start(self: &Arc<Self>, desk: &mut Desk) {
        let (outbox, worker) = (Arc::clone(self), desk.worker);
        let name = format!("mlp-alert-{}", self.name);
        (desk.ended, desk.calls) = (false, false);
        // Where no thread can be started now, the next call tries again.
        desk.thread = thread::Builder::new().name(name).spawn(move || outbox.work(worker)).ok();
    }

    fn work(&self, worker: u64) {
        // Dropped last, when the desk is not locked any more.
        let _end = End { outbox: self, worker };
        let mut desk = self.lock();
        while !desk.closed {
            let superseded = self.book.is_superseded();
            let next = if superseded { None } else { desk.queue.take(self.timeline.moment()) };
            let Some(parcel) = next else {
                self.idle.notify_all();
                self.work.wait(&mut desk);
                continue;
            };
            desk.calls = true;
            drop(desk);
            // Nobody hears of what a restart would not know of.
            self.book.flush();
            let result = match self.book.is_superseded() {
                false => self.call(parcel.notification()),
                true => Err(Failure::Later {
                    after: None,
                    reason: "another manager has taken over".to_owned(),
                }),
            };
            desk = self.lock();
            let current = desk.worker == worker;
            if current {
                desk.queue.settle(result, self.timeline.now());
            } else {
                desk.queue.came_back(parcel, result, self.timeline.now());
            }
            self.book.note(desk.queue.take_changes());
            drop(desk);
            self.book.flush();
            if !current {
                return;
            }
            desk = self.lock();
            desk.calls = false;
        }
        self.idle.notify_all();
    }

    /// Calls the sink. What it says is put into words here, where its panics are caught.
    fn call(&self, notification: &Notification) -> Result<(), Failure> {
        let deliver = || match self.sink.deliver(notification) {
            Ok(()) => Ok(()),
            Err(SinkError::Retry { after, source }) => {
                Err(Failure::Later { after, reason: chain(source.as_ref()) })
            }
            Err(error) => Err(Failure::Never(error.to_string())),
        };
        catch_panic(deliver).unwrap_or_else(|panicked| {
            Err(Failure::Later { after: None, reason: panicked.to_string() })
        })
    }

    /// Waits until nothing can be delivered now; false if that takes longer than until `deadline`.
    pub(crate) fn flush(self: &Arc<Self>, deadline: Instant) -> bool {
        self.wake();
        let mut desk = self.lock();
        while desk.queue.is_under_way() || desk.queue.is_ready(self.timeline.now()) {
            let works = desk.thread.is_some() && !desk.ended;
            if desk.closed || self.book.is_superseded() || !works {
                return false;
            }
            if self.idle.wait_until(&mut desk, deadline).timed_out() {
                return false;
            }
        }
        drop(desk);
        self.book.flush();
        true
    }

    /// Ends the thread; one that is in a call ends when the call comes back.
    pub(crate) fn close(&self) {
        let mut desk = self.lock();
        desk.closed = true;
        self.work.notify_all();
        self.idle.notify_all();
        let calls = desk.calls;
        let thread = desk.thread.take().filter(|_| !calls);
        drop(desk);
        // One that fell over is as good as one that has ended: what it was about to deliver is kept.
        thread.map(JoinHandle::join).transpose().ok();
    }
}

/// Says that a thread has ended, in whatever way: one that was given up is no longer stuck then.
struct End<'a> {
    outbox: &'a Outbox,
    worker: u64,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut desk = self.outbox.lock();
        if desk.worker == self.worker {
            desk.ended = true;
        } else {
            desk.queue.no_longer_stuck();
        }
        self.outbox.idle.notify_all();
    }
}

/// An error and what is behind it.
fn chain(error: &(dyn Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
