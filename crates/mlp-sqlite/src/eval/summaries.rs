//! The summaries of an evaluation's series, as far as they are asked for.

use std::collections::HashMap;

use mlp_core::StoreError;
use mlp_eval::{Keys, SeriesKey, SeriesSummary};
use rusqlite::Connection;

use super::rows::EvaluationRow;
use super::{keys, scores, summary};
use crate::cards::Scores;

/// Reads the summaries of evaluations, as far as their metrics are asked for; what keys mean is looked up once.
pub(super) struct Summaries {
    known: HashMap<i64, SeriesKey>,
    /// Whether only the known keys are asked for.
    only_known: bool,
}

impl Summaries {
    pub(super) fn new(connection: &Connection, metrics: &Keys) -> Result<Self, StoreError> {
        let mut known = HashMap::new();
        let Keys::Only(metrics) = metrics else { return Ok(Self { known, only_known: false }) };
        for metric in metrics {
            known.extend(keys::of_metric(connection, metric)?);
        }
        Ok(Self { known, only_known: true })
    }

    /// The summaries of an evaluation by key.
    pub(super) fn of(
        &mut self,
        connection: &Connection,
        evaluation: &EvaluationRow,
    ) -> Result<Vec<SeriesSummary>, StoreError> {
        if self.only_known && self.known.is_empty() {
            return Ok(Vec::new());
        }
        let Some((card, _)) = scores::card(connection, evaluation)? else { return Ok(Vec::new()) };
        let mut summaries = Vec::new();
        for entry in Scores::read(&card) {
            let (n, words) = entry?;
            let key = match self.known.get(&n) {
                Some(key) => key.clone(),
                None if self.only_known => continue,
                None => {
                    let key = keys::by_number(connection, n)?;
                    self.known.insert(n, key.clone());
                    key
                }
            };
            summaries.push(summary::decode(key, &words));
        }
        summaries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(summaries)
    }
}
