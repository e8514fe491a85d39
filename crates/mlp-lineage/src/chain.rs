//! Entries that carry the hash of their content and of the entry before, so that a change shows.

use std::fmt;

use mlp_core::{ContentHash, RecordId, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::record::Record;

/// A model went somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The record of the model.
    pub record: RecordId,
    /// Where it went, such as `production/eu`.
    pub target: String,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: Option<String>,
}

/// What an entry of the chain says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A model was made.
    Recorded(Box<Record>),
    /// A model went somewhere.
    Deployed(Deployment),
}

impl Event {
    /// When it happened, as its author said.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Recorded(record) => record.created_at,
            Self::Deployed(deployment) => deployment.at,
        }
    }
}

/// The last entry of a chain. Kept elsewhere it shows that a chain was cut off or written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The number of the entry, from zero.
    pub sequence: u64,
    /// Its hash.
    pub hash: ContentHash,
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEntry {
    /// Its number, from zero, in the order of appending.
    pub sequence: u64,
    /// The hash of the entry before; none for the first.
    pub previous: Option<ContentHash>,
    /// The BLAKE3 hash of the number, the previous hash and the canonical JSON of the event.
    pub hash: ContentHash,
    /// What it says.
    pub event: Event,
}

impl ChainEntry {
    /// The entry that follows a head. For backends.
    ///
    /// # Errors
    /// None that is known of; serialisation is fallible by type.
    pub fn follow(head: Option<Head>, event: Event) -> Result<Self, StoreError> {
        let sequence = head.map_or(0, |head| head.sequence + 1);
        let previous = head.map(|head| head.hash);
        let hash = hash(sequence, previous, &event)?;
        Ok(Self { sequence, previous, hash, event })
    }

    /// Whether its content has the hash that it carries. For backends, which look whenever they read one.
    ///
    /// # Errors
    /// None that is known of; serialisation is fallible by type.
    pub fn is_whole(&self) -> Result<bool, StoreError> {
        Ok(hash(self.sequence, self.previous, &self.event)? == self.hash)
    }

    /// The entry as the head of a chain that ends with it.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }
}

fn hash(
    sequence: u64,
    previous: Option<ContentHash>,
    event: &Event,
) -> Result<ContentHash, StoreError> {
    let mut hasher = blake3::Hasher::new_derive_key("mlp-lineage 2026 chain entry v1");
    hasher.update(&sequence.to_le_bytes());
    hasher.update(previous.map_or([0; 32], |hash| *hash.as_bytes()).as_slice());
    serde_json::to_writer(&mut hasher, event).map_err(StoreError::backend)?;
    Ok(ContentHash::from_bytes(*hasher.finalize().as_bytes()))
}

/// What is wrong at a place of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The content does not have the hash it carries.
    Altered,
    /// Entries are missing here.
    Missing,
    /// An entry stands here that does not belong: a repetition, or out of order.
    Extra,
    /// The entry does not follow the one before: one of both was written anew.
    Unlinked,
    /// The chain ends before the head that was kept elsewhere.
    Truncated,
    /// The entry is not the one that was kept elsewhere: the chain was written anew.
    Rewritten,
}

/// The first fault of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainFault {
    /// The number that the entry should have.
    pub sequence: u64,
    /// What is wrong.
    pub kind: FaultKind,
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::Altered => "was altered",
            FaultKind::Missing => "is missing",
            FaultKind::Extra => "is displaced by one that does not belong there",
            FaultKind::Unlinked => "does not follow the one before",
            FaultKind::Truncated => "is cut off",
            FaultKind::Rewritten => "is not the one that was kept elsewhere",
        };
        write!(f, "entry {} {what}", self.sequence)
    }
}

/// Follows a chain from its first entry and names the first fault, or none.
///
/// Without an `anchor`, a head that was kept elsewhere, the tail can be cut off and the whole chain written anew unseen.
///
/// # Errors
/// None that is known of; serialisation is fallible by type.
pub fn verify_chain(
    entries: &[ChainEntry],
    anchor: Option<Head>,
) -> Result<Option<ChainFault>, StoreError> {
    let mut previous = None;
    for (sequence, entry) in (0..).zip(entries) {
        let anchored = anchor.filter(|anchor| anchor.sequence == sequence);
        let kind = if entry.sequence > sequence {
            FaultKind::Missing
        } else if entry.sequence < sequence {
            FaultKind::Extra
        } else if hash(entry.sequence, entry.previous, &entry.event)? != entry.hash {
            FaultKind::Altered
        } else if entry.previous != previous {
            FaultKind::Unlinked
        } else if anchored.is_some_and(|anchor| anchor.hash != entry.hash) {
            FaultKind::Rewritten
        } else {
            previous = Some(entry.hash);
            continue;
        };
        return Ok(Some(ChainFault { sequence, kind }));
    }
    let length = entries.len() as u64;
    let cut = anchor.is_some_and(|anchor| anchor.sequence >= length);
    Ok(cut.then_some(ChainFault { sequence: length, kind: FaultKind::Truncated }))
}
