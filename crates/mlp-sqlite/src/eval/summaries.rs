//! The summaries of an evaluation's series, as far as they are asked for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use mlp_core::StoreError;
use mlp_eval::{Keys, SeriesKey, SeriesSummary};
use rusqlite::Connection;

use super::rows::EvaluationRow;
use super::{keys, scores, summary};
use crate::cards::Scores;

/// The keys of a metric that are looked up before any evaluation is read. One that has more, such as a series for each hour, has most of them
/// in other evaluations: then it is asked for each key that is met whether it is meant.
const FEW: i64 = 64;

/// Reads the summaries of evaluations, as far as their metrics are asked for; what keys mean is looked up once.
pub(super) struct Summaries<'a> {
    metrics: &'a Keys,
    /// None for a key that is not asked for.
    known: HashMap<i64, Option<SeriesKey>>,
    /// Whether the known keys are all that are asked for.
    only_known: bool,
}

impl<'a> Summaries<'a> {
    pub(super) fn new(connection: &Connection, metrics: &'a Keys) -> Result<Self, StoreError> {
        let mut summaries = Self { metrics, known: HashMap::new(), only_known: false };
        let Keys::Only(names) = metrics else { return Ok(summaries) };
        for metric in names {
            let found = keys::of_metric(connection, metric, FEW + 1)?;
            if found.len() as i64 > FEW {
                return Ok(summaries);
            }
            summaries.known.extend(found.into_iter().map(|(n, key)| (n, Some(key))));
        }
        summaries.only_known = true;
        Ok(summaries)
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
            if let Some(key) = self.key(connection, n)? {
                summaries.push(summary::decode(key, &words));
            }
        }
        summaries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(summaries)
    }

    /// What a number stands for, if that is asked for.
    fn key(&mut self, connection: &Connection, n: i64) -> Result<Option<SeriesKey>, StoreError> {
        match self.known.entry(n) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(_) if self.only_known => Ok(None),
            Entry::Vacant(place) => {
                let key = keys::by_number(connection, n)?;
                let asked_for = self.metrics.has(&key.metric).then_some(key);
                Ok(place.insert(asked_for).clone())
            }
        }
    }
}
