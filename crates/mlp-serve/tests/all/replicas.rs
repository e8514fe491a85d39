//! Replicas that fail, hang, and are built anew; batches that follow their cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mlp_core::{
    Clock, Host, Lifecycle, ManualClock, ModelError, Servable, Timestamp, VersionSource,
};
use mlp_serve::{ServeError, ServeOptions, Server};

use crate::support::{
    FAIL, Moody, PANIC, Probe, V1, V2, builder, clock, eventually, in_time, made_by, queued, source,
};

#[test]
fn a_replica_that_keeps_failing_is_taken_out_and_built_anew() {
    let ill = Arc::new(AtomicBool::new(true));
    let built = Arc::new(AtomicUsize::new(0));
    let (is_ill, count) = (Arc::clone(&ill), Arc::clone(&built));
    let source = VersionSource::new(move || {
        // What is built later is well.
        let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
        let is_ill = if is_first { Arc::clone(&is_ill) } else { Arc::default() };
        Ok(Arc::new(Moody { is_ill, panics: false }))
    });
    let options = ServeOptions::default().with_replicas(1).with_restart_after(3);
    let server = Server::builder().with_options(options).fixed(V1, source).unwrap();
    for request in 0..3 {
        assert!(matches!(server.predict(request), Err(ServeError::ModelFailed { .. })));
    }
    assert_eq!(server.predict(7).unwrap().output, 7);
    assert_eq!((built.load(Ordering::SeqCst), server.numbers().versions[0].restarts), (2, 1));
}

#[test]
fn a_model_that_always_panics_opens_the_circuit_without_a_storm_of_restarts_and_comes_back() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let built = Arc::new(AtomicUsize::new(0));
    let (ill, count) = (Arc::clone(&is_ill), Arc::clone(&built));
    let source = VersionSource::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Moody { is_ill: Arc::clone(&ill), panics: true }))
    });
    let options = ServeOptions::default().with_replicas(1).with_restart_after(4);
    let server = Server::builder().with_options(options).fixed(V1, source).unwrap();
    let (start, mut unready, mut refused) = (Instant::now(), 0, 0);
    let was_seen = |refused, unready| refused > 100 && unready > 100;
    while start.elapsed() < Duration::from_millis(500)
        || built.load(Ordering::SeqCst) < 3
        || !was_seen(refused, unready)
    {
        let seen = format!("{refused} refused, {unready} times not ready");
        assert!(start.elapsed() < Duration::from_secs(20), "it is never built anew: {seen}");
        match server.predict(1) {
            Err(ServeError::ModelPanicked { .. }) => {}
            Err(ServeError::NotReady { version: Some(V1) }) => refused += 1,
            other => panic!("{other:?}"),
        }
        unready += usize::from(!server.health().is_ready);
    }
    // Built at first, after the first panic, after the fourth failure, and after pauses of 100, 200, 400 ms and so on.
    let (builds, pauses) = (built.load(Ordering::SeqCst), start.elapsed().as_millis() / 100 + 1);
    assert!(builds as u32 <= 4 + pauses.ilog2(), "{builds} builds in {:?}", start.elapsed());
    eventually("it is unhealthy", || {
        let _ = server.predict(1);
        Host::health(&server, V1).lifecycle == Lifecycle::Unhealthy
    });
    is_ill.store(false, Ordering::SeqCst);
    eventually("it comes back", || server.predict(1).is_ok());
    assert!(server.health().is_ready);
}

#[test]
fn bad_inputs_are_not_taken_for_a_bad_replica() {
    let (source, built) = made_by(|_| Probe::new(0));
    let options = queued().with_restart_after(2);
    let server = builder(options).with_warm_up([1]).fixed(V1, source).unwrap();
    for _ in 0..50 {
        assert!(matches!(server.predict(FAIL), Err(ServeError::ModelFailed { .. })));
        assert!(server.health().is_ready);
    }
    assert_eq!(server.predict(3).unwrap().output, 3);
    assert_eq!((built.load(Ordering::SeqCst), server.numbers().versions[0].restarts), (1, 0));
}

#[test]
fn a_replica_that_panicked_is_built_anew_but_not_at_every_panic() {
    let (source, built) = made_by(|_| Probe::new(0));
    // On this clock no second passes by itself.
    let clock = clock();
    let builder = builder(queued()).with_clock(clock.clone()).with_warm_up([1]);
    let server = builder.fixed(V1, source).unwrap();
    for _ in 0..20 {
        assert!(matches!(server.predict(PANIC), Err(ServeError::ModelPanicked { .. })));
        assert_eq!(server.predict(3).unwrap().output, 3);
    }
    eventually("another one is in its place", || server.numbers().versions[0].restarts == 1);
    assert_eq!(server.numbers().versions[0].panics, 20);
    assert_eq!(built.load(Ordering::SeqCst), 2);
    // A second later it is built anew once more.
    clock.advance(Duration::from_secs(1));
    assert!(server.predict(PANIC).is_err());
    eventually("and another one", || server.numbers().versions[0].restarts == 2);
}

#[test]
fn a_replica_that_never_restarts_stays_as_it_is() {
    let (source, built) = made_by(|_| Probe::new(0));
    let server = builder(queued().with_restart_after(0)).fixed(V1, source).unwrap();
    (0..40).for_each(|_| assert!(server.predict(PANIC).is_err()));
    assert_eq!((built.load(Ordering::SeqCst), server.predict(1).unwrap().output), (1, 1));
}

#[test]
fn readiness_needs_a_quorum_of_replicas() {
    let ill = Arc::new(AtomicBool::new(true));
    let (is_ill, count) = (Arc::clone(&ill), AtomicUsize::new(0));
    // The fourth is well, which gets work only when the three that are taken before it are out; those that are built anew are not.
    let source = VersionSource::new(move || {
        let is_well = count.fetch_add(1, Ordering::SeqCst) == 3;
        let is_ill = if is_well { Arc::default() } else { Arc::clone(&is_ill) };
        Ok(Arc::new(Moody { is_ill, panics: false }))
    });
    let options = ServeOptions::default()
        .with_replicas(4)
        .with_restart_after(1)
        .with_inline_below(Duration::ZERO);
    let clock = clock();
    let builder = Server::builder().with_options(options).with_clock(clock.clone());
    let server = builder.fixed(V1, source).unwrap();
    assert!(server.health().is_ready);
    // Each of the three is built anew once, which does not help; from then on they pause, and on this clock no pause ends by itself.
    eventually("three are ill", || {
        server.predict_batch(0..64).into_iter().for_each(drop);
        let restarts = server.numbers().versions[0].restarts;
        restarts == 3 && Host::health(&server, V1).ready_replicas == 1
    });
    let health = server.health();
    assert!(!health.is_ready, "one of four is less than half");
    assert_eq!(health.versions[0].replicas.iter().filter(|it| it.is_well).count(), 1);
    assert_eq!(server.predict(5).unwrap().output, 5, "the one that is well answers");
    ill.store(false, Ordering::SeqCst);
    eventually("they come back", || {
        clock.advance(Duration::from_millis(100));
        server.predict_batch(0..64).into_iter().for_each(drop);
        Host::health(&server, V1).ready_replicas == 4
    });
}

#[test]
fn a_hung_replica_is_replaced_and_its_callers_are_told() {
    let hung = Probe::new(0);
    hung.hold();
    let first = Arc::clone(&hung);
    let (source, built) =
        made_by(move |k| if k == 0 { Arc::clone(&first) } else { Probe::new(10) });
    let limit = Duration::from_millis(30);
    let options = queued().with_stuck_after(Some(limit)).with_cache_entries(10);
    let clock = clock();
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source).unwrap();
    let ticket = server.submit(1);
    hung.wait_inside(1);
    let follower = server.submit(1);
    let waiting = server.submit(2);
    clock.advance(limit);
    let told = ticket.wait();
    assert!(
        matches!(told, Err(ServeError::ReplicaStuck { version: V1, replica: 0, limit: l }) if l == limit),
        "{told:?}"
    );
    assert!(matches!(follower.wait(), Err(ServeError::ReplicaStuck { .. })));
    assert_eq!(waiting.wait().unwrap().output, 12, "what waited is answered by the new one");
    assert_eq!(server.predict(1).unwrap().output, 11, "nothing was remembered");
    let numbers = &server.numbers().versions[0];
    assert_eq!((numbers.stuck, numbers.in_flight, built.load(Ordering::SeqCst)), (1, 0, 2));
    assert!(server.health().is_ready);
    // The thread that hangs is not waited for.
    in_time(move || drop(server));
    hung.release();
}

#[test]
fn no_more_threads_hang_than_twice_the_replicas_and_the_rest_is_refused() {
    let (hung, clock, limit) = (Probe::new(0), clock(), Duration::from_millis(10));
    hung.hold();
    let options = queued().with_replicas(2).with_stuck_after(Some(limit));
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source(&hung)).unwrap();
    // Two are replaced and two are not. While one is built, the clock stands still.
    for (calls, well) in [(1, 2), (2, 2), (3, 1), (4, 0)] {
        let ticket = server.submit(1);
        hung.wait_inside(calls);
        clock.advance(limit);
        assert!(matches!(ticket.wait(), Err(ServeError::ReplicaStuck { .. })));
        eventually("it is replaced or left", || Host::health(&server, V1).ready_replicas == well);
    }
    assert!(matches!(server.predict(1), Err(ServeError::NotReady { .. })));
    assert!(!server.health().is_ready);
    assert_eq!((server.numbers().versions[0].stuck, hung.calls().len()), (4, 4));
    // Once they come back, they are all there again.
    hung.release();
    eventually("they work again", || Host::health(&server, V1).ready_replicas == 2);
    assert_eq!(server.predict(3).unwrap().output, 3);
}

#[test]
fn a_slow_batch_within_the_limit_is_not_given_up() {
    let (probe, clock) = (Probe::new(0), clock());
    let options = queued().with_stuck_after(Some(Duration::from_secs(10)));
    let server =
        builder(options).with_clock(Arc::clone(&clock) as _).fixed(V1, source(&probe)).unwrap();
    probe.hold();
    let ticket = server.submit(1);
    probe.wait_inside(1);
    clock.advance(Duration::from_millis(9_999));
    std::thread::sleep(Duration::from_millis(20));
    probe.release();
    assert_eq!(ticket.wait().unwrap().output, 1);
    assert_eq!(server.numbers().versions[0].stuck, 0);
}

/// A source whose first model is given, and whose others wait to be built until the flag is set.
fn slowly(first: Arc<Probe>, offset: i64) -> (VersionSource<Probe>, Arc<AtomicBool>) {
    let (built, may_build) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&may_build);
    let source = VersionSource::new(move || {
        if built.fetch_add(1, Ordering::SeqCst) == 0 {
            return Ok(Arc::clone(&first));
        }
        while !flag.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Probe::new(offset))
    });
    (source, may_build)
}

#[test]
fn a_panic_takes_the_only_replica_out_of_service_at_no_time() {
    let (source, may_build) = slowly(Probe::new(0), 0);
    let server = builder(queued()).with_warm_up([1]).fixed(V1, source).unwrap();
    assert!(server.predict(PANIC).is_err());
    let other = server.clone();
    assert_eq!(in_time(move || other.predict(1)).unwrap().output, 1);
    assert!(server.health().is_ready);
    assert_eq!(server.numbers().versions[0].restarts, 0, "another one is still being built");
    may_build.store(true, Ordering::SeqCst);
    eventually("it is exchanged", || server.numbers().versions[0].restarts == 1);
    assert_eq!(server.predict(2).unwrap().output, 2);
}

#[test]
fn a_replica_is_not_well_before_it_is_built_anew_and_requests_wait_for_it() {
    let (source, may_build) = slowly(Probe::new(0), 7);
    let server = builder(queued().with_restart_after(1)).fixed(V1, source).unwrap();
    assert!(server.predict(FAIL).is_err());
    let health = server.health();
    assert!(!health.is_ready && !health.versions[0].replicas[0].is_well, "{health:?}");
    let waiting = server.submit(1);
    may_build.store(true, Ordering::SeqCst);
    assert_eq!(waiting.wait().unwrap().output, 8);
    assert!(server.health().is_ready);
}

#[test]
fn a_replica_is_not_replaced_by_one_that_answers_otherwise() {
    let (source, built) = made_by(|k| Probe::new(if k == 0 { 10 } else { 20 }));
    let server = builder(queued()).with_warm_up([1]).fixed(V1, source).unwrap();
    assert!(server.predict(PANIC).is_err());
    eventually("another one was tried", || server.numbers().versions[0].failed_restarts == 1);
    assert_eq!((server.predict(1).unwrap().output, built.load(Ordering::SeqCst)), (11, 2));
    assert!(server.health().is_ready);
}

#[test]
fn a_version_that_hangs_on_its_warm_up_too_is_not_well_and_keeps_no_other_out() {
    let hung = Probe::new(0);
    let options = queued().with_replicas(2).with_stuck_after(Some(Duration::from_millis(20)));
    let server = builder(options).with_warm_up([0]).fixed(V1, source(&hung)).unwrap();
    hung.hold();
    assert!(matches!(server.predict(1), Err(ServeError::ReplicaStuck { .. })));
    assert!(Host::health(&server, V1).ready_replicas < 2, "{:?}", server.health());
    eventually("all are stuck", || {
        let _ = server.predict(1);
        !server.health().is_ready
    });
    let other = server.clone();
    in_time(move || other.swap(V2, source(&Probe::new(7)))).unwrap();
    // One that is held up by the machine for 20 ms is taken for stuck.
    eventually("the other one answers", || server.predict(1).is_ok_and(|it| it.output == 8));
    in_time(move || drop(server));
    hung.release();
}

#[test]
fn a_build_that_hangs_is_waited_for_no_longer_than_a_dropped_server_drains() {
    for stuck_after in [None, Some(Duration::from_millis(20)), Some(Duration::from_secs(1_000))] {
        let (source, may_build) = slowly(Probe::new(0), 0);
        let options =
            queued().with_drain_timeout(Duration::from_millis(50)).with_stuck_after(stuck_after);
        let server = builder(options).with_warm_up([1]).fixed(V1, source).unwrap();
        assert!(server.predict(PANIC).is_err());
        in_time(move || drop(server));
        may_build.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_model_that_is_built_after_the_end_of_its_version_is_not_checked() {
    let (late, may_build) = (Probe::new(0), Arc::new(AtomicBool::new(false)));
    late.hold();
    let (built, flag) = (Arc::clone(&late), Arc::clone(&may_build));
    let (source, count) = made_by(move |k| {
        while k > 0 && !flag.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if k == 0 { Probe::new(0) } else { Arc::clone(&built) }
    });
    let options = queued().with_stuck_after(Some(Duration::from_secs(10)));
    let server = builder(options).with_warm_up([1]).fixed(V1, source).unwrap();
    assert!(server.predict(PANIC).is_err());
    eventually("another one is being built", || count.load(Ordering::SeqCst) == 2);
    assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
    may_build.store(true, Ordering::SeqCst);
    in_time(move || drop(server));
    assert!(late.calls().is_empty());
}

#[test]
fn a_check_runs_no_further_batch_after_the_end_of_its_version() {
    for stuck_after in [None, Some(Duration::from_secs(1_000))] {
        let checked = Probe::new(0);
        checked.hold();
        let other = Arc::clone(&checked);
        let (source, _) = made_by(move |k| if k == 0 { Probe::new(0) } else { Arc::clone(&other) });
        let options = queued().with_max_batch_rows(1).with_stuck_after(stuck_after);
        let warm_up: Vec<_> = (1..=100).collect();
        let server = builder(options).with_warm_up(warm_up).fixed(V1, source).unwrap();
        assert!(server.predict(PANIC).is_err());
        checked.wait_inside(1);
        assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
        checked.release();
        in_time(move || drop(server));
        assert_eq!(checked.calls(), [[1]], "{stuck_after:?}");
    }
}

/// Takes six seconds of the clock for each call, and real time for a watchdog to look at it; waits for the flag before it does.
#[derive(Debug)]
struct SixSeconds(Arc<ManualClock>, AtomicBool);

impl Servable for SixSeconds {
    type Input = i64;
    type Output = i64;

    fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), ModelError> {
        while !self.1.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0.advance(Duration::from_secs(6));
        std::thread::sleep(Duration::from_millis(30));
        if batch.contains(&FAIL) {
            return Err(ModelError::failed("told to fail"));
        }
        out.extend(batch);
        Ok(())
    }
}

#[test]
fn a_batch_that_is_halved_is_given_the_limit_for_each_call() {
    let clock = clock();
    let options = queued().with_stuck_after(Some(Duration::from_secs(10)));
    let model = Arc::new(SixSeconds(clock.clone(), AtomicBool::new(false)));
    let builder = Server::builder().with_options(options).with_clock(clock);
    let server = builder.fixed(V1, VersionSource::shared(Arc::clone(&model))).unwrap();
    let first = server.submit(0);
    eventually("it runs by itself", || server.numbers().versions[0].queue_rows == 0);
    let tickets = [1, 2, FAIL, 4].map(|input| server.submit(input));
    model.1.store(true, Ordering::SeqCst);
    assert_eq!(first.wait().unwrap().output, 0);
    let replies = tickets.map(|ticket| ticket.wait().map(|answer| answer.output));
    assert!(
        matches!(&replies, [Ok(1), Ok(2), Err(ServeError::ModelFailed { .. }), Ok(4)]),
        "{replies:?}"
    );
    let numbers = &server.numbers().versions[0];
    assert_eq!((numbers.stuck, numbers.batches), (0, 2));
}

/// A clock that lets a hung call come back between the moment when it is given up and the one when its replica is replaced.
#[derive(Debug)]
struct Teasing {
    clock: Arc<ManualClock>,
    hung: Arc<Probe>,
    /// When the call is given up, in nanoseconds.
    due: AtomicU64,
    /// How often the watchdog has looked since then.
    looks: AtomicUsize,
}

impl Clock for Teasing {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        let now = self.clock.monotonic();
        let is_watchdog = std::thread::current().name().is_some_and(|it| it.ends_with("watch"));
        if is_watchdog && now.as_nanos() as u64 >= self.due.load(Ordering::SeqCst) {
            // The first look may be one that only ends its rest.
            if self.looks.fetch_add(1, Ordering::SeqCst) > 0 {
                self.hung.release();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        now
    }
}

#[test]
fn a_call_that_comes_back_while_it_is_given_up_does_not_hang_for_ever() {
    let (clock, hung, limit) = (clock(), Probe::new(0), Duration::from_millis(10));
    let teasing = Arc::new(Teasing {
        clock: Arc::clone(&clock),
        hung: Arc::clone(&hung),
        due: AtomicU64::new(u64::MAX),
        looks: AtomicUsize::new(0),
    });
    let options = queued().with_stuck_after(Some(limit));
    let first = Arc::clone(&hung);
    let (source, _) = made_by(move |k| if k < 2 { Arc::clone(&first) } else { Probe::new(10) });
    let builder = builder(options).with_clock(Arc::clone(&teasing) as _);
    let server = builder.fixed(V1, source).unwrap();
    let hang = |due| {
        hung.hold();
        let ticket = server.submit(1);
        hung.wait_inside(1);
        teasing.due.store(due, Ordering::SeqCst);
        clock.advance(limit);
        let told = ticket.wait();
        assert!(matches!(told, Err(ServeError::ReplicaStuck { .. })), "{told:?}");
        teasing.due.store(u64::MAX, Ordering::SeqCst);
    };
    hang(limit.as_nanos() as u64);
    assert_eq!(server.predict(2).unwrap().output, 2);
    // If the first one were said to hang still, this one would not be replaced.
    hang(u64::MAX);
    assert_eq!(server.predict(2).unwrap().output, 12);
    assert_eq!(server.numbers().versions[0].stuck, 2);
    hung.release();
}

#[test]
fn a_hung_shadow_does_not_keep_a_server_that_is_dropped() {
    let (shadow, router) = (Probe::new(0), crate::support::Script::new(V1, &[V2]));
    let options = queued().with_stuck_after(Some(Duration::from_millis(20)));
    let server = builder(options).routed(router).unwrap();
    server.prepare(V1, source(&Probe::new(0))).unwrap();
    server.prepare(V2, source(&shadow)).unwrap();
    shadow.hold();
    // One that is held up by the machine for 20 ms is taken for stuck.
    eventually("the primary answers", || server.predict(1).is_ok_and(|it| it.output == 1));
    shadow.wait_inside(1);
    in_time(move || drop(server));
    shadow.release();
}

#[test]
fn scaling_down_while_replicas_hang_leaves_one_that_serves() {
    let hung = Probe::new(0);
    let first = Arc::clone(&hung);
    let (source, _) = made_by(move |k| if k < 2 { Arc::clone(&first) } else { Probe::new(10) });
    let limit = Duration::from_millis(200);
    let options = queued().with_replicas(2).with_stuck_after(Some(limit)).with_max_batch_rows(1);
    let clock = clock();
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source).unwrap();
    hung.hold();
    let tickets = [server.submit(1), server.submit(2)];
    hung.wait_inside(2);
    server.scale_to(1).unwrap();
    clock.advance(limit);
    for ticket in tickets {
        assert!(matches!(ticket.wait(), Err(ServeError::ReplicaStuck { .. })));
    }
    eventually("one serves", || server.predict(1).is_ok_and(|answer| answer.output == 11));
    assert_eq!(Host::health(&server, V1).replicas, 1);
    hung.release();
}

/// Takes a second of the clock for each row.
#[derive(Debug)]
struct Second(Arc<ManualClock>);

impl Servable for Second {
    type Input = u64;
    type Output = u64;

    fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), ModelError> {
        self.0.advance(Duration::from_secs(batch.iter().sum()));
        out.extend(batch);
        Ok(())
    }

    fn rows(&self, input: &u64) -> usize {
        usize::try_from(*input).unwrap()
    }
}

#[test]
fn a_batch_holds_no_more_rows_than_the_latency_target_allows_and_a_larger_input_goes_by_itself() {
    let clock = clock();
    let options = ServeOptions::default()
        .with_replicas(1)
        .with_inline_below(Duration::ZERO)
        .with_max_batch_rows(32)
        .with_latency_target(Some(Duration::from_secs(6)));
    let server = Server::builder()
        .with_options(options)
        .with_clock(Arc::clone(&clock) as _)
        .with_warm_up([1, 1, 1, 2, 1, 1, 1, 1, 1, 3, 1])
        .fixed(V1, VersionSource::shared(Arc::new(Second(clock))))
        .unwrap();
    for _ in 0..20 {
        let answers = server.predict_batch([1; 30]);
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
    }
    let rows = server.numbers().versions[0].batch_rows;
    // Until the line is known, trial goes one row too far once.
    assert!(rows.max <= 7.0 && rows.p99 <= 6.0 && rows.mean > 1.0, "{rows:?}");
    assert_eq!(server.predict(20).unwrap().output, 20);
    assert_eq!(server.numbers().versions[0].batch_rows.max, 20.0, "the one large input");
}
