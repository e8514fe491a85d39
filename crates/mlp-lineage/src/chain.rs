//! Entries that carry the hash of their content and of the entry before, so that a change shows.

use std::cmp::Ordering;
use std::fmt;

use mlp_core::{ContentHash, RecordId, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::canonical;
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
    /// [`StoreError::Invalid`] if the event does not come back from its own JSON as it is, such as a parameter of lists within lists beyond
    /// what JSON readers take: a chain cannot be mended, so nothing enters it that could not be read.
    pub fn follow(head: Option<Head>, event: Event) -> Result<Self, StoreError> {
        comes_back(&event)?;
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

fn comes_back(event: &Event) -> Result<(), StoreError> {
    let written = serde_json::to_vec(event).map_err(StoreError::backend)?;
    let unreadable = |reason: String| Err(StoreError::invalid("event", reason));
    match serde_json::from_slice::<Event>(&written) {
        // Bytes are compared: NaN is not equal to itself.
        Ok(read) if serde_json::to_vec(&read).map_err(StoreError::backend)? == written => Ok(()),
        Ok(_) => unreadable("it reads back as something else".to_owned()),
        Err(error) => unreadable(format!("it could not be read back: {error}")),
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
    canonical::write(&mut hasher, event).map_err(StoreError::backend)?;
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

/// Follows a chain entry by entry. For backends that read their chain in pieces.
///
/// Without an anchor, a head that was kept elsewhere, the tail can be cut off and the whole chain written anew unseen.
#[derive(Debug, Clone)]
pub struct ChainWalk {
    next: u64,
    previous: Option<ContentHash>,
    anchor: Option<Head>,
}

impl ChainWalk {
    /// A walk from the first entry.
    #[must_use]
    pub fn new(anchor: Option<Head>) -> Self {
        Self { next: 0, previous: None, anchor }
    }

    /// Takes the next entry; the fault, if it is not the one that belongs here. A walk ends with its first fault.
    ///
    /// # Errors
    /// None that is known of; serialisation is fallible by type.
    pub fn step(&mut self, entry: &ChainEntry) -> Result<Option<ChainFault>, StoreError> {
        let sequence = self.next;
        let anchored = self.anchor.filter(|anchor| anchor.sequence == sequence);
        let kind = if let Some(fault) = self.displaced(entry.sequence) {
            return Ok(Some(fault));
        } else if !entry.is_whole()? {
            FaultKind::Altered
        } else if entry.previous != self.previous {
            FaultKind::Unlinked
        } else if anchored.is_some_and(|anchor| anchor.hash != entry.hash) {
            FaultKind::Rewritten
        } else {
            (self.next, self.previous) = (sequence + 1, Some(entry.hash));
            return Ok(None);
        };
        Ok(Some(ChainFault { sequence, kind }))
    }

    /// The fault of an entry of which nothing but its number could be read.
    #[must_use]
    pub fn unreadable(&self, sequence: u64) -> ChainFault {
        let altered = ChainFault { sequence: self.next, kind: FaultKind::Altered };
        self.displaced(sequence).unwrap_or(altered)
    }

    fn displaced(&self, found: u64) -> Option<ChainFault> {
        let kind = match found.cmp(&self.next) {
            Ordering::Greater => FaultKind::Missing,
            Ordering::Less => FaultKind::Extra,
            Ordering::Equal => return None,
        };
        Some(ChainFault { sequence: self.next, kind })
    }

    /// The fault of a chain that ends here, if the anchor says that it went on.
    #[must_use]
    pub fn end(&self) -> Option<ChainFault> {
        let cut = self.anchor.is_some_and(|anchor| anchor.sequence >= self.next);
        cut.then_some(ChainFault { sequence: self.next, kind: FaultKind::Truncated })
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
    let mut walk = ChainWalk::new(anchor);
    for entry in entries {
        if let Some(fault) = walk.step(entry)? {
            return Ok(Some(fault));
        }
    }
    Ok(walk.end())
}
