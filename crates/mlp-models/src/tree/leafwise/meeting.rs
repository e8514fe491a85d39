//! Where the threads of a crew wait for each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How often a thread looks again before it sleeps: some tens of microseconds, since waking up costs more than most steps do.
const LOOKS: usize = 1_000;

/// Of so many rounds, `TRIALS` are waited for awake even if that was of no use before.
const CYCLE: usize = 64;
const TRIALS: usize = 3;

/// A place where helpers wait until their captain, who can wait until all of them are there, lets them go on.
///
/// It can be closed: whoever waits, or comes later, is told.
pub(super) struct Meeting {
    helpers: usize,
    state: Mutex<State>,
    changed: Condvar,
    /// Both as in the state, for those who wait awake.
    arrived: AtomicUsize,
    round: AtomicUsize,
    /// Whether waiting awake is of use: not where others need the processors, which keeps away whoever is waited for.
    wait_awake: AtomicBool,
}

#[derive(Default)]
struct State {
    arrived: usize,
    round: usize,
    asleep: usize,
    closed: bool,
}

/// The meeting is closed.
#[derive(Debug)]
pub(super) struct Closed;

/// Closes a meeting when it goes, in a panic too, so that nobody waits for a thread that has left.
pub(super) struct Closing<'a>(pub(super) &'a Meeting);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Meeting {
    pub(super) fn new(helpers: usize) -> Self {
        Self {
            helpers,
            state: Mutex::default(),
            changed: Condvar::new(),
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            wait_awake: AtomicBool::new(true),
        }
    }

    /// A helper waits until the captain lets it go on.
    pub(super) fn wait(&self) -> Result<(), Closed> {
        let round = {
            let mut state = self.state();
            if state.closed {
                return Err(Closed);
            }
            state.arrived += 1;
            self.arrived.store(state.arrived, Ordering::Release);
            if state.arrived == self.helpers {
                self.wake(&state);
            }
            state.round
        };
        self.until(round, |state| state.round != round, || self.round() != round)
    }

    /// The captain waits until all helpers are here. They stay until it lets them go on.
    pub(super) fn gather(&self) -> Result<(), Closed> {
        let all = self.helpers;
        let are_here = || self.arrived.load(Ordering::Acquire) == all;
        if are_here() {
            return Ok(());
        }
        self.until(self.round(), |state| state.arrived == all, are_here)
    }

    /// The captain lets all helpers go on.
    pub(super) fn go_on(&self) {
        let mut state = self.state();
        state.arrived = 0;
        state.round += 1;
        self.arrived.store(0, Ordering::Release);
        self.round.store(state.round, Ordering::Release);
        self.wake(&state);
    }

    /// Whether those who wait were found awake lately, as far as there is anybody to wait for.
    pub(super) fn waits_awake(&self) -> bool {
        self.helpers == 0 || self.wait_awake.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(&self) -> usize {
        self.round.load(Ordering::Acquire)
    }

    /// Waits until the state is as wanted: awake for a while, during which only a glance at it is needed, then asleep.
    fn until(
        &self,
        round: usize,
        is_so: impl Fn(&State) -> bool,
        seems_so: impl Fn() -> bool,
    ) -> Result<(), Closed> {
        let is_trial = round % CYCLE < TRIALS;
        if is_trial || self.wait_awake.load(Ordering::Relaxed) {
            let looks = &mut (0..LOOKS);
            while !seems_so() && looks.next().is_some() {
                std::hint::spin_loop();
            }
            let was_of_use = looks.next().is_some();
            self.wait_awake.store(was_of_use, Ordering::Relaxed);
            if was_of_use {
                return Ok(());
            }
        }
        let mut state = self.state();
        state.asleep += 1;
        while !is_so(&state) && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.asleep -= 1;
        // What happened before it was closed has happened.
        if is_so(&state) { Ok(()) } else { Err(Closed) }
    }

    fn wake(&self, state: &State) {
        if state.asleep > 0 {
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.wake(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn nobody_goes_on_before_all_are_here() {
        let (meeting, arrivals) = (Meeting::new(3), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let _closing = Closing(&meeting);
                    let mut round = 0;
                    loop {
                        arrivals.fetch_add(1, Ordering::SeqCst);
                        if meeting.wait().is_err() {
                            break;
                        }
                        round += 1;
                        assert!(arrivals.load(Ordering::SeqCst) >= 3 * round);
                    }
                });
            }
            let _closing = Closing(&meeting);
            for round in 1..=500 {
                meeting.gather().unwrap();
                assert_eq!(arrivals.load(Ordering::SeqCst), 3 * round);
                meeting.go_on();
            }
        });
        assert_eq!(arrivals.into_inner(), 3 * 501);
    }

    #[test]
    fn whoever_leaves_lets_the_others_go() {
        for wait_awake in [false, true] {
            let meeting = Meeting::new(2);
            meeting.wait_awake.store(wait_awake, Ordering::Relaxed);
            // Behind the trials, in which all wait awake.
            meeting.state().round = TRIALS;
            meeting.round.store(TRIALS, Ordering::Release);
            std::thread::scope(|scope| {
                let helper = scope.spawn(|| meeting.wait());
                let captain = scope.spawn(|| meeting.gather());
                drop(Closing(&meeting));
                assert!(helper.join().unwrap().is_err());
                assert!(captain.join().unwrap().is_err());
                assert!(meeting.wait().is_err());
            });
        }
    }
}
