//! What an evaluation is about: its parameters and tags, one card beside its record.

use std::collections::BTreeMap;

use mlp_core::{EvaluationId, ParamValue, StoreError};
use mlp_eval::{Batch, Keys, NewEvaluation, same_param};
use rusqlite::Connection;

use super::rows::EvaluationRow;
use super::{KIND, count_record};
use crate::cards::{self, Broken};
use crate::error::store;

/// The most bytes of the parameters and tags of one evaluation: they are read and written as a whole.
const MOST_BYTES: usize = 256 << 20;

/// Parameters as their exact JSON, and tags, by name.
#[derive(Debug, Default)]
pub(super) struct About {
    params: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    /// How many bytes they had when they were read.
    bytes: usize,
}

impl About {
    pub(super) fn of(new: &NewEvaluation) -> Result<Self, StoreError> {
        let params = new.params.iter().map(|(name, value)| Ok((name.to_owned(), json(value)?)));
        let params = params.collect::<Result<_, StoreError>>()?;
        Ok(Self { params, tags: new.tags.clone().into_iter().collect(), bytes: 0 })
    }

    pub(super) fn read(connection: &Connection, row: &EvaluationRow) -> Result<Self, StoreError> {
        let card = card(connection, row)?;
        let all = Keys::default();
        Ok(Self {
            params: chosen(cards::params(&card), &all, row)?.into_iter().collect(),
            tags: chosen(cards::tags(&card), &all, row)?.into_iter().collect(),
            bytes: card.len(),
        })
    }

    pub(super) fn tag(&self, name: &str) -> Option<&str> {
        self.tags.get(name).map(String::as_str)
    }

    /// Takes in a batch, or nothing of it: a parameter is written once, a tag that goes must be there.
    pub(super) fn apply(&mut self, batch: &Batch, id: EvaluationId) -> Result<(), StoreError> {
        let mut new = BTreeMap::new();
        for (name, value) in &batch.params {
            let text = json(value)?;
            match self.params.get(name) {
                Some(known) if *known == text || is_same(known, value) => {}
                Some(known) => {
                    let reason = format!("parameter {name:?} is {known}, not {text}");
                    return Err(StoreError::conflict(KIND, id, reason));
                }
                None => _ = new.insert(name.clone(), text),
            }
        }
        if let Some(name) = batch.removed_tags.iter().find(|name| !self.tags.contains_key(*name)) {
            return Err(StoreError::not_found("tag", name));
        }
        self.params.extend(new);
        batch.removed_tags.iter().for_each(|name| _ = self.tags.remove(name));
        self.tags.extend(batch.tags.iter().cloned());
        Ok(())
    }

    /// The card to be written. One that is too large may only become smaller.
    pub(super) fn card(&self) -> Result<Vec<u8>, StoreError> {
        let card = cards::about(cards::each(&self.params), cards::each(&self.tags));
        if card.len() > MOST_BYTES.max(self.bytes) {
            let (given, limit) = (card.len() as u64, MOST_BYTES as u64);
            let what = "bytes of the parameters and tags of an evaluation";
            return Err(StoreError::limit_exceeded(what, given, limit));
        }
        Ok(card)
    }
}

fn json(value: &ParamValue) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::backend)
}

/// Whether a text stands for a value: another version of this library may have written the same value in other words.
fn is_same(known: &str, value: &ParamValue) -> bool {
    serde_json::from_str(known).is_ok_and(|known| same_param(&known, value))
}

/// The card of an evaluation, compared with its checksum.
pub(super) fn card(connection: &Connection, row: &EvaluationRow) -> Result<Vec<u8>, StoreError> {
    count_record();
    let sql = "SELECT about FROM evaluation WHERE n = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let card: Vec<u8> = statement.query_row([row.n], |row| row.get(0)).map_err(store)?;
    if cards::about_checksum(row.n, &card) == row.about_checksum {
        Ok(card)
    } else {
        Err(row.broken(&"the checksum of its parameters and tags does not fit"))
    }
}

/// The names and values of a card that are asked for.
pub(super) fn chosen(
    pairs: Result<cards::Pairs<'_>, Broken>,
    keys: &Keys,
    row: &EvaluationRow,
) -> Result<Vec<(String, String)>, StoreError> {
    let mut chosen = Vec::new();
    let mut choose = || {
        for pair in pairs? {
            let (name, value) = pair?;
            if keys.has(name) {
                chosen.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(())
    };
    choose().map_err(|_: Broken| row.broken(&"its parameters and tags cannot be read"))?;
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_the_same_however_its_number_was_written() {
        let known = [("clip".to_owned(), "1e20".to_owned())];
        let mut about = About { params: known.into(), ..About::default() };
        let id = EvaluationId::generate();
        about.apply(&Batch::new().with_param("clip", 1e20), id).unwrap();
        let other = about.apply(&Batch::new().with_param("clip", 1e21), id);
        assert!(matches!(other, Err(StoreError::Conflict { .. })), "{other:?}");
    }
}
