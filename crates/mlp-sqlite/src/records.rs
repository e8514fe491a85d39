//! Records of any table: values in the order of its columns, a checksum behind them.

use mlp_core::StoreError;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use crate::checksum::Checksum;
use crate::error::{Sql, corrupt, store};
use crate::session::Session;
use crate::verify::Checked;

/// A record without its checksum.
pub(crate) type Record = Vec<Value>;

fn checksum<'a>(table: &str, values: impl Iterator<Item = ValueRef<'a>>) -> i64 {
    values
        .fold(Checksum::of(table), |sum, value| match value {
            ValueRef::Null => sum.int(0),
            ValueRef::Integer(value) => sum.int(1).int(value),
            ValueRef::Real(value) => sum.int(2).number(Some(value)),
            ValueRef::Text(text) => sum.int(3).bytes(text),
            ValueRef::Blob(bytes) => sum.int(4).bytes(bytes),
        })
        .finish()
}

/// Adds a record.
pub(crate) fn insert(
    session: &Session<'_>,
    table: &'static str,
    mut record: Record,
) -> Result<(), StoreError> {
    let checksum = checksum(table, record.iter().map(ValueRef::from));
    record.push(Value::Integer(checksum));
    let marks = vec!["?"; record.len()].join(", ");
    let sql = format!("INSERT INTO {table} VALUES ({marks})");
    let mut statement = session.connection.prepare_cached(&sql).map_err(store)?;
    statement.execute(params_from_iter(record)).map_err(store)?;
    session.added(table, checksum);
    Ok(())
}

/// Removes the records for which a condition holds; gives how many there were.
pub(crate) fn remove(
    session: &Session<'_>,
    table: &'static str,
    condition: &str,
    bound: Record,
) -> Result<u64, StoreError> {
    let sql = format!("DELETE FROM {table} WHERE {condition} RETURNING checksum");
    let mut statement = session.connection.prepare_cached(&sql).map_err(store)?;
    let mut gone = statement.query(params_from_iter(bound)).map_err(store)?;
    let mut count = 0;
    while let Some(row) = gone.next().map_err(store)? {
        session.removed(table, row.get(0).map_err(store)?);
        count += 1;
    }
    Ok(count)
}

/// Reads records, each compared with its checksum. `rest` follows the name of the table: a condition, an order, a limit.
pub(crate) fn read<T>(
    connection: &Connection,
    table: &'static str,
    rest: &str,
    bound: Record,
    use_one: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut whole = Vec::new();
    for (_, record) in read_each(connection, table, rest, bound, use_one)? {
        whole.push(record?);
    }
    Ok(whole)
}

/// A record that was read, or what is wrong with it, under its first column.
pub(crate) type Numbered<T> = (Option<i64>, Result<T, StoreError>);

/// As [`read`], with what is wrong with a record beside those that are whole.
pub(crate) fn read_each<T>(
    connection: &Connection,
    table: &'static str,
    rest: &str,
    bound: Record,
    mut use_one: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<Numbered<T>>, StoreError> {
    let sql = format!("SELECT * FROM {table} {rest}");
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let columns = statement.column_count() - 1;
    let mut rows = statement.query(params_from_iter(bound)).map_err(store)?;
    let mut read = Vec::new();
    while let Some(row) = rows.next().map_err(store)? {
        let number = row.get_ref(0).ok().and_then(|first| first.as_i64().ok());
        read.push((number, is_whole(table, row, columns).and_then(|()| use_one(row))));
    }
    Ok(read)
}

fn is_whole(table: &str, row: &Row<'_>, columns: usize) -> Result<(), StoreError> {
    let stored: i64 = row.get(columns).map_err(store)?;
    if sum_of(table, row, columns).map_err(store)? == stored {
        return Ok(());
    }
    let what = format!("{table} {}", name_of(row).map_err(store)?);
    Err(corrupt(what, "its checksum does not fit"))
}

pub(crate) fn sum_of(table: &str, row: &Row<'_>, columns: usize) -> Sql<i64> {
    let values: Sql<Vec<ValueRef<'_>>> = (0..columns).map(|column| row.get_ref(column)).collect();
    Ok(checksum(table, values?.into_iter()))
}

/// What a record is called: its first column.
fn name_of(row: &Row<'_>) -> Sql<String> {
    Ok(match row.get_ref(0)? {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned(),
        other => format!("{:?}", other.data_type()),
    })
}

/// A table for verification.
pub(crate) fn checked(table: &'static str) -> Checked {
    Checked {
        table,
        sql: format!("SELECT * FROM {table}"),
        sum: |table, row| {
            let columns = row.as_ref().column_count() - 1;
            sum_of(table, row, columns)
        },
        name: |_, row| name_of(row),
    }
}
