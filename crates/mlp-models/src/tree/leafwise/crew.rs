//! The threads that grow trees together: each has a share of the rows and a share of the features, and all do the same steps.
//!
//! A step has two halves. In the first each thread parts its own rows and lays out what is to be counted; in the second it counts its own features over
//! the rows of all. So nothing is done twice, and the sums do not depend on how many threads there are.

use std::convert::Infallible;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::ScopedJoinHandle;

use super::Field;
use super::meeting::{Closed, Closing, Meeting};
use super::share::Share;
use super::steps::{Cuts, Step};
use super::stretch::{BLOCK, Stretch};

/// Rows times features below which another thread costs more than it does.
const WORTH_A_THREAD: usize = 200_000;

/// The work of a step that the captain does alone where waking the others takes longer.
const WORTH_WAKING: usize = 100_000;

/// What all threads of a crew know. Of the lists each thread has one item.
struct Shared<'a> {
    field: &'a Field<'a>,
    step: RwLock<Step>,
    stretches: Vec<RwLock<Stretch>>,
    /// None until its thread has prepared it.
    shares: Vec<Mutex<Option<Share<'a>>>>,
    cuts: Vec<Mutex<Cuts>>,
    meeting: Meeting,
}

/// The crew as its captain sees it, the calling thread, which does its share like the others.
pub(super) struct Crew<'s, 'a> {
    shared: &'s Shared<'a>,
    others: Vec<ScopedJoinHandle<'s, ()>>,
}

/// Lets a crew do some work.
pub(super) fn with_crew<'a, T>(
    field: &'a Field<'a>,
    work: impl FnOnce(&mut Crew<'_, 'a>) -> T,
) -> T {
    let (n_rows, n_features) = (field.weights.len(), field.table.n_features());
    let is_small = n_rows * n_features < WORTH_A_THREAD;
    // More would have neither rows nor features.
    let most = n_rows.div_ceil(BLOCK).max(n_features);
    let threads = if is_small { 1 } else { field.rules.threads.min(most) };
    let stretches = Stretch::all(n_rows, field.base, threads);
    let shared = &Shared {
        field,
        step: RwLock::new(Step::Slope),
        stretches: stretches.into_iter().map(RwLock::new).collect(),
        shares: (0..threads).map(|_| Mutex::new(None)).collect(),
        cuts: (0..threads).map(|_| Mutex::default()).collect(),
        meeting: Meeting::new(threads - 1),
    };
    std::thread::scope(|scope| {
        let help = |number: usize| {
            scope.spawn(move || {
                let _closing = Closing(&shared.meeting);
                // It ends when the meeting is closed.
                let Err(Closed) = shared.help(number);
            })
        };
        // First, since a thread may fail to start, which those that wait already must be told.
        let _closing = Closing(&shared.meeting);
        let others = (1..threads).map(help).collect();
        shared.prepare(0);
        work(&mut Crew { shared, others })
    })
}

impl Shared<'_> {
    fn threads(&self) -> Range<usize> {
        0..self.shares.len()
    }

    /// Lays out a thread's features.
    fn prepare(&self, number: usize) {
        let n_features = self.field.table.n_features();
        let size = n_features.div_ceil(self.shares.len());
        let first = (number * size).min(n_features);
        let share = Share::new(self.field, first..(first + size).min(n_features));
        *lock(&self.shares[number]) = Some(share);
    }

    /// Does a thread's share of the first half of a step; tells whether there is a second one.
    fn first_half(&self, number: usize) -> bool {
        let step = read(&self.step);
        write(&self.stretches[number]).carry_out(&step, self.field);
        matches!(*step, Step::Begin { .. } | Step::Split { .. })
    }

    /// Does a thread's share of the second half, for which all must have done the first.
    fn second_half(&self, number: usize) {
        let stretches: Vec<_> = self.stretches.iter().map(read).collect();
        if let Some(share) = &mut *lock(&self.shares[number]) {
            *lock(&self.cuts[number]) = share.carry_out(&read(&self.step), &stretches);
        }
    }

    /// The captain's part, who returns when all are done.
    fn lead(&self, step: Step) -> Result<(), Closed> {
        self.meeting.gather()?;
        let is_small = step.work(self.field) < WORTH_WAKING;
        *write(&self.step) = step;
        if is_small && !self.meeting.waits_awake() {
            if self.threads().fold(false, |_, number| self.first_half(number)) {
                self.threads().for_each(|number| self.second_half(number));
            }
            return Ok(());
        }
        self.meeting.go_on();
        if self.first_half(0) {
            self.meeting.gather()?;
            self.meeting.go_on();
            self.second_half(0);
        }
        self.meeting.gather()
    }

    /// The part of one of the others, until the captain has nothing more to do.
    fn help(&self, number: usize) -> Result<Infallible, Closed> {
        self.prepare(number);
        loop {
            self.meeting.wait()?;
            if self.first_half(number) {
                self.meeting.wait()?;
                self.second_half(number);
            }
        }
    }
}

impl Crew<'_, '_> {
    /// Lets all do a step; of equally good cuts the one of the first feature is taken, as one thread would.
    pub(super) fn carry_out(&mut self, step: Step) -> Cuts {
        if self.shared.lead(step).is_err() {
            self.fail();
        }
        let mut best = Cuts::default();
        for cuts in &self.shared.cuts {
            for (best, cut) in best.iter_mut().zip(std::mem::take(&mut *lock(cuts))) {
                if cut.is_some_and(|cut| best.is_none_or(|best| cut.gain > best.gain)) {
                    *best = cut;
                }
            }
        }
        best
    }

    /// Does something with the rows of each thread, between two steps.
    pub(super) fn each_stretch(&mut self, mut work: impl FnMut(&mut Stretch)) {
        self.shared.stretches.iter().for_each(|stretch| work(&mut write(stretch)));
    }

    /// Goes on with the panic of the one who left.
    fn fail(&mut self) -> ! {
        for other in self.others.drain(..) {
            if let Err(panic) = other.join() {
                resume_unwind(panic);
            }
        }
        unreachable!("a helper works until it is let go")
    }
}

// A panic goes through the meeting to the caller; what it leaves behind nobody looks at.

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::bins::Table;
    use crate::tree::leafwise::LeafRules;
    use crate::tree::loss::Loss;
    use crate::tree::trend::Trends;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_panic_of_any_thread_reaches_the_caller_as_it_was_thrown() {
        let n_rows = 40_000;
        let values =
            ndarray::Array2::from_shape_fn((n_rows, 10), |(row, at)| (row * at % 97) as f64);
        let table = Table::narrow(values.view(), 1);
        let rules = LeafRules {
            max_leaves: 31,
            max_depth: usize::MAX,
            min_leaf: 20,
            l2: 0.0,
            min_gain: 0.0,
            min_hessian: 1e-3,
            learning_rate: 0.1,
            threads: 4,
        };
        for thrower in [0, 1, 3] {
            // The truth about the rows of one thread is missing.
            let size = Stretch::all(n_rows, &[0.0], 4)[0].n_rows();
            let field = Field {
                table: &table,
                loss: &Loss::Squared(vec![0.0; thrower * size]),
                weights: &vec![1.0; n_rows],
                base: &[0.0],
                rules: &rules,
                trends: &Trends::default(),
            };
            let work = || with_crew(&field, |crew| crew.carry_out(Step::Slope));
            let thrown = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
            let text = thrown.downcast_ref::<String>().unwrap();
            assert!(text.contains("out of bounds"), "{text}");
        }
    }
}
