//! The tests of the whole crate, in one binary.

mod canary;
mod evidence;
mod journal;
mod support;
mod triggers;
mod versions;
