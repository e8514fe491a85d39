//! The thread of a replica: takes batches from the queue until the version is closed and the queue empty.

use std::sync::Arc;

use mlp_core::{ModelError, Servable};

use crate::answers::copy;
use crate::queue::{Job, Mirror, Replica, Request, Task};
use crate::roster::Order;
use crate::shadow::pass_on;
use crate::threads::Abandoned;
use crate::version::{CountedBy, End, Version, Work};

/// The buffers of a thread, kept from batch to batch.
struct Worker<M: ?Sized + Servable> {
    version: Arc<Version<M>>,
    thread: Abandoned,
    batch: Vec<Job<M>>,
    dead: Vec<Job<M>>,
    inputs: Vec<M::Input>,
    tasks: Vec<Task<M>>,
    results: Vec<Result<M::Output, ModelError>>,
}

/// The name of the thread that a replica brings with it; threads and replicas meet as they are free.
pub(crate) fn name<M: ?Sized + Servable>(version: &Version<M>, replica: usize) -> String {
    format!("mlp-serve {}.{replica}", version.ledger.version)
}

/// Works until the version is closed and nothing waits, there are fewer replicas, or the thread is given up.
pub(crate) fn work<M: ?Sized + Servable + 'static>(version: Arc<Version<M>>, thread: Abandoned) {
    let mut worker = Worker {
        version,
        thread,
        batch: Vec::new(),
        dead: Vec::new(),
        inputs: Vec::new(),
        tasks: Vec::new(),
        results: Vec::new(),
    };
    while let Some(replica) = worker.next() {
        if !worker.serve(replica) {
            return;
        }
    }
}

/// What a thread does next.
enum Turn<M: ?Sized + Servable> {
    Serve(Box<Replica<M>>),
    /// Have a replica seen to, under a ticket.
    SeeTo(usize, u64, Order<M>),
    Leave,
}

impl<M: ?Sized + Servable + 'static> Worker<M> {
    /// Waits for a batch and an idle replica; none when there will be no more.
    fn next(&mut self) -> Option<Box<Replica<M>>> {
        loop {
            let replica = match self.take() {
                Turn::Serve(replica) => replica,
                Turn::SeeTo(index, ticket, order) => {
                    self.version.see_to(index, ticket, order);
                    continue;
                }
                Turn::Leave => return None,
            };
            if !self.dead.is_empty() {
                self.version.bury(self.dead.drain(..));
            }
            if !self.batch.is_empty() {
                return Some(replica);
            }
            // Nobody wanted what waited.
            let version = &self.version;
            version.queue.lock().idle.push(replica);
            version.work.notify_one();
        }
    }

    fn take(&mut self) -> Turn<M> {
        let version = &self.version;
        let (time, options) = (&version.ledger.time, &version.options);
        let mut queue = version.queue.lock();
        loop {
            if (queue.is_empty() && queue.is_closed) || queue.roster.has_idle_hands() {
                queue.roster.discharge();
                return Turn::Leave;
            }
            let now = time.monotonic();
            if queue.is_closed {
                // What was accepted is tried with what there is.
                let queue = &mut *queue;
                queue.idle.append(&mut queue.roster.bench);
            } else if let Some((index, ticket, order)) = queue.roster.take_due(now) {
                return Turn::SeeTo(index, ticket, order);
            }
            if queue.is_empty() || queue.idle.is_empty() {
                let until = queue.roster.next_due().filter(|_| !queue.is_closed);
                time.wait(&version.work, &mut queue, until);
                continue;
            }
            let cap = queue.cost.cap(options);
            match queue.waits_until(options.batch_delay, cap) {
                Some(until) if now < until => time.wait(&version.work, &mut queue, Some(until)),
                _ => {
                    let Some(replica) = queue.idle.pop() else { continue };
                    queue.take(cap, now, &mut self.batch, &mut self.dead);
                    let is_over = queue.is_over();
                    let has_more = !queue.is_empty() && !queue.idle.is_empty();
                    drop(queue);
                    if is_over {
                        // The others have nothing to wait for.
                        version.work.notify_all();
                    } else if has_more {
                        version.work.notify_one();
                    }
                    return Turn::Serve(replica);
                }
            }
        }
    }

    /// Runs the batch, makes the replica idle, then tells the callers. False if that took so long that the thread was given up.
    fn serve(&mut self, mut replica: Box<Replica<M>>) -> bool {
        let version = Arc::clone(&self.version);
        let (rows, index) = (self.batch.iter().map(|job| job.rows).sum(), replica.index);
        for job in self.batch.drain(..) {
            self.inputs.push(job.input);
            self.tasks.push(job.task);
        }
        let started = version.ledger.time.monotonic();
        let watch = version.watch(&self.tasks, index, started, &self.thread);
        version.run(&mut replica, &self.inputs, watch);
        if watch.is_some_and(|ticket| !version.unwatch(ticket)) {
            for (input, mut task) in self.inputs.drain(..).zip(self.tasks.drain(..)) {
                if let Task::Answer(request) = &mut task {
                    // The watchdog has told its caller, or is about to.
                    request.promise.leave();
                }
                version.ledger.listen(|| drop((input, task)));
            }
            version.come_back();
            return false;
        }
        std::mem::swap(&mut replica.results, &mut self.results);
        let ended = version.ledger.time.monotonic();
        let span = ended.saturating_sub(started);
        let requests = self.tasks.iter().filter(|task| matches!(task, Task::Answer(_))).count();
        let work = Work { requests, settled: 0, rows, span, ended, is_alone: false };
        version.put_back(replica, work);

        for ((input, task), result) in
            self.inputs.drain(..).zip(self.tasks.drain(..)).zip(self.results.drain(..))
        {
            // What may panic here is the dropping of inputs and outputs, which are foreign.
            version.ledger.listen(|| match task {
                Task::Answer(request) => answer(&version, request, input, result, index),
                Task::Mirror(mirror) => {
                    version.settle_mirror(&mirror, &input, &result, span);
                    pass_on(input, mirror);
                }
            });
        }
        version.close_requests(requests);
        true
    }
}

fn answer<M: ?Sized + Servable>(
    version: &Version<M>,
    request: Request<M>,
    input: M::Input,
    result: Result<M::Output, ModelError>,
    replica: usize,
) {
    let Request { mut promise, key, shadows, .. } = request;
    let (call, now) = (promise.call(), version.ledger.time.monotonic());
    // Whoever waits for the shadows to settle must see this copy once the caller has its answer.
    let pass = (!shadows.is_empty()).then(|| version.gate.enter());
    let flight = key.clone();
    version.remember(key, &result, replica, now);
    // Only if somebody else is to have it as well, it is copied.
    let is_shared = flight.is_some() || pass.is_some();
    let (own, others) = if is_shared { (copy(&result), Some(result)) } else { (result, None) };
    let latency = now.saturating_sub(call.entered);
    let end = End { replica, at: now, latency, counted_by: CountedBy::Ledger };
    let mut reply = None;
    if promise.claim() {
        version.settle(&call, &input, own, &end, &mut reply);
    }
    // The flight ends before the caller hears, so that what it asks next never joins it.
    let followers = flight.map_or_else(Vec::new, |key| version.followers(&key));
    if let Some(reply) = reply {
        promise.deliver(reply);
    }
    if let Some(result) = &others {
        version.land(followers, result, replica);
    }
    let primary = others.and_then(Result::ok);
    if let Some(pass) = pass {
        pass_on(input, Box::new(Mirror { call, primary, shadows, pass }));
    }
}
