//! Which replicas belong to a version, where they are, and what is done about those that are not well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::Servable;

use crate::queue::Replica;
use crate::slot::Slot;
use crate::threads::Abandoned;

/// A call that is being made, for the watchdog.
pub(crate) struct Busy<M: ?Sized + Servable> {
    pub(crate) ticket: u64,
    pub(crate) replica: usize,
    pub(crate) since: Duration,
    pub(crate) activity: Activity,
    pub(crate) slots: Vec<Arc<Slot<M::Output>>>,
    pub(crate) keys: Vec<Box<[u8]>>,
    pub(crate) thread: Abandoned,
}

/// What a watched thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Runs a batch.
    Batch,
    /// Builds a model, which may take longer than a batch.
    Building,
    /// Runs the warm-up inputs; whether on the model that serves.
    Checking { serving: bool },
}

/// A replica that belongs to the version, wherever it is.
pub(crate) struct Member<M: ?Sized> {
    pub(crate) index: usize,
    pub(crate) served: Arc<AtomicU64>,
    pub(crate) condition: Condition,
    pub(crate) care: Care<M>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It serves.
    Well,
    /// It is being built anew; requests wait for it.
    Mending,
    /// It is to be built anew after a pause.
    Sick,
    /// It does not come back, and too many others did not either.
    Stuck,
}

/// What is done about a replica.
pub(crate) enum Care<M: ?Sized> {
    Nothing,
    /// To be begun at a moment.
    Due(Duration, Order<M>),
    /// A thread sees to it, under this ticket.
    UnderWay(u64),
    /// What came of it, for the replica when it comes back from its batch.
    Done(Verdict<M>),
}

pub(crate) enum Order<M: ?Sized> {
    /// Find out whether the model is to blame, while it serves.
    Check(Arc<M>),
    /// Build another model.
    Renew,
}

pub(crate) enum Verdict<M: ?Sized> {
    /// The model answers the warm-up as it should: its inputs are to blame.
    Innocent,
    /// It does not.
    Guilty,
    /// Another one that does.
    Renewed(Arc<M>),
    /// There is no such one yet.
    Failed,
}

/// All replicas of a version.
pub(crate) struct Roster<M: ?Sized + Servable> {
    pub(crate) members: Vec<Member<M>>,
    /// The replicas out of service.
    pub(crate) bench: Vec<Box<Replica<M>>>,
    pub(crate) busy: Vec<Busy<M>>,
    /// How many replicas are to leave when they come back.
    pub(crate) surplus: usize,
    /// How many replicas were asked for.
    pub(crate) wanted: usize,
    /// The most that were ever asked for.
    most: usize,
    /// How many threads work for the version.
    pub(crate) threads: usize,
    /// How many threads were given up.
    pub(crate) stuck: u64,
    /// How many of them have not come back yet.
    pub(crate) hanging: usize,
    pub(crate) restarts: u64,
    pub(crate) failed_restarts: u64,
    pub(crate) tickets: u64,
    /// How many replicas at work are awaited by a verdict.
    pub(crate) verdicts: usize,
    /// What replicas that have left had served.
    pub(crate) served_before: u64,
    /// Models that are not used any more, to be dropped outside the lock.
    pub(crate) gone: Vec<Arc<M>>,
}

impl<M: ?Sized + Servable> Roster<M> {
    pub(crate) fn new(replicas: &[Box<Replica<M>>]) -> Self {
        let mut roster = Self {
            members: Vec::new(),
            bench: Vec::new(),
            busy: Vec::new(),
            surplus: 0,
            wanted: 0,
            most: 0,
            threads: 0,
            stuck: 0,
            hanging: 0,
            restarts: 0,
            failed_restarts: 0,
            tickets: 0,
            verdicts: 0,
            served_before: 0,
            gone: Vec::new(),
        };
        replicas.iter().for_each(|replica| roster.join(replica));
        roster.members.sort_by_key(|member| member.index);
        roster.want(replicas.len());
        roster
    }

    /// Notes how many replicas are asked for.
    pub(crate) fn want(&mut self, replicas: usize) {
        self.wanted = replicas;
        self.most = self.most.max(replicas);
    }

    /// Whether more threads hang than there were ever replicas: then none is put in the place of another.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.hanging > self.most
    }

    /// Whether a call is being made that would be given up if it took too long.
    pub(crate) fn is_watched(&self) -> bool {
        self.busy.iter().any(|busy| busy.activity != Activity::Building)
    }

    /// Notes that another call begins under a watch.
    pub(crate) fn renew(&mut self, ticket: u64, activity: Activity, now: Duration) {
        let busy = self.busy.iter_mut().find(|busy| busy.ticket == ticket);
        busy.into_iter().for_each(|busy| (busy.since, busy.activity) = (now, activity));
    }

    pub(crate) fn join(&mut self, replica: &Replica<M>) {
        self.members.push(Member {
            index: replica.index,
            served: Arc::clone(&replica.served),
            condition: Condition::Well,
            care: Care::Nothing,
        });
    }

    /// The least number that no replica has.
    pub(crate) fn free_index(&self) -> usize {
        let is_free = |index: &usize| self.members.iter().all(|member| member.index != *index);
        (0..).find(is_free).unwrap_or(self.members.len())
    }

    pub(crate) fn find(&mut self, index: usize) -> Option<&mut Member<M>> {
        self.members.iter_mut().find(|member| member.index == index)
    }

    /// Lets a replica leave, wherever it is.
    pub(crate) fn leave(&mut self, index: usize) {
        let Some(at) = self.members.iter().position(|member| member.index == index) else { return };
        let member = self.members.remove(at);
        self.served_before += member.served.load(Ordering::Relaxed);
        self.forget(member.care);
        let benched = take_index(&mut self.bench, index);
        self.gone.extend(benched.map(|replica| replica.model));
    }

    /// Lets a replica leave that cannot serve, if there is one.
    pub(crate) fn dismiss(&mut self) -> bool {
        let members = self.members.iter().filter(|member| member.condition != Condition::Well);
        let Some(index) = members.max_by_key(|it| it.condition as u8).map(|it| it.index) else {
            return false;
        };
        self.leave(index);
        true
    }

    /// Ends what was done about a replica.
    pub(crate) fn forget(&mut self, care: Care<M>) {
        match care {
            Care::Done(verdict) => {
                self.verdicts -= 1;
                self.let_go(verdict);
            }
            Care::Due(_, Order::Check(model)) => self.gone.push(model),
            Care::Nothing | Care::Due(..) | Care::UnderWay(_) => {}
        }
    }

    pub(crate) fn let_go(&mut self, verdict: Verdict<M>) {
        if let Verdict::Renewed(model) = verdict {
            self.gone.push(model);
        }
    }

    /// What came of the care for a replica that comes back from its batch.
    pub(crate) fn take_verdict(&mut self, index: usize) -> Option<Verdict<M>> {
        if self.verdicts == 0 {
            return None;
        }
        let member = self.find(index)?;
        match std::mem::replace(&mut member.care, Care::Nothing) {
            Care::Done(verdict) => {
                self.verdicts -= 1;
                Some(verdict)
            }
            other => {
                member.care = other;
                None
            }
        }
    }

    /// Whether a replica that was well in its last batch may simply be idle again.
    pub(crate) fn is_calm(&self) -> bool {
        self.surplus == 0 && self.verdicts == 0
    }

    /// How many replicas there should be.
    pub(crate) fn target(&self) -> usize {
        self.members.len() - self.surplus
    }

    pub(crate) fn well(&self) -> usize {
        let well = self.members.iter().filter(|member| member.condition == Condition::Well);
        well.count().saturating_sub(self.surplus)
    }

    /// Whether no replica can answer, now or soon.
    pub(crate) fn is_down(&self) -> bool {
        let is_out = |it: &Member<M>| matches!(it.condition, Condition::Sick | Condition::Stuck);
        self.members.iter().all(is_out)
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

    /// What is to be done now, for which replica, and the ticket for it.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<(usize, u64, Order<M>)> {
        let is_due = |member: &Member<M>| matches!(member.care, Care::Due(due, _) if due <= now);
        let member = self.members.iter_mut().find(|member| is_due(member))?;
        self.tickets += 1;
        match std::mem::replace(&mut member.care, Care::UnderWay(self.tickets)) {
            Care::Due(_, order) => Some((member.index, self.tickets, order)),
            _ => None,
        }
    }

    /// When the next replica is to be looked after.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let due = |member: &Member<M>| match member.care {
            Care::Due(due, _) => Some(due),
            _ => None,
        };
        self.members.iter().filter_map(due).min()
    }

    /// Has those built anew that were left alone because too many threads hung, once that is over.
    pub(crate) fn revive(&mut self) {
        if self.is_exhausted() {
            return;
        }
        for member in self.members.iter_mut().filter(|it| it.condition == Condition::Stuck) {
            member.condition = Condition::Mending;
            member.care = Care::Due(Duration::ZERO, Order::Renew);
        }
    }
}

/// Takes a replica out by its number.
pub(crate) fn take_index<M: ?Sized + Servable>(
    replicas: &mut Vec<Box<Replica<M>>>,
    index: usize,
) -> Option<Box<Replica<M>>> {
    let at = replicas.iter().position(|replica| replica.index == index)?;
    Some(replicas.swap_remove(at))
}
