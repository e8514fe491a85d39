//! The tests of the whole crate, in one binary.

mod contract;
mod damage;
mod disk;
mod kill;
mod lineage;
mod power;
mod processes;
mod script;
