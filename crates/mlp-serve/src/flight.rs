//! One computation for identical inputs: who asks for what is being computed waits for that.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;
use mlp_core::{ModelError, OutcomeStatus, Servable};

use crate::answers::copy;
use crate::error::ServeError;
use crate::ledger::count;
use crate::queue::{Job, Mirror, Request, Task};
use crate::request::Priority;
use crate::shadow::pass_on;
use crate::version::Version;

/// The keys that are being computed, and who waits for each besides the one whose request is in the queue.
pub(crate) struct Flights<M: ?Sized + Servable> {
    by_key: HashMap<Box<[u8]>, Flight<M>, RandomState>,
    followers: usize,
}

struct Flight<M: ?Sized + Servable> {
    /// That of the most urgent request for the key.
    priority: Priority,
    followers: Vec<Job<M>>,
}

impl<M: ?Sized + Servable> Flights<M> {
    pub(crate) fn new() -> Self {
        Self { by_key: HashMap::default(), followers: 0 }
    }

    /// How many requests wait for an identical one.
    pub(crate) fn followers(&self) -> usize {
        self.followers
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job<M>> {
        self.by_key.values().flat_map(|flight| &flight.followers)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.by_key.contains_key(key)
    }

    /// Notes that a key is being computed.
    pub(crate) fn lead(&mut self, key: Box<[u8]>, priority: Priority) {
        self.by_key.insert(key, Flight { priority, followers: Vec::new() });
    }

    /// Lets a request wait for the one that leads its key; whether it is more urgent than all before it.
    pub(crate) fn follow(&mut self, key: &[u8], priority: Priority, job: Job<M>) -> bool {
        let Some(flight) = self.by_key.get_mut(key) else { return false };
        flight.followers.push(job);
        self.followers += 1;
        let is_more = priority > flight.priority;
        flight.priority = flight.priority.max(priority);
        is_more
    }

    /// Lets the first who still wants the answer lead, since the leader is gone without having been computed; with the priority of the
    /// most urgent one that is left. Those who do not want it any more go to `dead`.
    pub(crate) fn inherit(
        &mut self,
        key: &[u8],
        now: Duration,
        dead: &mut Vec<Job<M>>,
    ) -> Option<(Priority, Job<M>)> {
        let (key, Flight { followers, .. }) = self.by_key.remove_entry(key)?;
        self.followers -= followers.len();
        let (mut wanted, unwanted): (Vec<_>, Vec<_>) =
            followers.into_iter().partition(|job| job.is_wanted(now));
        dead.extend(unwanted);
        let priority = wanted.iter().map(Job::priority).max()?;
        let mut heir = wanted.remove(0);
        if let Task::Answer(request) = &mut heir.task {
            request.key = Some(key.clone());
        }
        self.followers += wanted.len();
        self.by_key.insert(key, Flight { priority, followers: wanted });
        Some((priority, heir))
    }

    /// Puts those among the dead who wait for an identical request and do not want the answer any more.
    pub(crate) fn sweep(&mut self, now: Duration, dead: &mut Vec<Job<M>>) {
        let before = dead.len();
        for flight in self.by_key.values_mut() {
            dead.extend(flight.followers.extract_if(.., |job| !job.is_wanted(now)));
        }
        self.followers -= dead.len() - before;
    }

    /// Ends the computation of a key; who waited for it.
    fn land(&mut self, key: &[u8]) -> Vec<Job<M>> {
        let followers = self.by_key.remove(key).map_or_else(Vec::new, |flight| flight.followers);
        self.followers -= followers.len();
        followers
    }

    /// Ends all computations.
    pub(crate) fn take(&mut self) -> Vec<Job<M>> {
        self.followers = 0;
        self.by_key.drain().flat_map(|(_, flight)| flight.followers).collect()
    }
}

impl<M: ?Sized + Servable> Version<M> {
    /// Ends the computation of a key; who waits for it. The answer has been remembered before, so that who comes now finds it.
    pub(crate) fn followers(&self, key: &[u8]) -> Vec<Job<M>> {
        self.queue.lock().flights.land(key)
    }

    /// Gives what the leader of a key came to, to all who waited for it.
    pub(crate) fn land(
        &self,
        followers: Vec<Job<M>>,
        result: &Result<M::Output, ModelError>,
        replica: usize,
    ) {
        if followers.is_empty() {
            return;
        }
        let settled = followers.len();
        for job in followers {
            let Job { input, task: Task::Answer(request), .. } = job else { continue };
            // What may panic here is the dropping of inputs and outputs, which are foreign.
            self.ledger.listen(|| self.give(input, request, result, replica));
        }
        self.close_requests(settled);
    }

    fn give(
        &self,
        input: M::Input,
        request: Request<M>,
        result: &Result<M::Output, ModelError>,
        replica: usize,
    ) {
        let Request { mut promise, shadows, .. } = request;
        let (call, now) = (promise.call(), self.ledger.time.monotonic());
        let pass = (!shadows.is_empty()).then(|| self.gate.enter());
        if call.is_late(now) {
            let error = ServeError::DeadlineExceeded { version: self.ledger.version };
            promise.fail(OutcomeStatus::TimedOut, error);
        } else if promise.claim() {
            promise.deliver(match copy(result) {
                Ok(output) => {
                    count(&self.ledger.counters.coalesced);
                    Ok(self.repeat(&call, &input, output, replica, now))
                }
                Err(error) => {
                    self.ledger.report_shared_failure(&call, now);
                    Err(ServeError::of_model(self.ledger.version, error))
                }
            });
        }
        if let Some(pass) = pass {
            let primary = copy(result).ok();
            pass_on(input, Box::new(Mirror { call, primary, shadows, pass }));
        }
    }

    /// Tells those whose deadline passed; those who cancelled have been reported.
    pub(crate) fn bury(&self, dead: impl IntoIterator<Item = Job<M>>) {
        let mut settled = 0;
        for job in dead {
            settled += 1;
            if let Task::Answer(request) = &job.task {
                let error = ServeError::DeadlineExceeded { version: self.ledger.version };
                request.promise.fail(OutcomeStatus::TimedOut, error);
            }
            self.ledger.listen(|| drop(job));
        }
        if settled > 0 {
            self.close_requests(settled);
        }
    }
}
