//! Whether there is room to write, where SQLite only says that a write failed: it tells a full disk from other faults, but neither a limit of
//! the size of a file nor a quota.

use std::fs::{File, remove_file};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::gather::LARGEST_WRITE;

/// As much as is written at once.
static WRITE: [u8; LARGEST_WRITE] = [0; LARGEST_WRITE];

#[derive(Debug)]
pub(crate) struct Room {
    database: PathBuf,
    log: PathBuf,
    /// Written and removed again, beside the database.
    probe: PathBuf,
}

impl Room {
    pub(crate) fn new(database: &Path) -> Self {
        let beside = |suffix| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        Self { database: database.to_owned(), log: beside("-wal"), probe: beside("-probe") }
    }

    /// Whether a write behind the end of the longer file is refused for want of room. Whatever else keeps it from being written is no answer.
    pub(crate) fn is_out(&self) -> bool {
        let length = |path| std::fs::metadata(path).map_or(0, |file| file.len());
        let end = length(&self.database).max(length(&self.log));
        let written = File::create(&self.probe).and_then(|file| file.write_all_at(&WRITE, end));
        // What is left of it is empty but for that one write, and written over next time.
        let _ = remove_file(&self.probe);
        written.is_err_and(|error: Error| {
            matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded
            )
        })
    }
}
