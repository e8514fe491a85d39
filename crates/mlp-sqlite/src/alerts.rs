//! The state of `mlp-monitor`'s alert manager.

use mlp_core::StoreError;
use mlp_monitor::{AlertChange, AlertRows, AlertStore, check_epoch};
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use crate::database::Database;
use crate::error::store;
use crate::records;
use crate::session::Session;
use crate::verify::Checked;

const STATE: &str = "alert_state";
const EPOCH: &str = "alert_epoch";

/// Every table of this store, for verification.
pub(crate) fn tables() -> Vec<Checked> {
    [STATE, EPOCH].map(records::checked).into()
}

/// One manager at a time, of whatever process.
impl AlertStore for Database {
    fn load(&self) -> Result<AlertRows, StoreError> {
        self.read(rows)
    }

    fn take_over(&self) -> Result<(u64, AlertRows), StoreError> {
        self.write(|session| {
            let next = epoch(session.connection)? + 1;
            records::remove(session, EPOCH, "TRUE", Vec::new())?;
            let stored = i64::try_from(next).map_err(StoreError::backend)?;
            records::insert(session, EPOCH, vec![Value::Integer(stored)])?;
            Ok((next, rows(session.connection)?))
        })
    }

    fn apply(&self, epoch: u64, changes: &[AlertChange]) -> Result<(), StoreError> {
        let changes = changes.to_vec();
        self.write(move |session| {
            check_epoch(epoch, self::epoch(session.connection)?)?;
            changes.iter().try_for_each(|(key, value)| set(session, key, value.as_deref()))
        })
    }

    fn replace(&self, epoch: u64, rows: &AlertRows) -> Result<(), StoreError> {
        let rows = rows.clone();
        self.write(move |session| {
            check_epoch(epoch, self::epoch(session.connection)?)?;
            records::remove(session, STATE, "TRUE", Vec::new())?;
            rows.iter().try_for_each(|(key, value)| insert(session, key, value))
        })
    }
}

/// The epoch whose writes are taken; 0 before the first.
fn epoch(connection: &Connection) -> Result<u64, StoreError> {
    let number = |row: &Row<'_>| row.get::<_, i64>(0).map_err(store);
    let read = records::read(connection, EPOCH, "", Vec::new(), number)?;
    Ok(read.into_iter().map(i64::unsigned_abs).max().unwrap_or(0))
}

fn rows(connection: &Connection) -> Result<AlertRows, StoreError> {
    let pair = |row: &Row<'_>| Ok((row.get(0).map_err(store)?, row.get(1).map_err(store)?));
    Ok(records::read(connection, STATE, "", Vec::new(), pair)?.into_iter().collect())
}

fn set(session: &Session<'_>, key: &str, value: Option<&str>) -> Result<(), StoreError> {
    records::remove(session, STATE, "key = ?1", vec![Value::Text(key.to_owned())])?;
    value.map_or(Ok(()), |value| insert(session, key, value))
}

fn insert(session: &Session<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    let record = [key, value].map(|text| Value::Text(text.to_owned()));
    records::insert(session, STATE, record.into())
}
