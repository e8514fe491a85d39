//! An evaluation, put together from its records.

use mlp_core::{Metrics, StoreError, Timestamp};
use mlp_eval::{Evaluation, Projection};
use rusqlite::Connection;

use super::experiments;
use super::rows::{self, EvaluationRow};
use super::series;

pub(super) fn evaluation(
    connection: &Connection,
    row: &EvaluationRow,
    projection: &Projection,
) -> Result<Evaluation, StoreError> {
    let mut new = mlp_eval::NewEvaluation::new(
        experiments::name_of(connection, row.experiment)?,
        row.stage()?,
        Timestamp::from_micros(row.started_at),
    )
    .with_id(row.id);
    new.model =
        row.model.as_deref().map(str::parse).transpose().map_err(|error| row.broken(&error))?;
    new.model_version = row.model_version();
    new.dataset = row.dataset()?;
    if projection.params != none() {
        for (name, value) in rows::params(connection, row.n)? {
            if projection.params.has(&name) {
                let value: mlp_core::ParamValue =
                    serde_json::from_str(&value).map_err(|error| row.broken(&error))?;
                new.params.insert(name, value);
            }
        }
    }
    if projection.tags != none() {
        let tags = rows::tags(connection, row.n)?.into_iter();
        new.tags = tags.filter(|(name, _)| projection.tags.has(name)).collect();
    }
    let mut evaluation = Evaluation::from_new(&new);
    evaluation.status = row.status()?;
    evaluation.lifecycle = row.bin.lifecycle();
    evaluation.ended_at = row.ended_at.map(Timestamp::from_micros);
    if projection.metrics != none() {
        evaluation.series =
            series::summaries(connection, row.n, |metric| projection.metrics.has(metric))?;
        let plain = evaluation.series.iter().filter(|summary| summary.key.context.is_empty());
        evaluation.metrics = plain
            .map(|summary| (summary.key.metric.clone(), summary.last.value))
            .collect::<Metrics>();
    }
    Ok(evaluation)
}

fn none() -> mlp_eval::Keys {
    mlp_eval::Keys::Only(std::collections::BTreeSet::new())
}
