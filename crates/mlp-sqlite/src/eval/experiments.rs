//! Experiments: what evaluations are gathered under.

use mlp_core::StoreError;
use mlp_eval::{Experiment, Lifecycle, View};
use rusqlite::Connection;

use super::rows::{self, Bin};
use super::{optional, write};
use crate::checksum::Checksum;
use crate::error::{corrupt, store};
use crate::session::Session;
use crate::verify::Checked;

const KIND: &str = "experiment";

/// An experiment as it is stored.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) n: i64,
    pub(super) name: String,
    pub(super) is_deleted: bool,
}

impl Row {
    fn checksum(&self) -> i64 {
        Checksum::of(KIND).int(self.n).text(&self.name).int(i64::from(self.is_deleted)).finish()
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Self, i64)> {
        Ok((Self { n: row.get(0)?, name: row.get(1)?, is_deleted: row.get(2)? }, row.get(3)?))
    }

    fn checked((row, stored): (Self, i64)) -> Result<Self, StoreError> {
        if row.checksum() == stored {
            Ok(row)
        } else {
            Err(corrupt(format!("experiment {:?}", row.name), "its checksum does not fit"))
        }
    }
}

pub(super) fn table() -> Checked {
    Checked {
        table: KIND,
        sql: "SELECT n, name, is_deleted, checksum FROM experiment".to_owned(),
        sum: |_, row| Row::read(row).map(|(row, _)| row.checksum()),
        name: |_, row| Row::read(row).map(|(row, _)| format!("{:?}", row.name)),
    }
}

pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<Row>, StoreError> {
    let sql = "SELECT n, name, is_deleted, checksum FROM experiment WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    optional(statement.query_row([name], Row::read))?.map(Row::checked).transpose()
}

pub(super) fn name_of(connection: &Connection, n: i64) -> Result<String, StoreError> {
    let sql = "SELECT n, name, is_deleted, checksum FROM experiment WHERE n = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let row = optional(statement.query_row([n], Row::read))?;
    let row = row.ok_or_else(|| corrupt(format!("experiment {n}"), "it is not there"))?;
    Ok(Row::checked(row)?.name)
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT n, name, is_deleted, checksum FROM experiment ORDER BY name";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let rows = statement.query_map([], Row::read).map_err(store)?;
    rows.map(|row| Row::checked(row.map_err(store)?)).collect()
}

pub(super) fn list(connection: &Connection, view: View) -> Result<Vec<Experiment>, StoreError> {
    let experiment = |row: Row| {
        let lifecycle = if row.is_deleted { Lifecycle::Deleted } else { Lifecycle::Active };
        Experiment { name: row.name, lifecycle }
    };
    let all = all(connection)?.into_iter().map(experiment);
    Ok(all.filter(|experiment| view.shows(experiment.lifecycle)).collect())
}

pub(super) fn create(session: &Session<'_>, name: &str) -> Result<Row, StoreError> {
    if find(session.connection, name)?.is_some() {
        return Err(StoreError::conflict(KIND, name, "the name is taken"));
    }
    // The number is part of the checksum, and AUTOINCREMENT alone knows it.
    let sql = "INSERT INTO experiment (name, is_deleted, checksum) VALUES (?1, 0, 0)";
    session.connection.prepare_cached(sql).and_then(|mut s| s.execute([name])).map_err(store)?;
    let row =
        Row { n: session.connection.last_insert_rowid(), name: name.to_owned(), is_deleted: false };
    set_checksum(session, &row)?;
    session.added(KIND, row.checksum());
    Ok(row)
}

/// The experiment that takes an evaluation: a new one if there is none of that name.
pub(super) fn to_write(session: &Session<'_>, name: &str) -> Result<i64, StoreError> {
    match find(session.connection, name)? {
        None => create(session, name).map(|row| row.n),
        Some(row) if row.is_deleted => Err(in_bin(name)),
        Some(row) => Ok(row.n),
    }
}

pub(super) fn in_bin(name: &str) -> StoreError {
    StoreError::conflict(KIND, name, "it is in the bin")
}

fn set_checksum(session: &Session<'_>, row: &Row) -> Result<(), StoreError> {
    let sql = "UPDATE experiment SET is_deleted = ?2, checksum = ?3 WHERE n = ?1";
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    statement.execute((row.n, row.is_deleted, row.checksum())).map_err(store)?;
    Ok(())
}

fn needed(connection: &Connection, name: &str) -> Result<Row, StoreError> {
    find(connection, name)?.ok_or_else(|| StoreError::not_found(KIND, name))
}

pub(super) fn set_deleted(
    session: &Session<'_>,
    name: &str,
    is_deleted: bool,
) -> Result<(), StoreError> {
    let mut row = needed(session.connection, name)?;
    if row.is_deleted != is_deleted {
        session.removed(KIND, row.checksum());
        row.is_deleted = is_deleted;
        session.added(KIND, row.checksum());
        set_checksum(session, &row)?;
    }
    let (from, to) = match is_deleted {
        true => (Bin::InUse, Bin::WithExperiment),
        false => (Bin::WithExperiment, Bin::InUse),
    };
    for evaluation in rows::of_experiment(session.connection, row.n, Some(from))? {
        write::set_bin(session, evaluation, to)?;
    }
    Ok(())
}

pub(super) fn purge(session: &Session<'_>, name: &str) -> Result<(), StoreError> {
    let row = needed(session.connection, name)?;
    if !row.is_deleted {
        return Err(StoreError::conflict(KIND, name, "it is in use: delete it first"));
    }
    for evaluation in rows::of_experiment(session.connection, row.n, None)? {
        write::remove(session, &evaluation)?;
    }
    let sql = "DELETE FROM experiment WHERE n = ?1";
    session.connection.prepare_cached(sql).and_then(|mut s| s.execute([row.n])).map_err(store)?;
    session.removed(KIND, row.checksum());
    Ok(())
}
