//! Whose turn it is among processes that write to one file.
//!
//! SQLite lets whoever asks at the right moment write, so that a process which writes without a pause starves the others. Here everybody
//! takes a lock on a file of its own before asking for the write lock, and gives it back once they have that: whoever waits for the write lock
//! holds the turn meanwhile, and the one that has just written has to wait for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use mlp_core::StoreError;

/// Between two looks at a lock that another process holds: a fraction of a disk sync.
const PAUSE: Duration = Duration::from_micros(200);

/// How long a file is waited for that somebody else is beginning.
const FIRST_WAIT: Duration = Duration::from_millis(20);

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
        let began = Instant::now();
        loop {
            let file = begin(Path::new(&path), database).or_else(|error| match error.kind() {
                ErrorKind::AlreadyExists => take_part(Path::new(&path)),
                _ => Err(error),
            });
            match file {
                // Whoever begins it just now has not given it to others yet.
                Err(error) if is_passing(&error) && began.elapsed() < FIRST_WAIT => {
                    std::thread::sleep(PAUSE);
                }
                file => return file.map(Self).map_err(StoreError::backend),
            }
        }
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

/// Begins the file for whoever may use the database, as SQLite does with its own.
fn begin(path: &Path, database: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create_new(true).append(true).open(path)?;
    let of = std::fs::metadata(database)?;
    // Not every file system has them, and only the administrator can give a file away.
    let _ = file.set_permissions(of.permissions());
    let _ = fchown(&file, Some(of.uid()), Some(of.gid()));
    Ok(file)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound)
}

/// Opens a file that somebody else began: to lock it, reading is enough.
fn take_part(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path).or_else(|error| match error.kind() {
        ErrorKind::PermissionDenied => File::open(path),
        _ => Err(error),
    })
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A lock that cannot be given back goes with the file, at the latest with the process.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_of_turns_is_for_whoever_may_use_the_database_and_can_be_read_only() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("mlp.db");
        File::create(&database).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(&database, PermissionsExt::from_mode(0o664)).unwrap();
        let first = Turns::open(&database).unwrap();
        let path = folder.path().join("mlp.db-turns");
        assert_eq!(mode(&path), 0o664);
        // Whoever can only read it takes turns all the same.
        let reader = Turns(File::open(&path).unwrap());
        let turn = reader.take(Instant::now()).unwrap();
        assert!(first.take(Instant::now()).is_err());
        drop(turn);
        assert!(first.take(Instant::now()).is_ok());
    }
}
