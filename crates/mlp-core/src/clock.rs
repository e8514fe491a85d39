//! Time as an argument: wall time for records, monotonic time for deadlines.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
#[cfg(target_os = "linux")]
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment of wall time, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// Written as RFC 3339 in UTC with six digits of a second, which reads back exactly:
///
/// ```
/// use mlp_core::Timestamp;
///
/// let moment: Timestamp = "2026-11-23T14:57:00.000250Z".parse()?;
/// assert_eq!(moment.to_string(), "2026-11-23T14:57:00.000250Z");
/// assert_eq!(moment.as_micros() % 1_000, 250);
/// # Ok::<(), mlp_core::TimestampError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// A text or number that is no moment between the years -9999 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a timestamp: expected RFC 3339, such as 2026-11-23T14:57:00Z")]
pub struct TimestampError {
    /// What was given.
    pub given: String,
}

impl Timestamp {
    /// The start of 1970 in UTC.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The moment this many microseconds after the start of 1970.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of 1970.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this moment is; zero if it is not after it (wall clocks do run backwards).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(
            u64::try_from(i128::from(self.0) - i128::from(earlier.0)).unwrap_or(0),
        )
    }

    /// The moment this much later; the last representable one if that is out of range.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The moment this much earlier; the first representable one if that is out of range.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment:.6}"),
            Err(_) => write!(f, "{}µs", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // As a moment beyond the years that have a date is written.
        if let Some(micros) = text.strip_suffix("µs").and_then(|micros| micros.parse().ok()) {
            return Ok(Self(micros));
        }
        let moment: jiff::Timestamp =
            text.parse().map_err(|_| TimestampError { given: text.chars().take(80).collect() })?;
        Ok(Self(moment.as_microsecond()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> Self {
        moment.to_string()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self(match moment.duration_since(UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }
}

/// Tells the time.
///
/// Wall time (`now`) goes into records, and may jump in either direction. Monotonic time decides deadlines and windows, and never
/// runs backwards. Whatever depends on time takes a clock, so that a test can hold it still.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The wall time.
    fn now(&self) -> Timestamp;
    /// The time since some fixed moment, which never runs backwards.
    fn monotonic(&self) -> Duration;
}

/// The clock of the machine. Its monotonic time starts when it is made.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Started);

impl SystemClock {
    /// Starts a clock.
    #[must_use]
    pub fn new() -> Self {
        Self(Started::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    #[inline]
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(not(target_os = "linux"))]
use std::time::Instant as Started;

/// As the standard library's `Instant`, from the same clock of the system, with less work between its answer and a span: a server reads it twice a
/// request.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
struct Started(Timespec);

#[cfg(target_os = "linux")]
impl Started {
    #[inline]
    fn now() -> Self {
        Self(clock_gettime(ClockId::Monotonic))
    }

    #[inline]
    fn elapsed(&self) -> Duration {
        span(self.0, Self::now().0)
    }
}

/// From one moment to another; zero if that is earlier.
#[cfg(target_os = "linux")]
#[inline]
fn span(from: Timespec, to: Timespec) -> Duration {
    let (mut seconds, mut nanos) = (to.tv_sec - from.tv_sec, to.tv_nsec - from.tv_nsec);
    if nanos < 0 {
        (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
    }
    u64::try_from(seconds).map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos as u32))
}

/// A clock that stands still until it is told to move.
///
/// ```
/// use mlp_core::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now().to_string(), "1970-01-01T00:01:30.000000Z");
/// clock.set_wall(Timestamp::UNIX_EPOCH); // somebody turns the wall clock back
/// assert_eq!(clock.monotonic(), Duration::from_secs(90));
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// A clock that shows `now`, and zero as its monotonic time.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Moves both times forward.
    pub fn advance(&self, span: Duration) {
        let mut time = self.0.lock();
        *time = (time.0.after(span), time.1.saturating_add(span));
    }

    /// Sets the wall time, in either direction; monotonic time stays.
    pub fn set_wall(&self, now: Timestamp) {
        self.0.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Instant;

    #[test]
    fn a_timestamp_reads_back_to_the_microsecond() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -62_000_000_000_000_000, i64::MAX, i64::MIN]
        {
            let moment = Timestamp::from_micros(micros);
            assert_eq!(moment.to_string().parse(), Ok(moment));
            assert_eq!(
                serde_json::from_str::<Timestamp>(&serde_json::to_string(&moment).unwrap())
                    .unwrap(),
                moment
            );
        }
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn spans_saturate_instead_of_wrapping() {
        let last = Timestamp::from_micros(i64::MAX);
        let first = Timestamp::from_micros(i64::MIN);
        assert_eq!(last.after(Duration::MAX), last);
        assert_eq!(first.before(Duration::MAX), first);
        assert_eq!(first.since(last), Duration::ZERO);
        assert_eq!(last.since(first), Duration::from_micros(u64::MAX));
        assert!(!last.to_string().is_empty());
    }

    #[test]
    fn the_system_clock_moves_forward_with_the_standard_library_s() {
        let before = Instant::now();
        let clock = SystemClock::new();
        let after = Instant::now();
        for _ in 0..1_000 {
            let least = after.elapsed();
            let shown = clock.monotonic();
            assert!((least..=before.elapsed()).contains(&shown), "{shown:?}");
        }
        assert!(clock.now() > "2026-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn no_thread_reads_an_earlier_time_than_it_was_told() {
        let clock = SystemClock::new();
        let (told, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let read = || u64::try_from(clock.monotonic().as_nanos()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    told.store(read(), Ordering::Release);
                }
            });
            let backwards =
                (0..1_000_000).filter(|_| told.load(Ordering::Acquire) > read()).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(backwards, 0);
        });
    }

    #[cfg(target_os = "linux")]
    proptest::proptest! {
        #[test]
        fn a_span_is_exact_to_the_nanosecond_and_never_negative(
            from in (0..9_i64, 0..1_000_000_000_u32), to in (0..9_i64, 0..1_000_000_000_u32),
        ) {
            let moment = |(tv_sec, nanos): (i64, u32)| Timespec { tv_sec, tv_nsec: nanos.into() };
            let nanos = |(seconds, nanos)| seconds * 1_000_000_000 + i64::from(nanos);
            let expected = u64::try_from(nanos(to) - nanos(from)).unwrap_or(0);
            proptest::prop_assert_eq!(span(moment(from), moment(to)), Duration::from_nanos(expected));
        }
    }
}
