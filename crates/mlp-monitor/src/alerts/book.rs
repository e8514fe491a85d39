//! The manager's side of its store: what is written when, and what becomes of it when the store fails.

use std::sync::Arc;

use mlp_core::StoreError;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::store::{AlertChange, AlertRows, AlertStore};

/// Writes changes to a store, if there is one.
///
/// A store that fails stops nobody from being told: from then on nothing is written until the whole state could be written anew.
#[derive(Debug, Default)]
pub(crate) struct Book {
    store: Option<(Arc<dyn AlertStore>, u64)>,
    condition: Mutex<Condition>,
}

#[derive(Debug, Default, Clone)]
enum Condition {
    #[default]
    Well,
    /// The store lacks something since this error.
    Behind(String),
    /// Another manager has the store.
    Superseded(String),
}

impl Book {
    /// Takes a store over, and gives what it keeps.
    pub(crate) fn open(store: Arc<dyn AlertStore>) -> Result<(Self, AlertRows), StoreError> {
        let (epoch, rows) = store.take_over()?;
        Ok((Self { store: Some((store, epoch)), condition: Mutex::default() }, rows))
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    pub(crate) fn apply(&self, changes: &[AlertChange]) {
        let Some((store, epoch)) = &self.store else { return };
        let mut condition = self.condition.lock();
        if matches!(*condition, Condition::Well) && !changes.is_empty() {
            *condition = after(store.apply(*epoch, changes));
        }
    }

    pub(crate) fn replace(&self, rows: &AlertRows) {
        let Some((store, epoch)) = &self.store else { return };
        let mut condition = self.condition.lock();
        if matches!(*condition, Condition::Behind(_)) {
            *condition = after(store.replace(*epoch, rows));
        }
    }

    pub(crate) fn is_behind(&self) -> bool {
        matches!(*self.condition.lock(), Condition::Behind(_))
    }

    pub(crate) fn is_superseded(&self) -> bool {
        matches!(*self.condition.lock(), Condition::Superseded(_))
    }

    pub(crate) fn fault(&self) -> Option<String> {
        match self.condition.lock().clone() {
            Condition::Well => None,
            Condition::Behind(fault) | Condition::Superseded(fault) => Some(fault),
        }
    }
}

fn after(result: Result<(), StoreError>) -> Condition {
    match result {
        Ok(()) => Condition::Well,
        Err(error @ StoreError::Conflict { .. }) => Condition::Superseded(error.to_string()),
        Err(error) => Condition::Behind(error.to_string()),
    }
}

pub(crate) fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data can be written")
}

pub(crate) fn read<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        what: format!("alert state {key:?}"),
        reason: error.to_string(),
    })
}
