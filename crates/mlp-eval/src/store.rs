//! The storage trait, and what can be done with any store.

use std::fmt::Debug;

use mlp_core::{Direction, EvaluationId, StoreError, Timestamp};

use crate::batch::Batch;
use crate::compare::Comparison;
use crate::evaluation::{Evaluation, Experiment, NewEvaluation, Status};
use crate::filter::{Field, Filter};
use crate::query::{Order, Page, Query, View};
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
/// * An experiment comes to be with its first evaluation, or by name. Its name is taken until it is purged, and in the bin it takes no new
///   evaluation. What was in use goes to the bin with its experiment and comes back with it.
/// * A batch is written as a whole or not at all. Parameters are written once, tags overwrite, identical points are stored once.
/// * An evaluation that has ended takes no more writes; one in the bin takes none either, and is still read by its id. Holding it or
///   letting it go ([`Batch::only_holds`]) is possible all the same.
/// * Deleting and restoring are idempotent. Only what is in the bin and not held ([`PIN`](crate::PIN), [`LEGAL_HOLD`](crate::LEGAL_HOLD)) can
///   be purged, be it with its experiment; a purged evaluation is gone, and its id is free.
/// * Queries filter as [`Filter::matches`], sort as [`Query::compare`], and pages neither skip nor repeat an evaluation. What a
///   [`Projection`](crate::Projection) leaves out is not there, and changes nothing else.
pub trait EvalStore: Debug + Send + Sync {
    /// Stores a new evaluation together with its first batch, both or neither.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the id is taken or its experiment is in the bin; [`StoreError::Invalid`] or
    /// [`StoreError::LimitExceeded`] as [`NewEvaluation::check`]; all of [`write`](Self::write).
    fn create_with(&self, evaluation: &NewEvaluation, first: &Batch) -> Result<(), StoreError>;

    /// Stores a new, running evaluation.
    ///
    /// # Errors
    /// As [`create_with`](Self::create_with).
    fn create(&self, evaluation: &NewEvaluation) -> Result<(), StoreError> {
        self.create_with(evaluation, &Batch::new())
    }

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
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if its experiment is in the bin.
    fn restore(&self, id: EvaluationId) -> Result<(), StoreError>;

    /// Removes an evaluation in the bin for good.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if it is not in the bin, or held.
    fn purge(&self, id: EvaluationId) -> Result<(), StoreError>;

    /// Takes a name for an experiment before its first evaluation.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the name is taken, be it in the bin; [`StoreError::Invalid`] as [`check_experiment`](crate::check_experiment).
    fn create_experiment(&self, name: &str) -> Result<(), StoreError>;

    /// The experiments, by name.
    ///
    /// # Errors
    /// If the storage fails.
    fn experiments(&self, view: View) -> Result<Vec<Experiment>, StoreError>;

    /// Moves an experiment to the bin with all its evaluations that are in use, if it is not there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn delete_experiment(&self, name: &str) -> Result<(), StoreError>;

    /// Takes an experiment out of the bin with all the evaluations that went there with it, if it is there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn restore_experiment(&self, name: &str) -> Result<(), StoreError>;

    /// Removes an experiment in the bin and all its evaluations for good; its name is free again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if it is not in the bin, or holds an evaluation that is held.
    fn purge_experiment(&self, name: &str) -> Result<(), StoreError>;
}

/// Conveniences over [`EvalStore`].
pub trait EvalStoreExt: EvalStore {
    /// Stores an evaluation that is already over, in one step, and returns its id.
    ///
    /// # Errors
    /// As [`EvalStore::create_with`].
    fn log(
        &self,
        evaluation: NewEvaluation,
        ended_at: Timestamp,
    ) -> Result<EvaluationId, StoreError> {
        self.create_with(&evaluation, &Batch::new().finished(Status::Finished, ended_at))?;
        Ok(evaluation.id)
    }

    /// The evaluation with the best latest value of a metric, or of one of its series, among those in use that match; of equal ones the latest started.
    ///
    /// A missing metric and NaN never win; an infinity can. None if nobody has a value.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    fn best(
        &self,
        filter: &Filter,
        metric: impl Into<SeriesKey>,
        direction: Direction,
    ) -> Result<Option<Evaluation>, StoreError> {
        let key = metric.into();
        let order = Order::best(Field::metric(&key), direction);
        let query = Query::new(filter.clone()).with_order(order).with_limit(1);
        let first = self.query(&query)?.evaluations.into_iter().next();
        Ok(first.filter(|e| e.value(&key).is_some_and(|value| !value.is_nan())))
    }

    /// Goes through everything that a query finds, a thousand evaluations at a time, whatever the limit of the query.
    ///
    /// # Errors
    /// As [`EvalStore::query`], and the first one of `use_one`.
    fn for_each(
        &self,
        query: &Query,
        mut use_one: impl FnMut(Evaluation) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for_each(self, query, &mut use_one)
    }

    /// All evaluations in use that match, the latest started first.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    fn find(&self, filter: &Filter) -> Result<Vec<Evaluation>, StoreError> {
        let mut found = Vec::new();
        for_each(self, &Query::new(filter.clone()), &mut |evaluation| {
            found.push(evaluation);
            Ok(())
        })?;
        Ok(found)
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
        metric: impl Into<SeriesKey>,
        direction: Direction,
    ) -> Result<Comparison, StoreError> {
        let (key, mut best) = (metric.into(), Vec::new());
        for experiment in experiments {
            best.extend(self.best(&Filter::experiment(*experiment), &key, direction)?);
        }
        let labels = best.iter().map(|e| format!("{}: {}", e.experiment, e.label())).collect();
        Ok(Comparison::of(&best).with_labels(labels))
    }
}

impl<S: EvalStore + ?Sized> EvalStoreExt for S {}

/// Goes through all pages of a query.
pub(crate) fn for_each<S: EvalStore + ?Sized>(
    store: &S,
    query: &Query,
    use_one: &mut dyn FnMut(Evaluation) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut query = query.clone().with_limit(1_000);
    loop {
        let page = store.query(&query)?;
        page.evaluations.into_iter().try_for_each(&mut *use_one)?;
        query.after = page.next;
        if query.after.is_none() {
            return Ok(());
        }
    }
}
