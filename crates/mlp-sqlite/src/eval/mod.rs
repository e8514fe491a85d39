//! The evaluation store of `mlp-eval`.

mod experiments;
mod filter;
mod load;
mod page;
mod rows;
mod series;
mod sorted;
mod summaries;
mod write;

use mlp_core::{EvaluationId, StoreError};
use mlp_eval::{
    Batch, EvalStore, Evaluation, Experiment, Filter, MetricPoint, NewEvaluation, Operator, Page,
    Query, SeriesKey, View, check_experiment,
};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::database::Database;
use crate::error::{Sql, store};
use crate::verify::{Checked, Report};

const KIND: &str = "evaluation";

impl EvalStore for Database {
    fn create_with(&self, evaluation: &NewEvaluation, first: &Batch) -> Result<(), StoreError> {
        evaluation.check()?;
        first.check()?;
        let (evaluation, first) = (evaluation.clone(), first.clone());
        self.write(move |session| write::create(session, &evaluation, &first))
    }

    fn write(&self, id: EvaluationId, batch: &Batch) -> Result<(), StoreError> {
        batch.check()?;
        let batch = batch.clone();
        Self::write(self, move |session| write::batch(session, id, &batch))
    }

    fn get(&self, id: EvaluationId) -> Result<Evaluation, StoreError> {
        self.read(|connection| {
            let row = rows::by_id(connection, id)?;
            load::Loader::new(connection, &mlp_eval::Projection::default())?.evaluation(&row)
        })
    }

    fn series(&self, id: EvaluationId, key: &SeriesKey) -> Result<Vec<MetricPoint>, StoreError> {
        self.read(|connection| {
            let row = rows::by_id(connection, id)?;
            series::points(connection, row.n, key)
        })
    }

    fn query(&self, query: &Query) -> Result<Page, StoreError> {
        query.check()?;
        self.read(|connection| page::read(connection, query))
    }

    fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        filter.check()?;
        self.read(|connection| page::count(connection, filter))
    }

    fn delete(&self, id: EvaluationId) -> Result<(), StoreError> {
        Self::write(self, move |session| write::move_to(session, id, rows::Bin::Deleted))
    }

    fn restore(&self, id: EvaluationId) -> Result<(), StoreError> {
        Self::write(self, move |session| write::move_to(session, id, rows::Bin::InUse))
    }

    fn purge(&self, id: EvaluationId) -> Result<(), StoreError> {
        Self::write(self, move |session| write::purge(session, id))
    }

    fn create_experiment(&self, name: &str) -> Result<(), StoreError> {
        check_experiment(name)?;
        let name = name.to_owned();
        Self::write(self, move |session| experiments::create(session, &name).map(|_| ()))
    }

    fn experiments(&self, view: View) -> Result<Vec<Experiment>, StoreError> {
        self.read(|connection| experiments::list(connection, view))
    }

    fn delete_experiment(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        Self::write(self, move |session| experiments::set_deleted(session, &name, true))
    }

    fn restore_experiment(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        Self::write(self, move |session| experiments::set_deleted(session, &name, false))
    }

    fn purge_experiment(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        Self::write(self, move |session| experiments::purge(session, &name))
    }
}

/// What filters need and SQL does not have: patterns that mean what `mlp-eval` says, and ids as text.
pub(crate) fn add_functions(connection: &Connection) -> Sql<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    for (name, operator) in
        [("mlp_like", Operator::Like), ("mlp_ilike", Operator::LikeIgnoringCase)]
    {
        connection.create_scalar_function(name, 2, flags, move |context| {
            let text = context.get_raw(0).as_str_or_null()?;
            let pattern = context.get_raw(1).as_str_or_null()?;
            Ok(text
                .zip(pattern)
                .is_some_and(|(text, pattern)| operator.matches_pattern(text, pattern)))
        })?;
    }
    connection.create_scalar_function("mlp_id", 1, flags, |context| {
        Ok(rows::id_from(context.get_raw(0).as_blob()?)?.to_string())
    })
}

/// Every table of this store, for verification.
pub(crate) fn tables() -> Vec<Checked> {
    let mut tables = vec![experiments::table()];
    tables.extend(rows::tables());
    tables.extend(series::tables());
    tables
}

fn missing(id: EvaluationId) -> StoreError {
    StoreError::not_found(KIND, id)
}

/// Counts the records that are read, for the tests of what a projection reads.
fn count_record() {
    #[cfg(test)]
    RECORDS.with(|records| records.set(records.get() + 1));
}

#[cfg(test)]
thread_local! {
    static RECORDS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whether every series stands where its evaluation does: what the indexes are sorted by is a copy.
pub(crate) fn verify(connection: &Connection, report: &mut Report) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM series AS s LEFT JOIN evaluation AS e ON e.n = s.evaluation \
               WHERE e.n IS NULL OR s.started_at <> e.started_at OR s.experiment <> e.experiment OR s.bin <> e.bin";
    let astray: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(store)?;
    if astray > 0 {
        report.add("series", format!("{astray} stand elsewhere than their evaluations"));
    }
    Ok(())
}

/// Reads one row, if there is one.
fn optional<T>(result: Sql<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) => Err(store(error)),
    }
}
