//! The server as its users see it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod batching;
mod brittle;
mod cache;
mod faults;
mod models;
mod numbers;
mod oracle;
mod overload;
mod replicas;
mod reports;
mod scaling;
mod soak;
mod support;
mod versions;
