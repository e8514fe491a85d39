//! Interrupted, hanging and restarted trials.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::{ManualClock, Params, Timestamp};
use mlp_tune::{Budget, StopReason, TrialError, TrialState, TuneError};

use crate::{essence, line, states};

#[test]
fn an_interrupted_trial_runs_again_under_its_number_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let study = line().with_seed(8).with_checkpoints(folder.path().join("checkpoints"));
        study.with_journal(folder.path().join("study.log")).unwrap()
    };
    let steps = AtomicU64::new(0);
    let objective = |stop_at: Option<u64>| {
        let steps = &steps;
        move |trial: &mut mlp_tune::Trial<'_>| {
            let kept = trial.load_checkpoint("step")?.map_or(0, |bytes| bytes[0]);
            for step in kept..4 {
                trial.save_checkpoint("step", &[step + 1])?;
                let all = steps.fetch_add(1, Ordering::Relaxed) + 1;
                if Some(all) == stop_at {
                    trial.study().stop();
                }
                if trial.is_stopping() {
                    return Err(TrialError::Interrupted);
                }
            }
            Ok(trial.float("x")?)
        }
    };
    let study = open();
    let summary = study.optimize(objective(Some(10)), Budget::total_trials(6)).unwrap();
    assert_eq!(summary.reason, StopReason::Stopped);
    use TrialState::{Complete, Running};
    assert_eq!(states(&study), [Complete, Complete, Running]);
    let resumed = open();
    resumed.optimize(objective(None), Budget::total_trials(6)).unwrap();
    assert_eq!(steps.load(Ordering::Relaxed), 24, "no step twice");
    let whole = line().with_seed(8);
    whole.optimize(|trial| Ok(trial.float("x")?), Budget::trials(6)).unwrap();
    assert_eq!(essence(&resumed), essence(&whole));
}

#[test]
fn interruptions_are_no_deaths() {
    let study = line().with_attempts(2);
    for _ in 0..10 {
        let trial = study.ask().unwrap();
        assert_eq!(trial.number(), 0);
        trial.interrupt().unwrap();
    }
    study.ask().unwrap().tell(1.0).unwrap();
    assert_eq!(states(&study), [TrialState::Complete]);
}

#[test]
fn a_trial_that_hangs_is_failed_and_the_study_goes_on() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let study = line().with_clock(clock.clone()).with_trial_limit(Duration::from_secs(60));
    let hanging = study.ask().unwrap();
    clock.advance(Duration::from_secs(61));
    // Another worker goes on, and takes note.
    study.ask().unwrap().tell(1.0).unwrap();
    assert_eq!(states(&study), [TrialState::Failed, TrialState::Complete]);
    assert!(study.trials().unwrap()[0].failure().unwrap().contains("longer than 60 s"));
    assert!(matches!(hanging.tell(0.0), Err(TuneError::AlreadyFinished { number: 0, .. })));
    // A trial that reports is told itself.
    let mut slow = study.ask().unwrap();
    slow.report(0, 1.0).unwrap();
    clock.advance(Duration::from_secs(61));
    assert!(matches!(slow.report(1, 1.0), Err(TuneError::Overdue { number: 2, .. })));
    drop(slow);
    assert_eq!(states(&study)[2], TrialState::Failed);
}

#[test]
fn the_failure_of_a_hanging_trial_is_told_and_its_late_result_changes_nothing() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let study = line()
        .with_clock(clock.clone())
        .with_trial_limit(Duration::from_secs(60))
        .with_callback(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        if trial.number() == 0 {
            clock.advance(Duration::from_secs(100));
            trial.report(0, 1.0)?;
        }
        Ok(1.0)
    };
    let summary = study.optimize(objective, Budget::trials(4)).unwrap();
    assert_eq!((summary.trials, heard.load(Ordering::Relaxed)), (4, 4));
    use TrialState::{Complete, Failed};
    assert_eq!(states(&study), [Failed, Complete, Complete, Complete]);
}

#[test]
fn a_study_without_a_folder_keeps_no_checkpoints() {
    let study = line();
    let trial = study.ask().unwrap();
    assert!(matches!(trial.checkpoint_folder(), Err(TuneError::Setting { .. })));
    let folder = tempfile::tempdir().unwrap();
    let study = line().with_checkpoints(folder.path()).with_name("../a study");
    let trial = study.ask().unwrap();
    trial.save_checkpoint("model", b"bytes").unwrap();
    assert!(trial.save_checkpoint("../model", b"bytes").is_err());
    let kept = trial.checkpoint_folder().unwrap();
    assert!(kept.starts_with(folder.path()) && kept.join("model").exists());
    trial.tell(0.0).unwrap();
    assert!(!kept.exists());
}

#[test]
fn a_new_trial_finds_nothing_that_one_of_its_number_kept_in_a_study_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let open = || line().with_checkpoints(folder.path());
    let gone = open();
    for _ in 0..2 {
        let trial = gone.ask().unwrap();
        trial.save_checkpoint("model", b"old").unwrap();
        std::mem::forget(trial);
    }
    let study = open();
    study.enqueue(&Params::new().with("x", 0.5)).unwrap();
    for number in 0..2 {
        let trial = study.ask().unwrap();
        assert_eq!((trial.number(), trial.load_checkpoint("model").unwrap()), (number, None));
        trial.save_checkpoint("model", b"new").unwrap();
        trial.interrupt().unwrap();
        let again = study.ask().unwrap();
        assert_eq!((again.number(), again.is_resumed()), (number, true));
        assert_eq!(again.load_checkpoint("model").unwrap().as_deref(), Some(&b"new"[..]));
        again.tell(0.0).unwrap();
    }
}

#[test]
fn what_studies_that_are_gone_have_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let study = line().with_checkpoints(folder.path());
    let kept = folder.path().join("study-study");
    // A trial with another mark, one without a mark, and one of another number.
    for name in ["0/1", "0/sub", "1/1"] {
        std::fs::create_dir_all(kept.join(name)).unwrap();
        std::fs::write(kept.join(name).join("model"), b"old").unwrap();
    }
    std::fs::write(kept.join("0/model"), b"old").unwrap();
    let trial = study.ask().unwrap();
    trial.save_checkpoint("model", b"bytes").unwrap();
    let paths = |folder: &Path| -> Vec<_> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    assert_eq!(paths(&kept.join("0")), [trial.checkpoint_folder().unwrap()]);
    trial.tell(0.0).unwrap();
    assert_eq!(paths(&kept), [kept.join("1")]);
}

#[test]
fn a_trial_of_an_earlier_journal_goes_on_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let old = line().with_journal(&path).unwrap();
    // Without a mark, as trials were before they had one.
    old.ask().unwrap().interrupt().unwrap();
    let kept = folder.path().join("study-study").join("0");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("model"), b"old").unwrap();
    let study = line().with_journal(&path).unwrap().with_checkpoints(folder.path());
    let trial = study.ask().unwrap();
    assert_eq!(trial.load_checkpoint("model").unwrap().as_deref(), Some(&b"old"[..]));
    trial.tell(0.0).unwrap();
    assert!(!kept.exists());
}
