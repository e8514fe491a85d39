//! What a study promises its objective and its caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlp_core::{Dimension, Direction, Params, SearchSpace, Timestamp};
use mlp_tune::{
    BruteForceSampler, Budget, Duplicates, GridSampler, MemoryStore, RandomSampler, Sampler,
    StopReason, Study, StudyStore, TpeSampler, TrialDraft, TrialError, TrialEvent, TrialObserver,
    TrialRecord, TrialState, TuneError,
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{bowl, line, plane, states};

#[test]
fn what_goes_wrong_in_an_objective_fails_that_trial_only() {
    let study = line();
    let objective = |trial: &mut mlp_tune::Trial<'_>| match trial.number() {
        0 => panic!("cell {} is poisonous", 7),
        1 => Ok(f64::NAN),
        2 => Ok(f64::INFINITY),
        3 => Err("x".parse::<f64>().unwrap_err().into()),
        _ => Ok(1.0),
    };
    study.optimize(objective, Budget::trials(5)).unwrap();
    use TrialState::{Complete, Failed};
    assert_eq!(states(&study), [Failed, Failed, Complete, Failed, Complete]);
    let trials = study.trials().unwrap();
    assert!(trials[0].failure().unwrap().contains("cell 7 is poisonous"));
    assert!(trials[1].values.is_empty());
    assert_eq!(trials[2].values, [f64::INFINITY]);
    assert_eq!(study.best().unwrap().number, 4);
}

#[test]
fn the_wrong_number_of_scores_fails_the_trial() {
    let study = line();
    study.optimize(|_| Ok([1.0, 2.0]), Budget::trials(1)).unwrap();
    assert_eq!(states(&study), [TrialState::Failed]);
    let told = study.ask().unwrap().tell(vec![]);
    assert!(matches!(told, Err(TuneError::WrongNumberOfValues { given: 0, expected: 1 })));
}

#[test]
fn a_pruned_trial_has_the_intermediate_value_of_its_largest_step() {
    let study = line();
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        trial.report(3, 0.3)?;
        trial.report(1, 0.1)?;
        trial.report(3, 0.9)?;
        Err::<f64, _>(TrialError::Pruned)
    };
    study.optimize(objective, Budget::trials(1)).unwrap();
    let trial = &study.trials().unwrap()[0];
    assert_eq!((trial.state, trial.value()), (TrialState::Pruned, Some(0.3)));
}

#[test]
fn best_with_nothing_complete_is_an_error_and_respects_constraints() {
    let study = line();
    assert!(matches!(study.best(), Err(TuneError::NothingComplete)));
    for (score, violation) in [(1.0, 0.5), (2.0, 0.0), (3.0, -1.0)] {
        let mut trial = study.ask().unwrap();
        trial.set_constraint("memory", violation).unwrap();
        trial.tell(score).unwrap();
    }
    assert_eq!(study.best().unwrap().value(), Some(2.0));
}

#[test]
fn a_grid_ends_by_itself_after_each_cell_once_on_any_number_of_threads() {
    for threads in [1, 4] {
        let space = SearchSpace::new([
            Dimension::categorical("kind", ["a", "b"]),
            Dimension::int("depth", 1, 3),
        ]);
        let study = Study::new(space.unwrap(), Direction::Maximize)
            .with_sampler(GridSampler::new())
            .with_threads(threads);
        let failed_once = AtomicU64::new(0);
        let summary = study.optimize(
            |trial| {
                if trial.number() == 2 {
                    failed_once.fetch_add(1, Ordering::Relaxed);
                    return Err(TrialError::failed("once"));
                }
                Ok(trial.int("depth")? as f64)
            },
            Budget::unlimited(),
        );
        assert_eq!(summary.unwrap().reason, StopReason::Exhausted);
        let trials = study.trials().unwrap();
        assert_eq!(trials.len(), 7, "six cells, one of them twice");
        let mut cells: Vec<String> = trials
            .iter()
            .filter(|trial| trial.state == TrialState::Complete)
            .map(|trial| trial.params.to_string())
            .collect();
        cells.sort();
        cells.dedup();
        assert_eq!(cells.len(), 6);
    }
}

fn three_cells() -> Study {
    let space = SearchSpace::new([Dimension::int("n", 1, 3)]).unwrap();
    Study::new(space, Direction::Maximize).with_sampler(GridSampler::new())
}

#[test]
fn optimize_does_not_wait_for_a_cell_that_the_calling_thread_holds() {
    for threads in [1, 3] {
        let study = three_cells().with_threads(threads);
        let held = study.ask().unwrap();
        let run = || study.optimize(|_| Ok(0.0), Budget::unlimited()).unwrap();
        let summary = run();
        assert_eq!((summary.trials, summary.reason), (2, StopReason::Exhausted));
        // When it fails, whoever asks next has its cell.
        held.fail("given up").unwrap();
        assert_eq!((run().trials, run().trials), (1, 0));
        let complete = states(&study).into_iter().filter(|state| *state == TrialState::Complete);
        assert_eq!(complete.count(), 3);
    }
}

#[test]
fn optimize_waits_for_a_cell_that_another_thread_holds_and_tries_it_when_that_fails() {
    let study = three_cells();
    let (is_held, hold) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let study = &study;
        scope.spawn(move || {
            let held = study.ask().unwrap();
            is_held.send(()).unwrap();
            // Ended when the other cells are done: from then on optimize has nothing to run.
            while study.trials().unwrap().iter().filter(|t| t.state.is_finished()).count() < 2 {
                std::thread::yield_now();
            }
            held.fail("given up").unwrap();
        });
        hold.recv().unwrap();
        let summary = study.optimize(|_| Ok(0.0), Budget::unlimited()).unwrap();
        assert_eq!((summary.trials, summary.reason), (3, StopReason::Exhausted));
    });
}

#[test]
fn optimize_waits_for_a_cell_that_another_process_holds_and_tries_it_when_that_fails() {
    let store = Arc::new(MemoryStore::new());
    let id = store.open_study("study", &[Direction::Maximize]).unwrap();
    let mut draft = TrialDraft::new(TrialState::Running);
    draft.params = Arc::new(Params::new().with("n", 3));
    let lease = json!({"worker": "mlp/elsewhere/1/1", "study": 1, "epoch": 0, "until": i64::MAX});
    let system = [("mlp:lease".to_owned(), lease), ("mlp:cell".to_owned(), json!(2))];
    draft.system = Arc::new(system.into());
    store.create_trial(id, 0, &draft).unwrap();
    let study = three_cells().with_store(store.clone());
    std::thread::scope(|scope| {
        let study = &study;
        scope.spawn(move || {
            // Ended a while after the other cells are done: from then on optimize has nothing to run.
            while study.trials().unwrap().iter().filter(|t| t.state.is_finished()).count() < 2 {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            let finished = Timestamp::UNIX_EPOCH;
            let event =
                TrialEvent::Finish { state: TrialState::Failed, values: Vec::new(), finished };
            store.record(id, 0, &event).unwrap();
        });
        let summary = study.optimize(|_| Ok(0.0), Budget::unlimited()).unwrap();
        assert_eq!((summary.trials, summary.reason), (3, StopReason::Exhausted));
    });
}

#[test]
fn ask_does_not_wait_for_a_cell_that_another_process_holds() {
    let store = Arc::new(MemoryStore::new());
    let id = store.open_study("study", &[Direction::Maximize]).unwrap();
    let mut draft = TrialDraft::new(TrialState::Running);
    let lease = json!({"worker": "mlp/elsewhere/1/1", "study": 1, "epoch": 0, "until": i64::MAX});
    draft.system = Arc::new([("mlp:lease".to_owned(), lease)].into());
    store.create_trial(id, 0, &draft).unwrap();
    let study = three_cells().with_store(store);
    study.optimize(|_| Ok(0.0), Budget::trials(3)).unwrap();
    assert!(matches!(study.ask(), Err(TuneError::Exhausted)));
}

#[test]
fn a_grid_that_has_changed_tries_the_cells_that_no_trial_has_had() {
    let store = Arc::new(MemoryStore::new());
    let run = |low, high, count: i64| {
        let space = SearchSpace::new([
            Dimension::int("n", low, high),
            Dimension::stepped_float("x", 0.1 * count as f64, 0.3, 0.1),
        ]);
        let study = Study::new(space.unwrap(), Direction::Minimize).with_store(store.clone());
        let study = study.with_sampler(GridSampler::new());
        let before = study.trials().unwrap().len();
        let objective = |trial: &mut mlp_tune::Trial<'_>| Ok(trial.suggest_float("y", 0.0, 1.0)?);
        let summary = study.optimize(objective, Budget::trials(20)).unwrap();
        assert_eq!(summary.reason, StopReason::Exhausted);
        let trials = study.trials().unwrap();
        let cell = |trial: &Arc<TrialRecord>| {
            let [n, x] = ["n", "x"].map(|name| trial.params.get(name).unwrap().as_float().unwrap());
            (n as i64, (10.0 * x).round() as i64)
        };
        trials[before..].iter().map(cell).collect::<Vec<_>>()
    };
    assert_eq!(run(2, 3, 1), [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)]);
    assert_eq!(run(2, 3, 1), [], "the grid as it was");
    assert_eq!(run(1, 3, 1), [(1, 1), (1, 2), (1, 3)]);
    assert_eq!(run(1, 3, 0), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn an_ordered_study_refuses_to_wait_for_a_trial_that_the_calling_thread_holds() {
    for threads in [1, 3] {
        let study = line().with_order(3).with_threads(threads);
        let held = study.ask().unwrap();
        let refused = study.optimize(|_| Ok(0.0), Budget::trials(9)).unwrap_err();
        assert!(
            matches!(refused, TuneError::TooManyPending { number: 3, waits_for: 0 }),
            "{refused}"
        );
        held.tell(1.0).unwrap();
        assert_eq!(study.optimize(|_| Ok(0.0), Budget::total_trials(9)).unwrap().trials, 6);
    }
}

#[test]
fn the_last_value_of_a_grid_as_python_writes_it_is_that_value_to_samplers_and_duplicates() {
    let space = SearchSpace::new([Dimension::stepped_float("x", 0.0, 1.0, 0.3)]).unwrap();
    assert_ne!(3.0 * 0.3, 0.9);
    let samplers: [Box<dyn Sampler>; 2] =
        [Box::new(BruteForceSampler::new()), Box::new(RandomSampler::new())];
    for sampler in samplers {
        let study = Study::new(space.clone(), Direction::Minimize)
            .with_sampler(sampler)
            .with_duplicates(Duplicates::Stop);
        study.enqueue(&Params::new().with("x", 0.9)).unwrap();
        study.optimize(|trial| Ok(trial.float("x")?), Budget::trials(20)).unwrap();
        assert_eq!(study.trials().unwrap().len(), 4, "each of the four values once");
    }
    // TPE learns from them: bad trials elsewhere, and good ones at the end.
    let study = Study::new(space, Direction::Minimize).with_sampler(TpeSampler::default());
    let bad = [0.0, 0.3, 0.6].into_iter().cycle().take(15).map(|x| (x, 1.0));
    for (x, loss) in bad.chain([(0.9, 0.0); 10]) {
        study.enqueue(&Params::new().with("x", x)).unwrap();
        study.ask().unwrap().tell(loss).unwrap();
    }
    for _ in 0..5 {
        let proposed = study.ask().unwrap();
        assert!((proposed.float("x").unwrap() - 0.9).abs() < 1e-9, "{}", proposed.params());
    }
}

#[test]
fn a_cell_that_always_fails_is_given_up() {
    let space = SearchSpace::new([Dimension::int("n", 1, 2)]).unwrap();
    let study =
        Study::new(space, Direction::Maximize).with_sampler(GridSampler::new().with_attempts(2));
    let summary =
        study.optimize(|_| Err::<f64, _>(TrialError::failed("always")), Budget::unlimited());
    assert_eq!(summary.unwrap().trials, 4);
}

#[test]
fn a_grid_of_a_conditional_space_holds_active_parameters_only() {
    let study = Study::new(plane(), Direction::Minimize)
        .with_sampler(GridSampler::new().with_resolution(2));
    study.optimize(|trial| Ok(bowl(trial.params())), Budget::unlimited()).unwrap();
    let trials = study.trials().unwrap();
    assert_eq!(trials.len(), 2 * 2 * (1 + 8));
    assert!(trials.iter().all(|trial| study.space().contains(&trial.params)));
}

#[test]
fn a_random_trial_depends_on_seed_and_number_alone() {
    let study = line().with_seed(5);
    study.optimize(|trial| Ok(trial.float("x")?), Budget::trials(5)).unwrap();
    let other = line().with_seed(5).with_threads(3);
    other.optimize(|_| Ok(0.0), Budget::trials(5)).unwrap();
    for (one, two) in study.trials().unwrap().iter().zip(other.trials().unwrap().iter()) {
        assert_eq!(one.params, two.params);
    }
}

#[test]
fn stop_inside_trial_four_leaves_exactly_five_trials() {
    let study = line();
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        if trial.number() == 4 {
            trial.study().stop();
        }
        Ok(0.0)
    };
    let summary = study.optimize(objective, Budget::trials(100)).unwrap();
    assert_eq!((summary.trials, summary.reason), (5, StopReason::Stopped));
}

#[test]
fn target_and_patience_end_a_study() {
    let falling = |trial: &mut mlp_tune::Trial<'_>| Ok(10.0 - trial.number() as f64);
    let summary = line().optimize(falling, Budget::trials(50).with_target(7.0)).unwrap();
    assert_eq!((summary.trials, summary.reason), (4, StopReason::Target));
    let flat = |_: &mut mlp_tune::Trial<'_>| Ok(1.0);
    let summary = line().optimize(flat, Budget::trials(50).with_patience(3)).unwrap();
    assert_eq!((summary.trials, summary.reason), (4, StopReason::Patience));
}

#[test]
fn enqueued_parameters_come_first_in_their_order() {
    let study = Study::new(plane(), Direction::Minimize);
    study.enqueue(&Params::new().with("x", 4.0).with("kind", "b")).unwrap();
    study.enqueue(&Params::new().with("x", 100.0)).unwrap();
    assert!(study.enqueue(&Params::new().with("kind", "c")).is_err());
    study.optimize(|trial| Ok(bowl(trial.params())), Budget::trials(3)).unwrap();
    let trials = study.trials().unwrap();
    assert_eq!(trials[0].params.get("x"), Some(&4.0.into()));
    assert!(study.space().contains(&trials[0].params));
    assert_eq!(trials[1].params.get("x"), Some(&100.0.into()));
    assert_eq!(trials[1].system["mlp:warnings"][0], "x = 100.0 is outside of its domain");
    assert!(!trials[0].system.contains_key("mlp:warnings"));
    assert_eq!(trials.len(), 3);
}

#[test]
fn enqueued_parameters_are_kept_for_those_that_a_trial_chooses_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let open = || {
        let study = Study::new(SearchSpace::default(), Direction::Minimize);
        study.with_journal(&path).unwrap()
    };
    open().enqueue(&Params::new().with("x", 2).with("kind", "b").with("n", 99)).unwrap();
    open().enqueue(&Params::new().with("kind", "d")).unwrap();
    // As Optuna writes `study.enqueue_trial({"x": 0.25, "kind": None})`.
    let python = r#"{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null,"state":4,"system_attrs":{"fixed_params":{"x":0.25,"kind":null}}}"#;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{python}\n")).unwrap();
    let study = open();
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        let x = trial.suggest_float("x", 0.0, 1.0)?;
        trial.suggest_choice("kind", ["a", "b", "None"])?;
        trial.suggest_int("n", 1, 9)?;
        assert_eq!(trial.suggest_float("x", 0.0, 1.0)?, x);
        Ok(x)
    };
    study.optimize(objective, Budget::total_trials(3)).unwrap();
    let trials = study.trials().unwrap();
    assert_eq!(trials[0].params.to_string(), "kind=b, n=99, x=2.0");
    let warnings = trials[0].system["mlp:warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 5, "three names beyond the space, two values out of their domains");
    assert_eq!(warnings[3], "x = 2.0 is outside of its domain");
    assert_eq!(trials[1].state, TrialState::Failed);
    assert!(trials[1].failure().unwrap().contains("kind"), "{:?}", trials[1].failure());
    assert_eq!(trials[2].params.get("x"), Some(&0.25.into()));
    assert_eq!(trials[2].params.get("kind"), Some(&"None".into()));
    assert!(!trials[2].system.contains_key("mlp:warnings"));
}

#[test]
fn a_name_keeps_its_value_and_another_kind_is_an_error() {
    let study = line();
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        let n = trial.suggest_int("n", 1, 9)?;
        assert_eq!(n, trial.suggest_int("n", 1, 9)?);
        if trial.number() == 1 {
            trial.suggest_float("n", 0.0, 1.0)?;
        }
        Ok(n as f64)
    };
    study.optimize(objective, Budget::trials(2)).unwrap();
    assert_eq!(states(&study), [TrialState::Complete, TrialState::Failed]);
}

#[test]
fn a_trial_that_is_dropped_fails() {
    let study = line();
    drop(study.ask().unwrap());
    assert_eq!(states(&study), [TrialState::Failed]);
}

#[test]
fn the_pareto_front_holds_what_nothing_dominates() {
    let space = SearchSpace::new([Dimension::float("x", 0.0, 1.0)]).unwrap();
    let directions = [Direction::Minimize, Direction::Maximize];
    let study = Study::with_objectives(space, directions).unwrap();
    for scores in [[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]] {
        study.ask().unwrap().tell(scores).unwrap();
    }
    let front: Vec<u64> = study.pareto_front().unwrap().iter().map(|t| t.number).collect();
    assert_eq!(front, [0, 1]);
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<u64>>);

impl TrialObserver for Log {
    fn trial_finished(&self, study: &str, trial: &TrialRecord) {
        assert_eq!(study, "study");
        self.0.lock().push(trial.number);
        assert!(trial.number != 1, "an observer that panics");
    }
}

#[test]
fn an_observer_hears_of_every_trial_and_may_panic() {
    let log = Arc::new(Log::default());
    let study = line().with_observer(log.clone());
    study.optimize(|_| Ok(0.0), Budget::trials(3)).unwrap();
    assert_eq!(*log.0.lock(), [0, 1, 2]);
    assert_eq!(study.observer_panics(), 1);
}

#[test]
fn an_ordered_study_says_what_it_waits_for() {
    let study = line().with_order(2);
    let (_one, _two) = (study.ask().unwrap(), study.ask().unwrap());
    let third = study.ask();
    assert!(matches!(third, Err(TuneError::TooManyPending { number: 2, waits_for: 0 })));
}

#[test]
fn parameters_chosen_while_running_are_learnt_from_like_declared_ones() {
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        let x = trial.suggest_float("x", -5.0, 5.0)?;
        let y = trial.suggest_float("y", -5.0, 5.0)?;
        let kind = trial.suggest_choice("kind", ["a", "b"])?;
        // Only some trials have it: it is never proposed together with the others.
        let z = if kind == "b".into() { trial.suggest_float("z", 0.0, 1.0)? } else { 0.0 };
        Ok((x - 2.0).powi(2) + (y + 1.0).powi(2) + z)
    };
    let run = |declared: Vec<Dimension>, random: bool| {
        let study =
            Study::new(SearchSpace::new(declared).unwrap(), Direction::Minimize).with_seed(5);
        let study = if random { study.with_sampler(RandomSampler::new()) } else { study };
        study.optimize(objective, Budget::trials(60)).unwrap();
        study
    };
    let learnt = run(vec![], false);
    let late = |study: &Study| {
        let scores = study.trials().unwrap()[30..].iter().map(|t| t.values[0]).collect::<Vec<_>>();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    assert!(late(&learnt) < 0.5 * late(&run(vec![], true)), "the control: random search");
    let suggested = |trial: &TrialRecord| trial.system["mlp:suggested"].as_object().unwrap().len();
    assert_eq!(suggested(&learnt.trials().unwrap()[59]), 3);
}

#[test]
fn ten_enqueued_trials_go_to_ten_workers_one_each() {
    let folder = tempfile::tempdir().unwrap();
    let open = || line().with_journal(folder.path().join("study.log")).unwrap();
    let queue = open();
    for k in 0..10 {
        queue.enqueue(&Params::new().with("x", f64::from(k) / 10.0)).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                open().optimize(|trial| Ok(trial.float("x")?), Budget::trials(1)).unwrap()
            });
        }
    });
    let trials = queue.trials().unwrap();
    let values: Vec<f64> = trials.iter().map(|trial| trial.values[0]).collect();
    assert_eq!(values, (0..10).map(|k| f64::from(k) / 10.0).collect::<Vec<_>>());
}

#[test]
fn telling_twice_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let open = || line().with_journal(folder.path().join("study.log")).unwrap();
    let (one, two) = (open(), open());
    let trial = one.ask().unwrap();
    // Somebody else ends it first, as Optuna's `study.tell` may.
    let finish = mlp_tune::TrialEvent::Finish {
        state: TrialState::Complete,
        values: vec![1.0],
        finished: mlp_core::Timestamp::UNIX_EPOCH,
    };
    let journal = mlp_tune::Journal::open(folder.path().join("study.log")).unwrap();
    mlp_tune::StudyStore::record(&journal, mlp_tune::StudyId(0), 0, &finish).unwrap();
    let told = trial.tell(2.0);
    assert!(matches!(
        told,
        Err(TuneError::AlreadyFinished { number: 0, state: TrialState::Complete })
    ));
    assert_eq!(two.trials().unwrap()[0].values, [1.0]);
}

#[test]
fn a_clock_that_goes_backwards_changes_no_order_and_no_duration_is_negative() {
    let clock = Arc::new(mlp_core::ManualClock::new(mlp_core::Timestamp::from_micros(9_000_000)));
    let study = line().with_clock(clock.clone());
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        clock.set_wall(mlp_core::Timestamp::from_micros(8_000_000 - 1_000 * trial.number() as i64));
        Ok(trial.number() as f64)
    };
    study.optimize(objective, Budget::trials(5)).unwrap();
    let trials = study.trials().unwrap();
    assert_eq!(trials.iter().map(|t| t.values[0]).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert!(trials.iter().all(|trial| trial.duration() == Some(std::time::Duration::ZERO)));
}
