//! Writers while another process writes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mlp_core::StoreError;

use crate::database::{Database, Options};
use crate::session::Session;

const WRITERS: usize = 8;

/// A write that does nothing but tell whether it is the first of its transaction.
fn is_first(session: &Session<'_>) -> Result<bool, StoreError> {
    let is_first = session.changes().is_empty();
    session.added("no table", 0);
    Ok(is_first)
}

fn locked(database: &Database) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(database.path()).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// How long writers wait for a lock that nobody gives back, and that all hear that it is busy.
fn waits_for_a_lock(patience: Duration) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().with_busy_timeout(patience);
    let database = Database::open_with(folder.path().join("mlp.db"), &options).unwrap();
    let lock = locked(&database);
    let waits: Vec<Duration> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let database = &database;
                scope.spawn(move || {
                    let asked = Instant::now();
                    let result = database.write(is_first);
                    assert!(matches!(result, Err(StoreError::Busy { .. })), "{result:?}");
                    asked.elapsed()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    drop(lock);
    assert!(database.write(is_first).unwrap(), "it goes on when the lock is gone");
    waits
}

#[test]
fn all_writers_that_wait_for_a_lock_hear_that_it_is_busy_after_the_timeout_and_not_one_by_one() {
    let patience = Duration::from_millis(500);
    // One after the other they would wait for up to eight times as long, every time; on a busy machine one may wait for a processor.
    let mut seen = Vec::new();
    let are_told_together = (0..5).any(|_| {
        let waits = waits_for_a_lock(patience);
        assert!(waits.iter().all(|wait| *wait >= patience), "somebody gave up early: {waits:?}");
        let is_together = waits.iter().all(|wait| *wait < 4 * patience);
        seen.push(waits);
        is_together
    });
    assert!(are_told_together, "somebody waited for much longer than it would: {seen:?}");
}

#[test]
fn what_waited_for_a_lock_is_committed_as_one_group() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().with_busy_timeout(Duration::from_secs(120));
    let database = Database::open_with(folder.path().join("mlp.db"), &options).unwrap();
    let lock = locked(&database);
    let groups = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                groups.fetch_add(usize::from(database.write(is_first).unwrap()), Ordering::SeqCst);
            });
        }
        // The first is out of the queue, and waits for the lock.
        while database.waiting() < WRITERS - 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Far more than a group is worked on.
        std::thread::sleep(Duration::from_millis(100));
        drop(lock);
    });
    let groups = groups.into_inner();
    // One, or some more where the writer is kept from a processor while it works; by themselves they would be as many as the writers.
    assert!(groups <= WRITERS / 2, "{WRITERS} writes that waited together took {groups} commits");
}
