//! Replicas that come and go while the server serves: scaling and roll-outs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mlp_core::{Host, HostError, Lifecycle, ManualClock, ModelError, VersionNumber, VersionSource};
use mlp_serve::{ServeError, ServeOptions, Server};

use crate::support::{
    Moody, Probe, Stop, V1, V2, V3, builder, clock, eventually, made_by, queued, serve, source,
};

const REST: Duration = Duration::from_millis(50);

/// A roll-out from version 1 to version 2, which adds 7, and its server: it rests after the first replica until the clock is moved.
fn resting(
    replicas: usize,
) -> (JoinHandle<Result<(), ServeError>>, Server<Probe>, Arc<ManualClock>) {
    let clock = clock();
    let builder = builder(queued().with_replicas(replicas)).with_clock(clock.clone());
    let server = builder.fixed(V1, source(&Probe::new(0))).unwrap();
    let rolling = server.clone();
    let rolled = std::thread::spawn(move || rolling.roll(V2, source(&Probe::new(7)), REST));
    eventually("it has begun", || server.predict(1).unwrap().version == V2);
    (rolled, server, clock)
}

#[test]
fn scaling_while_serving_fails_no_request() {
    let (source, built) = made_by(|_| Probe::new(1));
    let server = builder(queued().with_replicas(2)).with_warm_up([1]).fixed(V1, source).unwrap();
    let stop = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(server.predict(5).unwrap().output, 6);
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        for replicas in [5, 1, 8, 3, 3, 1, 4] {
            server.scale_to(replicas).unwrap();
            eventually("the replicas are as many as asked for", || {
                Host::health(&server, V1).replicas == replicas
                    && server.health().versions[0].replicas.len() == replicas
            });
        }
        drop(stopping);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum::<u64>()
    });
    assert_eq!(Host::health(&server, V1).requests, answered, "those of replicas that left count");
    assert_eq!(built.load(Ordering::SeqCst), 2 + 3 + 7 + 3);
    assert!(matches!(server.scale_to(0), Err(ServeError::InvalidOption { .. })));
    // A version that comes later has as many.
    server.swap(V2, VersionSource::shared(Probe::new(2))).unwrap();
    assert_eq!(Host::health(&server, V2).replicas, 4);
}

#[test]
fn busy_replicas_leave_after_their_batch() {
    let probe = Probe::new(0);
    let server = serve(queued().with_replicas(3), &probe);
    probe.hold();
    let tickets: Vec<_> = (0..3)
        .map(|k| {
            let ticket = server.submit(k);
            probe.wait_inside(usize::try_from(k).unwrap() + 1);
            ticket
        })
        .collect();
    server.scale_to(1).unwrap();
    assert_eq!(Host::health(&server, V1).replicas, 1);
    server.scale_to(2).unwrap();
    probe.release();
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
    eventually("one has left", || server.health().versions[0].replicas.len() == 2);
    assert_eq!(server.predict(9).unwrap().output, 9);
}

#[test]
fn a_further_replica_that_answers_otherwise_is_not_taken() {
    let (source, _) = made_by(|k| Probe::new(i64::from(k > 1)));
    let server = builder(queued().with_replicas(2)).with_warm_up([1]).fixed(V1, source).unwrap();
    assert!(matches!(server.scale_to(3), Err(ServeError::Host(HostError::WarmUp { .. }))));
    assert_eq!(Host::health(&server, V1).replicas, 2);
    assert_eq!(server.predict(4).unwrap().output, 4);
}

#[test]
fn rolling_under_load_fails_no_request_and_has_one_replica_too_many_at_most() {
    let (clock, pause) = (clock(), Duration::from_millis(20));
    let builder = builder(queued().with_replicas(4)).with_clock(clock.clone());
    let server = builder.fixed(V1, source(&Probe::new(0))).unwrap();
    let stop = AtomicBool::new(false);
    let (looks, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let seen_of = |version: usize| seen[version].load(Ordering::SeqCst);
    let call = || {
        while !stop.load(Ordering::Relaxed) {
            let answer = server.predict(1_000).unwrap();
            let offset = if answer.version == V1 { 0 } else { 7 };
            assert_eq!(answer.output, 1_000 + offset, "by {}", answer.version);
            seen[usize::from(answer.version == V2)].fetch_add(1, Ordering::SeqCst);
        }
    };
    let look = || {
        let health = server.health();
        assert!(health.is_ready);
        let ready = health.versions.iter().filter(|it| it.health.is_ready());
        ready.map(|it| it.health.replicas).collect::<Vec<_>>()
    };
    let watch = || {
        while !stop.load(Ordering::Relaxed) {
            // Of two looks that agree the first saw both versions at one moment.
            let (one, other) = (look(), look());
            if one == other {
                most.fetch_max(one.iter().sum(), Ordering::SeqCst);
            }
            looks.fetch_add(1, Ordering::SeqCst);
            // Others want to change what this looks at.
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let others = [scope.spawn(call), scope.spawn(call), scope.spawn(call), scope.spawn(watch)];
        eventually("the old one answers", || seen_of(0) > 0);
        let rolling = server.clone();
        let roll = move || rolling.roll(V2, source(&Probe::new(7)), pause);
        // Not waited for where the test falls over: it would rest for ever.
        let rolled = std::thread::spawn(roll);
        // Half a pause at a time, so that the last one is not over before it is seen.
        eventually("all new replicas are there", || {
            // One that is still being built has all that it is to have.
            let health = Host::health(&server, V2);
            let are_all = health.is_ready() && health.replicas == 4;
            if !are_all {
                clock.advance(pause / 2);
            }
            are_all
        });
        let before = looks.load(Ordering::SeqCst);
        eventually("it is seen", || {
            let has_looked = looks.load(Ordering::SeqCst) >= before + 2;
            has_looked && most.load(Ordering::SeqCst) == 5 && seen_of(1) > 0
        });
        eventually("it is over", || {
            clock.advance(pause);
            rolled.is_finished()
        });
        rolled.join().unwrap().unwrap();
        for _ in 0..100 {
            assert_eq!(server.predict(1).unwrap().version, V2);
        }
        drop(stopping);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
    assert_eq!(most.into_inner(), 5);
    assert_eq!(Host::health(&server, V2).replicas, 4);
    eventually("it is gone", || Host::health(&server, V1).replicas == 0);
}

#[test]
fn a_version_whose_further_replicas_fail_is_rolled_back() {
    let server = serve(queued().with_replicas(3), &Probe::new(0));
    let count = AtomicUsize::new(0);
    let source = VersionSource::new(move || match count.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(Probe::new(7)),
        _ => Err(ModelError::failed("no memory")),
    });
    let rolled = server.roll(V2, source, Duration::ZERO);
    assert!(matches!(rolled, Err(ServeError::Host(HostError::Build { version: V2, .. }))));
    assert_eq!(Host::health(&server, V1).replicas, 3);
    for _ in 0..20 {
        assert_eq!(server.predict(1).unwrap().version, V1);
    }
    eventually("it is gone", || Host::health(&server, V2).lifecycle == Lifecycle::Absent);
}

#[test]
fn a_version_that_falls_ill_while_it_takes_over_is_rolled_back() {
    let clock = clock();
    let server = Server::builder()
        .with_options(ServeOptions::default().with_replicas(2).with_restart_after(1))
        .with_clock(clock.clone())
        .fixed(V1, VersionSource::shared(Arc::new(Moody { is_ill: Arc::default(), panics: false })))
        .unwrap();
    // It cannot be built anew: once it is ill, it stays ill.
    let built = AtomicUsize::new(0);
    let ill = VersionSource::new(move || match built.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(Arc::new(Moody { is_ill: Arc::new(AtomicBool::new(true)), panics: false })),
        _ => Err(ModelError::failed("no memory")),
    });
    let rolling = server.clone();
    let rolled = std::thread::spawn(move || rolling.roll(V2, ill, REST));
    eventually("it is ill", || {
        let _ = server.predict(1);
        Host::health(&server, V2).lifecycle == Lifecycle::Unhealthy
    });
    eventually("it is over", || {
        clock.advance(REST);
        rolled.is_finished()
    });
    let rolled = rolled.join().unwrap();
    assert!(
        matches!(rolled, Err(ServeError::Host(HostError::WarmUp { version: V2, .. }))),
        "{rolled:?}"
    );
    assert_eq!(server.predict(1).unwrap().version, V1);
    assert_eq!(Host::health(&server, V1).replicas, 2);
}

#[test]
fn scaling_during_a_roll_out_holds_for_the_version_that_comes_of_it() {
    let (rolled, server, clock) = resting(2);
    server.scale_to(5).unwrap();
    eventually("it is over", || {
        clock.advance(REST);
        rolled.is_finished()
    });
    rolled.join().unwrap().unwrap();
    assert_eq!(server.predict(1).unwrap().output, 8);
    assert_eq!(Host::health(&server, V2).replicas, 5);
}

#[test]
fn a_swap_during_a_roll_out_takes_over_from_both_and_the_roll_out_says_so() {
    let (rolled, server, clock) = resting(3);
    let again = server.roll(V3, source(&Probe::new(8)), Duration::ZERO);
    assert!(matches!(again, Err(ServeError::RollingOut { version: V2 })), "{again:?}");
    server.swap(V3, source(&Probe::new(9))).unwrap();
    for _ in 0..20 {
        assert_eq!(server.predict(1).unwrap().output, 10);
    }
    eventually("it is over", || {
        clock.advance(REST);
        rolled.is_finished()
    });
    let rolled = rolled.join().unwrap();
    assert!(matches!(rolled, Err(ServeError::Superseded { version: V2 })), "{rolled:?}");
    assert_eq!(server.predict(1).unwrap().version, V3);
    assert_eq!(Host::health(&server, V3).replicas, 3);
    for gone in [V1, V2] {
        eventually("it is gone", || Host::health(&server, gone).lifecycle == Lifecycle::Absent);
    }
}

#[test]
fn a_superseded_roll_out_leaves_a_later_version_of_its_number_alone() {
    let (rolled, server, clock) = resting(2);
    server.swap(V3, source(&Probe::new(9))).unwrap();
    server.swap(V2, source(&Probe::new(20))).unwrap();
    eventually("it is over", || {
        clock.advance(REST);
        rolled.is_finished()
    });
    let rolled = rolled.join().unwrap();
    assert!(matches!(rolled, Err(ServeError::Superseded { version: V2 })), "{rolled:?}");
    assert_eq!(server.predict(1).unwrap().output, 21);
    assert_eq!(Host::health(&server, V2).replicas, 2);
}

#[test]
fn scaling_while_a_version_is_prepared_holds_for_it_too() {
    let (built, may_build) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, flag) = (Arc::clone(&built), Arc::clone(&may_build));
    let slow = VersionSource::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        while !flag.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Probe::new(7))
    });
    let server = serve(queued().with_replicas(2), &Probe::new(0));
    let preparing = server.clone();
    let prepared = std::thread::spawn(move || preparing.prepare(V2, slow));
    eventually("it is being built", || built.load(Ordering::SeqCst) == 1);
    server.scale_to(4).unwrap();
    may_build.store(true, Ordering::SeqCst);
    prepared.join().unwrap().unwrap();
    assert_eq!(Host::health(&server, V2).replicas, 4);
    assert_eq!(Host::health(&server, V1).replicas, 4);
}

#[test]
fn a_version_that_could_not_be_scaled_once_it_was_prepared_is_not_there() {
    let (built, may_build) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, flag) = (Arc::clone(&built), Arc::clone(&may_build));
    let short = VersionSource::new(move || {
        if count.fetch_add(1, Ordering::SeqCst) >= 2 {
            return Err(ModelError::failed("no memory"));
        }
        while !flag.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Probe::new(7))
    });
    let server = serve(queued().with_replicas(2), &Probe::new(0));
    let preparing = server.clone();
    let prepared = std::thread::spawn(move || preparing.prepare(V2, short));
    eventually("it is being built", || built.load(Ordering::SeqCst) == 1);
    server.scale_to(4).unwrap();
    may_build.store(true, Ordering::SeqCst);
    let prepared = prepared.join().unwrap();
    assert!(matches!(prepared, Err(HostError::Build { version: V2, .. })), "{prepared:?}");
    eventually("it is gone", || Host::health(&server, V2).lifecycle == Lifecycle::Absent);
    server.prepare(V2, source(&Probe::new(7))).unwrap();
    assert_eq!(Host::health(&server, V2).replicas, 4);
}

#[test]
fn scaling_at_the_end_of_a_roll_out_is_not_lost() {
    let server = serve(queued(), &Probe::new(0));
    for round in 2..200 {
        let (old, new) = (VersionNumber(round - 1), VersionNumber(round));
        server.scale_to(1).unwrap();
        std::thread::scope(|scope| {
            let roll = || server.roll(new, source(&Probe::new(7)), Duration::ZERO).unwrap();
            let rolling = scope.spawn(roll);
            // It lets go of the old one before it is over.
            let is_held = || Host::health(&server, old).lifecycle == Lifecycle::Ready;
            while !rolling.is_finished() && is_held() {}
            server.scale_to(3).unwrap();
        });
        assert_eq!(Host::health(&server, new).replicas, 3, "roll-out {round}");
    }
}

#[test]
fn a_server_with_a_router_swaps_and_rolls_nothing_by_itself() {
    let server = builder(queued()).routed(crate::support::Script::new(V1, &[])).unwrap();
    server.prepare(V1, source(&Probe::new(0))).unwrap();
    let swapped = server.swap(V2, source(&Probe::new(0)));
    assert!(matches!(swapped, Err(ServeError::Routed)), "{swapped:?}");
    let rolled = server.roll(V2, source(&Probe::new(0)), Duration::ZERO);
    assert!(matches!(rolled, Err(ServeError::Routed)), "{rolled:?}");
}
