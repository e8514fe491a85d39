//! Removing artifacts that nothing refers to.

use std::collections::BTreeSet;

use mlp_core::{StoreError, Timestamp};

use crate::artifact::{ArtifactInfo, ArtifactStore};
use crate::chain::{Event, Head};
use crate::store::{LineageStore, LineageStoreExt};

/// Whether garbage is only listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GarbageMode {
    /// List what would go.
    DryRun,
    /// Remove it.
    Remove,
}

/// Finds the artifacts that no record refers to and that were put before a moment, and removes them if told to. Gives those that were found,
/// or that were removed.
///
/// The chain decides what is garbage, so it is verified first; without an `anchor`, a head that was kept elsewhere, a chain that was cut
/// off passes for whole, and so does another, younger one.
///
/// An artifact is put before its record is appended: choose the moment so that every put since is allowed to still lack its record, a day
/// ago for instance. Content that is put again meanwhile is young again and stays.
///
/// # Errors
/// [`StoreError::Corrupt`] if the chain has a fault; [`StoreError::Conflict`] if anything would be removed by the word of an empty chain;
/// otherwise as the stores say.
pub fn collect_garbage(
    lineage: &dyn LineageStore,
    artifacts: &dyn ArtifactStore,
    anchor: Option<Head>,
    stored_before: Timestamp,
    mode: GarbageMode,
) -> Result<Vec<ArtifactInfo>, StoreError> {
    if let Some(fault) = lineage.verify_chain(anchor)? {
        let what = "the chain that says what is garbage".to_owned();
        return Err(StoreError::Corrupt { what, reason: fault.to_string() });
    }
    // Listed first: what is put and recorded after this line is not in the list.
    let mut garbage = artifacts.list()?;
    let mut used = BTreeSet::new();
    lineage.for_each_entry(|entry| {
        if let Event::Recorded(record) = entry.event {
            used.extend(record.artifacts.values().map(|artifact| artifact.hash));
        }
    })?;
    garbage.retain(|info| info.stored_at < stored_before && !used.contains(&info.artifact.hash));
    if mode == GarbageMode::DryRun || garbage.is_empty() {
        return Ok(garbage);
    }
    if lineage.head()?.is_none() {
        let reason = "it is empty: no artifact is removed by the word of a chain without records";
        return Err(StoreError::conflict("chain", "of lineage", reason));
    }
    let mut removed = Vec::new();
    for info in garbage {
        if artifacts.remove_stored_before(info.artifact.hash, stored_before)? {
            removed.push(info);
        }
    }
    Ok(removed)
}
