//! The atomics, or those of a model that tries every order of their steps.

#[cfg(mlp_loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(mlp_loom))]
pub(crate) use std::sync::atomic;
