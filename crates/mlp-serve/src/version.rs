//! One version at work: its replicas, its queue, its cache.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::{Health, Lifecycle, ModelError, OutcomeStatus, Role, Servable, catch_panic};

use crate::bisect;
use crate::cache::{PredictionCache, Remembered};
use crate::error::ServeError;
use crate::gate::Gate;
use crate::ledger::{Call, Ledger, count};
use crate::numbers::{NANOSECOND, VersionNumbers};
use crate::options::ServeOptions;
use crate::queue::{Job, Mirror, Queue, Replica, Request, Shadows, Task};
use crate::request::{Answer, Priority};
use crate::slot::{Reply, Slot};
use crate::sync::{Condvar, Mutex, MutexGuard};

pub(crate) struct Version<M: ?Sized + Servable> {
    pub(crate) ledger: Arc<Ledger>,
    /// The first replica's, to inspect inputs and compare outputs with.
    pub(crate) model: Arc<M>,
    pub(crate) options: ServeOptions,
    pub(crate) cache: Option<Box<dyn PredictionCache<M::Output>>>,
    pub(crate) queue: Mutex<Queue<M>>,
    /// Work for a replica, or an idle replica for work.
    pub(crate) work: Condvar,
    /// Nothing is open any more.
    pub(crate) quiet: Condvar,
    pub(crate) served: Vec<Arc<AtomicU64>>,
    pub(crate) gate: Arc<Gate>,
}

/// Where a request may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// By its caller, if that is cheaper.
    Caller,
    /// By a replica's thread.
    Replica,
}

/// What came of handing a request in.
pub(crate) enum Admitted<O> {
    Settled(Reply<O>),
    Waiting(Arc<Slot<O>>),
}

thread_local! {
    /// Where the cache key of a request is written.
    static KEY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<M: ?Sized + Servable> Version<M> {
    /// Takes a request in; gives its input back if this version takes no more.
    pub(crate) fn admit(
        &self,
        call: Call,
        priority: Priority,
        place: Place,
        input: M::Input,
        shadows: Shadows<M>,
    ) -> Result<Admitted<M::Output>, M::Input> {
        let rows = match self.inspect(&input) {
            Ok(rows) => rows,
            Err(error) => return Ok(Admitted::Settled(Err(self.refuse(&call, error)))),
        };
        if self.cache.is_none() {
            return self.enqueue(call, priority, place, input, rows, None, shadows);
        }
        let mut key = KEY.take();
        key.clear();
        let is_cacheable = catch_panic(|| self.model.cache_key(&input, &mut key)).unwrap_or(false);
        let remembered = is_cacheable.then(|| self.recall(&key, call.entered)).flatten();
        let admitted = match remembered {
            Some(remembered) => {
                Ok(Admitted::Settled(Ok(self.repeat_and_mirror(&call, input, remembered, shadows))))
            }
            None => {
                count(&self.ledger.counters.cache_misses);
                let key = is_cacheable.then(|| Box::from(&key[..]));
                self.enqueue(call, priority, place, input, rows, key, shadows)
            }
        };
        KEY.set(key);
        admitted
    }

    /// How many rows the input has, if this version can take it.
    fn inspect(&self, input: &M::Input) -> Result<usize, ServeError> {
        let version = self.ledger.version;
        let rows = catch_panic(|| self.model.check(input).map(|()| self.model.rows(input).max(1)))
            .map_err(|panicked| ServeError::of_model(version, panicked.into()))?
            .map_err(|source| ServeError::InvalidInput { version, source })?;
        let limit = self.options.max_batch_rows;
        if rows > limit { Err(ServeError::TooManyRows { given: rows, limit }) } else { Ok(rows) }
    }

    /// Reports that a request was refused.
    fn refuse(&self, call: &Call, error: ServeError) -> ServeError {
        self.ledger.report(call, OutcomeStatus::Refused, self.ledger.time.monotonic());
        error
    }

    fn recall(&self, key: &[u8], now: Duration) -> Option<Remembered<M::Output>> {
        let remembered = self.cache.as_ref()?.get(key)?;
        remembered.expires.is_none_or(|expires| now < expires).then_some(remembered)
    }

    /// Answers with what the model said to an identical input.
    pub(crate) fn repeat(
        &self,
        call: &Call,
        input: &M::Input,
        output: M::Output,
        replica: usize,
        now: Duration,
    ) -> Answer<M::Output> {
        let answer = self.answer(call, output, replica, now, Origin::Cache);
        let (role, model) = (call.route.role, &*self.model);
        self.ledger.record(call, role, model, input, &answer.output, answer.latency);
        self.ledger.report_cached(call, now);
        answer
    }

    fn repeat_and_mirror(
        &self,
        call: &Call,
        input: M::Input,
        remembered: Remembered<M::Output>,
        shadows: Shadows<M>,
    ) -> Answer<M::Output> {
        let now = self.ledger.time.monotonic();
        let answer = self.repeat(call, &input, remembered.output, remembered.replica, now);
        if !shadows.is_empty() {
            self.mirror(*call, input, Some(answer.output.clone()), shadows);
        }
        answer
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a request, none of which is kept here"
    )]
    fn enqueue(
        &self,
        call: Call,
        priority: Priority,
        place: Place,
        input: M::Input,
        rows: usize,
        key: Option<Box<[u8]>>,
        shadows: Shadows<M>,
    ) -> Result<Admitted<M::Output>, M::Input> {
        if call.is_late(call.entered) {
            // The model was never asked: no evidence against the version.
            self.ledger.report(&call, OutcomeStatus::Refused, call.entered);
            return Ok(Admitted::Settled(Err(ServeError::DeadlineExceeded {
                version: self.ledger.version,
            })));
        }
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(input);
        }
        if let Some(key) = &key {
            if queue.flights.contains(key) {
                return Ok(self.follow(queue, key, call, input, rows, shadows));
            }
            // The one that led may have come to its end since the cache was asked.
            if let Some(remembered) = self.recall(key, call.entered) {
                drop(queue);
                let answer = self.repeat_and_mirror(&call, input, remembered, shadows);
                return Ok(Admitted::Settled(Ok(answer)));
            }
        }
        if place == Place::Caller
            && self.is_cheap(&queue, rows, &call)
            && let Some(replica) = queue.idle.pop()
        {
            queue.open();
            key.iter().for_each(|key| queue.flights.lead(key.clone()));
            drop(queue);
            return Ok(Admitted::Settled(self.run_here(&call, replica, input, rows, key, shadows)));
        }
        if queue.rows() > self.options.queue_rows.saturating_sub(rows) {
            let (waiting, limit) = (queue.rows(), self.options.queue_rows);
            drop(queue);
            let error = ServeError::Overloaded { version: self.ledger.version, waiting, limit };
            return Ok(Admitted::Settled(Err(self.refuse(&call, error))));
        }
        let slot = Arc::new(Slot::new(call, Arc::clone(&self.ledger)));
        let was_empty = !queue.has_requests();
        queue.open();
        key.iter().for_each(|key| queue.flights.lead(key.clone()));
        let task = Task::Answer(Request { slot: Arc::clone(&slot), key, shadows });
        queue.push(priority, Job { input, rows, entered: call.entered, task });
        // While a batch waits for more rows, its replica is woken only by what ends the wait.
        let is_news = self.options.batch_delay.is_zero()
            || was_empty
            || call.deadline.is_some()
            || queue.is_complete(self.options.max_batch_rows);
        drop(queue);
        if is_news {
            self.work.notify_one();
        }
        Ok(Admitted::Waiting(slot))
    }

    /// Lets a request wait for an identical one, unless as many do as may wait in the queue.
    fn follow(
        &self,
        mut queue: MutexGuard<'_, Queue<M>>,
        key: &[u8],
        call: Call,
        input: M::Input,
        rows: usize,
        shadows: Shadows<M>,
    ) -> Admitted<M::Output> {
        let (waiting, limit) = (queue.flights.followers(), self.options.queue_rows);
        if waiting >= limit {
            drop(queue);
            let error = ServeError::Overloaded { version: self.ledger.version, waiting, limit };
            return Admitted::Settled(Err(self.refuse(&call, error)));
        }
        let slot = Arc::new(Slot::new(call, Arc::clone(&self.ledger)));
        let task = Task::Answer(Request { slot: Arc::clone(&slot), key: None, shadows });
        queue.open += 1;
        queue.flights.follow(key, Job { input, rows, entered: call.entered, task });
        Admitted::Waiting(slot)
    }

    /// Whether the caller should run the model itself: nothing waits, and the call is known to be short.
    fn is_cheap(&self, queue: &Queue<M>, rows: usize, call: &Call) -> bool {
        let limit = self.options.inline_below;
        if limit.is_zero() || queue.has_requests() {
            return false;
        }
        let Some(expected) = queue.cost.expected(rows) else { return false };
        // A call in the caller's own thread cannot be left at its deadline.
        expected < limit
            && call
                .deadline
                .is_none_or(|deadline| deadline.saturating_sub(call.entered) >= expected * 4)
    }

    fn run_here(
        &self,
        call: &Call,
        mut replica: Replica<M>,
        input: M::Input,
        rows: usize,
        key: Option<Box<[u8]>>,
        shadows: Shadows<M>,
    ) -> Reply<M::Output> {
        let result = self.run(&mut replica, std::slice::from_ref(&input)).pop();
        let now = self.ledger.time.monotonic();
        let index = replica.index;
        let result = result.unwrap_or(Err(ModelError::OutputCount { expected: 1, given: 0 }));
        let flight = key.clone();
        let reply = self.settle(call, &input, &result, index, key, now);
        if let Some(key) = flight {
            self.land(self.followers(&key), &result, index);
        }
        if !shadows.is_empty() {
            self.mirror(*call, input, result.ok(), shadows);
        }
        // What came before the model on this path is too short to be told from it.
        self.put_back(
            replica,
            Work { requests: 1, settled: 1, rows, span: now.saturating_sub(call.entered) },
        );
        reply
    }

    /// Runs a batch on a replica; one result an input, in order.
    pub(crate) fn run<'r>(
        &self,
        replica: &'r mut Replica<M>,
        batch: &[M::Input],
    ) -> &'r mut Vec<Result<M::Output, ModelError>> {
        replica.results.clear();
        let panics = bisect::run(&*replica.model, batch, &mut replica.out, &mut replica.results);
        replica.served.fetch_add(batch.len() as u64, Ordering::Relaxed);
        count(&self.ledger.counters.batches);
        if panics > 0 {
            self.ledger.counters.panics.fetch_add(panics, Ordering::Relaxed);
        }
        &mut replica.results
    }

    /// Makes a replica idle again.
    pub(crate) fn put_back(&self, replica: Replica<M>, work: Work) {
        let mut queue = self.queue.lock();
        queue.active -= work.requests;
        queue.open -= work.settled;
        queue.cost.observe(work.rows, work.span);
        queue.spans.add_span(work.span);
        queue.batches.add(work.rows as u64);
        queue.idle.push(replica);
        let (has_work, is_quiet) = (!queue.is_empty(), queue.is_closed && queue.open == 0);
        drop(queue);
        if has_work {
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
        if queue.open == 0 && queue.is_closed {
            drop(queue);
            self.quiet.notify_all();
        }
    }

    /// Remembers, records and reports a result, and makes the reply of it.
    pub(crate) fn settle(
        &self,
        call: &Call,
        input: &M::Input,
        result: &Result<M::Output, ModelError>,
        replica: usize,
        key: Option<Box<[u8]>>,
        now: Duration,
    ) -> Reply<M::Output> {
        let version = self.ledger.version;
        let output = match result {
            Ok(output) => output,
            Err(error) => {
                self.ledger.report(call, OutcomeStatus::Failed, now);
                return Err(ServeError::of_model(version, error.clone()));
            }
        };
        self.remember(key, output, replica, now);
        if call.is_late(now) {
            self.ledger.report(call, OutcomeStatus::TimedOut, now);
            return Err(ServeError::DeadlineExceeded { version });
        }
        let answer = self.answer(call, output.clone(), replica, now, Origin::Model);
        self.ledger.record(call, call.route.role, &*self.model, input, output, answer.latency);
        self.ledger.report(call, OutcomeStatus::Answered, now);
        Ok(answer)
    }

    pub(crate) fn remember(
        &self,
        key: Option<Box<[u8]>>,
        output: &M::Output,
        replica: usize,
        now: Duration,
    ) {
        if let (Some(cache), Some(key)) = (&self.cache, key) {
            let expires = self.options.cache_ttl.map(|ttl| now.saturating_add(ttl));
            cache.insert(key, Remembered { output: output.clone(), replica, expires });
        }
    }

    fn answer(
        &self,
        call: &Call,
        output: M::Output,
        replica: usize,
        now: Duration,
        origin: Origin,
    ) -> Answer<M::Output> {
        Answer {
            output,
            version: self.ledger.version,
            role: call.route.role,
            replica,
            cached: origin == Origin::Cache,
            id: call.id,
            latency: now.saturating_sub(call.entered),
        }
    }

    /// Hands an input that was answered to the shadows.
    pub(crate) fn mirror(
        &self,
        call: Call,
        input: M::Input,
        primary: Option<M::Output>,
        shadows: Shadows<M>,
    ) {
        let pass = self.gate.enter();
        pass_on(input, Box::new(Mirror { call, primary, shadows, pass }));
    }

    /// Takes a copy in, or gives it back.
    fn admit_mirror(
        &self,
        input: M::Input,
        rows: usize,
        mirror: Box<Mirror<M>>,
    ) -> Result<(), (M::Input, Box<Mirror<M>>)> {
        let entered = self.ledger.time.monotonic();
        let mut queue = self.queue.lock();
        let room = self.options.shadow_queue_rows.saturating_sub(queue.mirror_rows());
        if queue.is_closed || rows > room {
            count(&self.ledger.counters.mirrors_left_out);
            return Err((input, mirror));
        }
        queue.push_mirror(Job { input, rows, entered, task: Task::Mirror(mirror) });
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// Reports what this version, as a shadow, made of a copy.
    pub(crate) fn settle_mirror(
        &self,
        mirror: &Mirror<M>,
        input: &M::Input,
        result: &Result<M::Output, ModelError>,
        latency: Duration,
    ) {
        let (status, agreement) = match result {
            Err(_) => (OutcomeStatus::Failed, None),
            Ok(output) => {
                self.ledger.record(
                    &mirror.call,
                    Role::Shadow,
                    &*self.model,
                    input,
                    output,
                    latency,
                );
                let agreement = mirror.primary.as_ref().and_then(|primary| {
                    catch_panic(|| self.model.agreement(primary, output)).unwrap_or(None)
                });
                (OutcomeStatus::Answered, agreement)
            }
        };
        self.ledger.report_mirror(&mirror.call, status, latency, agreement);
    }

    /// Takes nothing new from now on; what was accepted is answered, copies for shadows are dropped.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let mirrors = queue.take_mirrors();
        drop(queue);
        drop(mirrors);
        self.work.notify_all();
        self.quiet.notify_all();
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
        for job in &jobs {
            if let Task::Answer(request) = &job.task {
                request.slot.fail(OutcomeStatus::Refused, ServeError::Draining);
            }
        }
        self.close_requests(jobs.len());
        self.work.notify_all();
    }

    pub(crate) fn numbers(&self) -> VersionNumbers {
        let counters = &self.ledger.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queue = self.queue.lock();
        VersionNumbers {
            version: self.ledger.version,
            answered: read(&counters.answered),
            cached: read(&counters.cached),
            failed: read(&counters.failed),
            timed_out: read(&counters.timed_out),
            refused: read(&counters.refused),
            coalesced: read(&counters.coalesced),
            cache_misses: read(&counters.cache_misses),
            cache_entries: self.cache.as_ref().map_or(0, |cache| cache.len() as u64),
            mirrored: read(&counters.mirrored),
            mirrors_left_out: read(&counters.mirrors_left_out),
            batches: read(&counters.batches),
            panics: read(&counters.panics),
            listener_panics: read(&counters.listener_panics),
            queue_rows: queue.rows() as u64,
            in_flight: queue.active as u64,
            request_seconds: self.ledger.latencies.lock().distribution(NANOSECOND),
            queue_seconds: queue.waits.distribution(NANOSECOND),
            predict_seconds: queue.spans.distribution(NANOSECOND),
            batch_rows: queue.batches.distribution(1.0),
        }
    }

    pub(crate) fn health(&self) -> Health {
        let queue = self.queue.lock();
        let lifecycle = if queue.is_closed { Lifecycle::Draining } else { Lifecycle::Ready };
        let replicas = self.served.len();
        drop(queue);
        let requests = self.served.iter().map(|served| served.load(Ordering::Relaxed)).sum();
        Health { lifecycle, ready_replicas: replicas, replicas, requests }
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
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Model,
    Cache,
}

/// Gives a copy to the next shadow that takes it.
pub(crate) fn pass_on<M: ?Sized + Servable>(mut input: M::Input, mut mirror: Box<Mirror<M>>) {
    while let Some(shadow) = mirror.shadows.pop() {
        let Ok(rows) = shadow.inspect(&input) else {
            let status = OutcomeStatus::Refused;
            shadow.ledger.report_mirror(&mirror.call, status, Duration::ZERO, None);
            continue;
        };
        match shadow.admit_mirror(input, rows, mirror) {
            Ok(()) => return,
            Err(returned) => (input, mirror) = returned,
        }
    }
}

impl<M: ?Sized + Servable> fmt::Debug for Version<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({}, {:?})", self.ledger.version, self.model)
    }
}
