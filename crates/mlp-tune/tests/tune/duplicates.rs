//! What was tried before.

use std::sync::atomic::{AtomicU64, Ordering};

use mlp_core::{Dimension, Direction, SearchSpace};
use mlp_tune::{Budget, Duplicates, RandomSampler, StopReason, Study, TrialError, TrialState};

use crate::line;

fn cells() -> SearchSpace {
    SearchSpace::new([
        Dimension::categorical("kind", ["a", "b"]),
        Dimension::int("n", 1, 3).when("kind", ["b"]),
    ])
    .unwrap()
}

fn study(duplicates: Duplicates) -> Study {
    let study = Study::new(cells(), Direction::Minimize).with_sampler(RandomSampler::new());
    study.with_seed(3).with_duplicates(duplicates)
}

/// Runs trials that score the number of the call, and returns how many were run.
fn run(study: &Study, budget: Budget) -> (u64, StopReason) {
    let calls = AtomicU64::new(0);
    let objective = |_: &mut mlp_tune::Trial<'_>| Ok(calls.fetch_add(1, Ordering::Relaxed) as f64);
    let summary = study.optimize(objective, budget).unwrap();
    (calls.into_inner(), summary.reason)
}

fn distinct(study: &Study) -> usize {
    let trials = study.trials().unwrap();
    let points: std::collections::BTreeSet<String> =
        trials.iter().map(|trial| trial.params.to_string()).collect();
    points.len()
}

#[test]
fn duplicates_are_run_again_unless_the_study_says_otherwise() {
    let study = study(Duplicates::Allow);
    assert_eq!(run(&study, Budget::trials(20)), (20, StopReason::Trials));
    assert!(distinct(&study) <= 4);
}

#[test]
fn a_known_result_is_taken_over_without_running_the_objective() {
    let study = study(Duplicates::Reuse);
    let (calls, _) = run(&study, Budget::trials(20));
    let trials = study.trials().unwrap();
    assert_eq!((trials.len(), calls), (20, distinct(&study) as u64));
    for trial in &trials {
        assert_eq!(trial.state, TrialState::Complete);
        let Some(first) = trial.reused() else { continue };
        let first = &trials[first as usize];
        assert_eq!((&first.params, &first.values), (&trial.params, &trial.values));
    }
}

#[test]
fn other_data_or_other_code_is_not_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let with = |data: &str, code: &str| {
        let study = study(Duplicates::Reuse).with_inputs(data, code);
        study.with_journal(folder.path().join("study.log")).unwrap()
    };
    assert!(run(&with("data-1", "code-1"), Budget::trials(30)).0 == 4);
    assert_eq!(run(&with("data-1", "code-1"), Budget::trials(30)).0, 0, "all is known");
    assert_eq!(run(&with("data-2", "code-1"), Budget::trials(30)).0, 4);
    assert_eq!(run(&with("data-1", "code-2"), Budget::trials(30)).0, 4);
}

#[test]
fn resampling_finds_every_point_before_it_repeats_one() {
    let study = study(Duplicates::Resample);
    run(&study, Budget::trials(4));
    assert_eq!(distinct(&study), 4);
    assert_eq!(run(&study, Budget::trials(2)), (2, StopReason::Trials), "nothing new is left");
}

#[test]
fn a_study_may_end_when_nothing_new_is_left() {
    let study = study(Duplicates::Stop).with_threads(2);
    assert_eq!(run(&study, Budget::unlimited()), (4, StopReason::Exhausted));
    assert_eq!((study.trials().unwrap().len(), distinct(&study)), (4, 4));
}

#[test]
fn a_failed_trial_is_no_duplicate() {
    let study = study(Duplicates::Stop);
    let objective = |trial: &mut mlp_tune::Trial<'_>| match trial.number() {
        0 => Err(TrialError::failed("once")),
        _ => Ok(0.0),
    };
    study.optimize(objective, Budget::unlimited()).unwrap();
    assert_eq!((study.trials().unwrap().len(), distinct(&study)), (5, 4));
}

#[test]
fn reuse_does_not_depend_on_threads_in_an_ordered_study() {
    let essence = |threads| {
        let study = study(Duplicates::Reuse).with_order(3).with_threads(threads);
        let objective = |trial: &mut mlp_tune::Trial<'_>| Ok(trial.params().len() as f64);
        study.optimize(objective, Budget::trials(30)).unwrap();
        let trials = study.trials().unwrap();
        trials
            .iter()
            .map(|t| format!("{} {:?} {:?}", t.params, t.values, t.reused()))
            .collect::<Vec<_>>()
    };
    assert_eq!(essence(1), essence(3));
}

#[test]
fn a_score_is_not_taken_over_where_trials_choose_more_parameters_while_they_run() {
    for (threads, pending) in [(1, None), (2, None), (4, None), (1, Some(3)), (3, Some(3))] {
        let study = study(Duplicates::Reuse).with_threads(threads);
        let study = match pending {
            Some(pending) => study.with_order(pending),
            None => study,
        };
        let calls = AtomicU64::new(0);
        let objective = |trial: &mut mlp_tune::Trial<'_>| {
            calls.fetch_add(1, Ordering::Relaxed);
            // Long enough for others to see the trial without what it chooses.
            std::thread::sleep(std::time::Duration::from_millis(2));
            Ok(trial.suggest_float("x", 0.0, 1.0)?)
        };
        study.optimize(objective, Budget::trials(30)).unwrap();
        assert_eq!(calls.into_inner(), 30, "{threads} threads");
        let trials = study.trials().unwrap();
        let x = |t: &mlp_tune::TrialRecord| t.params.get("x").and_then(|x| x.as_float());
        assert!(trials.iter().all(|trial| trial.reused().is_none() && trial.value() == x(trial)));
    }
}

#[test]
fn a_continuum_has_no_duplicates() {
    let study = line().with_duplicates(Duplicates::Stop);
    assert_eq!(run(&study, Budget::trials(50)), (50, StopReason::Trials));
}
