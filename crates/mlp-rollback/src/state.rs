//! The states of a version.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a version stands.
///
/// ```text
/// registered → warming → active | canary | challenger | shadow
/// canary, challenger, shadow → active (promoted) | rolled back (aborted)
/// active → standby (replaced, still warm) → draining → archived
/// active → rolled back (replaced by an older one) → draining → as before
/// any → blocked
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VersionState {
    /// Known, never served.
    Registered,
    /// Its host is building and warming it.
    Warming,
    /// It sees copies of requests; nobody gets its answers.
    Shadow,
    /// It answers a growing share.
    Canary,
    /// It answers a fixed share, to be compared with the active one.
    Challenger,
    /// It answers whatever no other version answers. Exactly one version is active.
    Active,
    /// It was active, and is kept warm as a target of a rollback.
    Standby,
    /// It answers what it had accepted, and is about to be let go.
    Draining,
    /// It served once; its host holds it no longer.
    Archived,
    /// It was taken out because of what it did.
    RolledBack,
    /// It must not serve until somebody unblocks it.
    Blocked,
}

impl VersionState {
    /// Whether its host holds it, ready to answer.
    #[must_use]
    pub fn is_warm(self) -> bool {
        matches!(
            self,
            Self::Shadow | Self::Canary | Self::Challenger | Self::Active | Self::Standby
        )
    }

    /// Whether it sees requests.
    #[must_use]
    pub fn is_routed(self) -> bool {
        matches!(self, Self::Shadow | Self::Canary | Self::Challenger | Self::Active)
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Registered => "registered",
            Self::Warming => "warming",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Challenger => "challenger",
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Draining => "draining",
            Self::Archived => "archived",
            Self::RolledBack => "rolled back",
            Self::Blocked => "blocked",
        })
    }
}
