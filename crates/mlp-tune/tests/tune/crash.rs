//! A process that is killed a hundred times.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use mlp_core::Direction;
use mlp_tune::{Budget, Study};

use crate::{bowl, essence, plane};

/// Tells the child which journal to work on.
const JOURNAL: &str = "MLP_TUNE_CRASH_JOURNAL";
const KILLS: usize = 100;

fn study(path: &Path) -> Study {
    let study = Study::new(plane(), Direction::Minimize).with_seed(2).with_attempts(1_000);
    study.with_journal(path).unwrap()
}

/// Not a test by itself: what the killed process runs. Says on its standard output which trials are acknowledged.
#[test]
fn the_child_of_the_crash_test() {
    let Ok(path) = std::env::var(JOURNAL) else { return };
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
