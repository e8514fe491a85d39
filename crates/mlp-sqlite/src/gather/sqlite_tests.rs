//! The layer under SQLite itself, beside a connection without it.
#![allow(unsafe_code, reason = "a VFS that fails is put below the layer")]

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi::{self, sqlite3_file, sqlite3_filename, sqlite3_io_methods, sqlite3_vfs};
use rusqlite::{Connection, OpenFlags};

use super::shim::{Gather, undisturbed};

/// A connection whose memory takes few pages, so that it writes them before it commits.
fn connect(path: &Path, vfs: Option<&CStr>) -> Connection {
    let connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs),
        None => Connection::open(path),
    };
    let connection = connection.unwrap();
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = 8;
                    PRAGMA wal_autocheckpoint = 0;
                    CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, text TEXT NOT NULL);";
    connection.execute_batch(settings).unwrap();
    connection
}

fn add(connection: &Connection, count: usize, letter: &str) {
    for _ in 0..count {
        let sql = "INSERT INTO item (text) VALUES (?1)";
        connection.execute(sql, [letter.repeat(1_500)]).unwrap();
    }
}

fn check(connection: &Connection, letters: &[(&str, i64)]) {
    let sound: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    for (letter, count) in letters {
        let sql = "SELECT count(*) FROM item WHERE text = ?1";
        let found: i64 =
            connection.query_row(sql, [letter.repeat(1_500)], |row| row.get(0)).unwrap();
        assert_eq!(found, *count, "{letter}");
    }
}

#[test]
fn pages_of_a_transaction_rolled_back_do_not_go_over_what_others_commit() {
    assert!(super::vfs().is_some(), "the default VFS is SQLite's own");
    for pages in 1..40 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (ours, other) = (connect(&path, super::vfs()), connect(&path, None));
        ours.execute_batch("BEGIN IMMEDIATE").unwrap();
        add(&ours, pages, "r");
        // As if memory were short.
        ours.cache_flush().unwrap();
        ours.execute_batch("ROLLBACK").unwrap();
        add(&other, 30, "o");
        check(&ours, &[("r", 0), ("o", 30)]);
        ours.execute_batch("BEGIN IMMEDIATE").unwrap();
        add(&ours, pages, "c");
        ours.execute_batch("SAVEPOINT s").unwrap();
        add(&ours, pages, "s");
        ours.cache_flush().unwrap();
        ours.execute_batch(
            "ROLLBACK TO s; UPDATE item SET text = upper(text) WHERE id % 7 = 0; COMMIT",
        )
        .unwrap();
        for connection in [&other, &connect(&path, None), &ours] {
            let all: i64 =
                connection.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).unwrap();
            assert_eq!(all, 30 + pages as i64);
            check(connection, &[("r", 0), ("s", 0)]);
        }
        // As a process that died would leave it: the index of the log is built from the log alone.
        for suffix in ["", "-wal"] {
            let with = |name: &str| folder.path().join(format!("{name}{suffix}"));
            std::fs::copy(with("a.db"), with("left.db")).unwrap();
        }
        let left = connect(&folder.path().join("left.db"), None);
        let all: i64 = left.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).unwrap();
        assert_eq!(all, 30 + pages as i64);
        check(&left, &[("r", 0), ("s", 0)]);
    }
}

#[test]
fn a_log_whose_last_sector_is_filled_up_is_whole_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let uri = |name: &str| format!("file:{}?psow=0", folder.path().join(name).display());
    let ours = connect(uri("a.db").as_ref(), super::vfs());
    for _ in 0..20 {
        add(&ours, 1, "o");
    }
    let other = connect(uri("a.db").as_ref(), None);
    check(&other, &[("o", 20)]);
    for suffix in ["", "-wal"] {
        let with = |name: &str| folder.path().join(format!("{name}{suffix}"));
        std::fs::copy(with("a.db"), with("left.db")).unwrap();
    }
    check(&connect(uri("left.db").as_ref(), None), &[("o", 20)]);
}

#[test]
fn a_transaction_rolled_back_under_exclusive_locking_does_not_go_over_what_others_commit_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let ours = connect(&path, super::vfs());
    ours.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE").unwrap();
    add(&ours, 30, "r");
    ours.cache_flush().unwrap();
    ours.execute_batch("ROLLBACK; PRAGMA locking_mode = NORMAL; SELECT count(*) FROM item")
        .unwrap();
    let other = connect(&path, None);
    add(&other, 10, "o");
    for connection in [&ours, &other, &connect(&path, None)] {
        check(connection, &[("r", 0), ("o", 10)]);
    }
}

thread_local! {
    /// How many writes of a log are left until one fails; none does at less than one.
    static LEFT: Cell<i32> = const { Cell::new(0) };
}

static REAL: OnceLock<sqlite3_io_methods> = OnceLock::new();
static FAILING: OnceLock<sqlite3_io_methods> = OnceLock::new();

unsafe extern "C" fn failing_write(
    file: *mut sqlite3_file,
    data: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    LEFT.set(LEFT.get() - 1);
    match LEFT.get() {
        0 => ffi::SQLITE_FULL,
        _ => unsafe { (REAL.get().unwrap().xWrite.unwrap())(file, data, amount, offset) },
    }
}

unsafe extern "C" fn failing_open(
    _: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    unsafe {
        let real = ffi::sqlite3_vfs_find(ptr::null());
        let code = (*real).xOpen.unwrap()(real, name, file, flags, flags_out);
        if code == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_WAL != 0 {
            let real = *REAL.get_or_init(|| *(*file).pMethods);
            let failing = sqlite3_io_methods { xWrite: Some(failing_write), ..real };
            (*file).pMethods = FAILING.get_or_init(|| failing);
        }
        code
    }
}

/// The layer above a VFS whose logs fail.
fn above_failing() -> &'static CStr {
    let name = c"above-failing";
    unsafe {
        let real = ffi::sqlite3_vfs_find(ptr::null());
        let mut failing = Box::new(undisturbed(|| *real));
        failing.xOpen = Some(failing_open);
        let vfs: *mut sqlite3_vfs =
            Box::into_raw(Box::new(Gather::over(Box::into_raw(failing)))).cast();
        (*vfs).zName = name.as_ptr();
        assert_eq!(ffi::sqlite3_vfs_register(vfs, 0), ffi::SQLITE_OK);
    }
    name
}

#[test]
fn a_transaction_that_goes_on_after_a_write_failed_is_not_committed() {
    let vfs = above_failing();
    let (mut failed_early, mut failed_at_commit, mut committed) = (0, 0, 0);
    // None fails in the first.
    for left in 0..80 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (ours, other) = (connect(&path, Some(vfs)), connect(&path, None));
        ours.execute_batch("BEGIN IMMEDIATE").unwrap();
        add(&ours, 200, "o");
        ours.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
        LEFT.set(left);
        // Whatever is answered, it goes on until SQLite itself rolls it back: what SQLite was told is written is read again, and written over.
        let mut is_whole = true;
        for k in 0..12 {
            if ours.is_autocommit() {
                break;
            }
            let sql = "INSERT INTO item (text) VALUES (?1)";
            is_whole &= ours.execute(sql, ["n".repeat(1_500)]).is_ok();
            // As if memory were short, whatever the other tests leave of it: what is changed is written, and then read again.
            is_whole &= ours.cache_flush().is_ok();
            is_whole &= ours.execute_batch("PRAGMA shrink_memory").is_ok();
            // After a full disk only this is taken back: it has a journal of its own, for it changes many rows and might meet no text.
            let sql = "UPDATE item SET text = trim(text) WHERE id > ?1";
            is_whole &= ours.execute(sql, [190 + k]).is_ok();
        }
        let is_committed = !ours.is_autocommit() && ours.execute_batch("COMMIT").is_ok();
        LEFT.set(0);
        if !ours.is_autocommit() {
            ours.execute_batch("ROLLBACK").unwrap();
        }
        assert!(is_whole || !is_committed, "committed without what could not be written");
        failed_early += usize::from(!is_whole);
        failed_at_commit += usize::from(is_whole && !is_committed);
        committed += usize::from(is_committed);
        let count = if is_committed { 12 } else { 0 };
        for connection in [&other, &connect(&path, None), &ours] {
            check(connection, &[("o", 200), ("n", count)]);
        }
        add(&ours, 5, "l");
        check(&other, &[("o", 200), ("n", count), ("l", 5)]);
    }
    eprintln!("{failed_early} failed early, {failed_at_commit} at the commit, {committed} did not");
    assert!(failed_early >= 5 && failed_at_commit >= 5 && committed >= 1);
}
