//! The latest values in their order: an index of what the cards hold, which pages by a metric walk along.

use mlp_core::StoreError;
use rusqlite::Connection;

use super::rows::{self, Bin, EvaluationRow};
use super::summary;
use crate::cards::{Scores, Words};
use crate::error::{corrupt, store};
use crate::session::Session;
use crate::verify::Report;

/// One row of the index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LatestValue {
    key: i64,
    experiment: i64,
    bin: Bin,
    is_nan: bool,
    last: f64,
    started_at: i64,
    evaluation: i64,
}

impl LatestValue {
    pub(super) fn of(row: &EvaluationRow, key: i64, words: &Words) -> Self {
        let last = summary::last(words);
        Self {
            key,
            experiment: row.experiment,
            bin: row.bin,
            is_nan: last.is_nan(),
            last: if last.is_nan() { 0.0 } else { last },
            started_at: row.started_at,
            evaluation: row.n,
        }
    }

    /// The same in another bin.
    pub(super) fn within(self, bin: Bin) -> Self {
        Self { bin, ..self }
    }

    fn is_there(&self, connection: &Connection) -> Result<bool, StoreError> {
        let sql = format!("SELECT 1 FROM latest_value WHERE {IS_THIS}");
        let found = connection.prepare_cached(&sql).and_then(|mut it| it.exists(self.values()));
        found.map_err(store)
    }

    fn values(&self) -> impl rusqlite::Params {
        (
            self.key,
            self.experiment,
            self.bin,
            self.is_nan,
            self.last,
            self.started_at,
            self.evaluation,
        )
    }
}

pub(super) fn insert(session: &Session<'_>, values: &[LatestValue]) -> Result<(), StoreError> {
    let sql = "INSERT INTO latest_value VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    execute(session, sql, values)
}

pub(super) fn remove(session: &Session<'_>, values: &[LatestValue]) -> Result<(), StoreError> {
    execute(session, &format!("DELETE FROM latest_value WHERE {IS_THIS}"), values)
}

/// Executes a statement that changes one row for each of the values.
fn execute(session: &Session<'_>, sql: &str, values: &[LatestValue]) -> Result<(), StoreError> {
    if values.is_empty() {
        return Ok(());
    }
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    for value in values {
        if statement.execute(value.values()).map_err(store)? != 1 {
            let name = rows::name(session.connection, value.evaluation).map_err(store)?;
            let reason = "the index of latest values does not agree with it";
            return Err(corrupt(format!("evaluation {name}"), reason));
        }
    }
    Ok(())
}

const IS_THIS: &str = "key = ?1 AND experiment = ?2 AND bin = ?3 AND is_nan = ?4 AND last = ?5 \
                       AND started_at = ?6 AND evaluation = ?7";

/// Whether the index holds each series of every evaluation where it stands, and nothing else.
pub(super) fn verify(connection: &Connection, report: &mut Report) -> Result<(), StoreError> {
    let mut statement = connection.prepare("SELECT n, card FROM scores").map_err(store)?;
    let mut rows = statement.query([]).map_err(store)?;
    let (mut series, mut astray) = (0_i64, 0_i64);
    while let Some(row) = rows.next().map_err(store)? {
        let (n, card): (i64, Vec<u8>) = (row.get(0).map_err(store)?, row.get(1).map_err(store)?);
        let evaluation = rows::by_number(connection, n)?.ok_or_else(|| {
            corrupt(
                format!("the summaries of evaluation number {n}"),
                "that evaluation is not there",
            )
        })?;
        for entry in Scores::read(&card) {
            let (key, words) = entry?;
            series += 1;
            astray += i64::from(!LatestValue::of(&evaluation, key, &words).is_there(connection)?);
        }
    }
    if astray > 0 {
        report.add("latest_value", format!("{astray} series are not where they stand"));
    }
    let held: i64 = connection
        .query_row("SELECT count(*) FROM latest_value", [], |row| row.get(0))
        .map_err(store)?;
    if held != series {
        report.add("latest_value", format!("it holds {held} values of {series} series"));
    }
    Ok(())
}
