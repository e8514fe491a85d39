//! The one thread that writes: it commits and syncs whatever waits as a group.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mlp_core::{StoreError, catch_panic};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::{Sql, is_disk_fault, store};
use crate::session::Session;

/// How many writes may wait; more wait for a place.
const QUEUE: usize = 1_024;
/// A group is committed once it has been worked on for so long, so that nobody waits much longer than for one disk sync.
const GROUP_TIME: Duration = Duration::from_millis(4);

/// Tells the caller how it went, once the group is on the disk or has failed.
type Reply = Box<dyn FnOnce(Option<&Fault>)>;
/// Works in a session, or learns that there is none and tells its caller.
type Job = Box<dyn FnOnce(Result<&Session<'_>, &Fault>) -> Option<Reply> + Send>;
type Open = Box<dyn Fn() -> Result<Connection, StoreError> + Send>;

/// Why a whole group failed.
#[derive(Debug)]
enum Fault {
    Open(String),
    Sql(rusqlite::Error),
    /// One of the writes ended the transaction for all.
    Lost {
        is_full: bool,
    },
}

impl Fault {
    fn to_error(&self) -> StoreError {
        let other = |reason: String| StoreError::backend(std::io::Error::other(reason));
        match self {
            Self::Open(reason) => other(reason.clone()),
            // The error itself cannot be copied; its code decides what it is, its text says why.
            Self::Sql(rusqlite::Error::SqliteFailure(code, text)) => {
                store(rusqlite::Error::SqliteFailure(*code, text.clone()))
            }
            Self::Sql(error) => other(error.to_string()),
            Self::Lost { is_full: true } => StoreError::StorageFull,
            Self::Lost { is_full: false } => {
                other("a write of the same group ended the transaction".to_owned())
            }
        }
    }

    /// Whether the connection must not be used any more.
    fn closes(&self) -> bool {
        match self {
            Self::Open(_) => true,
            Self::Sql(error) => is_disk_fault(error),
            Self::Lost { is_full } => !is_full,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread with a connection, and what opens another one after a fault of the disk.
    pub(crate) fn start(connection: Connection, open: Open) -> Result<Self, StoreError> {
        let (jobs, queue) = bounded(QUEUE);
        let thread = std::thread::Builder::new()
            .name("mlp-sqlite-writer".to_owned())
            .spawn(move || {
                Work { connection: Some(connection), open, queue, last: (0, Duration::ZERO) }.run()
            })
            .map_err(StoreError::backend)?;
        Ok(Self { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    /// Does the work in a transaction, and returns when it is on the disk.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Session<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = bounded(1);
        let job: Job = Box::new(move |session| {
            let result = match session {
                Ok(session) => catch_panic(|| session.within(work)).unwrap_or_else(|panicked| {
                    Err(StoreError::backend(std::io::Error::other(panicked.message)))
                }),
                Err(fault) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(Err(fault.to_error()));
                    return None;
                }
            };
            Some(Box::new(move |fault: Option<&Fault>| {
                let result = match fault {
                    Some(fault) if result.is_ok() => Err(fault.to_error()),
                    _ => result,
                };
                let _ = answer.send(result);
            }))
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).map_err(|_| StoreError::Closed)?;
        answered.recv().map_err(|_| StoreError::Closed)?
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
    /// How many writes the last group had, and how long its commit took: as many are waited for, a quarter as long.
    last: (usize, Duration),
}

impl Work {
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let connection = match self.connection() {
                Ok(connection) => connection,
                Err(fault) => {
                    first(Err(&fault));
                    continue;
                }
            };
            let mut replies = Vec::new();
            let fault = self.group(&connection, first, &mut replies).err();
            if fault.is_some() && !connection.is_autocommit() {
                // Nothing of a failed group may linger; a connection that cannot even do this is closed.
                let _ = connection.execute_batch("ROLLBACK");
            }
            if connection.is_autocommit() && !fault.as_ref().is_some_and(Fault::closes) {
                self.connection = Some(connection);
            }
            replies.into_iter().for_each(|reply| reply(fault.as_ref()));
        }
    }

    fn connection(&mut self) -> Result<Connection, Fault> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => (self.open)().map_err(|error| Fault::Open(error.to_string())),
        }
    }

    fn group(
        &mut self,
        connection: &Connection,
        first: Job,
        replies: &mut Vec<Reply>,
    ) -> Result<(), Fault> {
        let began = Instant::now();
        if let Err(error) = execute(connection, "BEGIN IMMEDIATE") {
            let fault = Fault::Sql(error);
            first(Err(&fault));
            return Err(fault);
        }
        let session = Session::new(connection);
        let mut next = Some(first);
        while let Some(job) = next {
            replies.extend(job(Ok(&session)));
            if connection.is_autocommit() {
                return Err(Fault::Lost { is_full: session.is_full() });
            }
            next = self.next(replies.len(), began);
        }
        let done = Instant::now();
        session.settle().and_then(|()| execute(connection, "COMMIT")).map_err(Fault::Sql)?;
        self.last = (replies.len(), done.elapsed());
        Ok(())
    }

    /// The next write of the group: one that waits, or one that is likely to come soon.
    fn next(&self, so_far: usize, began: Instant) -> Option<Job> {
        let elapsed = began.elapsed();
        if so_far >= QUEUE || elapsed >= GROUP_TIME {
            return None;
        }
        let (expected, took) = self.last;
        let patience = (took / 4).saturating_sub(elapsed);
        if so_far < expected && !patience.is_zero() {
            return self.queue.recv_timeout(patience).ok();
        }
        self.queue.try_recv().ok()
    }
}

fn execute(connection: &Connection, sql: &str) -> Sql<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
