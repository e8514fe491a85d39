//! What becomes of replicas that fail, panic or hang, and how many there are.
//!
//! A replica that fails again and again is checked on the warm-up inputs while it serves on: if it answers them as it should, its inputs are
//! to blame. If it does not, or if there are no such inputs, it is taken out and built anew; as long as that does not help, it is tried again
//! after longer and longer pauses. One that panicked is built anew beside itself and exchanged between two batches. One that does not come
//! back from the model is given up with its thread, and another one takes its place, as long as no more threads hang than there were replicas.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlp_core::{Health, HostError, Lifecycle, ModelError, OutcomeStatus, Servable};

use crate::error::ServeError;
use crate::health::ReplicaHealth;
use crate::options::ServeOptions;
use crate::prepare;
use crate::queue::{Queue, Replica, Task};
use crate::roster::{Care, Condition, Member, Order, Verdict, take_index};
use crate::version::Version;
use crate::worker;

/// The pause before a replica is built anew for the second time in a row; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A replica that panicked is not built anew so soon after the last time: inputs that make it panic may come in numbers.
const BETWEEN_PANICS: Duration = Duration::from_secs(1);

/// What a batch says of its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Something was answered.
    Answers,
    /// Nothing was, and not for the inputs' sake.
    Faults,
    /// Nothing was, and the inputs are to blame.
    Nothing,
}

impl Outcome {
    pub(crate) fn of<O>(results: &[Result<O, ModelError>]) -> Self {
        let is_fault = |error: &ModelError| !matches!(error, ModelError::InvalidInput { .. });
        if results.iter().any(Result::is_ok) {
            Self::Answers
        } else if results.iter().any(|result| result.as_ref().is_err_and(is_fault)) {
            Self::Faults
        } else {
            Self::Nothing
        }
    }
}

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
            // One that cannot serve leaves rather than one that can.
            if !roster.dismiss() {
                roster.leave(replica.index);
                roster.gone.push(replica.model);
                return;
            }
        }
        if let Some(verdict) = roster.take_verdict(replica.index) {
            return self.judge(replica, verdict, options, now);
        }
        let has_panicked = std::mem::take(&mut replica.has_panicked);
        if (replica.failures > 0 || has_panicked) && options.restart_after > 0 && !self.is_closed {
            return self.suspect(replica, has_panicked, options, now);
        }
        self.idle.push(replica);
    }

    /// Decides what is to be done about a replica that failed or panicked.
    fn suspect(
        &mut self,
        replica: Box<Replica<M>>,
        has_panicked: bool,
        options: &ServeOptions,
        now: Duration,
    ) {
        let can_check = self.can_check;
        let member = self.roster.find(replica.index);
        if let Some(member) = member.filter(|member| matches!(member.care, Care::Nothing)) {
            let is_late = replica.built.is_none_or(|built| now >= built + BETWEEN_PANICS);
            if replica.failures >= options.restart_after {
                if !can_check {
                    return self.take_out(replica, now);
                }
                member.care = Care::Due(now, Order::Check(Arc::clone(&replica.model)));
            } else if has_panicked && is_late {
                member.care = Care::Due(now, Order::Renew);
            }
        }
        self.idle.push(replica);
    }

    /// Takes a replica out of service until it is built anew: at once, or after its pause.
    fn take_out(&mut self, replica: Box<Replica<M>>, now: Duration) {
        let is_exhausted = self.roster.is_exhausted();
        if let Some(member) = self.roster.find(replica.index) {
            member.condition = match replica.pause.is_zero() {
                _ if is_exhausted => Condition::Stuck,
                true => Condition::Mending,
                false => Condition::Sick,
            };
            member.care = match is_exhausted {
                true => Care::Nothing,
                false => Care::Due(now.saturating_add(replica.pause), Order::Renew),
            };
        }
        self.roster.bench.push(replica);
    }

    /// Puts another replica in the place of one whose thread was given up.
    pub(crate) fn replace(&mut self, mut replica: Box<Replica<M>>, now: Duration) {
        if self.roster.surplus > 0 {
            self.roster.surplus -= 1;
            self.roster.leave(replica.index);
            self.roster.gone.push(replica.model);
            return;
        }
        let Some(member) = self.roster.find(replica.index) else {
            return self.roster.gone.push(replica.model);
        };
        let care = std::mem::replace(&mut member.care, Care::Nothing);
        replica.pause = Duration::ZERO;
        self.roster.forget(care);
        self.take_out(replica, now);
    }

    /// Hears what came of the care for a replica, unless that is not asked for any more.
    pub(crate) fn conclude(
        &mut self,
        index: usize,
        ticket: u64,
        verdict: Verdict<M>,
        options: &ServeOptions,
        now: Duration,
    ) {
        let (idle, roster) = (&mut self.idle, &mut self.roster);
        let benched = take_index(&mut roster.bench, index);
        let held = benched.or_else(|| take_index(idle, index));
        match roster.members.iter_mut().find(|member| member.index == index) {
            Some(member) if matches!(member.care, Care::UnderWay(it) if it == ticket) => {
                let Some(replica) = held else {
                    member.care = Care::Done(verdict);
                    roster.verdicts += 1;
                    return;
                };
                member.care = Care::Nothing;
                self.judge(replica, verdict, options, now);
            }
            member => {
                let is_well = member.is_none_or(|member| member.condition == Condition::Well);
                roster.let_go(verdict);
                let place = if is_well { idle } else { &mut roster.bench };
                place.extend(held);
            }
        }
    }

    /// Does with a replica what came of the care for it.
    fn judge(
        &mut self,
        mut replica: Box<Replica<M>>,
        verdict: Verdict<M>,
        options: &ServeOptions,
        now: Duration,
    ) {
        let roster = &mut self.roster;
        match verdict {
            Verdict::Innocent => replica.failures = 0,
            Verdict::Guilty => return self.take_out(replica, now),
            Verdict::Renewed(model) => {
                roster.restarts += 1;
                roster.gone.push(std::mem::replace(&mut replica.model, model));
                (replica.built, replica.has_panicked) = (Some(now), false);
                if replica.failures >= options.restart_after {
                    replica.lengthen_pause();
                }
                // One more failure takes it out again.
                replica.failures = replica.failures.min(options.restart_after.saturating_sub(1));
                roster
                    .find(replica.index)
                    .into_iter()
                    .for_each(|it| it.condition = Condition::Well);
            }
            Verdict::Failed => {
                roster.failed_restarts += 1;
                replica.built = Some(now);
                let member = roster.find(replica.index);
                if member.is_some_and(|member| member.condition != Condition::Well) {
                    replica.lengthen_pause();
                    return self.take_out(replica, now);
                }
                // It has panicked, and serves on.
            }
        }
        self.idle.push(replica);
    }

    /// Lets so many replicas go: first those that cannot serve, then idle ones; the others after their batch.
    fn shrink(&mut self, by: usize) {
        for _ in 0..by {
            if self.roster.dismiss() {
                continue;
            }
            match self.idle.pop() {
                Some(replica) => {
                    self.roster.leave(replica.index);
                    self.roster.gone.push(replica.model);
                }
                None => self.roster.surplus += 1,
            }
        }
    }
}

impl<M: ?Sized + Servable> Replica<M> {
    /// Notes what came of a batch: an input that the model calls invalid is no fault of the replica.
    pub(crate) fn note(&mut self, outcome: Outcome, panics: u64) {
        self.has_panicked |= panics > 0;
        match outcome {
            Outcome::Answers => (self.failures, self.pause) = (0, Duration::ZERO),
            Outcome::Faults => self.failures = self.failures.saturating_add(1),
            Outcome::Nothing => {}
        }
    }

    /// Whether there is nothing to be done about it.
    pub(crate) fn is_well(&self) -> bool {
        self.failures == 0 && !self.has_panicked
    }

    fn lengthen_pause(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }
}

impl<M: ?Sized + Servable> Version<M> {
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
        let refused = jobs.len();
        for job in jobs {
            if let Task::Answer(request) = &job.task {
                let error = ServeError::NotReady { version: Some(self.ledger.version) };
                request.promise.fail(OutcomeStatus::Failed, error);
            }
            self.ledger.listen(|| drop(job));
        }
        self.close_requests(refused);
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
        let of = |member: &Member<M>| ReplicaHealth {
            replica: member.index,
            requests: member.served.load(Ordering::Relaxed),
            is_well: member.condition == Condition::Well,
        };
        queue.roster.members.iter().map(of).collect()
    }
}

impl<M: ?Sized + Servable + 'static> Version<M> {
    /// Sets how many replicas there are. New ones are built and warmed beside those that serve, and under no lock; those that go finish their batch. Of two
    /// calls at once the later one decides.
    pub(crate) fn scale_to(self: &Arc<Self>, replicas: usize) -> Result<(), HostError> {
        // Those of replicas that have left before.
        self.threads.reap();
        let mut queue = self.queue.lock();
        queue.roster.want(replicas);
        let target = queue.roster.target();
        queue.shrink(target.saturating_sub(replicas));
        // Those that were to leave may as well stay.
        let stay = queue.roster.surplus.min(replicas.saturating_sub(target));
        queue.roster.surplus -= stay;
        let gone = std::mem::take(&mut queue.roster.gone);
        drop(queue);
        self.work.notify_all();
        self.ledger.listen(|| drop(gone));
        for model in prepare::more(self, replicas.saturating_sub(target + stay))? {
            let mut queue = self.queue.lock();
            if queue.is_closed {
                return Err(HostError::ShuttingDown);
            }
            if queue.roster.target() >= queue.roster.wanted {
                break;
            }
            let index = queue.roster.free_index();
            let replica = Replica::new(index, model, Arc::default());
            queue.roster.join(&replica);
            queue.idle.push(replica);
        }
        self.staff().map_err(|error| {
            let source = ModelError::failed(error);
            HostError::Build { version: self.ledger.version, source }
        })
    }

    /// Starts threads until there are as many as replicas.
    pub(crate) fn staff(self: &Arc<Self>) -> io::Result<()> {
        loop {
            let mut queue = self.queue.lock();
            let (threads, replicas) = (queue.roster.threads, queue.roster.members.len());
            if threads >= replicas || queue.is_over() {
                return Ok(());
            }
            queue.roster.enlist();
            drop(queue);
            let (own, name) = (Arc::clone(self), worker::name(self, threads));
            if let Err(error) = self.threads.spawn(name, move |thread| worker::work(own, thread)) {
                self.queue.lock().roster.discharge();
                return Err(error);
            }
        }
    }
}
