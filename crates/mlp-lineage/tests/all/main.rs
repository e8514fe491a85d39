//! The crate from outside: the contracts, tampering, hostile names and links, git, and questions to the lineage.

mod artifacts;
mod contract;
#[cfg(target_os = "linux")]
mod disk;
mod lineage;
