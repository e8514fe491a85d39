//! The card of an evaluation that holds the summaries of its series, and its place in the index of latest values.

use std::collections::BTreeMap;

use mlp_core::StoreError;
use rusqlite::Connection;

use super::latest::LatestValue;
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
}

impl<'a> ScoreCard<'a> {
    /// Those of an evaluation that has none yet.
    pub(super) fn none(evaluation: &'a EvaluationRow) -> Self {
        Self { evaluation, by_key: BTreeMap::new(), stored: None, is_changed: false }
    }

    pub(super) fn read(
        connection: &Connection,
        evaluation: &'a EvaluationRow,
    ) -> Result<Self, StoreError> {
        let Some((card, stored)) = card(connection, evaluation)? else {
            return Ok(Self::none(evaluation));
        };
        let by_key = Scores::read(&card).collect::<Result<_, _>>()?;
        Ok(Self { evaluation, by_key, stored: Some(stored), is_changed: false })
    }

    pub(super) fn get(&self, key: i64) -> Option<&Words> {
        self.by_key.get(&key)
    }

    /// Sets the summary of a series, and where it stands.
    pub(super) fn put(
        &mut self,
        session: &Session<'_>,
        key: i64,
        words: Words,
    ) -> Result<(), StoreError> {
        let known = self.by_key.insert(key, words);
        if known == Some(words) {
            return Ok(());
        }
        self.is_changed = true;
        let after = LatestValue::of(self.evaluation, key, &words);
        let before = known.map(|known| LatestValue::of(self.evaluation, key, &known));
        if before == Some(after) {
            return Ok(());
        }
        before.map_or(Ok(()), |before| before.remove(session))?;
        after.insert(session)
    }

    /// Writes the card.
    pub(super) fn save(self, session: &Session<'_>) -> Result<(), StoreError> {
        if !self.is_changed {
            return Ok(());
        }
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

    fn latest_values(&self) -> impl Iterator<Item = LatestValue> {
        self.by_key.iter().map(|(key, words)| LatestValue::of(self.evaluation, *key, words))
    }
}

/// Moves the values of an evaluation to its bin, by which they are sorted.
pub(super) fn follow(
    session: &Session<'_>,
    evaluation: &EvaluationRow,
    from: Bin,
) -> Result<(), StoreError> {
    for value in ScoreCard::read(session.connection, evaluation)?.latest_values() {
        value.within(from).remove(session)?;
        value.insert(session)?;
    }
    Ok(())
}

/// Removes the card and the values.
pub(super) fn remove(session: &Session<'_>, evaluation: &EvaluationRow) -> Result<(), StoreError> {
    let card = ScoreCard::read(session.connection, evaluation)?;
    for value in card.latest_values() {
        value.remove(session)?;
    }
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
