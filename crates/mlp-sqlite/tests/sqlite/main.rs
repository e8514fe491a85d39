//! The tests of the whole crate, in one binary.

mod alerts;
mod contract;
mod damage;
mod disk;
mod kill;
mod lineage;
mod power;
mod processes;
mod script;
