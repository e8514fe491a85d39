//! The layer under SQLite itself, beside a connection without it.

use rusqlite::{Connection, OpenFlags};

/// A connection whose memory takes few pages, so that it writes them before it commits.
fn connect(path: &std::path::Path, is_gathering: bool) -> Connection {
    let connection = match is_gathering {
        true => {
            let vfs = crate::gather::vfs().expect("the default VFS is SQLite's own");
            Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs)
        }
        false => Connection::open(path),
    };
    let connection = connection.unwrap();
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = 8;
                    PRAGMA wal_autocheckpoint = 0;
                    CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, text TEXT);";
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
    for pages in 1..40 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (ours, other) = (connect(&path, true), connect(&path, false));
        ours.execute_batch("BEGIN IMMEDIATE").unwrap();
        add(&ours, pages, "r");
        ours.execute_batch("ROLLBACK").unwrap();
        add(&other, 30, "o");
        check(&ours, &[("r", 0), ("o", 30)]);
        ours.execute_batch("BEGIN IMMEDIATE").unwrap();
        add(&ours, pages, "c");
        ours.execute_batch("SAVEPOINT s").unwrap();
        add(&ours, pages, "s");
        ours.execute_batch(
            "ROLLBACK TO s; UPDATE item SET text = upper(text) WHERE id % 7 = 0; COMMIT",
        )
        .unwrap();
        for connection in [&other, &connect(&path, false), &ours] {
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
        let left = connect(&folder.path().join("left.db"), false);
        let all: i64 = left.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).unwrap();
        assert_eq!(all, 30 + pages as i64);
        check(&left, &[("r", 0), ("s", 0)]);
    }
}
