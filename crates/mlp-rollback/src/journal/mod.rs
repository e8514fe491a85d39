//! The journal: every change, as an intent and its commit. A change is written down before it is made, unless it takes traffic away from a
//! suspect version: that does not wait for a disk, and is written down before anybody is told.

mod chain;
mod file;
mod memory;

use std::fmt::Debug;

use mlp_core::{ContentHash, StoreError};

pub use chain::{GENESIS, link, verify};
pub use file::FileJournal;
pub use memory::MemoryJournal;

pub(crate) use chain::Writer;

/// One line of a journal: a record as JSON, and the hash that chains it to the line before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    /// Its number, from 0, without gaps: what orders records. Their times are for people.
    pub sequence: u64,
    /// The hash of the line before, this number and this text.
    pub hash: ContentHash,
    /// The record: a [`Record`](crate::Record) as JSON, without a line break.
    pub text: String,
}

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JournalContents {
    /// The lines, in order.
    pub lines: Vec<JournalLine>,
    /// A write that never ended left so many bytes behind; they were ignored. Nobody was told that that record was written.
    pub torn_bytes: u64,
}

impl JournalContents {
    /// These lines, nothing torn.
    #[must_use]
    pub fn new(lines: Vec<JournalLine>) -> Self {
        Self { lines, torn_bytes: 0 }
    }
}

/// Keeps the lines of one deployment's journal.
///
/// # Contract
///
/// * An [`append`](Self::append) that returns `Ok` survives a crash of the process and of the machine.
/// * A line whose number is not the next one is a [`StoreError::Conflict`]: two writers cannot both go on.
/// * After an append failed in a way that may have left something behind, the journal takes no further one before that is gone: it is cut off
///   first, or further ones are refused (`Closed`) until the journal is opened again.
/// * [`read`](Self::read) gives every line that was appended, in order, and nothing of an append that failed.
pub trait Journal: Debug + Send + Sync {
    /// Appends a line.
    ///
    /// # Errors
    /// If the line cannot be made durable, or is not the next one.
    fn append(&self, line: &JournalLine) -> Result<(), StoreError>;

    /// Reads all lines.
    ///
    /// # Errors
    /// If the journal cannot be read, or is damaged anywhere but in an unfinished last line.
    fn read(&self) -> Result<JournalContents, StoreError>;
}
