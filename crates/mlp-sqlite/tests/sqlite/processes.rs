//! Several processes on one file.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mlp_eval::{EvalStore, Filter, NewEvaluation, Stage};
use mlp_sqlite::{Database, Options};

use crate::script::{
    Killed, PLACE, TURNS, at, check_with_records, child, evaluate, id, open, place, read_in_turn,
    step,
};

const PROCESSES: u64 = 4;
const EACH: u64 = 150;

#[test]
#[ignore = "run beside others, in a process of its own"]
fn child_beside_others() {
    let Some(place) = place() else { return };
    let (path, number) = place.to_str().unwrap().rsplit_once('#').unwrap();
    let database = open(path.as_ref()).unwrap();
    let first = number.parse::<u64>().unwrap() * 1_000;
    for k in first..first + EACH {
        step(&database, k).unwrap();
        // A reader of its own now and then: it waits for nobody.
        if k % 10 == 0 {
            assert!(database.count(&Filter::everything()).unwrap() > 0);
        }
    }
}

#[test]
fn four_processes_write_to_one_file_without_an_error() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let children: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let command = Command::new(std::env::current_exe().unwrap());
            let mut command = child(command, "processes::child_beside_others", &path);
            command.env(PLACE, format!("{}#{number}", path.display()));
            command.spawn().unwrap()
        })
        .collect();
    for process in children {
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    let all: Vec<u64> =
        (0..PROCESSES).flat_map(|number| number * 1_000..number * 1_000 + EACH).collect();
    assert_eq!(check_with_records(&path, &all), PROCESSES * EACH);
}

#[test]
fn a_reader_is_not_held_up_by_a_write_of_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    // A reader that waited for the lock would do so for a minute, and fail.
    let options = Options::new().with_busy_timeout(Duration::from_secs(60));
    let database = Database::open_with(&path, &options).unwrap();
    step(&database, 1).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    assert_eq!(database.count(&Filter::everything()).unwrap(), 1);
    assert!(began.elapsed() < Duration::from_secs(30));
    let waiting = database.clone();
    let writer = std::thread::spawn(move || step(&waiting, 2));
    std::thread::sleep(Duration::from_millis(50));
    other.execute_batch("ROLLBACK").unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(database.count(&Filter::everything()).unwrap(), 2);
}

#[test]
fn readers_that_never_pause_do_not_let_the_log_grow_without_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let database = Database::open(&path).unwrap();
    let is_over = AtomicBool::new(false);
    let reading = |number| read_in_turn(&path, number, || is_over.load(Ordering::Relaxed));
    let mut longest = 0;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|number| scope.spawn(move || reading(number))).collect();
        for k in 0..800 {
            database.create(&large(k, 256 << 10)).unwrap();
            longest = longest.max(mebibytes_of_log(&path));
        }
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    eprintln!("200 MiB were written, the log had at most {longest} MiB");
    // Never begun anew it would have all of them and more.
    assert!((20..170).contains(&longest), "the log had {longest} MiB");
}

fn large(k: u64, bytes: usize) -> NewEvaluation {
    NewEvaluation::new("long", Stage::Test, at(k))
        .with_id(id(k))
        .with_tag("large", "x".repeat(bytes))
}

fn mebibytes_of_log(path: &Path) -> u64 {
    std::fs::metadata(format!("{}-wal", path.display())).unwrap().len() >> 20
}

#[test]
fn writers_that_never_pause_do_not_let_the_log_grow_without_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let database = Database::open(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let database = &database;
            scope.spawn(move || {
                (0..1_250).for_each(|k| {
                    database.create(&large(thread * 10_000 + k, 16 << 10)).unwrap();
                });
            });
        }
    });
    // It does not become shorter before the file is closed.
    let log = mebibytes_of_log(&path);
    eprintln!("160 MiB were written, the log had at most {log} MiB");
    assert!((30..170).contains(&log), "the log had {log} MiB");
    assert_eq!(database.checkpoint_error(), None);
}

#[test]
#[ignore = "run beside another, in a process of its own, which ends it"]
fn child_that_never_rests() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let until = Instant::now() + Duration::from_secs(300);
    std::thread::scope(|scope| {
        for thread in 1..=8 {
            let database = &database;
            scope.spawn(move || {
                for k in 0.. {
                    evaluate(database, thread * 1_000_000 + k).unwrap();
                    if Instant::now() > until {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn a_process_that_never_rests_does_not_keep_another_from_writing() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let database = open(&path).unwrap();
    let command = Command::new(std::env::current_exe().unwrap());
    let mut busy = Killed::spawn(child(command, "processes::child_that_never_rests", &path));
    let count = || database.count(&Filter::everything()).unwrap();
    while count() < 100 {
        assert!(!busy.has_ended(), "the other process fell over");
        std::thread::sleep(Duration::from_millis(5));
    }
    // What a write waits for is told in writes of the other process, so that it says the same on a busy machine.
    let mut waits: Vec<u64> = (0..100)
        .map(|k| {
            let before = count();
            evaluate(&database, k).unwrap();
            count() - before - 1
        })
        .collect();
    busy.kill();
    waits.sort_unstable();
    let (beside, most, longest) = (waits.iter().sum::<u64>(), waits[89], waits[99]);
    eprintln!(
        "beside {beside} evaluations of another process, 90 of 100 writes waited for at most {most}, each for at most {longest}"
    );
    assert!(beside >= 30, "the other process rested");
    // Its eight threads write one group, of 8, while this one waits for the turn, and perhaps another before and after. This one may itself
    // be kept from a processor between a write and its counts, but hardly every time. Without turns they were 85 to 1,659 where this process was the one that starved.
    assert!(most <= 40, "writes waited for {most} of another process");
}

/// How many threads each of two processes has that contend for one file, and what each writes.
const THREADS: u64 = 25;
const WRITES: u64 = 20;

#[test]
#[ignore = "run beside another, in a process of its own"]
fn child_with_many_threads() {
    let Some(place) = place() else { return };
    let (path, number) = place.to_str().unwrap().rsplit_once('#').unwrap();
    let first = number.parse::<u64>().unwrap() * 10_000;
    let database = open(path.as_ref()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let database = &database;
            scope.spawn(move || {
                for k in 0..WRITES {
                    // Small ones, of which many are written in the time of a group on a slow machine too.
                    let k = first + thread * 100 + k;
                    let run = NewEvaluation::new("e", Stage::Test, at(k)).with_id(id(k));
                    database.create(&run).unwrap();
                }
            });
        }
    });
}

/// How many commits are in a write-ahead log: of each frame, the second word of its head is not zero if it ends a transaction.
fn commits(log: &[u8]) -> usize {
    let word = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frame = 24 + word(8) as usize;
    (32..log.len()).step_by(frame).filter(|at| log.len() > at + 24 && word(at + 4) > 0).count()
}

#[test]
fn processes_that_contend_commit_what_waits_in_each_as_groups() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    drop(Database::open(&path).unwrap());
    // A reader keeps the log from being begun anew, so that every commit is in it.
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM evaluation").unwrap();
    let children: Vec<_> = (0..2)
        .map(|number| {
            let command = Command::new(std::env::current_exe().unwrap());
            let mut command = child(command, "processes::child_with_many_threads", &path);
            command.env(PLACE, format!("{}#{number}", path.display()));
            command.spawn().unwrap()
        })
        .collect();
    for process in children {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let commits = commits(&std::fs::read(format!("{}-wal", path.display())).unwrap());
    let writes = (2 * THREADS * WRITES) as usize;
    eprintln!("{writes} writes of two processes took {commits} commits");
    // By themselves they would take one each.
    assert!(commits > 2 && commits * 3 <= writes * 2, "{writes} writes took {commits} commits");
    drop(reader);
    assert_eq!(Database::open(&path).unwrap().count(&Filter::everything()).unwrap(), writes as u64);
}
