//! One write transaction: what it adds to the totals of each table, and savepoints that take single writes back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use mlp_core::StoreError;
use rusqlite::Connection;

use crate::error::{Sql, store};

/// What a transaction changes of a table's total.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    records: i64,
    digest: i64,
}

/// A write transaction under way.
pub(crate) struct Session<'a> {
    pub(crate) connection: &'a Connection,
    changes: RefCell<BTreeMap<&'static str, Change>>,
    is_full: Cell<bool>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection, changes: RefCell::default(), is_full: Cell::new(false) }
    }

    /// A record with this checksum is new.
    pub(crate) fn added(&self, table: &'static str, checksum: i64) {
        self.change(table, 1, checksum);
    }

    /// A record with this checksum is gone.
    pub(crate) fn removed(&self, table: &'static str, checksum: i64) {
        self.change(table, -1, checksum);
    }

    fn change(&self, table: &'static str, records: i64, digest: i64) {
        let mut changes = self.changes.borrow_mut();
        let change = changes.entry(table).or_default();
        change.records += records;
        change.digest ^= digest;
    }

    /// Does one write; what it did is taken back if it fails.
    pub(crate) fn within<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let before = self.changes.borrow().clone();
        self.run("SAVEPOINT one").map_err(store)?;
        let result = work(self);
        let ended = match result {
            Ok(_) => self.run("RELEASE one"),
            // An error that ended the whole transaction leaves no savepoint to go back to.
            Err(_) if self.connection.is_autocommit() => Ok(()),
            Err(_) => self.run("ROLLBACK TO one").and_then(|()| self.run("RELEASE one")),
        };
        if let Err(error) = &result {
            self.is_full.set(matches!(error, StoreError::StorageFull));
            *self.changes.borrow_mut() = before;
        }
        ended.map_err(store)?;
        result
    }

    /// Whether the last write that failed did so because the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.get()
    }

    fn run(&self, sql: &str) -> Sql<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Writes the totals down.
    pub(crate) fn settle(&self) -> Sql<()> {
        // SQLite has no exclusive or: a bit is set in either if it is in their union and not in their intersection.
        let mut statement = self.connection.prepare_cached(
            "UPDATE total SET records = records + ?2, digest = (digest | ?3) - (digest & ?3) WHERE name = ?1",
        )?;
        for (table, change) in self.changes.take() {
            if change.records != 0 || change.digest != 0 {
                statement.execute((table, change.records, change.digest))?;
            }
        }
        Ok(())
    }
}
