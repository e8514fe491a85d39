//! Which version answers a request, and how it went.

use std::fmt::{self, Debug};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::VersionNumber;

/// How many shadows a route can carry.
pub const MAX_SHADOWS: usize = 4;

/// Chooses which version answers, and hears how it went.
///
/// # Contract
///
/// * [`route`](Self::route) allocates nothing, takes no lock that a slow caller can hold, and always names a version.
/// * Every request that reached a version, a shadow among them, is reported once through [`observe`](Self::observe).
/// * A request routed to a version that was retired meanwhile is routed once more.
pub trait Router: Debug + Send + Sync {
    /// Chooses for one request.
    fn route(&self, request: &RequestKey<'_>) -> Route;

    /// Hears how a request went.
    fn observe(&self, outcome: &Outcome);
}

/// What a router may know of a request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestKey<'a> {
    /// The number of the request, counted by the server: what an anonymous request is drawn by.
    pub sequence: u64,
    /// Who asks (a user, a session, a device): the same one gets the same version for as long as shares allow.
    pub unit: Option<&'a str>,
    /// What is known of who asks, for rules: pairs of name and value.
    pub attributes: &'a [(&'a str, &'a str)],
    /// The version that the caller insists on.
    pub pin: Option<VersionNumber>,
}

impl<'a> RequestKey<'a> {
    /// An anonymous request.
    #[must_use]
    pub const fn new(sequence: u64) -> Self {
        Self { sequence, unit: None, attributes: &[], pin: None }
    }

    /// Names who asks.
    #[must_use]
    pub const fn with_unit(mut self, unit: &'a str) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Tells what is known of who asks.
    #[must_use]
    pub const fn with_attributes(mut self, attributes: &'a [(&'a str, &'a str)]) -> Self {
        self.attributes = attributes;
        self
    }

    /// Insists on a version.
    #[must_use]
    pub const fn with_pin(mut self, version: VersionNumber) -> Self {
        self.pin = Some(version);
        self
    }
}

/// In which role a version sees a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// The version in use.
    Active,
    /// A new version that answers a growing share.
    Canary,
    /// A version that answers a fixed share, to be compared with the active one.
    Challenger,
    /// A version that sees the request but whose answer nobody gets.
    Shadow,
    /// The version that the caller insisted on.
    Pinned,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Canary => "canary",
            Self::Challenger => "challenger",
            Self::Shadow => "shadow",
            Self::Pinned => "pinned",
        })
    }
}

/// A router's choice: which version answers, in which role, and which see a copy. `Copy`, 64 bytes, nothing behind a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The version that answers.
    pub version: VersionNumber,
    /// Its role.
    pub role: Role,
    /// The generation of the router's state that made the choice: results of an older one can be told apart.
    pub generation: u64,
    shadows: [VersionNumber; MAX_SHADOWS],
    n_shadows: u8,
}

impl Route {
    /// Lets one version answer, with no shadow.
    #[must_use]
    pub const fn new(version: VersionNumber, role: Role, generation: u64) -> Self {
        Self { version, role, generation, shadows: [VersionNumber(0); MAX_SHADOWS], n_shadows: 0 }
    }

    /// Lets another version see a copy. A fifth shadow is left out: its work would not be bounded by the route's size.
    #[must_use]
    pub fn with_shadow(mut self, version: VersionNumber) -> Self {
        if let Some(place) = self.shadows.get_mut(usize::from(self.n_shadows)) {
            *place = version;
            self.n_shadows += 1;
        }
        self
    }

    /// The versions that see a copy.
    #[must_use]
    #[inline]
    pub fn shadows(&self) -> &[VersionNumber] {
        &self.shadows[..usize::from(self.n_shadows)]
    }
}

/// How a request went for a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutcomeStatus {
    /// It was answered.
    Answered,
    /// The model failed or panicked.
    Failed,
    /// The answer did not come before the deadline.
    TimedOut,
    /// The request was refused before the model saw it (invalid input, overload, drain): no evidence for or against the version.
    Refused,
}

/// How one request went for the version it was routed to, or for a shadow.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The version.
    pub version: VersionNumber,
    /// Its role in this request.
    pub role: Role,
    /// The generation of the route.
    pub generation: u64,
    /// How it went.
    pub status: OutcomeStatus,
    /// From entering the server to the answer.
    pub latency: Duration,
    /// Whether the answer came from a cache: then it is no evidence for the version.
    pub cached: bool,
    /// How well a shadow's answer agrees with the primary's, from 0 to 1.
    pub agreement: Option<f64>,
}

impl Outcome {
    /// A request that went this way, not cached.
    #[must_use]
    pub const fn new(route: &Route, status: OutcomeStatus, latency: Duration) -> Self {
        let Route { version, role, generation, .. } = *route;
        Self { version, role, generation, status, latency, cached: false, agreement: None }
    }

    /// The answer came from a cache.
    #[must_use]
    pub const fn from_cache(mut self) -> Self {
        self.cached = true;
        self
    }

    /// A shadow's answer, with its agreement if the servable can tell.
    #[must_use]
    pub const fn of_shadow(mut self, version: VersionNumber, agreement: Option<f64>) -> Self {
        self.version = version;
        self.role = Role::Shadow;
        self.agreement = agreement;
        self
    }

    /// Whether the outcome says something about the version: the model itself was asked.
    #[must_use]
    pub const fn is_evidence(&self) -> bool {
        !self.cached && !matches!(self.status, OutcomeStatus::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_fits_a_cache_line_and_takes_four_shadows() {
        assert!(size_of::<Route>() <= 64, "{} bytes", size_of::<Route>());
        let mut route = Route::new(VersionNumber(1), Role::Active, 7);
        for version in 2..8 {
            route = route.with_shadow(VersionNumber(version));
        }
        assert_eq!(route.shadows(), [2, 3, 4, 5].map(VersionNumber));
    }

    #[test]
    fn cached_and_refused_requests_are_no_evidence() {
        let route = Route::new(VersionNumber(1), Role::Canary, 7);
        let outcome = |status| Outcome::new(&route, status, Duration::ZERO);
        assert!(outcome(OutcomeStatus::Answered).is_evidence());
        assert!(outcome(OutcomeStatus::Failed).is_evidence());
        assert!(outcome(OutcomeStatus::TimedOut).is_evidence());
        assert!(!outcome(OutcomeStatus::Refused).is_evidence());
        assert!(!outcome(OutcomeStatus::Answered).from_cache().is_evidence());
    }
}
