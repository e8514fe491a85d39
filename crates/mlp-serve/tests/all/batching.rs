//! The queue: batches, bounds, deadlines, priorities.

use std::time::Duration;

use std::sync::Arc;

use mlp_core::Timestamp;
use mlp_serve::{Priority, Request, ServeError};

use crate::support::{Probe, V1, builder, clock, eventually, queued, serve, source};

#[test]
fn twelve_requests_against_a_busy_replica_make_exactly_two_executions() {
    let probe = Probe::new(100);
    let server = serve(queued(), &probe);
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    let others: Vec<_> = (1..12).map(|input| server.submit(input)).collect();
    probe.release();
    assert_eq!(first.wait().unwrap().output, 100);
    for (input, ticket) in (1..12).zip(others) {
        assert_eq!(ticket.wait().unwrap().output, 100 + input);
    }
    assert_eq!(probe.calls(), [vec![0], (1..12).collect()]);
}

#[test]
fn a_batch_never_holds_more_rows_than_the_cap() {
    let probe = Probe::new(0);
    let server = serve(queued().with_max_batch_rows(4), &probe);
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    // 3 rows, 1 row, 2 rows, 3 rows, 1 row.
    let inputs = [3_000_000, 1, 2_000_000, 3_000_001, 2];
    let tickets: Vec<_> = inputs.iter().map(|&input| server.submit(input)).collect();
    probe.release();
    first.wait().unwrap();
    let outputs: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait().unwrap().output).collect();
    assert_eq!(outputs, inputs);
    assert_eq!(probe.calls()[1..], [vec![3_000_000, 1], vec![2_000_000], vec![3_000_001, 2]]);
    assert!(matches!(
        server.predict(5_000_000),
        Err(ServeError::TooManyRows { given: 5, limit: 4 })
    ));
}

#[test]
fn with_a_queue_bound_of_8_exactly_2_of_10_more_requests_are_rejected_at_once() {
    let probe = Probe::new(0);
    let server = serve(queued().with_queue_rows(8), &probe);
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    let (mut waiting, mut rejected) = (Vec::new(), 0);
    for input in 1..=10 {
        match server.submit(input).try_wait() {
            Err(ticket) => waiting.push(ticket),
            Ok(reply) => {
                assert!(matches!(reply, Err(ServeError::Overloaded { waiting: 8, limit: 8, .. })));
                rejected += 1;
            }
        }
    }
    assert_eq!((waiting.len(), rejected), (8, 2));
    probe.release();
    first.wait().unwrap();
    waiting.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert_eq!(probe.inputs(), (0..=8).collect::<Vec<_>>());
}

#[test]
fn a_lone_request_does_not_wait_for_the_batch_delay_while_the_clock_stands_still() {
    let probe = Probe::new(1);
    let options = queued().with_batch_delay(Duration::from_millis(5));
    let server = builder(options).with_clock(clock()).fixed(V1, source(&probe)).unwrap();
    for input in 0..5 {
        assert_eq!(server.predict(input).unwrap().output, input + 1);
    }
    assert_eq!(probe.calls().len(), 5);
}

#[test]
fn a_batch_delay_gathers_requests_that_are_known_to_come() {
    let (probe, clock) = (Probe::new(0), clock());
    let options = queued().with_batch_delay(Duration::from_millis(5)).with_max_batch_rows(4);
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    let others: Vec<_> = (1..4).map(|input| server.submit(input)).collect();
    probe.release();
    first.wait().unwrap();
    // Four were about a moment ago and three are: they wait for the fourth until their time is over.
    clock.advance(Duration::from_millis(5));
    others.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    // Four at once are forgotten after two delays.
    clock.advance(Duration::from_millis(5));
    // The clock stands still now: what ends the wait is that as many are here as were before.
    let more: Vec<_> = (4..7).map(|input| server.submit(input)).collect();
    more.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert_eq!(probe.calls(), [vec![0], vec![1, 2, 3], vec![4, 5, 6]]);
}

#[test]
fn a_request_that_expires_in_the_queue_never_reaches_the_model() {
    let (probe, clock) = (Probe::new(0), clock());
    let server = builder(queued()).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    let hurried = Request::new().with_timeout(Duration::from_millis(10));
    let (late, patient) = (server.submit_for(&hurried, 1), server.submit(2));
    clock.advance(Duration::from_millis(10));
    probe.release();
    assert!(matches!(late.wait(), Err(ServeError::DeadlineExceeded { version: V1 })));
    first.wait().unwrap();
    patient.wait().unwrap();
    assert_eq!(probe.inputs(), [0, 2]);
}

#[test]
fn a_waiting_caller_hears_of_its_deadline_while_the_model_still_runs() {
    let (probe, clock) = (Probe::new(0), clock());
    let server = builder(queued()).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let other = server.clone();
    let caller = std::thread::spawn(move || {
        other.predict_for(&Request::new().with_timeout(Duration::from_secs(1)), 1)
    });
    probe.wait_inside(1);
    clock.advance(Duration::from_secs(1));
    assert!(matches!(caller.join().unwrap(), Err(ServeError::DeadlineExceeded { .. })));
    probe.release();
}

#[test]
fn a_request_without_time_is_late_at_once() {
    let probe = Probe::new(0);
    let server = serve(queued(), &probe);
    let request = Request::new().with_timeout(Duration::ZERO);
    assert!(matches!(server.predict_for(&request, 1), Err(ServeError::DeadlineExceeded { .. })));
    assert!(probe.inputs().is_empty());
}

#[test]
fn a_cancelled_request_never_reaches_the_model() {
    let probe = Probe::new(0);
    let server = serve(queued(), &probe);
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    let cancelled = server.submit(1);
    let kept = server.submit(2);
    drop(cancelled);
    probe.release();
    first.wait().unwrap();
    kept.wait().unwrap();
    assert_eq!(probe.inputs(), [0, 2]);
}

#[test]
fn urgent_requests_overtake_and_those_that_can_wait_do() {
    let probe = Probe::new(0);
    let server = serve(queued().with_max_batch_rows(1), &probe);
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    let tickets =
        [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Normal)]
            .map(|(input, priority)| {
                server.submit_for(&Request::new().with_priority(priority), input)
            });
    probe.release();
    first.wait().unwrap();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert_eq!(probe.inputs(), [0, 3, 2, 4, 1]);
}

#[test]
fn an_idle_caller_runs_a_cheap_model_in_its_own_thread() {
    #[derive(Debug)]
    struct WhichThread;
    impl mlp_core::Servable for WhichThread {
        type Input = ();
        type Output = std::thread::ThreadId;
        fn run(
            &self,
            batch: &[()],
            out: &mut Vec<Self::Output>,
        ) -> Result<(), mlp_core::ModelError> {
            out.extend(batch.iter().map(|()| std::thread::current().id()));
            Ok(())
        }
    }
    let model = || mlp_core::VersionSource::shared(std::sync::Arc::new(WhichThread));
    let here = std::thread::current().id();
    let cheap = mlp_serve::Server::builder()
        .with_warm_up([()])
        .with_clock(clock())
        .fixed(V1, model())
        .unwrap();
    assert_eq!(cheap.predict(()).unwrap().output, here);
    assert_ne!(cheap.submit(()).wait().unwrap().output, here);
    let queued = mlp_serve::Server::builder().with_options(queued()).fixed(V1, model()).unwrap();
    assert_ne!(queued.predict(()).unwrap().output, here);
}

#[test]
fn a_ticket_is_awaited_without_a_runtime() {
    use std::future::Future;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let probe = Probe::new(1);
    let server = serve(queued(), &probe);
    probe.hold();
    let mut ticket = std::pin::pin!(server.submit(1));
    probe.wait_inside(1);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    assert!(ticket.as_mut().poll(&mut context).is_pending());
    probe.release();
    let reply = loop {
        match ticket.as_mut().poll(&mut context) {
            Poll::Ready(reply) => break reply,
            Poll::Pending => std::thread::park(),
        }
    };
    assert_eq!(reply.unwrap().output, 2);
}

#[test]
fn a_ticket_that_was_awaited_gives_no_second_answer_and_cancels_nothing() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    let server = serve(queued(), &Probe::new(1));
    let mut ticket = std::pin::pin!(server.submit(1));
    let mut context = Context::from_waker(Waker::noop());
    eventually("it is answered", || match ticket.as_mut().poll(&mut context) {
        Poll::Ready(reply) => reply.unwrap().output == 2,
        Poll::Pending => false,
    });
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = ticket.as_mut().poll(&mut context);
    }));
    assert!(again.is_err(), "it would wait for ever");
    assert_eq!(server.numbers().versions[0].refused, 0);
}

#[test]
fn a_batch_larger_than_the_queue_waits_for_room_instead_of_being_refused() {
    let probe = Probe::new(1);
    let server = serve(queued().with_queue_rows(16).with_max_in_flight(Some(10)), &probe);
    let answers = server.predict_batch(0..2_000);
    for (input, answer) in (0..2_000).zip(answers) {
        assert_eq!(answer.unwrap().output, input + 1);
    }
    assert_eq!(server.numbers().versions[0].refused, 0, "nobody hears of a refusal either");
    // What others have filled is not waited for.
    probe.hold();
    let _others: Vec<_> = (0..10).map(|input| server.submit(input)).collect();
    let refused = server.predict_batch([1, 2]);
    assert!(refused.iter().all(|it| matches!(it, Err(ServeError::Overloaded { .. }))));
    probe.release();
}

#[test]
fn those_who_gave_up_take_nobodys_place() {
    let (probe, clock) = (Probe::new(0), clock());
    let options = queued().with_queue_rows(4).with_max_in_flight(Some(5)).with_cache_entries(9);
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    let in_flight = || {
        let numbers = &server.numbers().versions[0];
        (numbers.in_flight, numbers.queue_rows)
    };
    probe.hold();
    let running = server.submit(0);
    probe.wait_inside(1);
    (1..5).for_each(|input| drop(server.submit(input)));
    assert_eq!(in_flight(), (1, 0), "they do not count");
    let hurried = Request::new().with_timeout(Duration::from_millis(1));
    let late = [5, 6, 6, 6].map(|input| server.submit_for(&hurried, input));
    assert_eq!(in_flight(), (5, 2), "two of them wait for an identical one");
    assert!(matches!(server.submit(7).try_wait(), Ok(Err(ServeError::Overloaded { .. }))));
    clock.advance(Duration::from_millis(1));
    let patient: Vec<_> = (10..14).map(|input| server.submit(input)).collect();
    assert_eq!(in_flight(), (5, 4));
    probe.release();
    assert!(running.wait().is_ok());
    patient.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    for ticket in late {
        assert!(matches!(ticket.wait(), Err(ServeError::DeadlineExceeded { .. })));
    }
    assert_eq!(in_flight(), (0, 0));
    assert_eq!(probe.inputs(), [0, 10, 11, 12, 13]);
}

#[test]
fn an_expired_large_request_makes_no_room_for_a_batch_beyond_the_target() {
    let clock = clock();
    let calls = Arc::new(parking_lot::Mutex::new(Vec::new()));
    /// Takes a second of the clock for each row.
    #[derive(Debug)]
    struct Second(Arc<mlp_core::ManualClock>, Arc<parking_lot::Mutex<Vec<u64>>>);
    impl mlp_core::Servable for Second {
        type Input = u64;
        type Output = u64;
        fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), mlp_core::ModelError> {
            let rows = batch.iter().sum();
            self.0.advance(Duration::from_secs(rows));
            self.1.lock().push(rows);
            out.extend(batch);
            Ok(())
        }
        fn rows(&self, input: &u64) -> usize {
            usize::try_from(*input).unwrap()
        }
    }
    let options =
        queued().with_max_batch_rows(32).with_latency_target(Some(Duration::from_secs(6)));
    let model = Arc::new(Second(Arc::clone(&clock), Arc::clone(&calls)));
    let server = mlp_serve::Server::builder()
        .with_options(options)
        .with_clock(Arc::clone(&clock) as _)
        .with_warm_up([1, 1, 1, 2, 1, 1, 1, 1, 1, 3, 1])
        .fixed(V1, mlp_core::VersionSource::shared(model))
        .unwrap();
    // The first keeps the replica busy for longer than the large one can wait.
    let mut held = calls.lock();
    held.clear();
    let before = mlp_core::Clock::monotonic(&*clock);
    let first = server.submit(2);
    eventually("it runs", || mlp_core::Clock::monotonic(&*clock) > before);
    let hurried = Request::new().with_timeout(Duration::from_millis(1_500));
    let large = server.submit_for(&hurried.with_priority(Priority::High), 30);
    let small: Vec<_> = (0..20).map(|_| server.submit(1)).collect();
    clock.advance(Duration::from_secs(2));
    drop(held);
    assert!(large.wait().is_err());
    assert!(first.wait().is_ok());
    small.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert!(calls.lock().iter().all(|rows| *rows <= 6), "{:?}", calls.lock());
}

#[test]
fn a_burst_does_not_make_lone_requests_wait_after_two_delays() {
    let (probe, clock) = (Probe::new(0), clock());
    let options = queued().with_batch_delay(Duration::from_millis(5));
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    // As many as a batch holds: they wait for no more.
    let burst: Vec<_> = (0..64).map(|input| server.submit(input)).collect();
    probe.release();
    assert!(first.wait().is_ok());
    burst.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    clock.advance(Duration::from_millis(10));
    for input in 0..100 {
        // The clock stands still: one that waits for others would wait for ever.
        let mut ticket = Some(server.submit(input));
        eventually("it is answered at once", || {
            match ticket.take().map(mlp_serve::Ticket::try_wait) {
                Some(Err(again)) => ticket = Some(again),
                reply => return reply.is_some_and(|reply| reply.is_ok_and(|it| it.is_ok())),
            }
            false
        });
    }
}

#[test]
fn no_more_requests_are_in_flight_than_may_be() {
    let probe = Probe::new(0);
    let server = serve(queued().with_max_in_flight(Some(3)), &probe);
    probe.hold();
    let mut tickets: Vec<_> = (0..5).map(|input| server.submit(input)).collect();
    for ticket in tickets.drain(3..) {
        let refused = ticket.wait();
        assert!(matches!(refused, Err(ServeError::Overloaded { waiting: 3, limit: 3, .. })));
    }
    probe.release();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert!(server.predict(9).is_ok());
}

#[test]
fn a_clock_that_goes_backwards_changes_no_deadline() {
    let (probe, clock) = (Probe::new(0), clock());
    let server =
        builder(queued()).with_clock(Arc::clone(&clock) as _).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let first = server.submit(1);
    probe.wait_inside(1);
    let request = Request::new().with_timeout(Duration::from_secs(1));
    let ticket = server.submit_for(&request, 2);
    clock.set_wall(Timestamp::from_micros(-1_000_000_000_000));
    clock.advance(Duration::from_millis(999));
    probe.release();
    assert_eq!((first.wait().unwrap().output, ticket.wait().unwrap().output), (1, 2));
    // The control: the same, and a millisecond more of the monotonic clock.
    probe.hold();
    let first = server.submit(1);
    probe.wait_inside(1);
    let ticket = server.submit_for(&request, 2);
    clock.set_wall(Timestamp::from_micros(-2_000_000_000_000));
    clock.advance(Duration::from_millis(1_000));
    probe.release();
    assert!(first.wait().is_ok());
    assert!(matches!(ticket.wait(), Err(ServeError::DeadlineExceeded { .. })));
}
