//! The chain of hashes that makes a changed, missing or moved line visible.

use std::sync::Arc;

use mlp_core::{ContentHash, StoreError};

use super::{Journal, JournalLine};
use crate::record::Record;

/// What the first line is chained to.
pub const GENESIS: ContentHash = ContentHash::from_bytes([0; 32]);

/// The hash of a line: BLAKE3 over the hash of the line before, the number (eight bytes, little endian) and the text.
#[must_use]
pub fn link(before: &ContentHash, sequence: u64, text: &str) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_bytes());
    hasher.update(&sequence.to_le_bytes());
    hasher.update(text.as_bytes());
    ContentHash::from_bytes(*hasher.finalize().as_bytes())
}

/// Checks numbers and hashes of all lines, and returns the last hash.
///
/// Somebody who can rewrite the whole journal can make a chain that verifies: keep the last hash elsewhere to notice that too.
///
/// # Errors
/// [`StoreError::Corrupt`] naming the first line at fault.
pub fn verify(lines: &[JournalLine]) -> Result<ContentHash, StoreError> {
    let mut head = GENESIS;
    for (expected, line) in lines.iter().enumerate() {
        let corrupt = |reason: String| StoreError::Corrupt {
            what: format!("journal line {expected}"),
            reason,
        };
        if line.sequence != expected as u64 {
            return Err(corrupt(format!("it has the number {}", line.sequence)));
        }
        head = link(&head, line.sequence, &line.text);
        if head != line.hash {
            return Err(corrupt(
                "its hash does not follow from the line before and its text".to_owned(),
            ));
        }
    }
    Ok(head)
}

/// Numbers, chains and appends records.
#[derive(Debug)]
pub(crate) struct Writer {
    journal: Arc<dyn Journal>,
    head: ContentHash,
    next: u64,
}

impl Writer {
    pub(crate) fn new(journal: Arc<dyn Journal>, head: ContentHash, next: u64) -> Self {
        Self { journal, head, next }
    }

    pub(crate) fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).map_err(StoreError::backend)?;
        comes_back(&text)?;
        let hash = link(&self.head, self.next, &text);
        self.journal.append(&JournalLine { sequence: self.next, hash, text })?;
        (self.head, self.next) = (hash, self.next + 1);
        Ok(())
    }
}

/// What could not be read back would make the journal unreadable for good.
fn comes_back(text: &str) -> Result<(), StoreError> {
    let unreadable = |reason: String| Err(StoreError::invalid("journal record", reason));
    match serde_json::from_str::<Record>(text) {
        // Text is compared: NaN is not equal to itself.
        Ok(read) if serde_json::to_string(&read).map_err(StoreError::backend)? == text => Ok(()),
        Ok(_) => unreadable("it reads back as something else".to_owned()),
        Err(error) => unreadable(format!("it could not be read back: {error}")),
    }
}
