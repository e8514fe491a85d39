//! Versions, generations, blue-green, rollback, pins, blocks.

use std::sync::Barrier;

use mlp_core::{Lifecycle, OutcomeStatus, RequestKey, Role, Router, VersionNumber};
use mlp_rollback::{CanaryPlan, Change, Error, VersionBundle, VersionState};

use crate::support::{V1, V2, V3, V4, World, broken, config, me, percent};

#[test]
fn a_rollback_leaves_the_previous_version_warm_and_serving() {
    let world = World::started(config(), 1);
    world.deployment.deploy(V2, &me()).unwrap();
    assert_eq!((world.state(V1), world.state(V2)), (VersionState::Standby, VersionState::Active));
    let receipt = world.deployment.rollback(&me()).unwrap();
    assert_eq!((receipt.active_before, receipt.active), (Some(V2), Some(V1)));
    assert_eq!(world.next().version, V1);
    assert_eq!(world.state(V2), VersionState::RolledBack);
    assert!(world.host.versions.lock().contains_key(&V1));
    world.deployment.tick();
    assert_eq!(*world.host.retired.lock(), [V2]);
}

#[test]
fn exactly_one_version_is_active_under_eight_threads_deploying_and_rolling_back() {
    let world = World::started(config(), 8);
    let barrier = Barrier::new(9);
    let reads = std::thread::scope(|scope| {
        for version in 2..=8 {
            let (world, barrier) = (&world, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..20 {
                    // Conflicts are expected: the threads are in each other's way.
                    let _ = world.deployment.deploy(VersionNumber(version), &me());
                    let _ = world.deployment.rollback(&me());
                }
            });
        }
        let reader = |check: fn(&World)| {
            let (world, barrier) = (&world, &barrier);
            scope.spawn(move || {
                barrier.wait();
                (0..5_000).for_each(|_| check(world));
                5_000
            })
        };
        let routes = reader(|world| assert_ne!(world.next().version, VersionNumber(0)));
        let states = reader(|world| {
            let status = world.deployment.status();
            let active =
                status.versions.iter().filter(|version| version.state == VersionState::Active);
            assert_eq!(
                active.map(|version| version.version).collect::<Vec<_>>(),
                [status.active.unwrap()]
            );
        });
        routes.join().unwrap() + states.join().unwrap()
    });
    assert_eq!(reads, 10_000);
    let generations: Vec<_> =
        world.deployment.history().iter().map(|entry| entry.generation).collect();
    assert!(generations.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_stale_promote_after_a_rollback_is_a_conflict() {
    let world = World::started(config(), 2);
    world.deployment.deploy(V2, &me()).unwrap();
    world.deployment.start_canary(V3, CanaryPlan::fixed(percent(10.0)).unwrap(), &me()).unwrap();
    let seen = world.deployment.generation();
    world.deployment.rollback(&me()).unwrap();
    let stale = world.deployment.promote(V3, &me().at_generation(seen));
    assert!(matches!(stale, Err(Error::Stale { expected, .. }) if expected == seen), "{stale:?}");
    assert_eq!(world.deployment.active(), Some(V1));
    let fresh = me().at_generation(world.deployment.generation());
    assert!(world.deployment.promote(V3, &fresh).is_ok());
}

#[test]
fn outcomes_of_an_older_generation_are_discarded() {
    let world = World::started(config(), 1);
    world.deployment.start_canary(V2, CanaryPlan::fixed(percent(50.0)).unwrap(), &me()).unwrap();
    let old = std::iter::repeat_with(|| world.next()).find(|route| route.version == V2).unwrap();
    world.deployment.abort(V2, &me()).unwrap();
    world.deployment.start_canary(V2, CanaryPlan::fixed(percent(50.0)).unwrap(), &me()).unwrap();
    (0..50).for_each(|_| world.report(&old, OutcomeStatus::Failed));
    assert_eq!(world.deployment.status().canary.unwrap().evidence.requests, 0);
    assert_eq!(world.state(V2), VersionState::Canary);
}

#[test]
fn a_version_that_cannot_be_built_leaves_everything_as_it_was() {
    let world = World::started(config(), 0);
    let bad = world.deployment.register(VersionBundle::new("bad"), broken(), &me()).unwrap();
    let error = world.deployment.deploy(bad, &me()).unwrap_err();
    assert!(matches!(error, Error::Preparation { version, .. } if version == bad), "{error}");
    assert_eq!(world.next().version, V1);
    assert_eq!(world.state(bad), VersionState::Archived);
    assert!(matches!(
        world.deployment.rollback_to(VersionNumber(99), &me()),
        Err(Error::UnknownVersion { .. })
    ));
}

#[test]
fn an_unhealthy_target_gets_no_traffic() {
    let world = World::started(config(), 2);
    world.deployment.deploy(V2, &me()).unwrap();
    world.deployment.deploy(V3, &me()).unwrap();
    world.host.set(V2, Lifecycle::Unhealthy);
    world.deployment.rollback(&me()).unwrap();
    assert_eq!(world.deployment.active(), Some(V1), "the next ready version takes over");
    world.host.set(V2, Lifecycle::Unhealthy);
    assert!(matches!(world.deployment.rollback(&me()), Err(Error::Nothing { .. })));
    assert_eq!(world.next().version, V1, "without a target it serves on");
}

#[test]
fn an_archived_version_is_warmed_again_for_a_rollback_by_name() {
    let world = World::started(config().with_keep_warm(1), 3);
    for version in [V2, V3, V4] {
        world.deployment.deploy(version, &me()).unwrap();
    }
    world.deployment.tick();
    assert_eq!(world.state(V1), VersionState::Archived);
    world.deployment.rollback_to(V1, &me()).unwrap();
    assert_eq!((world.next().version, world.state(V4)), (V1, VersionState::RolledBack));
    assert!(world.host.versions.lock().contains_key(&V1));
}

#[test]
fn keep_n_never_drops_active_canary_or_target() {
    let world = World::started(config().with_keep_warm(2), 9);
    world.deployment.deploy(V2, &me()).unwrap();
    for version in 3..=8 {
        let version = VersionNumber(version);
        let plan = CanaryPlan::fixed(percent(10.0)).unwrap();
        world.deployment.start_canary(version, plan, &me()).unwrap();
        world.deployment.promote(version, &me()).unwrap();
        let next = CanaryPlan::fixed(percent(10.0)).unwrap();
        world.deployment.start_canary(VersionNumber(10), next, &me()).unwrap();
        world.deployment.tick();
        let status = world.deployment.status();
        assert_eq!(status.standby.len(), 2);
        let held = world.host.versions.lock();
        for needed in status.standby.iter().chain(&status.active).chain(&[VersionNumber(10)]) {
            assert!(held.contains_key(needed), "{needed} was dropped");
        }
        assert_eq!(held.len(), 4);
        drop(held);
        world.deployment.abort(VersionNumber(10), &me()).unwrap();
    }
}

#[test]
fn a_pin_overrides_a_canary_but_not_a_block() {
    let world = World::started(config(), 1);
    world.deployment.start_canary(V2, CanaryPlan::fixed(percent(100.0)).unwrap(), &me()).unwrap();
    let request = RequestKey::new(1).with_unit("alice");
    assert_eq!(world.deployment.route(&request).version, V2);
    world.deployment.pin("alice", V1, &me()).unwrap();
    let route = world.deployment.route(&request);
    assert_eq!((route.version, route.role), (V1, Role::Pinned));
    world.deployment.unpin("alice", &me()).unwrap();
    world.deployment.pin("alice", V2, &me()).unwrap();
    world.deployment.block(V2, &me().because("leaks")).unwrap();
    assert_eq!(world.deployment.route(&request).version, V1);
    assert_eq!(world.deployment.route(&request.with_pin(V2)).version, V1);
    assert!(matches!(world.deployment.deploy(V2, &me()), Err(Error::Blocked { .. })));
    world.deployment.unblock(V2, &me()).unwrap();
    assert!(world.deployment.deploy(V2, &me()).is_ok());
}

#[test]
fn blocking_the_active_version_lets_its_predecessor_take_over() {
    let world = World::started(config(), 1);
    world.deployment.block(V1, &me()).unwrap();
    assert_eq!(world.next().version, V1, "nothing can take over: it serves on");
    world.deployment.deploy(V2, &me()).unwrap();
    assert_eq!(world.state(V1), VersionState::Blocked);
    assert!(world.deployment.rollback(&me()).is_err(), "a blocked version is no target");
}

#[test]
fn a_repeat_under_the_same_key_does_nothing_and_another_change_under_it_is_refused() {
    let world = World::started(config(), 2);
    world.deployment.deploy(V2, &me()).unwrap();
    world.deployment.deploy(V3, &me()).unwrap();
    let change = me().with_key("incident-1");
    let first = world.deployment.rollback(&change).unwrap();
    assert_eq!(world.deployment.rollback(&change).unwrap(), first);
    assert_eq!(world.deployment.active(), Some(V2));
    assert!(matches!(world.deployment.deploy(V3, &change), Err(Error::KeyReused { .. })));
    let long = Change::by("x".repeat(201));
    assert!(matches!(world.deployment.rollback(&long), Err(Error::LimitExceeded { .. })));
}

#[test]
fn before_the_first_deployment_requests_go_to_version_0() {
    let world = World::new(config());
    assert_eq!(world.next().version, VersionNumber(0));
    world.register();
    let plan = CanaryPlan::fixed(percent(10.0)).unwrap();
    assert!(matches!(world.deployment.start_canary(V1, plan, &me()), Err(Error::Nothing { .. })));
}

#[test]
fn the_history_says_from_to_who_why_and_when() {
    let world = World::started(config(), 1);
    world.clock.advance(std::time::Duration::from_secs(60));
    world.deployment.deploy(V2, &Change::by("alice").because("better recall")).unwrap();
    world.deployment.rollback(&Change::by("bob").because("pages at night")).unwrap();
    let last = world.deployment.history().pop().unwrap();
    assert_eq!(
        last.to_string(),
        "2026-01-01T00:01:00.000000Z generation 7: rolled back v2 → v1 by bob: pages at night"
    );
    let story = world.deployment.latest_post_mortem().unwrap().to_string();
    assert!(story.contains("deployed v1 → v2 by alice: better recall"), "{story}");
}

#[test]
fn of_two_rollbacks_of_one_version_at_once_one_wins() {
    for _ in 0..20 {
        let world = World::started(config(), 2);
        world.deployment.deploy(V2, &me()).unwrap();
        world.deployment.deploy(V3, &me()).unwrap();
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..2).map(|_| scope.spawn(|| world.deployment.rollback_from(V3, &me()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(results.iter().any(|result| matches!(result, Err(Error::WrongState { .. }))));
        assert_eq!(world.deployment.active(), Some(V2), "not back twice");
    }
}

#[test]
fn a_key_repeats_what_was_asked_and_not_what_it_found() {
    let world = World::started(config(), 3);
    world.deployment.deploy(V2, &me()).unwrap();
    let first = world.deployment.block(V2, &me().with_key("block")).unwrap();
    assert_eq!(world.deployment.block(V2, &me().with_key("block")).unwrap(), first);
    let to = world.deployment.rollback_to(V3, &me().with_key("back")).unwrap();
    assert_eq!(world.deployment.rollback_to(V3, &me().with_key("back")).unwrap(), to);
    let other = world.deployment.rollback_to(V1, &me().with_key("back"));
    assert!(matches!(other, Err(Error::KeyReused { .. })));
    let plan = CanaryPlan::stepping(percent(10.0), percent(50.0)).unwrap();
    world.deployment.start_canary(V4, plan, &me()).unwrap();
    let step = world.deployment.advance(V4, &me().with_key("step")).unwrap();
    assert_eq!(world.deployment.advance(V4, &me().with_key("step")).unwrap(), step);
    assert_eq!(world.deployment.status().canary.unwrap().step, 1);
    let promoted = world.deployment.promote(V4, &me().with_key("promote")).unwrap();
    world.host.set(V4, mlp_core::Lifecycle::Unhealthy);
    assert_eq!(world.deployment.promote(V4, &me().with_key("promote")).unwrap(), promoted);
}

#[test]
fn a_change_is_not_made_stale_by_its_own_cleaning_up() {
    let world = World::started(config().with_keep_warm(1), 3);
    world.deployment.deploy(V2, &me()).unwrap();
    world.deployment.deploy(V3, &me()).unwrap(); // version 1 is draining
    let seen = world.deployment.generation();
    world.deployment.deploy(V4, &me().at_generation(seen)).unwrap();
}

#[test]
fn a_registration_is_repeated_under_its_key_whatever_was_measured() {
    let world = World::new(config());
    let bundle = |score: f64| {
        let metrics = mlp_core::Metrics::new().with("accuracy", score);
        VersionBundle::new("model").with_metrics(metrics)
    };
    let register = |score| {
        world.deployment.register(bundle(score), crate::support::good(), &me().with_key("first"))
    };
    assert_eq!(register(f64::NAN).unwrap(), V1);
    assert_eq!(register(f64::NAN).unwrap(), V1);
    assert!(matches!(register(0.5), Err(Error::KeyReused { .. })));
}

#[test]
fn a_promoted_canary_had_served_since_its_first_share() {
    let hour = std::time::Duration::from_secs(3_600);
    for (shadow, hours) in [(false, 3), (true, 1)] {
        let world = World::started(config(), 2);
        if shadow {
            world.deployment.start_shadow(V2, percent(50.0), &me()).unwrap();
        } else {
            let plan = CanaryPlan::fixed(percent(10.0)).unwrap();
            world.deployment.start_canary(V2, plan, &me()).unwrap();
        }
        world.clock.advance(2 * hour);
        world.deployment.promote(V2, &me()).unwrap();
        // A canary that is rolled back to it is no new beginning either.
        let plan = CanaryPlan::fixed(percent(50.0)).unwrap();
        world.deployment.start_canary(V3, plan, &me()).unwrap();
        world.serve(V3, 2, OutcomeStatus::Failed);
        assert_eq!(world.state(V3), VersionState::RolledBack);
        world.clock.advance(hour);
        world.deployment.rollback(&me()).unwrap();
        let story = world.deployment.latest_post_mortem().unwrap();
        assert_eq!(story.exposure, Some(hours * hour), "shadow: {shadow}");
    }
}

#[test]
fn shares_that_are_the_whole_together_fit() {
    let world = World::started(config(), 3);
    let plan = CanaryPlan::fixed(percent(0.2)).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    for (version, share) in [(V3, 83.9), (V4, 15.9)] {
        world.deployment.start_challenger(version, percent(share), &me()).unwrap();
    }
    assert_eq!(world.share(V1), 0.0);
}
