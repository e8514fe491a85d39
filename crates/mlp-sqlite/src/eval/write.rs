//! Writing evaluations.

use std::collections::BTreeMap;

use mlp_core::{EvaluationId, StoreError};
use mlp_eval::{Batch, Keys, LEGAL_HOLD, MetricPoint, NewEvaluation, PIN, SeriesKey, hold_of};

use super::rows::{self, Bin, EvaluationRow};
use super::{KIND, experiments, series};
use crate::error::store;
use crate::session::Session;

pub(super) fn create(
    session: &Session<'_>,
    new: &NewEvaluation,
    first: &Batch,
) -> Result<(), StoreError> {
    if rows::find(session.connection, new.id)?.is_some() {
        return Err(StoreError::conflict(KIND, new.id, "the id is taken"));
    }
    let experiment = experiments::to_write(session, &new.experiment)?;
    let next = "SELECT coalesce(max(n), 0) + 1 FROM evaluation";
    let mut statement = session.connection.prepare_cached(next).map_err(store)?;
    let n = statement.query_row([], |row| row.get(0)).map_err(store)?;
    let row = EvaluationRow::new(n, experiment, new, first.finish);
    row.insert(session)?;
    for (name, value) in new.params.iter() {
        rows::insert_param(session, row.n, name, value)?;
    }
    for (name, value) in &new.tags {
        rows::insert_tag(session, row.n, name, value)?;
    }
    let mut points: Vec<_> = new
        .metrics
        .iter()
        .map(|(name, value)| (SeriesKey::new(name), MetricPoint::new(0, new.started_at, value)))
        .collect();
    points.extend(first.points.iter().cloned());
    parts(session, &row, true, first, &points)
}

pub(super) fn batch(
    session: &Session<'_>,
    id: EvaluationId,
    batch: &Batch,
) -> Result<(), StoreError> {
    let mut row = rows::by_id(session.connection, id)?;
    let conflict = |reason: String| Err(StoreError::conflict(KIND, id, reason));
    if batch.only_holds() {
        return parts(session, &row, false, batch, &[]);
    }
    if row.bin != Bin::InUse {
        return conflict("it is deleted".to_owned());
    }
    if row.status()? != mlp_eval::Status::Running {
        return conflict(format!("it is {} and takes no more writes", row.status));
    }
    parts(session, &row, false, batch, &batch.points)?;
    if let Some((status, at)) = batch.finish {
        row.update(session, |row| {
            row.status = status.to_string();
            row.ended_at = Some(at.as_micros());
        })?;
    }
    Ok(())
}

/// Parameters, tags and points of a batch.
fn parts(
    session: &Session<'_>,
    row: &EvaluationRow,
    is_new: bool,
    batch: &Batch,
    points: &[(SeriesKey, MetricPoint)],
) -> Result<(), StoreError> {
    for (name, value) in &batch.params {
        let Some(known) = rows::param(session.connection, row.n, name)? else {
            rows::insert_param(session, row.n, name, value)?;
            continue;
        };
        // The exact JSON of two values is the same if and only if they are.
        if known != serde_json::to_string(value).map_err(StoreError::backend)? {
            let reason = format!("parameter {name:?} is {known}, not {value}");
            return Err(StoreError::conflict(KIND, row.id, reason));
        }
    }
    for name in &batch.removed_tags {
        if !rows::remove_tag(session, row.n, name)? {
            return Err(StoreError::not_found("tag", name));
        }
    }
    for (name, value) in &batch.tags {
        rows::set_tag(session, row.n, name, value)?;
    }
    series::add(session, row, is_new, points)
}

/// Moves an evaluation to the bin or out of it.
pub(super) fn move_to(session: &Session<'_>, id: EvaluationId, bin: Bin) -> Result<(), StoreError> {
    let row = rows::by_id(session.connection, id)?;
    if bin == Bin::InUse {
        let name = experiments::name_of(session.connection, row.experiment)?;
        if experiments::find(session.connection, &name)?.is_some_and(|row| row.is_deleted) {
            return Err(experiments::in_bin(&name));
        }
    }
    set_bin(session, row, bin)
}

pub(super) fn set_bin(
    session: &Session<'_>,
    mut row: EvaluationRow,
    bin: Bin,
) -> Result<(), StoreError> {
    if row.bin == bin {
        return Ok(());
    }
    row.update(session, |row| row.bin = bin)?;
    series::follow(session, &row)
}

pub(super) fn purge(session: &Session<'_>, id: EvaluationId) -> Result<(), StoreError> {
    let row = rows::by_id(session.connection, id)?;
    if row.bin == Bin::InUse {
        return Err(StoreError::conflict(KIND, id, "it is in use: delete it first"));
    }
    remove(session, &row)
}

/// Removes an evaluation with everything it has, unless somebody holds it.
pub(super) fn remove(session: &Session<'_>, row: &EvaluationRow) -> Result<(), StoreError> {
    let holds = Keys::only([PIN, LEGAL_HOLD]);
    let tags: BTreeMap<_, _> = rows::tags(session.connection, row.n, &holds)?.into_iter().collect();
    if let Some(reason) = hold_of(|name| tags.get(name).map(String::as_str)) {
        return Err(StoreError::conflict(KIND, row.id, reason));
    }
    for table in ["param", "tag", "series", "point"] {
        rows::remove_all(session, table, row.n)?;
    }
    row.delete(session)
}
