//! The crate against published values.

#[path = "all/vectors.rs"]
mod vectors;
