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
    /// The reply is in its place.
    Settled,
    Waiting(Arc<Slot<O>>),
}

/// Why a request was not taken in; its input is where it was.
pub(crate) enum Turned {
    /// The version takes no more.
    Away,
    /// There is no room: nobody has been told yet.
    Full(ServeError),
}

/// What a request brings and where its reply goes, if that is known at once. Both stay where they are, however many hands the request passes
/// through.
pub(crate) struct Exchange<M: ?Sized + Servable> {
    /// None once somebody has taken it in.
    input: Option<M::Input>,
    pub(crate) reply: Option<Reply<M::Output>>,
}

impl<M: ?Sized + Servable> Exchange<M> {
    #[inline]
    pub(crate) fn new(input: M::Input) -> Self {
        Self { input: Some(input), reply: None }
    }

    /// Notes why there is no answer.
    pub(crate) fn fail(&mut self, error: ServeError) -> Admitted<M::Output> {
        self.reply = Some(Err(error));
        Admitted::Settled
    }

    /// The input, and the place of the reply.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&M::Input, &mut Option<Reply<M::Output>>) {
        (self.input.as_ref().expect("not taken in yet"), &mut self.reply)
    }

    #[inline]
    pub(crate) fn into_reply(self) -> Reply<M::Output> {
        self.reply.expect("it was settled")
    }
}

/// A request at the door of a version.
pub(crate) struct Arrival<'a, M: ?Sized + Servable> {
    pub(crate) call: &'a Call,
    pub(crate) priority: Priority,
    pub(crate) place: Place,
    pub(crate) exchange: &'a mut Exchange<M>,
    /// How many rows the input has, once that is known.
    pub(crate) rows: usize,
    /// Under what to remember the answer.
    pub(crate) key: Option<Box<[u8]>>,
    pub(crate) shadows: Shadows<M>,
}

impl<M: ?Sized + Servable> Arrival<'_, M> {
    #[inline]
    pub(crate) fn input(&self) -> &M::Input {
        self.exchange.input.as_ref().expect("not taken in yet")
    }

    #[inline]
    pub(crate) fn take(&mut self) -> M::Input {
        self.exchange.input.take().expect("taken in once")
    }
}

thread_local! {
    /// Where the cache key of a request is written.
    static KEY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<M: ?Sized + Servable> Version<M> {
    /// Takes a request in, or leaves its input where it is.
    #[inline]
    pub(crate) fn admit(
        &self,
        arrival: &mut Arrival<'_, M>,
    ) -> Result<Admitted<M::Output>, Turned> {
        // A deadline may have passed while the caller waited for room.
        if arrival.call.deadline.is_some() && arrival.call.is_late(self.ledger.time.monotonic()) {
            // The model was never asked: no evidence against the version.
            let error = ServeError::DeadlineExceeded { version: self.ledger.version };
            return Ok(self.turn_away(arrival, error));
        }
        match self.inspect(arrival.input()) {
            Ok(rows) => arrival.rows = rows,
            Err(error) => return Ok(self.turn_away(arrival, error)),
        }
        if self.cache.is_none() { self.enqueue(arrival) } else { self.look_up(arrival) }
    }

    /// Refuses a request for good.
    #[cold]
    fn turn_away(&self, arrival: &mut Arrival<'_, M>, error: ServeError) -> Admitted<M::Output> {
        let error = self.refuse(arrival.call, error);
        arrival.exchange.fail(error)
    }

    /// Answers with what is remembered of an identical input, or takes the request in.
    fn look_up(&self, arrival: &mut Arrival<'_, M>) -> Result<Admitted<M::Output>, Turned> {
        let mut key = KEY.take();
        key.clear();
        let input = arrival.input();
        let is_cacheable = catch_panic(|| self.model.cache_key(input, &mut key)).unwrap_or(false);
        let remembered = is_cacheable.then(|| self.recall(&key, arrival.call.entered)).flatten();
        let admitted = match remembered {
            Some(remembered) => Ok(self.repeat_and_mirror(arrival, remembered)),
            None => {
                arrival.key = is_cacheable.then(|| Box::from(&key[..]));
                arrival.key.iter().for_each(|_| count(&self.ledger.counters.cache_misses));
                self.enqueue(arrival)
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

    /// Lets the caller run the request, or puts it in the queue.
    #[inline(always)] // As those that call it.
    fn enqueue(&self, arrival: &mut Arrival<'_, M>) -> Result<Admitted<M::Output>, Turned> {
        let version = self.ledger.version;
        let mut queue = self.queue.lock();
        // Once more from the start whenever there is room, since much can have happened under no lock.
        loop {
            if queue.is_closed {
                return Err(Turned::Away);
            }
            if queue.roster.is_down() {
                drop(queue);
                let error = ServeError::NotReady { version: Some(version) };
                return Ok(self.turn_away(arrival, error));
            }
            if let Some((waiting, limit)) = self.crowd(&queue, arrival) {
                queue = self.make_room(queue, waiting, limit)?;
                continue;
            }
            if let Some(key) = &arrival.key {
                if queue.flights.contains(key) {
                    return Ok(self.follow(queue, arrival));
                }
                // The one that led may have come to its end since the cache was asked.
                if let Some(remembered) = self.recall(key, arrival.call.entered) {
                    drop(queue);
                    return Ok(self.repeat_and_mirror(arrival, remembered));
                }
            }
            if self.is_cheap(&queue, arrival)
                && let Some(replica) = queue.idle.pop()
            {
                self.open(&mut queue, arrival);
                drop(queue);
                self.run_here(arrival, replica);
                return Ok(Admitted::Settled);
            }
            let limit = self.options.queue_rows;
            if queue.rows() > limit.saturating_sub(arrival.rows) {
                let waiting = queue.rows();
                queue = self.make_room(queue, waiting, limit)?;
                continue;
            }
            return Ok(self.push(queue, arrival));
        }
    }

    /// How many requests there are and how many there may be, if there is no room for one more: in flight, or waiting for an identical one.
    fn crowd(&self, queue: &Queue<M>, arrival: &Arrival<'_, M>) -> Option<(usize, usize)> {
        let limit = self.options.max_in_flight.unwrap_or(usize::MAX);
        if queue.in_flight() >= limit {
            return Some((queue.in_flight(), limit));
        }
        let key = arrival.key.as_ref()?;
        let (waiting, limit) = (queue.flights.followers(), self.options.queue_rows);
        (waiting >= limit && queue.flights.contains(key)).then_some((waiting, limit))
    }

    /// Notes that a request was accepted that does not wait for an identical one.
    #[inline]
    fn open(&self, queue: &mut Queue<M>, arrival: &Arrival<'_, M>) {
        queue.open(arrival.call.entered, self.options.batch_delay);
        if let Some(key) = &arrival.key {
            queue.flights.lead(key.clone(), arrival.priority);
        }
    }

    /// Puts a request in the queue.
    fn push(
        &self,
        mut queue: MutexGuard<'_, Queue<M>>,
        arrival: &mut Arrival<'_, M>,
    ) -> Admitted<M::Output> {
        let was_empty = !queue.has_requests();
        self.open(&mut queue, arrival);
        let key = arrival.key.take();
        let (slot, job) = self.job(arrival, key);
        queue.push(arrival.priority, job);
        // While a batch waits for more rows, its replica is woken only by what ends the wait.
        let is_news = self.options.batch_delay.is_zero()
            || was_empty
            || arrival.call.deadline.is_some()
            || queue.is_complete(queue.cost.cap(&self.options));
        drop(queue);
        if is_news {
            self.work.notify_one();
        }
        Admitted::Waiting(slot)
    }

    /// The job that a request becomes when it waits, and the place where its answer is left.
    fn job(
        &self,
        arrival: &mut Arrival<'_, M>,
        key: Option<Box<[u8]>>,
    ) -> (Arc<Slot<M::Output>>, Job<M>) {
        let slot = Arc::new(Slot::new(*arrival.call, Arc::clone(&self.ledger)));
        let shadows = std::mem::take(&mut arrival.shadows);
        let (promise, priority) = (Promise::new(&slot), arrival.priority);
        let task = Task::Answer(Request { promise, priority, key, shadows });
        let (rows, entered) = (arrival.rows, arrival.call.entered);
        (slot, Job { input: arrival.take(), rows, entered, task })
    }

    /// Takes out what nobody wants any more, or says that there is no such thing.
    fn make_room<'a>(
        &'a self,
        queue: MutexGuard<'a, Queue<M>>,
        waiting: usize,
        limit: usize,
    ) -> Result<MutexGuard<'a, Queue<M>>, Turned> {
        let version = self.ledger.version;
        let full = || Turned::Full(ServeError::Overloaded { version, waiting, limit });
        self.sweep(queue).ok_or_else(full)
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
    fn follow(
        &self,
        mut queue: MutexGuard<'_, Queue<M>>,
        arrival: &mut Arrival<'_, M>,
    ) -> Admitted<M::Output> {
        let key = arrival.key.take().unwrap_or_default();
        let (slot, job) = self.job(arrival, None);
        queue.open += 1;
        queue.follow(&key, arrival.priority, job);
        Admitted::Waiting(slot)
    }

    /// Whether the caller should run the model itself: it may, nothing waits, and the call is known to be short.
    #[inline]
    fn is_cheap(&self, queue: &Queue<M>, arrival: &Arrival<'_, M>) -> bool {
        if arrival.place != Place::Caller || queue.has_requests() {
            return false;
        }
        let Some(expected) = queue.cost.expected(arrival.rows) else { return false };
        let &Call { deadline, entered, .. } = arrival.call;
        // A call in the caller's own thread cannot be left at its deadline.
        expected < self.inline_seconds
            && deadline.is_none_or(|deadline| {
                deadline.saturating_sub(entered).as_secs_f64() >= expected * 4.0
            })
    }
}
