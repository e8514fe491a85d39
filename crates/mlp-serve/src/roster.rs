//! Which replicas belong to a version, and where they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::Servable;

use crate::queue::Replica;
use crate::slot::Slot;
use crate::threads::Abandoned;

/// A replica that is out of service.
pub(crate) struct Sick<M: ?Sized + Servable> {
    pub(crate) replica: Box<Replica<M>>,
    /// When to look after it.
    pub(crate) due: Duration,
    /// Whether it must be built anew, whatever it answers.
    pub(crate) is_broken: bool,
}

/// A batch that is being run, for the watchdog.
pub(crate) struct Busy<M: ?Sized + Servable> {
    pub(crate) ticket: u64,
    pub(crate) replica: usize,
    pub(crate) since: Duration,
    pub(crate) slots: Vec<Arc<Slot<M::Output>>>,
    pub(crate) keys: Vec<Box<[u8]>>,
    pub(crate) thread: Abandoned,
}

/// A replica that belongs to the version, wherever it is.
pub(crate) struct Member {
    pub(crate) index: usize,
    pub(crate) served: Arc<AtomicU64>,
    pub(crate) condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Well,
    /// It waits to be tried again.
    Sick,
    /// It does not come back, and too many others did not either.
    Stuck,
}

/// All replicas of a version.
pub(crate) struct Roster<M: ?Sized + Servable> {
    pub(crate) members: Vec<Member>,
    pub(crate) sick: Vec<Sick<M>>,
    pub(crate) busy: Vec<Busy<M>>,
    /// How many replicas are to leave when they come back.
    pub(crate) surplus: usize,
    /// How many threads work for the version.
    pub(crate) threads: usize,
    /// How many threads were given up.
    pub(crate) stuck: u64,
    /// How many of them have not come back yet.
    pub(crate) hanging: usize,
    pub(crate) restarts: u64,
    pub(crate) tickets: u64,
    /// What replicas that have left had served.
    pub(crate) served_before: u64,
}

impl<M: ?Sized + Servable> Roster<M> {
    pub(crate) fn new(replicas: &[Box<Replica<M>>]) -> Self {
        let mut roster = Self {
            members: Vec::new(),
            sick: Vec::new(),
            busy: Vec::new(),
            surplus: 0,
            threads: 0,
            stuck: 0,
            hanging: 0,
            restarts: 0,
            tickets: 0,
            served_before: 0,
        };
        replicas.iter().for_each(|replica| roster.join(replica));
        roster.members.sort_by_key(|member| member.index);
        roster
    }

    pub(crate) fn join(&mut self, replica: &Replica<M>) {
        let served = Arc::clone(&replica.served);
        self.members.push(Member { index: replica.index, served, condition: Condition::Well });
    }

    pub(crate) fn leave(&mut self, index: usize) {
        let Some(at) = self.members.iter().position(|member| member.index == index) else { return };
        self.served_before += self.members.remove(at).served.load(Ordering::Relaxed);
    }

    pub(crate) fn set(&mut self, index: usize, condition: Condition) {
        let found = self.members.iter_mut().find(|member| member.index == index);
        found.into_iter().for_each(|member| member.condition = condition);
    }

    /// How many replicas there should be.
    pub(crate) fn target(&self) -> usize {
        self.members.len() - self.surplus
    }

    pub(crate) fn well(&self) -> usize {
        let well = self.members.iter().filter(|member| member.condition == Condition::Well);
        well.count().saturating_sub(self.surplus)
    }

    /// Whether no replica can answer.
    pub(crate) fn is_down(&self) -> bool {
        self.members.iter().all(|member| member.condition != Condition::Well)
    }

    /// Notes that a thread works for the version.
    pub(crate) fn enlist(&mut self) {
        self.threads += 1;
    }

    /// Notes that a thread ends.
    pub(crate) fn discharge(&mut self) {
        self.threads -= 1;
    }

    /// Whether there are more threads than replicas.
    pub(crate) fn has_idle_hands(&self) -> bool {
        self.threads > self.members.len()
    }

    /// A replica that is to be looked after now.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Sick<M>> {
        let due = self.sick.iter().position(|sick| sick.due <= now)?;
        Some(self.sick.swap_remove(due))
    }

    /// When the next replica is to be looked after.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.sick.iter().map(|sick| sick.due).min()
    }

    /// Takes all replicas out that wait to be looked after.
    pub(crate) fn take_sick(&mut self) -> impl Iterator<Item = Box<Replica<M>>> {
        std::mem::take(&mut self.sick).into_iter().map(|sick| sick.replica)
    }
}
