use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use mlp_core::{EvaluationId, StoreError};
use mlp_eval::{
    Batch, EvalStore, Evaluation, Experiment, Filter, InMemoryEvalStore, MetricPoint,
    NewEvaluation, Page, Query, SeriesKey, View, testing,
};

#[test]
fn the_store_in_memory_keeps_the_contract() {
    testing::check(InMemoryEvalStore::new);
}

#[test]
fn a_wrapper_keeps_the_contract() {
    testing::check(|| Wrapper::new(Duration::ZERO));
}

/// The control: what is kept in memory does not survive reopening.
#[test]
fn a_store_that_ends_with_its_process_fails_the_check_of_reopening() {
    assert!(std::panic::catch_unwind(|| testing::check_reopening(InMemoryEvalStore::new)).is_err());
}

/// The control: the suite must notice a store that forgets to write.
#[test]
fn a_store_that_forgets_tags_breaks_the_contract() {
    let forgetful = || Wrapper { lie: true, ..Wrapper::new(Duration::ZERO) };
    assert!(std::panic::catch_unwind(|| testing::check(forgetful)).is_err());
}

pub(crate) struct Wrapper {
    inner: Arc<dyn EvalStore>,
    lie: bool,
    pause: Duration,
    /// What the k-th call that changes something fails with.
    fault: fn(usize) -> Option<StoreError>,
    calls: AtomicUsize,
}

impl std::fmt::Debug for Wrapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

/// A store on which every write takes a while.
pub(crate) type Slow = Wrapper;

impl Wrapper {
    pub(crate) fn new(pause: Duration) -> Self {
        let (inner, calls) = (Arc::new(InMemoryEvalStore::new()), AtomicUsize::new(0));
        Self { inner, lie: false, pause, fault: |_| None, calls }
    }

    /// A store that does not get the calls that this function fails; it may begin to count at any number.
    pub(crate) fn failing(
        inner: Arc<dyn EvalStore>,
        first: usize,
        fault: fn(usize) -> Option<StoreError>,
    ) -> Self {
        Self { inner, fault, calls: AtomicUsize::new(first), ..Self::new(Duration::ZERO) }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    fn change(&self) -> Result<(), StoreError> {
        (self.fault)(self.calls.fetch_add(1, Relaxed)).map_or(Ok(()), Err)
    }
}

impl EvalStore for Wrapper {
    fn create_with(&self, evaluation: &NewEvaluation, first: &Batch) -> Result<(), StoreError> {
        self.change()?;
        self.inner.create_with(evaluation, first)
    }

    fn create_experiment(&self, name: &str) -> Result<(), StoreError> {
        self.inner.create_experiment(name)
    }

    fn experiments(&self, view: View) -> Result<Vec<Experiment>, StoreError> {
        self.inner.experiments(view)
    }

    fn delete_experiment(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete_experiment(name)
    }

    fn restore_experiment(&self, name: &str) -> Result<(), StoreError> {
        self.inner.restore_experiment(name)
    }

    fn purge_experiment(&self, name: &str) -> Result<(), StoreError> {
        self.inner.purge_experiment(name)
    }

    fn write(&self, id: EvaluationId, batch: &Batch) -> Result<(), StoreError> {
        self.change()?;
        std::thread::sleep(self.pause);
        let mut batch = batch.clone();
        if self.lie {
            batch.tags.clear();
        }
        self.inner.write(id, &batch)
    }

    fn get(&self, id: EvaluationId) -> Result<Evaluation, StoreError> {
        self.inner.get(id)
    }

    fn series(&self, id: EvaluationId, key: &SeriesKey) -> Result<Vec<MetricPoint>, StoreError> {
        self.inner.series(id, key)
    }

    fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.inner.query(query)
    }

    fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        self.inner.count(filter)
    }

    fn delete(&self, id: EvaluationId) -> Result<(), StoreError> {
        self.change()?;
        self.inner.delete(id)
    }

    fn restore(&self, id: EvaluationId) -> Result<(), StoreError> {
        self.inner.restore(id)
    }

    fn purge(&self, id: EvaluationId) -> Result<(), StoreError> {
        self.inner.purge(id)
    }
}
