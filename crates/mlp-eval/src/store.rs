//! The storage trait, and what can be done with any store.

use std::fmt::Debug;

use mlp_core::{Direction, EvaluationId, StoreError, Timestamp};

use crate::batch::Batch;
use crate::compare::Comparison;
use crate::evaluation::{Evaluation, NewEvaluation, Status};
use crate::filter::{Field, Filter};
use crate::query::{MAX_PAGE, Order, Page, Query};
use crate::series::{MetricPoint, SeriesKey};

/// Keeps evaluations.
///
/// # Contract
///
/// Each promise is a check in `testing` (feature `testing`).
///
/// * A write that returned is seen by every later read. A write that failed changed nothing.
/// * What was written comes back exactly: every double by its bits, every text by its bytes.
/// * An id is taken once. A new evaluation is running; its scores are the points of step 0 at its start.
/// * A batch is written as a whole or not at all. Parameters are written once, tags overwrite, identical points are stored once.
/// * An evaluation that has ended takes no more writes; one in the bin takes none either, and is still read by its id.
/// * Deleting and restoring are idempotent. Only what is in the bin can be purged; a purged evaluation is gone, and its id is free.
/// * Queries filter as [`Filter::matches`], sort as [`Query::compare`], and pages neither skip nor repeat an evaluation.
pub trait EvalStore: Debug + Send + Sync {
    /// Stores a new, running evaluation.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the id is taken; [`StoreError::Invalid`] or [`StoreError::LimitExceeded`] as [`NewEvaluation::check`].
    fn create(&self, evaluation: &NewEvaluation) -> Result<(), StoreError>;

    /// Writes to a running evaluation.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the evaluation or a tag to remove; [`StoreError::Conflict`] if it has ended, is deleted, or has another
    /// value for a parameter; [`StoreError::Invalid`] or [`StoreError::LimitExceeded`] as [`Batch::check`], and if a series is full.
    fn write(&self, id: EvaluationId, batch: &Batch) -> Result<(), StoreError>;

    /// Reads one evaluation, deleted or not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn get(&self, id: EvaluationId) -> Result<Evaluation, StoreError>;

    /// Reads the points of a series, by time, then step, then value; empty if there is no such series.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such evaluation.
    fn series(&self, id: EvaluationId, key: &SeriesKey) -> Result<Vec<MetricPoint>, StoreError>;

    /// Reads a page of the evaluations that match.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] or [`StoreError::LimitExceeded`] as [`Query::check`].
    fn query(&self, query: &Query) -> Result<Page, StoreError>;

    /// Counts the evaluations in use that match.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] or [`StoreError::LimitExceeded`] as [`Filter::check`].
    fn count(&self, filter: &Filter) -> Result<u64, StoreError>;

    /// Moves an evaluation to the bin, if it is not there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn delete(&self, id: EvaluationId) -> Result<(), StoreError>;

    /// Takes an evaluation out of the bin, if it is there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn restore(&self, id: EvaluationId) -> Result<(), StoreError>;

    /// Removes an evaluation in the bin for good.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if it is not in the bin.
    fn purge(&self, id: EvaluationId) -> Result<(), StoreError>;
}

/// Conveniences over [`EvalStore`].
pub trait EvalStoreExt: EvalStore {
    /// Stores an evaluation that is already over, and returns its id.
    ///
    /// # Errors
    /// As [`EvalStore::create`] and [`EvalStore::write`]. If only the second fails the evaluation is there, and running.
    fn log(
        &self,
        evaluation: NewEvaluation,
        ended_at: Timestamp,
    ) -> Result<EvaluationId, StoreError> {
        self.create(&evaluation)?;
        self.write(evaluation.id, &Batch::new().finished(Status::Finished, ended_at))?;
        Ok(evaluation.id)
    }

    /// The evaluation with the best latest value of a metric, among those in use that match; of equal ones the latest started.
    ///
    /// A missing metric and NaN never win; an infinity can. None if nobody has a value.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    fn best(
        &self,
        filter: &Filter,
        metric: &str,
        direction: Direction,
    ) -> Result<Option<Evaluation>, StoreError> {
        let order = Order::best(Field::metric(metric), direction);
        let query = Query::new(filter.clone()).with_order(order).with_limit(1);
        let first = self.query(&query)?.evaluations.into_iter().next();
        Ok(first.filter(|e| e.metrics.get(metric).is_some_and(|value| !value.is_nan())))
    }

    /// All evaluations in use that match, the latest started first, read page by page.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    fn find(&self, filter: &Filter) -> Result<Vec<Evaluation>, StoreError> {
        let mut found = Vec::new();
        let mut query = Query::new(filter.clone()).with_limit(MAX_PAGE.min(1_000));
        loop {
            let page = self.query(&query)?;
            found.extend(page.evaluations);
            if page.next.is_none() {
                return Ok(found);
            }
            query.after = page.next;
        }
    }

    /// Puts evaluations side by side; the first is what the others are compared with.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], naming the first id that is not there.
    fn compare(&self, ids: &[EvaluationId]) -> Result<Comparison, StoreError> {
        let evaluations: Result<Vec<_>, _> = ids.iter().map(|id| self.get(*id)).collect();
        Ok(Comparison::of(&evaluations?))
    }

    /// Puts all evaluations in use that match side by side, the first started first.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    fn compare_all(&self, filter: &Filter) -> Result<Comparison, StoreError> {
        let mut evaluations = self.find(filter)?;
        evaluations.reverse();
        Ok(Comparison::of(&evaluations))
    }

    /// Puts the best evaluation of each experiment side by side, in the order given; an experiment without a value is left out.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    fn compare_experiments(
        &self,
        experiments: &[&str],
        metric: &str,
        direction: Direction,
    ) -> Result<Comparison, StoreError> {
        let mut best = Vec::new();
        for experiment in experiments {
            best.extend(self.best(&Filter::experiment(*experiment), metric, direction)?);
        }
        let labels = best.iter().map(|e| format!("{}: {}", e.experiment, e.label())).collect();
        Ok(Comparison::of(&best).with_labels(labels))
    }
}

impl<S: EvalStore + ?Sized> EvalStoreExt for S {}
