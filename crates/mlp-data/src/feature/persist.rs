//! A feature store as a file.

use std::path::Path;
use std::sync::Arc;

use mlp_core::{ContentHash, FittedTransformer, SaveError, Saved, StoreError};
use serde::{Deserialize, Serialize};

use super::set::FeatureSetSpec;
use super::store::{FeatureStore, Registered, RegisteredTransform, VersionedName, build, hash_of};
use crate::durable::write_durably;
use crate::error::{Error, Place, Result};

const KIND: &str = "mlp-data/feature-store";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredStore {
    transforms: Vec<StoredTransform>,
    sets: Vec<StoredSet>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTransform {
    name: VersionedName,
    hash: ContentHash,
    /// The envelope in hexadecimal digits.
    saved: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSet {
    name: VersionedName,
    spec: FeatureSetSpec,
}

/// Whether two envelopes hold the same: another version of this library, or of what writes its JSON, may write a number in another way.
fn is_same(one: &Saved, other: &Saved) -> bool {
    let value = |saved: &Saved| serde_json::from_slice::<serde_json::Value>(saved.body()).ok();
    let is_same_value = || value(one).is_some_and(|body| Some(body) == value(other));
    (one.kind(), one.format()) == (other.kind(), other.format())
        && (one.body() == other.body() || is_same_value())
}

impl FeatureStore {
    /// The store as bytes: all transforms with their state, and all sets.
    ///
    /// # Errors
    /// If it is too large to be written.
    pub fn to_saved(&self) -> Result<Saved> {
        let stored = self.read(|inner| StoredStore {
            transforms: inner
                .transforms
                .iter()
                .map(|(name, known)| StoredTransform {
                    name: name.clone(),
                    hash: known.hash,
                    saved: to_hex(&known.bytes),
                })
                .collect(),
            sets: inner
                .sets
                .iter()
                .map(|(name, set)| StoredSet { name: name.clone(), spec: set.spec().clone() })
                .collect(),
        });
        Ok(super::load::saved(KIND, FORMAT, &stored)?)
    }

    /// Reads a store; `load` makes a transform of its bytes ([`load_transform`](crate::load_transform) those of this crate).
    ///
    /// # Errors
    /// If the bytes are no feature store, a transform is not what its hash says, cannot be loaded, or saves itself differently once
    /// loaded, or a set does not fit its transforms.
    pub fn from_saved(
        saved: &Saved,
        load: impl Fn(&Saved) -> Result<Arc<dyn FittedTransformer>, SaveError>,
    ) -> Result<Self> {
        if saved.kind() != KIND {
            return Err(SaveError::UnknownKind { kind: saved.kind().to_owned() }.into());
        }
        let stored: StoredStore = super::load::body(saved, FORMAT)?;
        let mut registered = Registered::default();
        for transform in stored.transforms {
            let corrupt = |reason: &str| StoreError::Corrupt {
                what: format!("the transform {}", transform.name),
                reason: reason.to_owned(),
            };
            let bytes =
                from_hex(&transform.saved).ok_or_else(|| corrupt("it is not hexadecimal"))?;
            if hash_of(&bytes) != transform.hash {
                return Err(corrupt("its bytes are not what its hash says").into());
            }
            let saved = Saved::from_bytes(&bytes)?;
            let loaded = load(&saved)?;
            let today = loaded.save()?;
            if !is_same(&today, &saved) {
                return Err(corrupt("it is another one once loaded").into());
            }
            let loaded = RegisteredTransform {
                transform: loaded,
                bytes: bytes.into(),
                hash: transform.hash,
                hash_today: hash_of(&today.to_bytes()),
            };
            if registered.transforms.insert(transform.name.clone(), loaded).is_some() {
                return Err(corrupt("it stands twice").into());
            }
        }
        for StoredSet { name, spec } in stored.sets {
            let set = Arc::new(build(&registered, name.clone(), spec)?);
            if registered.sets.insert(name.clone(), set).is_some() {
                let (what, reason) =
                    (format!("the feature set {name}"), "it stands twice".to_owned());
                return Err(StoreError::Corrupt { what, reason }.into());
            }
        }
        Ok(Self::from_registered(registered))
    }

    /// Writes the store to a file, which appears complete or not at all, and is on the disk when this returns. Threads that save one store write
    /// one after the other, so the file holds what the last of them saw.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let _saving = self.saving.lock();
        write_durably(path, &self.to_saved()?.to_bytes())
            .map_err(|source| file_error(path, "write", source))
    }

    /// Reads a store from a file.
    ///
    /// # Errors
    /// If the file cannot be read; otherwise as [`from_saved`](Self::from_saved).
    pub fn load_file(
        path: impl AsRef<Path>,
        load: impl Fn(&Saved) -> Result<Arc<dyn FittedTransformer>, SaveError>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| file_error(path, "read", source))?;
        Self::from_saved(&Saved::from_bytes(&bytes)?, load)
    }
}

fn file_error(path: &Path, action: &'static str, source: std::io::Error) -> Error {
    Error::File { place: Place::file(path.display().to_string()), action, source }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
