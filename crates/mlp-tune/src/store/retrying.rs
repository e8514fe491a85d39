//! A store that waits for another one that is busy.

use std::collections::BTreeMap;
use std::time::Duration;

use mlp_core::{Direction, StoreError};
use serde_json::Value;

use super::{Changes, StudyId, StudyStore, TrialDraft, TrialEvent};

/// Asks a store again, after pauses that double from 10 ms to 1 s, as long as it is [busy](StoreError::Busy); any other answer is passed on.
#[derive(Debug)]
pub struct RetryingStore<S> {
    store: S,
    retries: u32,
}

impl<S: StudyStore> RetryingStore<S> {
    /// Asks the store again up to so many times.
    pub fn new(store: S, retries: u32) -> Self {
        Self { store, retries }
    }

    fn retry<T>(&self, call: impl Fn(&S) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut pause = Duration::from_millis(10);
        for _ in 0..self.retries {
            match call(&self.store) {
                Err(StoreError::Busy { .. }) => {}
                answer => return answer,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        call(&self.store)
    }
}

impl<S: StudyStore> StudyStore for RetryingStore<S> {
    fn open_study(&self, name: &str, directions: &[Direction]) -> Result<StudyId, StoreError> {
        self.retry(|store| store.open_study(name, directions))
    }

    fn studies(&self) -> Result<Vec<(StudyId, String, Vec<Direction>)>, StoreError> {
        self.retry(S::studies)
    }

    fn set_attribute(&self, study: StudyId, name: &str, value: &Value) -> Result<(), StoreError> {
        self.retry(|store| store.set_attribute(study, name, value))
    }

    fn attributes(&self, study: StudyId) -> Result<BTreeMap<String, Value>, StoreError> {
        self.retry(|store| store.attributes(study))
    }

    fn create_trial(
        &self,
        study: StudyId,
        number: u64,
        draft: &TrialDraft,
    ) -> Result<(), StoreError> {
        self.retry(|store| store.create_trial(study, number, draft))
    }

    fn record(&self, study: StudyId, number: u64, event: &TrialEvent) -> Result<(), StoreError> {
        self.retry(|store| store.record(study, number, event))
    }

    fn changes(&self, study: StudyId, since: u64) -> Result<Changes, StoreError> {
        self.retry(|store| store.changes(study, since))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::store::memory::MemoryStore;

    /// Busy two times of three.
    #[derive(Debug, Default)]
    struct Busy(MemoryStore, AtomicU32);

    impl Busy {
        fn wait(&self) -> Result<&MemoryStore, StoreError> {
            match self.1.fetch_add(1, Ordering::Relaxed) % 3 {
                2 => Ok(&self.0),
                _ => Err(StoreError::Busy { reason: "somebody writes".into() }),
            }
        }
    }

    impl StudyStore for Busy {
        fn open_study(&self, name: &str, directions: &[Direction]) -> Result<StudyId, StoreError> {
            self.wait()?.open_study(name, directions)
        }

        fn studies(&self) -> Result<Vec<(StudyId, String, Vec<Direction>)>, StoreError> {
            self.wait()?.studies()
        }

        fn set_attribute(&self, s: StudyId, name: &str, value: &Value) -> Result<(), StoreError> {
            self.wait()?.set_attribute(s, name, value)
        }

        fn attributes(&self, study: StudyId) -> Result<BTreeMap<String, Value>, StoreError> {
            self.wait()?.attributes(study)
        }

        fn create_trial(&self, s: StudyId, n: u64, draft: &TrialDraft) -> Result<(), StoreError> {
            self.wait()?.create_trial(s, n, draft)
        }

        fn record(&self, s: StudyId, n: u64, event: &TrialEvent) -> Result<(), StoreError> {
            self.wait()?.record(s, n, event)
        }

        fn changes(&self, study: StudyId, since: u64) -> Result<Changes, StoreError> {
            self.wait()?.changes(study, since)
        }
    }

    #[test]
    fn a_store_that_waits_keeps_the_contract() {
        super::super::testing::check(|| RetryingStore::new(MemoryStore::new(), 3));
    }

    #[test]
    fn a_busy_store_is_asked_again_and_a_limit_is_kept() {
        let directions = [Direction::Minimize];
        let patient = RetryingStore::new(Busy::default(), 2);
        assert_eq!(patient.open_study("s", &directions).unwrap(), StudyId(0));
        let hasty = RetryingStore::new(Busy::default(), 1);
        assert!(matches!(hasty.open_study("s", &directions), Err(StoreError::Busy { .. })));
    }
}
