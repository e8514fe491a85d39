//! Series: their points, and a summary of each that is kept as it is written.

use std::collections::BTreeMap;

use mlp_core::{Labels, StoreError, Timestamp};
use mlp_eval::{MAX_POINTS, MetricPoint, SeriesKey, SeriesSummary};
use rusqlite::{Connection, Row};

use super::rows::{Bin, EvaluationRow};
use super::{count_record, optional};
use crate::checksum::Checksum;
use crate::error::{Sql, corrupt, store};
use crate::session::Session;
use crate::verify::Checked;

/// The bits of a double as an integer that sorts as `total_cmp`; its own inverse.
fn sortable(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn key_checksum(n: i64, metric: &str, context: &str) -> i64 {
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
pub(super) fn key_number(
    connection: &Connection,
    key: &SeriesKey,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT * FROM series_key WHERE metric = ?1 AND context = ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let row = optional(statement.query_row((&key.metric, context_text(&key.context)), key_of))?;
    row.map(|(n, metric, context, stored)| {
        if key_checksum(n, &metric, &context) == stored {
            Ok(n)
        } else {
            Err(corrupt(format!("series key {metric:?}"), "its checksum does not fit"))
        }
    })
    .transpose()
}

fn key_for_writing(session: &Session<'_>, key: &SeriesKey) -> Result<i64, StoreError> {
    // A metric's name holds no zero byte, and is not JSON.
    let name = match key.context.is_empty() {
        true => key.metric.clone(),
        false => format!("{}\0{}", key.metric, context_text(&key.context)),
    };
    if let Some(n) = session.known.get(&name) {
        return Ok(n);
    }
    let n = match key_number(session.connection, key)? {
        Some(n) => n,
        None => new_key(session, key)?,
    };
    session.known.put(name, n);
    Ok(n)
}

fn new_key(session: &Session<'_>, key: &SeriesKey) -> Result<i64, StoreError> {
    let next = "SELECT coalesce(max(n), 0) + 1 FROM series_key";
    let mut statement = session.connection.prepare_cached(next).map_err(store)?;
    let n: i64 = statement.query_row([], |row| row.get(0)).map_err(store)?;
    let context = context_text(&key.context);
    let checksum = key_checksum(n, &key.metric, &context);
    let sql = "INSERT INTO series_key VALUES (?1, ?2, ?3, ?4)";
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    statement.execute((n, &key.metric, &context, checksum)).map_err(store)?;
    session.added("series_key", checksum);
    Ok(n)
}

pub(super) fn key_by_number(connection: &Connection, n: i64) -> Result<SeriesKey, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM series_key WHERE n = ?1").map_err(store)?;
    let row = optional(statement.query_row([n], key_of))?;
    let row = row.ok_or_else(|| corrupt(format!("series key {n}"), "it is not there"))?;
    checked_key(row).map(|(_, key)| key)
}

pub(super) fn checked_key(
    (n, metric, context, stored): (i64, String, String, i64),
) -> Result<(i64, SeriesKey), StoreError> {
    let broken = |reason: &str| corrupt(format!("series key {n} ({metric:?})"), reason);
    if key_checksum(n, &metric, &context) != stored {
        return Err(broken("its checksum does not fit"));
    }
    let context = serde_json::from_str(&context).map_err(|error| broken(&error.to_string()))?;
    Ok((n, SeriesKey { metric, context }))
}

/// A series of one evaluation as it is stored.
pub(super) struct SeriesRow {
    evaluation: i64,
    pub(super) key: i64,
    experiment: i64,
    bin: Bin,
    numbers: Numbers,
    pub(super) summary: Vec<u8>,
    /// That of the evaluation, by which equal values are sorted. It came with the fourth schema, and is no part of the checksum.
    started_at: i64,
}

const COLUMNS: &str = "evaluation, key, experiment, bin, is_nan, last, least, greatest, has_mean, mean, points, \
                       step_of_least, step_of_greatest, summary, started_at, checksum";

/// What filters and orders read; NaN is missing here, as SQLite stores it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Numbers {
    is_nan: bool,
    last: Option<f64>,
    least: Option<f64>,
    greatest: Option<f64>,
    has_mean: bool,
    mean: Option<f64>,
    points: i64,
    step_of_least: Option<i64>,
    step_of_greatest: Option<i64>,
}

impl Numbers {
    fn of(summary: &SeriesSummary) -> Self {
        let number = |value: f64| Some(value).filter(|value| !value.is_nan());
        Self {
            is_nan: summary.last.value.is_nan(),
            last: number(summary.last.value),
            least: summary.min.map(|point| point.value),
            greatest: summary.max.map(|point| point.value),
            has_mean: summary.mean().is_some(),
            mean: summary.mean().and_then(number),
            points: summary.count as i64,
            step_of_least: summary.min.map(|point| point.step),
            step_of_greatest: summary.max.map(|point| point.step),
        }
    }
}

impl SeriesRow {
    fn new(evaluation: &EvaluationRow, key: i64, summary: &SeriesSummary) -> Self {
        Self {
            evaluation: evaluation.n,
            key,
            experiment: evaluation.experiment,
            bin: evaluation.bin,
            numbers: Numbers::of(summary),
            summary: encode(summary),
            started_at: evaluation.started_at,
        }
    }

    fn checksum(&self) -> i64 {
        let Numbers { is_nan, last, least, greatest, has_mean, mean, points, .. } = self.numbers;
        Checksum::of("series")
            .int(self.evaluation)
            .int(self.key)
            .int(self.experiment)
            .int(self.bin as i64)
            .int(i64::from(is_nan))
            .number(last)
            .number(least)
            .number(greatest)
            .int(i64::from(has_mean))
            .number(mean)
            .int(points)
            .maybe(self.numbers.step_of_least, Checksum::int)
            .maybe(self.numbers.step_of_greatest, Checksum::int)
            .bytes(&self.summary)
            .finish()
    }

    fn read(row: &Row<'_>) -> Sql<(Self, i64)> {
        count_record();
        let numbers = Numbers {
            is_nan: row.get(4)?,
            last: row.get(5)?,
            least: row.get(6)?,
            greatest: row.get(7)?,
            has_mean: row.get(8)?,
            mean: row.get(9)?,
            points: row.get(10)?,
            step_of_least: row.get(11)?,
            step_of_greatest: row.get(12)?,
        };
        let read = Self {
            evaluation: row.get(0)?,
            key: row.get(1)?,
            experiment: row.get(2)?,
            bin: row.get(3)?,
            numbers,
            summary: row.get(13)?,
            started_at: row.get(14)?,
        };
        Ok((read, row.get(15)?))
    }

    fn checked((row, stored): (Self, i64)) -> Result<Self, StoreError> {
        if row.checksum() == stored {
            Ok(row)
        } else {
            let what = format!("series {} of evaluation {}", row.key, row.evaluation);
            Err(corrupt(what, "its checksum does not fit"))
        }
    }

    fn put(&self, session: &Session<'_>) -> Result<(), StoreError> {
        let sql = "INSERT INTO series VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
                   ON CONFLICT (evaluation, key) DO UPDATE SET bin = ?4, is_nan = ?5, last = ?6, least = ?7, \
                   greatest = ?8, has_mean = ?9, mean = ?10, points = ?11, step_of_least = ?12, \
                   step_of_greatest = ?13, summary = ?14, checksum = ?15";
        let checksum = self.checksum();
        let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
        statement
            .execute(rusqlite::params![
                self.evaluation,
                self.key,
                self.experiment,
                self.bin,
                self.numbers.is_nan,
                self.numbers.last,
                self.numbers.least,
                self.numbers.greatest,
                self.numbers.has_mean,
                self.numbers.mean,
                self.numbers.points,
                self.numbers.step_of_least,
                self.numbers.step_of_greatest,
                self.summary,
                checksum,
                self.started_at
            ])
            .map_err(store)?;
        session.added("series", checksum);
        Ok(())
    }
}

/// A summary without its key, exactly.
fn encode(summary: &SeriesSummary) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(97);
    let mut put = |value: i64| bytes.extend_from_slice(&value.to_le_bytes());
    let point =
        |point: MetricPoint| [point.step, point.at.as_micros(), point.value.to_bits() as i64];
    let fixed = [summary.sum.to_bits() as i64, summary.count as i64, summary.nan_count as i64];
    point(summary.last).into_iter().chain(fixed).for_each(&mut put);
    let extremes = [summary.min, summary.max].into_iter().flatten().flat_map(point);
    extremes.for_each(put);
    bytes
}

pub(super) fn decode(key: SeriesKey, bytes: &[u8]) -> Option<SeriesSummary> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let values: Vec<i64> = chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect();
    if !rest.is_empty() || (values.len() != 6 && values.len() != 12) {
        return None;
    }
    let point = |from: usize| {
        let value = f64::from_bits(values[from + 2] as u64);
        MetricPoint::new(values[from], Timestamp::from_micros(values[from + 1]), value)
    };
    let mut summary = SeriesSummary::first(key, point(0));
    summary.sum = f64::from_bits(values[3] as u64);
    summary.count = values[4] as u64;
    summary.nan_count = values[5] as u64;
    let has_extremes = values.len() == 12;
    summary.min = has_extremes.then(|| point(6));
    summary.max = has_extremes.then(|| point(9));
    Some(summary)
}

pub(super) fn find(
    connection: &Connection,
    evaluation: i64,
    key: i64,
) -> Result<Option<SeriesRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM series WHERE evaluation = ?1 AND key = ?2");
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let row = optional(statement.query_row((evaluation, key), SeriesRow::read))?;
    row.map(SeriesRow::checked).transpose()
}

pub(super) fn of_evaluation(
    connection: &Connection,
    evaluation: i64,
) -> Result<Vec<SeriesRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM series WHERE evaluation = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let rows = statement.query_map([evaluation], SeriesRow::read).map_err(store)?;
    rows.map(|row| SeriesRow::checked(row.map_err(store)?)).collect()
}

/// Adds points to the series of an evaluation, which has none yet if it is new; one that is there is not added again.
pub(super) fn add(
    session: &Session<'_>,
    evaluation: &EvaluationRow,
    is_new: bool,
    points: &[(SeriesKey, MetricPoint)],
) -> Result<(), StoreError> {
    let mut by_key: BTreeMap<&SeriesKey, Vec<MetricPoint>> = BTreeMap::new();
    for (key, point) in points {
        by_key.entry(key).or_default().push(*point);
    }
    for (key, points) in by_key {
        let n = key_for_writing(session, key)?;
        let known = if is_new { None } else { find(session.connection, evaluation.n, n)? };
        if let Some(row) = &known {
            session.removed("series", row.checksum());
        }
        let broken = || {
            corrupt(format!("series {key} of evaluation {}", evaluation.id), "it has no summary")
        };
        let mut summary = match &known {
            Some(row) => Some(decode(key.clone(), &row.summary).ok_or_else(broken)?),
            None => None,
        };
        let given = summary.as_ref().map_or(0, |summary| summary.count) + points.len() as u64;
        if given > MAX_POINTS as u64 {
            let limit = MAX_POINTS as u64;
            return Err(StoreError::LimitExceeded { what: "points of a series", given, limit });
        }
        for point in points {
            let Some(summary) = &mut summary else {
                summary = Some(SeriesSummary::first(key.clone(), point));
                continue;
            };
            // The only point of a series is its summary; it gets a record when a second one comes.
            if summary.count == 1 {
                if summary.last == point {
                    continue;
                }
                insert_point(session, evaluation.n, n, &summary.last)?;
            }
            if insert_point(session, evaluation.n, n, &point)? {
                summary.add(point);
            }
        }
        if let Some(summary) = &summary {
            SeriesRow::new(evaluation, n, summary).put(session)?;
        }
    }
    Ok(())
}

fn point_checksum(fields: [i64; 5]) -> i64 {
    fields.into_iter().fold(Checksum::of("point"), Checksum::int).finish()
}

fn insert_point(
    session: &Session<'_>,
    evaluation: i64,
    key: i64,
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
    evaluation: i64,
    key: &SeriesKey,
) -> Result<Vec<MetricPoint>, StoreError> {
    let Some(n) = key_number(connection, key)? else { return Ok(Vec::new()) };
    let Some(row) = find(connection, evaluation, n)? else { return Ok(Vec::new()) };
    if row.numbers.points == 1 {
        let what =
            || corrupt(format!("series {key} of evaluation {evaluation}"), "it has no summary");
        return Ok(vec![decode(key.clone(), &row.summary).ok_or_else(what)?.last]);
    }
    let sql = "SELECT * FROM point WHERE evaluation = ?1 AND key = ?2 ORDER BY at, step, value";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let rows = statement.query_map((evaluation, n), point_of).map_err(store)?;
    rows.map(|row| {
        let (fields, stored) = row.map_err(store)?;
        if point_checksum(fields) != stored {
            let what = format!("point of step {} of evaluation {evaluation}", fields[3]);
            return Err(corrupt(what, "its checksum does not fit"));
        }
        let value = f64::from_bits(sortable(fields[4]) as u64);
        Ok(MetricPoint::new(fields[3], Timestamp::from_micros(fields[2]), value))
    })
    .collect()
}

/// Copies the bin of an evaluation to its series, which are sorted by it.
pub(super) fn follow(session: &Session<'_>, evaluation: &EvaluationRow) -> Result<(), StoreError> {
    for mut row in of_evaluation(session.connection, evaluation.n)? {
        session.removed("series", row.checksum());
        row.bin = evaluation.bin;
        row.put(session)?;
    }
    Ok(())
}

pub(super) fn tables() -> [Checked; 3] {
    [
        Checked {
            table: "series_key",
            sql: "SELECT * FROM series_key".to_owned(),
            sum: |_, row| {
                let (n, metric, context, _) = key_of(row)?;
                let sum = key_checksum(n, &metric, &context);
                Ok((metric, sum))
            },
        },
        Checked {
            table: "series",
            sql: format!("SELECT {COLUMNS} FROM series"),
            sum: |_, row| {
                let (row, _) = SeriesRow::read(row)?;
                Ok((format!("{} of evaluation {}", row.key, row.evaluation), row.checksum()))
            },
        },
        Checked {
            table: "point",
            sql: "SELECT * FROM point".to_owned(),
            sum: |_, row| {
                let (fields, _) = point_of(row)?;
                Ok((
                    format!("of step {} of evaluation {}", fields[3], fields[0]),
                    point_checksum(fields),
                ))
            },
        },
    ]
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

    #[test]
    fn a_summary_reads_back_exactly_with_and_without_extremes() {
        let at = Timestamp::from_micros;
        let mut summary = SeriesSummary::first("m".into(), MetricPoint::new(-3, at(9), f64::NAN));
        assert_eq!(
            format!("{:?}", decode("m".into(), &encode(&summary))),
            format!("{:?}", Some(&summary))
        );
        summary.add(MetricPoint::new(2, at(10), -0.0));
        summary.add(MetricPoint::new(3, at(11), 7.0));
        assert_eq!(decode("m".into(), &encode(&summary)), Some(summary.clone()));
        assert_eq!(decode("m".into(), &encode(&summary)[..95]), None);
    }
}
