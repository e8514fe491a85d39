//! Who hears how a request went: the router, the prediction log, the counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::{
    Outcome, OutcomeStatus, PredictionId, PredictionLog, PredictionRecord, Role, Route, Router,
    Servable, VersionNumber, catch_panic,
};

use crate::numbers::Counted;
use crate::sync::Mutex;
use crate::time::Time;
use crate::timer::Timer;

/// One request on its way through the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) route: Route,
    pub(crate) id: PredictionId,
    /// When it entered, in monotonic time.
    pub(crate) entered: Duration,
    /// When its answer is worth nothing any more.
    pub(crate) deadline: Option<Duration>,
}

impl Call {
    pub(crate) fn is_late(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// How requests ended, each in exactly one of these ways, and how long they took. Under one lock: that costs less than an atomic for each.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) cached: u64,
    pub(crate) failed: u64,
    pub(crate) timed_out: u64,
    pub(crate) refused: u64,
    pub(crate) latencies: Counted,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latencies = Counted::new();
        Self { answered: 0, cached: 0, failed: 0, timed_out: 0, refused: 0, latencies }
    }

    fn count(&mut self, status: OutcomeStatus) -> &mut u64 {
        match status {
            OutcomeStatus::Answered => &mut self.answered,
            OutcomeStatus::Failed => &mut self.failed,
            OutcomeStatus::TimedOut => &mut self.timed_out,
            _ => &mut self.refused,
        }
    }
}

/// What else is counted of a version.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) coalesced: AtomicU64,
    pub(crate) cache_misses: AtomicU64,
    pub(crate) mirrored: AtomicU64,
    pub(crate) mirrors_left_out: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) listener_panics: AtomicU64,
    /// Requests whose owners gave them up while they waited or ran.
    pub(crate) gone: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Bits of an identity in which its counter and its time are stirred, by the finaliser of splitmix64 (Steele and others 2014).
fn mixed(id: PredictionId) -> u64 {
    let (high, low) = id.as_uuid().as_u64_pair();
    let mut bits = high ^ low.rotate_left(32);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// The listeners and counters of one version.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) version: VersionNumber,
    pub(crate) time: Time,
    pub(crate) router: Option<Arc<dyn Router>>,
    pub(crate) log: Option<Arc<dyn PredictionLog>>,
    /// One of how many predictions the log hears of.
    pub(crate) log_one_in: u64,
    pub(crate) counters: Counters,
    pub(crate) tally: Mutex<Tally>,
    pub(crate) timer: Arc<Timer>,
}

impl Ledger {
    /// Reports how a request went. Called once a request, by whoever settles it, before its caller hears.
    pub(crate) fn report(&self, call: &Call, status: OutcomeStatus, now: Duration) {
        let latency = self.end(call, now, |tally| tally.count(status));
        self.observe(&Outcome::new(&call.route, status, latency));
    }

    /// Reports an answer that its caller's queue counts.
    #[inline]
    pub(crate) fn report_counted(&self, call: &Call, latency: Duration) {
        self.observe(&Outcome::new(&call.route, OutcomeStatus::Answered, latency));
    }

    /// Reports an answer that no model computed for this request.
    pub(crate) fn report_cached(&self, call: &Call, now: Duration) {
        let latency = self.end(call, now, |tally| &mut tally.cached);
        self.observe(&Outcome::new(&call.route, OutcomeStatus::Answered, latency).from_cache());
    }

    /// Reports a failure that another request met with the same input: no evidence of its own.
    pub(crate) fn report_shared_failure(&self, call: &Call, now: Duration) {
        let latency = self.end(call, now, |tally| &mut tally.failed);
        self.observe(&Outcome::new(&call.route, OutcomeStatus::Failed, latency).from_cache());
    }

    fn end(
        &self,
        call: &Call,
        now: Duration,
        way: impl FnOnce(&mut Tally) -> &mut u64,
    ) -> Duration {
        let latency = now.saturating_sub(call.entered);
        let mut tally = self.tally.lock();
        *way(&mut tally) += 1;
        tally.latencies.add_span(latency);
        latency
    }

    /// Reports what a shadow did with a copy.
    pub(crate) fn report_mirror(
        &self,
        call: &Call,
        status: OutcomeStatus,
        latency: Duration,
        agreement: Option<f64>,
    ) {
        count(&self.counters.mirrored);
        self.observe(
            &Outcome::new(&call.route, status, latency).of_shadow(self.version, agreement),
        );
    }

    #[inline]
    fn observe(&self, outcome: &Outcome) {
        if let Some(router) = &self.router {
            self.listen(|| router.observe(outcome));
        }
    }

    /// Notes an answer in the prediction log, if there is one.
    #[inline]
    pub(crate) fn record<M: ?Sized + Servable>(
        &self,
        call: &Call,
        role: Role,
        model: &M,
        input: &M::Input,
        output: &M::Output,
        latency: Duration,
    ) {
        let Some(log) = &self.log else { return };
        if self.log_one_in > 1 && !mixed(call.id).is_multiple_of(self.log_one_in) {
            return;
        }
        self.listen(|| {
            let record = PredictionRecord::new(call.id, self.version, role, self.time.now())
                .with_data(model.features(input), model.outputs(output))
                .with_latency(latency);
            log.record(&record);
        });
    }

    /// A listener's panic is counted, and nobody else's business.
    pub(crate) fn listen(&self, call: impl FnOnce()) {
        if catch_panic(call).is_err() {
            count(&self.counters.listener_panics);
        }
    }
}
