//! Several objectives: constraints, reports and pruning.

use mlp_core::{Dimension, Direction, SearchSpace};
use mlp_tune::{
    HalvingPruner, NoPruner, Patience, PatientPruner, PercentilePruner, PromotionPruner, Pruner,
    RandomSampler, Study, ThresholdPruner, TrialState, TuneError, WilcoxonPruner,
};

fn study(pruner: impl Pruner + 'static) -> Study {
    let space = SearchSpace::new([Dimension::float("x", 0.0, 1.0)]).unwrap();
    let directions = [Direction::Minimize, Direction::Maximize];
    let study = Study::with_objectives(space, directions).unwrap();
    study.with_sampler(RandomSampler::new()).with_pruner(pruner)
}

/// Runs a trial with these reports to its end, and returns the steps at which the pruner would have stopped it.
fn stops(study: &Study, reports: &[[f64; 2]]) -> Vec<usize> {
    let mut trial = study.ask().unwrap();
    let mut stops = Vec::new();
    for (step, values) in reports.iter().enumerate() {
        trial.report(step as i64, *values).unwrap();
        if trial.should_prune().unwrap() {
            stops.push(step);
        }
    }
    let last = reports.last().unwrap().map(|value| if value.is_nan() { 0.0 } else { value });
    trial.tell(last).unwrap();
    stops
}

const NONE: [usize; 0] = [];

#[test]
fn the_median_stops_what_lies_behind_the_median_front() {
    let study = study(PercentilePruner::median(Patience::default().with_startup_trials(0)));
    // The ends of a front, and its middle, which is worse than the median in each objective for itself.
    for ends in [[0.0, 0.0], [0.0, 0.1], [1.0, 1.0], [0.9, 1.0]] {
        stops(&study, &[ends]);
    }
    assert_eq!(stops(&study, &[[0.5, 0.5]]), NONE, "nothing dominates it");
    assert_eq!(stops(&study, &[[1.0, 0.0]]), [0], "everything does");
    assert_eq!(stops(&study, &[[f64::NAN, 2.0]]), [0]);
}

#[test]
fn successive_halving_keeps_the_first_front() {
    let study = study(HalvingPruner::new(1, 2).unwrap());
    assert_eq!(stops(&study, &[[0.0, 0.0], [0.0, 1.0]]), NONE);
    assert_eq!(stops(&study, &[[0.0, 0.0], [1.0, 2.0]]), NONE, "another compromise");
    assert_eq!(stops(&study, &[[0.0, 0.0], [1.0, 1.0]]), [1], "dominated by both");
}

#[test]
fn promotion_takes_up_the_first_front() {
    let study = study(PromotionPruner::new(1, 4, 2).unwrap());
    for values in [[3.0, 0.0], [2.0, 1.0]] {
        let mut trial = study.ask().unwrap();
        trial.report(1, values).unwrap();
        match trial.should_prune().unwrap() {
            true => trial.prune().unwrap(),
            false => trial.tell(values).unwrap(),
        }
    }
    use TrialState::{Complete, Running};
    let states: Vec<_> = study.trials().unwrap().iter().map(|trial| trial.state).collect();
    assert_eq!(states, [Running, Complete], "the first is dominated, and waits");
}

#[test]
fn folds_are_compared_with_every_trial_that_nothing_dominates() {
    let study = study(WilcoxonPruner::new(0.1).unwrap());
    let folds = |one: f64, two: f64| -> Vec<[f64; 2]> {
        (0..8).map(|k| [one + 0.01 * f64::from(k), two + 0.01 * f64::from(k)]).collect()
    };
    assert_eq!(stops(&study, &folds(0.0, 0.0)), NONE);
    assert_eq!(stops(&study, &folds(1.0, 1.0)), NONE, "better in the second objective");
    let stopped = stops(&study, &folds(2.0, 0.5));
    assert!(stopped.contains(&7) && !stopped.contains(&1), "{stopped:?}");
    assert_eq!(stops(&study, &folds(0.5, 0.5)), NONE, "nothing beats it in both");
}

#[test]
fn patience_ends_when_no_objective_improves_and_a_threshold_looks_at_one() {
    let patient = study(PatientPruner::new(0));
    assert_eq!(stops(&patient, &[[1.0, 1.0], [2.0, 2.0], [3.0, 1.0]]), [2]);
    let around = study(PatientPruner::around(NoPruner, 0));
    assert_eq!(stops(&around, &[[1.0, 1.0], [3.0, 0.0]]), NONE);
    let threshold = study(ThresholdPruner::new(0.0, 1.0).unwrap().with_objective(1));
    assert_eq!(stops(&threshold, &[[9.0, 0.5], [0.5, 9.0]]), [1]);
}

#[test]
fn a_report_has_one_value_or_one_for_each_objective() {
    let study = study(NoPruner);
    let mut trial = study.ask().unwrap();
    trial.report(0, 1.0).unwrap();
    trial.report(1, [1.0, 2.0]).unwrap();
    let wrong = trial.report(2, [1.0, 2.0, 3.0]);
    assert!(matches!(wrong, Err(TuneError::WrongNumberOfValues { given: 3, expected: 2 })));
    trial.prune().unwrap();
    let trial = &study.trials().unwrap()[0];
    assert_eq!((trial.reported(0), trial.reported(1)), (Some(&[1.0][..]), Some(&[1.0, 2.0][..])));
    assert_eq!(trial.values, [1.0, 2.0]);
}

#[test]
fn several_objectives_and_constraints_come_back_from_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let first = study(NoPruner).with_journal(&path).unwrap();
    for (values, violation) in [([0.0, 1.0], 0.5), ([1.0, 3.0], 0.0), ([2.0, 2.0], -1.0)] {
        let mut trial = first.ask().unwrap();
        trial.report(0, values).unwrap();
        trial.set_constraint("memory", violation).unwrap();
        trial.tell(values).unwrap();
    }
    let again = study(NoPruner).with_journal(&path).unwrap();
    assert_eq!(again.trials().unwrap(), first.trials().unwrap());
    let front: Vec<u64> = again.pareto_front().unwrap().iter().map(|t| t.number).collect();
    assert_eq!(front, [1], "an infeasible trial is in no front");
    assert!(matches!(again.best(), Err(TuneError::NotOneObjective { objectives: 2 })));
}
