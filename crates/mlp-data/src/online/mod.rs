//! Feature values by entity and time: what is known now, and what was known then.

mod memory;
mod store;
pub mod testing;

pub use memory::MemoryOnlineStore;
pub use store::{
    Event, Found, Knowledge, OnlineOptions, OnlineStore, OnlineStoreExt, TrainingRows,
};
