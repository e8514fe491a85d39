//! What series are called: each key has a number, which is written down once.

use mlp_core::{Labels, StoreError};
use mlp_eval::SeriesKey;
use rusqlite::{Connection, Row};

use super::{count_record, optional};
use crate::checksum::Checksum;
use crate::error::{Sql, corrupt, store};
use crate::session::Session;
use crate::verify::Checked;

fn checksum_of(n: i64, metric: &str, context: &str) -> i64 {
    Checksum::of("series_key").int(n).text(metric).text(context).finish()
}

pub(super) fn key_of(row: &Row<'_>) -> Sql<(i64, String, String, i64)> {
    count_record();
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// A context as it is stored: JSON, by the names of the labels.
pub(super) fn context_text(context: &Labels) -> String {
    let labels = context.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    serde_json::Value::Object(labels.collect()).to_string()
}

/// The number of a key, if any series ever had it.
pub(super) fn number(connection: &Connection, key: &SeriesKey) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT * FROM series_key WHERE metric = ?1 AND context = ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let row = optional(statement.query_row((&key.metric, context_text(&key.context)), key_of))?;
    row.map(|(n, metric, context, stored)| {
        if checksum_of(n, &metric, &context) == stored {
            Ok(n)
        } else {
            Err(corrupt(format!("series key {metric:?}"), "its checksum does not fit"))
        }
    })
    .transpose()
}

pub(super) fn for_writing(session: &Session<'_>, key: &SeriesKey) -> Result<i64, StoreError> {
    // A metric's name holds no zero byte, and is not JSON.
    let name = match key.context.is_empty() {
        true => key.metric.clone(),
        false => format!("{}\0{}", key.metric, context_text(&key.context)),
    };
    if let Some(n) = session.known.get(&name) {
        return Ok(n);
    }
    let n = match number(session.connection, key)? {
        Some(n) => n,
        None => add(session, key)?,
    };
    session.known.put(name, n);
    Ok(n)
}

fn add(session: &Session<'_>, key: &SeriesKey) -> Result<i64, StoreError> {
    let next = "SELECT coalesce(max(n), 0) + 1 FROM series_key";
    let mut statement = session.connection.prepare_cached(next).map_err(store)?;
    let n: i64 = statement.query_row([], |row| row.get(0)).map_err(store)?;
    let context = context_text(&key.context);
    let checksum = checksum_of(n, &key.metric, &context);
    let sql = "INSERT INTO series_key VALUES (?1, ?2, ?3, ?4)";
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    statement.execute((n, &key.metric, &context, checksum)).map_err(store)?;
    session.added("series_key", checksum);
    Ok(n)
}

pub(super) fn by_number(connection: &Connection, n: i64) -> Result<SeriesKey, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM series_key WHERE n = ?1").map_err(store)?;
    let row = optional(statement.query_row([n], key_of))?;
    let row = row.ok_or_else(|| corrupt(format!("series key {n}"), "it is not there"))?;
    checked(row).map(|(_, key)| key)
}

pub(super) fn checked(
    (n, metric, context, stored): (i64, String, String, i64),
) -> Result<(i64, SeriesKey), StoreError> {
    let broken = |reason: &str| corrupt(format!("series key {n} ({metric:?})"), reason);
    if checksum_of(n, &metric, &context) != stored {
        return Err(broken("its checksum does not fit"));
    }
    let context = serde_json::from_str(&context).map_err(|error| broken(&error.to_string()))?;
    Ok((n, SeriesKey { metric, context }))
}

/// The numbers of a metric's keys in any context, but no more than so many. Whoever meets one looks it up, which compares its checksum.
pub(super) fn numbers_of(
    connection: &Connection,
    metric: &str,
    most: i64,
) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT n FROM series_key WHERE metric = ?1 LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let numbers = statement.query_map((metric, most), |row| row.get(0)).map_err(store)?;
    numbers.collect::<Sql<_>>().map_err(store)
}

pub(super) fn table() -> Checked {
    Checked {
        table: "series_key",
        sql: "SELECT * FROM series_key".to_owned(),
        sum: |_, row| {
            let (n, metric, context, _) = key_of(row)?;
            Ok(checksum_of(n, &metric, &context))
        },
        name: |_, row| key_of(row).map(|(_, metric, ..)| metric),
    }
}
