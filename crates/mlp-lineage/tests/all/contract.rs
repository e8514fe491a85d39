use std::collections::BTreeMap;
use std::io::{Read, Write};

use mlp_core::{ContentHash, ModelName, RecordId, StoreError, Timestamp, VersionNumber};
use mlp_lineage::{
    Alias, AliasMove, Artifact, ArtifactInfo, ArtifactStore, ChainEntry, Deployment, Event, Head,
    InMemoryArtifactStore, InMemoryLineageStore, InMemoryModelRegistry, LineageStore,
    ModelRegistry, ModelVersion, Protection, Record, StageMove, VersionStage, testing,
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
    testing::check_artifacts(|| Artifacts(Box::new(InMemoryArtifactStore::new())));
    testing::check_registry(|| Registry(Box::new(InMemoryModelRegistry::new())));
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

#[derive(Debug)]
struct Artifacts(Box<dyn ArtifactStore>);

impl ArtifactStore for Artifacts {
    fn put(&self, content: &mut dyn Read) -> Result<Artifact, StoreError> {
        self.0.put(content)
    }

    fn copy_to(&self, hash: ContentHash, out: &mut dyn Write) -> Result<u64, StoreError> {
        self.0.copy_to(hash, out)
    }

    fn list(&self) -> Result<Vec<ArtifactInfo>, StoreError> {
        self.0.list()
    }

    fn remove(&self, hash: ContentHash) -> Result<(), StoreError> {
        self.0.remove(hash)
    }

    fn remove_stored_before(&self, hash: ContentHash, at: Timestamp) -> Result<bool, StoreError> {
        self.0.remove_stored_before(hash, at)
    }
}

#[derive(Debug)]
struct Registry(Box<dyn ModelRegistry>);

impl ModelRegistry for Registry {
    fn register(
        &self,
        model: &ModelName,
        record: RecordId,
        at: Timestamp,
    ) -> Result<VersionNumber, StoreError> {
        self.0.register(model, record, at)
    }

    fn version(
        &self,
        model: &ModelName,
        version: VersionNumber,
    ) -> Result<ModelVersion, StoreError> {
        self.0.version(model, version)
    }

    fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        self.0.versions(model)
    }

    fn delete_version(
        &self,
        model: &ModelName,
        version: VersionNumber,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError> {
        self.0.delete_version(model, version, at, by)
    }

    fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError> {
        self.0.set_alias(model, alias, version, at, approver)
    }

    fn protect(
        &self,
        model: &ModelName,
        alias: &Alias,
        protection: Protection,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError> {
        self.0.protect(model, alias, protection, at, approver)
    }

    fn aliases(&self, model: &ModelName) -> Result<BTreeMap<Alias, VersionNumber>, StoreError> {
        self.0.aliases(model)
    }

    fn moves(&self, model: &ModelName) -> Result<Vec<AliasMove>, StoreError> {
        self.0.moves(model)
    }

    fn models(&self) -> Result<Vec<ModelName>, StoreError> {
        self.0.models()
    }

    fn set_stage(
        &self,
        model: &ModelName,
        version: VersionNumber,
        stage: VersionStage,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError> {
        self.0.set_stage(model, version, stage, at, by)
    }

    fn transitions(&self, model: &ModelName) -> Result<Vec<StageMove>, StoreError> {
        self.0.transitions(model)
    }

    fn set_tag(
        &self,
        model: &ModelName,
        version: VersionNumber,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), StoreError> {
        self.0.set_tag(model, version, name, value)
    }
}
