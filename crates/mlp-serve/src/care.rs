//! Looking after replicas: a watchdog over calls that do not come back, and threads that check and build models beside those that serve.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{ModelError, OutcomeStatus, Servable};

use crate::error::ServeError;
use crate::prepare;
use crate::queue::{Replica, Task};
use crate::roster::{Activity, Busy, Condition, Order, Verdict};
use crate::threads::Abandoned;
use crate::version::Version;

impl<M: ?Sized + Servable> Version<M> {
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
        let slots = requests().map(|request| request.promise.slot()).collect();
        let keys = requests().filter_map(|request| request.key.clone()).collect();
        let (activity, thread) = (Activity::Batch, thread.clone());
        let mut queue = self.queue.lock();
        let roster = &mut queue.roster;
        roster.tickets += 1;
        let ticket = roster.tickets;
        roster.busy.push(Busy { ticket, replica, since, activity, slots, keys, thread });
        Some(ticket)
    }

    /// Ends the watch over a call. False if it was given up: its requests have been told, and its replica has been replaced.
    pub(crate) fn unwatch(&self, ticket: u64) -> bool {
        let mut queue = self.queue.lock();
        let busy = &mut queue.roster.busy;
        let found = busy.iter().position(|busy| busy.ticket == ticket);
        let found = found.map(|at| busy.swap_remove(at));
        let is_quiet = queue.is_closed && !queue.roster.is_watched();
        drop(queue);
        if is_quiet {
            self.quiet.notify_all();
        }
        found.is_some()
    }

    /// Notes that another call begins under the same watch.
    pub(crate) fn watch_anew(&self, ticket: u64, activity: Activity) {
        let mut queue = self.queue.lock();
        queue.roster.renew(ticket, activity, self.ledger.time.monotonic());
    }

    /// As [`watch_anew`](Self::watch_anew), for a call of a check. False once the version has ended: then it has no more time, and the watchdog may have
    /// left.
    fn may_check(&self, ticket: u64, serving: bool) -> bool {
        let mut queue = self.queue.lock();
        if queue.is_quiet() {
            return false;
        }
        queue.roster.renew(ticket, Activity::Checking { serving }, self.ledger.time.monotonic());
        true
    }

    /// Runs the warm-up inputs on a model, each call watched, for as long as the version lives: it must answer them as this version did when it was
    /// prepared.
    fn probe(&self, model: &M, ticket: u64, serving: bool) -> Result<(), ModelError> {
        if !self.may_check(ticket, serving) {
            return Err(ModelError::failed("the version has ended"));
        }
        let cap = self.options.max_batch_rows;
        let answers = prepare::answers(model, self.warm_up.inputs(), cap, |_, is_done| {
            is_done || self.may_check(ticket, serving)
        })?;
        prepare::compare(model, &self.expected, &answers)
    }
}

impl<M: ?Sized + Servable + 'static> Version<M> {
    /// Has a thread of its own see to a replica.
    pub(crate) fn see_to(self: &Arc<Self>, index: usize, ticket: u64, order: Order<M>) {
        self.threads.reap();
        let own = Arc::clone(self);
        let name = format!("mlp-serve {} care {index}", self.ledger.version);
        if self
            .threads
            .spawn_aside(name, move |thread| own.care(index, ticket, order, thread))
            .is_err()
        {
            self.conclude(index, ticket, Verdict::Failed);
        }
    }

    fn care(self: Arc<Self>, index: usize, ticket: u64, order: Order<M>, thread: Abandoned) {
        if self.options.stuck_after.is_some() {
            let (slots, keys) = (Vec::new(), Vec::new());
            let (since, activity) = (self.ledger.time.monotonic(), Activity::Building);
            let busy = Busy { ticket, replica: index, since, activity, slots, keys, thread };
            self.queue.lock().roster.busy.push(busy);
        }
        let verdict = match order {
            Order::Check(model) => match self.probe(&model, ticket, true) {
                Ok(()) => Verdict::Innocent,
                Err(_) => Verdict::Guilty,
            },
            Order::Renew => {
                let built = self.source.build();
                match built.and_then(|it| self.probe(&it, ticket, false).map(|()| it)) {
                    Ok(model) => Verdict::Renewed(model),
                    Err(_) => Verdict::Failed,
                }
            }
        };
        match self.options.stuck_after.is_none() || self.unwatch(ticket) {
            true => self.conclude(index, ticket, verdict),
            false => self.come_back(),
        }
    }

    fn conclude(&self, index: usize, ticket: u64, verdict: Verdict<M>) {
        let now = self.ledger.time.monotonic();
        let mut queue = self.queue.lock();
        queue.conclude(index, ticket, verdict, &self.options, now);
        let gone = std::mem::take(&mut queue.roster.gone);
        drop(queue);
        self.refuse_if_down();
        self.work.notify_all();
        self.ledger.listen(|| drop(gone));
    }

    /// Notes that a thread that was given up has come back from the model after all.
    pub(crate) fn come_back(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        queue.roster.hanging -= 1;
        queue.roster.revive();
        drop(queue);
        self.work.notify_all();
    }

    /// Gives up calls that do not come back, until the version is closed and quiet. A model that is still being built then is none of its business: it is
    /// never given up.
    pub(crate) fn keep_watch(self: &Arc<Self>, limit: Duration) {
        let mut queue = self.queue.lock();
        while !queue.is_quiet() || queue.roster.is_watched() {
            let now = self.ledger.time.monotonic();
            let is_stuck = |busy: &Busy<M>| now >= busy.since.saturating_add(limit);
            let Some(at) = queue.roster.busy.iter().position(is_stuck) else {
                let next = now.saturating_add((limit / 4).max(Duration::from_micros(100)));
                self.ledger.time.wait(&self.quiet, &mut queue, Some(next));
                continue;
            };
            let roster = &mut queue.roster;
            if roster.busy[at].activity == Activity::Building {
                // It may take its time, but nobody waits for it any longer.
                roster.busy[at].since = Duration::MAX;
                let index = roster.busy[at].replica;
                let mending = roster.find(index).filter(|it| it.condition == Condition::Mending);
                mending.into_iter().for_each(|member| member.condition = Condition::Sick);
                drop(queue);
                self.refuse_if_down();
            } else {
                let stuck = roster.busy.swap_remove(at);
                // At once, since it may come back at any moment from now on.
                roster.stuck += 1;
                roster.hanging += 1;
                queue.active -= stuck.slots.len();
                drop(queue);
                self.give_up(stuck, limit);
            }
            queue = self.queue.lock();
        }
    }

    fn give_up(self: &Arc<Self>, stuck: Busy<M>, limit: Duration) {
        let Busy { ticket, replica, activity, slots, keys, thread, .. } = stuck;
        thread.set(true);
        let version = self.ledger.version;
        // Those who wait for an identical request hear the same.
        let followers: Vec<_> = keys.iter().flat_map(|key| self.followers(key)).collect();
        let now = self.ledger.time.monotonic();
        let mut queue = self.queue.lock();
        match activity {
            Activity::Batch => {
                queue.roster.discharge();
                let served = queue.roster.find(replica).map(|member| Arc::clone(&member.served));
                let fresh =
                    Replica::new(replica, Arc::clone(&self.model), served.unwrap_or_default());
                queue.replace(fresh, now);
            }
            Activity::Checking { serving: true } => {
                queue.conclude(replica, ticket, Verdict::Guilty, &self.options, now);
            }
            Activity::Building | Activity::Checking { serving: false } => {
                queue.conclude(replica, ticket, Verdict::Failed, &self.options, now);
            }
        }
        let gone = std::mem::take(&mut queue.roster.gone);
        drop(queue);
        self.ledger.listen(|| drop(gone));
        // Whoever hears of it finds the replica out of service.
        let error = || ServeError::ReplicaStuck { version, replica, limit };
        slots.iter().for_each(|slot| slot.fail(OutcomeStatus::TimedOut, error()));
        let told = slots.len() + followers.len();
        for job in followers {
            if let Task::Answer(request) = &job.task {
                request.promise.fail(OutcomeStatus::TimedOut, error());
            }
            self.ledger.listen(|| drop(job));
        }
        // Without another thread the others look after its replica.
        self.staff().unwrap_or_default();
        self.close_requests(told);
        self.refuse_if_down();
        self.work.notify_all();
    }
}
