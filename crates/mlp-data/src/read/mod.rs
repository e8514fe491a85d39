//! What files of any format have in common: which column is what, and what a cell may be.

pub(crate) mod cell;
mod options;
pub(crate) mod roles;
pub(crate) mod target;

pub use options::{NonFinite, ReadOptions, TargetKind};
