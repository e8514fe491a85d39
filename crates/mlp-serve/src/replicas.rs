//! The replicas of a version: how many there are, which of them are well, and what becomes of those that are not.
//!
//! A replica that fails again and again is checked on the warm-up inputs, and built anew if it fails those too, or if there are none; as
//! long as that does not help, it is tried again after longer and longer pauses. One that panicked is built anew at once. One that does not
//! come back from the model is given up with its thread, and another one takes its place, as long as no more threads hang than there are replicas.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlp_core::{Health, HostError, Lifecycle, ModelError, OutcomeStatus, Servable};

use crate::error::ServeError;
use crate::health::ReplicaHealth;
use crate::options::ServeOptions;
use crate::prepare;
use crate::queue::{Queue, Replica, Task};
use crate::roster::{Busy, Condition, Member, Sick};
use crate::threads::Abandoned;
use crate::version::Version;
use crate::worker;

/// The pause before a replica is built anew for the second time in a row; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A replica that panicked is not built anew so soon after the last time: inputs that make it panic may come in numbers.
const BETWEEN_PANICS: Duration = Duration::from_secs(1);

impl<M: ?Sized + Servable> Queue<M> {
    /// Takes a replica back after its work.
    pub(crate) fn take_back(
        &mut self,
        mut replica: Box<Replica<M>>,
        options: &ServeOptions,
        now: Duration,
    ) {
        let roster = &mut self.roster;
        if roster.surplus > 0 {
            roster.surplus -= 1;
            roster.leave(replica.index);
            return;
        }
        let has_panicked = std::mem::take(&mut replica.has_panicked);
        if options.restart_after > 0 && !self.is_closed {
            if replica.failures >= options.restart_after {
                let due = now.saturating_add(replica.pause);
                if !replica.pause.is_zero() {
                    roster.set(replica.index, Condition::Sick);
                }
                roster.sick.push(Sick { replica, due, is_broken: false });
                return;
            }
            let is_late = || replica.built.is_none_or(|built| now >= built + BETWEEN_PANICS);
            if has_panicked && is_late() {
                roster.sick.push(Sick { replica, due: now, is_broken: true });
                return;
            }
        }
        self.idle.push(replica);
    }
}

impl<M: ?Sized + Servable> Replica<M> {
    /// Notes what came of a batch: an input that the model calls invalid is no fault of the replica.
    pub(crate) fn note(&mut self, panics: u64) {
        self.has_panicked |= panics > 0;
        let is_fault = |error: &ModelError| !matches!(error, ModelError::InvalidInput { .. });
        if self.results.iter().any(Result::is_ok) {
            (self.failures, self.pause) = (0, Duration::ZERO);
        } else if self.results.iter().any(|result| result.as_ref().is_err_and(is_fault)) {
            self.failures = self.failures.saturating_add(1);
        }
    }
}

impl<M: ?Sized + Servable> Version<M> {
    /// Checks a replica that is out of service, builds it anew if it must be, and puts it back if that helped.
    pub(crate) fn repair(&self, sick: Sick<M>) {
        let Sick { mut replica, is_broken, .. } = sick;
        let inputs = self.warm_up.lock();
        let cap = self.options.max_batch_rows;
        let check =
            |replica: &mut Replica<M>| prepare::answers(replica, &inputs, cap, |_, _| {}).is_ok();
        let is_innocent = !is_broken && !inputs.is_empty() && check(&mut replica);
        let is_well = is_innocent || {
            self.source.build().is_ok_and(|model| {
                replica.model = model;
                check(&mut replica)
            })
        };
        drop(inputs);
        let now = self.ledger.time.monotonic();
        let mut queue = self.queue.lock();
        if is_innocent {
            replica.failures = 0;
        } else {
            queue.roster.restarts += 1;
            replica.built = Some(now);
            if replica.failures >= self.options.restart_after || !is_well {
                replica.pause = (replica.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            }
            // One more failure takes it out again.
            replica.failures = replica.failures.min(self.options.restart_after.saturating_sub(1));
        }
        if is_well {
            queue.roster.set(replica.index, Condition::Well);
            queue.idle.push(replica);
        } else {
            queue.roster.set(replica.index, Condition::Sick);
            let due = now.saturating_add(replica.pause);
            queue.roster.sick.push(Sick { replica, due, is_broken: true });
        }
        drop(queue);
        self.refuse_if_down();
        self.work.notify_one();
    }

    /// Refuses what waits if no replica can answer.
    pub(crate) fn refuse_if_down(&self) {
        let mut queue = self.queue.lock();
        if !queue.roster.is_down() {
            return;
        }
        let mut jobs = queue.take_requests();
        jobs.extend(queue.flights.take());
        let is_over = queue.is_over();
        drop(queue);
        if is_over {
            self.work.notify_all();
        }
        for job in &jobs {
            if let Task::Answer(request) = &job.task {
                let error = ServeError::NotReady { version: Some(self.ledger.version) };
                request.slot.fail(OutcomeStatus::Failed, error);
            }
        }
        self.close_requests(jobs.len());
    }

    /// Lets the watchdog know of a batch; none if there is no watchdog.
    pub(crate) fn watch(
        &self,
        tasks: &[Task<M>],
        replica: usize,
        since: Duration,
        thread: &Abandoned,
    ) -> Option<u64> {
        self.options.stuck_after?;
        let requests = || {
            tasks.iter().filter_map(|task| match task {
                Task::Answer(request) => Some(request),
                Task::Mirror(_) => None,
            })
        };
        let slots = requests().map(|request| Arc::clone(&request.slot)).collect();
        let keys = requests().filter_map(|request| request.key.clone()).collect();
        let mut queue = self.queue.lock();
        let roster = &mut queue.roster;
        roster.tickets += 1;
        let ticket = roster.tickets;
        roster.busy.push(Busy { ticket, replica, since, slots, keys, thread: thread.clone() });
        Some(ticket)
    }

    /// Ends the watch over a batch. False if it was given up: its requests have been told, and its replica has been replaced.
    pub(crate) fn unwatch(&self, ticket: u64) -> bool {
        let mut queue = self.queue.lock();
        let busy = &mut queue.roster.busy;
        let found = busy.iter().position(|busy| busy.ticket == ticket);
        found.map(|at| busy.swap_remove(at)).is_some()
    }

    /// Takes back a thread that was given up, once it comes back from the model: if another one hangs in its place, it works on, with a replica that is built
    /// anew. False if it is not needed.
    pub(crate) fn come_back(&self, thread: &Abandoned) -> bool {
        let mut queue = self.queue.lock();
        let roster = &mut queue.roster;
        roster.hanging -= 1;
        let stuck = roster.members.iter_mut().find(|it| it.condition == Condition::Stuck);
        let Some(member) = stuck else { return false };
        member.condition = Condition::Well;
        let replica =
            Replica::new(member.index, Arc::clone(&self.model), Arc::clone(&member.served));
        roster.sick.push(Sick { replica, due: Duration::ZERO, is_broken: true });
        roster.enlist();
        thread.set(false);
        true
    }

    /// Sets how many replicas there are. New ones are built and warmed one after another, beside those that serve; those that go finish their batch.
    pub(crate) fn scale_to(self: &Arc<Self>, replicas: usize) -> Result<(), HostError>
    where
        M: 'static,
    {
        let _alone = self.scaling.lock();
        let (target, taken): (usize, Vec<usize>) = {
            let queue = self.queue.lock();
            let members = queue.roster.members.iter();
            (queue.roster.target(), members.map(|member| member.index).collect())
        };
        if replicas <= target {
            self.shrink(target - replicas);
            return Ok(());
        }
        let free = (0..).filter(|index| !taken.contains(index));
        let made = prepare::more(self, free.take(replicas - target))?;
        for replica in made {
            let name = worker::name(self, replica.index);
            let mut queue = self.queue.lock();
            if queue.is_closed {
                return Err(HostError::ShuttingDown);
            }
            if queue.roster.surplus > 0 {
                // One that was to leave may as well stay.
                queue.roster.surplus -= 1;
                continue;
            }
            queue.roster.join(&replica);
            queue.roster.enlist();
            queue.idle.push(replica);
            drop(queue);
            let own = Arc::clone(self);
            if let Err(error) = self.threads.spawn(name, move |thread| worker::work(own, thread)) {
                self.queue.lock().roster.discharge();
                self.shrink(1);
                let source = ModelError::failed(error);
                return Err(HostError::Build { version: self.ledger.version, source });
            }
            self.work.notify_one();
        }
        Ok(())
    }

    fn shrink(&self, by: usize) {
        let mut queue = self.queue.lock();
        for _ in 0..by {
            let roster = &mut queue.roster;
            let stuck = roster.members.iter().find(|member| member.condition == Condition::Stuck);
            let gone = stuck.map(|member| member.index);
            let gone = gone.or_else(|| roster.sick.pop().map(|sick| sick.replica.index));
            match gone.or_else(|| queue.idle.pop().map(|replica| replica.index)) {
                Some(index) => queue.roster.leave(index),
                None => queue.roster.surplus += 1,
            }
        }
        drop(queue);
        self.work.notify_all();
    }

    pub(crate) fn health(&self) -> Health {
        let queue = self.queue.lock();
        let roster = &queue.roster;
        let (replicas, well) = (roster.target(), roster.well());
        let quorum = (self.options.quorum * replicas as f64).ceil().max(1.0);
        let lifecycle = match queue.is_closed {
            true => Lifecycle::Draining,
            false if (well as f64) < quorum => Lifecycle::Unhealthy,
            false => Lifecycle::Ready,
        };
        let served = roster.members.iter().map(|member| member.served.load(Ordering::Relaxed));
        let requests = roster.served_before + served.sum::<u64>();
        Health { lifecycle, ready_replicas: well, replicas, requests }
    }

    pub(crate) fn replica_health(&self) -> Vec<ReplicaHealth> {
        let queue = self.queue.lock();
        let of = |member: &Member| ReplicaHealth {
            replica: member.index,
            requests: member.served.load(Ordering::Relaxed),
            is_well: member.condition == Condition::Well,
        };
        queue.roster.members.iter().map(of).collect()
    }
}

impl<M: ?Sized + Servable + 'static> Version<M> {
    /// Gives up batches that do not come back, until the version is closed and quiet.
    pub(crate) fn keep_watch(self: &Arc<Self>, limit: Duration) {
        let mut queue = self.queue.lock();
        while !queue.is_closed || queue.open > 0 {
            let now = self.ledger.time.monotonic();
            let busy = &mut queue.roster.busy;
            if let Some(at) = busy.iter().position(|busy| now >= busy.since.saturating_add(limit)) {
                let stuck = busy.swap_remove(at);
                queue.active -= stuck.slots.len();
                drop(queue);
                self.give_up(stuck, limit);
                queue = self.queue.lock();
                continue;
            }
            let next = now.saturating_add((limit / 4).max(Duration::from_micros(100)));
            self.ledger.time.wait(&self.quiet, &mut queue, Some(next));
        }
    }

    fn give_up(self: &Arc<Self>, stuck: Busy<M>, limit: Duration) {
        let Busy { replica, slots, keys, thread, .. } = stuck;
        thread.set(true);
        let version = self.ledger.version;
        // Those who wait for an identical request hear the same.
        let followers: Vec<_> = keys.iter().flat_map(|key| self.followers(key)).collect();
        let following = followers.iter().filter_map(|job| match &job.task {
            Task::Answer(request) => Some(&request.slot),
            Task::Mirror(_) => None,
        });
        for slot in slots.iter().chain(following) {
            let error = ServeError::ReplicaStuck { version, replica, limit };
            slot.fail(OutcomeStatus::TimedOut, error);
        }
        self.replace(replica);
        self.close_requests(slots.len() + followers.len());
        self.refuse_if_down();
    }

    /// Puts another replica and thread in the place of those that are stuck; not if as many are stuck already as there should be.
    fn replace(self: &Arc<Self>, index: usize) {
        let mut queue = self.queue.lock();
        let roster = &mut queue.roster;
        roster.stuck += 1;
        roster.hanging += 1;
        let is_closed = queue.is_closed;
        let roster = &mut queue.roster;
        let Some(member) = roster.members.iter().find(|member| member.index == index) else {
            return;
        };
        let replica = Replica::new(index, Arc::clone(&self.model), Arc::clone(&member.served));
        if roster.hanging > roster.target() && !is_closed {
            roster.set(index, Condition::Stuck);
            roster.discharge();
            return;
        }
        roster.sick.push(Sick { replica, due: Duration::ZERO, is_broken: true });
        drop(queue);
        let own = Arc::clone(self);
        let name = worker::name(self, index);
        if self.threads.spawn(name, move |thread| worker::work(own, thread)).is_err() {
            // The others look after the replica; there is a thread less.
            self.queue.lock().roster.discharge();
        }
        self.work.notify_one();
    }
}
