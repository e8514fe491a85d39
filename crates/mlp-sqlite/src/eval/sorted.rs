//! Pages in any other order: what matches is read, and the first of it sorted.
//!
//! There is no index of these orders, so the time of a page grows with what the filter matches. What a token passes over is not sorted.

use mlp_core::{StoreError, Timestamp};
use mlp_eval::{Field, Position, Query, Sorting, Value};
use rusqlite::types::Value as Bound;
use rusqlite::{Connection, Row};

use super::filter::{Card, Condition, Read, condition, read as read_of};
use super::functions::{NAN, NUMBER, TEXT};
use super::page::{Found, Scope, bins, direction, found_of, limit, scope};
use crate::error::Sql;

/// SQLite sorts as much as a page holds, on disk if it must.
pub(super) fn read(connection: &Connection, query: &Query) -> Result<Vec<Found>, StoreError> {
    let Some(scope) = scope(connection, &query.filter)? else { return Ok(Vec::new()) };
    statement(query, scope).rows(connection, |row| {
        let fields = query.order.iter().enumerate();
        let keys: Sql<Vec<_>> = fields.map(|(k, o)| key_of(row, 3 + 4 * k, &o.field)).collect();
        found_of(row, keys?)
    })
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

pub(super) fn statement(query: &Query, scope: Scope) -> Condition {
    let mut columns = String::new();
    let mut terms = String::new();
    let mut bound = Vec::new();
    for (k, order) in query.order.iter().enumerate() {
        let (parts, values) = key_columns(&order.field);
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
        "SELECT e.n, e.started_at, e.id{columns} FROM evaluation e {} WHERE {which}e.bin IN ({}) AND {}",
        scope.index_for(&query.filter),
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
    Condition::new(sql, bound)
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
fn key_columns(field: &Field) -> ([String; 4], Vec<Bound>) {
    let null = || Condition::new("NULL", []);
    let (missing, kind, number, text) = match read_of(field) {
        Read::Column(column) => {
            let missing = Condition::new(format!("({column}) IS NULL"), []);
            let (column, is_number) = (
                Condition::new(column, []),
                matches!(field, Field::StartedAt | Field::EndedAt | Field::ModelVersion),
            );
            match is_number {
                true => (missing, Condition::new(NUMBER.to_string(), []), column, null()),
                false => (missing, Condition::new(TEXT.to_string(), []), null(), column),
            }
        }
        Read::Card(Card { kind, number, text }) => {
            let missing = Condition::new(format!("{} IS NULL", kind.sql), kind.bound.clone());
            // A number prints as a text too, by which it is not sorted.
            let text = text.map(|text| {
                let sql = format!("iif({} = {TEXT}, {}, NULL)", kind.sql, text.sql);
                Condition::new(sql, kind.bound.iter().cloned().chain(text.bound))
            });
            (missing, kind, number.unwrap_or_else(null), text.unwrap_or_else(null))
        }
    };
    let columns = [missing, kind, number, text];
    let bound = columns.iter().flat_map(|column| column.bound.clone()).collect();
    (columns.map(|column| column.sql), bound)
}
