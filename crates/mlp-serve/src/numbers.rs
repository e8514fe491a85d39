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
    /// The name of the model, as the options give it.
    pub model: String,
    /// Requests that reached no version, and that no router hears of: the server drained, no version was ready, or the router panicked.
    pub turned_away: u64,
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
    /// Requests that were accepted and whose answer did not come in time, whether the model saw them or not.
    pub timed_out: u64,
    /// Requests that were not accepted (invalid, too many, or their deadline had passed when they came), and accepted ones that nobody wanted or could
    /// answer any more before there was an answer (cancelled, even while the model ran; drained).
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
    /// The version it belongs to; none if it is the server's.
    pub version: Option<VersionNumber>,
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
        let own = Sample {
            name: "mlp_serve_turned_away_total",
            model: Arc::from(&*self.model),
            version: None,
            quantile: None,
            value: self.turned_away as f64,
        };
        std::iter::once(own).chain(self.versions.iter().flat_map(VersionNumbers::samples)).collect()
    }
}

impl VersionNumbers {
    fn samples(&self) -> Vec<Sample> {
        let version = Some(self.version);
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
/// Values below twice this have a bucket each, and each doubling beyond them has so many: two significant digits, as hdrhistogram lays them out.
const STEPS: usize = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = bucket(LARGEST) + 1;

/// The bucket of a value. The first doubling that shares buckets between values has `2 · STEPS` of them before it.
const fn bucket(value: u64) -> usize {
    let doublings = (64 - STEP_BITS - 1).saturating_sub((value | 1).leading_zeros());
    doublings as usize * STEPS + (value >> doublings) as usize
}

/// The least value of a bucket.
fn least(bucket: usize) -> u64 {
    let doublings = (bucket / STEPS).saturating_sub(1);
    ((bucket - doublings * STEPS) as u64) << doublings
}

/// Counts values in about 36 kB of buckets that are right to two significant digits. It is written on the path of every request and read seldom, so it
/// becomes a histogram only when it is read.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    buckets: Box<[u64; BUCKETS]>,
    sum: u64,
}

impl Counted {
    pub(crate) fn new() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), sum: 0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: u64) {
        self.add_many(value, 1);
    }

    /// Adds a value several times.
    #[inline]
    pub(crate) fn add_many(&mut self, value: u64, times: u64) {
        let bucket = bucket(value).min(BUCKETS - 1);
        self.buckets[bucket] = self.buckets[bucket].saturating_add(times);
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// Adds what another one has counted.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *count = count.saturating_add(*more);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds a span, in nanoseconds.
    #[inline]
    pub(crate) fn add_span(&mut self, span: Duration) {
        let nanos = span.as_secs().saturating_mul(1_000_000_000);
        self.add(nanos.saturating_add(u64::from(span.subsec_nanos())));
    }

    fn histogram(&self) -> Histogram<u64> {
        // The bounds and the two digits are within the range that the library takes, so there is no error to meet.
        let mut histogram = Histogram::new_with_bounds(1, LARGEST, 2)
            .unwrap_or_else(|error| unreachable!("constant bounds: {error}"));
        for (bucket, &count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(least(bucket), count);
        }
        histogram
    }

    /// The distribution, each value multiplied by `unit`.
    pub(crate) fn distribution(&self, unit: f64) -> Distribution {
        let histogram = self.histogram();
        if histogram.is_empty() {
            return Distribution::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 * unit;
        let (count, sum) = (histogram.len(), self.sum as f64 * unit);
        Distribution {
            count,
            sum,
            mean: sum / count as f64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 * unit,
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

    #[test]
    fn every_value_has_the_bucket_that_hdrhistogram_gives_it() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, LARGEST, 2).unwrap();
        let powers = (0..42).map(|power| 1_u64 << power);
        let values = (0..2_000).chain(powers.flat_map(|it| [it - 1, it, it + 1, it + it / 3]));
        for value in values.chain([LARGEST - 1, LARGEST]) {
            let (start, end) = (least(bucket(value)), least(bucket(value) + 1) - 1);
            assert!((start..=end).contains(&value), "{value} is not in {start} to {end}");
            assert_eq!(start, histogram.lowest_equivalent(value));
            assert_eq!(end, histogram.highest_equivalent(value));
        }
        let mut counted = Counted::new();
        for value in [0, 3, 300, 70_000, 70_001, LARGEST, u64::MAX] {
            counted.add(value);
            histogram.saturating_record(value);
        }
        assert_eq!(counted.histogram(), histogram);
        assert_eq!(counted.count(), 7);
    }
}
