//! When the error trigger fires, and when not.

use mlp_core::random::{stream, uniform};
use mlp_core::{Outcome, OutcomeStatus, Router, Severity};
use mlp_rollback::{CanaryPlan, Condition, DeploymentConfig, Response, Trigger, VersionState};

use crate::support::{V1, V2, V3, World, config, me, percent};

fn canary() -> World {
    let world = World::started(config(), 2);
    let plan = CanaryPlan::fixed(percent(20.0)).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    world
}

#[test]
fn one_error_in_one_or_in_ten_requests_is_no_reason_and_five_of_five_are() {
    let world = canary();
    world.serve(V2, 1, OutcomeStatus::Failed);
    assert_eq!(world.state(V2), VersionState::Canary);
    let world = canary();
    world.serve(V2, 9, OutcomeStatus::Answered);
    world.serve(V2, 1, OutcomeStatus::TimedOut);
    assert_eq!(world.state(V2), VersionState::Canary);
    let world = canary();
    let routes: Vec<_> = std::iter::repeat_with(|| world.next())
        .filter(|route| route.version == V2)
        .take(5)
        .collect();
    routes.iter().for_each(|route| world.report(route, OutcomeStatus::Failed));
    assert_eq!(world.state(V2), VersionState::RolledBack);
    assert_eq!(world.share(V2), 0.0);
    let story = world.deployment.latest_post_mortem().unwrap();
    assert_eq!((story.incident.from, story.incident.to), (Some(V2), Some(V1)));
    assert_eq!(story.incident.causes[0].trigger, "error-rate");
    assert!(story.incident.causes[0].log_e.unwrap() >= 100_f64.ln());
}

#[test]
fn cached_answers_and_refused_requests_are_no_evidence() {
    let world = canary();
    for _ in 0..500 {
        let route = world.next();
        world.report(&route, OutcomeStatus::Refused);
        let cached =
            Outcome::new(&route, OutcomeStatus::Failed, std::time::Duration::ZERO).from_cache();
        world.deployment.observe(&cached);
    }
    assert_eq!(world.deployment.status().canary.unwrap().evidence.requests, 0);
}

/// How many of 500 healthy canaries (0.5 % errors, 5,000 requests each) are rolled back.
fn false_alarms(triggers: Vec<Trigger>) -> usize {
    let rolled_back = |seed: u64| {
        let world = World::started(config().with_triggers(triggers.clone()), 1);
        let plan = CanaryPlan::fixed(percent(100.0)).unwrap();
        world.deployment.start_canary(V2, plan, &me()).unwrap();
        let mut generator = stream(2026, seed);
        let route = world.next();
        for _ in 0..5_000 {
            let failed = uniform(&mut generator) < 0.005;
            let status = if failed { OutcomeStatus::Failed } else { OutcomeStatus::Answered };
            world.report(&route, status);
        }
        world.state(V2) == VersionState::RolledBack
    };
    (0..500).filter(|seed| rolled_back(*seed)).count()
}

#[test]
fn a_healthy_error_rate_is_rolled_back_in_at_most_one_percent_of_runs() {
    let alarms = false_alarms(Trigger::default_table());
    assert!(alarms <= 5, "{alarms} of 500");
}

#[test]
fn the_naive_rule_rolls_back_a_third_of_healthy_canaries_and_more() {
    let condition = Condition::NaiveErrorRate { rate: 0.01, min_requests: 100 };
    let alarms = false_alarms(vec![Trigger::new("naive", condition, Response::RollBack)]);
    assert!(alarms >= 150, "{alarms} of 500");
}

#[test]
fn a_broken_active_version_gives_way_to_its_warm_predecessor() {
    let world = World::started(config(), 2);
    world.deployment.deploy(V2, &me()).unwrap();
    let routes: Vec<_> = (0..5).map(|_| world.next()).collect();
    routes.iter().for_each(|route| world.report(route, OutcomeStatus::Failed));
    assert_eq!((world.deployment.active(), world.state(V2)), (Some(V1), VersionState::RolledBack));
    assert_eq!(world.next().version, V1);
}

#[test]
fn a_broken_active_version_without_a_target_serves_on_and_somebody_is_paged() {
    let world = World::started(config(), 1);
    for _ in 0..5 {
        world.report(&world.next(), OutcomeStatus::Failed);
    }
    world.deployment.tick();
    assert_eq!(world.next().version, V1);
    assert_eq!(world.pager.0.lock()[0].severity, Severity::P0);
    // As soon as there is somewhere to go, it goes there.
    world.deployment.deploy(V2, &me()).unwrap();
    assert_eq!(world.deployment.active(), Some(V2));
}

#[test]
fn a_second_automatic_rollback_in_the_cool_down_freezes_and_pages() {
    let world = World::started(config(), 2);
    world.deployment.deploy(V2, &me()).unwrap();
    world.deployment.deploy(V3, &me()).unwrap();
    let fail = || {
        let routes: Vec<_> = (0..5).map(|_| world.next()).collect();
        routes.iter().for_each(|route| world.report(route, OutcomeStatus::Failed));
    };
    fail();
    assert_eq!(world.deployment.active(), Some(V2));
    fail();
    assert_eq!(world.deployment.active(), Some(V2), "no A→B→A");
    assert!(world.deployment.status().frozen.is_some());
    world.deployment.tick();
    assert_eq!(world.pager.0.lock().last().unwrap().severity, Severity::P0);
    let plan = CanaryPlan::fixed(percent(1.0)).unwrap();
    assert!(world.deployment.start_canary(V3, plan, &me()).is_err());
    world.deployment.unfreeze(&me()).unwrap();
}

#[test]
fn two_triggers_at_once_make_one_rollback_with_both_causes() {
    let mut table = Trigger::default_table();
    let strict = Condition::ErrorRateAbove { rate: 0.001, alpha: 1e-3 };
    table.push(Trigger::new("strict", strict, Response::AlertAndWait));
    let world = World::started(config().with_triggers(table), 1);
    let plan = CanaryPlan::fixed(percent(100.0)).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    let route = world.next();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..8).for_each(|_| world.report(&route, OutcomeStatus::Failed)));
        }
    });
    let history = world.deployment.history();
    let automatic: Vec<_> = history.iter().filter(|entry| !entry.causes.is_empty()).collect();
    assert_eq!(automatic.len(), 1, "{automatic:#?}");
    assert!(automatic[0].is_rollback());
    let causes: Vec<_> = automatic[0].causes.iter().map(|cause| cause.trigger.as_str()).collect();
    assert_eq!(causes, ["error-rate", "strict"]);
    assert!(world.deployment.status().approvals.is_empty());
}

/// After how many requests half of 101 canaries with this error rate are rolled back.
fn median_requests_until_rollback(error_rate: f64) -> u64 {
    let requests = |seed: u64| {
        let world = World::started(config(), 1);
        let plan = CanaryPlan::fixed(percent(100.0)).unwrap();
        world.deployment.start_canary(V2, plan, &me()).unwrap();
        let mut generator = stream(77, seed);
        let route = world.next();
        for request in 1..=5_000 {
            let failed = uniform(&mut generator) < error_rate;
            let status = if failed { OutcomeStatus::Failed } else { OutcomeStatus::Answered };
            world.report(&route, status);
            if world.deployment.active() == Some(V1) && world.state(V2) != VersionState::Canary {
                return request;
            }
        }
        5_000
    };
    let mut all: Vec<_> = (0..101).map(requests).collect();
    all.sort_unstable();
    all[50]
}

#[test]
fn failures_of_50_10_and_5_percent_are_caught_in_about_5_40_and_160_requests() {
    for (error_rate, at_most) in [(0.5, 6), (0.1, 50), (0.05, 190)] {
        let median = median_requests_until_rollback(error_rate);
        assert!(median <= at_most, "{error_rate}: {median} requests");
        eprintln!("error rate {error_rate}: rolled back after {median} requests in the median");
    }
}

/// Version 1 in standby, version 2 active with so many requests behind it, of which one in a thousand failed.
fn long_served(config: DeploymentConfig, requests: u64) -> World {
    let world = World::started(config, 1);
    world.deployment.deploy(V2, &me()).unwrap();
    let route = world.next();
    for request in 1..=requests {
        let failed = request % 1_000 == 7;
        let status = if failed { OutcomeStatus::Failed } else { OutcomeStatus::Answered };
        world.report(&route, status);
    }
    assert_eq!(world.deployment.active(), Some(V2));
    world
}

/// After how many requests, of which all fail, version 2 is gone.
fn failures_until_gone(world: &World) -> u64 {
    let route = world.next();
    let mut failures = 0;
    while world.deployment.active() == Some(V2) && failures < 20_000 {
        world.report(&route, OutcomeStatus::Failed);
        failures += 1;
    }
    failures
}

#[test]
fn a_version_that_breaks_after_a_million_good_requests_is_gone_within_forty() {
    // In the middle of a cohort: its own good requests hide it as well as they can.
    let world = long_served(config(), 1_000_500);
    let failures = failures_until_gone(&world);
    assert!(failures <= 40, "{failures} requests failed");
    let cause = &world.deployment.latest_post_mortem().unwrap().incident.causes[0];
    assert!(cause.samples < 1_000, "it tells of the requests that decided: {cause}");
}

#[test]
fn the_naive_rule_looks_at_the_last_requests_too() {
    let condition = Condition::NaiveErrorRate { rate: 0.01, min_requests: 100 };
    let table = [Trigger::new("naive", condition, Response::RollBack)];
    let world = long_served(config().with_triggers(table), 200_500);
    let failures = failures_until_gone(&world);
    assert!(failures <= 1_000, "{failures} requests failed");
}
