//! Models as bytes: an envelope that says who can read what is inside.

use std::fmt;

/// A saved model or transformer: who wrote it, in which format, and the bytes.
///
/// The crate that wrote it reads it back by its `kind` (`mlp_models::Loader` for the estimators there). No format in use can run code.
///
/// ```
/// use mlp_core::Saved;
///
/// let saved = Saved::new("mlp-models/tree", 1, b"{}".to_vec())?;
/// assert_eq!(Saved::from_bytes(&saved.to_bytes())?, saved);
/// # Ok::<(), mlp_core::SaveError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Saved {
    kind: String,
    format: u32,
    body: Vec<u8>,
}

const MAGIC: &[u8; 4] = b"MLP\x01";
const MAX_KIND: usize = 250;

impl Saved {
    /// Wraps a body.
    ///
    /// # Errors
    /// If the kind is empty or longer than 250 bytes.
    pub fn new(kind: impl Into<String>, format: u32, body: Vec<u8>) -> Result<Self, SaveError> {
        let kind = kind.into();
        if kind.is_empty() || kind.len() > MAX_KIND {
            return Err(SaveError::Malformed {
                reason: format!("the kind has {} bytes, 1 to {MAX_KIND} are allowed", kind.len()),
            });
        }
        Ok(Self { kind, format, body })
    }

    /// Who wrote it, such as `mlp-models/tree`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The version of the body's format, counted by its writer.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.format
    }

    /// What its writer wrote.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The envelope as bytes: magic (4), length of the kind (2, little endian), kind, format (4), length of the body (8), body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18 + self.kind.len() + self.body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(self.kind.len() as u16).to_le_bytes());
        bytes.extend_from_slice(self.kind.as_bytes());
        bytes.extend_from_slice(&self.format.to_le_bytes());
        bytes.extend_from_slice(&(self.body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads an envelope. Lengths are compared with what is there before anything is allocated.
    ///
    /// # Errors
    /// If the bytes are no envelope, are cut short, or go on behind its end.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SaveError> {
        let malformed = |reason: &str| SaveError::Malformed { reason: reason.to_owned() };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| malformed("it does not start with the mark of a saved model"))?;
        let short = || malformed("it is cut short");
        let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (kind, rest) =
            rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or_else(short)?;
        let (format, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (length, body) = rest.split_first_chunk().ok_or_else(short)?;
        if u64::from_le_bytes(*length) != body.len() as u64 {
            return Err(malformed("its length differs from what it says"));
        }
        let kind = std::str::from_utf8(kind).map_err(|_| malformed("its kind is not UTF-8"))?;
        Self::new(kind, u32::from_le_bytes(*format), body.to_vec())
    }
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Saved({}, format {}, {} bytes)", self.kind, self.format, self.body.len())
    }
}

/// A model could not be saved or loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The model holds something that is not data.
    #[error("{what} cannot be saved: {reason}")]
    NotSaveable {
        /// The part.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The bytes are not what they should be.
    #[error("the saved model is malformed: {reason}")]
    Malformed {
        /// How that was seen.
        reason: String,
    },
    /// Nobody here reads this kind.
    #[error("no reader knows the kind {kind:?}")]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// A later version of the library wrote it.
    #[error("{kind} has format {found}, this library reads up to {supported}")]
    NewerFormat {
        /// The kind.
        kind: String,
        /// The format found.
        found: u32,
        /// The newest format this library reads.
        supported: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_truncation_is_refused() {
        let bytes = Saved::new("kind", 3, vec![1, 2, 3]).unwrap().to_bytes();
        assert!(Saved::from_bytes(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(Saved::from_bytes(&bytes[..end]).is_err(), "{end} bytes were taken");
        }
        assert!(Saved::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_length_larger_than_the_file_allocates_nothing() {
        let mut bytes = Saved::new("kind", 3, vec![]).unwrap().to_bytes();
        let length = bytes.len() - 8;
        bytes[length..].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Saved::from_bytes(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for bytes in [bytes.clone(), [MAGIC, &bytes[..]].concat()] {
                if let Ok(saved) = Saved::from_bytes(&bytes) {
                    prop_assert_eq!(saved.to_bytes(), bytes);
                }
            }
        }
    }
}
