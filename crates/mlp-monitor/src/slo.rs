//! Service-level objectives: how fast an error budget burns.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use mlp_core::Severity;
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};

mod monitor;

pub use monitor::SloMonitor;

/// A burn rate that exceeds a threshold by less than this share of it is equal to it: both are quotients of rounded doubles.
const ROUNDING: f64 = 1e-9;
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
            && self.excess(slo, long) > 1.0
            && self.excess(slo, short) > 1.0
    }

    /// How many times faster than the threshold the budget burns; exactly 1 if only rounding is between them.
    fn excess(&self, slo: &Slo, events: EventCounts) -> f64 {
        let times = slo.burn_rate(events) / self.threshold;
        if (times - 1.0).abs() <= ROUNDING { 1.0 } else { times }
    }

    fn check(&self) -> Result<()> {
        let longest = Duration::from_secs(3_660 * 24 * 3_600);
        if self.short.is_zero() || self.short > self.long || self.long > longest {
            let given = format!("{:?} and {:?}", self.long, self.short);
            let allowed = "a long one of up to ten years and a short one within it, above 0";
            return Err(MonitorError::setting("windows of a burn rate", given, allowed));
        }
        if !(self.threshold > 0.0 && self.threshold.is_finite()) {
            return Err(MonitorError::setting("threshold", self.threshold, "above 0 and finite"));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burn_rate_equal_to_the_threshold_does_not_fire() {
        let slo = Slo::new(0.9, 30 * 24 * HOUR).unwrap();
        let tier = BurnRateTier::new(HOUR, 5 * MINUTE, 6.0, Severity::P0);
        let of = |bad, total| EventCounts { bad, total };
        // 0.6 of 0.1 is a little more than 6 in doubles.
        assert!(slo.burn_rate(of(60, 100)) > 6.0);
        assert!(!tier.fires(&slo, of(60, 100), of(60, 100)));
        assert!(tier.fires(&slo, of(600_001, 1_000_000), of(61, 100)));
        assert!(!tier.fires(&slo, of(61, 100), of(60, 100)), "it does not go on");
        assert!(!tier.with_minimum_bad(62).fires(&slo, of(61, 100), of(61, 100)), "too few");
    }

    #[test]
    fn the_budget_left_and_the_thresholds_are_those_of_the_workbook() {
        let slo = Slo::new(0.999, 30 * 24 * HOUR).unwrap();
        assert!((slo.budget_left(EventCounts { bad: 250, total: 1_000_000 }) - 0.75).abs() < 1e-9);
        assert!((slo.budget_left(EventCounts { bad: 2_000, total: 1_000_000 }) + 1.0).abs() < 1e-9);
        assert_eq!(slo.budget_left(EventCounts::default()), 1.0);
        // Chapter 5, table 5-8: 2 % in an hour, 5 % in six, 10 % in three days.
        for (tier, share) in BurnRateTier::workbook().iter().zip([0.02, 0.05, 0.1]) {
            assert!((slo.threshold(share, tier.long) - tier.threshold).abs() < 1e-9, "{tier:?}");
        }
        let text = serde_json::to_string(&slo).unwrap();
        assert_eq!(serde_json::from_str::<Slo>(&text).unwrap(), slo);
        assert!(serde_json::from_str::<Slo>(&text.replace("0.999", "1.5")).is_err());
    }
}
