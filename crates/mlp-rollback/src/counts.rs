//! What a version did since it took its role: counters that many threads add to without a lock. Only errors and slow requests take one.

use std::time::Duration;

use mlp_core::{Outcome, OutcomeStatus, Reading};
use parking_lot::Mutex;

use crate::sequences::Sequences;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::trigger::Response;

use Ordering::Relaxed;

/// Each doubling has 2⁵ buckets: a latency is known to a thirty-second part.
const PART_BITS: u32 = 5;
const BUCKETS_PER_DOUBLING: u32 = 1 << PART_BITS;
/// A model that tries every order of steps needs few of them.
const BUCKETS: usize = if cfg!(mlp_loom) { 1 } else { 64 * BUCKETS_PER_DOUBLING as usize };

/// Agreements are summed in units of 2⁻²⁰, so that a sum is one atomic addition; exact for a trillion shadows.
const AGREEMENT_UNIT: f64 = 1_048_576.0;

/// Counters of one version in one role.
pub(crate) struct Counts {
    /// The generation in which the version took its role.
    pub(crate) since: u64,
    /// Whether the role is that of the active version.
    pub(crate) of_active: bool,
    requests: AtomicU64,
    errors: AtomicU64,
    /// The errors, and the slow requests since `slow_base`, by when they came.
    errors_in_time: Mutex<Sequences>,
    slow_in_time: Mutex<Sequences>,
    /// The wrong predictions, as a source tells of them.
    wrong_in_time: Mutex<Sequences>,
    agreements: AtomicU64,
    agreement_sum: AtomicU64,
    agreement_squares: AtomicU64,
    /// Requests above this many nanoseconds are slow; `u64::MAX` while no baseline is known.
    slow_above: AtomicU64,
    /// How many requests there were when the baseline became known: they were not judged by it.
    slow_base: AtomicU64,
    latencies: Box<[AtomicU64]>,
    /// Taken out of routing at once, before the rollback is written down.
    tripped: AtomicBool,
    /// How severe the response to the breaches found so far is; zero if there were none.
    decided: AtomicU8,
}

impl Counts {
    pub(crate) fn new(since: u64, slow_above: Option<Duration>, of_active: bool) -> Self {
        Self {
            since,
            of_active,
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            errors_in_time: Mutex::default(),
            slow_in_time: Mutex::default(),
            wrong_in_time: Mutex::default(),
            agreements: AtomicU64::new(0),
            agreement_sum: AtomicU64::new(0),
            agreement_squares: AtomicU64::new(0),
            slow_above: AtomicU64::new(slow_above.map_or(u64::MAX, nanoseconds)),
            slow_base: AtomicU64::new(0),
            latencies: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            tripped: AtomicBool::new(false),
            decided: AtomicU8::new(0),
        }
    }

    /// Counts one outcome; tells whether it was an error or slow, which is when the evidence is worth weighing.
    pub(crate) fn record(&self, outcome: &Outcome) -> bool {
        let latency = nanoseconds(outcome.latency);
        // Requests before errors: whoever reads errors before requests never sees more errors than requests.
        let number = self.requests.fetch_add(1, Relaxed);
        self.latencies[bucket(latency)].fetch_add(1, Relaxed);
        let error = matches!(outcome.status, OutcomeStatus::Failed | OutcomeStatus::TimedOut);
        let slow = latency > self.slow_above.load(Relaxed);
        if error {
            self.errors.fetch_add(1, Ordering::Release);
            self.errors_in_time.lock().note(number);
        }
        if slow {
            let mut slow = self.slow_in_time.lock();
            // A request may have come before the limit was known and have been compared with it all the same.
            slow.note(number.saturating_sub(self.slow_base.load(Relaxed)));
        }
        if let Some(agreement) = outcome.agreement.filter(|value| (0.0..=1.0).contains(value)) {
            self.agreements.fetch_add(1, Relaxed);
            self.agreement_sum.fetch_add((agreement * AGREEMENT_UNIT) as u64, Relaxed);
            let square = (agreement * agreement * AGREEMENT_UNIT) as u64;
            self.agreement_squares.fetch_add(square, Relaxed);
        }
        error || slow
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Errors of requests, never more than those.
    pub(crate) fn errors(&self) -> (u64, u64) {
        let errors = self.errors.load(Ordering::Acquire);
        (errors, self.requests())
    }

    /// The errors by when they came, and how many requests there were.
    pub(crate) fn errors_in_time(&self) -> (Sequences, u64) {
        // Errors before requests, so that there are never more errors.
        let errors = self.errors_in_time.lock().clone();
        (errors, self.requests())
    }

    /// The slow requests by when they came, and of how many requests; none while no baseline is known.
    pub(crate) fn slow_in_time(&self) -> Option<(Sequences, u64)> {
        self.slow_above()?;
        let slow = self.slow_in_time.lock();
        let requests = self.requests().saturating_sub(self.slow_base.load(Relaxed));
        Some((slow.clone(), requests))
    }

    /// The wrong predictions by when they were told of, with what a source says now.
    pub(crate) fn wrong_in_time(&self, events: u64, trials: u64) -> Sequences {
        let mut wrong = self.wrong_in_time.lock();
        wrong.look(events, trials);
        wrong.clone()
    }

    /// Tells the limit late, once a baseline is known; a known one stays.
    pub(crate) fn set_slow_above(&self, limit: Duration) {
        // What is counted and since when goes together: both change under the lock.
        let _slow = self.slow_in_time.lock();
        if self.slow_above().is_none() {
            self.slow_base.store(self.requests(), Relaxed);
            self.slow_above.store(nanoseconds(limit), Relaxed);
        }
    }

    pub(crate) fn slow_above(&self) -> Option<Duration> {
        Some(self.slow_above.load(Relaxed))
            .filter(|&limit| limit < u64::MAX)
            .map(Duration::from_nanos)
    }

    pub(crate) fn agreement(&self) -> Reading {
        let count = self.agreements.load(Relaxed);
        if count == 0 {
            return Reading::Mean { count, mean: 0.0, squared_deviations: 0.0 };
        }
        let sum = self.agreement_sum.load(Relaxed) as f64 / AGREEMENT_UNIT;
        let squares = self.agreement_squares.load(Relaxed) as f64 / AGREEMENT_UNIT;
        let mean = sum / count as f64;
        Reading::Mean { count, mean, squared_deviations: (squares - sum * mean).max(0.0) }
    }

    /// The latency that 99 % of the requests do not exceed, rounded up by at most a thirty-second part; none below 100 requests.
    pub(crate) fn p99(&self) -> Option<Duration> {
        let counts: Vec<_> = self.latencies.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total < 100 {
            return None;
        }
        let rank = total - total / 100;
        let mut seen = 0;
        let reached = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(upper_edge(reached)))
    }

    pub(crate) fn trip(&self) {
        self.tripped.store(true, Relaxed);
    }

    pub(crate) fn is_tripped(&self) -> bool {
        self.tripped.load(Relaxed)
    }

    /// Whether a breach was found that asks for at least this.
    pub(crate) fn is_decided(&self, response: Response) -> bool {
        self.decided.load(Relaxed) >= rank(response)
    }

    /// Whether the caller is the first to ask for as much as this.
    pub(crate) fn decide(&self, response: Response) -> bool {
        self.decided.fetch_max(rank(response), Relaxed) < rank(response)
    }

    /// The decision was not carried out, or was taken back: the evidence is weighed again with the next error or look.
    pub(crate) fn undecide(&self) {
        self.decided.store(0, Relaxed);
        self.tripped.store(false, Relaxed);
    }

    /// Slow requests are counted anew: there are more replicas now.
    pub(crate) fn forget_slow(&self) {
        let mut slow = self.slow_in_time.lock();
        self.slow_base.store(self.requests(), Relaxed);
        *slow = Sequences::default();
        drop(slow);
        self.decided.store(0, Relaxed);
    }
}

fn rank(response: Response) -> u8 {
    response as u8 + 1
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (errors, requests) = self.errors();
        f.debug_struct("Counts")
            .field("since", &self.since)
            .field("requests", &requests)
            .field("errors", &errors)
            .finish_non_exhaustive()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1).min(u64::MAX - 1)
}

/// Equal parts of each doubling; below the first whole doubling all is one.
fn bucket(value: u64) -> usize {
    let value = value.max(u64::from(BUCKETS_PER_DOUBLING));
    let doubling = value.ilog2();
    let part = (value >> (doubling - PART_BITS)) & u64::from(BUCKETS_PER_DOUBLING - 1);
    ((doubling * BUCKETS_PER_DOUBLING) as usize + part as usize).min(BUCKETS - 1)
}

fn upper_edge(bucket: usize) -> u64 {
    let (doubling, part) =
        (bucket as u32 / BUCKETS_PER_DOUBLING, bucket as u32 % BUCKETS_PER_DOUBLING);
    if doubling < PART_BITS {
        return u64::from(BUCKETS_PER_DOUBLING);
    }
    let edge = u128::from(part + BUCKETS_PER_DOUBLING + 1) << (doubling - PART_BITS);
    u64::try_from(edge - 1).unwrap_or(u64::MAX)
}

/// Every order of the steps of two or three threads, by loom; `RUSTFLAGS="--cfg mlp_loom" cargo test -p mlp-rollback --lib loom`.
#[cfg(all(test, mlp_loom))]
mod loom_models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;
    use mlp_core::{Role, Route, VersionNumber};

    fn failed() -> Outcome {
        let route = Route::new(VersionNumber(1), Role::Canary, 1);
        Outcome::new(&route, OutcomeStatus::Failed, Duration::ZERO)
    }

    #[test]
    fn a_reader_never_sees_more_errors_than_requests() {
        loom::model(|| {
            let counts = Arc::new(Counts::new(1, None, false));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let counts = Arc::clone(&counts);
                    thread::spawn(move || counts.record(&failed()))
                })
                .collect();
            let (errors, requests) = counts.errors();
            assert!(errors <= requests, "{errors} of {requests}");
            threads.into_iter().for_each(|thread| assert!(thread.join().unwrap()));
            assert_eq!(counts.errors(), (2, 2));
        });
    }

    #[test]
    fn of_two_that_decide_alike_one_is_first_and_the_severest_decision_stays() {
        loom::model(|| {
            let counts = Arc::new(Counts::new(1, None, false));
            let decide = |response| {
                let counts = Arc::clone(&counts);
                thread::spawn(move || counts.decide(response))
            };
            let rollbacks = [decide(Response::RollBack), decide(Response::RollBack)];
            counts.decide(Response::AlertAndWait);
            let firsts = rollbacks.map(|thread| thread.join().unwrap());
            assert!(firsts[0] != firsts[1], "{firsts:?}");
            assert!(counts.is_decided(Response::RollBack));
        });
    }
}

#[cfg(all(test, not(mlp_loom)))]
mod tests {
    use super::*;
    use mlp_core::{Role, Route, VersionNumber};

    fn outcome(nanos: u64) -> Outcome {
        let route = Route::new(VersionNumber(1), Role::Active, 1);
        Outcome::new(&route, OutcomeStatus::Answered, Duration::from_nanos(nanos))
    }

    #[test]
    fn every_latency_lies_in_its_bucket_and_no_bucket_is_wider_than_a_thirty_second_part() {
        for exponent in 5..63 {
            for offset in [0, 1, 3, (1_u64 << exponent) / 3, (1 << exponent) - 1] {
                let value = (1_u64 << exponent) + offset;
                let edge = upper_edge(bucket(value));
                assert!(edge >= value, "{value}: {edge}");
                assert!((edge - value) as f64 <= value as f64 / 32.0, "{value}: {edge}");
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS && bucket(0) < BUCKETS);
    }

    #[test]
    fn the_p99_is_near_the_value_that_one_in_a_hundred_exceeds() {
        let counts = Counts::new(1, None, false);
        (1..=1000).for_each(|k| {
            counts.record(&outcome(k * 1_000));
        });
        let p99 = counts.p99().unwrap().as_nanos() as f64;
        assert!((990_000.0..990_000.0 * 1.032).contains(&p99), "{p99}");
        assert_eq!(Counts::new(1, None, false).p99(), None);
    }

    #[test]
    fn a_request_of_exactly_the_limit_is_not_slow() {
        let slow = |counts: &Counts| {
            let (slow, requests) = counts.slow_in_time()?;
            slow.windows(requests).next().map(|all| (all.events, all.trials))
        };
        let counts = Counts::new(1, Some(Duration::from_nanos(2_000)), false);
        counts.record(&outcome(2_000));
        assert_eq!(slow(&counts), Some((0, 1)));
        counts.record(&outcome(2_001));
        assert_eq!(slow(&counts), Some((1, 2)));
        assert_eq!(slow(&Counts::new(1, None, false)), None);
    }
}
