//! How a server and its versions are.

use mlp_core::{Health, VersionNumber};

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerHealth {
    /// Whether the server draws breath: false only once it is drained. A server that is not live should be replaced.
    pub is_live: bool,
    /// Whether it takes requests: a version is ready, and it is not draining. A server that is not ready should get no traffic.
    pub is_ready: bool,
    /// Its versions, by number, those on their way out among them.
    pub versions: Vec<VersionHealth>,
}

/// How a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionHealth {
    /// The version.
    pub version: VersionNumber,
    /// How it is.
    pub health: Health,
    /// Its replicas, in order.
    pub replicas: Vec<ReplicaHealth>,
}

/// How a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaHealth {
    /// Its number within its version, from 0.
    pub replica: usize,
    /// How many requests it has served, errors among them.
    pub requests: u64,
    /// Whether it can answer: it is neither waiting to be built anew nor stuck.
    pub is_well: bool,
}
