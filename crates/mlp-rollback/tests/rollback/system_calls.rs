//! The journal's file under system calls that kill the process or fail, one after the other, by `strace`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use mlp_core::{OutcomeStatus, StoreError};
use mlp_rollback::{Error, FileJournal, GENESIS, Journal, JournalLine, link};

use crate::journal::{
    TURNS, journal_of_the_script, on, opens_in_a_state_of_the_script, script, states_of_the_script,
};
use crate::support::{V1, V2, V3, me};

const CHILD: &str = "MLP_ROLLBACK_CHILD";
/// Set where the disk is only full, and only once.
const RECOVERS: &str = "MLP_ROLLBACK_RECOVERS";

/// Runs the script in a process of its own, if the parent says where.
#[test]
#[ignore = "run by the kill sweep, in a process of its own"]
fn child_that_is_killed() {
    if let Ok(path) = std::env::var(CHILD) {
        let journal = FileJournal::open(&path).unwrap();
        let mut told = std::fs::File::create(Path::new(&path).with_extension("told")).unwrap();
        // How many lines there are whenever a change was acknowledged.
        script(&on(Arc::new(journal)), &mut |world| {
            let lines = 2 * world.deployment.generation();
            told.write_all(format!("{lines}\n").as_bytes()).unwrap();
        });
    }
}

/// Deploys twice, fails, and must roll back whatever the disk does.
#[test]
#[ignore = "run by the error sweep, in a process of its own"]
fn child_whose_disk_fails() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let Ok(journal) = FileJournal::open(&path) else {
        println!("refused to open");
        return;
    };
    let world = on(Arc::new(journal));
    let deployment = &world.deployment;
    let mut failed = false;
    let recovers = std::env::var(RECOVERS).is_ok();
    let mut tried = |result: Result<(), Error>| {
        // From the first error of a disk that fails nothing is acknowledged any more; one that is full may have room again.
        match result {
            Ok(()) => assert!(!failed || recovers, "acknowledged on a failed journal"),
            Err(Error::Journal { .. }) => failed = true,
            Err(error) => assert!(failed, "{error} without a fault of the journal"),
        }
    };
    for version in [V1, V2, V3] {
        let bundle = mlp_rollback::VersionBundle::new("model");
        tried(deployment.register(bundle, crate::support::good(), &me()).map(|_| ()));
        tried(deployment.deploy(version, &me()).map(|_| ()));
    }
    tried(deployment.pin("alice", V3, &me()).map(|_| ()));
    if deployment.active() == Some(V3) {
        (0..5).for_each(|_| world.report(&world.next(), OutcomeStatus::Failed));
        assert_ne!(deployment.active(), Some(V3), "a rollback does not wait for the disk");
    }
    if failed || deployment.status().journal_failure.is_some() {
        println!("the journal failed");
    }
    if recovers {
        deployment.freeze(&me()).unwrap();
        assert_eq!(deployment.status().journal_failure, None, "it did not recover");
        // What was done while nothing could be written is written by now.
        let active = deployment.active();
        drop(world);
        let world = on(Arc::new(FileJournal::open(&path).unwrap()));
        assert_eq!(world.deployment.active(), active);
    }
}

/// Appends until the disk is full, tries again while it still is, and again when it has room.
#[test]
#[ignore = "run by the test of a disk that stays full, in a process of its own"]
fn child_whose_disk_stays_full() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let journal = FileJournal::open(&path).unwrap();
    let mut head = GENESIS;
    let mut append = |sequence: u64| {
        let text = "{}".to_owned();
        let hash = link(&head, sequence, &text);
        journal.append(&JournalLine { sequence, hash, text }).inspect(|()| head = hash)
    };
    append(0).unwrap();
    for _ in 0..3 {
        assert!(matches!(append(1), Err(StoreError::StorageFull)));
        assert_eq!(journal.read().unwrap().lines.len(), 1, "what was refused is no line");
        let other = FileJournal::open(&path);
        assert!(matches!(other, Err(StoreError::Busy { .. })), "the lock was lost: {other:?}");
    }
    append(1).unwrap();
    append(2).unwrap();
    drop(journal);
    assert_eq!(FileJournal::open(&path).unwrap().read().unwrap().lines.len(), 3);
    println!("it went on");
}

#[test]
fn a_journal_on_a_disk_that_stays_full_keeps_its_lock_and_goes_on_when_there_is_room() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The second line finds the disk full, and so does whatever would cut it off, twice.
    for call in ["write", "fdatasync"] {
        let path = folder.path().join(call);
        let faults = format!("{call}:error=ENOSPC:when=2 ftruncate:error=ENOSPC:when=1..2");
        let (ended, printed) = traced(&path, "child_whose_disk_stays_full", &faults);
        assert!(ended && printed.contains("it went on"), "{call}: {printed}");
    }
}

/// Runs a child while some calls on the journal's file go wrong, the `number`-th of a kind for example; gives whether it ended well, and
/// what it printed.
fn traced(path: &Path, child: &str, inject: &str) -> (bool, String) {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-P"])
        .arg(path)
        .args(inject.split(' ').flat_map(|fault| ["-e".to_owned(), format!("inject={fault}")]))
        .arg(std::env::current_exe().unwrap())
        .args(["--include-ignored", "--nocapture", "--exact"])
        .arg(format!("system_calls::{child}"))
        .env(CHILD, path)
        .envs(inject.contains("ENOSPC").then_some((RECOVERS, "1")))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

pub(crate) fn can_trace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        assert!(std::env::var("CI").is_err(), "strace is not there or may not trace");
        eprintln!("skipped: strace is not there or may not trace");
    }
    works
}

#[test]
fn after_a_kill_at_any_write_or_sync_the_state_is_the_old_one_or_the_new_one() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bytes = journal_of_the_script(folder.path());
    let states = states_of_the_script(&bytes);
    let mut furthest = 0;
    let (mut kills, mut acknowledged) = (0, 0);
    for call in ["write", "fdatasync"] {
        for number in 1.. {
            let path = folder.path().join(format!("{call}-{number}"));
            let inject = format!("{call}:signal=KILL:when={number}");
            let (ended, _) = traced(&path, "child_that_is_killed", &inject);
            let state = opens_in_a_state_of_the_script(&path, &states);
            let told = std::fs::read_to_string(path.with_extension("told")).unwrap_or_default();
            let told: usize = told.lines().last().map_or(0, |line| line.parse().unwrap());
            // Equal states are told by the first of them.
            let first = |lines: usize| states.iter().position(|known| *known == states[lines]);
            assert!(
                first(state) >= first(told.min(states.len() - 1)),
                "killed at {call} {number}: {told} lines were acknowledged, the state is that of {state}"
            );
            acknowledged += usize::from(told > 0 && !ended);
            furthest = furthest.max(state);
            if ended {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 2 * (states.len() - 1), "{kills} kills");
    assert!(
        acknowledged >= kills / 2,
        "{acknowledged} of {kills} kills came after an acknowledgement"
    );
    assert_eq!(states[furthest], states[states.len() - 1], "the last run went to its end");
}

#[test]
fn after_an_error_of_any_write_or_sync_nothing_is_acknowledged_and_rollbacks_still_happen() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut failures = 0;
    for (call, error) in
        [("write", "EIO"), ("write", "ENOSPC"), ("fdatasync", "EIO"), ("fdatasync", "ENOSPC")]
    {
        for number in 1.. {
            let path = folder.path().join(format!("{call}-{error}-{number}"));
            let inject = format!("{call}:error={error}:when={number}");
            let (ended, printed) = traced(&path, "child_whose_disk_fails", &inject);
            assert!(ended, "{inject}: {printed}");
            // What was written before is there, and the file takes further changes.
            if path.exists() {
                let world = on(Arc::new(FileJournal::open(&path).unwrap()));
                world.register();
            }
            if !printed.contains("the journal failed") && !printed.contains("refused to open") {
                break;
            }
            failures += 1;
        }
    }
    assert!(failures >= 40, "{failures} errors were injected");
}
