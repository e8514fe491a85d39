//! Where the manager keeps its state over a restart.

use std::collections::BTreeMap;
use std::fmt::Debug;

use mlp_core::StoreError;
use parking_lot::Mutex;

/// One change of the kept state: a key, and the text that it has from now on, or none.
pub type AlertChange = (String, Option<String>);

/// All that a store keeps: keys and texts.
pub type AlertRows = BTreeMap<String, String>;

/// Keeps the state of an [`AlertManager`](crate::AlertManager): texts by key, of one manager at a time.
///
/// # Contract
///
/// * What `Ok` was said to survives a kill and a power cut, in a store that is durable at all.
/// * Each call is atomic.
/// * [`load`](Self::load) changes nothing: the manager that has the store goes on.
/// * [`take_over`](Self::take_over) gives a new epoch, greater than every one before. Writes of an earlier epoch are refused with
///   [`StoreError::Conflict`] and change nothing: of two managers on one store, the later one goes on.
///
/// `mlp_monitor::testing::check_alert_store` (feature `testing`) runs these against a store of your own.
pub trait AlertStore: Debug + Send + Sync {
    /// Gives all that is kept.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load(&self) -> Result<AlertRows, StoreError>;

    /// Begins a new epoch, and gives all that is kept.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    fn take_over(&self) -> Result<(u64, AlertRows), StoreError>;

    /// Applies changes, in their order.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another manager has taken over since; otherwise if the store cannot be written.
    fn apply(&self, epoch: u64, changes: &[AlertChange]) -> Result<(), StoreError>;

    /// Puts these rows in the place of all there are.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn replace(&self, epoch: u64, rows: &AlertRows) -> Result<(), StoreError>;
}

impl<S: AlertStore + ?Sized> AlertStore for std::sync::Arc<S> {
    fn load(&self) -> Result<AlertRows, StoreError> {
        (**self).load()
    }

    fn take_over(&self) -> Result<(u64, AlertRows), StoreError> {
        (**self).take_over()
    }

    fn apply(&self, epoch: u64, changes: &[AlertChange]) -> Result<(), StoreError> {
        (**self).apply(epoch, changes)
    }

    fn replace(&self, epoch: u64, rows: &AlertRows) -> Result<(), StoreError> {
        (**self).replace(epoch, rows)
    }
}

/// Refuses writes of an epoch that is over.
///
/// # Errors
/// [`StoreError::Conflict`] if `epoch` is not `current`.
pub fn check_epoch(epoch: u64, current: u64) -> Result<(), StoreError> {
    if epoch == current {
        return Ok(());
    }
    let reason = format!("another manager has taken over: its epoch is {current}");
    Err(StoreError::conflict("alert state of epoch", epoch, reason))
}

/// Keeps the state in memory: for tests, and for managers that are made anew within one process.
#[derive(Debug, Default)]
pub struct MemoryAlertStore(Mutex<(u64, AlertRows)>);

impl MemoryAlertStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl AlertStore for MemoryAlertStore {
    fn load(&self) -> Result<AlertRows, StoreError> {
        Ok(self.0.lock().1.clone())
    }

    fn take_over(&self) -> Result<(u64, AlertRows), StoreError> {
        let mut kept = self.0.lock();
        kept.0 += 1;
        Ok(kept.clone())
    }

    fn apply(&self, epoch: u64, changes: &[AlertChange]) -> Result<(), StoreError> {
        let mut kept = self.0.lock();
        check_epoch(epoch, kept.0)?;
        for (key, text) in changes {
            match text {
                Some(text) => kept.1.insert(key.clone(), text.clone()),
                None => kept.1.remove(key),
            };
        }
        Ok(())
    }

    fn replace(&self, epoch: u64, rows: &AlertRows) -> Result<(), StoreError> {
        let mut kept = self.0.lock();
        check_epoch(epoch, kept.0)?;
        kept.1.clone_from(rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn memory_keeps_the_contract_and_so_does_what_wraps_it() {
        crate::testing::check_alert_store(&MemoryAlertStore::new());
        crate::testing::check_alert_store(&Arc::new(MemoryAlertStore::new()));
        let kept = Arc::new(MemoryAlertStore::new());
        crate::testing::check_reopening(|| Arc::clone(&kept));
    }
}
