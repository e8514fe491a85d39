//! Who asks for a change, why, and what it was based on.

use mlp_core::VersionNumber;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest actor or idempotency key, in bytes.
pub const MAX_NAME_BYTES: usize = 200;
/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 2_000;

/// Who asks for a change and why; optionally the generation it is based on and a key that makes a repeat harmless.
///
/// ```
/// use mlp_rollback::Change;
///
/// let change = Change::by("alice").because("errors since noon").at_generation(7).with_key("incident-42");
/// assert_eq!(change.actor, "alice");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Change {
    /// Who asks: a person or a component, at most 200 bytes.
    pub actor: String,
    /// Why, at most 2,000 bytes.
    #[serde(default)]
    pub reason: String,
    /// The generation that the asker saw. If the deployment has moved on, the change is refused as stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_generation: Option<u64>,
    /// A repeat of the change under the same key does nothing and gets the first one's receipt. At most 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl Change {
    /// A change asked for by this person or component.
    pub fn by(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), ..Self::default() }
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Refuses the change if the deployment has moved on from this generation.
    #[must_use]
    pub fn at_generation(mut self, generation: u64) -> Self {
        self.expected_generation = Some(generation);
        self
    }

    /// Makes a repeat harmless.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let key = self.idempotency_key.as_deref().unwrap_or_default();
        for (what, text, limit) in [
            ("the actor's bytes", self.actor.as_str(), MAX_NAME_BYTES),
            ("the idempotency key's bytes", key, MAX_NAME_BYTES),
            ("the reason's bytes", self.reason.as_str(), MAX_REASON_BYTES),
        ] {
            if text.len() > limit {
                return Err(Error::LimitExceeded { what, limit });
            }
        }
        Ok(())
    }
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    /// The generation that the change made.
    pub generation: u64,
    /// The version that was active before.
    pub active_before: Option<VersionNumber>,
    /// The version that is active since.
    pub active: Option<VersionNumber>,
}
