//! Wakes those who await an answer when its deadline comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mlp_core::catch_panic;

use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;
use crate::time::Time;

/// So many are held before those that need no waking any more are looked for.
const FEW: usize = 1_024;

/// Somebody who is to be woken at a moment.
pub(crate) trait Sleeper: Send + Sync {
    /// The moment has come. Called under no lock.
    fn wake(&self);
}

/// Has a thread once it is needed, which ends with the server.
#[derive(Debug)]
pub(crate) struct Timer {
    time: Time,
    threads: Arc<Threads>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    due: BinaryHeap<Reverse<Due>>,
    /// From so many on those that need no waking are looked for.
    many: usize,
    number: u64,
    is_started: bool,
    is_over: bool,
}

/// By moment, then by number.
#[derive(Debug)]
struct Due {
    at: Duration,
    number: u64,
    sleeper: Weak<dyn Sleeper>,
}

impl Due {
    fn order(&self) -> (Duration, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Timer {
    pub(crate) fn new(time: Time, threads: Arc<Threads>) -> Self {
        let due = BinaryHeap::new();
        let state = State { due, many: FEW, number: 0, is_started: false, is_over: false };
        Self { time, threads, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Wakes a sleeper at a moment, if it still lives then. Without a thread to be had, nobody is woken.
    pub(crate) fn call(self: &Arc<Self>, at: Duration, sleeper: Weak<dyn Sleeper>) {
        let mut state = self.state.lock();
        if state.is_over {
            return;
        }
        if state.due.len() >= state.many {
            state.due.retain(|Reverse(due)| due.sleeper.strong_count() > 0);
            state.many = FEW.max(2 * state.due.len());
        }
        state.number += 1;
        let number = state.number;
        let is_next = state.due.peek().is_none_or(|Reverse(due)| at < due.at);
        state.due.push(Reverse(Due { at, number, sleeper }));
        let is_first = !std::mem::replace(&mut state.is_started, true);
        drop(state);
        if is_first {
            let own = Arc::clone(self);
            let started =
                self.threads.spawn_aside("mlp-serve timer".to_owned(), move |_| own.run());
            self.state.lock().is_started = started.is_ok();
        } else if is_next {
            self.changed.notify_one();
        }
    }

    /// Ends the thread, and wakes nobody any more.
    pub(crate) fn close(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_all();
    }

    fn run(&self) {
        let mut state = self.state.lock();
        while !state.is_over {
            let next = state.due.peek().map(|Reverse(due)| due.at);
            if next.is_none_or(|at| self.time.monotonic() < at) {
                self.time.wait(&self.changed, &mut state, next);
                continue;
            }
            let due = state.due.pop();
            drop(state);
            // What may panic is foreign: the waker, or the dropping of an answer that nobody fetched.
            let wake = |Reverse(due): Reverse<Due>| due.sleeper.upgrade().map(|it| it.wake());
            drop(catch_panic(|| due.and_then(wake)));
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::{ManualClock, Timestamp};
    use std::sync::mpsc::{Sender, channel};

    struct Says(u32, Sender<u32>);

    impl Sleeper for Says {
        fn wake(&self) {
            self.1.send(self.0).unwrap();
        }
    }

    #[test]
    fn sleepers_are_woken_in_order_and_those_that_are_gone_are_forgotten() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let (time, threads) = (Time::Given(clock.clone()), Arc::<Threads>::default());
        let timer = Arc::new(Timer::new(time.clone(), Arc::clone(&threads)));
        let (sender, receiver) = channel();
        let sleeper = |name| Arc::new(Says(name, sender.clone()));
        let call = |millis, sleeper: &Arc<Says>| {
            let sleeper: Arc<dyn Sleeper> = Arc::clone(sleeper) as Arc<dyn Sleeper>;
            timer.call(Duration::from_millis(millis), Arc::downgrade(&sleeper));
        };
        let (late, early, gone) = (sleeper(2), sleeper(1), sleeper(3));
        for _ in 0..5 * FEW {
            call(3_600_000, &gone);
        }
        drop(gone);
        call(30, &late);
        call(10, &early);
        clock.advance(Duration::from_millis(30));
        assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (1, 2));
        (0..10 * FEW).for_each(|_| call(3_600_000, &sleeper(4)));
        assert!(timer.state.lock().due.len() <= FEW + 1, "{}", timer.state.lock().due.len());
        timer.close();
        threads.join_all(&time, Duration::MAX);
    }
}
