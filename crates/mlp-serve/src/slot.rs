//! The place where an answer is left for whoever waits for it.

use std::sync::Arc;
use std::task::{Poll, Waker};

use mlp_core::OutcomeStatus;

use crate::error::ServeError;
use crate::ledger::{Call, Ledger, count};
use crate::request::Answer;
use crate::sync::{Condvar, Mutex};
use crate::timer::Sleeper;

/// What a request comes to.
pub(crate) type Reply<O> = Result<Answer<O>, ServeError>;

/// The state of a request on its way through the queue.
///
/// `Pending` ends once: a replica claims it (and will deliver), or its owner gives it up (late or cancelled). Whoever ends it reports it, so
/// each request is reported once, whatever races.
enum State<O> {
    Pending(Option<Waker>),
    Claimed(Option<Waker>),
    Done(Reply<O>),
    Gone,
}

pub(crate) struct Slot<O> {
    pub(crate) call: Call,
    ledger: Arc<Ledger>,
    state: Mutex<State<O>>,
    done: Condvar,
}

/// The duty to leave a reply in a slot: whoever drops it without having done so leaves an error, so that nobody waits for ever.
pub(crate) struct Promise<O> {
    slot: Arc<Slot<O>>,
    duty: Duty,
}

/// What is left to be done for a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// To claim and to deliver.
    Open,
    /// To deliver.
    Claimed,
    Done,
}

impl<O> Promise<O> {
    pub(crate) fn new(slot: &Arc<Slot<O>>) -> Self {
        Self { slot: Arc::clone(slot), duty: Duty::Open }
    }

    pub(crate) fn call(&self) -> Call {
        self.slot.call
    }

    pub(crate) fn slot(&self) -> Arc<Slot<O>> {
        Arc::clone(&self.slot)
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.slot.is_wanted()
    }

    /// Takes the right to deliver, as [`Slot::claim`].
    pub(crate) fn claim(&mut self) -> bool {
        let is_claimed = self.slot.claim();
        // Whoever else has ended the request tells its owner.
        self.duty = if is_claimed { Duty::Claimed } else { Duty::Done };
        is_claimed
    }

    /// Leaves the reply; only after a successful [`claim`](Self::claim).
    pub(crate) fn deliver(&mut self, reply: Reply<O>) {
        self.duty = Duty::Done;
        self.slot.deliver(reply);
    }

    /// Leaves the duty to somebody else.
    pub(crate) fn leave(&mut self) {
        self.duty = Duty::Done;
    }

    pub(crate) fn fail(&self, status: OutcomeStatus, error: ServeError) {
        self.slot.fail(status, error);
    }
}

impl<O> Drop for Promise<O> {
    fn drop(&mut self) {
        match self.duty {
            Duty::Open if self.slot.claim() => self.slot.abandon(),
            Duty::Claimed => self.slot.abandon(),
            Duty::Open | Duty::Done => {}
        }
    }
}

impl<O> Slot<O> {
    pub(crate) fn new(call: Call, ledger: Arc<Ledger>) -> Self {
        Self { call, ledger, state: Mutex::new(State::Pending(None)), done: Condvar::new() }
    }

    /// Whether somebody still wants the answer.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(*self.state.lock(), State::Pending(_))
    }

    /// Takes the right to deliver. False if the owner has given the request up, or another has claimed it.
    pub(crate) fn claim(&self) -> bool {
        let mut state = self.state.lock();
        let State::Pending(waker) = &mut *state else { return false };
        *state = State::Claimed(waker.take());
        true
    }

    /// Leaves the reply; only after a successful [`claim`](Self::claim).
    pub(crate) fn deliver(&self, reply: Reply<O>) {
        let mut state = self.state.lock();
        let earlier = std::mem::replace(&mut *state, State::Done(reply));
        drop(state);
        self.done.notify_one();
        if let State::Claimed(Some(waker)) = earlier {
            self.ledger.listen(|| waker.wake());
        }
    }

    /// Claims, reports and delivers a refusal or a missed deadline.
    pub(crate) fn fail(&self, status: OutcomeStatus, error: ServeError) {
        if self.claim() {
            self.ledger.report(&self.call, status, self.ledger.time.monotonic());
            self.deliver(Err(error));
        }
    }

    /// Tells the owner that the thread that should have replied panicked; only after a successful [`claim`](Self::claim).
    fn abandon(&self) {
        self.ledger.report(&self.call, OutcomeStatus::Failed, self.ledger.time.monotonic());
        let (version, message) = (self.ledger.version, "outside of its call".to_owned());
        self.deliver(Err(ServeError::ModelPanicked { version, message }));
    }

    /// Blocks until the reply is there or the deadline has passed.
    pub(crate) fn wait(&self) -> Reply<O> {
        let mut state = self.state.lock();
        loop {
            match &*state {
                State::Done(_) => match std::mem::replace(&mut *state, State::Gone) {
                    State::Done(reply) => return reply,
                    _ => continue,
                },
                State::Pending(_) if self.call.is_late(self.ledger.time.monotonic()) => {
                    *state = State::Gone;
                    drop(state);
                    return Err(self.late());
                }
                State::Pending(_) => {
                    self.ledger.time.wait(&self.done, &mut state, self.call.deadline)
                }
                State::Claimed(_) => self.done.wait(&mut state),
                State::Gone => return Err(ServeError::Draining),
            }
        }
    }

    /// Looks for the reply; leaves the waker to be called if it is not there.
    pub(crate) fn poll(&self, waker: Option<&Waker>) -> Poll<Reply<O>> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Pending(_) if self.call.is_late(self.ledger.time.monotonic()) => {
                *state = State::Gone;
                drop(state);
                Poll::Ready(Err(self.late()))
            }
            State::Pending(place) | State::Claimed(place) => {
                if let Some(waker) = waker {
                    place.clone_from(&Some(waker.clone()));
                }
                Poll::Pending
            }
            State::Done(_) | State::Gone => match std::mem::replace(&mut *state, State::Gone) {
                State::Done(reply) => Poll::Ready(reply),
                _ => Poll::Pending,
            },
        }
    }

    /// Gives the request up: nobody wants the answer any more.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Pending(_)) {
            *state = State::Gone;
            drop(state);
            count(&self.ledger.counters.gone);
            self.ledger.report(&self.call, OutcomeStatus::Refused, self.ledger.time.monotonic());
        }
    }

    /// Has whoever awaits the reply woken at the deadline, if there is one.
    pub(crate) fn remind(self: &Arc<Self>)
    where
        O: Send + 'static,
    {
        if let Some(deadline) = self.call.deadline {
            let sleeper: Arc<dyn Sleeper> = Arc::clone(self) as Arc<dyn Sleeper>;
            self.ledger.timer.call(deadline, Arc::downgrade(&sleeper));
        }
    }

    fn late(&self) -> ServeError {
        count(&self.ledger.counters.gone);
        self.ledger.report(&self.call, OutcomeStatus::TimedOut, self.ledger.time.monotonic());
        ServeError::DeadlineExceeded { version: self.ledger.version }
    }
}

impl<O: Send> Sleeper for Slot<O> {
    /// The deadline has come: whoever awaits the reply looks again, and gives the request up.
    fn wake(&self) {
        let waker = match &mut *self.state.lock() {
            State::Pending(waker) => waker.take(),
            _ => None,
        };
        if let Some(waker) = waker {
            self.ledger.listen(|| waker.wake());
        }
    }
}
