//! What can go wrong in a store, whichever backend stands behind it.

use std::borrow::Cow;
use std::error::Error;

/// A store refused or could not do what was asked. No driver's type is public: every backend answers with these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such thing.
    #[error("{what} {id:?} is not in the store")]
    NotFound {
        /// The kind of thing: "evaluation", "record".
        what: &'static str,
        /// Its name or id.
        id: String,
    },
    /// The write contradicts what is there.
    #[error("{what} {id:?} conflicts: {reason}")]
    Conflict {
        /// The kind of thing.
        what: &'static str,
        /// Its name or id.
        id: String,
        /// What it contradicts.
        reason: String,
    },
    /// The request makes no sense.
    #[error("{field} is invalid: {reason}")]
    Invalid {
        /// The part of the request.
        field: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// Somebody else holds the store; trying again later may succeed.
    #[error("the store is busy: {reason}")]
    Busy {
        /// Who or what holds it.
        reason: String,
    },
    /// A documented bound was reached.
    #[error("{what} is over its limit: {given} of at most {limit}")]
    LimitExceeded {
        /// What is bounded.
        what: Cow<'static, str>,
        /// How much was given.
        given: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The disk or quota is full. Nothing was acknowledged; reads go on.
    #[error("the storage is full")]
    StorageFull,
    /// What is stored is damaged.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// What is damaged.
        what: String,
        /// How that was seen.
        reason: String,
    },
    /// A later version of the library wrote this store.
    #[error(
        "the store has schema {found}, this library reads up to {supported}; it is left as it is: open it with a later version of the library"
    )]
    NewerSchema {
        /// The schema found.
        found: u64,
        /// The newest schema this library knows.
        supported: u64,
    },
    /// The store was closed, or closed itself after a write that may not be durable.
    #[error("the store is closed")]
    Closed,
    /// The backend failed in a way of its own.
    #[error("the storage backend failed")]
    Backend {
        /// The backend's own error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// There is no such thing.
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// The write contradicts what is there.
    pub fn conflict(what: &'static str, id: impl ToString, reason: impl Into<String>) -> Self {
        Self::Conflict { what, id: id.to_string(), reason: reason.into() }
    }

    /// A documented bound was reached.
    pub fn limit_exceeded(what: impl Into<Cow<'static, str>>, given: u64, limit: u64) -> Self {
        Self::LimitExceeded { what: what.into(), given, limit }
    }

    /// The request makes no sense.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// The backend failed in a way of its own.
    pub fn backend(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Backend { source: source.into() }
    }
}
