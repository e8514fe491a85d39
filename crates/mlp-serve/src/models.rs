//! Models that try every order in which threads can take the locks: `RUSTFLAGS="--cfg mlp_loom" cargo test --release -p mlp-serve --lib loom`.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use mlp_core::{
    ManualClock, ModelError, OutcomeStatus, PredictionId, Role, Route, Servable, Timestamp,
    VersionNumber, VersionSource,
};

use crate::error::ServeError;
use crate::ledger::{Call, Counters, Ledger, Tally};
use crate::options::{CachePolicy, ServeOptions};
use crate::request::Answer;
use crate::server::Server;
use crate::slot::{Reply, Slot};
use crate::sync::Mutex;
use crate::time::Time;
use crate::timer::Timer;

const V1: VersionNumber = VersionNumber(1);
const V2: VersionNumber = VersionNumber(2);

fn time() -> Time {
    Time::Given(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)))
}

fn slot() -> (Arc<Slot<u8>>, Arc<Ledger>) {
    let ledger = Arc::new(Ledger {
        version: V1,
        time: time(),
        router: None,
        log: None,
        log_one_in: 1,
        counters: Counters::default(),
        tally: Mutex::new(Tally::new()),
        timer: Arc::new(Timer::new(time(), Arc::default())),
    });
    let call = Call {
        route: Route::new(V1, Role::Active, 0),
        id: PredictionId::generate(),
        entered: Duration::ZERO,
        deadline: None,
    };
    (Arc::new(Slot::new(call, Arc::clone(&ledger))), ledger)
}

/// What a replica does with a request: `is_careful` asks for the right to deliver first.
fn answer(slot: &Slot<u8>, ledger: &Ledger, is_careful: bool) {
    if slot.claim() || !is_careful {
        ledger.report(&slot.call, OutcomeStatus::Answered, Duration::ZERO);
        slot.deliver(Ok(Answer {
            output: 7,
            version: V1,
            role: Role::Active,
            replica: 0,
            cached: false,
            id: slot.call.id,
            latency: Duration::ZERO,
        }));
    }
}

fn reported(ledger: &Ledger) -> u64 {
    let tally = ledger.tally.lock();
    tally.answered + tally.refused + tally.timed_out + tally.failed
}

fn answered_or_cancelled(is_careful: bool) {
    loom::model(move || {
        let (slot, ledger) = slot();
        let (own, of_replica) = (Arc::clone(&slot), Arc::clone(&ledger));
        let replica = thread::spawn(move || answer(&own, &of_replica, is_careful));
        slot.cancel();
        replica.join().unwrap();
        assert_eq!(reported(&ledger), 1);
    });
}

#[test]
fn loom_a_request_is_answered_or_cancelled_and_reported_once() {
    answered_or_cancelled(true);
}

/// The control: a replica that delivers without having claimed is found out.
#[test]
#[should_panic(expected = "left == right")]
fn loom_a_replica_that_does_not_claim_is_found_out() {
    answered_or_cancelled(false);
}

#[test]
fn loom_of_a_replica_and_a_watchdog_one_delivers_and_the_waiter_wakes() {
    loom::model(|| {
        let (slot, ledger) = slot();
        let (own, of_replica) = (Arc::clone(&slot), Arc::clone(&ledger));
        let replica = thread::spawn(move || answer(&own, &of_replica, true));
        let own = Arc::clone(&slot);
        let watchdog =
            thread::spawn(move || own.fail(OutcomeStatus::TimedOut, ServeError::Draining));
        let reply: Reply<u8> = slot.wait();
        assert!(matches!(reply, Ok(Answer { output: 7, .. }) | Err(ServeError::Draining)));
        replica.join().unwrap();
        watchdog.join().unwrap();
        assert_eq!(reported(&ledger), 1);
    });
}

/// Adds the number of its version.
#[derive(Debug)]
struct Add(u64);

impl Servable for Add {
    type Input = u64;
    type Output = u64;

    fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), ModelError> {
        assert!(!batch.contains(&13), "told to panic");
        out.extend(batch.iter().map(|input| input + self.0));
        Ok(())
    }

    fn cache_key(&self, input: &u64, key: &mut Vec<u8>) -> bool {
        key.extend_from_slice(&input.to_le_bytes());
        true
    }
}

/// One replica in a thread of its own, and everything through the queue.
fn server() -> Server<Add> {
    serve(ServeOptions::default())
}

fn serve(options: ServeOptions) -> Server<Add> {
    let options = options.with_replicas(1).with_inline_below(Duration::ZERO).with_restart_after(0);
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let builder = Server::builder().with_options(options).with_clock(clock);
    builder.fixed(V1, VersionSource::shared(Arc::new(Add(1)))).unwrap()
}

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Of every order in which threads interrupt each other at most three times.
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn loom_a_swap_fails_no_request_and_the_old_version_drains() {
    model(|| {
        let server = server();
        let caller = server.clone();
        let calls = thread::spawn(move || {
            let answer = caller.predict(40).unwrap();
            assert_eq!(answer.output, 40 + answer.version.0);
            answer.version
        });
        server.swap(V2, VersionSource::shared(Arc::new(Add(2)))).unwrap();
        let version = calls.join().unwrap();
        assert!(version == V1 || version == V2);
        drop(server);
    });
}

#[test]
fn loom_a_drain_answers_what_was_accepted_and_refuses_the_rest() {
    model(|| {
        let server = server();
        let caller = server.clone();
        let calls = thread::spawn(move || match caller.predict(40) {
            Ok(answer) => assert_eq!(answer.output, 41),
            Err(error) => assert!(matches!(error, ServeError::Draining), "{error}"),
        });
        assert_eq!(server.drain(Duration::from_secs(1)).unanswered, 0);
        calls.join().unwrap();
        let numbers = &server.numbers().versions[0];
        assert_eq!(numbers.in_flight, 0);
        assert!(numbers.answered + numbers.refused <= 1);
    });
}

#[test]
fn loom_all_threads_leave_a_drained_server_though_a_caller_holds_a_replica() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let options = ServeOptions::default().with_replicas(2).with_max_batch_rows(1);
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let builder = Server::builder().with_options(options).with_clock(clock);
        let builder = builder.with_warm_up([0]);
        let server = builder.fixed(V1, VersionSource::shared(Arc::new(Add(1)))).unwrap();
        let other = server.clone();
        let caller = thread::spawn(move || match other.predict(40) {
            Ok(answer) => assert_eq!(answer.output, 41),
            Err(error) => assert!(matches!(error, ServeError::Draining), "{error}"),
        });
        let tickets = [1, 2].map(|input| server.submit(input));
        assert_eq!(server.drain(Duration::from_secs(1)).unanswered, 0);
        for ticket in tickets {
            assert!(ticket.wait().is_ok());
        }
        caller.join().unwrap();
        // Waits for all threads: one that is left behind would be reported.
        drop(server);
    });
}

/// One that remembers answers.
fn remembering() -> Server<Add> {
    let policy = CachePolicy::LeastRecentlyUsed;
    serve(ServeOptions::default().with_cache_entries(4).with_cache_policy(policy))
}

#[test]
fn loom_who_joins_a_leader_that_is_cancelled_is_answered() {
    model(|| {
        let server = remembering();
        let leader = server.submit(40);
        let other = server.clone();
        let follower = thread::spawn(move || other.predict(40).unwrap().output);
        drop(leader);
        assert_eq!(follower.join().unwrap(), 41);
        let numbers = &server.numbers().versions[0];
        assert_eq!((numbers.in_flight, numbers.queue_rows), (0, 0));
    });
}

#[test]
fn loom_who_joins_a_leader_that_panics_hears_of_it_and_the_next_one_is_computed_anew() {
    model(|| {
        let server = remembering();
        let leader = server.submit(13);
        let other = server.clone();
        let follower = thread::spawn(move || other.predict(13));
        let replies = [leader.wait(), follower.join().unwrap()];
        for reply in replies {
            assert!(matches!(reply, Err(ServeError::ModelPanicked { .. })), "{reply:?}");
        }
        let numbers = &server.numbers().versions[0];
        assert_eq!((numbers.failed, numbers.in_flight, numbers.cache_entries), (2, 0, 0));
    });
}
