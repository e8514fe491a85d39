//! How a deployment stands.

use mlp_core::VersionNumber;
use serde::{Deserialize, Serialize};

use crate::bundle::VersionBundle;
use crate::evidence::Evidence;
use crate::flags::Flag;
use crate::record::Cause;
use crate::share::Share;
use crate::state::VersionState;

/// One version, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VersionStatus {
    /// Its number.
    pub version: VersionNumber,
    /// What it consists of.
    pub bundle: VersionBundle,
    /// Its state.
    pub state: VersionState,
    /// The share of requests it answers, or sees as a shadow. Pinned units and those that a flag chooses are not counted.
    pub share: Share,
    /// Who gets it, if a flag chooses.
    pub flag: Option<Flag>,
    /// Why it is blocked.
    pub blocked: Option<String>,
    /// What it did since it took its role; none if it has no role.
    pub evidence: Option<Evidence>,
}

/// The canary, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CanaryStatus {
    /// The version.
    pub version: VersionNumber,
    /// The step, from 0.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// The share now: zero from the moment a breach was found.
    pub share: Share,
    /// Whether somebody paused it.
    pub is_paused: bool,
    /// What it did so far.
    pub evidence: Evidence,
}

/// A rollback that waits for somebody's approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PendingApproval {
    /// The version that would be taken out.
    pub version: VersionNumber,
    /// The generation in which it took the role that this is about: in another role nothing waits.
    pub since: u64,
    /// What fired.
    pub causes: Vec<Cause>,
}

/// A deployment, as it stands at one generation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The generation: give it back in [`Change::at_generation`](crate::Change::at_generation).
    pub generation: u64,
    /// The active version; none before the first deployment.
    pub active: Option<VersionNumber>,
    /// The canary.
    pub canary: Option<CanaryStatus>,
    /// Warm predecessors, the latest last.
    pub standby: Vec<VersionNumber>,
    /// All versions, in the order of their numbers.
    pub versions: Vec<VersionStatus>,
    /// Rollbacks that wait for approval.
    pub approvals: Vec<PendingApproval>,
    /// Why automatic changes are frozen.
    pub frozen: Option<String>,
    /// The journal's first failure: since then only protective changes are made, and they are not written down.
    pub journal_failure: Option<String>,
}

impl Status {
    /// The version, as it stands.
    #[must_use]
    pub fn version(&self, version: VersionNumber) -> Option<&VersionStatus> {
        self.versions.iter().find(|status| status.version == version)
    }
}
