//! What can go wrong when a deployment is changed.

use mlp_core::{HostError, StoreError, VersionNumber};

use crate::state::VersionState;

/// A change was refused or could not be made. What served before serves on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such version was registered.
    #[error("{version} is not registered")]
    UnknownVersion {
        /// The version asked for.
        version: VersionNumber,
    },
    /// Somebody else changed the deployment since the caller looked.
    #[error("the change expects generation {expected}, the deployment is at {current}")]
    Stale {
        /// The generation that the change was based on.
        expected: u64,
        /// The generation now.
        current: u64,
    },
    /// The version is in a state that does not allow this.
    #[error("{version} is {state}, it must be {allowed}")]
    WrongState {
        /// The version.
        version: VersionNumber,
        /// Its state.
        state: VersionState,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// The version is blocked for a reason of security.
    #[error("{version} is blocked: {reason}")]
    Blocked {
        /// The version.
        version: VersionNumber,
        /// Why it was blocked.
        reason: String,
    },
    /// There is nothing of this kind to act on.
    #[error("there is no {what}")]
    Nothing {
        /// What is missing: "active version", "canary", "version to roll back to".
        what: &'static str,
    },
    /// Another roll-out is under way.
    #[error("{version} is already rolling out: promote or abort it first")]
    RolloutUnderWay {
        /// The version that is rolling out.
        version: VersionNumber,
    },
    /// Automatic changes and new roll-outs are frozen.
    #[error("the deployment is frozen: {reason}")]
    Frozen {
        /// Why.
        reason: String,
    },
    /// A share is not between 0 and 100 percent.
    #[error("a share of {given} % is out of range: it must be from 0 to 100")]
    ShareOutOfRange {
        /// What was given.
        given: f64,
    },
    /// The shares of all versions together exceed what there is.
    #[error("the shares of canary and challengers would be {given} %, at most 100 % is there")]
    SharesExceedWhole {
        /// The sum in percent.
        given: f64,
    },
    /// A plan or a configuration makes no sense.
    #[error("{field} is invalid: {reason}")]
    Invalid {
        /// The part at fault.
        field: &'static str,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A documented bound was reached.
    #[error("{what} is over its limit of {limit}")]
    LimitExceeded {
        /// What is bounded.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// An idempotency key was used before for another change.
    #[error("the idempotency key {key:?} was used for another change")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The deployment has no host, or the host is gone.
    #[error("no host is attached")]
    NoHost,
    /// The application did not say where the version's model comes from.
    #[error("{version} has no source: attach one after a restart")]
    NoSource {
        /// The version.
        version: VersionNumber,
    },
    /// The host holds the version, but it cannot answer.
    #[error("{version} is not healthy on its host")]
    Unhealthy {
        /// The version.
        version: VersionNumber,
    },
    /// The host could not prepare the version.
    #[error("{version} could not be prepared")]
    Preparation {
        /// The version.
        version: VersionNumber,
        /// The host's error.
        #[source]
        source: HostError,
    },
    /// The host panicked.
    #[error("the host panicked: {message}")]
    HostPanicked {
        /// The message of the panic.
        message: String,
    },
    /// The journal could not take the change.
    #[error("the journal failed")]
    Journal {
        /// The journal's error.
        #[from]
        source: StoreError,
    },
}

/// The result of a change.
pub type Result<T> = std::result::Result<T, Error>;
