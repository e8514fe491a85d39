//! What routers and logs hear.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{OutcomeStatus, Role};
use mlp_serve::{Request, ServeError};

use crate::support::{
    FAIL, Notes, Probe, Script, V1, V2, V3, builder, clock, eventually, queued, source,
};

#[test]
fn every_request_that_reached_a_version_is_reported_once() {
    let (probe, router, clock) = (Probe::new(0), Script::new(V1, &[]), clock());
    let options = queued().with_queue_rows(3);
    let server =
        builder(options).with_clock(clock.clone()).routed(Arc::clone(&router) as _).unwrap();
    server.host().prepare(V1, source(&probe)).unwrap();
    server.predict(1).unwrap();
    assert!(server.predict(FAIL).is_err());
    probe.hold();
    let running = server.submit(2);
    probe.wait_inside(1);
    let hurried = Request::new().with_timeout(Duration::from_millis(1));
    let (late, cancelled, waiting) =
        (server.submit_for(&hurried, 3), server.submit(4), server.submit(5));
    assert!(matches!(server.predict(6), Err(ServeError::Overloaded { .. })));
    drop(cancelled);
    clock.advance(Duration::from_millis(1));
    assert!(late.wait().is_err());
    probe.release();
    running.wait().unwrap();
    waiting.wait().unwrap();
    use OutcomeStatus::{Answered, Failed, Refused, TimedOut};
    let statuses: Vec<_> = router.statuses().into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, [Answered, Failed, Refused, Refused, TimedOut, Answered, Answered]);
}

#[test]
fn a_request_routed_to_a_version_just_retired_is_routed_once_more() {
    let router = Script::new(V2, &[]);
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    server.host().prepare(V1, source(&Probe::new(10))).unwrap();
    /// Names an absent version first, then one that is there.
    #[derive(Debug)]
    struct Second(std::sync::atomic::AtomicUsize);
    impl mlp_core::Router for Second {
        fn route(&self, _: &mlp_core::RequestKey<'_>) -> mlp_core::Route {
            let asked = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            mlp_core::Route::new(if asked == 0 { V2 } else { V1 }, Role::Active, 0)
        }
        fn observe(&self, _: &mlp_core::Outcome) {}
    }
    assert!(matches!(server.predict(1), Err(ServeError::NotReady { version: Some(V2) })));
    assert_eq!(*router.asked.lock(), [0, 0]);
    let again = builder(queued()).routed(Arc::new(Second(0.into()))).unwrap();
    again.host().prepare(V1, source(&Probe::new(10))).unwrap();
    assert_eq!(again.predict(1).unwrap().output, 11);
}

#[test]
fn the_server_counts_requests_unless_they_bring_their_number() {
    let router = Script::new(V1, &[]);
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    server.host().prepare(V1, source(&Probe::new(0))).unwrap();
    server.predict(1).unwrap();
    server.predict_for(&Request::new().with_sequence(77), 1).unwrap();
    server.predict(1).unwrap();
    assert_eq!(*router.asked.lock(), [0, 77, 1]);
}

#[test]
fn a_shadows_agreement_with_the_primary_is_reported() {
    let router = Script::new(V1, &[V2, V3]);
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    for (version, offset) in [(V1, 1), (V2, 1), (V3, 2)] {
        server.host().prepare(version, source(&Probe::new(offset))).unwrap();
    }
    server.predict(1).unwrap();
    assert_eq!(server.settle_shadows(Duration::from_secs(20)).left, 0);
    let heard = router.heard.lock();
    let seen: Vec<_> = heard.iter().map(|it| (it.version, it.role, it.agreement)).collect();
    let expected =
        [(V1, Role::Active, None), (V2, Role::Shadow, Some(1.0)), (V3, Role::Shadow, Some(0.0))];
    assert_eq!(seen, expected);
}

#[test]
fn the_prediction_log_hears_every_answer_under_the_identity_of_its_request() {
    let (notes, router) = (Arc::new(Notes::default()), Script::new(V1, &[V2]));
    let server = builder(queued()).with_log(Arc::clone(&notes) as _).routed(router).unwrap();
    server.host().prepare(V1, source(&Probe::new(1))).unwrap();
    server.host().prepare(V2, source(&Probe::new(1))).unwrap();
    let answer = server.predict(1).unwrap();
    assert!(server.predict(FAIL).is_err());
    assert_eq!(server.settle_shadows(Duration::from_secs(20)).left, 0);
    assert_eq!(*notes.0.lock(), [(answer.id, V1, Role::Active), (answer.id, V2, Role::Shadow)]);
}

#[test]
fn two_runs_with_one_caller_hear_the_same_outcomes_in_the_same_order() {
    let run = || {
        let router = Script::new(V1, &[]);
        router.routes.lock().extend((0..100).filter(|n| n % 3 == 0).map(|n| (n, V2)));
        let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
        server.host().prepare(V1, source(&Probe::new(1))).unwrap();
        server.host().prepare(V2, source(&Probe::new(2))).unwrap();
        let outputs: Vec<_> = (0..100)
            .map(|n| server.predict(if n % 7 == 0 { FAIL } else { n }).map(|it| it.output).ok())
            .collect();
        (outputs, router.statuses())
    };
    assert_eq!(run(), run());
}

#[test]
fn the_log_hears_of_one_in_so_many_and_of_all_versions_that_saw_a_request_or_none() {
    let (notes, router) = (Arc::new(Notes::default()), Script::new(V1, &[V2]));
    // Room for all copies, however late they come to run.
    let options = queued().with_log_one_in(4).with_shadow_queue_rows(2_000);
    let builder = builder(options).with_log(Arc::clone(&notes) as _);
    let server = builder.routed(router as _).unwrap();
    for version in [V1, V2] {
        server.host().prepare(version, source(&Probe::new(0))).unwrap();
    }
    for request in 0..2_000 {
        server.predict(request).unwrap();
    }
    assert_eq!(server.settle_shadows(Duration::from_secs(20)).left, 0);
    let heard = notes.0.lock();
    let of = |version| heard.iter().filter(|(_, it, _)| *it == version).map(|it| it.0).collect();
    let (primary, shadow): (BTreeSet<_>, BTreeSet<_>) = (of(V1), of(V2));
    assert!((400..600).contains(&primary.len()), "{}", primary.len());
    assert_eq!(primary, shadow);
}

/// As many rows as it says.
#[derive(Debug)]
struct Rows;

impl mlp_core::Servable for Rows {
    type Input = u64;
    type Output = u64;

    fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), mlp_core::ModelError> {
        std::thread::sleep(Duration::from_millis(batch.iter().sum()));
        out.extend(batch);
        Ok(())
    }

    fn rows(&self, input: &u64) -> usize {
        usize::try_from(*input).unwrap()
    }
}

#[test]
fn a_copy_with_more_rows_than_the_latency_target_allows_reaches_its_shadow() {
    let router = Script::new(V1, &[V2]);
    let options = queued().with_latency_target(Some(Duration::from_millis(5)));
    let builder = mlp_serve::Server::builder().with_options(options).with_warm_up([1, 2]);
    let server = builder.routed(Arc::clone(&router) as _).unwrap();
    for version in [V1, V2] {
        server.host().prepare(version, mlp_core::VersionSource::shared(Arc::new(Rows))).unwrap();
    }
    assert_eq!(server.predict(20).unwrap().output, 20);
    assert_eq!(server.settle_shadows(Duration::from_secs(20)).left, 0);
    let seen = router.statuses();
    assert_eq!(seen, [(V1, OutcomeStatus::Answered), (V2, OutcomeStatus::Answered)]);
}

/// As the probe it stands for, and its inputs can be copied.
#[derive(Debug)]
struct Copied(Arc<Probe>);

impl mlp_core::Servable for Copied {
    type Input = i64;
    type Output = i64;

    fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), mlp_core::ModelError> {
        self.0.run(batch, out)
    }

    fn clone_input(&self, input: &i64) -> Option<i64> {
        Some(*input)
    }
}

#[test]
fn a_shadow_that_hangs_delays_no_other_where_inputs_can_be_copied() {
    let router = Script::new(V1, &[V2, V3]);
    let builder = mlp_serve::Server::builder().with_options(queued());
    let server = builder.routed(Arc::clone(&router) as _).unwrap();
    let probes = [Probe::new(0), Probe::new(0), Probe::new(0)];
    for (version, probe) in [V1, V2, V3].into_iter().zip(&probes) {
        let source = mlp_core::VersionSource::shared(Arc::new(Copied(Arc::clone(probe))));
        server.host().prepare(version, source).unwrap();
    }
    probes[1].hold();
    server.predict(0).unwrap();
    probes[1].wait_inside(1);
    for input in 1..5 {
        server.predict(input).unwrap();
    }
    eventually("the third sees them all", || probes[2].inputs() == [0, 1, 2, 3, 4]);
    assert_eq!(probes[1].inputs(), [0], "the second hangs");
    probes[1].release();
    assert_eq!(server.settle_shadows(Duration::from_secs(20)).left, 0);
    assert_eq!(probes[1].inputs(), [0, 1, 2, 3, 4]);
}

#[test]
fn copies_that_wait_for_a_shadow_that_is_retired_go_to_the_next_and_are_counted() {
    let router = Script::new(V1, &[V2, V3]);
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    let probes = [Probe::new(0), Probe::new(0), Probe::new(0)];
    for (version, probe) in [V1, V2, V3].into_iter().zip(&probes) {
        server.host().prepare(version, source(probe)).unwrap();
    }
    probes[1].hold();
    server.predict(0).unwrap();
    probes[1].wait_inside(1);
    for input in 1..4 {
        server.predict(input).unwrap();
    }
    server.host().retire(V2);
    eventually("the third sees what waited", || {
        let mut seen = probes[2].inputs();
        seen.sort_unstable();
        seen == [1, 2, 3]
    });
    let numbers = server.numbers();
    let second = numbers.versions.iter().find(|it| it.version == V2).unwrap();
    assert_eq!(second.mirrors_left_out, 3);
    probes[1].release();
    assert_eq!(server.settle_shadows(Duration::from_secs(20)).left, 0);
}
