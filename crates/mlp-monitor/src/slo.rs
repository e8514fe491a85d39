//! Service-level objectives: how fast an error budget burns.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use mlp_core::Severity;
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Bad events, of all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventCounts {
    /// Those that were bad.
    pub bad: u64,
    /// All of them.
    pub total: u64,
}

/// The share of events that must be good, over a period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SloFields")]
pub struct Slo {
    objective: f64,
    #[serde(with = "span")]
    period: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SloFields {
    objective: f64,
    #[serde(with = "span")]
    period: Duration,
}

impl TryFrom<SloFields> for Slo {
    type Error = MonitorError;

    fn try_from(fields: SloFields) -> Result<Self> {
        Self::new(fields.objective, fields.period)
    }
}

/// An alert on the burn rate: it fires when the budget burns faster than `threshold` over a long and over a short window.
///
/// The long window says that it matters, the short one that it still goes on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BurnRateTier {
    /// The window in which the burn must be visible.
    #[serde(with = "span")]
    pub long: Duration,
    /// The window in which it must still go on.
    #[serde(with = "span")]
    pub short: Duration,
    /// How many times faster than the budget allows.
    pub threshold: f64,
    /// How urgent that is.
    pub severity: Severity,
    /// How many bad events the long window must have: one error in ten requests at night is no incident.
    #[serde(default)]
    pub minimum_bad: u64,
}

impl BurnRateTier {
    /// A tier that fires at any number of bad events.
    #[must_use]
    pub const fn new(long: Duration, short: Duration, threshold: f64, severity: Severity) -> Self {
        Self { long, short, threshold, severity, minimum_bad: 0 }
    }

    /// Sets how many bad events the long window must have.
    #[must_use]
    pub const fn with_minimum_bad(mut self, events: u64) -> Self {
        self.minimum_bad = events;
        self
    }

    /// The tiers of the SRE workbook (chapter 5, "Alerting on SLOs") for a budget of 30 days: 2 % of it within an hour and 5 % within six
    /// hours page, 10 % within three days is a ticket. Each wants at least 10 bad events.
    #[must_use]
    pub const fn workbook() -> [Self; 3] {
        [
            Self::new(HOUR, Duration::from_secs(5 * 60), 14.4, Severity::P0).with_minimum_bad(10),
            Self::new(
                Duration::from_secs(6 * 3_600),
                Duration::from_secs(30 * 60),
                6.0,
                Severity::P0,
            )
            .with_minimum_bad(10),
            Self::new(
                Duration::from_secs(72 * 3_600),
                Duration::from_secs(6 * 3_600),
                1.0,
                Severity::P2,
            )
            .with_minimum_bad(10),
        ]
    }

    /// Whether the burn is so fast in both windows. Equal to the threshold is not.
    #[must_use]
    pub fn fires(&self, slo: &Slo, long: EventCounts, short: EventCounts) -> bool {
        long.bad >= self.minimum_bad
            && slo.burn_rate(long) > self.threshold
            && slo.burn_rate(short) > self.threshold
    }
}

impl Slo {
    /// An objective, such as 0.999, over a period, such as 30 days.
    ///
    /// # Errors
    /// If the objective is not between 0 and 1, or the period is shorter than a minute.
    pub fn new(objective: f64, period: Duration) -> Result<Self> {
        if objective <= 0.0 || objective >= 1.0 || objective.is_nan() {
            return Err(MonitorError::setting("objective", objective, "above 0 and below 1"));
        }
        if period < MINUTE {
            return Err(MonitorError::setting(
                "period",
                format!("{period:?}"),
                "at least a minute",
            ));
        }
        Ok(Self { objective, period })
    }

    /// The share of events that must be good.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.objective
    }

    /// The period of the budget.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// How many times faster than allowed the budget burns: 1 uses it up exactly at the end of the period. Without events it is 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn burn_rate(&self, events: EventCounts) -> f64 {
        match events.total {
            0 => 0.0,
            total => events.bad as f64 / total as f64 / (1.0 - self.objective),
        }
    }

    /// The share of the period's error budget that is left after these events; below 0 when it is overdrawn, 1 without events.
    #[must_use]
    pub fn budget_left(&self, events: EventCounts) -> f64 {
        1.0 - self.burn_rate(events)
    }

    /// The burn rate that uses this share of the budget within a window.
    #[must_use]
    pub fn threshold(&self, budget_share: f64, window: Duration) -> f64 {
        budget_share * self.period.as_secs_f64() / window.as_secs_f64()
    }
}
