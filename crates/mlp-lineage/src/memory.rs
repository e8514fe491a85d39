//! The store without a disk.

use std::collections::HashMap;

use mlp_core::{ModelName, RecordId, StoreError};
use parking_lot::RwLock;

use crate::chain::{ChainEntry, Deployment, Event, Head};
use crate::graph::{LineageGraph, Node};
use crate::record::Record;
use crate::store::{LineageStore, MAX_ENTRIES_READ};

/// Keeps the chain in memory.
#[derive(Debug, Default)]
pub struct InMemoryLineageStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<ChainEntry>,
    records: HashMap<RecordId, usize>,
    graph: LineageGraph,
}

impl InMemoryLineageStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

const KIND: &str = "record";

impl State {
    fn check(&self, event: &Event) -> Result<(), StoreError> {
        let known = |id: &RecordId| {
            if self.records.contains_key(id) {
                Ok(())
            } else {
                Err(StoreError::not_found(KIND, id))
            }
        };
        match event {
            Event::Recorded(record) => {
                if self.records.contains_key(&record.id) {
                    return Err(StoreError::conflict(KIND, record.id, "the id is taken"));
                }
                record.parents.iter().chain(&record.corrects).try_for_each(known)
            }
            Event::Deployed(deployment) => known(&deployment.record),
        }
    }
}

impl LineageStore for InMemoryLineageStore {
    fn append(&self, event: Event) -> Result<Head, StoreError> {
        let mut state = self.state.write();
        state.check(&event)?;
        let entry = ChainEntry::follow(state.entries.last().map(ChainEntry::head), event)?;
        if let Event::Recorded(record) = &entry.event {
            let position = state.entries.len();
            state.records.insert(record.id, position);
        }
        let head = entry.head();
        state.graph.add(&entry.event);
        state.entries.push(entry);
        Ok(head)
    }

    fn head(&self) -> Result<Option<Head>, StoreError> {
        Ok(self.state.read().entries.last().map(ChainEntry::head))
    }

    fn entries(&self, from: u64, limit: usize) -> Result<Vec<ChainEntry>, StoreError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let state = self.state.read();
        Ok(state.entries.iter().skip(from).take(limit.min(MAX_ENTRIES_READ)).cloned().collect())
    }

    fn get(&self, id: RecordId) -> Result<Record, StoreError> {
        let state = self.state.read();
        match state.records.get(&id).map(|&position| &state.entries[position].event) {
            Some(Event::Recorded(record)) => Ok((**record).clone()),
            _ => Err(StoreError::not_found(KIND, id)),
        }
    }

    fn records_of(&self, model: &ModelName) -> Result<Vec<Record>, StoreError> {
        let of_model = |entry: &ChainEntry| match &entry.event {
            Event::Recorded(record) if record.model == *model => Some((**record).clone()),
            _ => None,
        };
        Ok(self.state.read().entries.iter().filter_map(of_model).collect())
    }

    fn deployments_of(&self, record: RecordId) -> Result<Vec<Deployment>, StoreError> {
        let state = self.state.read();
        if !state.records.contains_key(&record) {
            return Err(StoreError::not_found(KIND, record));
        }
        let of_record = |entry: &ChainEntry| match &entry.event {
            Event::Deployed(deployment) if deployment.record == record => Some(deployment.clone()),
            _ => None,
        };
        Ok(state.entries.iter().filter_map(of_record).collect())
    }

    fn ancestors(&self, node: &Node) -> Result<Vec<Node>, StoreError> {
        Ok(self.state.read().graph.ancestors(node))
    }

    fn descendants(&self, node: &Node) -> Result<Vec<Node>, StoreError> {
        Ok(self.state.read().graph.descendants(node))
    }
}
