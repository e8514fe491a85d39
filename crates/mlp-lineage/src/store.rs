//! Where records are kept.

use std::fmt::Debug;

use mlp_core::{ModelName, RecordId, StoreError, VersionNumber};

use crate::record::{Description, Record};

/// Keeps lineage records.
///
/// # Contract
///
/// * A record that was returned is kept, and never changes; there is no way to alter or remove one.
/// * Records form one chain: each carries the hash of the one before, and its sequence is one more.
/// * A model version is described once; a second description is a conflict, and writes nothing.
pub trait LineageStore: Debug + Send + Sync {
    /// Adds a record at the end of the chain.
    ///
    /// # Errors
    /// If the version is described already, or the store fails.
    fn append(&self, description: Description) -> Result<Record, StoreError>;

    /// The record with this identity.
    ///
    /// # Errors
    /// If there is none.
    fn get(&self, id: RecordId) -> Result<Record, StoreError>;

    /// The record of a model version.
    ///
    /// # Errors
    /// If there is none.
    fn of_version(&self, model: &ModelName, version: VersionNumber) -> Result<Record, StoreError>;

    /// All records, in the order of the chain.
    ///
    /// # Errors
    /// If the store fails.
    fn records(&self) -> Result<Vec<Record>, StoreError>;
}
