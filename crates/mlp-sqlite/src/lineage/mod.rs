//! The lineage store and the model registry of `mlp-lineage`.

mod chain;
mod proof;
mod registry;
#[cfg(test)]
mod tests;

use mlp_core::{StoreError, Timestamp, VersionNumber};
use mlp_lineage::{Event, Head, Record};
use rusqlite::types::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::database::Database;
use crate::error::{corrupt, store};
use crate::records;
use crate::verify::Checked;

pub(crate) use proof::verify;

impl Database {
    /// Appends a record to the chain and registers it as the next version of its model, both or neither.
    ///
    /// # Errors
    /// As [`LineageStore::append`](mlp_lineage::LineageStore::append).
    pub fn record_version(
        &self,
        record: Record,
        at: Timestamp,
    ) -> Result<(Head, VersionNumber), StoreError> {
        self.write(move |session| {
            let head = chain::append(session, &Event::Recorded(Box::new(record.clone())))?;
            let version = registry::register(session, &record.model, record.id, at)?;
            Ok((head, version))
        })
    }
}

/// Every table of these stores, for verification.
pub(crate) fn tables() -> Vec<Checked> {
    chain::TABLES.iter().chain(registry::TABLES).map(|table| records::checked(table)).collect()
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::backend)
}

/// Reads a column of JSON.
fn from_json<T: DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
    what: &str,
) -> Result<T, StoreError> {
    let json: String = row.get(column).map_err(store)?;
    serde_json::from_str(&json).map_err(|error| corrupt(what, error.to_string()))
}
