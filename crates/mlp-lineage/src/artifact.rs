//! Bytes by their content.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::sync::Arc;

use mlp_core::{Clock, ContentHash, StoreError, SystemClock, Timestamp};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::record::{Artifact, Record};

/// Keeps bytes under the hash of their content.
///
/// # Contract
///
/// Each promise is a check in `testing` (feature `testing`).
///
/// * What was put is read back byte for byte, or the read fails with [`StoreError::Corrupt`]: bytes that do not have their hash are never
///   given as good.
/// * Putting the same content again changes nothing but its time, also from several threads at once; an artifact is never seen in part.
/// * A put that failed left no artifact, unless only the last step failed, that which makes it survive a power loss.
pub trait ArtifactStore: Debug + Send + Sync {
    /// Stores all that the reader gives, streaming.
    ///
    /// # Errors
    /// [`StoreError::Backend`] if the reader or the storage fails, [`StoreError::StorageFull`] if there is no room.
    fn put(&self, content: &mut dyn Read) -> Result<Artifact, StoreError>;

    /// Writes an artifact to `out`, streaming, and returns its size. Trust what was written only if this returns `Ok`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Corrupt`] if the bytes do not have their hash; [`StoreError::Backend`].
    fn copy_to(&self, hash: ContentHash, out: &mut dyn Write) -> Result<u64, StoreError>;

    /// Lists all artifacts, in the order of their hashes.
    ///
    /// # Errors
    /// As the backend says.
    fn list(&self) -> Result<Vec<ArtifactInfo>, StoreError>;

    /// Removes an artifact, if it is there.
    ///
    /// # Errors
    /// As the backend says.
    fn remove(&self, hash: ContentHash) -> Result<(), StoreError>;

    /// Removes an artifact if it was put last before this moment; whether it was there and old enough. A put beside it either comes first, and
    /// the artifact stays, or after it, and puts it anew.
    ///
    /// # Errors
    /// As the backend says.
    fn remove_stored_before(
        &self,
        hash: ContentHash,
        moment: Timestamp,
    ) -> Result<bool, StoreError>;
}

/// An artifact as the store lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactInfo {
    /// What it is.
    pub artifact: Artifact,
    /// When it was put last.
    pub stored_at: Timestamp,
}

/// Conveniences over [`ArtifactStore`].
pub trait ArtifactStoreExt: ArtifactStore {
    /// Stores some bytes.
    ///
    /// # Errors
    /// As [`ArtifactStore::put`].
    fn put_bytes(&self, mut bytes: &[u8]) -> Result<Artifact, StoreError> {
        self.put(&mut bytes)
    }

    /// Reads an artifact whole, verified.
    ///
    /// # Errors
    /// As [`ArtifactStore::copy_to`].
    fn read(&self, hash: ContentHash) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.copy_to(hash, &mut bytes)?;
        Ok(bytes)
    }
}

impl<S: ArtifactStore + ?Sized> ArtifactStoreExt for S {}

/// Copies in pieces and hashes on the way, so that memory stays flat.
pub(crate) fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> Result<Artifact, StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(storage_error(error)),
        };
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(storage_error)?;
        size += count as u64;
    }
    Ok(Artifact { hash: ContentHash::from_bytes(*hasher.finalize().as_bytes()), size })
}

pub(crate) fn storage_error(error: std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::QuotaExceeded
        | std::io::ErrorKind::FileTooLarge => StoreError::StorageFull,
        _ => StoreError::backend(error),
    }
}

pub(crate) fn altered(hash: ContentHash, found: ContentHash) -> StoreError {
    StoreError::Corrupt {
        what: format!("artifact {hash}"),
        reason: format!("its bytes have the hash {found}"),
    }
}

/// The bytes, and when they were put last.
type Held = (Arc<[u8]>, Timestamp);

/// Keeps artifacts in memory.
#[derive(Debug)]
pub struct InMemoryArtifactStore {
    clock: Arc<dyn Clock>,
    artifacts: RwLock<BTreeMap<ContentHash, Held>>,
}

impl InMemoryArtifactStore {
    /// An empty store on the clock of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// An empty store on this clock.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, artifacts: RwLock::default() }
    }
}

impl Default for InMemoryArtifactStore {
    fn default() -> Self {
        Self::new()
    }
}

impl ArtifactStore for InMemoryArtifactStore {
    fn put(&self, content: &mut dyn Read) -> Result<Artifact, StoreError> {
        let mut bytes = Vec::new();
        let artifact = copy_hashed(content, &mut bytes)?;
        self.artifacts.write().insert(artifact.hash, (bytes.into(), self.clock.now()));
        Ok(artifact)
    }

    fn copy_to(&self, hash: ContentHash, out: &mut dyn Write) -> Result<u64, StoreError> {
        let found = self.artifacts.read().get(&hash).map(|(bytes, _)| bytes.clone());
        let bytes = found.ok_or_else(|| StoreError::not_found("artifact", hash))?;
        let copied = copy_hashed(&mut &bytes[..], out)?;
        if copied.hash != hash {
            return Err(altered(hash, copied.hash));
        }
        Ok(copied.size)
    }

    fn list(&self) -> Result<Vec<ArtifactInfo>, StoreError> {
        let info = |(hash, (bytes, stored_at)): (&ContentHash, &Held)| {
            let artifact = Artifact { hash: *hash, size: bytes.len() as u64 };
            ArtifactInfo { artifact, stored_at: *stored_at }
        };
        Ok(self.artifacts.read().iter().map(info).collect())
    }

    fn remove(&self, hash: ContentHash) -> Result<(), StoreError> {
        self.artifacts.write().remove(&hash);
        Ok(())
    }

    fn remove_stored_before(
        &self,
        hash: ContentHash,
        moment: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut artifacts = self.artifacts.write();
        let old = artifacts.get(&hash).is_some_and(|(_, stored_at)| *stored_at < moment);
        if old {
            artifacts.remove(&hash);
        }
        Ok(old)
    }
}

/// What is wrong with the artifacts of some records, each list in the order of the hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArtifactReport {
    /// How many artifacts are as recorded.
    pub intact: u64,
    /// Artifacts whose bytes or size are not what was recorded.
    pub altered: Vec<ContentHash>,
    /// Artifacts that are recorded and not in the store.
    pub missing: Vec<ContentHash>,
    /// Artifacts that are in the store and not recorded.
    pub extra: Vec<ContentHash>,
}

impl ArtifactReport {
    /// Whether nothing is altered or missing. Extra artifacts do no harm.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.altered.is_empty() && self.missing.is_empty()
    }
}

/// Reads every artifact of these records and compares it with what was recorded.
///
/// # Errors
/// Only what is neither altered nor missing: a storage that fails.
pub fn verify_artifacts(
    records: &[Record],
    store: &dyn ArtifactStore,
) -> Result<ArtifactReport, StoreError> {
    let recorded: BTreeSet<_> =
        records.iter().flat_map(|r| r.artifacts.values().map(|a| (a.hash, a.size))).collect();
    let mut report = ArtifactReport::default();
    for &(hash, size) in &recorded {
        match store.copy_to(hash, &mut std::io::sink()) {
            Ok(found) if found == size => report.intact += 1,
            Ok(_) | Err(StoreError::Corrupt { .. }) => report.altered.push(hash),
            Err(StoreError::NotFound { .. }) => report.missing.push(hash),
            Err(error) => return Err(error),
        }
    }
    let hashes: BTreeSet<_> = recorded.iter().map(|(hash, _)| *hash).collect();
    let listed = store.list()?.into_iter().map(|info| info.artifact.hash);
    report.extra = listed.filter(|hash| !hashes.contains(hash)).collect();
    Ok(report)
}
