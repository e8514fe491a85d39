//! Pages of evaluations: by an index where there is one, by sorting what matches otherwise.

use mlp_core::{StoreError, Timestamp};
use mlp_eval::{
    Field, Filter, Operator, Order, Page, PageToken, Position, Query, Sorting, Statistic, Value,
    View,
};
use rusqlite::types::Value as Bound;
use rusqlite::{Connection, Row, params_from_iter};

use super::filter::{Condition, Place, condition, place};
use super::rows::{self, Bin, id_from};
use super::{experiments, load, series};
use crate::error::{Sql, corrupt, store};

/// An evaluation on a page: its number, and where it stands.
type Found = (i64, Position);

pub(super) fn count(connection: &Connection, filter: &Filter) -> Result<u64, StoreError> {
    let condition = condition(filter);
    let (experiment, mut bound) = match experiment_of(filter) {
        Some(name) => match experiments::find(connection, name)? {
            Some(row) => ("e.experiment = ? AND", vec![Bound::Integer(row.n)]),
            None => return Ok(0),
        },
        None => ("", Vec::new()),
    };
    let sql = format!(
        "SELECT count(*) FROM evaluation e WHERE {experiment} e.bin = 0 AND {}",
        condition.sql
    );
    bound.extend(condition.bound);
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let count: i64 =
        statement.query_row(params_from_iter(bound), |row| row.get(0)).map_err(store)?;
    Ok(count.unsigned_abs())
}

pub(super) fn read(connection: &Connection, query: &Query) -> Result<Page, StoreError> {
    let mut found = match &query.order[..] {
        [] | [Order { field: Field::StartedAt, sorting: Sorting::Descending }] => {
            by_start(connection, query)?
        }
        [Order { field: Field::Metric(metric, Statistic::Last), sorting }] => {
            by_metric(connection, query, metric, *sorting)?
        }
        _ => by_sorting(connection, query)?,
    };
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    // What the order reads is needed for the token, and taken out again.
    let wider = query.projection.with_order(&query.order);
    let mut evaluations = Vec::with_capacity(found.len());
    for (n, position) in &found {
        let row = rows::by_number(connection, *n)?;
        let evaluation = load::evaluation(connection, &row, &wider)?;
        // What an index says carries no checksum; what was loaded does.
        if query.compare(&query.position(&evaluation), position).is_ne() {
            let what = format!("evaluation {}", evaluation.id);
            return Err(corrupt(what, "an index names another place in the order"));
        }
        evaluations.push(evaluation);
    }
    let next = evaluations.last().filter(|_| more).map(|last| PageToken::new(query, last));
    evaluations.iter_mut().for_each(|evaluation| query.projection.apply(evaluation));
    Ok(Page { evaluations, next })
}

/// The experiment that a filter asks for, if it asks for one.
fn experiment_of(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::Compare(Field::Experiment, Operator::Equal, Value::Text(name)) => Some(name),
        Filter::All(filters) => filters.iter().find_map(experiment_of),
        _ => None,
    }
}

fn bins(view: View) -> &'static [Bin] {
    match view {
        View::Active => &[Bin::InUse],
        View::Deleted => &[Bin::Deleted, Bin::WithExperiment],
        View::All => &[Bin::InUse, Bin::Deleted, Bin::WithExperiment],
    }
}

/// The experiments that an index has to be read for.
fn wanted(connection: &Connection, filter: &Filter) -> Result<Vec<i64>, StoreError> {
    match experiment_of(filter) {
        Some(name) => {
            Ok(experiments::find(connection, name)?.into_iter().map(|row| row.n).collect())
        }
        None => Ok(experiments::all(connection)?.into_iter().map(|row| row.n).collect()),
    }
}

/// Reads parts that are each in order, and gives the first of all.
fn merged(
    connection: &Connection,
    query: &Query,
    parts: Vec<Condition>,
    keys: impl Fn(&Row<'_>) -> Sql<Vec<Option<Value>>>,
) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for part in parts {
        let mut statement = connection.prepare_cached(&part.sql).map_err(store)?;
        let mut rows = statement.query(params_from_iter(part.bound)).map_err(store)?;
        while let Some(row) = rows.next().map_err(store)? {
            found.push(found_of(row, keys(row).map_err(store)?).map_err(store)?);
        }
    }
    found.sort_by(|(_, one), (_, other)| query.compare(one, other));
    found.truncate(query.limit + 1);
    Ok(found)
}

/// `n`, start and id are the first columns of each row.
fn found_of(row: &Row<'_>, keys: Vec<Option<Value>>) -> Sql<Found> {
    let id: Vec<u8> = row.get(2)?;
    let started_at = Timestamp::from_micros(row.get(1)?);
    Ok((row.get(0)?, Position::new(keys, started_at, id_from(&id)?)))
}

/// What comes after a start and an id in the default order.
fn after(position: Option<&Position>) -> Condition {
    match position {
        None => Condition::new("1", []),
        Some(position) => {
            let start = Bound::Integer(position.started_at.as_micros());
            let id = Bound::Blob(position.id.as_bytes().to_vec());
            // The first half is what an index can seek by.
            let sql = "(e.started_at <= ? AND (e.started_at < ? OR e.id > ?))";
            Condition::new(sql, [start.clone(), start, id])
        }
    }
}

fn limit(query: &Query) -> Bound {
    Bound::Integer(query.limit as i64 + 1)
}

fn by_start(connection: &Connection, query: &Query) -> Result<Vec<Found>, StoreError> {
    let parts = parts_by_start(connection, query)?;
    merged(connection, query, parts, |row| {
        let started_at = Value::Time(Timestamp::from_micros(row.get(1)?));
        Ok(query.order.iter().map(|_| Some(started_at.clone())).collect())
    })
}

fn parts_by_start(connection: &Connection, query: &Query) -> Result<Vec<Condition>, StoreError> {
    let filter = condition(&query.filter);
    let after = after(query.after.as_ref().map(PageToken::position));
    let (index, experiments) = match experiment_of(&query.filter) {
        Some(_) => {
            let wanted = wanted(connection, &query.filter)?;
            ("evaluation_by_experiment", wanted.into_iter().map(Some).collect())
        }
        None => ("evaluation_by_start", vec![None]),
    };
    let mut parts = Vec::new();
    for experiment in experiments {
        for bin in bins(query.view) {
            let which = if experiment.is_some() { "e.experiment = ? AND" } else { "" };
            let sql = format!(
                "SELECT e.n, e.started_at, e.id FROM evaluation e INDEXED BY {index} WHERE {which} e.bin = ? \
                 AND {} AND {} ORDER BY e.started_at DESC, e.id LIMIT ?",
                after.sql, filter.sql
            );
            let mut bound: Vec<Bound> = experiment.map(Bound::Integer).into_iter().collect();
            bound.push(Bound::Integer(*bin as i64));
            bound.extend(after.bound.iter().chain(&filter.bound).cloned());
            bound.push(limit(query));
            parts.push(Condition::new(sql, bound));
        }
    }
    Ok(parts)
}

/// In both directions numbers come first, then NaN, then evaluations without the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Numbers,
    Nan,
    Missing,
}

fn by_metric(
    connection: &Connection,
    query: &Query,
    metric: &str,
    sorting: Sorting,
) -> Result<Vec<Found>, StoreError> {
    let first = match query.after.as_ref().map(|token| &token.position().keys[..]) {
        None => Phase::Numbers,
        Some([Some(Value::Number(number))]) if number.is_nan() => Phase::Nan,
        Some([Some(_)]) => Phase::Numbers,
        Some(_) => Phase::Missing,
    };
    let mut found: Vec<Found> = Vec::new();
    for phase in [Phase::Numbers, Phase::Nan, Phase::Missing] {
        if phase < first || found.len() > query.limit || excludes(&query.filter, metric, phase) {
            continue;
        }
        // A token says where to go on in its own phase only.
        let after = query.after.as_ref().map(PageToken::position).filter(|_| phase == first);
        let parts = parts_by_metric(connection, query, metric, sorting, phase, after)?;
        let key = |row: &Row<'_>| -> Sql<Vec<Option<Value>>> {
            Ok(vec![match phase {
                Phase::Numbers => Some(Value::Number(row.get(3)?)),
                Phase::Nan => Some(Value::Number(f64::NAN)),
                Phase::Missing => None,
            }])
        };
        found.extend(merged(connection, query, parts, key)?);
    }
    found.truncate(query.limit + 1);
    Ok(found)
}

fn parts_by_metric(
    connection: &Connection,
    query: &Query,
    metric: &str,
    sorting: Sorting,
    phase: Phase,
    position: Option<&Position>,
) -> Result<Vec<Condition>, StoreError> {
    let key = series::key_number(connection, &metric.into())?;
    if key.is_none() && phase != Phase::Missing {
        return Ok(Vec::new());
    }
    let filter = condition(&query.filter);
    let (direction, beyond) = match sorting {
        Sorting::Ascending => ("ASC", ">"),
        Sorting::Descending => ("DESC", "<"),
    };
    let later = after(position);
    let later = match (phase, position.map(|position| &position.keys[..])) {
        (Phase::Numbers, Some([Some(Value::Number(number))])) => {
            let number = Bound::Real(*number);
            let sql = format!("(s.last {beyond}= ? AND (s.last {beyond} ? OR {}))", later.sql);
            Condition::new(sql, [number.clone(), number].into_iter().chain(later.bound))
        }
        _ => later,
    };
    let mut parts = Vec::new();
    for experiment in wanted(connection, &query.filter)? {
        for bin in bins(query.view) {
            let mut bound = Vec::new();
            let place = [Bound::Integer(experiment), Bound::Integer(*bin as i64)];
            let from = match (phase, key) {
                (Phase::Missing, _) | (_, None) => {
                    bound.extend(place);
                    bound.extend(key.map(Bound::Integer));
                    let without = match key {
                        Some(_) => {
                            "NOT EXISTS (SELECT 1 FROM series WHERE evaluation = e.n AND key = ?)"
                        }
                        None => "1",
                    };
                    format!(
                        "0.0 FROM evaluation e INDEXED BY evaluation_by_experiment \
                         WHERE e.experiment = ? AND e.bin = ? AND {without}"
                    )
                }
                (_, Some(key)) => {
                    bound.push(Bound::Integer(key));
                    bound.extend(place);
                    bound.push(Bound::Integer(i64::from(phase == Phase::Nan)));
                    "s.last FROM series s INDEXED BY series_by_value CROSS JOIN evaluation e ON e.n = s.evaluation \
                     WHERE s.key = ? AND s.experiment = ? AND s.bin = ? AND s.is_nan = ?"
                        .to_owned()
                }
            };
            let (bounds, given) = match phase {
                Phase::Numbers => bounds_of(&query.filter, metric),
                Phase::Nan | Phase::Missing => (String::new(), Vec::new()),
            };
            let from = from + &bounds;
            bound.extend(given);
            let order = if phase == Phase::Numbers {
                format!("s.last {direction},")
            } else {
                String::new()
            };
            let sql = format!(
                "SELECT e.n, e.started_at, e.id, {from} AND {} AND {} ORDER BY {order} e.started_at DESC, e.id LIMIT ?",
                later.sql, filter.sql
            );
            bound.extend(later.bound.iter().chain(&filter.bound).cloned());
            bound.push(limit(query));
            parts.push(Condition::new(sql, bound));
        }
    }
    Ok(parts)
}

/// Whether a filter passes over a phase as a whole: a comparison never matches a missing metric, and only `!=` matches NaN.
fn excludes(filter: &Filter, metric: &str, phase: Phase) -> bool {
    match filter {
        Filter::All(filters) => filters.iter().any(|filter| excludes(filter, metric, phase)),
        Filter::Present(Field::Metric(name, Statistic::Last)) => {
            name == metric && phase == Phase::Missing
        }
        Filter::Compare(Field::Metric(name, Statistic::Last), operator, Value::Number(number)) => {
            let takes_nan = *operator == Operator::NotEqual || number.is_nan();
            name == metric && (phase == Phase::Missing || (phase == Phase::Nan && !takes_nan))
        }
        _ => false,
    }
}

/// What the filter asks of the very number that is sorted by: bounds for the walk along the index.
fn bounds_of(filter: &Filter, metric: &str) -> (String, Vec<Bound>) {
    match filter {
        Filter::All(filters) => {
            let each = filters.iter().map(|filter| bounds_of(filter, metric));
            each.fold((String::new(), Vec::new()), |mut all, (sql, bound)| {
                all.0.push_str(&sql);
                all.1.extend(bound);
                all
            })
        }
        Filter::Compare(Field::Metric(name, Statistic::Last), operator, Value::Number(number))
            if name == metric && !number.is_nan() =>
        {
            let symbol = match operator {
                Operator::Equal => "=",
                Operator::Less => "<",
                Operator::AtMost => "<=",
                Operator::Greater => ">",
                Operator::AtLeast => ">=",
                _ => return (String::new(), Vec::new()),
            };
            (format!(" AND s.last {symbol} ?"), vec![Bound::Real(*number)])
        }
        _ => (String::new(), Vec::new()),
    }
}

/// Sorts everything that matches; SQLite does it, on disk if it must. What the token says is skipped while reading.
fn by_sorting(connection: &Connection, query: &Query) -> Result<Vec<Found>, StoreError> {
    let statement = sorted_statement(connection, query)?;
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(store)?;
    let mut rows = prepared.query(params_from_iter(statement.bound)).map_err(store)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(store)? {
        let keys: Sql<Vec<_>> = query
            .order
            .iter()
            .enumerate()
            .map(|(k, order)| key_of(row, 3 + 4 * k, &order.field))
            .collect();
        let next = keys.and_then(|keys| found_of(row, keys)).map_err(store)?;
        let token = query.after.as_ref().map(PageToken::position);
        if token.is_some_and(|token| query.compare(&next.1, token).is_le()) {
            continue;
        }
        found.push(next);
        if found.len() > query.limit {
            break;
        }
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

fn sorted_statement(connection: &Connection, query: &Query) -> Result<Condition, StoreError> {
    let mut columns = String::new();
    let mut terms = String::new();
    let mut bound = Vec::new();
    for (k, order) in query.order.iter().enumerate() {
        let (parts, values) = key_columns(connection, &order.field)?;
        bound.extend(values);
        let direction = match order.sorting {
            Sorting::Ascending => "ASC",
            Sorting::Descending => "DESC",
        };
        for (part, name) in parts.iter().zip(["missing", "kind", "number", "text"]) {
            columns.push_str(&format!(", {part} AS {name}_{k}"));
        }
        // NaN is the last of the kinds, so kinds sort upwards in both directions.
        terms.push_str(&format!(
            "missing_{k}, kind_{k}, number_{k} {direction}, text_{k} {direction}, "
        ));
    }
    let filter = condition(&query.filter);
    let bins: Vec<String> = bins(query.view).iter().map(|bin| (*bin as i64).to_string()).collect();
    let (mut which, mut place) = (String::new(), Vec::new());
    if experiment_of(&query.filter).is_some() {
        let wanted = wanted(connection, &query.filter)?;
        place.push(Bound::Integer(wanted.first().copied().unwrap_or(-1)));
        which.push_str("e.experiment = ? AND ");
    }
    bound.extend(place);
    bound.extend(filter.bound);
    let sql = format!(
        "SELECT e.n, e.started_at, e.id{columns} FROM evaluation e \
         WHERE {which}e.bin IN ({}) AND {} ORDER BY {terms}e.started_at DESC, e.id LIMIT ?",
        bins.join(", "),
        filter.sql
    );
    // What a token passes over is read, and may be everything.
    bound.push(if query.after.is_none() { limit(query) } else { Bound::Integer(-1) });
    Ok(Condition::new(sql, bound))
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
        Place::Series { metric, column, there } => {
            let key = series::key_number(connection, &metric.as_str().into())?.unwrap_or(-1);
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
