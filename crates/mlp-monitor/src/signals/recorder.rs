//! What threads record into: spread over places of their own, so that they do not wait for each other.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// How many places there are; more threads share them.
pub(crate) const PLACES: usize = 16;
/// The longest latency that is told apart: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// The digits of a latency that are kept: a quantile is off by at most 1 %.
const DIGITS: u8 = 2;

/// Which place the present thread records at.
pub(crate) fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    PLACE.with(|place| {
        if place.get() == usize::MAX {
            place.set(NEXT.fetch_add(1, Ordering::Relaxed) % PLACES);
        }
        place.get()
    })
}

/// Two cache lines, which processors fetch together: neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

/// A number of events, which only grows. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<[Apart<AtomicU64>; PLACES]>);

impl Counter {
    /// Counts so many events.
    pub fn add(&self, events: u64) {
        self.0[place()].0.fetch_add(events, Ordering::Relaxed);
    }

    /// How many have been counted since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        let counts = self.0.iter().map(|place| place.0.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

/// A value that goes up and down. Cloning it shares it.
#[derive(Debug, Clone)]
pub struct Gauge(Arc<AtomicU64>);

impl Default for Gauge {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }
}

impl Gauge {
    /// Sets the value. NaN is no data.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The value last set; NaN before the first.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// The distribution of how long something takes, within 1 %, from a nanosecond to an hour. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct Latency(Arc<[Apart<Mutex<Recent>>; PLACES]>);

/// What one place has recorded since it was last collected.
#[derive(Debug, Default)]
struct Recent {
    /// None before the first value: most places of most series are never used.
    histogram: Option<Histogram<u32>>,
    sum: u128,
}

impl Latency {
    /// Records how long something took; more than an hour counts as an hour.
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let mut recent = self.0[place()].0.lock();
        let histogram = recent.histogram.get_or_insert_with(histogram);
        histogram.saturating_record(nanos.max(1));
        recent.sum += u128::from(nanos);
    }

    /// Takes out everything recorded since the last time: each value that is told apart (the least and the greatest that are taken as one) with
    /// how often it occurred, and the sum in nanoseconds.
    pub(super) fn collect(&self, mut each: impl FnMut(u64, u64, u64)) -> u128 {
        let mut sum = 0;
        for place in self.0.iter() {
            let mut recent = place.0.lock();
            sum += std::mem::take(&mut recent.sum);
            let Some(histogram) = recent.histogram.as_mut().filter(|h| !h.is_empty()) else {
                continue;
            };
            for value in histogram.iter_recorded() {
                let greatest = value.value_iterated_to();
                let least = histogram.lowest_equivalent(greatest);
                each(least, greatest, value.count_since_last_iteration());
            }
            histogram.reset();
        }
        sum
    }
}

fn histogram() -> Histogram<u32> {
    match Histogram::new_with_bounds(1, LONGEST, DIGITS) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants that suit"),
    }
}
