//! Versions that come and go, and servers that shut down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mlp_core::{Host, HostError, Lifecycle, ModelError, Servable, VersionNumber, VersionSource};
use mlp_serve::{ServeError, ServeOptions, Server};

use crate::support::{
    FAIL, Probe, Script, Stop, V1, V2, V3, builder, eventually, in_time, queued, serve, source,
};

#[test]
fn a_swap_under_load_fails_no_request_and_leaves_only_the_new_version() {
    let server = serve(queued().with_replicas(2), &Probe::new(1_000));
    let stop = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = server.predict(1).unwrap();
                    assert_eq!(answer.output, 1 + 1_000 * answer.version.0 as i64);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for version in 2..30 {
            let before = answered.load(Ordering::Relaxed);
            server
                .swap(mlp_core::VersionNumber(version), source(&Probe::new(1_000 * version as i64)))
                .unwrap();
            assert_eq!(server.predict(1).unwrap().version.0, version);
            while answered.load(Ordering::Relaxed) < before + 10 {
                std::thread::yield_now();
            }
        }
        drop(stopping);
    });
    assert_eq!(server.predict(1).unwrap().version.0, 29);
}

#[test]
fn a_version_that_fails_to_load_or_to_warm_up_leaves_the_old_one_serving() {
    let server = builder(queued()).with_warm_up([1, 2]).fixed(V1, source(&Probe::new(1))).unwrap();
    let broken = VersionSource::new(|| Err(ModelError::failed("no such file")));
    assert!(matches!(
        server.swap(V2, broken),
        Err(ServeError::Host(HostError::Build { version: V2, .. }))
    ));
    let panicking = VersionSource::new(|| panic!("corrupt file"));
    assert!(server.swap(V2, panicking).is_err());
    assert_eq!(server.predict(1).unwrap().version, V1);
    let cold = builder(queued()).with_warm_up([FAIL]).fixed(V1, source(&Probe::new(1)));
    assert!(matches!(cold, Err(ServeError::Host(HostError::WarmUp { .. }))));
    assert_eq!(Host::health(&server, V2).lifecycle, Lifecycle::Absent);
    server.swap(V2, source(&Probe::new(2))).unwrap();
    assert_eq!(server.predict(1).unwrap().output, 3);
}

#[test]
fn replicas_that_disagree_on_the_warm_up_are_not_served() {
    let built = AtomicUsize::new(0);
    let uneven =
        VersionSource::new(move || Ok(Probe::new(built.fetch_add(1, Ordering::Relaxed) as i64)));
    let error = builder(queued().with_replicas(2)).with_warm_up([1]).fixed(V1, uneven).unwrap_err();
    assert!(matches!(error, ServeError::Host(HostError::WarmUp { version: V1, .. })), "{error}");
}

#[test]
fn a_host_holds_each_version_once_and_no_more_than_its_bound() {
    let server = builder(queued().with_max_versions(2)).routed(Script::new(V1, &[])).unwrap();
    let host = server.host();
    host.prepare(V1, source(&Probe::new(0))).unwrap();
    assert!(matches!(
        host.prepare(V1, source(&Probe::new(0))),
        Err(HostError::AlreadyPresent { .. })
    ));
    host.prepare(V2, source(&Probe::new(0))).unwrap();
    assert!(matches!(
        host.prepare(V3, source(&Probe::new(0))),
        Err(HostError::TooManyVersions { limit: 2 })
    ));
    host.retire(V1);
    host.prepare(V3, source(&Probe::new(0))).unwrap();
    host.retire(V1);
}

#[test]
fn a_server_is_ready_only_while_a_version_can_answer() {
    let server = builder(queued()).routed(Script::new(V1, &[])).unwrap();
    assert!(server.health().is_live && !server.health().is_ready);
    assert!(matches!(server.predict(1), Err(ServeError::NotReady { version: Some(V1) })));
    server.host().prepare(V1, source(&Probe::new(0))).unwrap();
    server.predict(1).unwrap();
    let health = server.health();
    assert!(health.is_ready);
    assert_eq!(health.versions[0].health.requests, 1);
    assert_eq!(health.versions[0].replicas[0].requests, 1);
    server.host().retire(V1);
    assert!(!server.health().is_ready);
    assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
    assert!(!server.health().is_live);
}

#[test]
fn a_retired_version_answers_what_it_accepted_and_lets_go_of_its_model() {
    let (old, new) = (Probe::new(10), Probe::new(20));
    let server = serve(queued(), &old);
    old.hold();
    let running = server.submit(1);
    old.wait_inside(1);
    let waiting = server.submit(2);
    server.swap(V2, source(&new)).unwrap();
    assert_eq!(Host::health(&server, V1).lifecycle, Lifecycle::Draining);
    assert_eq!(server.predict(3).unwrap().output, 23);
    old.release();
    assert_eq!((running.wait().unwrap().output, waiting.wait().unwrap().output), (11, 12));
    drop(server);
    assert_eq!(Arc::strong_count(&old), 1);
}

#[test]
fn draining_finishes_what_was_accepted_and_refuses_the_rest() {
    let probe = Probe::new(0);
    let server = serve(queued(), &probe);
    probe.hold();
    let running = server.submit(1);
    probe.wait_inside(1);
    let waiting = server.submit(2);
    let other = server.clone();
    let drain = std::thread::spawn(move || other.drain(Duration::from_secs(20)));
    while server.health().is_ready {
        std::thread::yield_now();
    }
    assert!(matches!(server.predict(3), Err(ServeError::Draining)));
    probe.release();
    assert_eq!(drain.join().unwrap().unanswered, 0);
    assert_eq!((running.wait().unwrap().output, waiting.wait().unwrap().output), (1, 2));
    assert!(matches!(server.host().prepare(V2, source(&probe)), Err(HostError::ShuttingDown)));
}

#[test]
fn what_still_waits_at_the_drain_deadline_is_told_so() {
    let probe = Probe::new(0);
    let server = serve(queued(), &probe);
    probe.hold();
    let running = server.submit(1);
    probe.wait_inside(1);
    let waiting = server.submit(2);
    assert_eq!(server.drain(Duration::ZERO).unanswered, 2);
    assert!(matches!(waiting.wait(), Err(ServeError::Draining)));
    probe.release();
    assert_eq!(running.wait().unwrap().output, 1);
    assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
}

#[test]
fn dropping_the_last_handle_answers_what_was_accepted_and_joins_all_threads() {
    let probe = Probe::new(0);
    let server = serve(queued().with_replicas(3), &probe);
    let tickets: Vec<_> = (0..50).map(|input| server.submit(input)).collect();
    let host = server.host();
    drop(server);
    drop(host);
    assert_eq!(Arc::strong_count(&probe), 1, "a thread still holds the model");
    for (input, ticket) in (0..50).zip(tickets) {
        assert_eq!(ticket.wait().unwrap().output, input);
    }
}

#[test]
fn a_fixed_server_answers_from_a_pinned_version_too() {
    let server: Server<Probe> = serve(queued(), &Probe::new(10));
    server.prepare(V2, source(&Probe::new(20))).unwrap();
    let pinned = mlp_serve::Request::new().with_pin(V2);
    assert_eq!(server.predict_for(&pinned, 1).unwrap().output, 21);
    assert_eq!(server.predict(1).unwrap().output, 11);
}

#[test]
fn a_router_may_retire_a_version_while_it_hears_of_it() {
    /// Retires version 1 at its first failure, as a deployment that rolls back does.
    #[derive(Debug)]
    struct Strict(parking_lot::Mutex<Option<std::sync::Weak<dyn Host<Probe>>>>, AtomicBool);
    impl mlp_core::Router for Strict {
        fn route(&self, _: &mlp_core::RequestKey<'_>) -> mlp_core::Route {
            let version = if self.1.load(Ordering::Relaxed) { V2 } else { V1 };
            mlp_core::Route::new(version, mlp_core::Role::Active, 0)
        }
        fn observe(&self, outcome: &mlp_core::Outcome) {
            if outcome.status == mlp_core::OutcomeStatus::Failed {
                self.1.store(true, Ordering::Relaxed);
                if let Some(host) = self.0.lock().as_ref().and_then(std::sync::Weak::upgrade) {
                    host.retire(V1);
                }
            }
        }
    }
    let router = Arc::new(Strict(parking_lot::Mutex::new(None), AtomicBool::new(false)));
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    *router.0.lock() = Some(Arc::downgrade(&server.host()));
    server.host().prepare(V1, source(&Probe::new(10))).unwrap();
    server.host().prepare(V2, source(&Probe::new(20))).unwrap();
    assert_eq!(server.predict(1).unwrap().output, 11);
    assert!(server.predict(FAIL).is_err());
    assert_eq!(server.predict(1).unwrap().output, 21);
}

/// Takes long enough that several callers are in it at once.
#[derive(Debug)]
struct Spin;

impl Servable for Spin {
    type Input = u64;
    type Output = u64;

    fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), ModelError> {
        let until = Instant::now() + Duration::from_micros(20);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        out.extend(batch);
        Ok(())
    }
}

#[test]
fn swapped_out_versions_go_with_their_threads_though_callers_run_the_model_themselves() {
    let options = ServeOptions::default().with_replicas(2);
    let first = VersionSource::shared(Arc::new(Spin));
    let server =
        Server::builder().with_options(options).with_warm_up([0]).fixed(V1, first).unwrap();
    let stop = AtomicBool::new(false);
    let mut models = Vec::new();
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        for _ in 0..5 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    server.predict(1).unwrap();
                }
            });
        }
        for version in 2..100 {
            let model = Arc::new(Spin);
            models.push(Arc::downgrade(&model));
            server.swap(VersionNumber(version), VersionSource::shared(model)).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(stopping);
    });
    models.pop();
    // A thread that is left behind would hold the model of its version.
    eventually("all but the last version are gone", || {
        models.iter().all(|model| model.strong_count() == 0)
    });
}

#[test]
fn a_server_is_ready_only_if_the_version_that_its_router_names_is() {
    let server = builder(queued()).routed(Script::new(V1, &[])).unwrap();
    server.host().prepare(V2, source(&Probe::new(0))).unwrap();
    assert!(!server.health().is_ready, "version 1 is named and not there");
    assert!(matches!(server.predict(1), Err(ServeError::NotReady { version: Some(V1) })));
    server.host().prepare(V1, source(&Probe::new(0))).unwrap();
    assert!(server.health().is_ready);
}

#[test]
fn a_canary_that_is_not_there_does_not_take_the_server_out() {
    /// Sends every second request to version 2 as a canary.
    #[derive(Debug)]
    struct Halves;
    impl mlp_core::Router for Halves {
        fn route(&self, request: &mlp_core::RequestKey<'_>) -> mlp_core::Route {
            match request.sequence % 2 {
                0 => mlp_core::Route::new(V1, mlp_core::Role::Active, 0),
                _ => mlp_core::Route::new(V2, mlp_core::Role::Canary, 0),
            }
        }
        fn observe(&self, _: &mlp_core::Outcome) {}
    }
    let server = builder(queued()).routed(Arc::new(Halves)).unwrap();
    server.host().prepare(V1, source(&Probe::new(0))).unwrap();
    assert!(server.health().is_ready);
    server.host().retire(V1);
    server.host().prepare(V2, source(&Probe::new(0))).unwrap();
    assert!(!server.health().is_ready);
}

/// Holds the host, and calls what a test asks for when it hears of a request.
#[derive(Debug)]
struct Meddler {
    meddle: fn(&dyn Meddled),
    server: parking_lot::Mutex<Option<Box<dyn Meddled>>>,
    heard: AtomicUsize,
}

trait Meddled: std::fmt::Debug + Send {
    fn drain(&self) -> usize;
}

impl Meddled for Server<Probe> {
    fn drain(&self) -> usize {
        Server::drain(self, Duration::from_secs(30)).unanswered
    }
}

impl Meddler {
    fn new(meddle: fn(&dyn Meddled)) -> Arc<Self> {
        Arc::new(Self { meddle, server: parking_lot::Mutex::default(), heard: 0.into() })
    }
}

impl mlp_core::Router for Meddler {
    fn route(&self, _: &mlp_core::RequestKey<'_>) -> mlp_core::Route {
        mlp_core::Route::new(V1, mlp_core::Role::Active, 0)
    }

    fn observe(&self, _: &mlp_core::Outcome) {
        let server = self.server.lock().take();
        if let Some(server) = server {
            (self.meddle)(&*server);
        }
        self.heard.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_last_handle_may_be_dropped_by_a_thread_of_the_server() {
    let router = Meddler::new(|_| {});
    let probe = Probe::new(1);
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    server.prepare(V1, source(&probe)).unwrap();
    probe.hold();
    let ticket = server.submit(1);
    probe.wait_inside(1);
    *router.server.lock() = Some(Box::new(server));
    let start = Instant::now();
    probe.release();
    assert_eq!(in_time(move || ticket.wait()).unwrap().output, 2);
    assert!(start.elapsed() < Duration::from_secs(10), "it waited for itself");
    eventually("its threads are gone", || Arc::strong_count(&probe) == 1);
}

#[test]
fn a_listener_may_drain_the_server() {
    for inline in [Duration::ZERO, Duration::from_secs(1)] {
        let router = Meddler::new(|server| assert_eq!(server.drain(), 1));
        let options = queued().with_inline_below(inline);
        let builder = builder(options).with_warm_up([1]);
        let server = builder.routed(Arc::clone(&router) as _).unwrap();
        server.prepare(V1, source(&Probe::new(1))).unwrap();
        *router.server.lock() = Some(Box::new(server.clone()));
        let start = Instant::now();
        assert_eq!(server.predict(1).unwrap().output, 2);
        assert!(start.elapsed() < Duration::from_secs(10), "it waited for itself");
        assert!(matches!(server.predict(1), Err(ServeError::Draining)));
        assert_eq!(server.numbers().versions[0].listener_panics, 0);
    }
}

#[test]
fn a_version_that_still_answers_counts_and_keeps_its_number() {
    let (old, clock) = (Probe::new(0), crate::support::clock());
    let options = queued().with_max_versions(2).with_drain_timeout(Duration::ZERO);
    let server = builder(options).with_clock(clock).routed(Script::new(V1, &[])).unwrap();
    server.prepare(V1, source(&old)).unwrap();
    old.hold();
    let running = server.submit(1);
    old.wait_inside(1);
    server.host().retire(V1);
    let again = server.prepare(V1, source(&old));
    assert!(matches!(again, Err(HostError::AlreadyPresent { version: V1 })), "{again:?}");
    server.prepare(V2, source(&Probe::new(0))).unwrap();
    let third = server.prepare(V3, source(&Probe::new(0)));
    assert!(matches!(third, Err(HostError::TooManyVersions { limit: 2 })), "{third:?}");
    old.release();
    running.wait().unwrap();
    eventually("there is room again", || server.prepare(V3, source(&Probe::new(0))).is_ok());
    server.host().retire(V2);
    server.prepare(V1, source(&Probe::new(0))).unwrap();
}
