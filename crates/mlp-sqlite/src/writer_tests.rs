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

#[test]
fn all_writers_that_wait_for_a_lock_hear_that_it_is_busy_after_the_timeout_and_not_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(500);
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
    assert!(waits.iter().all(|wait| *wait >= patience), "somebody gave up early: {waits:?}");
    // One after the other they would wait for up to eight times as long.
    let longest = waits.iter().max().unwrap();
    assert!(*longest < 4 * patience, "{waits:?}");
    drop(lock);
    assert!(database.write(is_first).unwrap(), "it goes on when the lock is gone");
}

#[test]
fn what_waited_for_a_lock_is_committed_as_one_group() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("mlp.db")).unwrap();
    let lock = locked(&database);
    let (asked, groups) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                asked.fetch_add(1, Ordering::SeqCst);
                groups.fetch_add(usize::from(database.write(is_first).unwrap()), Ordering::SeqCst);
            });
        }
        while asked.load(Ordering::SeqCst) < WRITERS {
            std::thread::yield_now();
        }
        // Time for all to be in the queue, and far more than a group is worked on.
        std::thread::sleep(Duration::from_millis(100));
        drop(lock);
    });
    let groups = groups.into_inner();
    assert!(groups <= 2, "{WRITERS} writes that waited together took {groups} commits");
}
