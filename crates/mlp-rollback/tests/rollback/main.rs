//! The tests of the whole crate, in one binary.

mod canary;
mod evidence;
mod support;
mod versions;
