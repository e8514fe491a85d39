//! Reading everything, to find damage that nobody has stumbled over yet.

use std::fmt;

use mlp_core::StoreError;
use rusqlite::{Connection, Row};

use crate::error::{Sql, store};
use crate::schema;

/// A table as its records can be checked one by one.
pub(crate) struct Checked {
    /// Its name.
    pub(crate) table: &'static str,
    /// Reads all records, the checksum stored with each in the last column.
    pub(crate) sql: String,
    /// What the checksum of a record should be.
    pub(crate) sum: fn(&'static str, &Row<'_>) -> Sql<i64>,
    /// What a record is called, for findings.
    pub(crate) name: fn(&Connection, &Row<'_>) -> Sql<String>,
}

/// One thing that is wrong with a database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is wrong with: a table, a record, or the file.
    pub what: String,
    /// What is wrong.
    pub reason: String,
}

/// What [`Database::verify`](crate::Database::verify) found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many records were read.
    pub records: u64,
    /// What is wrong, at most a thousand things.
    pub findings: Vec<Finding>,
}

/// More findings than this are not listed.
const MOST_FINDINGS: usize = 1_000;

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn add(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { what: what.into(), reason: reason.into() });
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{}: {}", finding.what, finding.reason)?;
        }
        write!(f, "{} records, {} findings", self.records, self.findings.len())
    }
}

pub(crate) fn verify(connection: &Connection) -> Result<Report, StoreError> {
    let mut report = Report::default();
    if schema::listing(connection)? != schema::expected()? {
        report.add("schema", "its tables and indexes are not those of this library");
    }
    match integrity(connection) {
        Ok(lines) if lines == ["ok"] => {}
        Ok(lines) => lines.into_iter().for_each(|line| report.add("file", line)),
        Err(error) => report.add("file", error.to_string()),
    }
    for table in tables() {
        if let Err(error) = check(connection, &table, &mut report) {
            report.add(table.table, error.to_string());
        }
    }
    #[cfg(feature = "eval")]
    if let Err(error) = crate::eval::verify(connection, &mut report) {
        report.add("latest_value", error.to_string());
    }
    #[cfg(feature = "lineage")]
    if let Err(error) = crate::lineage::verify(connection, &mut report) {
        report.add("lineage chain", error.to_string());
    }
    Ok(report)
}

fn tables() -> Vec<Checked> {
    #[cfg_attr(
        not(any(feature = "eval", feature = "lineage", feature = "monitor")),
        allow(unused_mut, reason = "no table is known")
    )]
    let mut tables = Vec::new();
    #[cfg(feature = "eval")]
    tables.extend(crate::eval::tables());
    #[cfg(feature = "lineage")]
    tables.extend(crate::lineage::tables());
    #[cfg(feature = "monitor")]
    tables.extend(crate::alerts::tables());
    tables
}

fn integrity(connection: &Connection) -> Sql<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn check(connection: &Connection, table: &Checked, report: &mut Report) -> Result<(), StoreError> {
    let mut statement = connection.prepare(&table.sql).map_err(store)?;
    let last = statement.column_count() - 1;
    let mut rows = statement.query([]).map_err(store)?;
    let (mut records, mut digest) = (0_i64, 0_i64);
    while let Some(row) = rows.next().map_err(store)? {
        let stored: i64 = row.get(last).map_err(store)?;
        let damaged = (table.sum)(table.table, row).and_then(|sum| {
            if sum == stored { Ok(None) } else { (table.name)(connection, row).map(Some) }
        });
        match damaged {
            Ok(None) => {}
            Ok(Some(name)) => {
                report.add(format!("{} {name}", table.table), "its checksum does not fit");
            }
            Err(error) => report.add(table.table, error.to_string()),
        }
        records += 1;
        digest ^= stored;
    }
    report.records += records.unsigned_abs();
    let total = connection
        .query_row("SELECT records, digest FROM total WHERE name = ?1", [table.table], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .map_err(store)?;
    if total != (records, digest) {
        let reason = format!("{records} records are there, {} should be, or others", total.0);
        report.add(table.table, reason);
    }
    Ok(())
}
