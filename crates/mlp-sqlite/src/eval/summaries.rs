//! The summaries of an evaluation's series, as far as they are asked for.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use mlp_core::StoreError;
use mlp_eval::{Keys, SeriesKey, SeriesSummary};
use rusqlite::Connection;

use super::rows::EvaluationRow;
use super::{keys, scores, summary};
use crate::cards::Scores;

/// So many series of the metrics that are asked for are known by their numbers before any evaluation is read. Metrics that have more, such as a
/// series for each minute, have most of them in other evaluations: then each number that is met is looked up.
const MOST: usize = 10_000;

/// Reads the summaries of evaluations, as far as their metrics are asked for; what numbers of keys mean is looked up once, when they are met.
pub(super) struct Summaries<'a> {
    metrics: &'a Keys,
    /// The numbers that are asked for, if it is known which.
    wanted: Option<HashSet<i64>>,
    /// None for a key that is not asked for.
    known: HashMap<i64, Option<SeriesKey>>,
}

impl<'a> Summaries<'a> {
    pub(super) fn new(connection: &Connection, metrics: &'a Keys) -> Result<Self, StoreError> {
        Ok(Self { metrics, wanted: wanted(connection, metrics)?, known: HashMap::new() })
    }

    /// The summaries of an evaluation by key.
    pub(super) fn of(
        &mut self,
        connection: &Connection,
        evaluation: &EvaluationRow,
    ) -> Result<Vec<SeriesSummary>, StoreError> {
        if self.wanted.as_ref().is_some_and(HashSet::is_empty) {
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
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.contains(&n)) {
            return Ok(None);
        }
        match self.known.entry(n) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(place) => {
                let key = keys::by_number(connection, n)?;
                let asked_for = self.metrics.has(&key.metric).then_some(key);
                Ok(place.insert(asked_for).clone())
            }
        }
    }
}

fn wanted(connection: &Connection, metrics: &Keys) -> Result<Option<HashSet<i64>>, StoreError> {
    let Keys::Only(metrics) = metrics else { return Ok(None) };
    let mut wanted = HashSet::new();
    for metric in metrics {
        let found = keys::numbers_of(connection, metric, MOST as i64 + 1)?;
        if found.len() > MOST {
            return Ok(None);
        }
        wanted.extend(found);
    }
    Ok(Some(wanted))
}
