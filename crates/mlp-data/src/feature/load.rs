//! The transforms of this crate as bytes, and back.

use std::sync::Arc;

use mlp_core::{FittedTransformer, SaveError, Saved};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::derive::DerivedFeatures;
use super::fill::FilledMissing;

/// Loads a transform that this crate saved. To load those of another crate too, try one after the other:
/// `|saved| load_transform(saved).or_else(|_| theirs(saved))`.
///
/// # Errors
/// If the kind is not one of this crate's, its format is newer, or its body is malformed.
pub fn load_transform(saved: &Saved) -> Result<Arc<dyn FittedTransformer>, SaveError> {
    match saved.kind() {
        DerivedFeatures::KIND => Ok(Arc::new(DerivedFeatures::load(saved)?)),
        FilledMissing::KIND => Ok(Arc::new(FilledMissing::load(saved)?)),
        kind => Err(SaveError::UnknownKind { kind: kind.to_owned() }),
    }
}

pub(crate) fn saved(kind: &str, format: u32, body: &impl Serialize) -> Result<Saved, SaveError> {
    let body = serde_json::to_vec(body).map_err(|error| SaveError::NotSaveable {
        what: kind.to_owned(),
        reason: error.to_string(),
    })?;
    Saved::new(kind, format, body)
}

pub(crate) fn body<T: DeserializeOwned>(saved: &Saved, supported: u32) -> Result<T, SaveError> {
    if saved.format() > supported {
        let (kind, found) = (saved.kind().to_owned(), saved.format());
        return Err(SaveError::NewerFormat { kind, found, supported });
    }
    serde_json::from_slice(saved.body())
        .map_err(|error| SaveError::Malformed { reason: error.to_string() })
}
