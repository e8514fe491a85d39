//! What is asked besides the input, and what is answered.

use std::time::Duration;

use mlp_core::{PredictionId, RequestKey, Role, VersionNumber};
use serde::{Deserialize, Serialize};

/// Which requests are taken from the queue first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After all others: work that can wait.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// What a router and a queue may know of a request besides its input.
///
/// ```
/// use mlp_serve::Request;
/// use std::time::Duration;
///
/// let request = Request::new().with_unit("customer 7").with_timeout(Duration::from_millis(20));
/// assert_eq!(request.unit, Some("customer 7"));
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The number that an anonymous request is drawn by. Default: the server counts.
    pub sequence: Option<u64>,
    /// Who asks: the same one gets the same version for as long as shares allow.
    pub unit: Option<&'a str>,
    /// What is known of who asks, for the router's rules.
    pub attributes: &'a [(&'a str, &'a str)],
    /// The version that must answer.
    pub pin: Option<VersionNumber>,
    /// How long the answer may take. Default: as the server's options say.
    pub timeout: Option<Duration>,
    /// Which requests are taken from the queue first.
    pub priority: Priority,
}

impl<'a> Request<'a> {
    /// An anonymous request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the request its number.
    #[must_use]
    pub fn with_sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// Names who asks.
    #[must_use]
    pub fn with_unit(mut self, unit: &'a str) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Tells what is known of who asks.
    #[must_use]
    pub fn with_attributes(mut self, attributes: &'a [(&'a str, &'a str)]) -> Self {
        self.attributes = attributes;
        self
    }

    /// Insists on a version.
    #[must_use]
    pub fn with_pin(mut self, version: VersionNumber) -> Self {
        self.pin = Some(version);
        self
    }

    /// Sets how long the answer may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    pub(crate) fn key(&self, sequence: u64) -> RequestKey<'a> {
        let mut key = RequestKey::new(sequence).with_attributes(self.attributes);
        key.unit = self.unit;
        key.pin = self.pin;
        key
    }
}

/// An answer, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer<O> {
    /// What the model says.
    pub output: O,
    /// The version that said it.
    pub version: VersionNumber,
    /// Its role in this request.
    pub role: Role,
    /// The replica that computed it, counted from 0 within its version.
    pub replica: usize,
    /// Whether it was remembered or shared with an identical request, instead of computed for this one.
    pub cached: bool,
    /// By what the true outcome can be joined later.
    pub id: PredictionId,
    /// From entering the server to the answer.
    pub latency: Duration,
}
