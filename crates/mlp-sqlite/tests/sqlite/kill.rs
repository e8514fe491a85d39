//! `kill -9` at every write and sync of a script, and at random under load.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::StoreError;

use crate::script::{
    TURNS, acknowledge, acknowledged, acknowledgements, can_trace, check_with_records, child, open,
    place, step, traced,
};

/// How many steps the script of the sweep has.
const STEPS: u64 = 4;

fn acknowledgement_file(path: &std::path::Path) -> std::fs::File {
    OpenOptions::new().create(true).append(true).open(acknowledgements(path)).unwrap()
}

#[test]
#[ignore = "run by the kill sweep, in a process of its own"]
fn child_of_the_sweep() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let file = acknowledgement_file(&path);
    for k in 0..STEPS {
        step(&database, k).unwrap();
        acknowledge(&file, k);
    }
}

#[test]
fn after_a_kill_at_any_write_or_sync_everything_acknowledged_is_there_and_nothing_by_half() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for call in ["pwrite64", "fdatasync,fsync", "ftruncate,unlink"] {
        for number in 1.. {
            let path = folder.path().join(format!("{}-{number}.db", &call[..5]));
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let arguments = ["-o", "/dev/null", "-e", &inject];
            let status =
                traced("kill::child_of_the_sweep", &path, &arguments).output().unwrap().status;
            let done = acknowledged(&path);
            let found = if path.exists() { check_with_records(&path, &done) } else { 0 };
            assert!(found <= done.len() as u64 + 1, "more than was begun: {found}");
            if status.success() {
                assert_eq!(done.len() as u64, STEPS);
                break;
            }
            assert_eq!(status.signal(), Some(9), "{inject}: it died of something else");
            kills += 1;
        }
    }
    assert!(kills >= 50, "{kills} kills");
    eprintln!("{kills} kills");
}

#[test]
#[ignore = "run by the random kills, in a process of its own"]
fn child_under_load() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let file = acknowledgement_file(&path);
    let next = AtomicU64::new(acknowledged(&path).iter().max().map_or(0, |last| last + 1_000));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let k = next.fetch_add(1, Ordering::Relaxed);
                    match step(&database, k) {
                        Ok(()) => acknowledge(&file, k),
                        // A process before this one wrote it, and died before it could say so.
                        Err(StoreError::Conflict { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
    });
}

#[test]
fn after_kills_at_random_under_load_nothing_acknowledged_is_lost() {
    let _turn = TURNS.lock();
    let rounds: u64 = std::env::var("MLP_SQLITE_KILLS").map_or(100, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut written = 0;
    for round in 0..rounds {
        // A file sees ten deaths before it is checked and another one begins.
        let path = folder.path().join(format!("{}.db", round / 10));
        let command = Command::new(std::env::current_exe().unwrap());
        let mut process = child(command, "kill::child_under_load", &path).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(15 + round * 37 % 60));
        process.kill().unwrap();
        assert_eq!(process.wait().unwrap().signal(), Some(9), "it ended by itself");
        if round % 10 == 9 || round + 1 == rounds {
            let done = acknowledged(&path);
            check_with_records(&path, &done);
            written += done.len();
        }
    }
    assert!(written as u64 > rounds, "{written} writes in {rounds} rounds");
    eprintln!("{rounds} kills, {written} acknowledged writes, none lost");
}
