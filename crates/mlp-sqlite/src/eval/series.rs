//! The points of series. A summary of each is kept as they are written.

use std::collections::BTreeMap;

use mlp_core::{StoreError, Timestamp};
use mlp_eval::{MAX_POINTS, MetricPoint, SeriesKey, SeriesSummary};
use rusqlite::{Connection, Row};

use super::rows::{self, EvaluationRow};
use super::scores::{self, ScoreCard};
use super::{keys, summary};
use crate::cards::Scores;
use crate::checksum::Checksum;
use crate::error::{Sql, corrupt, store};
use crate::session::Session;
use crate::verify::Checked;

/// The bits of a double as an integer that sorts as `total_cmp`; its own inverse.
fn sortable(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// Adds points to the series of an evaluation, which has none yet if it is new; one that is there is not added again.
pub(super) fn add(
    session: &Session<'_>,
    evaluation: &EvaluationRow,
    is_new: bool,
    points: &[(SeriesKey, MetricPoint)],
) -> Result<(), StoreError> {
    if points.is_empty() {
        return Ok(());
    }
    let mut by_key: BTreeMap<&SeriesKey, Vec<MetricPoint>> = BTreeMap::new();
    for (key, point) in points {
        by_key.entry(key).or_default().push(*point);
    }
    let mut card = match is_new {
        true => ScoreCard::none(evaluation),
        false => ScoreCard::read(session.connection, evaluation)?,
    };
    for (key, points) in by_key {
        let n = keys::for_writing(session, key)?;
        let known = card.get(n).map(|words| summary::decode(key.clone(), words));
        let summary = take_in(session, (evaluation.n, n), known, key, &points)?;
        card.put(n, summary::encode(&summary));
    }
    card.save(session)
}

/// Writes those points of a series that are new; gives its summary with them.
fn take_in(
    session: &Session<'_>,
    series: (i64, i64),
    known: Option<SeriesSummary>,
    key: &SeriesKey,
    points: &[MetricPoint],
) -> Result<SeriesSummary, StoreError> {
    let mut summary = known.unwrap_or_else(|| SeriesSummary::first(key.clone(), points[0]));
    for point in points {
        // The only point of a series is its summary; it gets a record when a second one comes.
        if summary.count == 1 {
            if summary.last == *point {
                continue;
            }
            insert_point(session, series, &summary.last)?;
        }
        if insert_point(session, series, point)? {
            summary.add(*point);
        }
    }
    let (given, limit) = (summary.count, MAX_POINTS as u64);
    if given > limit {
        let what = format!("points of the series {key}");
        return Err(StoreError::limit_exceeded(what, given, limit));
    }
    Ok(summary)
}

fn point_checksum(fields: [i64; 5]) -> i64 {
    fields.into_iter().fold(Checksum::of("point"), Checksum::int).finish()
}

fn insert_point(
    session: &Session<'_>,
    (evaluation, key): (i64, i64),
    point: &MetricPoint,
) -> Result<bool, StoreError> {
    let value = sortable(point.value.to_bits() as i64);
    let (at, step) = (point.at.as_micros(), point.step);
    let checksum = point_checksum([evaluation, key, at, step, value]);
    let sql = "INSERT INTO point VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    let is_new =
        statement.execute((evaluation, key, at, step, value, checksum)).map_err(store)? > 0;
    if is_new {
        session.added("point", checksum);
    }
    Ok(is_new)
}

fn point_of(row: &Row<'_>) -> Sql<([i64; 5], i64)> {
    let fields = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
    Ok((fields, row.get(5)?))
}

/// The points of a series, by time, step and value.
pub(super) fn points(
    connection: &Connection,
    evaluation: &EvaluationRow,
    key: &SeriesKey,
) -> Result<Vec<MetricPoint>, StoreError> {
    let Some(n) = keys::number(connection, key)? else { return Ok(Vec::new()) };
    let Some((card, _)) = scores::card(connection, evaluation)? else { return Ok(Vec::new()) };
    let Some(words) = Scores::read(&card).find(n)? else { return Ok(Vec::new()) };
    let count = summary::count(&words);
    if count == 1 {
        return Ok(vec![summary::decode(key.clone(), &words).last]);
    }
    let sql = "SELECT * FROM point WHERE evaluation = ?1 AND key = ?2 ORDER BY at, step, value";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let rows = statement.query_map((evaluation.n, n), point_of).map_err(store)?;
    let points = rows.map(|row| {
        let (fields, stored) = row.map_err(store)?;
        if point_checksum(fields) != stored {
            let what = format!("point of step {} of evaluation {}", fields[3], evaluation.id);
            return Err(corrupt(what, "its checksum does not fit"));
        }
        let value = f64::from_bits(sortable(fields[4]) as u64);
        Ok(MetricPoint::new(fields[3], Timestamp::from_micros(fields[2]), value))
    });
    let points = points.collect::<Result<Vec<_>, StoreError>>()?;
    if points.len() as i64 == count {
        return Ok(points);
    }
    // A record whose key is damaged is not found.
    let reason = format!("{} of its {count} points are there", points.len());
    Err(corrupt(format!("series {key} of evaluation {}", evaluation.id), reason))
}

/// Removes all points of an evaluation.
pub(super) fn remove(session: &Session<'_>, evaluation: i64) -> Result<(), StoreError> {
    let sql = "DELETE FROM point WHERE evaluation = ?1 RETURNING checksum";
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    let mut gone = statement.query([evaluation]).map_err(store)?;
    while let Some(row) = gone.next().map_err(store)? {
        session.removed("point", row.get(0).map_err(store)?);
    }
    Ok(())
}

pub(super) fn table() -> Checked {
    Checked {
        table: "point",
        sql: "SELECT * FROM point".to_owned(),
        sum: |_, row| {
            let (fields, _) = point_of(row)?;
            Ok(point_checksum(fields))
        },
        name: |connection, row| {
            let (fields, _) = point_of(row)?;
            let evaluation = rows::name(connection, fields[0])?;
            Ok(format!("of step {} of evaluation {evaluation}", fields[3]))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_map_to_integers_that_sort_as_doubles_and_back() {
        let values = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 5e-324, 1.0, f64::INFINITY, f64::NAN];
        let mapped = values.map(|value| sortable(value.to_bits() as i64));
        assert!(mapped.is_sorted());
        for (value, mapped) in values.iter().zip(mapped) {
            assert_eq!(sortable(mapped), value.to_bits() as i64);
        }
    }
}
