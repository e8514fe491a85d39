//! From the fifth schema to the sixth: the records of parameters, tags and series become cards.
//!
//! Damage stays noticed and keeps no file from being opened: a record whose checksum does not fit, or whose fields are not of their types, gives a
//! card whose checksum does not fit; a total that is off stays so.
//!
//! The cards are those of [`crate::cards`]: whoever changes their format leaves this step a copy of the one it writes.

use std::collections::BTreeMap;

use mlp_core::StoreError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::cards::{self, Words};
use crate::checksum::Checksum;
use crate::error::{Sql, store};

pub(crate) fn run(connection: &Connection) -> Result<(), StoreError> {
    pack(connection).map_err(store)
}

fn pack(connection: &Connection) -> Sql<()> {
    connection.execute_batch(include_str!("schema_6.sql"))?;
    let mut numbers = connection.prepare("SELECT n FROM evaluation ORDER BY n")?;
    let numbers: Vec<i64> = numbers.query_map([], |row| row.get(0))?.collect::<Sql<_>>()?;
    let (mut params, mut tags, mut series) = (Total::default(), Total::default(), Total::default());
    let (mut about, mut scores) = (Total::default(), Total::default());
    for n in numbers {
        about.add(pack_about(connection, n, &mut params, &mut tags)?);
        if let Some(checksum) = pack_scores(connection, n, &mut series)? {
            scores.add(checksum);
        }
    }
    let mut evaluations = Total::stored(connection, "evaluation")?;
    evaluations.digest ^= about.digest;
    evaluations
        .off_by(Total::stored(connection, "param")?, params)
        .off_by(Total::stored(connection, "tag")?, tags)
        .store(connection, "evaluation")?;
    scores.off_by(Total::stored(connection, "series")?, series).store(connection, "scores")?;
    connection.execute_batch(
        "DROP TABLE param; DROP TABLE tag; DROP TABLE series;
         DELETE FROM total WHERE name IN ('param', 'tag', 'series');",
    )
}

/// A count of records and the exclusive or of their checksums.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    records: i64,
    digest: i64,
}

impl Total {
    fn add(&mut self, checksum: i64) {
        self.records += 1;
        self.digest ^= checksum;
    }

    /// What was written down.
    fn stored(connection: &Connection, table: &str) -> Sql<Self> {
        let sql = "SELECT records, digest FROM total WHERE name = ?1";
        let read = |row: &Row<'_>| {
            Ok(Self { records: int(row, 0).unwrap_or(0), digest: int(row, 1).unwrap_or(0) })
        };
        Ok(connection.query_row(sql, [table], read).optional()?.unwrap_or_default())
    }

    /// This one with what another is off by.
    fn off_by(self, stored: Self, found: Self) -> Self {
        Self {
            records: self.records + stored.records - found.records,
            digest: self.digest ^ stored.digest ^ found.digest,
        }
    }

    fn store(self, connection: &Connection, table: &str) -> Sql<()> {
        let sql = "UPDATE total SET records = ?2, digest = ?3 WHERE name = ?1";
        connection.execute(sql, (table, self.records, self.digest)).map(|_| ())
    }
}

/// How far the checksums of records are from what they should be; `expected` is none if a field is not of its type.
fn difference(stored: i64, expected: Option<i64>) -> i64 {
    stored ^ expected.unwrap_or_else(|| Checksum::of("damaged").int(stored).finish())
}

fn int(row: &Row<'_>, column: usize) -> Option<i64> {
    row.get_ref(column).ok()?.as_i64().ok()
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a [u8]> {
    row.get_ref(column).ok()?.as_bytes().ok()
}

fn maybe<T>(
    row: &Row<'_>,
    column: usize,
    read: fn(ValueRef<'_>) -> Option<T>,
) -> Option<Option<T>> {
    match row.get_ref(column).ok()? {
        ValueRef::Null => Some(None),
        value => read(value).map(Some),
    }
}

fn maybe_int(row: &Row<'_>, column: usize) -> Option<Option<i64>> {
    maybe(row, column, |value| value.as_i64().ok())
}

fn maybe_number(row: &Row<'_>, column: usize) -> Option<Option<f64>> {
    maybe(row, column, |value| value.as_f64().ok())
}

/// Texts by name.
type Texts = BTreeMap<String, String>;

fn pack_about(connection: &Connection, n: i64, params: &mut Total, tags: &mut Total) -> Sql<i64> {
    let (of_params, params_off) = texts(
        connection,
        n,
        params,
        "SELECT name, value, checksum, text, is_number, number FROM param WHERE evaluation = ?1",
        param_sum,
    )?;
    let sql = "SELECT name, value, checksum FROM tag WHERE evaluation = ?1";
    let (of_tags, tags_off) = texts(connection, n, tags, sql, tag_sum)?;
    let card = cards::about(cards::each(&of_params), cards::each(&of_tags));
    let checksum = cards::about_checksum(n, &card) ^ params_off ^ tags_off;
    connection
        .prepare_cached("UPDATE evaluation SET about_checksum = ?2, about = ?3 WHERE n = ?1")?
        .execute((n, checksum, card))?;
    Ok(checksum)
}

/// The names and values of an evaluation's records, and how far their checksums are off.
fn texts(
    connection: &Connection,
    n: i64,
    total: &mut Total,
    sql: &str,
    sum: fn(&Row<'_>, i64) -> Option<i64>,
) -> Sql<(Texts, i64)> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([n])?;
    let (mut texts, mut off) = (Texts::new(), 0);
    while let Some(row) = rows.next()? {
        let stored = int(row, 2).unwrap_or(0);
        off ^= difference(stored, sum(row, n));
        total.add(stored);
        let lossy =
            |column| String::from_utf8_lossy(text(row, column).unwrap_or_default()).into_owned();
        texts.insert(lossy(0), lossy(1));
    }
    Ok((texts, off))
}

fn param_sum(row: &Row<'_>, n: i64) -> Option<i64> {
    let sum = Checksum::of("param").int(n).bytes(text(row, 0)?).bytes(text(row, 1)?);
    Some(sum.bytes(text(row, 3)?).int(int(row, 4)?).number(maybe_number(row, 5)?).finish())
}

fn tag_sum(row: &Row<'_>, n: i64) -> Option<i64> {
    Some(Checksum::of("tag").int(n).bytes(text(row, 0)?).bytes(text(row, 1)?).finish())
}

/// The checksum of the card, if there are any series.
fn pack_scores(connection: &Connection, n: i64, series: &mut Total) -> Sql<Option<i64>> {
    let sql = "SELECT key, experiment, bin, is_nan, last, least, greatest, has_mean, mean, points, \
               step_of_least, step_of_greatest, summary, checksum FROM series WHERE evaluation = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([n])?;
    let (mut by_key, mut off) = (BTreeMap::new(), 0);
    while let Some(row) = rows.next()? {
        let stored = int(row, 13).unwrap_or(0);
        let words = text(row, 12).and_then(packed);
        off ^= difference(stored, words.and_then(|_| series_sum(row, n)));
        series.add(stored);
        by_key.insert(int(row, 0).unwrap_or(0), words.unwrap_or_else(|| Words::of([[0; 3]])));
    }
    if by_key.is_empty() {
        return Ok(None);
    }
    for (key, words) in &by_key {
        let last = f64::from_bits(words.as_slice()[2] as u64);
        let (is_nan, last) = (last.is_nan(), if last.is_nan() { 0.0 } else { last });
        // Only damage can have made the place of an evaluation none.
        let sql = "INSERT OR IGNORE INTO latest_value \
                   SELECT ?2, CAST(experiment AS INTEGER), CAST(bin AS INTEGER), ?3, ?4, CAST(started_at AS INTEGER), n \
                   FROM evaluation WHERE n = ?1";
        connection.prepare_cached(sql)?.execute((n, key, is_nan, last))?;
    }
    let card = cards::scores(by_key.into_iter());
    let checksum = cards::scores_checksum(n, &card) ^ off;
    let sql = "INSERT INTO scores VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute((n, checksum, card))?;
    Ok(Some(checksum))
}

fn series_sum(row: &Row<'_>, n: i64) -> Option<i64> {
    let sum = Checksum::of("series").int(n).int(int(row, 0)?).int(int(row, 1)?).int(int(row, 2)?);
    let sum = sum.int(int(row, 3)?).number(maybe_number(row, 4)?).number(maybe_number(row, 5)?);
    let sum = sum.number(maybe_number(row, 6)?).int(int(row, 7)?).number(maybe_number(row, 8)?);
    let sum = sum.int(int(row, 9)?).maybe(maybe_int(row, 10)?, Checksum::int);
    let sum = sum.maybe(maybe_int(row, 11)?, Checksum::int);
    Some(sum.bytes(text(row, 12)?).finish())
}

/// A summary as a card has it: of a single point the rest is implied.
fn packed(summary: &[u8]) -> Option<Words> {
    let (chunks, rest) = summary.as_chunks::<8>();
    let words: Vec<i64> = chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect();
    match &words[..] {
        _ if !rest.is_empty() => None,
        [step, at, value, _, 1, ..] => Some(Words::of([[*step, *at, *value]])),
        words if words.len() > 3 => Words::new(words),
        _ => None,
    }
}
