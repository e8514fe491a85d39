//! The crate from outside: the contract on the store in memory and on a wrapper, decisions, transfer, retention, logging.

mod contract;
mod decisions;
mod keeping;
mod logging;
