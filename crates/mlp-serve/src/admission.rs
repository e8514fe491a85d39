//! How a request comes in: checked, looked up, run by its caller, or queued.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mlp_core::{OutcomeStatus, Servable, catch_panic};

use crate::error::ServeError;
use crate::ledger::{Call, count};
use crate::queue::{Job, Queue, Request, Shadows, Task};
use crate::request::Priority;
use crate::slot::{Promise, Reply, Slot};
use crate::sync::MutexGuard;
use crate::version::Version;

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

/// A request that was not taken in, and its input.
pub(crate) enum Turned<I> {
    /// The version takes no more.
    Away(I),
    /// There is no room: nobody has been told yet.
    Full(I, ServeError),
}

thread_local! {
    /// Where the cache key of a request is written.
    static KEY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<M: ?Sized + Servable> Version<M> {
    /// Takes a request in, or gives its input back.
    pub(crate) fn admit(
        &self,
        call: &Call,
        priority: Priority,
        place: Place,
        input: M::Input,
        shadows: Shadows<M>,
    ) -> Result<Admitted<M::Output>, Turned<M::Input>> {
        // A deadline may have passed while the caller waited for room.
        if call.deadline.is_some_and(|deadline| deadline <= self.ledger.time.monotonic()) {
            // The model was never asked: no evidence against the version.
            let error = ServeError::DeadlineExceeded { version: self.ledger.version };
            return Ok(Admitted::Settled(Err(self.refuse(call, error))));
        }
        let rows = match self.inspect(&input) {
            Ok(rows) => rows,
            Err(error) => return Ok(Admitted::Settled(Err(self.refuse(call, error)))),
        };
        if self.cache.is_none() {
            return self.enqueue(call, priority, place, input, rows, None, shadows);
        }
        let mut key = KEY.take();
        key.clear();
        let is_cacheable = catch_panic(|| self.model.cache_key(&input, &mut key)).unwrap_or(false);
        let remembered = is_cacheable.then(|| self.recall(&key, call.entered)).flatten();
        let admitted = match remembered {
            Some(remembered) => Ok(self.repeat_and_mirror(call, input, remembered, shadows)),
            None => {
                let key = is_cacheable.then(|| Box::from(&key[..]));
                key.iter().for_each(|_| count(&self.ledger.counters.cache_misses));
                self.enqueue(call, priority, place, input, rows, key, shadows)
            }
        };
        KEY.set(key);
        admitted
    }

    /// How many rows the input has, if this version can take it.
    pub(crate) fn inspect(&self, input: &M::Input) -> Result<usize, ServeError> {
        let version = self.ledger.version;
        let rows = catch_panic(|| self.model.check(input).map(|()| self.model.rows(input).max(1)))
            .map_err(|panicked| ServeError::of_model(version, panicked.into()))?
            .map_err(|source| ServeError::InvalidInput { version, source })?;
        let limit = self.options.max_batch_rows;
        if rows > limit { Err(ServeError::TooManyRows { given: rows, limit }) } else { Ok(rows) }
    }

    /// Reports that a request was refused.
    pub(crate) fn refuse(&self, call: &Call, error: ServeError) -> ServeError {
        self.ledger.report(call, OutcomeStatus::Refused, self.ledger.time.monotonic());
        error
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a request, none of which is kept here"
    )]
    pub(crate) fn enqueue(
        &self,
        call: &Call,
        priority: Priority,
        place: Place,
        input: M::Input,
        rows: usize,
        key: Option<Box<[u8]>>,
        shadows: Shadows<M>,
    ) -> Result<Admitted<M::Output>, Turned<M::Input>> {
        let version = self.ledger.version;
        let mut queue = self.queue.lock();
        // Once more from the start whenever there is room, since much can have happened under no lock.
        loop {
            if queue.is_closed {
                return Err(Turned::Away(input));
            }
            if queue.roster.is_down() {
                drop(queue);
                let error = ServeError::NotReady { version: Some(version) };
                return Ok(Admitted::Settled(Err(self.refuse(call, error))));
            }
            let limit = self.options.max_in_flight.unwrap_or(usize::MAX);
            if queue.in_flight() >= limit {
                let waiting = queue.in_flight();
                queue = match self.make_room(queue, waiting, limit) {
                    Ok(queue) => queue,
                    Err(error) => return Err(Turned::Full(input, error)),
                };
                continue;
            }
            if let Some(key) = &key {
                if queue.flights.contains(key) {
                    let (waiting, limit) = (queue.flights.followers(), self.options.queue_rows);
                    if waiting < limit {
                        return Ok(self.follow(queue, key, call, priority, input, rows, shadows));
                    }
                    queue = match self.make_room(queue, waiting, limit) {
                        Ok(queue) => queue,
                        Err(error) => return Err(Turned::Full(input, error)),
                    };
                    continue;
                }
                // The one that led may have come to its end since the cache was asked.
                if let Some(remembered) = self.recall(key, call.entered) {
                    drop(queue);
                    return Ok(self.repeat_and_mirror(call, input, remembered, shadows));
                }
            }
            if place == Place::Caller
                && self.is_cheap(&queue, rows, call)
                && let Some(replica) = queue.idle.pop()
            {
                queue.open(call.entered, self.options.batch_delay);
                key.iter().for_each(|key| queue.flights.lead(key.clone(), priority));
                drop(queue);
                return Ok(Admitted::Settled(
                    self.run_here(call, replica, input, rows, key, shadows),
                ));
            }
            let limit = self.options.queue_rows;
            if queue.rows() > limit.saturating_sub(rows) {
                let waiting = queue.rows();
                queue = match self.make_room(queue, waiting, limit) {
                    Ok(queue) => queue,
                    Err(error) => return Err(Turned::Full(input, error)),
                };
                continue;
            }
            let slot = Arc::new(Slot::new(*call, Arc::clone(&self.ledger)));
            let was_empty = !queue.has_requests();
            queue.open(call.entered, self.options.batch_delay);
            key.iter().for_each(|key| queue.flights.lead(key.clone(), priority));
            let task =
                Task::Answer(Request { promise: Promise::new(&slot), priority, key, shadows });
            queue.push(priority, Job { input, rows, entered: call.entered, task });
            // While a batch waits for more rows, its replica is woken only by what ends the wait.
            let is_news = self.options.batch_delay.is_zero()
                || was_empty
                || call.deadline.is_some()
                || queue.is_complete(queue.cost.cap(&self.options));
            drop(queue);
            if is_news {
                self.work.notify_one();
            }
            return Ok(Admitted::Waiting(slot));
        }
    }

    /// Takes out what nobody wants any more, or says that there is no such thing.
    fn make_room<'a>(
        &'a self,
        queue: MutexGuard<'a, Queue<M>>,
        waiting: usize,
        limit: usize,
    ) -> Result<MutexGuard<'a, Queue<M>>, ServeError> {
        let version = self.ledger.version;
        self.sweep(queue).ok_or(ServeError::Overloaded { version, waiting, limit })
    }

    /// Takes out what nobody wants any more; none if there is no such thing.
    pub(crate) fn sweep<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue<M>>,
    ) -> Option<MutexGuard<'a, Queue<M>>> {
        let gone = self.ledger.counters.gone.load(Ordering::Relaxed);
        let dead = queue.sweep(gone, self.ledger.time.monotonic());
        let is_over = queue.is_over();
        drop(queue);
        if is_over {
            self.work.notify_all();
        }
        if dead.is_empty() {
            return None;
        }
        self.bury(dead);
        Some(self.queue.lock())
    }

    /// Lets a request wait for an identical one.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a request, none of which is kept here"
    )]
    fn follow(
        &self,
        mut queue: MutexGuard<'_, Queue<M>>,
        key: &[u8],
        call: &Call,
        priority: Priority,
        input: M::Input,
        rows: usize,
        shadows: Shadows<M>,
    ) -> Admitted<M::Output> {
        let slot = Arc::new(Slot::new(*call, Arc::clone(&self.ledger)));
        let promise = Promise::new(&slot);
        let task = Task::Answer(Request { promise, priority, key: None, shadows });
        queue.open += 1;
        queue.follow(key, priority, Job { input, rows, entered: call.entered, task });
        Admitted::Waiting(slot)
    }

    /// Whether the caller should run the model itself: nothing waits, and the call is known to be short.
    pub(crate) fn is_cheap(&self, queue: &Queue<M>, rows: usize, call: &Call) -> bool {
        let limit = self.options.inline_below;
        // A caller that does not come back from the model could not be given up.
        if limit.is_zero() || self.options.stuck_after.is_some() || queue.has_requests() {
            return false;
        }
        let Some(expected) = queue.cost.expected(rows) else { return false };
        // A call in the caller's own thread cannot be left at its deadline.
        expected < limit.as_secs_f64()
            && call.deadline.is_none_or(|deadline| {
                deadline.saturating_sub(call.entered).as_secs_f64() >= expected * 4.0
            })
    }
}
