//! Copying the write-ahead log into the file, beside the writer: whoever waits for a commit does not wait for this.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use mlp_core::StoreError;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::{Sql, store};

/// A log that has grown by so many bytes is worth copying,
const GROWTH: i64 = 32 << 20;
/// once they are so many commits: the disk is slower for some of them while it is done, and the same pages come often in them,
const COMMITS: u64 = 250;
/// but by so many bytes at any rate.
const LARGEST_GROWTH: i64 = 256 << 20;

/// A log of so many bytes is begun anew even if writers never pause: the next commit waits for the rest to be copied, and the file to be synced.
const LOG: i64 = 64 << 20;
/// How long it waits for those that read in the log. Readers that take longer keep it growing.
const RESTART_WAIT: Duration = Duration::from_millis(200);

/// After how many commits the log is looked at.
const LOOK: u64 = 8;

/// How the last copy went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoints(Arc<Mutex<Option<String>>>);

impl Checkpoints {
    pub(crate) fn error(&self) -> Option<String> {
        self.0.lock().clone()
    }

    fn note<T>(&self, result: Sql<T>) {
        *self.0.lock() = result.err().map(|error| error.to_string());
    }
}

/// How many pages the log has, how many of them are in the file, and whether another connection is copying them.
struct Log {
    pages: i64,
    copied: i64,
    is_busy: bool,
}

/// Copies what it may in this mode of SQLite's checkpoints; `NOOP` only looks.
fn checkpoint(connection: &Connection, mode: &str) -> Sql<Log> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.prepare_cached(&sql)?.query_row([], |row| {
        Ok(Log { is_busy: row.get(0)?, pages: row.get(1)?, copied: row.get(2)? })
    })
}

#[derive(Debug)]
pub(crate) struct Checkpointer {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    checkpoints: Checkpoints,
    page_size: i64,
    seen: Seen,
}

/// What was seen of a log since it was begun.
#[derive(Debug, Default)]
struct Seen {
    /// How many pages it had after the last commit, when the thread was woken last, and when it was tried last to begin it anew.
    pages: i64,
    woken_at: i64,
    tried_at: i64,
    /// How many commits there were since the thread was woken.
    commits: u64,
    /// Whether it is to be begun anew when the thread has copied what it could.
    is_due: bool,
}

impl Checkpointer {
    pub(crate) fn start(
        connection: Connection,
        checkpoints: Checkpoints,
    ) -> Result<Self, StoreError> {
        let page_size = connection.pragma_query_value(None, "page_size", |row| row.get(0));
        let page_size = page_size.map_err(store)?;
        let (wake, woken) = bounded(1);
        let notes = checkpoints.clone();
        let thread = std::thread::Builder::new()
            .name("mlp-sqlite-checkpoint".to_owned())
            .spawn(move || {
                while woken.recv().is_ok() {
                    // What cannot be copied now is copied next time.
                    notes.note(checkpoint(&connection, "PASSIVE"));
                }
            })
            .map_err(StoreError::backend)?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
            checkpoints,
            page_size,
            seen: Seen::default(),
        })
    }

    /// Looks after the log when a group has been committed, and nobody waits for it any more.
    pub(crate) fn committed(&mut self, connection: &Connection) {
        self.seen.commits += 1;
        if !self.seen.commits.is_multiple_of(LOOK) && !self.seen.is_due {
            return;
        }
        if let Err(error) = self.look(connection) {
            self.checkpoints.note::<()>(Err(error));
        }
    }

    fn look(&mut self, connection: &Connection) -> Sql<()> {
        let pages = checkpoint(connection, "NOOP")?.pages;
        if pages < self.seen.pages {
            self.seen = Seen::default();
        }
        let seen = &mut self.seen;
        seen.pages = pages;
        if seen.is_due {
            return self.begin_anew(connection);
        }
        let growth = (pages - seen.woken_at) * self.page_size;
        if growth >= LARGEST_GROWTH || (growth >= GROWTH && seen.commits >= COMMITS) {
            (seen.woken_at, seen.commits) = (pages, 0);
            seen.is_due = (pages - seen.tried_at) * self.page_size >= LOG;
            if let Some(wake) = &self.wake {
                // It is awake already.
                let _ = wake.try_send(());
            }
        }
        Ok(())
    }

    /// Copies what the thread has left, so that the next commit begins the log anew, unless somebody reads in it just then; the second time
    /// it waits for those.
    fn begin_anew(&mut self, connection: &Connection) -> Sql<()> {
        let log = checkpoint(connection, "PASSIVE")?;
        if log.is_busy {
            return Ok(());
        }
        if log.copied < log.pages || self.seen.tried_at > 0 {
            connection.busy_timeout(RESTART_WAIT)?;
            checkpoint(connection, "TRUNCATE")?;
        }
        (self.seen.tried_at, self.seen.is_due) = (log.pages, false);
        self.checkpoints.note(Ok(()));
        Ok(())
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
