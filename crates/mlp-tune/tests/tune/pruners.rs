//! Optuna's behaviours of pruners, by name.

use mlp_core::{Dimension, Direction, SearchSpace};
use mlp_tune::{
    Budget, HalvingPruner, HyperbandPruner, Patience, PatientPruner, PercentilePruner, Pruner,
    RandomSampler, Study, ThresholdPruner, TrialError, TrialState, WilcoxonPruner,
};

fn study(direction: Direction, pruner: impl Pruner + 'static) -> Study {
    let space = SearchSpace::new([Dimension::float("x", 0.0, 1.0)]).unwrap();
    Study::new(space, direction).with_sampler(RandomSampler::new()).with_pruner(pruner)
}

/// Runs a trial with these reports to its end, and returns the steps at which the pruner would have stopped it.
fn stops(study: &Study, reports: &[(i64, f64)]) -> Vec<i64> {
    let mut trial = study.ask().unwrap();
    let mut stops = Vec::new();
    for &(step, value) in reports {
        trial.report(step, value).unwrap();
        if trial.should_prune().unwrap() {
            stops.push(step);
        }
    }
    trial.tell(reports.last().map_or(0.0, |r| if r.1.is_nan() { 0.0 } else { r.1 })).unwrap();
    stops
}

fn at_once() -> Patience {
    Patience::default().with_startup_trials(0)
}

fn median(patience: Patience) -> PercentilePruner {
    PercentilePruner::median(patience)
}

use Direction::{Maximize, Minimize};

const NONE: [i64; 0] = [];

#[test]
fn the_median_stops_what_is_worse_than_the_complete_trials() {
    for (direction, worse) in [(Minimize, 2.0), (Maximize, 0.5)] {
        let study = study(direction, median(at_once()));
        assert_eq!(stops(&study, &[(1, 1.0)]), NONE);
        assert!(!study.ask().unwrap().should_prune().unwrap(), "nothing is reported");
        assert_eq!(stops(&study, &[(1, worse)]), [1]);
    }
}

#[test]
fn the_median_waits_for_startup_trials_and_warm_up() {
    let startup = study(Minimize, median(Patience::default().with_startup_trials(2)));
    assert_eq!(stops(&startup, &[(1, 1.0)]), NONE);
    assert_eq!(stops(&startup, &[(1, 2.0)]), NONE);
    assert_eq!(stops(&startup, &[(1, 3.0)]), [1]);
    let warm = study(Minimize, median(at_once().with_warmup_steps(1)));
    stops(&warm, &[(0, 1.0), (1, 1.0)]);
    assert_eq!(stops(&warm, &[(0, 2.0), (1, 2.0)]), [1]);
}

#[test]
fn the_interval_table_is_optunas() {
    let table: [(i64, i64, i64, Vec<i64>); 5] = [
        (0, 1, 1, (0..=5).collect()),
        (1, 1, 1, (1..=5).collect()),
        (1, 2, 1, vec![1, 3, 5]),
        (0, 3, 10, (0..=28).collect()),
        (0, 10, 3, vec![0, 1, 2, 12, 13, 14, 21, 22, 23]),
    ];
    for (warmup, interval, every, expected) in table {
        let patience = at_once().with_warmup_steps(warmup).with_interval_steps(interval);
        let study = study(Minimize, median(patience));
        let zeros: Vec<_> = (0..30).map(|step| (step, 0.0)).collect();
        stops(&study, &zeros);
        // The question is asked at every step, whether there is a new report or not.
        let mut trial = study.ask().unwrap();
        let mut stopped = Vec::new();
        for step in 0..if every == 1 { 6 } else { 29 } {
            if step % every == 0 {
                trial.report(step, 2.0).unwrap();
            }
            if trial.should_prune().unwrap() {
                stopped.push(step);
            }
        }
        assert_eq!(stopped, expected, "{warmup} {interval} {every}");
    }
}

#[test]
fn a_percentile_is_taken_at_the_same_step() {
    for (direction, stopped, kept) in [(Minimize, 2.1, 2.0), (Maximize, 3.9, 4.0)] {
        let study = study(direction, PercentilePruner::new(25.0, at_once()).unwrap());
        let fill = |value: f64| {
            study.ask().and_then(|mut trial| trial.report(1, value).and(trial.tell(value)))
        };
        (1..=5).for_each(|value| fill(f64::from(value)).unwrap());
        let judge = |value| {
            let mut trial = study.ask().unwrap();
            trial.report(1, value).unwrap();
            trial.should_prune().unwrap()
        };
        assert!(judge(stopped) && !judge(kept));
    }
    assert!(PercentilePruner::new(101.0, at_once()).is_err());
    assert!(PercentilePruner::new(f64::NAN, at_once()).is_err());
}

#[test]
fn nan_reports_are_no_values() {
    let study_ = study(Minimize, median(at_once()));
    assert_eq!(stops(&study_, &[(0, f64::NAN)]), NONE);
    assert_eq!(stops(&study_, &[(0, f64::NAN)]), [0], "its own best is NaN");
    assert_eq!(stops(&study_, &[(0, 1.0)]), NONE, "the reference is NaN");
}

#[test]
fn successive_halving_records_its_rungs_and_stops_the_worse() {
    let study_ = study(Minimize, HalvingPruner::new(1, 2).unwrap());
    let ones: Vec<_> = (0..10).map(|step| (step, 1.0)).collect();
    assert_eq!(stops(&study_, &ones), NONE);
    let rungs: Vec<String> = study_.trials().unwrap()[0]
        .system
        .keys()
        .filter(|name| name.starts_with("completed_rung_"))
        .cloned()
        .collect();
    assert_eq!(rungs, (0..4).map(|k| format!("completed_rung_{k}")).collect::<Vec<_>>());
    let mut second = study_.ask().unwrap();
    second.report(0, 2.0).unwrap();
    assert!(!second.should_prune().unwrap());
    second.report(1, 2.0).unwrap();
    assert!(second.should_prune().unwrap());
    let later = study(Minimize, HalvingPruner::new(2, 2).unwrap());
    assert_eq!(stops(&later, &[(1, f64::NAN), (2, f64::NAN)]), [2]);
}

/// What a trial had at a rung, as its mark says.
fn at_rung(study: &Study, number: usize, rung: u32) -> Option<f64> {
    study.trials().unwrap()[number].system.get(&format!("completed_rung_{rung}"))?.as_f64()
}

#[test]
fn a_rung_is_judged_by_what_the_trial_had_there_whichever_trial_is_judged_in_between() {
    let study = study(Minimize, HalvingPruner::new(1, 2).unwrap()).with_order(3);
    let (mut zero, mut one) = (study.ask().unwrap(), study.ask().unwrap());
    let report = |trial: &mut mlp_tune::Trial<'_>, step, value| {
        trial.report(step, value).unwrap();
        assert!(!trial.should_prune().unwrap());
    };
    report(&mut one, 1, 5.0);
    report(&mut zero, 1, 4.0);
    report(&mut one, 2, 7.0);
    assert_eq!([0, 1, 2].map(|rung| at_rung(&study, 1, rung)), [Some(5.0), Some(7.0), None]);
    assert_eq!([0, 1].map(|rung| at_rung(&study, 0, rung)), [Some(4.0), None]);
}

#[test]
fn a_trial_that_is_run_again_keeps_what_it_had_at_its_rungs() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let pruner = HalvingPruner::new(1, 2).unwrap();
        study(Minimize, pruner).with_journal(folder.path().join("study.log")).unwrap()
    };
    let first = open();
    assert_eq!(stops(&first, &[(1, 6.0)]), NONE);
    let mut trial = first.ask().unwrap();
    trial.report(1, 5.0).unwrap();
    assert!(!trial.should_prune().unwrap());
    trial.report(2, 7.0).unwrap();
    trial.interrupt().unwrap();
    // By its last report, 7.0, it would be stopped at the first rung.
    let second = open();
    let mut trial = second.ask().unwrap();
    assert_eq!((trial.number(), trial.is_resumed()), (1, true));
    assert!(!trial.should_prune().unwrap());
    assert_eq!([0, 1].map(|rung| at_rung(&second, 1, rung)), [Some(5.0), Some(7.0)]);
}

#[test]
fn a_report_at_the_largest_step_reaches_the_rungs_there_are_and_no_more() {
    let halving = HalvingPruner::new(1, 2).unwrap();
    let hyperband = HyperbandPruner::new(1, i64::MAX, 2).unwrap();
    for study in [study(Minimize, halving), study(Minimize, hyperband)] {
        let mut trial = study.ask().unwrap();
        trial.report(i64::MAX, 1.0).unwrap();
        assert!(!trial.should_prune().unwrap());
        let system = &study.trials().unwrap()[0].system;
        let rungs = system.keys().filter(|name| name.starts_with("completed_rung_")).count();
        assert!((1..=63).contains(&rungs), "{rungs}");
    }
}

#[test]
fn hyperband_stops_trials_in_some_brackets() {
    let study = study(Minimize, HyperbandPruner::new(1, 16, 2).unwrap());
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        let value = trial.float("x")?;
        for step in 1..=16 {
            trial.report(step, value)?;
            if trial.should_prune()? {
                return Err(TrialError::Pruned);
            }
        }
        Ok(value)
    };
    study.optimize(objective, Budget::trials(60)).unwrap();
    let trials = study.trials().unwrap();
    let pruned = trials.iter().filter(|trial| trial.state == TrialState::Pruned).count();
    assert!((10..55).contains(&pruned), "{pruned}");
    let best = trials.iter().map(|t| t.params.get("x").unwrap().as_float().unwrap());
    assert!(study.best().unwrap().value().unwrap() <= best.fold(1.0, f64::min) + 0.1);
}

#[test]
fn patience_ends_as_in_optuna() {
    type Case<'a> = (usize, f64, Direction, &'a [f64], &'a [i64]);
    let cases: [Case<'_>; 7] = [
        (0, 0.0, Maximize, &[1.0, 0.0], &[1]),
        (1, 0.0, Maximize, &[2.0, 1.0, 0.0], &[2]),
        (0, 1.0, Maximize, &[1.0, 0.0], &[]),
        (0, 0.0, Minimize, &[0.0, 1.0], &[1]),
        (1, 0.0, Minimize, &[0.0, 1.0, 2.0], &[2]),
        (0, 1.0, Minimize, &[0.0, 1.0], &[]),
        (0, 0.0, Minimize, &[f64::NAN, f64::NAN, f64::NAN], &[]),
    ];
    for (patience, tolerance, direction, values, expected) in cases {
        let pruner = PatientPruner::new(patience).with_tolerance(tolerance).unwrap();
        let reports: Vec<_> = (0..).zip(values.iter().copied()).collect();
        assert_eq!(stops(&study(direction, pruner), &reports), expected, "{values:?}");
    }
    let around = PatientPruner::around(mlp_tune::NoPruner, 0);
    assert_eq!(stops(&study(Maximize, around), &[(0, 1.0), (1, 0.0)]), NONE);
}

#[test]
fn a_threshold_stops_nan_and_what_lies_outside() {
    let study = study(Minimize, ThresholdPruner::new(0.0, 1.0).unwrap().with_warmup_steps(1));
    let reports = [(0, 5.0), (1, 0.5), (2, 1.5), (3, -0.5), (4, f64::NAN), (5, 1.0)];
    assert_eq!(stops(&study, &reports), [2, 3, 4]);
    assert!(ThresholdPruner::new(1.0, 0.0).is_err());
}

#[test]
fn folds_worse_than_the_best_trials_are_stopped_by_wilcoxons_test() {
    let values = [-1.0, 1.0, 2.0, 3.0, 4.0, 5.0, -2.0, -3.0];
    for (direction, sign) in [(Minimize, 1.0), (Maximize, -1.0)] {
        let pruner = WilcoxonPruner::new(0.2).unwrap().with_startup_steps(0);
        let study = study(direction, pruner);
        let best: Vec<(i64, f64)> = (0..10).map(|step| (step, 0.0)).collect();
        assert_eq!(stops(&study, &best), NONE);
        let reports: Vec<_> = (0..).zip(values.map(|value| sign * value)).collect();
        assert_eq!(stops(&study, &reports), [3, 4, 5, 6, 7]);
    }
}

#[test]
fn a_trial_whose_average_is_best_is_never_stopped_nor_one_without_numbers() {
    let study = study(Minimize, WilcoxonPruner::new(0.9).unwrap());
    stops(&study, &[(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]);
    // Worse at three of four steps, and far better at one.
    assert_eq!(stops(&study, &[(0, -100.0), (1, 1.1), (2, 1.2), (3, 1.3)]), NONE);
    let trial = study.ask().unwrap();
    trial.fail("makes room").unwrap();
    assert_eq!(stops(&study, &[(0, f64::NAN), (1, 900.0), (2, 900.0)]), NONE);
    assert_eq!(stops(&study, &[(7, 900.0), (8, 900.0), (9, 900.0)]), NONE, "no common steps");
    assert!(WilcoxonPruner::new(1.1).is_err() && WilcoxonPruner::new(f64::NAN).is_err());
}

#[test]
fn pruning_does_not_depend_on_threads_in_an_ordered_study() {
    let run = |threads| {
        let study =
            study(Minimize, HalvingPruner::new(1, 2).unwrap()).with_order(3).with_threads(threads);
        let objective = |trial: &mut mlp_tune::Trial<'_>| {
            let value = trial.float("x")?;
            for step in 1..=8 {
                std::thread::sleep(std::time::Duration::from_micros(50 * (trial.number() * 7 % 5)));
                trial.report(step, value + 1.0 / step as f64)?;
                if trial.should_prune()? {
                    return Err(TrialError::Pruned);
                }
            }
            Ok(value)
        };
        study.optimize(objective, Budget::trials(60)).unwrap();
        assert!(crate::states(&study).contains(&TrialState::Pruned));
        crate::essence(&study)
    };
    let alone = run(1);
    assert!((0..3).all(|_| run(3) == alone));
}
