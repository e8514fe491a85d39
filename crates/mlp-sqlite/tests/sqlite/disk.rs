//! A disk that is full, and one that fails.

use mlp_core::StoreError;
use mlp_eval::{EvalStore, Filter};

use crate::script::{TURNS, can_trace, check, evaluate, id, open, place, traced};
use std::process::Command;

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
    let arguments = ["-o", "/dev/null", "-e", "inject=pwrite64:error=ENOSPC:when=150..170"];
    let output = traced("disk::child_on_a_full_disk", &path, &arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_file_system_refuses_writes_and_takes_them_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "mlp-test"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
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
#[ignore = "run under strace, in a process of its own"]
fn child_on_a_failing_disk() {
    let Some(path) = place() else { return };
    let Ok(database) = open(&path) else { return };
    let (mut done, mut failed) = (Vec::new(), 0);
    for k in 0..12 {
        match evaluate(&database, k) {
            Ok(()) => done.push(k),
            Err(StoreError::Backend { .. }) => {
                failed += 1;
                assert!(database.count(&Filter::everything()).unwrap() >= done.len() as u64);
            }
            Err(error) => panic!("{k}: {error:?}"),
        }
    }
    assert!(failed <= 2, "{failed} failed of one error");
    assert_eq!(done.last(), Some(&11), "it did not go on by itself");
    drop(database);
    check(&path, &done);
}

#[test]
fn an_error_of_any_sync_or_write_acknowledges_nothing_and_the_next_write_goes_through() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for call in ["fdatasync", "pwrite64"] {
        for number in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
            let path = folder.path().join(format!("{call}-{number}.db"));
            let inject = format!("inject={call}:error=EIO:when={number}");
            let arguments = ["-o", "/dev/null", "-e", &inject];
            let output =
                traced("disk::child_on_a_failing_disk", &path, &arguments).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{inject}: {text}");
        }
    }
}
