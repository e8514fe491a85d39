//! Writing evaluations.

use mlp_core::{EvaluationId, StoreError};
use mlp_eval::{Batch, MetricPoint, NewEvaluation, SeriesKey, hold_of};

use super::about::About;
use super::rows::{self, Bin, EvaluationRow};
use super::{KIND, experiments, scores, series};
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
    let mut about = About::of(new)?;
    about.apply(first, new.id)?;
    let about = about.card()?;
    let experiment = experiments::to_write(session, &new.experiment)?;
    let next = "SELECT coalesce(max(n), 0) + 1 FROM evaluation";
    let mut statement = session.connection.prepare_cached(next).map_err(store)?;
    let n = statement.query_row([], |row| row.get(0)).map_err(store)?;
    let mut row = EvaluationRow::new(n, experiment, new, first.finish);
    row.insert(session, &about)?;
    let mut points: Vec<_> = new
        .metrics
        .iter()
        .map(|(name, value)| (SeriesKey::new(name), MetricPoint::new(0, new.started_at, value)))
        .collect();
    points.extend(first.points.iter().cloned());
    series::add(session, &row, true, &points)
}

/// What may be at fault, all but the number of points, is looked up before anything is written: a batch that changed nothing is left out of its
/// group, one that did has the whole group begun anew.
pub(super) fn batch(
    session: &Session<'_>,
    id: EvaluationId,
    batch: &Batch,
) -> Result<(), StoreError> {
    let mut row = rows::by_id(session.connection, id)?;
    let conflict = |reason: String| Err(StoreError::conflict(KIND, id, reason));
    if !batch.only_holds() {
        if row.bin != Bin::InUse {
            return conflict("it is deleted".to_owned());
        }
        if row.status()? != mlp_eval::Status::Running {
            return conflict(format!("it is {} and takes no more writes", row.status));
        }
    }
    if !(batch.params.is_empty() && batch.tags.is_empty() && batch.removed_tags.is_empty()) {
        let mut about = About::read(session.connection, &row)?;
        about.apply(batch, id)?;
        row.set_about(session, &about.card()?)?;
    }
    series::add(session, &row, false, &batch.points)?;
    if let Some((status, at)) = batch.finish {
        row.update(session, |row| {
            row.status = status.to_string();
            row.ended_at = Some(at.as_micros());
        })?;
    }
    Ok(())
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
    let from = row.bin;
    row.update(session, |row| row.bin = bin)?;
    scores::follow(session, &row, from)
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
    // Of a damaged card nobody knows whether it is held: it stays.
    let about = About::read(session.connection, row)?;
    if let Some(reason) = hold_of(|name| about.tag(name)) {
        return Err(StoreError::conflict(KIND, row.id, reason));
    }
    scores::remove(session, row)?;
    series::remove(session, row.n)?;
    row.delete(session)
}

#[cfg(test)]
mod tests {
    use mlp_core::Timestamp;
    use mlp_eval::{EvalStore, Stage};

    use super::super::{keys, summary};
    use super::*;
    use crate::Database;

    #[test]
    fn a_batch_at_fault_has_changed_nothing_so_that_its_group_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("mlp.db")).unwrap();
        let at = Timestamp::from_micros(1);
        let new = NewEvaluation::new("wine", Stage::Test, at).with_param("lr", 1);
        database.create(&new).unwrap();
        let all = Batch::new().with_param("depth", 1).with_tag("t", "").with_point("m", 0, at, 1.0);
        for (bad, is_fine) in [
            (all.clone().with_param("lr", 2), false),
            (all.clone().without_tag("missing"), false),
            (all, true),
        ] {
            let (done, changed) = database
                .write(move |session| {
                    let before = session.connection.total_changes();
                    let done = batch(session, new.id, &bad).is_ok();
                    Ok((done, session.connection.total_changes() - before))
                })
                .unwrap();
            assert_eq!((done, changed > 0), (is_fine, is_fine), "{changed} records changed");
        }
    }

    #[test]
    fn both_checksums_of_an_evaluation_changed_alike_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("mlp.db")).unwrap();
        let new = NewEvaluation::new("wine", Stage::Test, Timestamp::from_micros(1));
        database.create(&new).unwrap();
        for change in [
            "checksum = about_checksum, about_checksum = checksum",
            "checksum = ~checksum, about_checksum = ~about_checksum",
            "checksum = ~checksum",
        ] {
            let sql = format!("UPDATE evaluation SET {change}");
            let back = sql.clone();
            database
                .write(move |session| session.connection.execute_batch(&sql).map_err(store))
                .unwrap();
            let report = database.verify().unwrap();
            assert!(report.to_string().contains(&new.id.to_string()), "{change}: {report}");
            database
                .write(move |session| session.connection.execute_batch(&back).map_err(store))
                .unwrap();
            assert!(database.verify().unwrap().is_sound(), "{change}: it is as it was");
        }
    }

    #[test]
    fn a_full_series_takes_what_it_has_again_and_nothing_new() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("mlp.db")).unwrap();
        let at = Timestamp::from_micros(1);
        let new = NewEvaluation::new("wine", Stage::Test, at);
        database.create(&new).unwrap();
        let points = |steps: std::ops::Range<i64>| {
            steps.fold(Batch::new(), |batch, step| batch.with_point("m", step, at, 1.0))
        };
        EvalStore::write(&database, new.id, &points(0..1_000)).unwrap();
        // As if it had all that it may have.
        let fill = move |session: &Session<'_>| {
            let row = rows::by_id(session.connection, new.id)?;
            let mut card = scores::ScoreCard::read(session.connection, &row)?;
            let key = keys::number(session.connection, &"m".into())?.unwrap();
            let mut summary = summary::decode("m".into(), card.get(key).unwrap());
            summary.count = mlp_eval::MAX_POINTS as u64;
            card.put(key, summary::encode(&summary));
            card.save(session)
        };
        database.write(fill).unwrap();
        EvalStore::write(&database, new.id, &points(0..1_000)).unwrap();
        let refused = EvalStore::write(&database, new.id, &points(999..1_001));
        let named = "points of the series m is over its limit: 1000001 of at most 1000000";
        assert_eq!(refused.unwrap_err().to_string(), named);
    }
}
