//! Copying the write-ahead log into the file, beside the writer: whoever waits for a commit does not wait for this.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use mlp_core::StoreError;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::Sql;

/// After how many changed records the log is worth copying: some tens of megabytes, in which the same pages come often, and each is copied once.
const CHANGES: u64 = 20_000;
/// By how many bytes the log grows before it is worth copying: large records are few.
const GROWTH: u64 = 32 << 20;

/// A log of so many bytes is begun anew even if readers never pause: writes wait for those that read in it.
const LOG: i64 = 64 << 20;
/// How long they wait at most. Readers that take longer keep the log growing.
const RESTART_WAIT: Duration = Duration::from_millis(200);

/// How the last copy went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoints(Arc<Mutex<Option<String>>>);

impl Checkpoints {
    pub(crate) fn error(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

/// How many pages of a database a log has that is begun anew.
pub(crate) fn log_pages(connection: &Connection) -> Sql<i64> {
    let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    Ok(LOG / page_size)
}

#[derive(Debug)]
pub(crate) struct Checkpointer {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    log: PathBuf,
    /// How many records had been changed, and how long the log was, when it was woken last.
    woken_at: (u64, u64),
}

impl Checkpointer {
    pub(crate) fn start(
        connection: Connection,
        database: &Path,
        checkpoints: Checkpoints,
    ) -> Result<Self, StoreError> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let (wake, woken) = bounded(1);
        let thread = std::thread::Builder::new()
            .name("mlp-sqlite-checkpoint".to_owned())
            .spawn(move || {
                let mut copier = Copier { connection, tried_at: 0 };
                while woken.recv().is_ok() {
                    // What cannot be copied now is copied next time.
                    *checkpoints.0.lock() = copier.copy().err().map(|error| error.to_string());
                }
            })
            .map_err(StoreError::backend)?;
        Ok(Self { wake: Some(wake), thread: Some(thread), log: log.into(), woken_at: (0, 0) })
    }

    /// Tells it how many records have been changed by now.
    pub(crate) fn changed(&mut self, changes: u64) {
        let bytes = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        let (changes_then, bytes_then) = self.woken_at;
        // A connection that was opened anew counts from 0, and the log may have been cut.
        let is_new = changes < changes_then || bytes < bytes_then;
        if is_new || changes - changes_then >= CHANGES || bytes - bytes_then >= GROWTH {
            self.woken_at = (changes, bytes);
            if let Some(wake) = &self.wake {
                // It is awake already.
                let _ = wake.try_send(());
            }
        }
    }
}

struct Copier {
    connection: Connection,
    /// How long the log was when readers kept it from being begun anew.
    tried_at: i64,
}

impl Copier {
    fn copy(&mut self) -> Sql<()> {
        // Nobody waits for this; but while somebody reads in the log, it grows.
        let (log, long) = (self.checkpoint("PASSIVE")?, log_pages(&self.connection)?);
        if log < long {
            self.tried_at = 0;
        } else if log >= self.tried_at + long {
            self.connection.busy_timeout(RESTART_WAIT)?;
            self.tried_at = self.checkpoint("TRUNCATE")?;
        }
        Ok(())
    }

    /// Copies what it can; gives how many pages are in the log then.
    fn checkpoint(&self, mode: &str) -> Sql<i64> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        self.connection.query_row(&sql, [], |row| row.get(1))
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
