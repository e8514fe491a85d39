//! A process that is killed a hundred times.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use mlp_core::Direction;
use mlp_tune::{Budget, HalvingPruner, Study, Trial, TrialError};

use crate::{bowl, essence, plane};

/// Tells the child which journal to work on.
const JOURNAL: &str = "MLP_TUNE_CRASH_JOURNAL";
/// Tells the child to work on an ordered study, on so many threads.
const THREADS: &str = "MLP_TUNE_CRASH_THREADS";
const KILLS: usize = 100;

fn study(path: &Path) -> Study {
    let study = Study::new(plane(), Direction::Minimize).with_seed(2).with_attempts(1_000);
    study.with_journal(path).unwrap()
}

/// An ordered study that prunes, on several threads.
fn ordered(path: &Path, threads: usize) -> Study {
    let pruner = HalvingPruner::new(1, 2).unwrap();
    study(path).with_pruner(pruner).with_order(4).with_threads(threads)
}

fn in_steps(trial: &mut Trial<'_>) -> Result<f64, TrialError> {
    let value = bowl(trial.params());
    for step in 1..=4 {
        trial.report(step, value + 1.0 / step as f64)?;
        if trial.should_prune()? {
            return Err(TrialError::Pruned);
        }
    }
    Ok(value)
}

/// Not a test by itself: what the killed process runs. Says on its standard output which trials are acknowledged.
#[test]
fn the_child_of_the_crash_test() {
    let Ok(path) = std::env::var(JOURNAL) else { return };
    if let Ok(threads) = std::env::var(THREADS) {
        let ordered = ordered(Path::new(&path), threads.parse().unwrap());
        let ordered = ordered.with_callback(|_, trial| println!("\nacknowledged {}", trial.number));
        ordered.optimize(in_steps, Budget::unlimited()).unwrap();
    }
    let study = study(Path::new(&path));
    loop {
        let trial = study.ask().unwrap();
        let (number, value) = (trial.number(), bowl(trial.params()));
        trial.tell(value).unwrap();
        println!("\nacknowledged {number}");
    }
}

#[test]
fn a_study_that_is_killed_a_hundred_times_loses_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::the_child_of_the_crash_test", "--nocapture"])
            .env(JOURNAL, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("acknowledged ")?.parse::<usize>().ok();
        acknowledged.extend(lines.map_while(Result::ok).filter_map(number).take(1 + kill % 3));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(acknowledged.len() >= KILLS, "{}", acknowledged.len());
    assert!(acknowledged.windows(2).all(|pair| pair[0] < pair[1]), "a trial ran twice");
    let killed = study(&path);
    let present = killed.trials().unwrap();
    assert!(acknowledged.iter().all(|&number| present[number].state.is_finished()));
    let total = present.len() as u64 + 5;
    let finish = |study: &Study| {
        study.optimize(|trial| Ok(bowl(trial.params())), Budget::total_trials(total)).unwrap();
        essence(study)
    };
    let whole = study(&folder.path().join("whole.log"));
    assert_eq!(finish(&killed), finish(&whole));
}

#[test]
fn an_ordered_study_that_is_killed_on_other_numbers_of_threads_has_the_same_trials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    for (kill, threads) in [4, 1, 3, 2, 4, 3, 2, 4].into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::the_child_of_the_crash_test", "--nocapture"])
            .env(JOURNAL, &path)
            .env(THREADS, threads.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged =
            lines.filter(|line| line.starts_with("acknowledged ")).take(3 + kill % 3);
        assert_eq!(acknowledged.count(), 3 + kill % 3);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let killed = ordered(&path, 2);
    let total = killed.trials().unwrap().len() as u64 + 10;
    let finish = |study: &Study| {
        study.optimize(in_steps, Budget::total_trials(total)).unwrap();
        essence(study)
    };
    let finished = finish(&killed);
    assert!(finished.len() >= 30 && finished.iter().any(|line| line.contains("pruned")));
    assert_eq!(finished, finish(&ordered(&folder.path().join("whole.log"), 1)));
    // The control: free threads find other trials.
    let free =
        study(&folder.path().join("free.log")).with_pruner(HalvingPruner::new(1, 2).unwrap());
    assert_ne!(finished, finish(&free));
}
