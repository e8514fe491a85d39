//! How much a server does, and how fast.

use hdrhistogram::Histogram;
use mlp_core::VersionNumber;
use serde::{Deserialize, Serialize};

use std::sync::Arc;
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
    /// The name of the model, as the options give it.
    pub model: String,
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
    /// Of the cached ones, those whose answer was remembered.
    pub cache_hits: u64,
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
    /// Attempts to build a replica anew that came to nothing.
    pub failed_restarts: u64,
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

/// How a quantity is distributed: quantiles and the largest value to two significant digits, the sum and the mean exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Distribution {
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
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
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// `mlp_serve_…`, with its unit.
    pub name: &'static str,
    /// The name of the model it belongs to.
    pub model: Arc<str>,
    /// The version it belongs to.
    pub version: VersionNumber,
    /// Which quantile it is, if it is one.
    pub quantile: Option<f64>,
    /// The number.
    pub value: f64,
}

impl Numbers {
    /// All numbers under their names for export: counters end in `_total`, times are in seconds. A distribution has four quantiles under its name, and
    /// `_sum`, `_count`, `_mean` and `_max`.
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
            ("mlp_serve_cache_hits_total", self.cache_hits),
            ("mlp_serve_cache_misses_total", self.cache_misses),
            ("mlp_serve_cache_evictions_total", self.cache_evictions),
            ("mlp_serve_cache_entries", self.cache_entries),
            ("mlp_serve_mirrored_total", self.mirrored),
            ("mlp_serve_mirrors_left_out_total", self.mirrors_left_out),
            ("mlp_serve_batches_total", self.batches),
            ("mlp_serve_panics_total", self.panics),
            ("mlp_serve_restarts_total", self.restarts),
            ("mlp_serve_failed_restarts_total", self.failed_restarts),
            ("mlp_serve_stuck_total", self.stuck),
            ("mlp_serve_listener_panics_total", self.listener_panics),
            ("mlp_serve_queue_rows", self.queue_rows),
            ("mlp_serve_in_flight", self.in_flight),
        ];
        let model: Arc<str> = Arc::from(&*self.model);
        let sample = |name, quantile, value| {
            let model = Arc::clone(&model);
            Sample { name, model, version, quantile, value }
        };
        let mut samples: Vec<_> =
            counts.into_iter().map(|(name, count)| sample(name, None, count as f64)).collect();
        macro_rules! distribution {
            ($name:literal, $it:expr) => {
                let it: Distribution = $it;
                let quantiles = [(0.5, it.p50), (0.9, it.p90), (0.99, it.p99), (0.999, it.p999)];
                let of = |(quantile, value)| sample($name, Some(quantile), value);
                samples.extend(quantiles.map(of));
                samples.extend([
                    sample(concat!($name, "_sum"), None, it.sum),
                    sample(concat!($name, "_count"), None, it.count as f64),
                    sample(concat!($name, "_mean"), None, it.mean),
                    sample(concat!($name, "_max"), None, it.max),
                ]);
            };
        }
        distribution!("mlp_serve_request_seconds", self.request_seconds);
        distribution!("mlp_serve_queue_seconds", self.queue_seconds);
        distribution!("mlp_serve_predict_seconds", self.predict_seconds);
        distribution!("mlp_serve_batch_rows", self.batch_rows);
        samples
    }
}

/// The largest value that is told from larger ones: an hour in nanoseconds.
const LARGEST: u64 = 3_600_000_000_000;

/// Counts values in about 36 kB of buckets that are right to two significant digits.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    histogram: Histogram<u64>,
    sum: u64,
}

impl Counted {
    pub(crate) fn new() -> Self {
        // The bounds and the two digits are within the range that the library takes, so there is no error to meet.
        let histogram = Histogram::new_with_bounds(1, LARGEST, 2)
            .unwrap_or_else(|error| unreachable!("constant bounds: {error}"));
        Self { histogram, sum: 0 }
    }

    pub(crate) fn add(&mut self, value: u64) {
        self.histogram.saturating_record(value);
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds a value several times.
    pub(crate) fn add_many(&mut self, value: u64, times: u64) {
        self.histogram.saturating_record_n(value, times);
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// Adds what another one has counted.
    pub(crate) fn add_all(&mut self, other: &Self) {
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok(), "both have the same bounds");
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Adds a span, in nanoseconds.
    pub(crate) fn add_span(&mut self, span: Duration) {
        self.add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The distribution, each value multiplied by `unit`.
    pub(crate) fn distribution(&self, unit: f64) -> Distribution {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 * unit;
        if self.histogram.is_empty() {
            return Distribution::default();
        }
        let (count, sum) = (self.histogram.len(), self.sum as f64 * unit);
        Distribution {
            count,
            sum,
            mean: sum / count as f64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.histogram.max() as f64 * unit,
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
        assert!((spans.sum - 0.5005).abs() < 1e-12 && (spans.mean - 500.5e-6).abs() < 1e-15);
        for (found, expected) in
            [(spans.p50, 500e-6), (spans.p99, 990e-6), (spans.max, 1e-3), (spans.mean, 500.5e-6)]
        {
            assert!((found / expected - 1.0).abs() < 0.02, "{found} is not {expected}");
        }
    }
}
