//! What was recorded within a span of time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was recorded of one series within a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowSummary {
    /// Of a counter.
    Counter {
        /// How many events there were.
        events: u64,
        /// How many a second.
        #[serde(with = "mlp_core::exact")]
        per_second: f64,
    },
    /// Of a gauge: its values at the ends of the windows.
    Gauge {
        /// The last one.
        #[serde(with = "mlp_core::exact")]
        last: f64,
        /// The least.
        #[serde(with = "mlp_core::exact")]
        min: f64,
        /// The greatest.
        #[serde(with = "mlp_core::exact")]
        max: f64,
        /// The mean.
        #[serde(with = "mlp_core::exact")]
        mean: f64,
    },
    /// Of a share.
    Share {
        /// How many events there were.
        events: u64,
        /// Of how many.
        trials: u64,
    },
    /// Of latencies.
    Latency(LatencySummary),
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencySummary {
    /// How many there were.
    pub count: u64,
    /// The mean.
    pub mean: Duration,
    /// Half took at most so long.
    pub p50: Duration,
    /// 90 % took at most so long.
    pub p90: Duration,
    /// 99 % took at most so long.
    pub p99: Duration,
    /// 99.9 % took at most so long.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

/// Latencies of one or several windows: each value with how often it occurred.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Latencies {
    /// In ascending order.
    counts: Vec<(u64, u64)>,
    sum: u128,
}

impl Latencies {
    pub(super) fn add(&mut self, nanos: u64, count: u64) {
        match self.counts.binary_search_by_key(&nanos, |(value, _)| *value) {
            Ok(at) => self.counts[at].1 += count,
            Err(at) => self.counts.insert(at, (nanos, count)),
        }
    }

    pub(super) fn add_sum(&mut self, nanos: u128) {
        self.sum += nanos;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(nanos, count)| self.add(*nanos, *count));
        self.sum += other.sum;
    }

    pub(super) fn summary(&self) -> Option<LatencySummary> {
        let count: u64 = self.counts.iter().map(|(_, count)| count).sum();
        let (max, _) = self.counts.last()?;
        let mean = u64::try_from(self.sum / u128::from(count)).unwrap_or(u64::MAX);
        let at = |share: f64| {
            let rank = ((count as f64 * share).ceil() as u64).clamp(1, count);
            let mut below = 0;
            let found = self.counts.iter().find(|(_, count)| {
                below += count;
                below >= rank
            });
            Duration::from_nanos(found.map_or(*max, |(nanos, _)| *nanos))
        };
        Some(LatencySummary {
            count,
            mean: Duration::from_nanos(mean),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_nanos(*max),
        })
    }
}
