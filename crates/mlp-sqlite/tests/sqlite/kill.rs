//! `kill -9` at every write and sync of a script, and at random under load.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mlp_core::StoreError;
use mlp_eval::{EvalStore, Filter, NewEvaluation, Stage};

use crate::script::{
    Killed, TURNS, acknowledge, acknowledged, acknowledgement_file, at, can_trace, check,
    check_with_records, child, id, inject, open, place, step, worked,
};

/// How many steps the script of the sweep has.
const STEPS: u64 = 20;

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
#[ignore = "run by the kill sweep, in a process of its own"]
fn child_that_opens_and_closes() {
    let Some(path) = place() else { return };
    drop(open(&path).unwrap());
}

/// How often each thread was killed in which calls.
type Kills = BTreeMap<(&'static str, &'static str), usize>;

const WRITES: &str = "pwrite64";
const SYNCS: &str = "fdatasync,fsync";
const CUTS: &str = "ftruncate,unlink";

/// Runs a child, each time with the files that `prepare` makes, and kills it at its first, second, third … call of each kind until it
/// lives; `check` sees what each death left. Calls count in each thread by itself, so whoever makes more of them meets the later kills.
fn sweep(name: &str, prepare: impl Fn(&Path), check: impl Fn(&Path, bool)) -> Kills {
    let folder = tempfile::tempdir().unwrap();
    let mut kills = Kills::new();
    for calls in [WRITES, SYNCS, CUTS] {
        for number in 1.. {
            let path = folder.path().join(format!("{}-{number}.db", &calls[..5]));
            prepare(&path);
            let what = format!("signal=KILL:when={number}");
            let run = inject(name, &path, calls, &what);
            let lived = run.output.status.success();
            check(&path, lived);
            if lived {
                break;
            }
            let text = String::from_utf8_lossy(&run.output.stderr);
            let signal = run.output.status.signal();
            assert_eq!(signal, Some(9), "{calls} {what}: it died of something else: {text}");
            let last = run.threads.last().expect("a call that was killed");
            *kills.entry((last, calls)).or_default() += 1;
        }
    }
    eprintln!("{name}: {kills:?}");
    kills
}

/// What the kill sweeps of a script check: everything acknowledged is there, and nothing by half.
fn check_script(before: u64) -> impl Fn(&Path, bool) {
    move |path, lived| {
        let done = acknowledged(path);
        let found = if path.exists() { check_with_records(path, &done) } else { 0 };
        assert!(found <= before + done.len() as u64 + 1, "more than was begun: {found}");
        assert!(!lived || done.len() as u64 == STEPS);
    }
}

#[test]
fn after_a_kill_while_a_file_comes_to_be_it_opens_and_goes_on() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let kills = sweep(
        "kill::child_that_opens_and_closes",
        |_| (),
        |path, _| {
            step(&open(path).unwrap(), 0).unwrap();
            check_with_records(path, &[0]);
        },
    );
    assert!(kills[&("opener", WRITES)] >= 3 && kills[&("opener", SYNCS)] >= 2, "{kills:?}");
}

#[test]
fn after_a_kill_at_any_write_or_sync_everything_acknowledged_is_there_and_nothing_by_half() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    // The file is there, so that the first call of all is the writer's.
    let prepare = |path: &Path| step(&open(path).unwrap(), STEPS).unwrap();
    let kills = sweep("kill::child_of_the_sweep", prepare, check_script(1));
    assert!(kills[&("writer", WRITES)] >= 40 && kills[&("writer", SYNCS)] >= 40, "{kills:?}");
    assert!(!kills.contains_key(&("opener", WRITES)), "{kills:?}");
}

#[test]
fn after_a_kill_at_any_write_or_sync_of_the_copying_of_the_log_nothing_is_lost() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    // A log as a killed process leaves it, so that the only thread with something to write is the one that copies it.
    let folder = tempfile::tempdir().unwrap();
    let (open_file, left) = (folder.path().join("open.db"), folder.path().join("left.db"));
    let database = open(&open_file).unwrap();
    (0..STEPS).for_each(|k| step(&database, k).unwrap());
    copy(&open_file, &left);
    drop(database);
    let kills = sweep(
        "kill::child_that_opens_and_closes",
        |path| copy(&left, path),
        |path, _| {
            assert_eq!(check_with_records(path, &(0..STEPS).collect::<Vec<_>>()), STEPS);
        },
    );
    let of_copying = |calls| kills.get(&("checkpointer", calls)).copied().unwrap_or(0);
    assert!(of_copying(WRITES) >= 25 && of_copying(SYNCS) >= 2, "{kills:?}");
    assert!(of_copying(CUTS) >= 1, "{kills:?}");
}

/// Copies a file with its log.
fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let with = |path: &Path| format!("{}{suffix}", path.display());
        if Path::new(&with(from)).exists() {
            std::fs::copy(with(from), with(to)).unwrap();
        }
    }
}

#[test]
fn after_a_kill_while_an_old_file_is_migrated_it_is_migrated_the_next_time() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    for version in [1, 2, 3, 4, 5] {
        let fixture = format!("{}/tests/fixtures/schema_{version}.db", env!("CARGO_MANIFEST_DIR"));
        let prepare = |path: &Path| copy(fixture.as_ref(), path);
        let kills = sweep("kill::child_that_opens_and_closes", prepare, |path, _| {
            assert_eq!(check(path, &[0, 1]), 2, "schema {version}");
        });
        let of_opening = kills.get(&("opener", WRITES)).copied().unwrap_or(0);
        assert!(of_opening >= 2, "schema {version}: {kills:?}");
    }
}

#[test]
fn a_file_with_a_long_log_opens_within_a_second_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let database = open(&path).unwrap();
    // A reader keeps the log from being begun anew.
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM evaluation").unwrap();
    for k in 0..50 {
        let run = NewEvaluation::new("long", Stage::Test, at(k))
            .with_id(id(k))
            .with_tag("large", "x".repeat(1 << 20));
        database.create(&run).unwrap();
    }
    let log = std::fs::metadata(format!("{}-wal", path.display())).unwrap().len();
    assert!(log > 50 << 20, "the log has {log} bytes");
    // A second of this thread's work, whatever else the machine does: all of the opening is in it. The fastest of some counts.
    let mut fastest = Duration::MAX;
    for number in 0..5 {
        let left = folder.path().join(format!("{number}.db"));
        copy(&path, &left);
        let since = Instant::now();
        let began = worked(since);
        let opened = open(&left).unwrap();
        assert_eq!(opened.count(&Filter::everything()).unwrap(), 50);
        fastest = fastest.min(worked(since) - began);
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    // It is copied even if nobody ever writes to it.
    let last = folder.path().join("last.db");
    copy(&path, &last);
    let opened = open(&last).unwrap();
    let looking = rusqlite::Connection::open(opened.path()).unwrap();
    let left = || -> (i64, i64) {
        let sql = "PRAGMA wal_checkpoint(NOOP)";
        looking.query_row(sql, [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
    };
    let until = Instant::now() + Duration::from_secs(20);
    while left().0 != left().1 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(left().0 > 20_000 && left().0 == left().1, "pages, and of them copied: {:?}", left());
    eprintln!("a log of {} MiB was read in {fastest:?}", log >> 20);
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
        let before = acknowledged(&path).len();
        let mut process = Killed::spawn(child(command, "kill::child_under_load", &path));
        // On a busy machine a process takes long to begin; the load is what matters. Some die before it, while they open the file.
        while round % 5 > 0 && acknowledged(&path).len() < before + 2 {
            assert!(!process.has_ended(), "it ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round * 37 % 40));
        process.kill();
        if round % 10 == 9 || round + 1 == rounds {
            let done = acknowledged(&path);
            check_with_records(&path, &done);
            written += done.len();
        }
    }
    assert!(written as u64 > rounds, "{written} writes in {rounds} rounds");
    eprintln!("{rounds} kills, {written} acknowledged writes, none lost");
}
