//! Records in memory: the reference for every other store.

use mlp_core::{Clock, ModelName, RecordId, StoreError, VersionNumber};
use parking_lot::RwLock;

use crate::record::{Description, Record};
use crate::store::LineageStore;

/// Keeps records in memory, for as long as it lives.
#[derive(Debug)]
pub struct InMemoryLineageStore<C> {
    clock: C,
    records: RwLock<Vec<Record>>,
}

impl<C: Clock> InMemoryLineageStore<C> {
    /// An empty store that dates its records by this clock.
    pub fn new(clock: C) -> Self {
        Self { clock, records: RwLock::default() }
    }

    fn find(
        &self,
        what: &'static str,
        id: impl ToString,
        is_it: impl Fn(&Record) -> bool,
    ) -> Result<Record, StoreError> {
        let records = self.records.read();
        records
            .iter()
            .find(|record| is_it(record))
            .cloned()
            .ok_or_else(|| StoreError::not_found(what, id))
    }
}

impl<C: Clock> LineageStore for InMemoryLineageStore<C> {
    fn append(&self, description: Description) -> Result<Record, StoreError> {
        let mut records = self.records.write();
        let is_same = |record: &Record| {
            record.description.model == description.model
                && record.description.version == description.version
        };
        if records.iter().any(is_same) {
            let id = format!("{} {}", description.model, description.version);
            return Err(StoreError::conflict("record", id, "the version is described already"));
        }
        let record =
            Record::chain(description, RecordId::generate(), self.clock.now(), records.last())
                .map_err(StoreError::backend)?;
        records.push(record.clone());
        Ok(record)
    }

    fn get(&self, id: RecordId) -> Result<Record, StoreError> {
        self.find("record", id, |record| record.id == id)
    }

    fn of_version(&self, model: &ModelName, version: VersionNumber) -> Result<Record, StoreError> {
        self.find("record", format!("{model} {version}"), |record| {
            record.description.model == *model && record.description.version == version
        })
    }

    fn records(&self) -> Result<Vec<Record>, StoreError> {
        Ok(self.records.read().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::{ManualClock, Timestamp};

    #[test]
    fn the_store_in_memory_keeps_the_contract() {
        crate::testing::check(|| {
            InMemoryLineageStore::new(ManualClock::new(Timestamp::UNIX_EPOCH))
        });
    }
}
