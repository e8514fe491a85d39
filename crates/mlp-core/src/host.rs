//! Who holds the running versions.

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::VersionNumber;
use crate::model::ModelError;
use crate::panic::catch_panic;

/// Holds the running versions: builds and warms one, tells its health, retires it.
///
/// Implemented by servers, called by deployments. A deployment holds its host weakly: the two refer to each other.
///
/// # Contract
///
/// * [`prepare`](Self::prepare) returns when the version is ready, or with an error and nothing left behind; what ran before runs on.
/// * [`retire`](Self::retire) answers what the version has accepted, then lets go of it; retiring an unknown version does nothing.
pub trait Host<M: ?Sized>: Debug + Send + Sync {
    /// Builds the replicas of a version and warms them.
    ///
    /// # Errors
    /// If the version is already there, the source fails, or the warm-up does.
    fn prepare(&self, version: VersionNumber, source: VersionSource<M>) -> Result<(), HostError>;

    /// How a version is.
    fn health(&self, version: VersionNumber) -> Health;

    /// Takes a version out of service.
    fn retire(&self, version: VersionNumber);
}

/// Where the replicas of a version come from: a factory that is called once a replica, and again when one must be replaced.
///
/// ```
/// use mlp_core::VersionSource;
/// use std::sync::Arc;
///
/// let source: VersionSource<str> = VersionSource::shared(Arc::from("the model"));
/// assert_eq!(&*source.build()?, "the model");
/// # Ok::<(), mlp_core::ModelError>(())
/// ```
pub struct VersionSource<M: ?Sized>(Arc<dyn Fn() -> Result<Arc<M>, ModelError> + Send + Sync>);

impl<M: ?Sized> VersionSource<M> {
    /// Builds each replica anew, such as by loading a file.
    pub fn new(factory: impl Fn() -> Result<Arc<M>, ModelError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(factory))
    }

    /// Lets all replicas share one immutable model.
    pub fn shared(model: Arc<M>) -> Self
    where
        M: Send + Sync + 'static,
    {
        Self::new(move || Ok(Arc::clone(&model)))
    }

    /// Builds one replica.
    ///
    /// # Errors
    /// If the factory fails or panics.
    pub fn build(&self) -> Result<Arc<M>, ModelError> {
        catch_panic(|| (self.0)())?
    }
}

impl<M: ?Sized> Clone for VersionSource<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: ?Sized> Debug for VersionSource<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VersionSource")
    }
}

/// Where a version stands in its life on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// The host does not hold it.
    Absent,
    /// It is being built and warmed.
    Warming,
    /// It can answer.
    Ready,
    /// Too few of its replicas can answer.
    Unhealthy,
    /// It answers what it has accepted, and takes nothing new.
    Draining,
}

/// How a version is on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// How many replicas can answer.
    pub ready_replicas: usize,
    /// How many replicas there should be.
    pub replicas: usize,
    /// How many requests it has answered, errors among them.
    pub requests: u64,
}

impl Health {
    /// The health of a version that the host does not hold.
    pub const ABSENT: Self =
        Self { lifecycle: Lifecycle::Absent, ready_replicas: 0, replicas: 0, requests: 0 };

    /// Whether the version can answer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lifecycle == Lifecycle::Ready
    }
}

/// A host could not prepare a version.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The host already holds it.
    #[error("{version} is already there")]
    AlreadyPresent {
        /// The version.
        version: VersionNumber,
    },
    /// The source could not build a replica.
    #[error("{version} could not be built")]
    Build {
        /// The version.
        version: VersionNumber,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// A replica failed on the warm-up inputs, or gave another answer than its sisters.
    #[error("{version} failed its warm-up")]
    WarmUp {
        /// The version.
        version: VersionNumber,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// The host is shutting down.
    #[error("the host takes no new version: it is shutting down")]
    ShuttingDown,
    /// A bound of the host was reached.
    #[error("the host holds {limit} versions, the most it may")]
    TooManyVersions {
        /// The bound.
        limit: usize,
    },
}
