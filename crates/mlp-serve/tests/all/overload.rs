//! More than a server can do: errors come on time, memory stays, and nothing is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mlp_core::{ModelError, Servable, VersionSource};
use mlp_serve::{Request, ServeError, Server};

use crate::support::{Probe, V1, builder, clock, eventually, queued, serve, source};

/// The 99th percentiles of how much later than 20 ms a request hears of its deadline, and a thread that only sleeps is woken.
fn lateness() -> [Duration; 2] {
    let (probe, timeout) = (Probe::new(0), Duration::from_millis(20));
    let server = serve(queued(), &probe);
    // The model comes back for none of them.
    probe.hold();
    let request = Request::new().with_timeout(timeout);
    let late_by = |wait: &dyn Fn()| {
        let start = Instant::now();
        wait();
        start.elapsed().checked_sub(timeout).expect("not before the deadline")
    };
    let ask = || {
        let reply = server.predict_for(&request, 1);
        assert!(matches!(reply, Err(ServeError::DeadlineExceeded { .. })));
    };
    let call = || [late_by(&ask), late_by(&|| std::thread::sleep(timeout))];
    let late: Vec<[Duration; 2]> = std::thread::scope(|scope| {
        let caller = || scope.spawn(|| (0..25).map(|_| call()).collect::<Vec<_>>());
        let callers = [caller(), caller(), caller(), caller()];
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    probe.release();
    [0, 1].map(|which| {
        let mut of: Vec<_> = late.iter().map(|it| it[which]).collect();
        of.sort_unstable();
        of[of.len() * 99 / 100]
    })
}

#[test]
fn an_error_comes_at_its_deadline_while_the_model_is_slow() {
    // On a machine that does other things as well any thread may be woken late: one that only sleeps says by how much.
    let start = Instant::now();
    loop {
        let [heard, slept] = lateness();
        if heard < slept + Duration::from_millis(10) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{heard:?} late, a sleeper {slept:?}");
    }
}

/// The most memory that this process has held so far.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs one batch a permit, and needs none once nobody gives any more.
#[derive(Debug)]
struct Paced(parking_lot::Mutex<Receiver<()>>);

impl Servable for Paced {
    type Input = Vec<u8>;
    type Output = usize;

    fn run(&self, batch: &[Vec<u8>], out: &mut Vec<usize>) -> Result<(), ModelError> {
        let _ = self.0.lock().recv();
        out.extend(batch.iter().map(Vec::len));
        Ok(())
    }
}

/// Ten times as many inputs of 10 kB as the model can take, for a while; how many were refused.
fn overload(queue_rows: usize) -> u64 {
    let (permit, permits) = channel();
    let model = VersionSource::shared(Arc::new(Paced(parking_lot::Mutex::new(permits))));
    let options = queued().with_queue_rows(queue_rows).with_max_batch_rows(16);
    let server = Server::builder().with_options(options).fixed(V1, model).unwrap();
    let (refused, mut tickets) = (AtomicU64::new(0), Vec::new());
    for _ in 0..200 {
        // 160 a batch of 16.
        for _ in 0..160 {
            let ticket = server.submit(vec![1; 10_000]);
            match ticket.try_wait() {
                Ok(Err(ServeError::Overloaded { .. })) => {
                    _ = refused.fetch_add(1, Ordering::Relaxed)
                }
                Ok(reply) => assert!(reply.is_ok(), "{reply:?}"),
                Err(ticket) => tickets.push(ticket),
            }
        }
        tickets = tickets.into_iter().filter_map(|ticket| ticket.try_wait().err()).collect();
        permit.send(()).unwrap();
    }
    // Before the server, which answers what is left.
    drop(permit);
    refused.into_inner()
}

/// The other half of `memory_is_bounded_under_ten_times_the_load`: does nothing unless that has started it.
#[test]
fn overload_a_server_when_asked_to() {
    let Some(rows) = std::env::var_os("MLP_SERVE_OVERLOAD") else { return };
    let rows = rows.to_str().unwrap().parse().unwrap();
    overload(10);
    let before = peak_kib();
    let refused = overload(rows);
    println!("refused {refused} grown {}", peak_kib().saturating_sub(before));
}

#[cfg(target_os = "linux")]
fn grown_kib(queue_rows: usize) -> (u64, u64) {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["overload_a_server_when_asked_to", "--nocapture"])
        .env("MLP_SERVE_OVERLOAD", queue_rows.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    let after = |word| {
        let mut words = text.split_whitespace().skip_while(|it| *it != word);
        words.nth(1).unwrap_or_else(|| panic!("{child:?}")).parse().unwrap()
    };
    (after("refused"), after("grown"))
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_bounded_under_ten_times_the_load() {
    // 32,000 inputs of 10 kB are 312 MiB; a queue of 200 holds 2 MiB of them.
    let (refused, grown) = grown_kib(200);
    assert!(refused > 10_000, "{refused} refused");
    assert!(grown < 30_000, "{grown} KiB more");
    // The control: a queue without a bound.
    let (refused, grown) = grown_kib(1_000_000);
    assert!(refused == 0 && grown > 100_000, "{refused} refused, {grown} KiB more");
}

/// The sum of each input: inputs of any length, as many rows as numbers.
#[derive(Debug)]
struct Ragged;

impl Servable for Ragged {
    type Input = Vec<u64>;
    type Output = u64;

    fn run(&self, batch: &[Vec<u64>], out: &mut Vec<u64>) -> Result<(), ModelError> {
        out.extend(batch.iter().map(|numbers| numbers.iter().sum::<u64>()));
        Ok(())
    }

    fn rows(&self, numbers: &Vec<u64>) -> usize {
        numbers.len()
    }
}

#[test]
fn ragged_batches_are_answered_right_and_never_hold_more_rows_than_the_cap() {
    let source = VersionSource::shared(Arc::new(Ragged));
    let options = queued().with_max_batch_rows(16);
    let server = Server::builder().with_options(options).fixed(V1, source).unwrap();
    let inputs = || (0..2_000_u64).map(|n| (0..n * 7 % 17).map(|k| n + k).collect::<Vec<_>>());
    for (numbers, answer) in inputs().zip(server.predict_batch(inputs())) {
        assert_eq!(answer.unwrap().output, numbers.iter().sum::<u64>());
    }
    let rows = server.numbers().versions[0].batch_rows;
    assert!(rows.max <= 16.0 && rows.count < 2_000, "{rows:?}");
}

fn nothing_is_left(server: &Server<Probe>) {
    eventually("nothing is left over", || {
        let numbers = server.numbers();
        numbers.versions.iter().all(|it| (it.in_flight, it.queue_rows) == (0, 0))
    });
}

#[test]
fn counters_return_to_zero_after_cancelled_late_and_aborted_requests() {
    let (probe, clock) = (Probe::new(0), clock());
    let options = queued().with_cache_entries(10).with_drain_timeout(Duration::ZERO);
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let running = server.submit(0);
    probe.wait_inside(1);
    let hurried = Request::new().with_timeout(Duration::from_millis(1));
    let late = [1, 1, 2].map(|input| server.submit_for(&hurried, input));
    [3, 3, 4].into_iter().for_each(|input| drop(server.submit(input)));
    clock.advance(Duration::from_millis(1));
    late.into_iter().for_each(|ticket| assert!(ticket.wait().is_err()));
    assert_eq!(server.numbers().versions[0].in_flight, 1, "the one that runs");
    let aborted = [5, 5, 6].map(|input| server.submit(input));
    assert_eq!(server.drain(Duration::ZERO).unanswered, 4);
    for ticket in aborted {
        assert!(matches!(ticket.wait(), Err(ServeError::Draining)));
    }
    probe.release();
    assert!(running.wait().is_ok());
    nothing_is_left(&server);
    let numbers = &server.numbers().versions[0];
    let ended = [numbers.answered, numbers.timed_out, numbers.refused];
    assert_eq!(ended, [1, 3, 6]);
}

#[test]
fn counters_return_to_zero_after_a_replica_was_stuck() {
    let probe = Probe::new(0);
    let limit = Some(Duration::from_millis(20));
    let options = queued().with_cache_entries(10).with_stuck_after(limit);
    let server = serve(options, &probe);
    probe.hold();
    let tickets = [1, 1, 2].map(|input| server.submit(input));
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_err()));
    nothing_is_left(&server);
    probe.release();
}

#[test]
fn a_caller_that_goes_away_while_the_model_runs_harms_nobody_and_its_answer_is_remembered() {
    let probe = Probe::new(1);
    let server = serve(queued().with_cache_entries(10), &probe);
    probe.hold();
    let gone = server.submit(1);
    probe.wait_inside(1);
    drop(gone);
    probe.release();
    nothing_is_left(&server);
    let answer = server.predict(1).unwrap();
    assert_eq!((answer.output, answer.cached), (2, true));
    assert_eq!(server.numbers().versions[0].listener_panics, 0);
}

#[test]
fn a_listener_that_panics_under_its_own_lock_stops_nothing() {
    /// Panics once, while it holds its lock.
    #[derive(Debug, Default)]
    struct Locked(parking_lot::Mutex<u64>, AtomicBool);
    impl mlp_core::PredictionLog for Locked {
        fn record(&self, _: &mlp_core::PredictionRecord<'_>) {
            let mut heard = self.0.lock();
            *heard += 1;
            assert!(self.1.swap(true, Ordering::SeqCst), "the first time");
        }
    }
    let log = Arc::new(Locked::default());
    let builder = builder(queued()).with_log(Arc::clone(&log) as _);
    let server = builder.fixed(V1, source(&Probe::new(1))).unwrap();
    for input in 0..3 {
        assert_eq!(server.predict(input).unwrap().output, input + 1);
    }
    assert_eq!((*log.0.lock(), server.numbers().versions[0].listener_panics), (3, 1));
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_ticket_that_is_awaited_is_woken_at_its_deadline() {
    let (probe, clock) = (Probe::new(0), clock());
    let server = builder(queued()).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let busy = server.submit(1);
    probe.wait_inside(1);
    let woken = Arc::new(Woken::default());
    let waker = std::task::Waker::from(Arc::clone(&woken));
    let mut context = std::task::Context::from_waker(&waker);
    let request = Request::new().with_timeout(Duration::from_millis(5));
    let mut ticket = std::pin::pin!(server.submit_for(&request, 2));
    assert!(ticket.as_mut().poll(&mut context).is_pending());
    clock.advance(Duration::from_millis(4));
    assert!(ticket.as_mut().poll(&mut context).is_pending());
    assert!(!woken.0.load(Ordering::SeqCst), "it is not late yet");
    clock.advance(Duration::from_millis(1));
    eventually("nobody woke it", || woken.0.load(Ordering::SeqCst));
    let reply = ticket.as_mut().poll(&mut context);
    assert!(matches!(reply, std::task::Poll::Ready(Err(ServeError::DeadlineExceeded { .. }))));
    assert_eq!(server.numbers().versions[0].timed_out, 1);
    probe.release();
    assert!(busy.wait().is_ok());
}

#[test]
fn a_batch_may_have_a_deadline() {
    let (probe, clock) = (Probe::new(0), clock());
    let server = builder(queued()).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    let request = Request::new().with_timeout(Duration::from_millis(5));
    let replies = server.predict_batch_for(&request, [1, 2, 3]);
    assert!(replies.iter().all(Result::is_ok));
    probe.hold();
    let busy = server.submit(4);
    probe.wait_inside(1);
    let late = std::thread::scope(|scope| {
        let late = scope.spawn(|| server.predict_batch_for(&request, [5, 6]));
        eventually("they do not wait", || server.numbers().versions[0].queue_rows == 2);
        clock.advance(Duration::from_millis(5));
        late.join().unwrap()
    });
    assert!(late.iter().all(|it| matches!(it, Err(ServeError::DeadlineExceeded { .. }))));
    probe.release();
    assert!(busy.wait().is_ok());
    assert_eq!(probe.inputs(), [1, 2, 3, 4]);
}

#[test]
fn requests_that_reach_no_version_are_counted() {
    let server = Server::<Probe>::builder().routed(crate::support::Script::new(V1, &[])).unwrap();
    assert!(matches!(server.predict(1), Err(ServeError::NotReady { .. })));
    server.drain(Duration::ZERO);
    assert!(matches!(server.submit(1).wait(), Err(ServeError::Draining)));
    let numbers = server.numbers();
    assert_eq!((numbers.turned_away, numbers.versions.len()), (2, 0));
    let sample = &numbers.samples()[0];
    assert_eq!(
        (sample.name, sample.version, sample.value),
        ("mlp_serve_turned_away_total", None, 2.0)
    );
}

/// Answers 0; its inputs say themselves how many rows they have.
#[derive(Debug)]
struct Claims;

impl Servable for Claims {
    type Input = usize;
    type Output = u8;

    fn run(&self, batch: &[usize], out: &mut Vec<u8>) -> Result<(), ModelError> {
        out.extend(batch.iter().map(|_| 0));
        Ok(())
    }

    fn rows(&self, input: &usize) -> usize {
        *input
    }
}

#[test]
fn an_input_of_no_row_counts_as_one_and_one_of_endless_rows_is_refused() {
    let warm_up = [1, 0, usize::MAX, usize::MAX];
    let server = Server::builder().with_warm_up(warm_up);
    let server = server.fixed(V1, VersionSource::shared(Arc::new(Claims))).unwrap();
    assert!(server.predict(0).is_ok());
    assert!(server.submit(0).wait().is_ok());
    for reply in [server.predict(usize::MAX), server.submit(usize::MAX).wait()] {
        let error = reply.unwrap_err();
        assert!(
            matches!(error, ServeError::TooManyRows { given: usize::MAX, limit: 64 }),
            "{error}"
        );
    }
    let numbers = &server.numbers().versions[0];
    assert_eq!(
        (numbers.answered, numbers.refused, numbers.in_flight, numbers.queue_rows),
        (2, 2, 0, 0)
    );
}
