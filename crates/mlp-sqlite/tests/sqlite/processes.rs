//! Several processes on one file.

use std::process::Command;
use std::time::{Duration, Instant};

use mlp_eval::{EvalStore, Filter};
use mlp_sqlite::Database;

use crate::script::{PLACE, TURNS, check_with_records, child, evaluate, open, place, step};

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
    let database = Database::open(&path).unwrap();
    step(&database, 1).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(database.count(&Filter::everything()).unwrap(), 1);
    assert!(began.elapsed() < std::time::Duration::from_secs(1));
    let waiting = database.clone();
    let writer = std::thread::spawn(move || step(&waiting, 2));
    std::thread::sleep(std::time::Duration::from_millis(50));
    other.execute_batch("ROLLBACK").unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(database.count(&Filter::everything()).unwrap(), 2);
}

#[test]
#[ignore = "run beside another, in a process of its own, which ends it"]
fn child_that_never_rests() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
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
    let database = Database::open(&path).unwrap();
    let command = Command::new(std::env::current_exe().unwrap());
    let mut busy = child(command, "processes::child_that_never_rests", &path).spawn().unwrap();
    let count = || database.count(&Filter::everything()).unwrap();
    while count() < 100 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut longest = Duration::ZERO;
    for k in 0..100 {
        let began = Instant::now();
        evaluate(&database, k).unwrap();
        longest = longest.max(began.elapsed());
    }
    let written = count();
    busy.kill().unwrap();
    busy.wait().unwrap();
    eprintln!(
        "beside {written} evaluations of another process, 100 writes took at most {longest:?} each"
    );
    assert!(written > 300, "the other process rested");
    assert!(longest < Duration::from_millis(500), "a write waited for {longest:?}");
}
