//! Copying the write-ahead log into the file, and beginning it anew: beside the writer, or between two commits.

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
/// once they are so many commits: the disk is slower for some of them while it is done, and the same pages come often in them.
const COMMITS: u64 = 250;
/// A log of so many bytes does not wait for that.
const LONG: i64 = 256 << 20;

/// A log of so many bytes is begun anew even if writers never pause: between two commits the rest is copied, and the file synced.
const RESTART: i64 = 64 << 20;
/// How long that waits for those that read in the log. Readers that take longer keep it growing.
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

    fn note(&self, error: Option<rusqlite::Error>) {
        *self.0.lock() = error.map(|error| error.to_string());
    }
}

/// How many pages the log has, how many of them are in the file, and whether somebody else was in the way.
struct Log {
    pages: i64,
    copied: i64,
    is_busy: bool,
}

/// Copies what it may in this mode of SQLite's checkpoints; `NOOP` only looks.
fn checkpoint(connection: &Connection, mode: &str) -> Sql<Log> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
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

/// What was seen of a log since it was begun. A log that was begun anew and is already longer than the one before is taken for that one, so that
/// it is copied later.
#[derive(Debug, Default)]
struct Seen {
    /// How many pages it had when it was looked at last, when the thread was woken last, and when it was tried last to begin it anew.
    pages: i64,
    woken_at: i64,
    tried_at: i64,
    /// How many commits there were since the thread was woken, and since the last look.
    commits: u64,
    unseen: u64,
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
        let pages = checkpoint(&connection, "NOOP").map_err(store)?.pages;
        let (wake, woken) = bounded(1);
        let notes = checkpoints.clone();
        let thread = std::thread::Builder::new()
            .name("mlp-sqlite-checkpoint".to_owned())
            .spawn(move || {
                while woken.recv().is_ok() {
                    // What cannot be copied now is copied next time, by whoever is in the way or by us.
                    match checkpoint(&connection, "PASSIVE") {
                        Ok(log) if log.is_busy => {}
                        copied => notes.note(copied.err()),
                    }
                }
            })
            .map_err(StoreError::backend)?;
        let seen = Seen { pages, ..Seen::default() };
        let mut started =
            Self { wake: Some(wake), thread: Some(thread), checkpoints, page_size, seen };
        // Whoever left it may never write again, nor may this process write much.
        if pages * page_size >= GROWTH {
            started.wake(pages);
        }
        Ok(started)
    }

    fn wake(&mut self, pages: i64) {
        (self.seen.woken_at, self.seen.commits) = (pages, 0);
        if let Some(wake) = &self.wake {
            // It is awake already.
            let _ = wake.try_send(());
        }
    }

    /// Counts a commit.
    pub(crate) fn committed(&mut self) {
        self.seen.commits += 1;
        self.seen.unseen += 1;
    }

    /// Looks after the log between two transactions, when nobody waits for the one before any more.
    pub(crate) fn look_after(&mut self, connection: &Connection) {
        if self.seen.unseen == 0 || (self.seen.unseen < LOOK && !self.seen.is_due) {
            return;
        }
        if let Err(error) = self.look(connection) {
            // It is tried again when the log has grown.
            self.seen.is_due = false;
            self.checkpoints.note(Some(error));
        }
    }

    fn look(&mut self, connection: &Connection) -> Sql<()> {
        let log = checkpoint(connection, "NOOP")?;
        if log.is_busy {
            return Ok(());
        }
        if log.pages < self.seen.pages {
            self.seen = Seen::default();
        }
        (self.seen.pages, self.seen.unseen) = (log.pages, 0);
        if self.seen.is_due {
            return self.begin_anew(connection);
        }
        let bytes_since = |pages: i64| (log.pages - pages) * self.page_size;
        let may_copy = self.seen.commits >= COMMITS || bytes_since(0) >= LONG;
        if may_copy && bytes_since(self.seen.woken_at) >= GROWTH {
            self.seen.is_due = bytes_since(self.seen.tried_at) >= RESTART;
            self.wake(log.pages);
        }
        Ok(())
    }

    /// Copies what the thread has left, so that the next commit begins the log anew. Waits for those that read in it if they keep the rest
    /// from being copied, or kept the log from being begun anew the last time.
    fn begin_anew(&mut self, connection: &Connection) -> Sql<()> {
        let log = checkpoint(connection, "PASSIVE")?;
        if log.is_busy {
            return Ok(());
        }
        if log.copied < log.pages || self.seen.tried_at > 0 {
            // Whoever begins a transaction sets this anew.
            connection.busy_timeout(RESTART_WAIT)?;
            checkpoint(connection, "TRUNCATE")?;
        }
        (self.seen.tried_at, self.seen.is_due) = (log.pages, false);
        self.checkpoints.note(None);
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
