//! What can go wrong between a request and its answer.

use std::time::Duration;

use mlp_core::{HostError, ModelError, VersionNumber};

/// A request was not answered, or a server could not be set up.
///
/// Errors can be cloned: all who wait for the same computation get one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The queue of the version is full, or too many requests are in flight: trying again later may succeed.
    #[error("{version} is overloaded: {waiting} are under way, at most {limit} may be")]
    Overloaded {
        /// The version.
        version: VersionNumber,
        /// How many rows wait; or how many requests are in flight, if that is what is too much.
        waiting: usize,
        /// How many may.
        limit: usize,
    },
    /// The answer did not come before the deadline.
    #[error("{version} did not answer before the deadline")]
    DeadlineExceeded {
        /// The version.
        version: VersionNumber,
    },
    /// The server is shutting down.
    #[error("the server is draining and takes no new requests")]
    Draining,
    /// No version can answer: none is loaded, or the one asked for is not there or has no replica that is well.
    #[error("the server is not ready: {}", match .version {
        Some(version) => format!("{version} is not loaded, or has no replica that is well"),
        None => "no version is loaded".to_owned(),
    })]
    NotReady {
        /// The version that should have answered, if one was named.
        version: Option<VersionNumber>,
    },
    /// The input can never be answered by this version.
    #[error("{version} cannot take the input")]
    InvalidInput {
        /// The version.
        version: VersionNumber,
        /// What the model expected and what it was given.
        #[source]
        source: ModelError,
    },
    /// The input stands for more rows than a batch may hold.
    #[error("the input has {given} rows, a batch holds at most {limit}")]
    TooManyRows {
        /// How many rows the input has.
        given: usize,
        /// How many a batch holds.
        limit: usize,
    },
    /// The model panicked on this input.
    #[error("{version} panicked: {message}")]
    ModelPanicked {
        /// The version.
        version: VersionNumber,
        /// What the panic said.
        message: String,
    },
    /// The model failed on this input.
    #[error("{version} failed")]
    ModelFailed {
        /// The version.
        version: VersionNumber,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// The balancer panicked when it was asked for a server.
    #[error("the balancer panicked: {message}")]
    BalancerPanicked {
        /// What the panic said.
        message: String,
    },
    /// The router panicked when it was asked for a version.
    #[error("the router panicked: {message}")]
    RouterPanicked {
        /// What the panic said.
        message: String,
    },
    /// The replica did not come back from the model within the limit, and was given up.
    #[error("replica {replica} of {version} is stuck: it did not come back within {limit:?}")]
    ReplicaStuck {
        /// The version.
        version: VersionNumber,
        /// The replica.
        replica: usize,
        /// The limit.
        limit: Duration,
    },
    /// An option is out of its range.
    #[error("option {option} is {given}, allowed is {allowed}")]
    InvalidOption {
        /// Its name.
        option: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The server has a router, which names versions itself: prepare the new one by its host, and let the router name it.
    #[error("a server with a router takes its versions from that")]
    Routed,
    /// A version cannot be rolled out while another one is.
    #[error("{version} is being rolled out")]
    RollingOut {
        /// The version that is being rolled out.
        version: VersionNumber,
    },
    /// A version was rolled out and another one took over from it meanwhile.
    #[error("another version took over while {version} was being rolled out")]
    Superseded {
        /// The version that was being rolled out.
        version: VersionNumber,
    },
    /// A version could not be prepared.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ServeError {
    /// A failure of the model, its panic told apart.
    pub(crate) fn of_model(version: VersionNumber, error: ModelError) -> Self {
        match error {
            ModelError::Panicked { message } => Self::ModelPanicked { version, message },
            source => Self::ModelFailed { version, source },
        }
    }

    /// Whether the same request may succeed if it is sent again later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Overloaded { .. }
                | Self::DeadlineExceeded { .. }
                | Self::NotReady { .. }
                | Self::ReplicaStuck { .. }
        )
    }
}
