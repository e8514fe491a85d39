//! Tampering by somebody who knows how records are written: checksums and totals fit afterwards.

use mlp_core::{ModelName, RecordId, StoreError, Timestamp};
use mlp_lineage::{FaultKind, LineageStore, LineageStoreExt, Record};
use rusqlite::Connection;

use crate::database::Database;
use crate::records::sum_of;

const TABLES: [&str; 3] = ["lineage_entry", "lineage_node", "lineage_edge"];

fn model() -> ModelName {
    "wine".parse().unwrap()
}

/// A database of six records, each built on the one before.
fn filled(folder: &std::path::Path) -> Database {
    let database = Database::open(folder.join("mlp.db")).unwrap();
    let mut parent = None;
    for k in 0..6 {
        let at = Timestamp::from_micros(k);
        let mut record = Record::new(model(), at).with_author(format!("author {k}"));
        record.parents.extend(parent);
        parent = Some(record.id);
        database.record_version(record, at).unwrap();
    }
    database
}

/// Writes every checksum and total anew: the algorithm is no secret.
fn make_checksums_fit(connection: &Connection) {
    for table in TABLES {
        let sql = format!("SELECT * FROM {table}");
        let mut statement = connection.prepare(&sql).unwrap();
        let columns = statement.column_count() - 1;
        let [first, second] =
            [0, 1].map(|column| statement.column_name(column).unwrap().to_owned());
        let mut rows = statement.query([]).unwrap();
        let mut sums = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let sum = sum_of(table, row, columns).unwrap();
            sums.push((
                row.get::<_, i64>(0).unwrap(),
                row.get::<_, rusqlite::types::Value>(1).unwrap(),
                sum,
            ));
        }
        let sql = format!("UPDATE {table} SET checksum = ?1 WHERE {first} = ?2 AND {second} IS ?3");
        for (key, next, sum) in &sums {
            connection.execute(&sql, (sum, key, next)).unwrap();
        }
        let digest = sums.iter().fold(0, |digest, (_, _, sum)| digest ^ sum);
        let total = "UPDATE total SET records = ?1, digest = ?2 WHERE name = ?3";
        assert_eq!(connection.execute(total, (sums.len() as i64, digest, table)).unwrap(), 1);
    }
}

fn forged(folder: &std::path::Path, change: &str) -> Database {
    drop(filled(folder));
    forge(folder, change)
}

fn forge(folder: &std::path::Path, change: &str) -> Database {
    let connection = Connection::open(folder.join("mlp.db")).unwrap();
    connection.execute_batch(change).unwrap();
    make_checksums_fit(&connection);
    drop(connection);
    Database::open(folder.join("mlp.db")).unwrap()
}

#[test]
fn what_was_forged_with_its_checksums_is_named_by_the_chain() {
    for (change, fault) in [
        ("SELECT 1", None),
        (
            "UPDATE lineage_entry SET event = replace(event, 'author 3', 'somebody') WHERE sequence = 3",
            Some((3, FaultKind::Altered)),
        ),
        ("DELETE FROM lineage_entry WHERE sequence = 2", Some((2, FaultKind::Missing))),
        (
            "CREATE TEMP TABLE t AS SELECT * FROM lineage_entry WHERE sequence = 2;
             UPDATE lineage_entry SET event = (SELECT event FROM lineage_entry WHERE sequence = 3) WHERE sequence = 2;
             UPDATE lineage_entry SET event = (SELECT event FROM t) WHERE sequence = 3;",
            Some((2, FaultKind::Altered)),
        ),
        (
            "INSERT INTO lineage_entry SELECT 6, previous, hash, record, is_record, model, event, checksum
             FROM lineage_entry WHERE sequence = 5",
            Some((6, FaultKind::Altered)),
        ),
        (
            "UPDATE lineage_entry SET sequence = 60 WHERE sequence = 4;
             UPDATE lineage_entry SET sequence = 4 WHERE sequence = 5;
             UPDATE lineage_entry SET sequence = 5 WHERE sequence = 60;",
            Some((4, FaultKind::Altered)),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let database = forged(folder.path(), change);
        let found = database.verify_chain(None).unwrap().map(|fault| (fault.sequence, fault.kind));
        assert_eq!(found, fault, "{change}");
        let report = database.verify().unwrap();
        assert_eq!(report.is_sound(), fault.is_none(), "{change}: {report}");
    }
}

#[test]
fn an_entry_under_the_name_of_another_is_not_given_as_that_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = forged(
        folder.path(),
        "UPDATE lineage_entry SET record = zeroblob(16), model = 'beer' WHERE sequence = 2",
    );
    assert_eq!(database.verify_chain(None).unwrap(), None);
    let nobody = RecordId::from_bytes([0; 16]);
    assert!(matches!(database.get(nobody), Err(StoreError::Corrupt { .. })));
    assert!(matches!(
        database.records_of(&"beer".parse().unwrap()),
        Err(StoreError::Corrupt { .. })
    ));
    let report = database.verify().unwrap().to_string();
    assert!(report.contains("it is kept under the name of another"), "{report}");
}

#[test]
fn a_graph_that_says_something_else_than_the_chain_is_found() {
    for change in [
        "UPDATE lineage_edge SET parent = 1 WHERE child = 5",
        "DELETE FROM lineage_edge WHERE child = 3",
        "INSERT INTO lineage_edge VALUES (2, 6, 0)",
        "UPDATE lineage_node SET name = '\"nothing\"' WHERE n = 2",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let report = forged(folder.path(), change).verify().unwrap().to_string();
        assert!(report.contains("lineage graph"), "{change}: {report}");
    }
}

#[test]
fn a_record_whose_node_is_gone_is_found_though_no_edge_is() {
    for (change, reason) in [
        ("SELECT 1", None),
        ("DELETE FROM lineage_node WHERE n = 7", Some("it lacks 1 nodes")),
        ("INSERT INTO lineage_node VALUES (8, '\"nothing\"', 0)", Some("a node that no entry")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let database = filled(folder.path());
        // Nothing leads to it, and it leads to nothing.
        database.record(Record::new(model(), Timestamp::from_micros(9))).unwrap();
        drop(database);
        let report = forge(folder.path(), change).verify().unwrap();
        let found = report.findings.first().map(|finding| finding.reason.as_str());
        let is_as_expected = match (found, reason) {
            (Some(found), Some(reason)) => found.contains(reason),
            (found, reason) => found.is_none() && reason.is_none(),
        };
        assert!(is_as_expected, "{change}: {report}");
    }
}

#[test]
fn a_chain_with_a_great_gap_is_judged_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = forged(
        folder.path(),
        "UPDATE lineage_entry SET sequence = 4000000000000 WHERE sequence = 5",
    );
    let fault = database.verify_chain(None).unwrap().unwrap();
    assert_eq!((fault.sequence, fault.kind), (5, FaultKind::Missing));
    assert_eq!(database.all_entries().unwrap().len(), 6);
}
