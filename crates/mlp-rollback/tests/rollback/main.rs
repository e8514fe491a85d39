//! The tests of the whole crate, in one binary.

mod allocation;
mod canary;
mod evidence;
mod journal;
mod power;
mod state_machine;
mod support;
mod system_calls;
mod triggers;
mod versions;
