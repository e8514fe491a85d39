//! The crate from outside: the contract on the store in memory and on a wrapper, comparison and gates.

mod contract;
mod decisions;
