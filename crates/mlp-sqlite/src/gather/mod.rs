//! Writes to the write-ahead log that follow each other, gathered and written by one call.
//!
//! SQLite writes each page of its log by two calls, 24 bytes and the page. Measured with 15 pages, these writes and their sync take 424 µs, and
//! 303 µs where one call writes all; with 100 pages 2.0 and 0.9 ms. So a layer between SQLite and its default VFS (what SQLite calls the layer
//! that talks to the operating system) holds what is written to a log, up to 124 KiB, until it is synced, read, or not continued.
//!
//! # Why nothing is lost and nobody sees less than before
//!
//! Of the functions of `wal.c` named here, of SQLite 3.53 (nothing is gathered for an older one, whose code was not read for this):
//!
//! * The file sees the same writes in the same order, some in one call. A power cut could always tear them apart and reorder them up to the
//!   next sync, and before a sync everything held is written.
//! * Other connections and processes read only the frames that the header of the wal-index counts. `walFrames` writes the frames of a commit,
//!   syncs the log and only then writes that header: at `synchronous = FULL`. At `NORMAL` there is no sync in between, so that connections with
//!   [`Durability::Normal`](crate::Durability::Normal) have the default VFS.
//! * If the device may damage what stands beside an overwritten byte, `walFrames` repeats frames up to the end of a sector and does not sync the
//!   last of them. So nothing is gathered where the file of the database, which SQLite asks, does not tell that it has
//!   `SQLITE_IOCAP_POWERSAFE_OVERWRITE`, as it does by default.
//! * The connection itself may read frames that it has written for want of memory before it commits, and when a commit computes checksums anew
//!   (`walRewriteChecksums`), or copies the log into the file. It does so through the same handle, and what is held is written before any of
//!   it is read.
//! * Whoever reads the log as it is, to build the wal-index anew (`walIndexRecover`), has the write lock, or stops at the last commit
//!   (`walBeginShmUnreliable`). What is held when that lock is given back was written for a transaction that has been rolled back, since a commit
//!   ends with a sync. It is dropped, for from then on others may write in its place. So the lock of the database file is watched, too, and
//!   nothing is gathered without it: not where SQLite takes no locks (exclusive locking).
//! * If what is held cannot be written, the call that needed it fails with that code. SQLite may have been told before that it was written:
//!   so every later write and sync, and every read of it, fails too, until the transaction has been rolled back and the lock given back.
//!   Without that, a later commit would count frames that are not there.
//! * The checkpointer's connection copies from the log, and so does the writer's between two transactions, which cuts it, too: all when nothing is
//!   held.

mod held;
mod shim;

#[cfg(all(test, not(miri)))]
mod sqlite_tests;
#[cfg(test)]
mod tests;

use std::ffi::CStr;

use crate::version::may_gather;

/// As much as is written at once.
pub(crate) const LARGEST_WRITE: usize = held::CAPACITY;

/// The VFS that gathers, for connections that sync each commit; none where the default one is not SQLite's own, or SQLite is older than the
/// proof.
pub(crate) fn vfs() -> Option<&'static CStr> {
    if may_gather(rusqlite::version_number()) { shim::registered() } else { None }
}
