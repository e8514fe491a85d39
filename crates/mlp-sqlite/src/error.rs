//! What SQLite says, as errors of the library.

use mlp_core::StoreError;
use rusqlite::ErrorCode;

/// A shorthand for functions that talk to SQLite and to nobody else.
pub(crate) type Sql<T> = rusqlite::Result<T>;

pub(crate) fn store(error: rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else { return StoreError::backend(error) };
    match code {
        ErrorCode::DiskFull => StoreError::StorageFull,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            StoreError::Busy { reason: error.to_string() }
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            StoreError::Corrupt { what: "the database file".to_owned(), reason: error.to_string() }
        }
        _ => StoreError::backend(error),
    }
}

/// Whether the disk itself failed, so that the connection must not be used any more.
pub(crate) fn is_disk_fault(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
        )
    )
}

pub(crate) fn corrupt(what: impl Into<String>, reason: impl Into<String>) -> StoreError {
    StoreError::Corrupt { what: what.into(), reason: reason.into() }
}
