//! How a server and its versions are.

use mlp_core::{Health, VersionNumber};

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerHealth {
    /// Whether the server draws breath: false only once it is drained. A server that is not live should be replaced.
    pub is_live: bool,
    /// Whether it takes requests: it is not draining, and each version that would answer now is ready. Without a router that is the current one, and
    /// the one that takes over from it. With a router it is asked where the next 16 anonymous requests would go: those in the active role count (those in
    /// any role if none is active), so a canary that is ill does not take the server out. A server that is not ready should get no traffic.
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
