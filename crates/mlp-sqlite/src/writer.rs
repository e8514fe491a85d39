//! The one thread that writes: it commits and syncs whatever waits as a group.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mlp_core::{StoreError, catch_panic};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::checkpoint::Checkpointer;
use crate::error::{Sql, copy, is_broken, is_disk_fault, store};
use crate::identity::Identity;
use crate::room::Room;
use crate::session::{Known, Session};
use crate::turns::Turns;

/// How many writes may wait; more wait for a place.
const QUEUE: usize = 1_024;
/// A group is committed once it has been worked on for so long. It is the time of a hundred evaluations and more: of as many callers, those
/// that find no place in a group wait for two.
const GROUP_TIME: Duration = Duration::from_millis(15);
/// How long a group waits at most for writes that are likely to come.
const LONGEST_WAIT: Duration = Duration::from_millis(5);

/// How long SQLite itself waits for the write lock before it is asked again; its pauses grow with the time it has.
const LOOK: Duration = Duration::from_millis(2);

/// One write that somebody waits for.
trait Task: Send {
    /// Does the work, once more if its group is begun anew; tells whether it succeeded.
    fn run(&mut self, session: &Session<'_>, room: &Room) -> bool;
    /// When the caller asked for it: from then on its patience runs.
    fn asked(&self) -> Instant;
    /// Tells the caller how it went, once the group is on the disk or has failed.
    fn reply(self: Box<Self>, fault: Option<&Fault>);
}

struct Write<F, T> {
    work: F,
    asked: Instant,
    result: Result<T, StoreError>,
    answer: Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&Session<'_>) -> Result<T, StoreError> + Send> Task for Write<F, T> {
    fn run(&mut self, session: &Session<'_>, room: &Room) -> bool {
        self.result = catch_panic(|| (self.work)(session)).unwrap_or_else(|panicked| {
            Err(StoreError::backend(std::io::Error::other(panicked.message)))
        });
        if self.result.as_ref().is_err_and(is_broken) {
            session.is_broken.set(true);
            if room.is_out() {
                self.result = Err(StoreError::StorageFull);
            }
        }
        self.result.is_ok()
    }

    fn asked(&self) -> Instant {
        self.asked
    }

    fn reply(self: Box<Self>, fault: Option<&Fault>) {
        let result = match fault {
            Some(fault) if self.result.is_ok() || fault.comes_first() => Err(fault.to_error()),
            _ => self.result,
        };
        // Whoever asked may have gone; the write is made all the same.
        let _ = self.answer.send(result);
    }
}

type Job = Box<dyn Task>;
type Open = Box<dyn Fn() -> Result<Connection, StoreError> + Send>;

/// Why a whole group failed.
#[derive(Debug)]
enum Fault {
    /// Before any work was done.
    Begin(StoreError),
    /// The path does not lead to the file any more that the work was done in.
    Lost(StoreError),
    Sql(rusqlite::Error),
    /// SQLite did not know why it could not write, but it was for want of room.
    NoRoom,
}

impl Fault {
    fn to_error(&self) -> StoreError {
        match self {
            Self::Begin(error) | Self::Lost(error) => copy(error),
            Self::NoRoom => StoreError::StorageFull,
            // The error itself cannot be copied; its code decides what it is, its text says why.
            Self::Sql(rusqlite::Error::SqliteFailure(code, text)) => {
                store(rusqlite::Error::SqliteFailure(*code, text.clone()))
            }
            Self::Sql(error) => StoreError::backend(std::io::Error::other(error.to_string())),
        }
    }

    /// Whether other processes wrote for longer than the patience of whoever asked first.
    fn is_busy(&self) -> bool {
        matches!(self, Self::Begin(StoreError::Busy { .. }))
    }

    /// Whether no work was done at all, or in the wrong file, so that this is the answer to all.
    fn comes_first(&self) -> bool {
        matches!(self, Self::Begin(_) | Self::Lost(_))
    }

    /// Whether the connection must not be used any more.
    fn closes(&self) -> bool {
        match self {
            Self::Begin(_) => !self.is_busy(),
            Self::Sql(error) => is_disk_fault(error),
            Self::NoRoom | Self::Lost(_) => true,
        }
    }
}

/// What the writer has beside its connection.
pub(crate) struct Beside {
    pub(crate) checkpointer: Checkpointer,
    pub(crate) turns: Turns,
    pub(crate) room: Room,
    pub(crate) file: Identity,
}

#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread with a connection, and what opens another one after a fault of the disk.
    pub(crate) fn start(
        connection: Connection,
        open: Open,
        beside: Beside,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = bounded(QUEUE);
        let thread = std::thread::Builder::new()
            .name("mlp-sqlite-writer".to_owned())
            .spawn(move || {
                Work {
                    connection: Some(connection),
                    open,
                    queue,
                    known: Known::default(),
                    beside,
                    patience,
                    last: (0, Duration::ZERO),
                }
                .run()
            })
            .map_err(StoreError::backend)?;
        Ok(Self { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    /// Does the work in a transaction, and returns when it is on the disk. The work may be done more than once, if a write beside it fails.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Session<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = bounded(1);
        let asked = Instant::now();
        let job = Box::new(Write { work, asked, result: Err(StoreError::Closed), answer });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).map_err(|_| StoreError::Closed)?;
        answered.recv().map_err(|_| StoreError::Closed)?
    }

    /// How many writes are in the queue, without the one that is worked on.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.as_ref().map_or(0, Sender::len)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.lock().take() {
            // It panics only if SQLite's bindings do; there is nothing to be done about it here.
            let _ = thread.join();
        }
    }
}

struct Work {
    connection: Option<Connection>,
    open: Open,
    queue: Receiver<Job>,
    known: Known,
    beside: Beside,
    /// How long other processes that write are waited for.
    patience: Duration,
    /// How many writes the last group had, and how long its commit took: as many are waited for, a quarter as long, while the group has time.
    last: (usize, Duration),
}

impl Work {
    fn run(mut self) {
        let mut held = None;
        while let Some(first) = held.take().or_else(|| self.queue.recv().ok()) {
            let mut group = vec![first];
            match self.together(&mut group) {
                Ok(true) => reply_all(group, None),
                Err(fault) => {
                    reply_all(group, Some(&fault));
                    if fault.is_busy() {
                        held = self.dismiss(&fault);
                    }
                }
                // One of them failed half-way: each gets a transaction of its own.
                Ok(false) => {
                    for job in group {
                        let mut alone = vec![job];
                        let fault = self.alone(&mut alone[0]).err();
                        reply_all(alone, fault.as_ref());
                    }
                }
            }
            if let Some(connection) = &self.connection {
                self.beside.checkpointer.look_after(connection);
            }
        }
    }

    /// Answers all that have waited as long as they would, so that they do not wait one after the other; gives the first that has not.
    fn dismiss(&self, fault: &Fault) -> Option<Job> {
        while let Ok(job) = self.queue.try_recv() {
            if job.asked().elapsed() < self.patience {
                return Some(job);
            }
            job.reply(Some(fault));
        }
        None
    }

    /// Works within a transaction, and commits it if the work says so; a connection is kept if it can be used again.
    fn transaction(
        &mut self,
        asked: Instant,
        work: impl FnOnce(&Self, &Session<'_>) -> bool,
    ) -> Result<bool, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => (self.open)().map_err(Fault::Begin)?,
        };
        let session = Session::new(&connection, &self.known);
        let result = self.begin(&connection, asked).map_err(Fault::Begin).and_then(|()| {
            if !work(self, &session) {
                return Ok(false);
            }
            let is_there = || self.beside.file.check().map_err(Fault::Lost);
            is_there()?;
            let settled = session.settle().and_then(|()| execute(&connection, "COMMIT"));
            settled.map_err(|error| match is_disk_fault(&error) && self.beside.room.is_out() {
                true => Fault::NoRoom,
                false => Fault::Sql(error),
            })?;
            is_there().map(|()| true)
        });
        if !connection.is_autocommit() {
            // A connection that cannot even do this is closed, which does it too.
            let _ = execute(&connection, "ROLLBACK");
        }
        match result {
            Ok(true) => self.beside.checkpointer.committed(),
            _ => self.known.forget(),
        }
        let is_broken = session.is_broken.get() || result.as_ref().is_err_and(Fault::closes);
        if connection.is_autocommit() && !is_broken {
            self.connection = Some(connection);
        }
        result
    }

    /// Begins a transaction when it is this process's turn; tries at least once.
    fn begin(&self, connection: &Connection, asked: Instant) -> Result<(), StoreError> {
        let deadline = asked + self.patience;
        let _turn = self.beside.turns.take(deadline)?;
        // Nobody else waits for the lock now: it is looked at often.
        connection.busy_timeout(LOOK).map_err(store)?;
        let begun = loop {
            match execute(connection, "BEGIN IMMEDIATE").map_err(store) {
                Err(StoreError::Busy { .. }) if Instant::now() < deadline => {}
                begun => break begun,
            }
        };
        connection.busy_timeout(self.patience).map_err(store)?;
        begun
    }

    /// Works on what waits until nothing does; `false` if a write failed after it had changed something, and all was taken back.
    fn together(&mut self, group: &mut Vec<Job>) -> Result<bool, Fault> {
        let asked = group[0].asked();
        let mut worked = Instant::now();
        let done = self.transaction(asked, |this, session| {
            // What was waited for until now, a turn and a lock, is no reason to commit early.
            let (began, mut at) = (Instant::now(), 0);
            while let Some(job) = group.get_mut(at) {
                let (before, counted) = (session.connection.total_changes(), session.changes());
                let failed = !job.run(session, &this.beside.room);
                let is_clean = session.connection.total_changes() == before
                    && !session.connection.is_autocommit();
                if failed {
                    if !is_clean {
                        return false;
                    }
                    session.come_back(counted);
                }
                at += 1;
                if at == group.len() {
                    group.extend(this.next(at, began));
                }
            }
            worked = Instant::now();
            true
        })?;
        self.last = (group.len(), worked.elapsed());
        Ok(done)
    }

    fn alone(&mut self, job: &mut Job) -> Result<bool, Fault> {
        self.transaction(job.asked(), |this, session| job.run(session, &this.beside.room))
    }

    /// The next write of the group: one that waits, or one that is likely to come soon.
    fn next(&self, so_far: usize, began: Instant) -> Option<Job> {
        let elapsed = began.elapsed();
        if so_far >= QUEUE || elapsed >= GROUP_TIME {
            return None;
        }
        let (expected, took) = self.last;
        let patience = (took / 4).min(LONGEST_WAIT).saturating_sub(elapsed);
        if so_far < expected && !patience.is_zero() {
            return self.queue.recv_timeout(patience).ok();
        }
        self.queue.try_recv().ok()
    }
}

fn reply_all(group: Vec<Job>, fault: Option<&Fault>) {
    group.into_iter().for_each(|job| job.reply(fault));
}

fn execute(connection: &Connection, sql: &str) -> Sql<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
