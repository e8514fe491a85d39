//! Studies in memory: the reference backend.

use std::collections::BTreeMap;

use mlp_core::{Direction, StoreError};
use parking_lot::Mutex;
use serde_json::Value;

use super::ledger::Ledger;
use super::{Changes, StudyId, StudyStore, TrialDraft, TrialEvent};

/// Keeps studies in memory, as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Ledger>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl StudyStore for MemoryStore {
    fn open_study(&self, name: &str, directions: &[Direction]) -> Result<StudyId, StoreError> {
        let mut ledger = self.0.lock();
        match ledger.open(name, directions)? {
            Some(id) => Ok(id),
            None => Ok(ledger.add_study(name.to_owned(), directions.to_vec())),
        }
    }

    fn studies(&self) -> Result<Vec<(StudyId, String, Vec<Direction>)>, StoreError> {
        Ok(self.0.lock().studies())
    }

    fn set_attribute(&self, study: StudyId, name: &str, value: &Value) -> Result<(), StoreError> {
        self.0.lock().set_attribute(study, name.to_owned(), value.clone())
    }

    fn attributes(&self, study: StudyId) -> Result<BTreeMap<String, Value>, StoreError> {
        self.0.lock().attributes(study).cloned()
    }

    fn create_trial(
        &self,
        study: StudyId,
        number: u64,
        draft: &TrialDraft,
    ) -> Result<(), StoreError> {
        let mut ledger = self.0.lock();
        ledger.check_next(study, number)?;
        ledger.add_trial(study, |number| draft.clone().into_record(number))
    }

    fn record(&self, study: StudyId, number: u64, event: &TrialEvent) -> Result<(), StoreError> {
        let mut ledger = self.0.lock();
        ledger.check_event(study, number, event)?;
        ledger.apply(study, number, event.clone())
    }

    fn changes(&self, study: StudyId, since: u64) -> Result<Changes, StoreError> {
        self.0.lock().changes(study, since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_contract_of_study_stores() {
        super::super::testing::check(MemoryStore::new);
    }
}
