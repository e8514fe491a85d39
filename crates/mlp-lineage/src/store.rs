//! The storage trait, and what can be done with any store.

use std::fmt::Debug;
use std::ops::ControlFlow;

use mlp_core::{ModelName, RecordId, StoreError};

use crate::chain::{ChainEntry, ChainFault, ChainWalk, Deployment, Event, Head};
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

    /// Follows the chain and names its first fault, or none; see [`verify_chain`](crate::verify_chain). An entry that cannot be read at all is
    /// an altered one.
    ///
    /// # Errors
    /// As the backend says.
    fn verify_chain(&self, anchor: Option<Head>) -> Result<Option<ChainFault>, StoreError> {
        let mut walk = ChainWalk::new(anchor);
        let mut fault = None;
        each_entry(self, |entry| {
            fault = walk.step(&entry)?;
            Ok(if fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(fault.or_else(|| walk.end()))
    }

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
        self.for_each_entry(|entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Reads the whole chain in pieces, in order.
    ///
    /// # Errors
    /// As [`LineageStore::entries`].
    fn for_each_entry(&self, mut look: impl FnMut(ChainEntry)) -> Result<(), StoreError> {
        each_entry(self, |entry| {
            look(entry);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Reads the records that say that they correct this one, in the order of appending. Questions to the graph are answered by records as
    /// they were written: whoever asks for what came of a dataset asks for the corrections of what was found, too.
    ///
    /// # Errors
    /// As [`LineageStore::entries`].
    fn corrections_of(&self, id: RecordId) -> Result<Vec<Record>, StoreError> {
        let mut found = Vec::new();
        self.for_each_entry(|entry| {
            if let Event::Recorded(record) = entry.event
                && record.corrects == Some(id)
            {
                found.push(*record);
            }
        })?;
        Ok(found)
    }

    /// What was made from what.
    ///
    /// # Errors
    /// As [`LineageStore::entries`].
    fn graph(&self) -> Result<LineageGraph, StoreError> {
        let mut graph = LineageGraph::default();
        self.for_each_entry(|entry| graph.add(&entry.event))?;
        Ok(graph)
    }
}

/// The most entries that are held at a time while a chain is read as a whole.
const PIECE: usize = 1_000;

fn each_entry<S: LineageStore + ?Sized>(
    store: &S,
    mut look: impl FnMut(ChainEntry) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    let mut from = 0;
    loop {
        let piece = store.entries(from, PIECE)?;
        let Some(last) = piece.last() else { return Ok(()) };
        // By its number: a chain with a gap has fewer entries than that. A number that is not greater would be read for ever.
        let next = last.sequence.saturating_add(1);
        for entry in piece {
            if look(entry)?.is_break() {
                return Ok(());
            }
        }
        if next <= from {
            return Ok(());
        }
        from = next;
    }
}

impl<S: LineageStore + ?Sized> LineageStoreExt for S {}
