//! Whose turn it is among processes that write to one file.
//!
//! SQLite lets whoever asks at the right moment write, so that a process which writes without a pause starves the others. Here everybody
//! takes a lock on a file of its own before asking for the write lock, and gives it back once they have that: whoever waits for the write lock
//! holds the turn meanwhile, and the one that has just written has to wait for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use mlp_core::StoreError;

/// Between two looks at a lock that another process holds: a fraction of a disk sync.
const PAUSE: Duration = Duration::from_micros(200);

/// The file that turns are taken by: the name of the database with `-turns` behind it. It holds nothing, and may be deleted while nobody
/// has the database open.
#[derive(Debug)]
pub(crate) struct Turns(File);

/// The turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a File);

impl Turns {
    pub(crate) fn open(database: &Path) -> Result<Self, StoreError> {
        let mut path = database.as_os_str().to_owned();
        path.push("-turns");
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map(Self).map_err(StoreError::backend)
    }

    /// Waits for the turn until a deadline.
    pub(crate) fn take(&self, deadline: Instant) -> Result<Turn<'_>, StoreError> {
        loop {
            match self.0.try_lock() {
                Ok(()) => return Ok(Turn(&self.0)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let reason = "other processes write to the file".to_owned();
                    return Err(StoreError::Busy { reason });
                }
                Err(TryLockError::Error(error)) => return Err(StoreError::backend(error)),
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A lock that cannot be given back goes with the file, at the latest with the process.
        let _ = self.0.unlock();
    }
}
