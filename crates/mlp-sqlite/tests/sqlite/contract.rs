//! The contract suites, and what comes back after reopening.

use mlp_core::{Direction, StoreError, Timestamp};
use mlp_eval::{
    Batch, EvalStore, EvalStoreExt, Filter, NewEvaluation, Query, SeriesKey, Stage, View, testing,
};
use mlp_sqlite::Database;

/// A fresh database in a folder that outlives it.
pub(crate) fn fresh() -> Database {
    let folder = tempfile::tempdir().unwrap().keep();
    Database::open(folder.join("mlp.db")).unwrap()
}

#[test]
fn the_evaluation_store_keeps_the_contract_and_every_record_its_checksum() {
    let opened = std::cell::RefCell::new(Vec::new());
    testing::check(|| {
        let database = fresh();
        opened.borrow_mut().push(database.clone());
        database
    });
    for database in opened.into_inner() {
        let report = database.verify().unwrap();
        assert!(report.is_sound(), "{report}");
        std::fs::remove_dir_all(database.path().parent().unwrap()).unwrap();
    }
}
