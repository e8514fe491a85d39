//! Canaries by steps, shadows, challengers.

use std::time::Duration;

use mlp_core::{Outcome, OutcomeStatus, RequestKey, Role, Router};
use mlp_rollback::{CanaryPlan, Error, Flag, Promotion, Rule, VersionState};

use crate::support::{V1, V2, V3, V4, World, config, me, percent};

#[test]
fn a_canarys_share_is_what_was_asked_within_binomial_bounds() {
    for share in [0.5, 5.0, 20.0, 50.0, 100.0] {
        let world = World::started(config(), 1);
        let plan = CanaryPlan::fixed(percent(share)).unwrap();
        world.deployment.start_canary(V2, plan, &me()).unwrap();
        let p = share / 100.0;
        let bound = 4.0 * (p * (1.0 - p) / 10_000.0_f64).sqrt() + 1e-9;
        let seen = world.share(V2);
        assert!((seen - p).abs() <= bound, "{seen} for {p}");
    }
}

#[test]
fn weights_follow_their_steps_and_never_pass_their_bound() {
    let world = World::started(config(), 1);
    let plan = CanaryPlan::stepping(percent(20.0), percent(50.0))
        .unwrap()
        .with_step_duration(Duration::from_secs(60))
        .with_promotion(Promotion::Manual);
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    let share = || world.deployment.status().canary.unwrap().share.as_percent();
    let mut seen = vec![share()];
    for _ in 0..20 {
        world.serve(V2, 20, OutcomeStatus::Answered);
        world.deployment.tick();
        assert_eq!(share(), *seen.last().unwrap(), "no step before its time");
        world.clock.advance(Duration::from_secs(60));
        world.deployment.tick();
        seen.push(share());
    }
    seen.dedup();
    assert_eq!(seen, [20.0, 40.0, 50.0]);
    (0..5).for_each(|_| {
        world.deployment.advance(V2, &me()).unwrap();
    });
    assert_eq!(share(), 50.0);
}

#[test]
fn a_good_canary_is_promoted_by_its_evidence_and_not_before() {
    let world = World::started(config(), 1);
    let plan = CanaryPlan::new([percent(20.0), percent(50.0)]).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    let mut requests = 0;
    while world.deployment.active() == Some(V1) {
        world.serve(V2, 20, OutcomeStatus::Answered);
        requests += 20;
        world.deployment.tick();
        assert!(requests < 2_000, "never promoted");
    }
    assert!(requests > 300, "promoted after {requests} requests");
    assert_eq!((world.deployment.active(), world.state(V1)), (Some(V2), VersionState::Standby));
}

#[test]
fn without_traffic_nothing_is_promoted_and_nothing_rolled_back() {
    let world = World::started(config(), 1);
    let plan = CanaryPlan::new([percent(20.0), percent(50.0)]).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    let before = world.deployment.generation();
    for _ in 0..100 {
        world.clock.advance(Duration::from_secs(3_600));
        assert!(world.deployment.tick().is_empty());
    }
    assert_eq!(world.deployment.generation(), before);
}

#[test]
fn a_paused_canary_stays_but_its_triggers_do_not_sleep() {
    let world = World::started(config(), 1);
    let plan = CanaryPlan::new([percent(20.0), percent(50.0)]).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    world.deployment.pause(V2, &me()).unwrap();
    world.serve(V2, 100, OutcomeStatus::Answered);
    world.deployment.tick();
    assert_eq!(world.deployment.status().canary.unwrap().step, 0);
    world.serve(V2, 100, OutcomeStatus::Answered);
    world.deployment.resume(V2, &me()).unwrap();
    world.deployment.tick();
    assert_eq!(world.deployment.status().canary.unwrap().step, 1);
    world.deployment.pause(V2, &me()).unwrap();
    let hits = std::iter::repeat_with(|| world.next()).filter(|route| route.version == V2).take(60);
    for route in hits.collect::<Vec<_>>() {
        world.report(&route, OutcomeStatus::Failed);
    }
    assert_eq!(world.state(V2), VersionState::RolledBack);
}

#[test]
fn abort_sets_the_share_to_zero_at_once_and_sticks() {
    let world = World::started(config(), 1);
    let plan = CanaryPlan::new([percent(20.0), percent(50.0)]).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    world.deployment.abort(V2, &me()).unwrap();
    assert_eq!(world.share(V2), 0.0);
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(3_600));
        world.deployment.tick();
        assert!(world.deployment.advance(V2, &me()).is_err());
        assert!(world.deployment.promote(V2, &me()).is_err());
    }
    assert_eq!((world.share(V2), world.state(V2)), (0.0, VersionState::RolledBack));
}

#[test]
fn the_same_unit_gets_the_same_version_and_growth_moves_nobody_back() {
    let world = World::started(config(), 2);
    let plan = CanaryPlan::new([1.0, 10.0, 30.0, 60.0].map(percent)).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    world.deployment.start_challenger(V3, percent(40.0), &me()).unwrap();
    let units: Vec<_> = (0..2_000).map(|k| format!("user-{k}")).collect();
    let versions = || -> Vec<_> {
        let route =
            |unit: &String| world.deployment.route(&RequestKey::new(0).with_unit(unit)).version;
        units.iter().map(route).collect()
    };
    let mut before = versions();
    assert_eq!(before, versions());
    for _ in 0..3 {
        world.deployment.advance(V2, &me()).unwrap();
        let after = versions();
        for (was, is) in before.iter().zip(&after) {
            assert!(was == is || (*was == V1 && *is == V2), "{was} became {is}");
        }
        before = after;
    }
    assert!(!before.contains(&V1));
    let error = world.deployment.start_challenger(V4, percent(1.0), &me()).unwrap_err();
    assert!(matches!(error, Error::UnknownVersion { .. } | Error::SharesExceedWhole { .. }));
}

#[test]
fn several_challengers_have_their_own_shares_and_together_no_more_than_the_whole() {
    let world = World::started(config(), 3);
    world.deployment.start_challenger(V2, percent(30.0), &me()).unwrap();
    world.deployment.start_challenger(V3, percent(20.0), &me()).unwrap();
    let (second, third) = (world.share(V2), world.share(V3));
    assert!((second - 0.3).abs() < 0.02 && (third - 0.2).abs() < 0.02, "{second} {third}");
    let error = world.deployment.start_challenger(V4, percent(50.1), &me()).unwrap_err();
    assert!(matches!(error, Error::SharesExceedWhole { .. }), "{error}");
    assert_eq!(world.state(V4), VersionState::Registered, "nothing was built for it");
}

#[test]
fn a_shadow_sees_its_share_and_answers_nobody() {
    let world = World::started(config(), 1);
    world.deployment.start_shadow(V2, percent(30.0), &me()).unwrap();
    let routes: Vec<_> = (0..10_000).map(|_| world.next()).collect();
    assert!(routes.iter().all(|route| route.version == V1));
    let seen = routes.iter().filter(|route| route.shadows() == [V2]).count();
    assert!((2_800..3_200).contains(&seen), "{seen}");
}

#[test]
fn a_failing_shadow_is_taken_out_without_touching_what_callers_get() {
    let world = World::started(config(), 1);
    world.deployment.start_shadow(V2, percent(100.0), &me()).unwrap();
    for _ in 0..20 {
        let route = world.next();
        assert_eq!((route.version, route.role), (V1, Role::Active));
        world.report(&route, OutcomeStatus::Answered);
        let failed = Outcome::new(&route, OutcomeStatus::Failed, Duration::from_millis(1));
        world.deployment.observe(&failed.of_shadow(V2, None));
    }
    assert_eq!((world.deployment.active(), world.state(V2)), (Some(V1), VersionState::RolledBack));
    assert!(world.next().shadows().is_empty());
}

#[test]
fn a_flag_gives_a_version_to_its_units_and_raising_it_takes_it_from_nobody() {
    let world = World::started(config(), 1);
    let rule = Rule::OneOf { attribute: "country".to_owned(), values: ["NL".to_owned()].into() };
    let flag = Flag::new("boosting", 10).unwrap().with_rule(rule).unwrap();
    world.deployment.start_flag(V2, flag.clone(), &me()).unwrap();
    let users: Vec<_> = (0..1_000).map(|user| format!("user-{user}")).collect();
    let with_v2 = |country: &str| -> Vec<&String> {
        let gets = |user: &&String| {
            let attributes = [("country", country)];
            let request = RequestKey::new(1).with_unit(user).with_attributes(&attributes);
            let route = world.deployment.route(&request);
            assert!(route.version == V1 || route.role == Role::Challenger);
            route.version == V2
        };
        users.iter().filter(gets).collect()
    };
    let mut before: Vec<&String> = Vec::new();
    for percent in [10, 25, 60, 100] {
        let raised = flag.clone().at_percent(percent).unwrap();
        world.deployment.set_flag(V2, raised.clone(), &me()).unwrap();
        let now = with_v2("NL");
        let expected = users.iter().filter(|user| raised.is_on(user, &[("country", "NL")])).count();
        assert_eq!(now.len(), expected);
        assert!(before.iter().all(|user| now.contains(user)), "{percent} % took it from somebody");
        assert!(with_v2("DE").is_empty());
        before = now;
    }
    assert_eq!(world.share(V2), 0.0, "anonymous requests have no bucket");
    assert_eq!(world.deployment.status().version(V2).unwrap().flag, flag.at_percent(100).ok());
}

#[test]
fn a_flagged_version_that_fails_is_rolled_back_and_a_good_one_can_be_promoted() {
    let world = World::started(config(), 2);
    let all = Flag::new("all", 100).unwrap();
    world.deployment.start_flag(V2, all.clone(), &me()).unwrap();
    let route = world.deployment.route(&RequestKey::new(1).with_unit("alice"));
    assert_eq!(route.version, V2);
    (0..5).for_each(|_| world.report(&route, OutcomeStatus::Failed));
    assert_eq!(world.state(V2), VersionState::RolledBack);
    assert_eq!(world.deployment.route(&RequestKey::new(9).with_unit("alice")).version, V1);
    let gone = world.deployment.set_flag(V2, all.clone(), &me());
    assert!(matches!(gone, Err(Error::Nothing { .. })));
    world.deployment.start_flag(V3, all, &me()).unwrap();
    world.deployment.promote(V3, &me()).unwrap();
    assert_eq!((world.deployment.active(), world.state(V1)), (Some(V3), VersionState::Standby));
}
