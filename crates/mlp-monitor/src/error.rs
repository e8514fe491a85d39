//! What can go wrong in monitoring.

use mlp_core::StoreError;
use mlp_stats::StatsError;

/// A monitor could not be set up or fed: which part, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// A setting is out of its range.
    #[error("{name} is {given}, it must be {allowed}")]
    Setting {
        /// The setting.
        name: String,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A rule or an alert does not say what to do about it.
    #[error("{what} {name:?} has no runbook URL: it must say what to do about it")]
    NoRunbook {
        /// A rule or an alert.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Two things have the same name.
    #[error("there are two {what} called {name:?}")]
    Duplicate {
        /// The kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that nothing has.
    #[error("there is no {what} {name:?}")]
    Unknown {
        /// The kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A documented bound was reached.
    #[error("{what}: {limit} are held, the most there may be")]
    LimitExceeded {
        /// What is bounded.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Two lengths or shapes that must agree do not.
    #[error("{what}: {given} given, {expected} expected")]
    Length {
        /// What was counted.
        what: String,
        /// How many there are.
        given: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A statistic could not be set up.
    #[error("a statistic was set up wrongly")]
    Stats(#[from] StatsError),
    /// Data could not be checked.
    #[error("the data could not be checked")]
    Data(#[from] mlp_data::Error),
    /// A table of rules could not be read.
    #[error("the table of rules could not be read")]
    RuleText {
        /// What is wrong with the file or its text.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system gave no thread.
    #[error("no thread could be started")]
    Thread {
        /// What the system says.
        source: std::io::Error,
    },
    /// The state of alerts could not be kept or read.
    #[error("the store of alert state failed")]
    Store(#[from] StoreError),
}

impl MonitorError {
    pub(crate) fn setting(
        name: impl Into<String>,
        given: impl ToString,
        allowed: &'static str,
    ) -> Self {
        Self::Setting { name: name.into(), given: given.to_string(), allowed }
    }
}

/// The result of monitoring calls.
pub type Result<T> = std::result::Result<T, MonitorError>;
