//! What a restart must not change.

use std::path::Path;
use std::sync::Arc;

use mlp_core::{Direction, Params};
use mlp_tune::{Budget, Journal, Study, StudyStore, TrialState};

use crate::{bowl, essence, line, plane};

fn study(path: &Path) -> Study {
    Study::new(plane(), Direction::Minimize).with_seed(11).with_journal(path).unwrap()
}

fn run(study: &Study, trials: u64) {
    study.optimize(|trial| Ok(bowl(trial.params())), Budget::trials(trials)).unwrap();
}

#[test]
fn fifteen_trials_and_a_resume_and_fifteen_are_the_same_thirty() {
    let folder = tempfile::tempdir().unwrap();
    let whole = study(&folder.path().join("whole.log"));
    run(&whole, 30);
    let path = folder.path().join("halves.log");
    run(&study(&path), 15);
    let resumed = study(&path);
    run(&resumed, 15);
    assert_eq!(essence(&whole), essence(&resumed));
    assert_eq!(whole.trials().unwrap().len(), 30);
    // The control: another seed gives other trials.
    let other = Study::new(plane(), Direction::Minimize).with_seed(12);
    run(&other, 30);
    assert_ne!(essence(&whole), essence(&other));
}

#[test]
fn an_ordered_study_does_not_depend_on_its_threads() {
    let run = |threads| {
        let study = Study::new(plane(), Direction::Minimize)
            .with_seed(3)
            .with_order(4)
            .with_threads(threads);
        run(&study, 40);
        essence(&study)
    };
    let alone = run(1);
    assert_eq!(alone, run(2));
    assert_eq!(alone, run(4));
}

/// Starts a trial under the name of a process that is dead.
fn leave_an_orphan(path: &Path) {
    let one = study(path);
    run(&one, 2);
    std::mem::forget(one.ask().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    // A worker is called by its process's id and start time: no process of this machine started with its first tick.
    let id = format!("/{}/", std::process::id());
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.last_mut().unwrap();
    let place = last.rfind(&id).unwrap() + id.len();
    let end = place + last[place..].find('"').unwrap();
    last.replace_range(place..end, "1");
    // The line is no longer what its checksum says: it goes without one, as Optuna's lines do.
    let sum = last.rfind(",\"mlp_crc\":").unwrap();
    last.replace_range(sum.., "}");
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn the_trial_of_a_dead_process_runs_again_under_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let (path, whole) = (folder.path().join("study.log"), folder.path().join("whole.log"));
    leave_an_orphan(&path);
    let resumed = study(&path);
    assert_eq!(resumed.trials().unwrap()[2].state, TrialState::Running);
    resumed.optimize(|trial| Ok(bowl(trial.params())), Budget::total_trials(6)).unwrap();
    let whole = study(&whole);
    run(&whole, 6);
    assert_eq!(essence(&resumed), essence(&whole));
}

/// What a dead process has left: these lines, written under its name and without checksums, as Optuna's are.
fn of_a_dead_process(lines: &[&str]) -> String {
    let (_, name) = lines[0].split_once("\"worker_id\":\"").unwrap();
    let name = &name[..name.find('"').unwrap()];
    let dead = format!("{}/1", name.rsplit_once('/').unwrap().0);
    let line = |line: &&str| format!("{}}}\n", line.rsplit_once(",\"mlp_crc\":").unwrap().0);
    lines.iter().map(line).collect::<String>().replace(name, &dead)
}

#[test]
fn an_enqueued_trial_whose_process_dies_at_any_line_runs_again_with_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let one = line().with_journal(&path).unwrap();
    one.enqueue(&Params::new().with("x", 0.25)).unwrap();
    std::mem::forget(one.ask().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "the study, the trial, its claim, its parameter");
    for kept in 2..=lines.len() {
        std::fs::write(&path, of_a_dead_process(&lines[..kept])).unwrap();
        let resumed = line().with_journal(&path).unwrap();
        resumed.optimize(|trial| Ok(trial.float("x")?), Budget::total_trials(1)).unwrap();
        assert_eq!(essence(&resumed), ["0 complete x=0.25 [0.25]"], "{kept} lines");
    }
}

#[test]
fn enqueued_trials_of_an_ordered_study_do_not_depend_on_its_threads() {
    let run = |threads| {
        let study = Study::new(plane(), Direction::Minimize)
            .with_seed(3)
            .with_order(2)
            .with_threads(threads);
        run(&study, 12);
        for _ in 0..10 {
            study.enqueue(&Params::new().with("kind", "b")).unwrap();
        }
        let objective = |trial: &mut mlp_tune::Trial<'_>| {
            // Every third one takes long: trials after it could start before it has ended.
            let long = if trial.number() % 3 == 0 { 30 } else { 1 };
            std::thread::sleep(std::time::Duration::from_millis(long));
            Ok(bowl(trial.params()))
        };
        study.optimize(objective, Budget::total_trials(30)).unwrap();
        essence(&study)
    };
    let alone = run(1);
    assert_eq!(alone.len(), 30);
    assert_eq!(alone, run(2));
    assert_eq!(alone, run(4));
}

#[test]
fn a_trial_whose_process_dies_every_time_fails_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    leave_an_orphan(&path);
    let resumed = study(&path).with_attempts(1);
    run(&resumed, 1);
    let trials = resumed.trials().unwrap();
    assert_eq!((trials[2].state, trials[3].state), (TrialState::Failed, TrialState::Complete));
    assert!(trials[2].failure().unwrap().contains("died"));
}

#[test]
fn the_running_trial_of_a_living_process_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let one = study(&path);
    let running = one.ask().unwrap();
    let two = study(&path);
    run(&two, 3);
    assert_eq!(two.trials().unwrap()[0].state, TrialState::Running);
    running.tell(1.0).unwrap();
    assert_eq!(two.trials().unwrap()[0].value(), Some(1.0));
}

#[test]
fn two_studies_on_one_file_share_its_trials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| run(&study(&path), 10));
        }
    });
    let journal = Arc::new(Journal::open(&path).unwrap());
    let id = journal.open_study("study", &[Direction::Minimize]).unwrap();
    let trials = journal.changes(id, 0).unwrap().trials;
    assert_eq!(trials.len(), 20);
    assert!(trials.iter().all(|trial| trial.state == TrialState::Complete));
    assert_eq!(journal.damage(), []);
}

#[test]
fn a_resume_proposes_the_same_for_parameters_chosen_while_running() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let space = mlp_core::SearchSpace::default();
        let study = Study::new(space, Direction::Minimize).with_seed(4);
        study.with_journal(folder.path().join(name)).unwrap()
    };
    let run = |study: &Study, trials| {
        let objective =
            |trial: &mut mlp_tune::Trial<'_>| Ok(trial.suggest_float("x", 0.0, 9.0)?.sin());
        study.optimize(objective, Budget::trials(trials)).unwrap();
        essence(study)
    };
    let whole = run(&open("whole.log"), 30);
    run(&open("halves.log"), 15);
    assert_eq!(run(&open("halves.log"), 15), whole);
}

#[test]
fn parameters_chosen_while_running_do_not_depend_on_the_threads_of_an_ordered_study() {
    let run = |threads| {
        let space = mlp_core::SearchSpace::new([mlp_core::Dimension::float("x", -5.0, 5.0)]);
        let study = Study::new(space.unwrap(), Direction::Minimize)
            .with_seed(3)
            .with_order(4)
            .with_threads(threads);
        let objective = |trial: &mut mlp_tune::Trial<'_>| {
            let mut sum = trial.float("x")?.powi(2);
            for name in ["y", "z"] {
                // Others start before, between and after the choices.
                std::thread::sleep(std::time::Duration::from_millis(trial.number() * 7 % 5));
                sum += trial.suggest_float(name, -5.0, 5.0)?.powi(2);
            }
            Ok(sum)
        };
        study.optimize(objective, Budget::trials(40)).unwrap();
        essence(&study)
    };
    let alone = run(1);
    assert_eq!(alone, run(2));
    assert_eq!(alone, run(4));
}
