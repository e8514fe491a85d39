//! Removing artifacts that nothing refers to.

use std::collections::BTreeSet;

use mlp_core::{StoreError, Timestamp};

use crate::artifact::{ArtifactInfo, ArtifactStore};
use crate::chain::Event;
use crate::store::{LineageStore, LineageStoreExt};

/// Whether garbage is only listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GarbageMode {
    /// List what would go.
    DryRun,
    /// Remove it.
    Remove,
}

/// Finds the artifacts that no record refers to and that were put before a moment, and removes them if told to.
///
/// An artifact is put before its record is appended: choose the moment so that every put since is allowed to still lack its record, a day
/// ago for instance. Who puts the same content again while it is being removed must put it once more if it is then missing.
///
/// # Errors
/// As the stores say.
pub fn collect_garbage(
    lineage: &dyn LineageStore,
    artifacts: &dyn ArtifactStore,
    stored_before: Timestamp,
    mode: GarbageMode,
) -> Result<Vec<ArtifactInfo>, StoreError> {
    // Listed first: what is put and recorded after this line is not in the list.
    let mut garbage = artifacts.list()?;
    let entries = lineage.all_entries()?;
    let used: BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Recorded(record) => Some(record.artifacts.values().map(|a| a.hash)),
            Event::Deployed(_) => None,
        })
        .flatten()
        .collect();
    garbage.retain(|info| info.stored_at < stored_before && !used.contains(&info.artifact.hash));
    if mode == GarbageMode::Remove {
        garbage.iter().try_for_each(|info| artifacts.remove(info.artifact.hash))?;
    }
    Ok(garbage)
}
