//! Evaluations, put together from their records: of each only what is asked for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use mlp_core::{Metrics, StoreError, Timestamp};
use mlp_eval::{Evaluation, Keys, NewEvaluation, Projection};
use rusqlite::Connection;

use super::rows::EvaluationRow;
use super::summaries::Summaries;
use super::{about, experiments};
use crate::cards;

/// Loads the evaluations of a page, and looks up what they share once.
pub(super) struct Loader<'a> {
    connection: &'a Connection,
    projection: &'a Projection,
    experiments: HashMap<i64, String>,
    summaries: Summaries<'a>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        projection: &'a Projection,
    ) -> Result<Self, StoreError> {
        let summaries = Summaries::new(connection, &projection.metrics)?;
        Ok(Self { connection, projection, experiments: HashMap::new(), summaries })
    }

    pub(super) fn evaluation(&mut self, row: &EvaluationRow) -> Result<Evaluation, StoreError> {
        let experiment = match self.experiments.entry(row.experiment) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                place.insert(experiments::name_of(self.connection, row.experiment)?).clone()
            }
        };
        let started_at = Timestamp::from_micros(row.started_at);
        let mut new = NewEvaluation::new(experiment, row.stage()?, started_at).with_id(row.id);
        new.model =
            row.model.as_deref().map(str::parse).transpose().map_err(|error| row.broken(&error))?;
        new.model_version = row.model_version();
        new.dataset = row.dataset()?;
        if !(is_none(&self.projection.params) && is_none(&self.projection.tags)) {
            let card = about::card(self.connection, row)?;
            let params = about::chosen(cards::params(&card), &self.projection.params, row)?;
            for (name, value) in params {
                let value: mlp_core::ParamValue =
                    serde_json::from_str(&value).map_err(|error| row.broken(&error))?;
                new.params.insert(name, value);
            }
            let tags = about::chosen(cards::tags(&card), &self.projection.tags, row)?;
            new.tags = tags.into_iter().collect();
        }
        let mut evaluation = Evaluation::from_new(&new);
        evaluation.status = row.status()?;
        evaluation.lifecycle = row.bin.lifecycle();
        evaluation.ended_at = row.ended_at.map(Timestamp::from_micros);
        evaluation.series = self.summaries.of(self.connection, row)?;
        let plain = evaluation.series.iter().filter(|summary| summary.key.context.is_empty());
        evaluation.metrics = plain
            .map(|summary| (summary.key.metric.clone(), summary.last.value))
            .collect::<Metrics>();
        Ok(evaluation)
    }
}

fn is_none(keys: &Keys) -> bool {
    matches!(keys, Keys::Only(names) if names.is_empty())
}
