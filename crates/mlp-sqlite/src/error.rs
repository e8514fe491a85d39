//! What SQLite says, as errors of the library.

use mlp_core::StoreError;
use rusqlite::ErrorCode;

/// A shorthand for functions that talk to SQLite and to nobody else.
pub(crate) type Sql<T> = rusqlite::Result<T>;

pub(crate) fn store(error: rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else {
        // A value that is not of the type of its column was not written by this library.
        return match error {
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => corrupt("a record", error.to_string()),
            error => StoreError::backend(error),
        };
    };
    let is_cut = error.sqlite_error().map(|error| error.extended_code)
        == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ);
    match code {
        _ if is_cut => corrupt("the database file", "it ends before its last page"),
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

/// As [`is_disk_fault`], of an error that was made of SQLite's.
pub(crate) fn is_broken(error: &StoreError) -> bool {
    let source = std::error::Error::source(error);
    source.and_then(|source| source.downcast_ref()).is_some_and(is_disk_fault)
}

/// An error for everybody who is concerned by it; the source of one from SQLite remains as its text.
pub(crate) fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Busy { reason } => StoreError::Busy { reason: reason.clone() },
        StoreError::StorageFull => StoreError::StorageFull,
        StoreError::Corrupt { what, reason } => corrupt(what, reason),
        StoreError::NewerSchema { found, supported } => {
            StoreError::NewerSchema { found: *found, supported: *supported }
        }
        StoreError::Invalid { field, reason } => StoreError::invalid(field, reason),
        error => {
            let source = std::error::Error::source(error);
            let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
            StoreError::backend(std::io::Error::other(reason))
        }
    }
}

pub(crate) fn corrupt(what: impl Into<String>, reason: impl Into<String>) -> StoreError {
    StoreError::Corrupt { what: what.into(), reason: reason.into() }
}
