//! When a study ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::{Clock, Direction, ManualClock, Timestamp};
use mlp_tune::{
    Budget, MemoryStore, Plateau, StopReason, Stopper, Study, TrialError, TrialRecord, TrialState,
    TuneError,
};

use crate::{line, states};

#[test]
fn a_budget_of_time_starts_no_trial_after_it() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let study = line().with_clock(clock.clone());
    let objective = |_: &mut mlp_tune::Trial<'_>| {
        clock.advance(Duration::from_secs(4));
        Ok(0.0)
    };
    let budget = Budget::trials(100).with_time(Duration::from_secs(10));
    let summary = study.optimize(objective, budget).unwrap();
    assert_eq!((summary.trials, summary.reason), (3, StopReason::Time));
}

#[test]
fn a_budget_of_cost_counts_what_trials_say_they_cost_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let open = || line().with_journal(&path).unwrap();
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        trial.add_cost(1.0)?;
        trial.add_cost(0.5)?;
        assert!(trial.add_cost(-1.0).is_err() && trial.add_cost(f64::NAN).is_err());
        Ok(0.0)
    };
    open().optimize(objective, Budget::trials(2)).unwrap();
    let summary = open().optimize(objective, Budget::unlimited().with_cost(5.0)).unwrap();
    assert_eq!((summary.trials, summary.reason), (2, StopReason::Cost));
    let costs: Vec<f64> = open().trials().unwrap().iter().map(|trial| trial.cost()).collect();
    assert_eq!(costs, [1.5; 4]);
}

#[test]
fn a_long_trial_sees_when_the_time_is_over() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let study = line().with_clock(clock.clone());
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        for _ in 0..100 {
            if trial.is_stopping() {
                return Err(TrialError::Interrupted);
            }
            clock.advance(Duration::from_secs(3));
        }
        Ok(0.0)
    };
    let budget = Budget::trials(100).with_time(Duration::from_secs(10));
    let summary = study.optimize(objective, budget).unwrap();
    assert_eq!((summary.trials, summary.reason), (1, StopReason::Time));
    assert_eq!(clock.monotonic(), Duration::from_secs(12));
    // The next call has its own time: none.
    study.optimize(objective, Budget::total_trials(1)).unwrap();
    assert_eq!(states(&study), [TrialState::Complete]);
    assert!(!study.is_stopping());
    study.optimize(|_| Ok(0.0), Budget::trials(2).with_time(Duration::MAX)).unwrap();
}

#[test]
fn limits_that_are_no_numbers_are_refused_by_name() {
    let nan = f64::NAN;
    let plateau = Plateau::new(3, nan);
    for (budget, name) in [
        (Budget::trials(3).with_target(nan), "target"),
        (Budget::trials(3).with_cost(nan), "cost"),
        (Budget::trials(3).with_plateau(plateau), "plateau"),
    ] {
        let study = line();
        let refused = study.optimize(|_| Ok(0.0), budget).unwrap_err();
        assert!(matches!(refused, TuneError::Setting { .. }), "{refused}");
        assert!(refused.to_string().contains(name), "{refused}");
        assert_eq!(states(&study), []);
    }
    let infinite = Budget::trials(3).with_target(f64::NEG_INFINITY).with_cost(f64::INFINITY);
    assert_eq!(line().optimize(|_| Ok(0.0), infinite).unwrap().trials, 3);
}

#[test]
fn a_budget_of_complete_trials_does_not_count_failed_ones() {
    let study = line();
    let objective = |trial: &mut mlp_tune::Trial<'_>| match trial.number() % 2 {
        0 => Err(TrialError::failed("every other one")),
        _ => Ok(0.0),
    };
    study.optimize(objective, Budget::unlimited().with_complete_trials(3)).unwrap();
    assert_eq!(states(&study).len(), 6);
}

#[test]
fn a_plateau_of_the_best_scores_ends_a_study() {
    let falling = |trial: &mut mlp_tune::Trial<'_>| Ok(1.0 / (1.0 + trial.number() as f64).powi(3));
    let budget = Budget::trials(1_000).with_plateau(Plateau::new(3, 0.001).with_patience(2));
    let summary = line().optimize(falling, budget.clone()).unwrap();
    assert_eq!(summary.reason, StopReason::Plateau);
    assert!((10..40).contains(&summary.trials), "{}", summary.trials);
    let text = serde_json::to_string(&budget).unwrap();
    assert_eq!(serde_json::from_str::<Budget>(&text).unwrap(), budget);
    assert!(serde_json::from_str::<Budget>(r#"{"trails": 3}"#).is_err());
}

#[derive(Debug)]
struct AfterFailures(usize);

impl Stopper for AfterFailures {
    fn should_stop(&self, trials: &[Arc<TrialRecord>], directions: &[Direction]) -> bool {
        assert_eq!(directions, [Direction::Minimize]);
        trials.iter().filter(|trial| trial.state == TrialState::Failed).count() >= self.0
    }
}

#[test]
fn a_stopper_of_ones_own_sees_every_trial() {
    let study = line().with_stopper(Arc::new(AfterFailures(3)));
    let summary = study
        .optimize(|_| Err::<f64, _>(TrialError::failed("always")), Budget::trials(50))
        .unwrap();
    assert_eq!((summary.trials, summary.reason), (3, StopReason::Stopper));
}

#[test]
fn a_callback_hears_of_every_trial_and_may_stop_the_study() {
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let study = line().with_callback(move |study: &Study, trial: &TrialRecord| {
        count.fetch_add(1, Ordering::Relaxed);
        assert!(trial.number != 1, "a callback that panics");
        if study.best().unwrap().number == 3 {
            study.stop();
        }
    });
    let falling = |trial: &mut mlp_tune::Trial<'_>| Ok(-(trial.number() as f64));
    let summary = study.optimize(falling, Budget::trials(100)).unwrap();
    assert_eq!((summary.trials, summary.reason), (4, StopReason::Stopped));
    assert_eq!((heard.load(Ordering::Relaxed), study.observer_panics()), (4, 1));
}

#[test]
fn a_stop_on_four_threads_leaves_no_trial_running() {
    let study = line().with_threads(4);
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        if trial.number() == 10 {
            trial.study().stop();
        }
        // Each other thread is in one trial at most when the study is told to stop, however late that thread gets to say so.
        while trial.number() > 10 && !trial.is_stopping() {
            std::thread::yield_now();
        }
        Ok(0.0)
    };
    let summary = study.optimize(objective, Budget::unlimited()).unwrap();
    assert_eq!(summary.reason, StopReason::Stopped);
    let states = states(&study);
    assert!((11..=14).contains(&states.len()), "{}", states.len());
    assert!(states.iter().all(|state| *state == TrialState::Complete));
    // It can go on.
    study.optimize(|_| Ok(1.0), Budget::trials(3)).unwrap();
    assert_eq!(study.trials().unwrap().len(), states.len() + 3);
}

/// Adds a trial to the store of a study just after that has looked how many there are.
#[derive(Debug)]
struct Meanwhile(Study);

impl Stopper for Meanwhile {
    fn should_stop(&self, _: &[Arc<TrialRecord>], _: &[Direction]) -> bool {
        self.0.ask().unwrap().tell(0.0).unwrap();
        false
    }
}

#[test]
fn a_total_of_trials_is_kept_when_others_add_trials_at_the_same_time() {
    let store = Arc::new(MemoryStore::new());
    let other = Meanwhile(line().with_store(store.clone()));
    let study = line().with_store(store).with_stopper(Arc::new(other));
    let summary = study.optimize(|_| Ok(0.0), Budget::total_trials(3)).unwrap();
    assert_eq!((summary.trials, summary.reason), (1, StopReason::Trials));
    assert_eq!(states(&study), [TrialState::Complete; 3]);
}
