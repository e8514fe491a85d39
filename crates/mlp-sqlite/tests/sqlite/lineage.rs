//! Lineage in the file: tampering, and a record with its version in one step.

use mlp_core::{ModelName, RecordId, StoreError, VersionNumber};
use mlp_lineage::{FaultKind, LineageStore, LineageStoreExt, ModelRegistry, Node, Record};
use mlp_sqlite::Database;

use crate::contract::fresh;
use crate::script::at;

fn model() -> ModelName {
    "wine".parse().unwrap()
}

fn filled() -> Database {
    let database = fresh();
    let mut parent = None;
    for k in 0..6 {
        let mut record = Record::new(model(), at(k)).with_author(format!("author {k}"));
        if let Some(parent) = parent {
            record = record.with_parent(parent);
        }
        parent = Some(record.id);
        database.record_version(record, at(k)).unwrap();
    }
    database
}

#[test]
fn a_record_and_its_version_come_together_or_not_at_all() {
    let database = fresh();
    let record = Record::new(model(), at(1));
    let (head, version) = database.record_version(record.clone(), at(1)).unwrap();
    assert_eq!((head.sequence, version), (0, VersionNumber(1)));
    let again = database.record_version(record.clone(), at(2));
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    let orphan = Record::new(model(), at(2)).with_parent(RecordId::generate());
    assert!(matches!(database.record_version(orphan, at(2)), Err(StoreError::NotFound { .. })));
    assert_eq!(database.versions(&model()).unwrap().len(), 1);
    assert_eq!(database.records_of(&model()).unwrap(), [record]);
}

/// Changes the file behind the library's back.
fn tampered(change: &str) -> Database {
    let database = filled();
    let path = database.path().to_owned();
    drop(database);
    let connection = rusqlite::Connection::open(&path).unwrap();
    assert!(connection.execute(change, []).unwrap() > 0, "{change} changed nothing");
    drop(connection);
    Database::open(path).unwrap()
}

#[test]
fn every_way_of_tampering_is_named_by_its_first_entry_or_reported_by_verify() {
    let named = |change: &str| {
        let database = tampered(change);
        let found = database.verify_chain(None);
        assert!(!database.verify().unwrap().is_sound(), "{change}: unnoticed by verify");
        found.unwrap().map(|fault| (fault.sequence, fault.kind))
    };
    let altered = |sequence| Some((sequence, FaultKind::Altered));
    for (change, fault) in [
        (
            "UPDATE lineage_entry SET event = replace(event, 'author 3', 'somebody') WHERE sequence = 3",
            altered(3),
        ),
        ("UPDATE lineage_entry SET event = 'no JSON' WHERE sequence = 3", altered(3)),
        ("UPDATE lineage_entry SET event = 'no JSON' WHERE sequence IN (2, 4)", altered(2)),
        ("UPDATE lineage_entry SET hash = zeroblob(32) WHERE sequence = 2", altered(2)),
        ("UPDATE lineage_entry SET previous = zeroblob(32) WHERE sequence = 4", altered(4)),
        ("UPDATE lineage_entry SET model = 'beer' WHERE sequence = 1", altered(1)),
        ("DELETE FROM lineage_entry WHERE sequence = 2", Some((2, FaultKind::Missing))),
        ("DELETE FROM lineage_entry WHERE sequence < 3", Some((0, FaultKind::Missing))),
        ("DELETE FROM lineage_entry WHERE sequence = 5", None),
        ("UPDATE lineage_entry SET sequence = 9 WHERE sequence = 3", Some((3, FaultKind::Missing))),
        (
            "UPDATE lineage_entry SET sequence = -1 WHERE sequence = 0",
            Some((0, FaultKind::Missing)),
        ),
    ] {
        assert_eq!(named(change), fault, "{change}");
    }
    for change in [
        "UPDATE model_version SET entry = replace(entry, '1', '2') WHERE version = 1",
        "DELETE FROM model_version WHERE version = 2",
        "UPDATE registered_model SET last = 3",
        "DELETE FROM lineage_edge WHERE child = 2",
        "UPDATE lineage_node SET name = '\"x\"' WHERE n = 2",
        "DELETE FROM total WHERE name = 'lineage_entry'",
    ] {
        assert!(!tampered(change).verify().unwrap().is_sound(), "{change}");
    }
    // The cut-off tail is what a head kept elsewhere is for.
    let whole = filled();
    let head = whole.head().unwrap().unwrap();
    assert_eq!(whole.verify_chain(Some(head)).unwrap(), None);
    let connection = rusqlite::Connection::open(whole.path()).unwrap();
    connection.execute("DELETE FROM lineage_entry WHERE sequence = 5", []).unwrap();
    let fault = whole.verify_chain(Some(head)).unwrap().unwrap();
    assert_eq!((fault.sequence, fault.kind), (5, FaultKind::Truncated));
}

#[test]
fn a_hundred_thousand_records_with_two_parents_are_walked_by_the_database() {
    let n: usize = std::env::var("MLP_SQLITE_RECORDS").map_or(4_000, |text| text.parse().unwrap());
    let database = fresh();
    let ids: Vec<RecordId> = (0..n).map(|_| RecordId::generate()).collect();
    std::thread::scope(|scope| {
        // Each layer of a hundred is written by as many threads at once, after the one before.
        for layer in ids.chunks(100).enumerate().collect::<Vec<_>>() {
            let (number, layer) = layer;
            let writers: Vec<_> = layer
                .iter()
                .enumerate()
                .map(|(k, id)| {
                    let (database, ids) = (&database, &ids);
                    scope.spawn(move || {
                        let mut record = Record::new(model(), at(1));
                        record.id = *id;
                        if number > 0 {
                            let before = &ids[(number - 1) * 100..number * 100];
                            record =
                                record.with_parent(before[k]).with_parent(before[(k + 1) % 100]);
                        }
                        database.record(record).unwrap();
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
        }
    });
    let last = Node::Record(ids[n - 1]);
    let began = std::time::Instant::now();
    let ancestors = database.ancestors(&last).unwrap();
    eprintln!("{} ancestors of {n} in {:?}", ancestors.len(), began.elapsed());
    // Two of the layer before, three of the one before that, and so on up to whole layers.
    let layers = n / 100 - 1;
    let expected: usize = (1..=layers).map(|depth| (depth + 1).min(100)).sum();
    assert_eq!(ancestors.len(), expected);
    std::fs::remove_dir_all(database.path().parent().unwrap()).unwrap();
}
