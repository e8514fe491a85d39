//! The contract of [`LineageStore`], executable: every backend passes it.

use std::thread;

use mlp_core::{Params, RecordId, StoreError, VersionNumber};

use crate::record::{Description, Record};
use crate::store::LineageStore;

type Check = fn(&dyn LineageStore);

const CHECKS: &[(&str, Check)] = &[
    ("a_record_is_kept_as_it_was_returned", a_record_is_kept_as_it_was_returned),
    ("records_form_one_chain", records_form_one_chain),
    ("a_version_is_described_once", a_version_is_described_once),
    ("what_is_not_there_is_not_found", what_is_not_there_is_not_found),
    ("eight_writers_make_one_chain", eight_writers_make_one_chain),
];

/// Runs every check, each on a fresh store from `open`.
///
/// # Panics
/// If the store breaks a promise; the name of the check is printed before it runs.
#[expect(clippy::print_stderr, reason = "the name of the check that fails")]
pub fn check<S: LineageStore>(open: impl Fn() -> S) {
    for (name, check) in CHECKS {
        eprintln!("check {name}");
        check(&open());
    }
}

#[expect(clippy::unwrap_used, reason = "a check fails by panicking")]
fn description(model: &str, version: u64) -> Description {
    Description::new(model, version)
        .unwrap()
        .with_configuration(Params::new().with("c", f64::NAN).with("name", "näme ' --"))
}

#[expect(clippy::unwrap_used, reason = "a check fails by panicking")]
fn a_record_is_kept_as_it_was_returned(store: &dyn LineageStore) {
    let record = store.append(description("wine", 1)).unwrap();
    let json = |record: &Record| serde_json::to_string(record).unwrap();
    assert_eq!(json(&store.get(record.id).unwrap()), json(&record));
    assert_eq!(
        json(&store.of_version(&record.description.model, VersionNumber(1)).unwrap()),
        json(&record)
    );
    assert_eq!(record.content_hash().unwrap(), record.hash);
}

#[expect(clippy::unwrap_used, reason = "a check fails by panicking")]
fn records_form_one_chain(store: &dyn LineageStore) {
    for version in 1..=5 {
        store.append(description("wine", version)).unwrap();
    }
    let records = store.records().unwrap();
    assert_eq!(records.len(), 5);
    assert_eq!((records[0].sequence, records[0].previous), (0, None));
    for pair in records.windows(2) {
        assert_eq!(
            (pair[1].sequence, pair[1].previous),
            (pair[0].sequence + 1, Some(pair[0].hash))
        );
    }
}

#[expect(clippy::unwrap_used, reason = "a check fails by panicking")]
fn a_version_is_described_once(store: &dyn LineageStore) {
    store.append(description("wine", 1)).unwrap();
    assert!(matches!(
        store.append(description("wine", 1).with_seed(7)),
        Err(StoreError::Conflict { .. })
    ));
    store.append(description("beer", 1)).unwrap();
    assert_eq!(store.records().unwrap().len(), 2);
}

#[expect(clippy::unwrap_used, reason = "a check fails by panicking")]
fn what_is_not_there_is_not_found(store: &dyn LineageStore) {
    assert!(matches!(store.get(RecordId::generate()), Err(StoreError::NotFound { .. })));
    let record = store.append(description("wine", 1)).unwrap();
    assert!(matches!(
        store.of_version(&record.description.model, VersionNumber(2)),
        Err(StoreError::NotFound { .. })
    ));
}

#[expect(clippy::unwrap_used, reason = "a check fails by panicking")]
fn eight_writers_make_one_chain(store: &dyn LineageStore) {
    thread::scope(|scope| {
        for writer in 0..8_u64 {
            scope.spawn(move || {
                (0..10).for_each(|i| {
                    drop(store.append(description("wine", 1 + writer * 10 + i)).unwrap())
                })
            });
        }
    });
    let records = store.records().unwrap();
    assert_eq!(records.len(), 80);
    assert!(records.windows(2).all(|pair| pair[1].previous == Some(pair[0].hash)));
}
