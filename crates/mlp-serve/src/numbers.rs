//! How much a server does, and how fast.

use hdrhistogram::Histogram;
use mlp_core::VersionNumber;
use serde::{Deserialize, Serialize};

use std::time::Duration;

/// What the versions of a server have done so far, and what is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Numbers {
    /// By version number, those on their way out among them.
    pub versions: Vec<VersionNumbers>,
}

/// What one version has done so far. Each request counts in exactly one of `answered`, `cached`, `failed`, `timed_out` and `refused`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionNumbers {
    /// The version.
    pub version: VersionNumber,
    /// Requests that the model answered.
    pub answered: u64,
    /// Requests answered from the cache, or with the answer of an identical request.
    pub cached: u64,
    /// Requests on which the model failed or panicked.
    pub failed: u64,
    /// Requests whose answer did not come in time.
    pub timed_out: u64,
    /// Requests refused before the model saw them: invalid, too many, draining, cancelled.
    pub refused: u64,
    /// Of the cached ones, those that shared the answer of an identical request under way.
    pub coalesced: u64,
    /// Look-ups that found nothing.
    pub cache_misses: u64,
    /// Remembered answers that made room for others.
    pub cache_evictions: u64,
    /// Answers that are remembered now.
    pub cache_entries: u64,
    /// Copies that the version saw as a shadow.
    pub mirrored: u64,
    /// Copies that found no place in its queue.
    pub mirrors_left_out: u64,
    /// Batches that were run.
    pub batches: u64,
    /// Calls in which the model panicked.
    pub panics: u64,
    /// Replicas that were built anew, because they failed or panicked.
    pub restarts: u64,
    /// Replicas that were given up, because they did not come back from the model.
    pub stuck: u64,
    /// Calls in which a router or a log panicked.
    pub listener_panics: u64,
    /// Rows that wait now.
    pub queue_rows: u64,
    /// Requests that wait or run now.
    pub in_flight: u64,
    /// From entering the server to the answer, in seconds, over all requests.
    pub request_seconds: Distribution,
    /// From entering the server to a replica, in seconds, over those that waited for one.
    pub queue_seconds: Distribution,
    /// Of a batch on its replica, in seconds.
    pub predict_seconds: Distribution,
    /// The rows of a batch.
    pub batch_rows: Distribution,
}

/// How a quantity is distributed: to two significant digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Distribution {
    /// How many values there were.
    pub count: u64,
    /// Their mean; 0 if there were none, as with all that follow.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// 999 of 1,000 are at most this.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

/// One number under its name for export.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// `mlp_serve_…`, with its unit.
    pub name: &'static str,
    /// The version it belongs to.
    pub version: VersionNumber,
    /// Which quantile it is, if it is one.
    pub quantile: Option<f64>,
    /// The number.
    pub value: f64,
}

impl Numbers {
    /// All numbers under their names for export: counters end in `_total`, times are in seconds.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.versions.iter().flat_map(VersionNumbers::samples).collect()
    }
}

impl VersionNumbers {
    fn samples(&self) -> Vec<Sample> {
        let version = self.version;
        let counts = [
            ("mlp_serve_answered_total", self.answered),
            ("mlp_serve_cached_total", self.cached),
            ("mlp_serve_failed_total", self.failed),
            ("mlp_serve_timed_out_total", self.timed_out),
            ("mlp_serve_refused_total", self.refused),
            ("mlp_serve_coalesced_total", self.coalesced),
            ("mlp_serve_cache_misses_total", self.cache_misses),
            ("mlp_serve_cache_evictions_total", self.cache_evictions),
            ("mlp_serve_cache_entries", self.cache_entries),
            ("mlp_serve_mirrored_total", self.mirrored),
            ("mlp_serve_mirrors_left_out_total", self.mirrors_left_out),
            ("mlp_serve_batches_total", self.batches),
            ("mlp_serve_panics_total", self.panics),
            ("mlp_serve_restarts_total", self.restarts),
            ("mlp_serve_stuck_total", self.stuck),
            ("mlp_serve_listener_panics_total", self.listener_panics),
            ("mlp_serve_queue_rows", self.queue_rows),
            ("mlp_serve_in_flight", self.in_flight),
        ];
        let distributions = [
            ("mlp_serve_request_seconds", self.request_seconds),
            ("mlp_serve_queue_seconds", self.queue_seconds),
            ("mlp_serve_predict_seconds", self.predict_seconds),
            ("mlp_serve_batch_rows", self.batch_rows),
        ];
        let counts = counts.map(|(name, count)| Sample {
            name,
            version,
            quantile: None,
            value: count as f64,
        });
        let quantiles = distributions.into_iter().flat_map(|(name, it)| {
            [(0.5, it.p50), (0.9, it.p90), (0.99, it.p99), (0.999, it.p999)]
                .map(|(quantile, value)| Sample { name, version, quantile: Some(quantile), value })
        });
        counts.into_iter().chain(quantiles).collect()
    }
}

/// The largest value that is told from larger ones: an hour in nanoseconds.
const LARGEST: u64 = 3_600_000_000_000;

/// Counts values in about 36 kB of buckets that are right to two significant digits.
#[derive(Debug, Clone)]
pub(crate) struct Counted(Histogram<u64>);

impl Counted {
    pub(crate) fn new() -> Self {
        // The bounds and the two digits are within the range that the library takes, so there is no error to meet.
        Self(
            Histogram::new_with_bounds(1, LARGEST, 2)
                .unwrap_or_else(|error| unreachable!("constant bounds: {error}")),
        )
    }

    pub(crate) fn add(&mut self, value: u64) {
        self.0.saturating_record(value);
    }

    /// Adds a span, in nanoseconds.
    pub(crate) fn add_span(&mut self, span: Duration) {
        self.add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The distribution, each value multiplied by `unit`.
    pub(crate) fn distribution(&self, unit: f64) -> Distribution {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 * unit;
        if self.0.is_empty() {
            return Distribution::default();
        }
        Distribution {
            count: self.0.len(),
            mean: self.0.mean() * unit,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 * unit,
        }
    }
}

/// A nanosecond in seconds.
pub(crate) const NANOSECOND: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_two_digits() {
        let mut counted = Counted::new();
        assert_eq!(counted.distribution(1.0), Distribution::default());
        (1..=1_000).for_each(|micros| counted.add_span(Duration::from_micros(micros)));
        let spans = counted.distribution(NANOSECOND);
        assert_eq!(spans.count, 1_000);
        for (found, expected) in
            [(spans.p50, 500e-6), (spans.p99, 990e-6), (spans.max, 1e-3), (spans.mean, 500.5e-6)]
        {
            assert!((found / expected - 1.0).abs() < 0.02, "{found} is not {expected}");
        }
    }
}
