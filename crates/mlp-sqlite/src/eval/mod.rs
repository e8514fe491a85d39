//! The evaluation store of `mlp-eval`.

mod about;
mod experiments;
mod filter;
mod functions;
mod keys;
mod latest;
mod load;
mod page;
mod rows;
mod scores;
mod series;
mod sorted;
mod summaries;
mod summary;
mod write;

pub(crate) use functions::add_functions;

use mlp_core::{EvaluationId, StoreError};
use mlp_eval::{
    Batch, EvalStore, Evaluation, Experiment, Filter, MetricPoint, NewEvaluation, Page, Query,
    SeriesKey, View, check_experiment,
};
use rusqlite::Connection;

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
            series::points(connection, &row, key)
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

/// Every table of this store, for verification.
pub(crate) fn tables() -> Vec<Checked> {
    vec![experiments::table(), rows::table(), keys::table(), scores::table(), series::table()]
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

/// Whether the index of latest values is that of what the cards hold.
pub(crate) fn verify(connection: &Connection, report: &mut Report) -> Result<(), StoreError> {
    latest::verify(connection, report)
}

/// Reads one row, if there is one.
fn optional<T>(result: Sql<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) => Err(store(error)),
    }
}
