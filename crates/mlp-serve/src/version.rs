//! One version at work: its replicas, its queue, its cache.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::{ModelError, OutcomeStatus, Servable, VersionSource};

use crate::admission::Arrival;
use crate::answers::{Origin, copy};
use crate::bisect;
use crate::cache::PredictionCache;
use crate::error::ServeError;
use crate::gate::Gate;
use crate::ledger::{Call, Ledger, count};
use crate::numbers::{NANOSECOND, VersionNumbers};
use crate::options::ServeOptions;
use crate::prepare::WarmUp;
use crate::queue::{Job, Queue, Replica, Task};
use crate::replicas::Outcome;
use crate::roster::Activity;
use crate::shadow::pass_on;
use crate::slot::Reply;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::threads::Threads;

pub(crate) struct Version<M: ?Sized + Servable> {
    pub(crate) ledger: Arc<Ledger>,
    /// The first replica's, to inspect inputs and compare outputs with, under no lock: kept for as long as the version, also when that replica is built
    /// anew with another one.
    pub(crate) model: Arc<M>,
    pub(crate) options: ServeOptions,
    /// A call that costs less, in seconds, is run by its caller; 0 if none is.
    pub(crate) inline_seconds: f64,
    pub(crate) cache: Option<Box<dyn PredictionCache<M::Output>>>,
    pub(crate) queue: Mutex<Queue<M>>,
    /// Work for a replica, or an idle replica for work.
    pub(crate) work: Condvar,
    /// Nothing is open any more.
    pub(crate) quiet: Condvar,
    pub(crate) gate: Arc<Gate>,
    pub(crate) source: VersionSource<M>,
    pub(crate) warm_up: WarmUp<M::Input>,
    /// What the version answered to the warm-up inputs when it was prepared.
    pub(crate) expected: Vec<M::Output>,
    pub(crate) threads: Arc<Threads>,
}

impl<M: ?Sized + Servable> Version<M> {
    /// Runs a request in the thread of its caller.
    pub(crate) fn run_here(&self, arrival: &mut Arrival<'_, M>, mut replica: Box<Replica<M>>) {
        let _inside = self.threads.enter();
        let result = self.run_one(&mut replica, arrival.input());
        let ended = self.ledger.time.monotonic();
        let (rows, index, latency) =
            (arrival.rows, replica.index, ended.saturating_sub(arrival.call.entered));
        let counted_by = if rows == 1 { CountedBy::Queue } else { CountedBy::Ledger };
        let end = End { replica: index, at: ended, latency, counted_by };
        let flight = arrival.key.clone();
        let mut held = Held {
            version: self,
            replica: Some(replica),
            flight,
            rows,
            ended,
            span: latency,
            is_alone: false,
        };
        let is_answered =
            |it: &Arrival<'_, M>| it.exchange.reply.as_ref().is_some_and(Result::is_ok);
        if arrival.key.is_none() && arrival.shadows.is_empty() {
            self.settle_arrival(arrival, result, &end);
            held.is_alone = counted_by == CountedBy::Queue && is_answered(arrival);
        } else {
            self.remember(arrival.key.take(), &result, index, ended);
            self.settle_arrival(arrival, copy(&result), &end);
            held.is_alone = counted_by == CountedBy::Queue && is_answered(arrival);
            if let Some(key) = held.flight.take() {
                self.land(self.followers(&key), &result, index);
            }
            if !arrival.shadows.is_empty() {
                let shadows = std::mem::take(&mut arrival.shadows);
                self.mirror(*arrival.call, arrival.take(), result.ok(), shadows);
            }
        }
    }

    #[inline(always)]
    fn settle_arrival(
        &self,
        arrival: &mut Arrival<'_, M>,
        result: Result<M::Output, ModelError>,
        end: &End,
    ) {
        let (input, reply) = arrival.exchange.parts();
        self.settle(arrival.call, input, result, end, reply);
    }

    /// Runs a single input on a replica.
    #[inline(always)] // Its result would be read right after it is written, which the processor has to wait for; so with the next three.
    fn run_one(&self, replica: &mut Replica<M>, input: &M::Input) -> Result<M::Output, ModelError> {
        let result = bisect::run_one(&*replica.model, input, &mut replica.out);
        let panics = u64::from(matches!(result, Err(ModelError::Panicked { .. })));
        let outcome = Outcome::of(std::slice::from_ref(&result));
        self.note_run(replica, 1, outcome, panics);
        result
    }

    /// Runs a batch on a replica, under a watch if there is one; one result an input, in order.
    pub(crate) fn run<'r>(
        &self,
        replica: &'r mut Replica<M>,
        batch: &[M::Input],
        watch: Option<u64>,
    ) -> &'r mut Vec<Result<M::Output, ModelError>> {
        let Replica { model, out, results, .. } = &mut *replica;
        let again = || watch.into_iter().for_each(|it| self.watch_anew(it, Activity::Batch));
        let panics = bisect::run(&**model, batch, out, results, again);
        let outcome = Outcome::of(results);
        self.note_run(replica, batch.len() as u64, outcome, panics);
        &mut replica.results
    }

    #[inline]
    fn note_run(&self, replica: &mut Replica<M>, requests: u64, outcome: Outcome, panics: u64) {
        // Whoever holds the replica is the only one to write.
        let served = replica.served.load(Ordering::Relaxed) + requests;
        replica.served.store(served, Ordering::Relaxed);
        replica.note(outcome, panics);
        if panics > 0 {
            self.ledger.counters.panics.fetch_add(panics, Ordering::Relaxed);
        }
    }

    /// Makes a replica idle again.
    #[inline(always)]
    pub(crate) fn put_back(&self, replica: Box<Replica<M>>, work: Work) {
        let is_well = replica.is_well();
        let mut queue = self.queue.lock();
        queue.note_active(work.ended, self.options.batch_delay);
        queue.active -= work.requests;
        queue.open -= work.settled;
        queue.cost.observe(work.rows, work.span, &self.options);
        if work.is_alone {
            queue.alone.add_span(work.span);
        } else {
            queue.spans.add_span(work.span);
            queue.batches.add(work.rows as u64);
        }
        if is_well && queue.roster.is_calm() {
            queue.idle.push(replica);
        } else {
            queue.take_back(replica, &self.options, work.ended);
        }
        let is_changed = !is_well || queue.roster.has_idle_hands();
        if is_changed || queue.is_closed || !queue.is_empty() || !queue.roster.gone.is_empty() {
            self.pass_news(queue, is_changed, is_well);
        }
    }

    /// Tells those for whom something has changed since a replica came back.
    #[cold]
    fn pass_news(&self, mut queue: MutexGuard<'_, Queue<M>>, is_changed: bool, is_well: bool) {
        let (has_work, is_over) = (!queue.is_empty(), queue.is_over());
        let is_quiet = queue.is_quiet();
        let gone = std::mem::take(&mut queue.roster.gone);
        drop(queue);
        if !gone.is_empty() {
            self.ledger.listen(|| drop(gone));
        }
        if !is_well {
            self.refuse_if_down();
        }
        if is_over {
            self.work.notify_all();
        } else if has_work || is_changed {
            self.work.notify_one();
        }
        if is_quiet {
            self.quiet.notify_all();
        }
    }

    /// Notes that requests were settled, after their callers were told.
    pub(crate) fn close_requests(&self, requests: usize) {
        let mut queue = self.queue.lock();
        queue.open -= requests;
        if queue.is_quiet() {
            drop(queue);
            self.quiet.notify_all();
        }
    }

    /// Records and reports a result, and leaves the reply of it in its place. An answer may be left for the queue to count.
    #[inline(always)]
    pub(crate) fn settle(
        &self,
        call: &Call,
        input: &M::Input,
        result: Result<M::Output, ModelError>,
        end: &End,
        place: &mut Option<Reply<M::Output>>,
    ) {
        let output = match result {
            Ok(output) if !call.is_late(end.at) => output,
            Ok(late) => {
                *place = Some(Err(self.settle_failure(call, None, end.at)));
                // Foreign, and nothing may be left undone if its dropping panics.
                return self.ledger.listen(|| drop(late));
            }
            Err(error) => {
                return *place = Some(Err(self.settle_failure(call, Some(error), end.at)));
            }
        };
        let (role, model) = (call.route.role, &*self.model);
        self.ledger.record(call, role, model, input, &output, end.latency);
        match end.counted_by {
            CountedBy::Ledger => self.ledger.report(call, OutcomeStatus::Answered, end.at),
            CountedBy::Queue => self.ledger.report_counted(call, end.latency),
        }
        *place = Some(Ok(self.answer(call, output, end.replica, end.latency, Origin::Model)));
    }

    /// Reports that the model failed, or that its answer came too late, and says so.
    #[cold]
    fn settle_failure(&self, call: &Call, error: Option<ModelError>, now: Duration) -> ServeError {
        let version = self.ledger.version;
        match error {
            Some(error) => {
                self.ledger.report(call, OutcomeStatus::Failed, now);
                ServeError::of_model(version, error)
            }
            None => {
                self.ledger.report(call, OutcomeStatus::TimedOut, now);
                ServeError::DeadlineExceeded { version }
            }
        }
    }

    /// Takes nothing new from now on; what was accepted is answered, copies are left to the other shadows.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let mirrors = queue.take_mirrors();
        drop(queue);
        self.work.notify_all();
        self.quiet.notify_all();
        for job in mirrors {
            count(&self.ledger.counters.mirrors_left_out);
            let Job { input, task: Task::Mirror(mirror), .. } = job else { continue };
            self.ledger.listen(|| pass_on(input, mirror));
        }
    }

    /// Waits until all that was accepted is settled, at most until a moment; how many requests are still open then.
    pub(crate) fn wait_until_quiet(&self, until: Duration) -> usize {
        let mut queue = self.queue.lock();
        while queue.open > 0 && self.ledger.time.monotonic() < until {
            self.ledger.time.wait(&self.quiet, &mut queue, Some(until));
        }
        queue.open
    }

    /// Refuses what still waits.
    pub(crate) fn abort(&self) {
        let mut queue = self.queue.lock();
        let mut jobs = queue.take_requests();
        jobs.extend(queue.flights.take());
        drop(queue);
        let refused = jobs.len();
        for job in jobs {
            if let Task::Answer(request) = &job.task {
                request.promise.fail(OutcomeStatus::Refused, ServeError::Draining);
            }
            self.ledger.listen(|| drop(job));
        }
        self.close_requests(refused);
        self.work.notify_all();
    }

    pub(crate) fn numbers(&self) -> VersionNumbers {
        let counters = &self.ledger.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queue = self.queue.lock();
        let queue = self.sweep(queue).unwrap_or_else(|| self.queue.lock());
        // Quantiles are computed from copies, so that nobody waits for that.
        let (waits, alone) = (queue.waits.clone(), queue.alone.clone());
        let (mut spans, mut batches) = (queue.spans.clone(), queue.batches.clone());
        let (queue_rows, in_flight) = (queue.rows() as u64, queue.in_flight() as u64);
        let (restarts, stuck) = (queue.roster.restarts, queue.roster.stuck);
        let failed_restarts = queue.roster.failed_restarts;
        drop(queue);
        let mut tally = self.ledger.tally.lock().clone();
        tally.answered += alone.count();
        tally.latencies.add_all(&alone);
        spans.add_all(&alone);
        batches.add_many(1, alone.count());
        let batch_rows = batches.distribution(1.0);
        VersionNumbers {
            model: self.options.model.clone(),
            version: self.ledger.version,
            answered: tally.answered,
            cached: tally.cached,
            failed: tally.failed,
            timed_out: tally.timed_out,
            refused: tally.refused,
            coalesced: read(&counters.coalesced),
            cache_hits: tally.cached.saturating_sub(read(&counters.coalesced)),
            cache_misses: read(&counters.cache_misses),
            cache_evictions: self.cache.as_ref().map_or(0, |cache| cache.evictions()),
            cache_entries: self.cache.as_ref().map_or(0, |cache| cache.len() as u64),
            mirrored: read(&counters.mirrored),
            mirrors_left_out: read(&counters.mirrors_left_out),
            batches: batch_rows.count,
            panics: read(&counters.panics),
            restarts,
            failed_restarts,
            stuck,
            listener_panics: read(&counters.listener_panics),
            queue_rows,
            in_flight,
            request_seconds: tally.latencies.distribution(NANOSECOND),
            queue_seconds: waits.distribution(NANOSECOND),
            predict_seconds: spans.distribution(NANOSECOND),
            batch_rows,
        }
    }
}

/// A replica in the hands of a caller: put back whatever happens, and nobody is left who waits for its answer.
struct Held<'a, M: ?Sized + Servable> {
    version: &'a Version<M>,
    replica: Option<Box<Replica<M>>>,
    flight: Option<Box<[u8]>>,
    rows: usize,
    ended: Duration,
    span: Duration,
    is_alone: bool,
}

impl<M: ?Sized + Servable> Drop for Held<'_, M> {
    #[inline(always)]
    fn drop(&mut self) {
        let Some(replica) = self.replica.take() else { return };
        if let Some(key) = self.flight.take() {
            let panicked = ModelError::Panicked { message: "outside of its call".to_owned() };
            self.version.land(self.version.followers(&key), &Err(panicked), replica.index);
        }
        // What came before the model on this path is too short to be told from it.
        let &mut Self { rows, ended, span, is_alone, .. } = self;
        let work = Work { requests: 1, settled: 1, rows, span, ended, is_alone };
        self.version.put_back(replica, work);
    }
}

/// What a replica has done when it becomes idle.
pub(crate) struct Work {
    /// How many requests it ran.
    pub(crate) requests: usize,
    /// How many of them have been told already.
    pub(crate) settled: usize,
    pub(crate) rows: usize,
    pub(crate) span: Duration,
    /// When it was done.
    pub(crate) ended: Duration,
    /// Whether it was one answered request of one row that its caller ran.
    pub(crate) is_alone: bool,
}

/// How a request came to its end.
pub(crate) struct End {
    /// The replica that ran it.
    pub(crate) replica: usize,
    pub(crate) at: Duration,
    pub(crate) latency: Duration,
    pub(crate) counted_by: CountedBy,
}

/// Who counts an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountedBy {
    Ledger,
    /// The queue, when the replica is put back.
    Queue,
}

impl<M: ?Sized + Servable> fmt::Debug for Version<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({}, {:?})", self.ledger.version, self.model)
    }
}
