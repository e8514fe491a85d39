//! Disks that are full or fail, power that goes, several processes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mlp_core::{Direction, Params, StoreError};
use mlp_tune::{
    Budget, Changes, MemoryStore, PromotionPruner, Study, StudyId, StudyStore, Trial, TrialDraft,
    TrialEvent, TrialState, TuneError,
};
use serde_json::Value;

use crate::{bowl, essence, line, plane, states};

/// A store in memory of which one of the next calls fails.
#[derive(Debug, Default)]
struct Flaky {
    store: MemoryStore,
    /// How many calls of each kind still succeed before one fails; below 0 all do.
    changes: AtomicI64,
    records: AtomicI64,
}

impl Flaky {
    fn new() -> Arc<Self> {
        let never = || AtomicI64::new(-1);
        Arc::new(Self { store: MemoryStore::new(), changes: never(), records: never() })
    }

    fn count(left: &AtomicI64) -> Result<(), StoreError> {
        match left.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(StoreError::StorageFull),
            _ => Ok(()),
        }
    }
}

impl StudyStore for Flaky {
    fn open_study(&self, name: &str, directions: &[Direction]) -> Result<StudyId, StoreError> {
        self.store.open_study(name, directions)
    }

    fn studies(&self) -> Result<Vec<(StudyId, String, Vec<Direction>)>, StoreError> {
        self.store.studies()
    }

    fn set_attribute(&self, study: StudyId, name: &str, value: &Value) -> Result<(), StoreError> {
        self.store.set_attribute(study, name, value)
    }

    fn attributes(&self, study: StudyId) -> Result<BTreeMap<String, Value>, StoreError> {
        self.store.attributes(study)
    }

    fn create_trial(
        &self,
        study: StudyId,
        number: u64,
        draft: &TrialDraft,
    ) -> Result<(), StoreError> {
        self.store.create_trial(study, number, draft)
    }

    fn record(&self, study: StudyId, number: u64, event: &TrialEvent) -> Result<(), StoreError> {
        Self::count(&self.records)?;
        self.store.record(study, number, event)
    }

    fn changes(&self, study: StudyId, since: u64) -> Result<Changes, StoreError> {
        Self::count(&self.changes)?;
        self.store.changes(study, since)
    }
}

#[test]
fn a_trial_whose_end_cannot_be_written_runs_again_in_the_same_process() {
    type End = fn(Trial<'_>) -> Result<(), TuneError>;
    let ends: [(&str, End); 4] = [
        ("tell", |trial| trial.tell(1.0)),
        ("fail", |trial| trial.fail("why")),
        ("prune", |trial| trial.prune()),
        ("interrupt", |trial| trial.interrupt()),
    ];
    for (name, end) in ends {
        for reads in [true, false] {
            let store = Flaky::new();
            let study = line().with_store(store.clone());
            let trial = study.ask().unwrap();
            let left = if reads { &store.changes } else { &store.records };
            left.store(0, Ordering::SeqCst);
            let full = |outcome| matches!(outcome, Err(TuneError::Store(StoreError::StorageFull)));
            assert!(full(end(trial)), "{name}");
            assert_eq!(states(&study), [TrialState::Running], "{name}");
            let again = study.ask().unwrap();
            assert_eq!((again.number(), again.is_resumed()), (0, true), "{name}");
            again.tell(2.0).unwrap();
            assert_eq!(states(&study), [TrialState::Complete], "{name}");
        }
    }
}

#[test]
fn a_trial_whose_end_cannot_be_written_runs_again_in_a_study_that_is_opened_anew() {
    for pending in [None, Some(1)] {
        let store = Flaky::new();
        let open = || {
            let study = line().with_store(store.clone());
            match pending {
                Some(pending) => study.with_order(pending),
                None => study,
            }
        };
        let first = open();
        let trial = first.ask().unwrap();
        store.records.store(0, Ordering::SeqCst);
        assert!(trial.tell(1.0).is_err());
        drop(first);
        let study = open();
        let budget = Budget::total_trials(2).with_time(Duration::from_secs(5));
        study.optimize(|_| Ok(2.0), budget).unwrap();
        assert_eq!(states(&study), [TrialState::Complete; 2], "{pending:?}");
    }
}

#[test]
fn a_trial_that_met_a_fault_before_it_ran_finds_no_checkpoints_of_another_study() {
    let start = |study: &Study, enqueued: bool| match enqueued {
        true => study.enqueue(&Params::new().with("x", 0.5)),
        false => Ok(()),
    };
    // A new trial that cannot be read after it was created; enqueued ones whose parameter cannot be written, or which cannot be read.
    for (enqueued, reads) in [(false, true), (true, false), (true, true)] {
        for same in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let gone = line().with_checkpoints(folder.path());
            let trial = gone.ask().unwrap();
            trial.save_checkpoint("model", b"old").unwrap();
            std::mem::forget(trial);

            let store = Flaky::new();
            let open = || line().with_checkpoints(folder.path()).with_store(store.clone());
            let mut study = open();
            start(&study, enqueued).unwrap();
            let left = if reads { &store.changes } else { &store.records };
            left.store(1, Ordering::SeqCst);
            assert!(study.ask().is_err());
            assert_eq!(states(&study), [TrialState::Running]);
            if !same {
                drop(study);
                study = open();
            }
            let trial = study.ask().unwrap();
            assert_eq!((trial.number(), trial.is_resumed()), (0, true));
            assert_eq!(trial.load_checkpoint("model").unwrap(), None, "{enqueued} {reads} {same}");
            trial.save_checkpoint("model", b"new").unwrap();
            trial.interrupt().unwrap();
            let again = study.ask().unwrap();
            assert_eq!(again.load_checkpoint("model").unwrap().as_deref(), Some(&b"new"[..]));
        }
    }
}

#[test]
fn a_trial_that_is_complete_in_the_end_has_not_failed() {
    let store = Flaky::new();
    let study = line().with_store(store.clone());
    let trial = study.ask().unwrap();
    // The reason is written, the end is not.
    store.records.store(1, Ordering::SeqCst);
    assert!(trial.fail("why").is_err());
    let again = study.ask().unwrap();
    assert_eq!(study.trials().unwrap()[0].failure(), None);
    again.tell(2.0).unwrap();
    let trials = study.trials().unwrap();
    assert_eq!((trials[0].state, trials[0].failure()), (TrialState::Complete, None));
}

/// Five paused trials in a store that may fail.
fn five_paused(store: &Arc<Flaky>) -> Study {
    let pruner = PromotionPruner::new(1, 9, 100).unwrap();
    let study = line().with_pruner(pruner).with_store(store.clone());
    for value in 0..5 {
        let mut trial = study.ask().unwrap();
        trial.report(1, f64::from(value)).unwrap();
        assert!(trial.should_prune().unwrap());
        trial.prune().unwrap();
    }
    study
}

#[test]
fn paused_trials_that_could_not_be_ended_stay_paused_and_none_fails() {
    let store = Flaky::new();
    let study = five_paused(&store);
    store.records.store(2, Ordering::SeqCst);
    assert!(study.prune_paused().is_err());
    use TrialState::{Pruned, Running};
    assert_eq!(states(&study), [Pruned, Pruned, Running, Running, Running]);
    assert!(study.trials().unwrap()[2..].iter().all(|trial| trial.is_paused()));
    assert_eq!(study.prune_paused().unwrap(), 3);
    assert_eq!(states(&study), [Pruned; 5]);
}

#[test]
fn paused_trials_that_others_end_meanwhile_are_left_to_them() {
    let store = Flaky::new();
    let other = store.clone();
    let study = five_paused(&store).with_callback(move |_, trial| {
        if trial.number == 0 {
            let finished = mlp_core::Timestamp::UNIX_EPOCH;
            let state = TrialState::Complete;
            let event = TrialEvent::Finish { state, values: vec![7.0], finished };
            other.record(StudyId(0), 2, &event).unwrap();
        }
    });
    assert_eq!(study.prune_paused().unwrap(), 4);
    use TrialState::{Complete, Pruned};
    assert_eq!(states(&study), [Pruned, Pruned, Complete, Pruned, Pruned]);
}

/// Tell the child which journal to work on, how many trials to run, and what to do when its store fails.
const JOURNAL: &str = "MLP_TUNE_FAULT_JOURNAL";
const TRIALS: &str = "MLP_TUNE_FAULT_TRIALS";
/// Where the child keeps a checkpoint of each trial, if it does.
const CHECKPOINTS: &str = "MLP_TUNE_FAULT_CHECKPOINTS";
/// On its one thread the harness does not say in between that a test has been running for long.
const CHILD: [&str; 4] =
    ["--exact", "faults::the_child_of_the_fault_tests", "--nocapture", "--test-threads=1"];

fn study(path: &Path) -> Study {
    let study = Study::new(plane(), Direction::Minimize).with_seed(2).with_attempts(1_000);
    study.with_journal(path).unwrap()
}

fn one_trial(study: &Study) -> Result<u64, TuneError> {
    let trial = study.ask()?;
    let (number, value) = (trial.number(), bowl(trial.params()));
    if std::env::var(CHECKPOINTS).is_ok() {
        trial.save_checkpoint("state", b"bytes")?;
    }
    trial.tell(value).map(|()| number)
}

/// Not a test by itself: runs trials, and says on its standard output which are acknowledged and what failed.
#[test]
fn the_child_of_the_fault_tests() {
    let Ok(path) = std::env::var(JOURNAL) else { return };
    let trials = std::env::var(TRIALS).unwrap().parse().unwrap();
    let mut study = study(Path::new(&path));
    if let Ok(folder) = std::env::var(CHECKPOINTS) {
        study = study.with_checkpoints(folder);
    }
    println!();
    for _ in 0..trials {
        match one_trial(&study) {
            Ok(number) => println!("acknowledged {number}"),
            Err(TuneError::Store(StoreError::StorageFull)) => {
                println!("full {}", study.trials().unwrap().len());
                let process = std::process::id().to_string();
                let more = ["--pid", &process, "--fsize=unlimited:"];
                assert!(Command::new("prlimit").args(more).status().unwrap().success());
            }
            Err(TuneError::Store(StoreError::Closed)) => println!("closed"),
            Err(error) => println!("failed: {error:?}"),
        }
    }
}

fn child(command: &mut Command, path: &Path, trials: u64) -> Vec<String> {
    command.env(JOURNAL, path).env(TRIALS, trials.to_string());
    let Output { stdout, stderr, status } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect()
}

fn acknowledged(lines: &[String]) -> BTreeSet<usize> {
    lines.iter().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).collect()
}

/// Whether `strace` is there and may trace; where it must be, that it is not is a failure.
fn can_trace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let works = works.is_ok_and(|status| status.success());
    assert!(works || std::env::var("CI").is_err(), "strace is not there or may not trace");
    works
}

#[test]
fn a_full_disk_is_said_and_the_study_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let mut command = Command::new("bash");
    // A file may not grow beyond 16 KiB, as if that were all there is.
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 16; exec \"$0\" \"$@\""]);
    command.arg(std::env::current_exe().unwrap()).args(CHILD);
    let lines = child(&mut command, &path, 40);
    let full = lines.iter().position(|line| line.starts_with("full ")).expect("it was full");
    let before = acknowledged(&lines[..full]);
    let seen: usize = lines[full].strip_prefix("full ").unwrap().parse().unwrap();
    assert!(!before.is_empty() && (before.len()..=before.len() + 1).contains(&seen));
    assert_eq!(lines.iter().filter(|line| line.starts_with("full ")).count(), 1);
    assert!(!lines.iter().any(|line| line == "closed" || line.starts_with("failed")), "{lines:?}");
    // Every trial is there, the one that met the full disk among them, and they are what they would have been.
    let after = study(&path);
    assert_eq!(acknowledged(&lines), (0..39).collect());
    let whole = study(&folder.path().join("whole.log"));
    whole.optimize(|trial| Ok(bowl(trial.params())), Budget::trials(39)).unwrap();
    assert_eq!(essence(&after), essence(&whole));
}

#[test]
fn a_sync_that_fails_closes_the_journal_and_nothing_acknowledged_is_lost() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=8"]);
    command.arg(std::env::current_exe().unwrap()).args(CHILD);
    let lines = child(&mut command, &path, 10);
    let failed = lines.iter().position(|line| line.starts_with("failed")).expect("it failed");
    assert!(
        lines[failed + 1..]
            .iter()
            .all(|line| line != "acknowledged" && !line.contains("acknowledged "))
    );
    assert!(lines.iter().any(|line| line == "closed"), "{lines:?}");
    let trials = study(&path).trials().unwrap();
    let acknowledged = acknowledged(&lines);
    assert!(acknowledged.len() >= 2);
    assert!(acknowledged.iter().all(|&number| trials[number].state == TrialState::Complete));
}

#[test]
fn a_disk_too_full_for_the_lock_is_said_to_be_full_and_the_study_goes_on() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-P"]);
    command.arg(folder.path().join("study.log.lock.draft"));
    command.args(["-e", "inject=write:error=ENOSPC:when=6"]);
    command.arg(std::env::current_exe().unwrap()).args(CHILD);
    let lines = child(&mut command, &path, 10);
    assert_eq!(lines.iter().filter(|line| line.starts_with("full ")).count(), 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line == "closed" || line.starts_with("failed")), "{lines:?}");
    assert_eq!(acknowledged(&lines).len(), 9);
}

#[test]
fn the_names_of_a_new_journal_and_of_a_checkpoint_folder_are_synced() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("study.log"), folder.path().join("trace"));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-e", "trace=fsync", "-o"]).arg(&trace);
    command.arg(std::env::current_exe().unwrap()).args(CHILD);
    command.env(CHECKPOINTS, folder.path().join("kept"));
    child(&mut command, &path, 1);
    let trace = std::fs::read_to_string(&trace).unwrap();
    let folder = folder.path().to_str().unwrap();
    for synced in
        [">", "/kept>", "/kept/study-study>", "/kept/study-study/0>", "/kept/study-study/0/"]
    {
        assert!(trace.contains(&format!("<{folder}{synced}")), "{synced} in {trace}");
    }
    // Once for the journal, once for the folder of checkpoints.
    assert_eq!(trace.matches(&format!("<{folder}>")).count(), 2, "{trace}");
}

/// What a process did, in order: bytes appended to the journal, syncs of it, trials acknowledged.
#[derive(Debug)]
enum Call {
    Written(u64),
    Synced,
    Acknowledged(usize),
}

fn calls(trace: &str) -> Vec<Call> {
    let result = |line: &str| line.rsplit_once("= ")?.1.trim().parse::<u64>().ok();
    let call = |line: &str| {
        let (_, call) = line.split_once(' ')?;
        let call = call.trim_start();
        if call.starts_with("write(1<") {
            let (_, number) = call.split_once("acknowledged ")?;
            let digits = number.chars().take_while(char::is_ascii_digit).collect::<String>();
            return Some(Call::Acknowledged(digits.parse().ok()?));
        }
        if !call.contains("study.log>") {
            return None;
        }
        match call.split_once('(')?.0 {
            "write" => Some(Call::Written(result(line)?)),
            "fdatasync" => Some(Call::Synced),
            _ => None,
        }
    };
    trace.lines().filter_map(call).collect()
}

/// How many acknowledged trials are missing when the power goes just after each acknowledgement, with what was synced up to `lag` syncs before it.
fn lost(calls: &[Call], whole: &[u8], folder: &Path, lag: usize) -> usize {
    let (mut written, mut synced, mut lost) = (0, vec![0], 0);
    for (place, call) in calls.iter().enumerate() {
        match call {
            Call::Written(bytes) => written += bytes,
            Call::Synced => synced.push(written),
            Call::Acknowledged(number) => {
                let kept = synced[synced.len().saturating_sub(1 + lag)] as usize;
                // What was written and not synced is there in part, or as zeros, or not at all.
                let torn = (kept + (written as usize - kept) / 2).min(whole.len());
                let zeros = [&whole[..kept], &vec![0; torn - kept][..]].concat();
                for (kind, image) in
                    [&whole[..kept], &whole[..torn], &zeros].into_iter().enumerate()
                {
                    let path = folder.join(format!("{lag}-{place}-{kind}.log"));
                    std::fs::write(&path, image).unwrap();
                    let trials = study(&path).trials().unwrap();
                    let is_there =
                        |t: &std::sync::Arc<mlp_tune::TrialRecord>| t.state.is_finished();
                    lost += usize::from(!trials.get(*number).is_some_and(is_there));
                }
            }
        }
    }
    lost
}

#[test]
fn power_that_goes_takes_nothing_that_was_acknowledged() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("study.log"), folder.path().join("trace"));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-e", "trace=write,fdatasync", "-s", "64", "-o"]).arg(&trace);
    command.arg(std::env::current_exe().unwrap()).args(CHILD);
    let acknowledged = acknowledged(&child(&mut command, &path, 20));
    assert_eq!(acknowledged.len(), 20);
    let (calls, whole) =
        (calls(&std::fs::read_to_string(&trace).unwrap()), std::fs::read(&path).unwrap());
    let count = |of: fn(&Call) -> bool| calls.iter().filter(|call| of(call)).count();
    assert_eq!(count(|call| matches!(call, Call::Acknowledged(_))), 20);
    // The study, and of each trial two lines and two syncs: no more.
    assert_eq!(count(|call| matches!(call, Call::Written(_))), 41);
    assert_eq!(count(|call| matches!(call, Call::Synced)), 41);
    assert_eq!(lost(&calls, &whole, folder.path(), 0), 0);
    // The control: with one sync less before each acknowledgement every trial is lost.
    assert!(lost(&calls, &whole, folder.path(), 1) >= 40);
}

#[test]
fn four_processes_share_a_journal_and_no_trial_runs_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let processes: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(CHILD).env(JOURNAL, &path).env(TRIALS, "25");
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let mut all = Vec::new();
    for mut process in processes {
        let mut text = String::new();
        process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(process.wait().unwrap().success());
        all.extend(
            text.lines().filter_map(|l| l.strip_prefix("acknowledged ")?.parse::<u64>().ok()),
        );
    }
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert!(states(&study(&path)).iter().all(|state| *state == TrialState::Complete));
}
