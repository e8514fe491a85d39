//! What was tried before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlp_core::{Dimension, Direction, Params, SearchSpace, Timestamp};
use mlp_tune::{
    Budget, Duplicates, MemoryStore, PromotionPruner, RandomSampler, StopReason, Study, StudyStore,
    TrialDraft, TrialError, TrialEvent, TrialState,
};
use serde_json::json;

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

#[test]
fn what_is_taken_over_from_an_infeasible_trial_is_as_infeasible() {
    let study = study(Duplicates::Reuse);
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        let is_small = trial.params().get("n").is_none();
        trial.set_constraint("memory", if is_small { 0.5 } else { -1.0 })?;
        Ok(if is_small { 0.0 } else { 1.0 })
    };
    study.optimize(objective, Budget::trials(20)).unwrap();
    let trials = study.trials().unwrap();
    let reused: Vec<_> = trials.iter().filter(|trial| trial.reused().is_some()).collect();
    for trial in &reused {
        let first = &trials[trial.reused().unwrap() as usize];
        assert!(first.constraints().eq(trial.constraints()), "{trial:?}");
    }
    assert!(reused.iter().any(|trial| !trial.is_feasible()));
    assert_eq!(study.best().unwrap().value(), Some(1.0));
}

fn one_cell() -> Study {
    let space = SearchSpace::new([Dimension::constant("kind", "a")]).unwrap();
    Study::new(space, Direction::Minimize).with_duplicates(Duplicates::Reuse)
}

#[test]
fn constraints_that_an_earlier_optuna_wrote_are_taken_over() {
    let store = Arc::new(MemoryStore::new());
    let id = store.open_study("study", &[Direction::Minimize]).unwrap();
    let mut draft = TrialDraft::new(TrialState::Running);
    draft.params = Arc::new(Params::new().with("kind", "a"));
    draft.system = Arc::new([("constraints".to_owned(), json!([0.5, -1.0]))].into());
    store.create_trial(id, 0, &draft).unwrap();
    let finished = Timestamp::UNIX_EPOCH;
    let event = TrialEvent::Finish { state: TrialState::Complete, values: vec![0.0], finished };
    store.record(id, 0, &event).unwrap();
    let study = one_cell().with_store(store);
    assert_eq!(run(&study, Budget::trials(1)).0, 0, "it is taken over");
    assert_eq!(study.trials().unwrap()[1].violation(), 0.5);
    assert!(study.best().is_err());
}

fn data(study: &Study, number: usize) -> Option<String> {
    let trials = study.trials().unwrap();
    Some(trials[number].system.get("mlp:inputs")?.get("data")?.as_str()?.to_owned())
}

#[test]
fn every_trial_has_the_inputs_that_it_runs_with() {
    let store = Arc::new(MemoryStore::new());
    let plain = || line().with_store(store.clone());
    let with = |data: &str| plain().with_inputs(data, "code");
    let (one, two) = (with("one"), with("two"));
    one.enqueue(&Params::new().with("x", 0.5)).unwrap();
    let trial = one.ask().unwrap();
    assert_eq!(data(&one, 0).as_deref(), Some("one"), "enqueued");
    trial.interrupt().unwrap();
    let trial = two.ask().unwrap();
    assert_eq!(data(&two, 0).as_deref(), Some("two"), "taken over");
    trial.interrupt().unwrap();
    let neither = plain();
    let trial = neither.ask().unwrap();
    assert_eq!(data(&neither, 0), None, "taken over by a study that names none");
    trial.tell(0.0).unwrap();
}

#[test]
fn a_paused_trial_has_the_inputs_that_it_goes_on_with() {
    let store = Arc::new(MemoryStore::new());
    let with = |data: &str| {
        let study = line().with_pruner(PromotionPruner::new(1, 9, 3).unwrap());
        study.with_store(store.clone()).with_inputs(data, "code")
    };
    let (one, two) = (with("one"), with("two"));
    for _ in 0..3 {
        let mut trial = one.ask().unwrap();
        trial.report(1, trial.number() as f64).unwrap();
        assert!(trial.should_prune().unwrap());
        trial.prune().unwrap();
    }
    let trial = two.ask().unwrap();
    assert_eq!((trial.number(), data(&two, 0).as_deref()), (0, Some("two")));
    assert_eq!(data(&two, 1).as_deref(), Some("one"));
    trial.tell(0.0).unwrap();
}

#[test]
fn a_trial_that_went_on_with_other_inputs_is_known_by_these() {
    let store = Arc::new(MemoryStore::new());
    let with = |data: &str| one_cell().with_store(store.clone()).with_inputs(data, "code");
    let (one, two) = (with("one"), with("two"));
    let first = one.ask().unwrap();
    // Now the study has seen the first trial with its inputs of the beginning.
    one.ask().unwrap().fail("given up").unwrap();
    first.interrupt().unwrap();
    two.ask().unwrap().tell(5.0).unwrap();
    assert_eq!(run(&one, Budget::trials(1)).0, 1, "not computed with these inputs");
    assert_eq!(run(&two, Budget::trials(1)).0, 0, "known");
}
