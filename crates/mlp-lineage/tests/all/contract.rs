use mlp_core::{ModelName, RecordId, StoreError};
use mlp_lineage::{
    ChainEntry, Deployment, Event, Head, InMemoryArtifactStore, InMemoryLineageStore,
    InMemoryModelRegistry, LineageStore, Record, testing,
};

#[test]
fn the_stores_in_memory_keep_their_contracts() {
    testing::check_lineage(InMemoryLineageStore::new);
    testing::check_artifacts(InMemoryArtifactStore::new);
    testing::check_registry(InMemoryModelRegistry::new);
}

#[test]
fn a_wrapper_keeps_the_contract() {
    testing::check_lineage(|| Wrapper { inner: Box::new(InMemoryLineageStore::new()), skip: 0 });
}

/// The control: the suite must notice a store that loses an entry.
#[test]
fn a_store_that_loses_the_first_entry_breaks_the_contract() {
    let lossy = || Wrapper { inner: Box::new(InMemoryLineageStore::new()), skip: 1 };
    assert!(std::panic::catch_unwind(|| testing::check_lineage(lossy)).is_err());
}

#[cfg(unix)]
#[test]
fn the_store_of_files_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    testing::check_artifacts(|| {
        count.set(count.get() + 1);
        let fresh = folder.path().join(count.get().to_string());
        mlp_lineage::FileArtifactStore::open(fresh).unwrap()
    });
}

#[derive(Debug)]
struct Wrapper {
    inner: Box<dyn LineageStore>,
    skip: u64,
}

impl LineageStore for Wrapper {
    fn append(&self, event: Event) -> Result<Head, StoreError> {
        self.inner.append(event)
    }

    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.inner.head()
    }

    fn entries(&self, from: u64, limit: usize) -> Result<Vec<ChainEntry>, StoreError> {
        self.inner.entries(from.saturating_add(self.skip), limit)
    }

    fn get(&self, id: RecordId) -> Result<Record, StoreError> {
        self.inner.get(id)
    }

    fn records_of(&self, model: &ModelName) -> Result<Vec<Record>, StoreError> {
        self.inner.records_of(model)
    }

    fn deployments_of(&self, record: RecordId) -> Result<Vec<Deployment>, StoreError> {
        self.inner.deployments_of(record)
    }
}
