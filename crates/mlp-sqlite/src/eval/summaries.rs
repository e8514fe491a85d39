//! The summaries of an evaluation's series, as far as they are asked for.

use std::collections::HashMap;

use mlp_core::StoreError;
use mlp_eval::{Keys, SeriesKey, SeriesSummary};
use rusqlite::Connection;

use super::series::{checked_key, decode, find, key_by_number, key_of, of_evaluation};
use crate::error::{corrupt, store};

/// Of more keys than this, all series of an evaluation are read and the others passed over: it has most of them, or few at all.
const MOST_LOOKED_UP: usize = 64;

/// Reads the summaries of evaluations, as far as their metrics are asked for; what keys mean is looked up once.
pub(super) struct Summaries {
    known: HashMap<i64, SeriesKey>,
    /// The numbers of the keys that are asked for; none if all are.
    only: Option<Vec<i64>>,
}

impl Summaries {
    pub(super) fn new(connection: &Connection, metrics: &Keys) -> Result<Self, StoreError> {
        let Keys::Only(metrics) = metrics else {
            return Ok(Self { known: HashMap::new(), only: None });
        };
        // In any context.
        let sql = "SELECT * FROM series_key WHERE metric = ?1";
        let mut statement = connection.prepare_cached(sql).map_err(store)?;
        let (mut known, mut only) = (HashMap::new(), Vec::new());
        for metric in metrics {
            for row in statement.query_map([metric], key_of).map_err(store)? {
                let (n, key) = checked_key(row.map_err(store)?)?;
                known.insert(n, key);
                only.push(n);
            }
        }
        Ok(Self { known, only: Some(only) })
    }

    /// The summaries of an evaluation by key.
    pub(super) fn of(
        &mut self,
        connection: &Connection,
        evaluation: i64,
    ) -> Result<Vec<SeriesSummary>, StoreError> {
        let rows = match &self.only {
            Some(only) if only.len() <= MOST_LOOKED_UP => {
                let mut rows = Vec::new();
                for key in only {
                    rows.extend(find(connection, evaluation, *key)?);
                }
                rows
            }
            _ => of_evaluation(connection, evaluation)?,
        };
        let mut summaries = Vec::new();
        for row in rows {
            let key = match self.known.get(&row.key) {
                Some(key) => key.clone(),
                None if self.only.is_some() => continue,
                None => {
                    let key = key_by_number(connection, row.key)?;
                    self.known.insert(row.key, key.clone());
                    key
                }
            };
            let what =
                || corrupt(format!("series {key} of evaluation {evaluation}"), "it has no summary");
            summaries.push(decode(key.clone(), &row.summary).ok_or_else(what)?);
        }
        summaries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(summaries)
    }
}
