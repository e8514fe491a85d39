//! A journal that lives as long as the process.

use mlp_core::StoreError;
use parking_lot::Mutex;

use super::{Journal, JournalContents, JournalLine};

/// The most lines of a journal in memory.
const LIMIT: usize = 1_000_000;

/// A journal in memory: for tests, and as the reference for other journals. It survives the deployment, not the process.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Vec<JournalLine>>);

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Journal for MemoryJournal {
    fn append(&self, line: &JournalLine) -> Result<(), StoreError> {
        let mut lines = self.0.lock();
        if lines.len() >= LIMIT {
            let (given, limit) = (LIMIT as u64 + 1, LIMIT as u64);
            return Err(StoreError::limit_exceeded("journal lines", given, limit));
        }
        if line.sequence != lines.len() as u64 {
            let reason = format!("the next line is {}", lines.len());
            return Err(StoreError::conflict("journal line", line.sequence, reason));
        }
        lines.push(line.clone());
        Ok(())
    }

    fn read(&self) -> Result<JournalContents, StoreError> {
        Ok(JournalContents::new(self.0.lock().clone()))
    }
}
