//! One write transaction, and what it adds to the totals of each table.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;

use crate::error::Sql;

/// The most numbers that are remembered.
const MOST_KNOWN: usize = 100_000;

/// Numbers of names that never change once they are written, so that each write need not look them up. Only the writer has it, and
/// forgets it when anything it wrote may have been taken back.
#[derive(Debug, Default)]
pub(crate) struct Known(RefCell<HashMap<String, i64>>);

impl Known {
    pub(crate) fn get(&self, name: &str) -> Option<i64> {
        self.0.borrow().get(name).copied()
    }

    pub(crate) fn put(&self, name: String, number: i64) {
        let mut known = self.0.borrow_mut();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(name, number);
    }

    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// What a transaction changes of each table's total.
pub(crate) type Changes = BTreeMap<&'static str, Change>;

/// What a transaction changes of a table's total.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    records: i64,
    digest: i64,
}

/// A write transaction under way.
pub(crate) struct Session<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) known: &'a Known,
    changes: RefCell<Changes>,
    /// A write met a fault of the disk, so that the connection must not be used any more.
    pub(crate) is_broken: Cell<bool>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(connection: &'a Connection, known: &'a Known) -> Self {
        Self { connection, known, changes: RefCell::default(), is_broken: Cell::new(false) }
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

    /// The totals as they are now, to come back to.
    pub(crate) fn changes(&self) -> Changes {
        self.changes.borrow().clone()
    }

    /// Forgets what a write counted that failed before it changed anything.
    pub(crate) fn come_back(&self, to: Changes) {
        *self.changes.borrow_mut() = to;
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
