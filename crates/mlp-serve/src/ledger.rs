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

/// What is counted of a version. Each request is in exactly one of the first five.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answered: AtomicU64,
    pub(crate) cached: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) coalesced: AtomicU64,
    pub(crate) cache_misses: AtomicU64,
    pub(crate) mirrored: AtomicU64,
    pub(crate) mirrors_left_out: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) listener_panics: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The listeners and counters of one version.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) version: VersionNumber,
    pub(crate) time: Time,
    pub(crate) router: Option<Arc<dyn Router>>,
    pub(crate) log: Option<Arc<dyn PredictionLog>>,
    pub(crate) counters: Counters,
    pub(crate) latencies: Mutex<Counted>,
}

impl Ledger {
    /// Reports how a request went. Called once a request, by whoever settles it, before its caller hears.
    pub(crate) fn report(&self, call: &Call, status: OutcomeStatus, now: Duration) {
        let counters = &self.counters;
        count(match status {
            OutcomeStatus::Answered => &counters.answered,
            OutcomeStatus::Failed => &counters.failed,
            OutcomeStatus::TimedOut => &counters.timed_out,
            _ => &counters.refused,
        });
        let latency = now.saturating_sub(call.entered);
        self.latencies.lock().add_span(latency);
        self.observe(&Outcome::new(&call.route, status, latency));
    }

    /// Reports an answer that no model computed for this request.
    pub(crate) fn report_cached(&self, call: &Call, now: Duration) {
        count(&self.counters.cached);
        let latency = now.saturating_sub(call.entered);
        self.latencies.lock().add_span(latency);
        self.observe(&Outcome::new(&call.route, OutcomeStatus::Answered, latency).from_cache());
    }

    /// Reports a failure that another request met with the same input: no evidence of its own.
    pub(crate) fn report_shared_failure(&self, call: &Call, now: Duration) {
        count(&self.counters.failed);
        let latency = now.saturating_sub(call.entered);
        self.latencies.lock().add_span(latency);
        self.observe(&Outcome::new(&call.route, OutcomeStatus::Failed, latency).from_cache());
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

    fn observe(&self, outcome: &Outcome) {
        if let Some(router) = &self.router {
            self.listen(|| router.observe(outcome));
        }
    }

    /// Notes an answer in the prediction log, if there is one.
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
