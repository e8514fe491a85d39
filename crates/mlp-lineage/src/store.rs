//! The storage trait, and what can be done with any store.

use std::fmt::Debug;

use mlp_core::{ModelName, RecordId, StoreError};

use crate::chain::{ChainEntry, ChainFault, Deployment, Event, Head, verify_chain};
use crate::graph::{LineageGraph, Node};
use crate::record::Record;

/// The most entries that one call reads.
pub const MAX_ENTRIES_READ: usize = 10_000;

/// Keeps a chain of records and deployments.
///
/// # Contract
///
/// Each promise is a check in `testing` (feature `testing`).
///
/// * An entry that was appended is seen by every later read, as it was written, and never changes. A failed append changed nothing.
/// * Entries are numbered from zero without gaps, each follows the one before ([`ChainEntry::follow`]), also under concurrent appends.
/// * The id of a record is taken once. What an entry refers to is there already, so that no cycle can close.
pub trait LineageStore: Debug + Send + Sync {
    /// Appends an event, and returns where the chain ends now.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the record's id is taken; [`StoreError::NotFound`] if it refers to a record that is not there.
    fn append(&self, event: Event) -> Result<Head, StoreError>;

    /// Where the chain ends; none while it is empty.
    ///
    /// # Errors
    /// As the backend says.
    fn head(&self) -> Result<Option<Head>, StoreError>;

    /// Reads entries from a number on, at most `limit` of them and at most [`MAX_ENTRIES_READ`].
    ///
    /// # Errors
    /// As the backend says.
    fn entries(&self, from: u64, limit: usize) -> Result<Vec<ChainEntry>, StoreError>;

    /// Reads one record.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn get(&self, id: RecordId) -> Result<Record, StoreError>;

    /// Reads the records of a model, in the order of appending.
    ///
    /// # Errors
    /// As the backend says.
    fn records_of(&self, model: &ModelName) -> Result<Vec<Record>, StoreError>;

    /// Reads where a model went, in the order of appending.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such record.
    fn deployments_of(&self, record: RecordId) -> Result<Vec<Deployment>, StoreError>;

    /// What a node was made from, directly and indirectly, in the order in which it became known; empty for a node that is not known.
    ///
    /// # Errors
    /// As the backend says.
    fn ancestors(&self, node: &Node) -> Result<Vec<Node>, StoreError> {
        Ok(self.graph()?.ancestors(node))
    }

    /// What was made from a node, directly and indirectly, in the order in which it became known.
    ///
    /// # Errors
    /// As the backend says.
    fn descendants(&self, node: &Node) -> Result<Vec<Node>, StoreError> {
        Ok(self.graph()?.descendants(node))
    }
}

/// Conveniences over [`LineageStore`].
pub trait LineageStoreExt: LineageStore {
    /// Appends a record.
    ///
    /// # Errors
    /// As [`LineageStore::append`].
    fn record(&self, record: Record) -> Result<Head, StoreError> {
        self.append(Event::Recorded(Box::new(record)))
    }

    /// Appends that a model went somewhere.
    ///
    /// # Errors
    /// As [`LineageStore::append`].
    fn deployed(&self, deployment: Deployment) -> Result<Head, StoreError> {
        self.append(Event::Deployed(deployment))
    }

    /// Reads the whole chain.
    ///
    /// # Errors
    /// As [`LineageStore::entries`].
    fn all_entries(&self) -> Result<Vec<ChainEntry>, StoreError> {
        let mut entries = Vec::new();
        loop {
            let page = self.entries(entries.len() as u64, MAX_ENTRIES_READ)?;
            if page.is_empty() {
                return Ok(entries);
            }
            entries.extend(page);
        }
    }

    /// Follows the chain and names its first fault, or none; see [`verify_chain`].
    ///
    /// # Errors
    /// As [`LineageStore::entries`].
    fn verify_chain(&self, anchor: Option<Head>) -> Result<Option<ChainFault>, StoreError> {
        verify_chain(&self.all_entries()?, anchor)
    }

    /// What was made from what.
    ///
    /// # Errors
    /// As [`LineageStore::entries`].
    fn graph(&self) -> Result<LineageGraph, StoreError> {
        Ok(LineageGraph::of(&self.all_entries()?))
    }
}

impl<S: LineageStore + ?Sized> LineageStoreExt for S {}
