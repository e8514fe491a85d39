//! The lock of a journal: the operating system's between our processes, a lock file against Optuna's.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use mlp_core::StoreError;

use super::storage_error;
use crate::worker;

/// A lock file that stood untouched for so long was left by a dead process (Optuna's own grace period).
const GRACE: Duration = Duration::from_secs(30);
/// How long to wait for a living holder.
const PATIENCE: Duration = Duration::from_secs(120);

/// Held while one line is written; released when dropped.
///
/// The system's lock on the journal comes first: it vanishes with its holder, so only one of our processes at a time deals with the lock
/// file. The file `<journal>.lock` then keeps Optuna's processes out, whichever of its two kinds of lock they use. Ours holds the identity
/// of the process, so that the lock of a dead one is broken at once.
#[derive(Debug)]
pub(super) struct FileLock<'a> {
    journal: &'a File,
    path: PathBuf,
}

impl<'a> FileLock<'a> {
    pub(super) fn take(journal: &'a File, path: &Path) -> Result<Self, StoreError> {
        match journal.lock() {
            // A file system without such locks still has the lock file.
            Err(error) if error.kind() != ErrorKind::Unsupported => {
                return Err(StoreError::backend(error));
            }
            _ => {}
        }
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let taken = wait_for(&lock);
        if taken.is_err() {
            let _ = journal.unlock();
        }
        taken.map(|()| Self { journal, path: lock })
    }
}

impl Drop for FileLock<'_> {
    fn drop(&mut self) {
        // Neither can be helped here: a lock file that stays is seen to be stale by the next writer.
        let _ = fs::remove_file(&self.path);
        let _ = self.journal.unlock();
    }
}

fn wait_for(path: &Path) -> Result<(), StoreError> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    let mut last = None;
    loop {
        match create(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(storage_error(error)),
        }
        let stamp = stamp(path);
        let (seen, since) = last.get_or_insert((stamp, Instant::now()));
        if *seen != stamp {
            (*seen, *since) = (stamp, Instant::now());
        }
        if stamp.is_some() && (since.elapsed() >= GRACE || holder_is_dead(path)) {
            break_lock(path, stamp);
            last = None;
            continue;
        }
        if start.elapsed() >= PATIENCE {
            return Err(StoreError::Busy { reason: format!("{} is held", path.display()) });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Creates the lock file with its content at once: who dies between the two would leave a lock of nobody, to be waited for.
fn create(path: &Path) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft"); // one writer at a time: the caller holds the system's lock
    // A process that died just after it linked its draft has left one that is the lock as well: what is written there would make it ours.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // What a full disk has left of the draft is in nobody's way: the next writer writes it anew.
    fs::write(&draft, worker::process())?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    linked
}

/// What tells one lock from the next: not the file that a symbolic link points to, but the link.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn holder_is_dead(path: &Path) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file && fs::read_to_string(path).is_ok_and(|holder| worker::is_dead(&holder))
}

/// Takes a stale lock away, under a name of its own so that only one waiter does it.
fn break_lock(path: &Path, stale: Option<(SystemTime, u64)>) {
    if stamp(path) != stale {
        return;
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!("{}.rename", std::process::id()));
    if fs::rename(path, &aside).is_ok() {
        let _ = fs::remove_file(&aside);
    }
}
