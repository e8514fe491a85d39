//! One computation for identical inputs: who asks for what is being computed waits for that.

use std::collections::HashMap;

use mlp_core::{ModelError, OutcomeStatus, Servable};

use crate::error::ServeError;
use crate::ledger::count;
use crate::queue::{Job, Mirror, Request, Task};
use crate::request::Priority;
use crate::shadow::pass_on;
use crate::version::Version;

/// The keys that are being computed, and who waits for each besides the one whose request is in the queue.
pub(crate) struct Flights<M: ?Sized + Servable> {
    by_key: HashMap<Box<[u8]>, Vec<Job<M>>>,
    followers: usize,
}

impl<M: ?Sized + Servable> Flights<M> {
    pub(crate) fn new() -> Self {
        Self { by_key: HashMap::new(), followers: 0 }
    }

    /// How many requests wait for an identical one.
    pub(crate) fn followers(&self) -> usize {
        self.followers
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.by_key.contains_key(key)
    }

    /// Notes that a key is being computed.
    pub(crate) fn lead(&mut self, key: Box<[u8]>) {
        self.by_key.insert(key, Vec::new());
    }

    /// Lets a request wait for the one that leads its key.
    pub(crate) fn follow(&mut self, key: &[u8], job: Job<M>) {
        if let Some(followers) = self.by_key.get_mut(key) {
            followers.push(job);
            self.followers += 1;
        }
    }

    /// Ends the computation of a key; who waited for it.
    fn land(&mut self, key: &[u8]) -> Vec<Job<M>> {
        let followers = self.by_key.remove(key).unwrap_or_default();
        self.followers -= followers.len();
        followers
    }

    /// Ends all computations.
    pub(crate) fn take(&mut self) -> Vec<Job<M>> {
        self.followers = 0;
        self.by_key.drain().flat_map(|(_, followers)| followers).collect()
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
            self.give(input, request, result, replica);
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
        let Request { slot, shadows, .. } = request;
        let (call, now) = (slot.call, self.ledger.time.monotonic());
        let pass = (!shadows.is_empty()).then(|| self.gate.enter());
        if call.is_late(now) {
            let error = ServeError::DeadlineExceeded { version: self.ledger.version };
            slot.fail(OutcomeStatus::TimedOut, error);
        } else if slot.claim() {
            slot.deliver(match result {
                Ok(output) => {
                    count(&self.ledger.counters.coalesced);
                    Ok(self.repeat(&call, &input, output.clone(), replica, now))
                }
                Err(error) => {
                    self.ledger.report_shared_failure(&call, now);
                    Err(ServeError::of_model(self.ledger.version, error.clone()))
                }
            });
        }
        if let Some(pass) = pass {
            let primary = result.as_ref().ok().cloned();
            pass_on(input, Box::new(Mirror { call, primary, shadows, pass }));
        }
    }

    /// Lets the first who still wants the answer lead, since the leader is gone without having been computed. Called by a replica's thread,
    /// which looks into the queue afterwards, so this works while the version closes.
    pub(crate) fn hand_over(&self, key: Box<[u8]>) {
        let mut queue = self.queue.lock();
        let now = self.ledger.time.monotonic();
        let mut followers = queue.flights.land(&key);
        let Some(heir) = followers.iter().position(|job| job.is_wanted(now)) else {
            drop(queue);
            self.bury(followers);
            return;
        };
        let mut job = followers.remove(heir);
        queue.flights.lead(key.clone());
        for follower in followers {
            queue.flights.follow(&key, follower);
        }
        if let Task::Answer(request) = &mut job.task {
            request.key = Some(key);
        }
        queue.active += 1;
        queue.push(Priority::High, job);
        drop(queue);
        self.work.notify_one();
    }

    /// Tells those whose deadline passed; those who cancelled have been reported.
    pub(crate) fn bury(&self, dead: Vec<Job<M>>) {
        let settled = dead.len();
        for job in dead {
            let Task::Answer(request) = job.task else { continue };
            let error = ServeError::DeadlineExceeded { version: self.ledger.version };
            request.slot.fail(OutcomeStatus::TimedOut, error);
            request.key.into_iter().for_each(|key| self.hand_over(key));
        }
        if settled > 0 {
            self.close_requests(settled);
        }
    }
}
