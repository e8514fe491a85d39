//! Random commands of people, requests, ill hosts, threads and crashes: what must hold does, after each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mlp_core::{
    Host, Lifecycle, MetricSource, OutcomeStatus, Reading, RequestKey, Router, Signal, SourceError,
    VersionNumber,
};
use mlp_rollback::{
    CanaryPlan, Condition, DeploymentConfig, Error, Flag, Journal, JournalContents, JournalLine,
    MemoryJournal, Promotion, Response, Status, Trigger, VersionState,
};
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::support::{World, config, good, me, percent};

#[derive(Debug, Clone)]
enum Command {
    Register,
    Deploy(u64),
    StartCanary(u64, u32),
    StartChallenger(u64, u32),
    StartShadow(u64, u32),
    StartFlag(u64, u32),
    SetFlag(u64, u32),
    Advance(u64),
    Pause(u64),
    Promote(u64),
    Abort(u64),
    Rollback,
    RollbackTo(u64),
    Block(u64),
    Unblock(u64),
    Pin(u64),
    Freeze,
    Unfreeze,
    Approve(u64),
    Dismiss(u64),
    Resume(u64),
    ReportDrift(u64),
    ReportSecurity(u64),
    Drill,
    /// So many requests, of which this percentage fails on odd versions.
    Serve(u32, u32),
    Tick,
    Wait(u64),
    Ill(u64),
    Well(u64),
    /// The process dies, once the journal has taken so many more lines.
    Crash(usize),
}

fn any_command() -> impl Strategy<Value = Command> {
    let version = || 1..6_u64;
    let share = || 1..=60_u32;
    prop_oneof![
        2 => Just(Command::Register),
        4 => version().prop_map(Command::Deploy),
        4 => (version(), share()).prop_map(|(v, s)| Command::StartCanary(v, s)),
        1 => (version(), share()).prop_map(|(v, s)| Command::StartChallenger(v, s)),
        1 => (version(), share()).prop_map(|(v, s)| Command::StartShadow(v, s)),
        1 => (version(), share()).prop_map(|(v, s)| Command::StartFlag(v, s)),
        1 => (version(), share()).prop_map(|(v, s)| Command::SetFlag(v, s)),
        1 => version().prop_map(Command::Advance),
        1 => version().prop_map(Command::Pause),
        3 => version().prop_map(Command::Promote),
        1 => version().prop_map(Command::Abort),
        2 => Just(Command::Rollback),
        1 => version().prop_map(Command::RollbackTo),
        1 => version().prop_map(Command::Block),
        1 => version().prop_map(Command::Unblock),
        1 => version().prop_map(Command::Pin),
        1 => Just(Command::Freeze),
        1 => Just(Command::Unfreeze),
        1 => version().prop_map(Command::Approve),
        1 => version().prop_map(Command::Dismiss),
        1 => version().prop_map(Command::Resume),
        1 => version().prop_map(Command::ReportDrift),
        1 => version().prop_map(Command::ReportSecurity),
        1 => Just(Command::Drill),
        4 => (1..60_u32, 0..=100_u32).prop_map(|(n, failing)| Command::Serve(n, failing)),
        3 => Just(Command::Tick),
        1 => (1..2_000_u64).prop_map(Command::Wait),
        1 => version().prop_map(Command::Ill),
        2 => version().prop_map(Command::Well),
        2 => (0..6_usize).prop_map(Command::Crash),
    ]
}

/// A journal whose process dies after so many more lines.
#[derive(Debug)]
struct Mortal {
    inner: MemoryJournal,
    left: Mutex<usize>,
}

impl Journal for Mortal {
    fn append(&self, line: &JournalLine) -> Result<(), mlp_core::StoreError> {
        let mut left = self.left.lock();
        *left = left.checked_sub(1).ok_or(mlp_core::StoreError::Closed)?;
        self.inner.append(line)
    }

    fn read(&self) -> Result<JournalContents, mlp_core::StoreError> {
        self.inner.read()
    }
}

/// Even versions become too inaccurate, so that an active one retreats.
#[derive(Debug)]
struct EvenAreWrong;

impl MetricSource for EvenAreWrong {
    fn read(&self, version: VersionNumber, _: &Signal) -> Result<Reading, SourceError> {
        let events = if version.0.is_multiple_of(2) { 300 } else { 100 };
        Ok(Reading::Proportion { events, trials: 1_000 })
    }
}

/// All kinds of triggers, and a cool-down that ends now and then.
fn lively() -> DeploymentConfig {
    let mut triggers = Trigger::default_table();
    triggers.push(Trigger::accuracy(0.9));
    let worse = Condition::WorseThanActive { ratio: 2.0, alpha: 0.01 };
    triggers.push(Trigger::new("worse", worse, Response::AlertAndWait));
    config().with_triggers(triggers)
}

fn open(journal: &Arc<Mortal>) -> World {
    let journal = Some(Arc::clone(journal) as _);
    World::with_metrics(lively(), journal, vec![Arc::new(EvenAreWrong)])
}

fn begin(journal: &Arc<Mortal>) -> World {
    *journal.left.lock() = usize::MAX;
    let world = open(journal);
    for status in world.deployment.status().versions {
        world.deployment.attach_source(status.version, good()).unwrap();
    }
    world.deployment.restore().unwrap();
    world
}

fn run(world: &World, command: &Command) {
    let deployment = &world.deployment;
    let of = VersionNumber;
    let share = |value: u32| percent(f64::from(value));
    let flag = |value: u32| Flag::new("group", value).unwrap();
    let refused: Result<(), Error> = match *command {
        Command::Register => {
            if deployment.status().versions.len() < 5 {
                let bundle = mlp_rollback::VersionBundle::new("model");
                deployment.register(bundle, good(), &me()).map(|_| ())
            } else {
                Ok(())
            }
        }
        Command::Deploy(version) => deployment.deploy(of(version), &me()).map(|_| ()),
        Command::StartCanary(version, step) => {
            let plan = CanaryPlan::stepping(share(step), percent(70.0)).unwrap();
            let plan = plan.with_step_requests(5).with_promotion(Promotion::Automatic);
            deployment.start_canary(of(version), plan, &me()).map(|_| ())
        }
        Command::StartChallenger(version, part) => {
            deployment.start_challenger(of(version), share(part), &me()).map(|_| ())
        }
        Command::StartShadow(version, part) => {
            deployment.start_shadow(of(version), share(part), &me()).map(|_| ())
        }
        Command::StartFlag(version, part) => {
            deployment.start_flag(of(version), flag(part), &me()).map(|_| ())
        }
        Command::SetFlag(version, part) => {
            deployment.set_flag(of(version), flag(part), &me()).map(|_| ())
        }
        Command::Advance(version) => deployment.advance(of(version), &me()).map(|_| ()),
        Command::Pause(version) => deployment.pause(of(version), &me()).map(|_| ()),
        Command::Promote(version) => deployment.promote(of(version), &me()).map(|_| ()),
        Command::Abort(version) => deployment.abort(of(version), &me()).map(|_| ()),
        Command::Rollback => deployment.rollback(&me()).map(|_| ()),
        Command::RollbackTo(version) => deployment.rollback_to(of(version), &me()).map(|_| ()),
        Command::Block(version) => deployment.block(of(version), &me()).map(|_| ()),
        Command::Unblock(version) => deployment.unblock(of(version), &me()).map(|_| ()),
        Command::Pin(version) => deployment.pin("user-7", of(version), &me()).map(|_| ()),
        Command::Freeze => deployment.freeze(&me()).map(|_| ()),
        Command::Unfreeze => deployment.unfreeze(&me()).map(|_| ()),
        Command::Approve(version) => deployment.approve(of(version), &me()).map(|_| ()),
        Command::Dismiss(version) => deployment.dismiss(of(version), &me()).map(|_| ()),
        Command::Resume(version) => deployment.resume(of(version), &me()).map(|_| ()),
        Command::ReportDrift(version) => deployment.report_drift(of(version), "drift"),
        Command::ReportSecurity(version) => deployment.report_security(of(version), "leak"),
        Command::Drill => deployment.drill(&me()).map(|_| ()),
        Command::Serve(requests, failing) => {
            for request in 0..requests {
                let route = world.next();
                let fails = route.version.0 % 2 == 1 && request * 37 % 100 < failing;
                let status = if fails { OutcomeStatus::Failed } else { OutcomeStatus::Answered };
                world.report(&route, status);
            }
            Ok(())
        }
        Command::Tick => {
            deployment.tick();
            Ok(())
        }
        Command::Wait(seconds) => {
            world.clock.advance(Duration::from_secs(seconds));
            Ok(())
        }
        Command::Ill(version) => {
            world.hosted_as(version, Lifecycle::Unhealthy);
            Ok(())
        }
        Command::Well(version) => {
            world.hosted_as(version, Lifecycle::Ready);
            Ok(())
        }
        Command::Crash(_) => Ok(()),
    };
    // Most random commands make no sense; that they are refused by a typed error is all that is asked of them.
    drop(refused);
}

impl World {
    /// Changes the health of a version that the host holds.
    fn hosted_as(&self, version: u64, lifecycle: Lifecycle) {
        let version = VersionNumber(version);
        if self.host.health(version).lifecycle != Lifecycle::Absent {
            self.host.set(version, lifecycle);
        }
    }
}

/// What must hold of any deployment at any time.
fn check(world: &World) -> Status {
    let status = world.deployment.status();
    let active: Vec<_> = status
        .versions
        .iter()
        .filter(|version| version.state == VersionState::Active)
        .map(|version| version.version)
        .collect();
    assert_eq!(active, Vec::from_iter(status.active), "one active version");
    assert!(status.standby.len() <= config().keep_warm);
    let total: f64 = status
        .versions
        .iter()
        .filter(|version| version.state != VersionState::Shadow)
        .map(|version| version.share.as_percent())
        .sum();
    // A version that was taken out this instant shows no share until the active one shows it.
    assert!(status.active.is_none() || total <= 100.0 + 1e-9, "{total} % are answered");
    if let Some(canary) = &status.canary {
        assert!(canary.share.as_percent() <= 70.0, "the share passed its bound");
    }
    for version in &status.versions {
        if version.blocked.is_some() {
            let may = [VersionState::Blocked, VersionState::Active];
            assert!(may.contains(&version.state), "{} is {}", version.version, version.state);
        }
        if version.state.is_warm() {
            let health = world.host.health(version.version);
            assert_ne!(health.lifecycle, Lifecycle::Absent, "{} is not there", version.version);
        }
    }
    status
}

/// Every request is routed to a version that may answer it.
fn check_routes(world: &World, status: &Status) {
    let states: BTreeMap<_, _> = status.versions.iter().map(|v| (v.version, v)).collect();
    for unit in 0..40 {
        let unit = format!("user-{unit}");
        let route = world.deployment.route(&RequestKey::new(7).with_unit(&unit));
        let Some(active) = status.active else {
            assert_eq!(route.version, VersionNumber(0));
            continue;
        };
        let version = states[&route.version];
        let may_answer = version.state.is_warm() && version.state != VersionState::Shadow;
        let is_pinned = route.role == mlp_core::Role::Pinned && version.state.is_warm();
        assert!(may_answer || is_pinned, "{} answers as {}", route.version, version.state);
        assert!(version.blocked.is_none() || route.version == active, "a blocked one answers");
    }
}

/// The roles, as a journal remembers them; what was warming or draining is archived by a restart.
fn roles(status: &Status) -> String {
    let of = |state| match state {
        VersionState::Warming | VersionState::Draining => VersionState::Archived,
        state => state,
    };
    let versions = status
        .versions
        .iter()
        .map(|version| (of(version.state), version.blocked.is_some(), version.flag.clone()));
    let canary = status.canary.as_ref().map(|canary| (canary.version, canary.step));
    let approvals: Vec<_> = status.approvals.iter().map(|approval| approval.version).collect();
    let (active, standby) = (status.active, &status.standby);
    let frozen = status.frozen.is_some();
    format!(
        "{active:?} {canary:?} {standby:?} {frozen} {approvals:?} {:?}",
        versions.collect::<Vec<_>>()
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn after_any_commands_and_crashes_one_version_is_active_and_nothing_is_forgotten(
        commands in proptest::collection::vec(any_command(), 1..80),
    ) {
        let journal =
            Arc::new(Mortal { inner: MemoryJournal::new(), left: Mutex::new(usize::MAX) });
        let mut world = begin(&journal);
        let mut was_active = false;
        let mut dying = false;
        for command in &commands {
            let before = check(&world);
            if let Command::Crash(lines) = command {
                *journal.left.lock() = *lines;
                dying = true;
                continue;
            }
            run(&world, command);
            let after = check(&world);
            check_routes(&world, &after);
            prop_assert!(!was_active || after.active.is_some(), "nothing is active");
            prop_assert!(before.generation <= after.generation);
            if after.journal_failure.is_some() || dying && *journal.left.lock() == 0 {
                world = begin(&journal);
                let restarted = check(&world);
                let known = [before.active, after.active];
                prop_assert!(known.contains(&restarted.active), "{:?} after {command:?}", restarted.active);
                dying = false;
            }
            was_active |= world.deployment.active().is_some();
        }
        *journal.left.lock() = usize::MAX;
        if world.deployment.status().journal_failure.is_none() {
            let left = roles(&check(&world));
            drop(world);
            let reopened = open(&journal);
            prop_assert_eq!(left, roles(&reopened.deployment.status()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn while_threads_command_every_request_has_one_ready_version_and_a_restart_agrees(
        commands in proptest::collection::vec(proptest::collection::vec(any_command(), 1..40), 4),
    ) {
        let journal =
            Arc::new(Mortal { inner: MemoryJournal::new(), left: Mutex::new(usize::MAX) });
        let world = begin(&journal);
        (0..5).for_each(|_| { world.register(); });
        world.deployment.deploy(VersionNumber(1), &me()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let route = world.next();
                    assert_ne!(route.version, VersionNumber(0), "nobody answers");
                    assert!(route.generation >= newest, "an older state was seen again");
                    newest = route.generation;
                }
            });
            let threads: Vec<_> = commands
                .iter()
                .map(|commands| {
                    let world = &world;
                    scope.spawn(move || commands.iter().for_each(|command| run(world, command)))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
        world.deployment.tick();
        let status = check(&world);
        check_routes(&world, &status);
        let left = roles(&status);
        drop(world);
        let reopened = open(&journal);
        prop_assert_eq!(left, roles(&reopened.deployment.status()));
    }
}

#[test]
fn the_check_of_a_deployment_can_fail() {
    let world = World::started(config(), 1);
    check(&world);
    world.host.retire(VersionNumber(1));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&world))).is_err());
}
