//! Pages in any other order: what matches is read, and the first of it sorted.
//!
//! There is no index of these orders, so the time of a page grows with what the filter matches. What a token passes over is not sorted.

use mlp_core::{StoreError, Timestamp};
use mlp_eval::{Field, Position, Query, Sorting, Value};
use rusqlite::types::Value as Bound;
use rusqlite::{Connection, Row, params_from_iter};

use super::filter::{Condition, Place, condition, place};
use super::page::{Found, Scope, bins, direction, found_of, limit, scope};
use super::series;
use crate::error::{Sql, store};

/// SQLite sorts as much as a page holds, on disk if it must.
pub(super) fn read(connection: &Connection, query: &Query) -> Result<Vec<Found>, StoreError> {
    let Some(scope) = scope(connection, &query.filter)? else { return Ok(Vec::new()) };
    let statement = statement(connection, query, scope)?;
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(store)?;
    let mut rows = prepared.query(params_from_iter(statement.bound)).map_err(store)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(store)? {
        let fields = query.order.iter().enumerate();
        let keys: Sql<Vec<_>> = fields.map(|(k, o)| key_of(row, 3 + 4 * k, &o.field)).collect();
        found.push(keys.and_then(|keys| found_of(row, keys)).map_err(store)?);
    }
    Ok(found)
}

/// The four columns of a key: whether it is there, whether it is NaN or else a text, its number or time, its text.
fn key_of(row: &Row<'_>, at: usize, field: &Field) -> Sql<Option<Value>> {
    if row.get(at)? {
        return Ok(None);
    }
    Ok(Some(match (row.get(at + 1)?, field) {
        (NAN, _) => Value::Number(f64::NAN),
        (TEXT, _) => Value::Text(row.get(at + 3)?),
        (_, Field::StartedAt | Field::EndedAt) => {
            Value::Time(Timestamp::from_micros(row.get(at + 2)?))
        }
        _ => Value::Number(row.get(at + 2)?),
    }))
}

const NUMBER: i64 = 0;
const TEXT: i64 = 1;
const NAN: i64 = 2;

pub(super) fn statement(
    connection: &Connection,
    query: &Query,
    scope: Scope,
) -> Result<Condition, StoreError> {
    let mut columns = String::new();
    let mut terms = String::new();
    let mut bound = Vec::new();
    for (k, order) in query.order.iter().enumerate() {
        let (parts, values) = key_columns(connection, &order.field)?;
        bound.extend(values);
        for (part, name) in parts.iter().zip(["missing", "kind", "number", "text"]) {
            columns.push_str(&format!(", {part} AS {name}_{k}"));
        }
        let direction = direction(order.sorting);
        // NaN is the last of the kinds, so kinds sort upwards in both directions.
        terms.push_str(&format!(
            "missing_{k}, kind_{k}, number_{k} {direction}, text_{k} {direction}, "
        ));
    }
    let filter = condition(&query.filter);
    let bins: Vec<String> = bins(query.view).iter().map(|bin| (*bin as i64).to_string()).collect();
    let which = match scope {
        Scope::Experiment(n) => {
            bound.push(Bound::Integer(n));
            "e.experiment = ? AND "
        }
        Scope::Everywhere => "",
    };
    bound.extend(filter.bound);
    let mut sql = format!(
        "SELECT e.n, e.started_at, e.id{columns} FROM evaluation e WHERE {which}e.bin IN ({}) AND {}",
        bins.join(", "),
        filter.sql
    );
    if let Some(token) = &query.after {
        let beyond = beyond(query, token.position(), 0);
        bound.extend(beyond.bound);
        // The limit, which is none, keeps SQLite from reading each key as often as it is compared.
        sql = format!("SELECT * FROM ({sql} LIMIT -1) WHERE {}", beyond.sql);
    }
    sql.push_str(&format!(" ORDER BY {terms}started_at DESC, id LIMIT ?"));
    bound.push(limit(query));
    Ok(Condition::new(sql, bound))
}

/// What comes after a position, by its keys from the k-th on.
fn beyond(query: &Query, position: &Position, k: usize) -> Condition {
    let Some(order) = query.order.get(k) else {
        let start = Bound::Integer(position.started_at.as_micros());
        let id = Bound::Blob(position.id.as_bytes().to_vec());
        let sql = "(started_at < ? OR (started_at = ? AND id > ?))";
        return Condition::new(sql, [start.clone(), start, id]);
    };
    let rest = beyond(query, position, k + 1);
    // Whatever is missing is equal, and comes last.
    let Some(value) = &position.keys[k] else {
        return Condition::new(format!("(missing_{k} AND {})", rest.sql), rest.bound);
    };
    let symbol = match order.sorting {
        Sorting::Ascending => ">",
        Sorting::Descending => "<",
    };
    let (kind, compared) = match value {
        Value::Number(number) if number.is_nan() => (NAN, None),
        Value::Number(number) => (NUMBER, Some(("number", Bound::Real(*number)))),
        Value::Time(at) => (NUMBER, Some(("number", Bound::Integer(at.as_micros())))),
        Value::Text(text) => (TEXT, Some(("text", Bound::Text(text.clone())))),
    };
    let mut bound = vec![Bound::Integer(kind); 2];
    let within = match compared {
        None => rest.sql,
        Some((column, value)) => {
            bound.extend([value.clone(), value]);
            format!("({column}_{k} {symbol} ? OR ({column}_{k} = ? AND {}))", rest.sql)
        }
    };
    bound.extend(rest.bound);
    Condition::new(format!("(missing_{k} OR kind_{k} > ? OR (kind_{k} = ? AND {within}))"), bound)
}

/// The columns of a key, and what is bound in them.
fn key_columns(
    connection: &Connection,
    field: &Field,
) -> Result<([String; 4], Vec<Bound>), StoreError> {
    let null = || "NULL".to_owned();
    Ok(match place(field) {
        Place::Column(column) => {
            let missing = format!("({column}) IS NULL");
            match field {
                Field::StartedAt | Field::EndedAt | Field::ModelVersion => {
                    ([missing, NUMBER.to_string(), column.to_owned(), null()], Vec::new())
                }
                _ => ([missing, TEXT.to_string(), null(), column.to_owned()], Vec::new()),
            }
        }
        Place::Tag(name) => {
            let value = "(SELECT value FROM tag WHERE evaluation = e.n AND name = ?)".to_owned();
            let name = Bound::Text(name);
            (
                [format!("{value} IS NULL"), TEXT.to_string(), null(), value],
                vec![name.clone(), name],
            )
        }
        Place::Param(name) => {
            let read = |what: &str| {
                format!("(SELECT {what} FROM param WHERE evaluation = e.n AND name = ?)")
            };
            let missing = format!("NOT EXISTS {}", read("1"));
            let kind = format!(
                "CASE WHEN NOT is_number THEN {TEXT} WHEN number IS NULL THEN {NAN} ELSE {NUMBER} END"
            );
            let text = read("CASE WHEN is_number THEN NULL ELSE text END");
            let name = Bound::Text(name);
            ([missing, read(&kind), read("number"), text], vec![name; 4])
        }
        Place::Series { key, column, there } => {
            let key = series::key_number(connection, &key)?.unwrap_or(-1);
            let read = |what: &str| {
                format!(
                    "(SELECT {what} FROM series WHERE evaluation = e.n AND key = ? AND {there})"
                )
            };
            let missing = format!("NOT EXISTS {}", read("1"));
            let kind = format!("CASE WHEN {column} IS NULL THEN {NAN} ELSE {NUMBER} END");
            let bound = vec![Bound::Integer(key); 3];
            ([missing, read(&kind), read(column), null()], bound)
        }
    })
}
