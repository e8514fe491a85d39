//! Copying the write-ahead log into the file, beside the writer: whoever waits for a commit does not wait for this.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use mlp_core::StoreError;
use parking_lot::Mutex;
use rusqlite::Connection;

/// After how many changed records the log is worth copying: some megabytes.
const CHANGES: u64 = 4_000;

/// How the last copy went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoints(Arc<Mutex<Option<String>>>);

impl Checkpoints {
    pub(crate) fn error(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

#[derive(Debug)]
pub(crate) struct Checkpointer {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// How many records had been changed when it was woken last.
    woken_at: u64,
}

impl Checkpointer {
    pub(crate) fn start(
        connection: Connection,
        checkpoints: Checkpoints,
    ) -> Result<Self, StoreError> {
        let (wake, woken) = bounded(1);
        let thread = std::thread::Builder::new()
            .name("mlp-sqlite-checkpoint".to_owned())
            .spawn(move || {
                while woken.recv().is_ok() {
                    // What cannot be copied now is copied next time.
                    let copied =
                        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                    *checkpoints.0.lock() = copied.err().map(|error| error.to_string());
                }
            })
            .map_err(StoreError::backend)?;
        Ok(Self { wake: Some(wake), thread: Some(thread), woken_at: 0 })
    }

    /// Tells it how many records have been changed by now.
    pub(crate) fn changed(&mut self, changes: u64) {
        // A connection that was opened anew counts from 0.
        if changes < self.woken_at || changes - self.woken_at >= CHANGES {
            self.woken_at = changes;
            if let Some(wake) = &self.wake {
                // It is awake already.
                let _ = wake.try_send(());
            }
        }
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
