//! What survives a restart, a kill and a power cut.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Outcome, OutcomeStatus, Router, StoreError, VersionNumber};
use mlp_rollback::{
    CanaryPlan, Condition, Error, FileJournal, Journal, JournalContents, JournalLine,
    MemoryJournal, Record, Response, Status, Trigger, VersionBundle, VersionState, history_of,
};
use parking_lot::Mutex;

use crate::support::{V1, V2, V3, World, config, good, me, percent};

/// A process that is being started holds the locks of open files for a moment: starting one and opening journals take turns.
pub(crate) static TURNS: Mutex<()> = Mutex::new(());

pub(crate) fn on(journal: Arc<dyn Journal>) -> World {
    World::with_journal(config(), Some(journal))
}

/// A roll-out with everything in it: deployments, a canary that fails, a block, a pin. Says after each step that it was acknowledged.
pub(crate) fn script(world: &World, told: &mut dyn FnMut(&World)) {
    for version in [V1, V2, V3] {
        assert_eq!(world.register(), version);
        told(world);
    }
    let plan = CanaryPlan::fixed(percent(50.0)).unwrap();
    let steps: [&dyn Fn(); 8] = [
        &|| {
            world.deployment.deploy(V1, &me()).unwrap();
        },
        &|| {
            world.deployment.start_canary(V2, plan.clone(), &me()).unwrap();
        },
        &|| {
            world.deployment.promote(V2, &me().with_key("promote")).unwrap();
        },
        &|| {
            world.deployment.start_canary(V3, plan.clone(), &me()).unwrap();
        },
        &|| world.serve(V3, 2, OutcomeStatus::Failed),
        &|| {
            world.deployment.pin("alice", V1, &me()).unwrap();
        },
        &|| {
            world.deployment.block(V3, &me().because("leaks")).unwrap();
        },
        &|| {
            world.deployment.rollback(&me()).unwrap();
        },
    ];
    for step in steps {
        step();
        told(world);
    }
}

/// Everything of a status that a journal remembers.
fn remembered(status: &Status) -> String {
    let mut status = status.clone();
    for version in &mut status.versions {
        version.evidence = None;
    }
    status.canary = None;
    status.approvals.clear();
    format!("{status:?}")
}

#[test]
fn a_restart_finds_the_state_it_left() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let world = on(Arc::new(FileJournal::open(&path).unwrap()));
    script(&world, &mut |_| {});
    let (status, history) = (world.deployment.status(), world.deployment.history());
    let receipt = history.iter().find(|entry| entry.to_string().contains("promoted")).unwrap();
    let story = world.deployment.latest_post_mortem().unwrap().to_string();
    drop(world);

    let journal = Arc::new(FileJournal::open(&path).unwrap());
    let records: Vec<Record> = journal
        .read()
        .unwrap()
        .lines
        .iter()
        .map(|line| serde_json::from_str(&line.text).unwrap())
        .collect();
    assert_eq!(history_of(&records), history);
    let world = on(journal);
    assert_eq!(remembered(&world.deployment.status()), remembered(&status));
    assert_eq!(world.deployment.history(), history);
    assert_eq!(world.deployment.latest_post_mortem().unwrap().to_string(), story);
    assert_eq!(world.state(V3), VersionState::Blocked);
    assert!(matches!(world.deployment.deploy(V3, &me()), Err(Error::Blocked { .. })));
    // A key is remembered too: the repeat does nothing.
    let repeat = world.deployment.promote(V2, &me().with_key("promote"));
    assert!(repeat.is_err() || repeat.unwrap().generation == receipt.generation);

    assert!(matches!(world.deployment.restore(), Err(Error::NoSource { .. })));
    for version in [V1, V2, V3] {
        world.deployment.attach_source(version, good()).unwrap();
    }
    world.deployment.restore().unwrap();
    assert!(world.host.versions.lock().contains_key(&V1));
}

#[test]
fn a_second_opener_is_told_that_the_journal_is_busy() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let first = FileJournal::open(&path).unwrap();
    assert!(matches!(FileJournal::open(&path), Err(StoreError::Busy { .. })));
    drop(first);
    assert!(FileJournal::open(&path).is_ok());
}

#[test]
fn a_newer_or_foreign_file_is_refused_and_left_alone() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    std::fs::write(&path, "mlp-rollback journal 2\n").unwrap();
    assert!(matches!(FileJournal::open(&path), Err(StoreError::NewerSchema { found: 2, .. })));
    for foreign in [&b"a diary"[..], b"", &[0; 100], b"mlp-rollback journal"] {
        std::fs::write(&path, foreign).unwrap();
        assert!(matches!(FileJournal::open(&path), Err(StoreError::Corrupt { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), foreign);
    }
}

pub(crate) fn journal_of_the_script(folder: &Path) -> Vec<u8> {
    let path = folder.join("journal");
    let world = on(Arc::new(FileJournal::open(&path).unwrap()));
    script(&world, &mut |_| {});
    drop(world);
    std::fs::read(&path).unwrap()
}

fn line_ends(bytes: &[u8]) -> Vec<usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect()
}

#[test]
fn every_flipped_bit_of_a_finished_line_is_noticed_and_named() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let bytes = journal_of_the_script(folder.path());
    let last_line = line_ends(&bytes).iter().rev().nth(1).copied().unwrap();
    let path = folder.path().join("damaged");
    for at in (0..last_line).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        let opened = FileJournal::open(&path);
        let noticed =
            matches!(opened, Err(StoreError::Corrupt { .. } | StoreError::NewerSchema { .. }));
        assert!(noticed, "byte {at}: {opened:?}");
    }
}

#[test]
fn deleted_swapped_and_repeated_lines_are_noticed() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8(journal_of_the_script(folder.path())).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let path = folder.path().join("damaged");
    let mut tampered = [lines.clone(), lines.clone(), lines.clone()];
    tampered[0].remove(5);
    tampered[1].swap(5, 6);
    tampered[2].insert(5, lines[5]);
    for lines in tampered {
        std::fs::write(&path, lines.concat()).unwrap();
        assert!(matches!(FileJournal::open(&path), Err(StoreError::Corrupt { .. })));
    }
}

/// Opens a deployment on these bytes and checks that it is in one of the states of the script; tells which, the first of equal ones.
pub(crate) fn opens_in_a_state_of_the_script(path: &Path, states: &[String]) -> usize {
    let state = state_of(path);
    states.iter().position(|known| *known == state).unwrap_or_else(|| panic!("{state} is new"))
}

fn state_of(path: &Path) -> String {
    let world = on(Arc::new(FileJournal::open(path).unwrap()));
    let status = world.deployment.status();
    let active = status.versions.iter().filter(|v| v.state == VersionState::Active).count();
    assert_eq!(active, usize::from(status.active.is_some()));
    remembered_loosely(&status)
}

/// States, without generations: recovery adds changes of its own. What was warming is given up by a restart.
fn remembered_loosely(status: &Status) -> String {
    let states = status.versions.iter().map(|version| match version.state {
        VersionState::Warming => (VersionState::Archived, version.share, &version.blocked),
        state => (state, version.share, &version.blocked),
    });
    let frozen = &status.frozen;
    format!("{:?} {:?} {:?} {frozen:?}", status.active, states.collect::<Vec<_>>(), status.standby)
}

/// The states after each record of the script, found by replaying its lines one by one.
pub(crate) fn states_of_the_script(bytes: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prefix");
    let state = |end: &usize| {
        std::fs::write(&path, &bytes[..*end]).unwrap();
        remembered_loosely(&on(Arc::new(FileJournal::open(&path).unwrap())).deployment.status())
    };
    line_ends(bytes).iter().map(state).collect()
}

#[test]
fn after_a_power_cut_at_any_byte_the_state_is_the_old_one_or_the_new_one() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let bytes = journal_of_the_script(folder.path());
    let states = states_of_the_script(&bytes);
    let ends = line_ends(&bytes);
    let path = folder.path().join("cut");
    let mut torn = 0;
    for (line, pair) in ends.windows(2).enumerate() {
        for cut in (pair[0]..=pair[1]).step_by(37) {
            // The line that was not synced is cut short, or keeps its length with sectors that were never written.
            let sector = (cut / 512 * 512).max(pair[0]);
            let mut zeros = bytes[..sector].to_vec();
            zeros.resize(pair[1], 0);
            for image in [bytes[..cut].to_vec(), zeros] {
                std::fs::write(&path, image).unwrap();
                torn +=
                    usize::from(FileJournal::open(&path).unwrap().read().unwrap().torn_bytes > 0);
                let state = state_of(&path);
                assert!(
                    states[line..=line + 1].contains(&state),
                    "line {line} cut at {cut}: {state}"
                );
            }
        }
    }
    // The states are those that the journal tells; the last one is what the deployment that wrote it was in.
    let world = on(Arc::new(MemoryJournal::new()));
    script(&world, &mut |_| {});
    assert_eq!(states.last(), Some(&remembered_loosely(&world.deployment.status())));
    assert!(torn > 20, "{torn} images were torn");
}

#[test]
fn the_power_cut_model_catches_a_journal_that_does_not_sync_each_line() {
    let _turn = TURNS.lock();
    // The control: two lines were written without a sync between them, and the first one is lost. That must not open.
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = journal_of_the_script(folder.path());
    let ends = line_ends(&bytes);
    bytes[ends[5]..ends[6]].fill(0);
    let path = folder.path().join("control");
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(FileJournal::open(&path), Err(StoreError::Corrupt { .. })));
}

/// A journal whose storage fails for good after so many lines.
#[derive(Debug)]
struct Failing {
    inner: MemoryJournal,
    left: Mutex<usize>,
}

impl Journal for Failing {
    fn append(&self, line: &JournalLine) -> Result<(), StoreError> {
        let mut left = self.left.lock();
        *left = left.checked_sub(1).ok_or(StoreError::StorageFull)?;
        self.inner.append(line)
    }

    fn read(&self) -> Result<JournalContents, StoreError> {
        self.inner.read()
    }
}

#[test]
fn a_full_disk_refuses_changes_but_not_rollbacks() {
    let journal = Arc::new(Failing { inner: MemoryJournal::new(), left: Mutex::new(usize::MAX) });
    let world = on(Arc::clone(&journal) as _);
    for version in [V1, V2, V3] {
        assert_eq!(world.register(), version);
    }
    world.deployment.deploy(V1, &me()).unwrap();
    world.deployment.deploy(V2, &me()).unwrap();
    for left in [0, 1] {
        let folder_state = remembered_loosely(&world.deployment.status());
        *journal.left.lock() = left;
        assert!(matches!(world.deployment.pin("alice", V2, &me()), Err(Error::Journal { .. })));
        assert_eq!(remembered_loosely(&world.deployment.status()), folder_state);
    }
    (0..5).for_each(|_| world.report(&world.next(), OutcomeStatus::Failed));
    assert_eq!(world.deployment.active(), Some(V1), "a rollback does not wait for the disk");
    assert!(world.deployment.status().journal_failure.is_some());
}

/// A journal that takes everything but blocks.
#[derive(Debug)]
struct Picky(MemoryJournal);

impl Journal for Picky {
    fn append(&self, line: &JournalLine) -> Result<(), StoreError> {
        if line.text.contains(r#""block""#) {
            return Err(StoreError::invalid("journal line", "a block"));
        }
        self.0.append(line)
    }

    fn read(&self) -> Result<JournalContents, StoreError> {
        self.0.read()
    }
}

#[test]
fn a_protective_change_that_no_journal_takes_is_a_failure_of_the_journal() {
    for by_hand in [false, true] {
        let world = on(Arc::new(Picky(MemoryJournal::new())));
        for version in [V1, V2] {
            assert_eq!(world.register(), version);
            world.deployment.deploy(version, &me()).unwrap();
        }
        if by_hand {
            assert!(world.deployment.block(V2, &me()).is_err());
        } else {
            world.deployment.report_security(V2, "leaks").unwrap();
        }
        let failure = || world.deployment.status().journal_failure.unwrap_or_default();
        assert!(failure().contains("a block"), "{}", failure());
        assert!(world.deployment.pin("alice", V1, &me()).is_err(), "it comes before");
        assert!(failure().contains("a block"), "{}", failure());
        world.deployment.report_security(V1, "leaks").unwrap();
        world.deployment.tick();
        let paged = world.pager.0.lock();
        assert!(paged.iter().any(|page| page.dedupe_key.contains("/journal/")), "{paged:?}");
    }
}

#[test]
fn a_block_that_could_not_be_written_is_no_success_when_it_is_asked_for_again() {
    let journal = Arc::new(Failing { inner: MemoryJournal::new(), left: Mutex::new(usize::MAX) });
    let world = on(Arc::clone(&journal) as _);
    for version in [V1, V2] {
        assert_eq!(world.register(), version);
        world.deployment.deploy(version, &me()).unwrap();
    }
    *journal.left.lock() = 0;
    let ask = |world: &World| world.deployment.block(V2, &me().with_key("leak"));
    let roll_back = |world: &World| world.deployment.rollback_to(V2, &me().with_key("leak"));
    assert!(matches!(ask(&world), Err(Error::Journal { .. })));
    assert_eq!(world.state(V2), VersionState::Blocked, "it is blocked all the same");
    assert!(matches!(ask(&world), Err(Error::Journal { .. })), "a restart would not know");
    assert!(matches!(roll_back(&world), Err(Error::KeyReused { .. })));
    *journal.left.lock() = usize::MAX;
    let receipt = ask(&world).unwrap();
    assert_eq!(ask(&world).unwrap(), receipt, "once");
    drop(world);
    let world = on(journal);
    assert_eq!(world.state(V2), VersionState::Blocked);
    assert_eq!(ask(&world).unwrap(), receipt);
}

#[test]
fn drift_that_is_reported_without_end_fills_neither_the_journal_nor_the_approval() {
    let journal = Arc::new(MemoryJournal::new());
    let world = on(Arc::clone(&journal) as _);
    for version in [V1, V2] {
        assert_eq!(world.register(), version);
        world.deployment.deploy(version, &me()).unwrap();
    }
    let lines = || journal.read().unwrap().lines.len();
    let before = lines();
    for k in 0..10_000 {
        world.deployment.report_drift(V2, format!("{k} {}", "x".repeat(500))).unwrap();
    }
    assert_eq!(lines(), before + 2, "one alert, with its commit");
    let approvals = world.deployment.status().approvals;
    assert_eq!((approvals.len(), approvals[0].causes.len()), (1, 1));
    world.deployment.approve(V2, &me()).unwrap();
    assert_eq!(world.deployment.status().journal_failure, None);
    drop(world);
    assert_eq!(on(journal).deployment.active(), Some(V1));
}

#[test]
fn a_cool_down_lasts_over_a_restart_and_a_shadow_begins_none() {
    for (shadow, frozen) in [(false, true), (true, false)] {
        let journal = Arc::new(MemoryJournal::new());
        let world = on(Arc::clone(&journal) as _);
        for version in [V1, V2, V3] {
            assert_eq!(world.register(), version);
            if version != V3 || !shadow {
                world.deployment.deploy(version, &me()).unwrap();
            }
        }
        if shadow {
            world.deployment.start_shadow(V3, percent(100.0), &me()).unwrap();
        }
        for _ in 0..20 {
            let route = world.next();
            if route.version != V3 && !route.shadows().contains(&V3) {
                break;
            }
            let failed = Outcome::new(&route, OutcomeStatus::Failed, Duration::from_millis(1));
            world.deployment.observe(&if shadow { failed.of_shadow(V3, None) } else { failed });
        }
        let expected = (Some(V2), VersionState::RolledBack);
        assert_eq!((world.deployment.active(), world.state(V3)), expected);
        drop(world);
        let world = on(journal);
        for version in [V1, V2] {
            world.deployment.attach_source(version, good()).unwrap();
        }
        world.deployment.restore().unwrap();
        let routes: Vec<_> = (0..5).map(|_| world.next()).collect();
        routes.iter().for_each(|route| world.report(route, OutcomeStatus::Failed));
        assert_eq!(world.deployment.status().frozen.is_some(), frozen, "shadow: {shadow}");
        assert_eq!(world.deployment.active(), Some(if frozen { V2 } else { V1 }));
    }
}

#[test]
fn an_interrupted_rollback_is_finished_and_an_interrupted_promotion_is_voided() {
    for (left, finished) in [(1, true), (1, false)] {
        let journal =
            Arc::new(Failing { inner: MemoryJournal::new(), left: Mutex::new(usize::MAX) });
        let world = on(Arc::clone(&journal) as _);
        for version in [V1, V2] {
            assert_eq!(world.register(), version);
            world.deployment.deploy(version, &me()).unwrap();
        }
        assert_eq!(world.register(), V3);
        let plan = CanaryPlan::fixed(percent(50.0)).unwrap();
        world.deployment.start_canary(V3, plan, &me()).unwrap();
        *journal.left.lock() = left; // The intent is written, the commit is not.
        if finished {
            world.deployment.rollback(&me()).unwrap();
        } else {
            assert!(world.deployment.promote(V3, &me()).is_err());
            assert_eq!(world.deployment.active(), Some(V2), "what cannot be kept is not done");
        }
        drop(world);
        *journal.left.lock() = usize::MAX;
        let world = on(journal);
        let recovery = world.deployment.recovery().clone();
        assert_eq!((recovery.resumed.is_some(), recovery.voided.is_some()), (finished, !finished));
        assert_eq!(world.deployment.active(), Some(if finished { V1 } else { V2 }));
    }
}

#[test]
fn a_change_too_long_for_the_journal_is_refused_and_the_next_one_is_taken() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let world = on(Arc::new(FileJournal::open(&path).unwrap()));
    let long = VersionBundle::new("x".repeat(2 << 20));
    assert!(matches!(world.deployment.register(long, good(), &me()), Err(Error::Journal { .. })));
    assert_eq!(world.register(), V1);
    world.deployment.deploy(V1, &me()).unwrap();
    assert_eq!(world.deployment.status().journal_failure, None);
    drop(world);
    let world = on(Arc::new(FileJournal::open(&path).unwrap()));
    assert_eq!(world.deployment.active(), Some(V1));
}

#[test]
fn another_number_of_warm_predecessors_opens_the_same_journal() {
    for (then, now) in [(1, 3), (2, 3), (3, 1), (2, 1)] {
        let journal = Arc::new(MemoryJournal::new());
        let world =
            World::with_journal(config().with_keep_warm(then), Some(Arc::clone(&journal) as _));
        for version in [V1, V2, V3, VersionNumber(4)] {
            assert_eq!(world.register(), version);
            world.deployment.deploy(version, &me()).unwrap();
            world.deployment.tick();
        }
        world.deployment.rollback(&me()).unwrap();
        drop(world);
        let world = World::with_journal(config().with_keep_warm(now), Some(journal as _));
        assert_eq!(world.deployment.active(), Some(V3), "{then} then, {now} now");
        let register = world.register();
        world.deployment.deploy(register, &me()).unwrap();
        assert!(world.deployment.status().standby.len() <= now);
    }
}

#[test]
fn what_waits_for_approval_waits_after_a_restart_until_somebody_dismisses_it() {
    let journal = Arc::new(MemoryJournal::new());
    let triggers = [Trigger::new(
        "errors",
        Condition::ErrorRateAbove { rate: 0.01, alpha: 0.01 },
        Response::AlertAndWait,
    )];
    let open = || {
        let config = config().with_triggers(triggers.clone());
        World::with_journal(config, Some(Arc::clone(&journal) as _))
    };
    let world = open();
    for version in [V1, V2] {
        assert_eq!(world.register(), version);
    }
    world.deployment.deploy(V1, &me()).unwrap();
    let plan = CanaryPlan::fixed(percent(100.0)).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    world.serve(V2, 5, OutcomeStatus::Failed);
    let waits = |world: &World| -> Vec<VersionNumber> {
        world.deployment.status().approvals.iter().map(|approval| approval.version).collect()
    };
    assert_eq!(waits(&world), [V2]);
    drop(world);
    let world = open();
    assert_eq!(waits(&world), [V2]);
    world.deployment.dismiss(V2, &me().because("a known fault")).unwrap();
    assert!(waits(&world).is_empty());
    drop(world);
    let world = open();
    assert!(waits(&world).is_empty());
    assert!(world.deployment.dismiss(V2, &me()).is_err());
}

#[test]
fn a_flipped_bit_of_the_last_line_is_damage_and_not_a_line_that_never_ended() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let bytes = journal_of_the_script(folder.path());
    let ends = line_ends(&bytes);
    let last = ends[ends.len() - 2];
    let path = folder.path().join("flipped");
    for at in last..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, &damaged).unwrap();
            let opened = FileJournal::open(&path);
            assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn two_that_begin_a_journal_at_once_share_one_and_only_one_has_it() {
    for _ in 0..50 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let barrier = std::sync::Barrier::new(4);
        let opened: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let journal = FileJournal::open(&path);
                        barrier.wait();
                        journal.is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(opened.iter().filter(|opened| **opened).count(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft is left");
    }
}

/// Slow requests of a canary wait for approval, and versions 1 and 2 have served.
fn with_evidence(journal: &Arc<Failing>) -> World {
    let world = on(Arc::clone(journal) as _);
    for version in [V1, V2, V3] {
        assert_eq!(world.register(), version);
    }
    world.deployment.deploy(V1, &me()).unwrap();
    world.deployment.deploy(V2, &me()).unwrap();
    world.serve(V2, 200, OutcomeStatus::Answered);
    world.deployment.start_canary(V3, CanaryPlan::fixed(percent(50.0)).unwrap(), &me()).unwrap();
    let route = std::iter::repeat_with(|| world.next()).find(|route| route.version == V3).unwrap();
    let slow = Outcome::new(&route, OutcomeStatus::Answered, Duration::from_millis(9));
    (0..20).for_each(|_| world.deployment.observe(&slow));
    assert_eq!(world.deployment.status().approvals.len(), 1);
    world
}

#[test]
fn a_change_whose_commit_fails_leaves_evidence_and_approvals_as_they_were() {
    type Asked = fn(&World) -> Result<mlp_rollback::Receipt, Error>;
    let asked: [Asked; 3] = [
        |world| world.deployment.promote(V3, &me()),
        |world| world.deployment.dismiss(V3, &me()),
        |world| world.deployment.advance(V3, &me()),
    ];
    for ask in asked {
        let journal =
            Arc::new(Failing { inner: MemoryJournal::new(), left: Mutex::new(usize::MAX) });
        let world = with_evidence(&journal);
        let status = || {
            let mut status = world.deployment.status();
            status.journal_failure = None;
            status
        };
        let before = status();
        *journal.left.lock() = 1; // The intent is written, the commit is not.
        assert!(matches!(ask(&world), Err(Error::Journal { .. })));
        assert_eq!(status(), before);
        // The trigger of slow requests still knows what slow is.
        *journal.left.lock() = usize::MAX;
        let post_mortem = world.deployment.approve(V3, &me()).unwrap().generation;
        let causes = world.deployment.post_mortem(post_mortem).unwrap().incident.causes;
        assert_eq!(causes[0].trigger, "latency");
    }
}

/// What the journal remembers, opened anew with the source of version 2 alone.
fn restored_without_version_1(journal: &Arc<MemoryJournal>) -> World {
    let world = on(Arc::clone(journal) as _);
    world.deployment.attach_source(V2, good()).unwrap();
    world.deployment.restore().unwrap();
    world
}

#[test]
fn a_predecessor_that_cannot_be_restored_is_archived_and_built_when_it_is_wanted() {
    let journal = Arc::new(MemoryJournal::new());
    let world = on(Arc::clone(&journal) as _);
    for version in [V1, V2] {
        assert_eq!(world.register(), version);
        world.deployment.deploy(version, &me()).unwrap();
    }
    world.deployment.pin("alice", V1, &me()).unwrap();
    drop(world);
    let world = restored_without_version_1(&journal);
    assert_eq!(world.state(V1), VersionState::Archived);
    let request = mlp_core::RequestKey::new(1);
    assert_eq!(world.deployment.route(&request.with_unit("alice")).version, V2);
    assert_eq!(world.deployment.route(&request.with_pin(V1)).version, V2);
    world.deployment.attach_source(V1, good()).unwrap();
    world.deployment.rollback_to(V1, &me()).unwrap();
    assert_eq!(world.next().version, V1);
    assert!(world.host.versions.lock().contains_key(&V1));
}

#[test]
fn a_retreat_to_what_cannot_be_restored_ends() {
    let journal = Arc::new(MemoryJournal::new());
    let world = on(Arc::clone(&journal) as _);
    for version in [V1, V2] {
        assert_eq!(world.register(), version);
        world.deployment.deploy(version, &me()).unwrap();
    }
    drop(world);
    // What a deployment with a source of labels wrote.
    let lines = journal.read().unwrap().lines;
    let last: Record = serde_json::from_str(&lines[lines.len() - 2].text).unwrap();
    let Record::Intent(mut intent) = last else { panic!("{last:?}") };
    intent.generation += 1;
    intent.active_before = Some(V2);
    intent.action = mlp_rollback::Action::Retreat { from: V2, to: V1, keeps: percent(50.0) };
    let generation = intent.generation;
    let mut head = lines.last().unwrap().hash;
    for record in [Record::Intent(intent), Record::Commit { generation }] {
        let sequence = journal.read().unwrap().lines.len() as u64;
        let text = serde_json::to_string(&record).unwrap();
        head = mlp_rollback::link(&head, sequence, &text);
        journal.append(&JournalLine { sequence, hash: head, text }).unwrap();
    }
    let world = on(Arc::clone(&journal) as _);
    assert!(world.share(V1) > 0.4, "the retreat goes on");
    drop(world);
    let world = restored_without_version_1(&journal);
    assert_eq!(world.share(V2), 1.0);
}

#[test]
fn a_configuration_that_could_not_be_read_back_is_refused() {
    let nested = |depth: usize| {
        let mut value = mlp_core::ParamValue::from(1);
        for _ in 0..depth {
            value = mlp_core::ParamValue::List(vec![value]);
        }
        let mut configuration = mlp_core::Params::new();
        configuration.insert("nested", value);
        VersionBundle::new("model").with_configuration(configuration)
    };
    let journal = Arc::new(MemoryJournal::new());
    let world = on(Arc::clone(&journal) as _);
    for depth in [20, 125, 500] {
        let registered = world.deployment.register(nested(depth), good(), &me());
        assert_eq!(registered.is_ok(), depth == 20, "{depth}: {registered:?}");
    }
    world.register();
    assert_eq!(world.deployment.status().journal_failure, None, "the journal is as good as before");
    drop(world);
    assert_eq!(on(journal).deployment.status().versions.len(), 2);
}
