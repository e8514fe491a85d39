//! A disk that is full, and one that fails.

use mlp_core::StoreError;
use mlp_eval::{EvalStore, Filter};

use crate::script::{
    LARGE, TURNS, acknowledge, acknowledged, acknowledgement_file, can_trace, check, child,
    evaluate, evaluate_with, id, inject, inject_into, open, place, read_in_turn,
};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Writes until the disk is full and on, reads all the while, and goes on when there is room again.
fn write_through_a_full_disk(path: &std::path::Path, mut after: impl FnMut(u64)) -> Vec<u64> {
    let database = open(path).unwrap();
    let (mut done, mut full) = (Vec::new(), 0);
    for k in 0..2_000 {
        match evaluate(&database, k) {
            Ok(()) => done.push(k),
            Err(StoreError::StorageFull) => {
                full += 1;
                // Reads go on, and what was refused is not there.
                assert!(EvalStore::get(&database, id(k)).is_err(), "{k} was refused and is there");
                assert_eq!(database.count(&Filter::everything()).unwrap(), done.len() as u64);
                after(full);
            }
            Err(error) => panic!("{k}: {error:?}"),
        }
        if full >= 5 && done.last() > Some(&k.saturating_sub(3)) {
            break;
        }
    }
    assert!(full >= 5, "the disk was never full");
    assert!(done.last() > Some(&10), "nothing was written after the disk had room again");
    done
}

#[test]
#[ignore = "run under strace, in a process of its own"]
fn child_on_a_full_disk() {
    let Some(path) = place() else { return };
    let done = write_through_a_full_disk(&path, |_| ());
    check(&path, &done);
}

#[test]
fn a_full_disk_is_a_typed_error_reads_go_on_and_room_ends_it_without_a_restart() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let what = "error=ENOSPC:when=150..170";
    let run = inject("disk::child_on_a_full_disk", &path, "pwrite64", what);
    let text = String::from_utf8_lossy(&run.output.stdout);
    assert!(run.output.status.success(), "{text}{}", String::from_utf8_lossy(&run.output.stderr));
    assert!(run.threads.contains(&"writer"), "{:?}", run.threads);
}

#[test]
fn a_full_file_system_refuses_writes_and_takes_them_again_when_there_is_room() {
    // A process that is started meanwhile would hold files open on the file system that is to be unmounted.
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "mlp-test"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var("CI").is_err(), "no file system can be mounted here");
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let path = folder.path().join("mlp.db");
    let result = std::panic::catch_unwind(|| {
        let done = write_through_a_full_disk(&path, |times| {
            if times == 5 {
                std::fs::remove_file(&ballast).unwrap();
            }
        });
        check(&path, &done);
    });
    let unmounted = Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(unmounted.success() && result.is_ok());
}

#[test]
#[ignore = "run with limited files, in a process of its own"]
fn child_with_limited_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some(path) = place() else { return };
    let before = getrlimit(Resource::Fsize);
    assert_eq!(before.maximum, None, "the limit can be taken away again");
    setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), ..before }).unwrap();
    let done = write_through_a_full_disk(&path, |times| {
        if times == 5 {
            setrlimit(Resource::Fsize, before).unwrap();
        }
    });
    check(&path, &done);
}

#[test]
fn a_limit_of_the_size_of_files_is_a_full_disk() {
    let _turn = TURNS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    // Whoever writes beyond the limit is told so by a signal, unless it is ignored.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap());
    let output = child(command, "disk::child_with_limited_files", &path).output().unwrap();
    let (said, wrong) = (&output.stdout, &output.stderr);
    let text = [said, wrong].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(!folder.path().join("mlp.db-probe").exists());
}

#[test]
#[ignore = "run under strace, in a process of its own"]
fn child_on_a_failing_disk() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let (file, mut failed) = (acknowledgement_file(&path), 0);
    for k in 0..WRITES {
        let length = if k % 6 == 5 { LARGE } else { 300 };
        match evaluate_with(&database, k, length) {
            Ok(()) => acknowledge(&file, k),
            Err(StoreError::Backend { .. }) => {
                failed += 1;
                assert!(EvalStore::get(&database, id(k)).is_err(), "{k} failed and is there");
                assert!(database.count(&Filter::everything()).unwrap() + 1 >= k, "reads go on");
            }
            Err(error) => panic!("{k}: {error:?}"),
        }
    }
    assert_eq!(failed, 1, "one error, one write that fails");
}

#[test]
#[ignore = "run under strace, in a process of its own"]
fn child_that_dies_of_a_failing_disk() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let file = acknowledgement_file(&path);
    for k in 0..WRITES {
        match evaluate(&database, k) {
            Ok(()) => acknowledge(&file, k),
            Err(_) => std::process::abort(),
        }
    }
}

/// How many writes the children on a failing disk make.
const WRITES: u64 = 12;

/// A file that was opened before, so that what fails is a write and not the opening.
fn prepared(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    evaluate(&open(&path).unwrap(), WRITES).unwrap();
    path
}

#[test]
fn an_error_of_any_sync_or_write_acknowledges_nothing_and_the_next_write_goes_through() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let syncs: Vec<u64> = (1..=WRITES).collect();
    // Of a header and twelve commits, two of which take several.
    let writes: Vec<u64> = (1..=24).collect();
    for (calls, numbers) in [("fsync,fdatasync", syncs), ("pwrite64", writes)] {
        for number in numbers {
            let path = prepared(folder.path(), &format!("{}-{number}.db", &calls[..5]));
            let what = format!("error=EIO:when={number}");
            let run = inject("disk::child_on_a_failing_disk", &path, calls, &what);
            let text = String::from_utf8_lossy(&run.output.stderr);
            assert!(run.output.status.success(), "{calls} {what}: {text}");
            let hits = run.threads.iter().filter(|thread| **thread == "writer").count();
            assert_eq!(hits, 1, "{calls} {what}: hit {:?}", run.threads);
            let done = acknowledged(&path);
            assert_eq!(done.len() as u64, WRITES - 1);
            assert_eq!(check(&path, &done), WRITES, "what failed is not there");
        }
    }
}

const TOLD: &str = "an error is told";

#[test]
#[ignore = "run under strace, in a process of its own"]
fn child_whose_log_is_not_copied() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let (file, mut next) = (acknowledgement_file(&path), 0);
    let mut write_until = |what: &str, is_so: &dyn Fn() -> bool| {
        let last = next + 2_000;
        while !is_so() {
            assert!(next < last, "{what}: never");
            evaluate_with(&database, next, 130 << 10).unwrap();
            acknowledge(&file, next);
            next += 1;
            // The 256th wakes the thread. Only a log that nobody adds to meanwhile, nor begins to read, is copied to its end, upon which the file
            // is synced.
            let until = Instant::now() + Duration::from_secs(10);
            while what == TOLD && next == 256 && !is_so() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(database.count(&Filter::everything()).unwrap(), next);
        }
    };
    write_until(TOLD, &|| database.checkpoint_error().is_some());
    write_until("the error is over", &|| database.checkpoint_error().is_none());
}

#[test]
fn a_log_that_cannot_be_copied_for_a_while_loses_nothing_and_is_copied_later() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (calls, number) in [("fsync,fdatasync", 1), ("pwrite64", 1), ("pwrite64", 5)] {
        let path = folder.path().join(format!("{}-{number}.db", &calls[..5]));
        // The tables are made before, by copies that do not fail.
        drop(open(&path).unwrap());
        let what = format!("error=EIO:when={number}");
        let name = "disk::child_whose_log_is_not_copied";
        let run = inject_into(&[""], name, &path, calls, &what);
        let text = String::from_utf8_lossy(&run.output.stderr);
        assert!(run.output.status.success(), "{calls} {what}: {text}");
        assert_eq!(
            run.threads.first(),
            Some(&"checkpointer"),
            "{calls} {what}: {:?} {text}",
            run.threads
        );
        let done = acknowledged(&path);
        assert_eq!(check(&path, &done), done.len() as u64);
    }
}

#[test]
#[ignore = "run under strace, in a process of its own"]
fn child_whose_writers_never_pause() {
    let Some(path) = place() else { return };
    let database = open(&path).unwrap();
    let (was_told, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let until = Instant::now() + Duration::from_secs(120);
    let has_ended = || is_over.load(Ordering::Relaxed) || Instant::now() > until;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (database, is_over) = (&database, &is_over);
            let file = acknowledgement_file(&path);
            scope.spawn(move || {
                for k in thread * 10_000..thread * 10_000 + 4_000 {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    evaluate_with(database, k, 16 << 10).unwrap();
                    acknowledge(&file, k);
                }
            });
        }
        // Where somebody always reads, the log is cut.
        let with_readers = path.ends_with("read.db");
        for number in 0..if with_readers { 3 } else { 0 } {
            let (path, has_ended) = (&path, &has_ended);
            scope.spawn(move || read_in_turn(path, number, has_ended));
        }
        // The error is told for as long as it takes until the next copy.
        scope.spawn(|| {
            while !has_ended() {
                let is_told = database.checkpoint_error().is_some();
                is_over.store(!is_told && was_told.load(Ordering::Relaxed), Ordering::Relaxed);
                was_told.fetch_or(is_told, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
    });
    assert!(is_over.into_inner(), "an error was told: {was_told:?}, and is over: never");
}

#[test]
fn a_log_that_is_begun_anew_between_two_commits_loses_nothing_when_the_disk_fails_or_the_process_dies()
 {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let syncs = "fsync,fdatasync";
    for (file, suffix, calls, what) in [
        ("fail.db", "", syncs, "error=EIO:when=1"),
        ("die.db", "", syncs, "signal=KILL:when=1"),
        ("read.db", "-wal", "ftruncate", "signal=KILL:when=1"),
    ] {
        let path = folder.path().join(file);
        // The tables are made before, by copies that do not fail.
        drop(open(&path).unwrap());
        let name = "disk::child_whose_writers_never_pause";
        let run = inject_into(&[suffix], name, &path, calls, what);
        let text = String::from_utf8_lossy(&run.output.stderr);
        let was_killed = run.output.status.signal() == Some(9);
        assert!(
            was_killed == what.starts_with("signal") && (was_killed || run.output.status.success()),
            "{what}: {text}"
        );
        assert!(run.threads.contains(&"writer"), "{what}: hit {:?}", run.threads);
        let done = acknowledged(&path);
        assert!(done.len() > 1_000, "{} were acknowledged", done.len());
        assert!(check(&path, &done) >= done.len() as u64);
    }
}

#[test]
fn a_write_whose_sync_failed_before_the_process_died_is_there_as_a_whole_or_not_at_all() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for number in [1, 2, 3, 7] {
        let path = prepared(folder.path(), &format!("{number}.db"));
        let what = format!("error=EIO:when={number}");
        let run =
            inject("disk::child_that_dies_of_a_failing_disk", &path, "fsync,fdatasync", &what);
        assert_eq!((run.output.status.signal(), &run.threads[..]), (Some(6), &["writer"][..]));
        let done = acknowledged(&path);
        let there = check(&path, &done) - 1;
        assert!((done.len() as u64..=done.len() as u64 + 1).contains(&there), "{there}");
    }
}
