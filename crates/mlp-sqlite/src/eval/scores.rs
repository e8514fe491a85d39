//! The card of an evaluation that holds the summaries of its series, and its place in the index of latest values.

use std::collections::BTreeMap;

use mlp_core::StoreError;
use rusqlite::Connection;

use super::latest::{self, LatestValue};
use super::rows::{self, Bin, EvaluationRow};
use super::{count_record, optional};
use crate::cards::{self, Scores, Words};
use crate::error::{corrupt, store};
use crate::session::Session;
use crate::verify::Checked;

/// The card of an evaluation, compared with its checksum, and the checksum; none if it has no series.
pub(super) fn card(
    connection: &Connection,
    evaluation: &EvaluationRow,
) -> Result<Option<(Vec<u8>, i64)>, StoreError> {
    count_record();
    let sql = "SELECT card, checksum FROM scores WHERE n = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let read: Option<(Vec<u8>, i64)> =
        optional(statement.query_row([evaluation.n], |row| Ok((row.get(0)?, row.get(1)?))))?;
    match read {
        Some((card, stored)) if cards::scores_checksum(evaluation.n, &card) != stored => {
            let what = format!("the summaries of evaluation {}", evaluation.id);
            Err(corrupt(what, "their checksum does not fit"))
        }
        read => Ok(read),
    }
}

/// A card that is written to.
#[derive(Debug)]
pub(super) struct ScoreCard<'a> {
    evaluation: &'a EvaluationRow,
    by_key: BTreeMap<i64, Words>,
    /// The checksum of the card that is there.
    stored: Option<i64>,
    is_changed: bool,
    /// Where series stand no more, and where they stand instead.
    gone: Vec<LatestValue>,
    new: Vec<LatestValue>,
}

impl<'a> ScoreCard<'a> {
    /// Those of an evaluation that has none yet.
    pub(super) fn none(evaluation: &'a EvaluationRow) -> Self {
        Self {
            evaluation,
            by_key: BTreeMap::new(),
            stored: None,
            is_changed: false,
            gone: Vec::new(),
            new: Vec::new(),
        }
    }

    pub(super) fn read(
        connection: &Connection,
        evaluation: &'a EvaluationRow,
    ) -> Result<Self, StoreError> {
        let Some((card, stored)) = card(connection, evaluation)? else {
            return Ok(Self::none(evaluation));
        };
        let by_key = Scores::read(&card).collect::<Result<_, _>>()?;
        Ok(Self { by_key, stored: Some(stored), ..Self::none(evaluation) })
    }

    pub(super) fn get(&self, key: i64) -> Option<&Words> {
        self.by_key.get(&key)
    }

    /// Sets the summary of a series, once before it is saved.
    pub(super) fn put(&mut self, key: i64, words: Words) {
        let known = self.by_key.insert(key, words);
        self.is_changed |= known != Some(words);
        let value = |words| LatestValue::of(self.evaluation, key, words);
        let (before, after) = (known.as_ref().map(value), value(&words));
        if before != Some(after) {
            self.gone.extend(before);
            self.new.push(after);
        }
    }

    /// Writes the card, and where its series stand.
    pub(super) fn save(self, session: &Session<'_>) -> Result<(), StoreError> {
        if !self.is_changed {
            return Ok(());
        }
        latest::remove(session, &self.gone)?;
        latest::insert(session, &self.new)?;
        let card = cards::scores(self.by_key.into_iter());
        let checksum = cards::scores_checksum(self.evaluation.n, &card);
        let sql = match self.stored {
            Some(stored) => {
                session.removed("scores", stored);
                "UPDATE scores SET checksum = ?2, card = ?3 WHERE n = ?1"
            }
            None => "INSERT INTO scores VALUES (?1, ?2, ?3)",
        };
        let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
        statement.execute((self.evaluation.n, checksum, card)).map_err(store)?;
        session.added("scores", checksum);
        Ok(())
    }

    fn latest_values(&self) -> Vec<LatestValue> {
        let value = |(key, words): (&i64, _)| LatestValue::of(self.evaluation, *key, words);
        self.by_key.iter().map(value).collect()
    }
}

/// Moves the values of an evaluation to its bin, by which they are sorted.
pub(super) fn follow(
    session: &Session<'_>,
    evaluation: &EvaluationRow,
    from: Bin,
) -> Result<(), StoreError> {
    let values = ScoreCard::read(session.connection, evaluation)?.latest_values();
    let before: Vec<_> = values.iter().map(|value| value.within(from)).collect();
    latest::remove(session, &before)?;
    latest::insert(session, &values)
}

/// Removes the card and the values.
pub(super) fn remove(session: &Session<'_>, evaluation: &EvaluationRow) -> Result<(), StoreError> {
    let card = ScoreCard::read(session.connection, evaluation)?;
    latest::remove(session, &card.latest_values())?;
    if let Some(stored) = card.stored {
        let sql = "DELETE FROM scores WHERE n = ?1";
        let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
        statement.execute([evaluation.n]).map_err(store)?;
        session.removed("scores", stored);
    }
    Ok(())
}

pub(super) fn table() -> Checked {
    Checked {
        table: "scores",
        sql: "SELECT n, card, checksum FROM scores".to_owned(),
        sum: |_, row| Ok(cards::scores_checksum(row.get(0)?, row.get_ref(1)?.as_blob()?)),
        name: |connection, row| {
            Ok(format!("of evaluation {}", rows::name(connection, row.get(0)?)?))
        },
    }
}
