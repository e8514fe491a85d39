//! What a study has found, as data.

use mlp_core::{Dimension, Direction, SearchSpace};
use mlp_tune::{Budget, Study, TrialError, TuneError};

fn study() -> Study {
    let space = SearchSpace::new([
        Dimension::categorical("kind", ["a", "b,c"]),
        Dimension::int("n", 1, 9).when("kind", ["b,c"]),
    ]);
    let study = Study::new(space.unwrap(), Direction::Minimize).with_seed(2);
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        trial.set_attribute("fold", trial.number())?;
        match trial.number() {
            0 => Err(TrialError::failed("the first")),
            1 => Ok(f64::INFINITY),
            number => {
                trial.set_constraint("size", if number == 2 { 1.0 } else { 0.0 })?;
                Ok(10.0 - number as f64)
            }
        }
    };
    study.optimize(objective, Budget::trials(8)).unwrap();
    study
}

#[test]
fn the_table_has_a_row_for_each_trial_and_a_column_for_each_parameter() {
    let table = study().table().unwrap();
    let columns = [
        "number",
        "state",
        "value",
        "started",
        "seconds",
        "param_kind",
        "param_n",
        "attribute_fold",
    ];
    assert_eq!((&table.columns[..], table.rows.len()), (&columns.map(str::to_owned)[..], 8));
    assert_eq!((&*table.rows[0][1], &*table.rows[0][2]), ("failed", ""));
    assert_eq!((&*table.rows[1][2], &*table.rows[7][2]), ("inf", "3.0"));
    let text = table.to_string();
    assert_eq!(text.lines().count(), 9);
    assert!(text.contains("\"b,c\""), "{text}");
}

#[test]
fn the_history_has_the_best_feasible_score_so_far() {
    let points = study().history_points().unwrap();
    let numbers: Vec<u64> = points.iter().map(|point| point.number).collect();
    assert_eq!(numbers, (1..8).collect::<Vec<_>>());
    let best: Vec<f64> = points.iter().map(|point| point.best).collect();
    assert_eq!(best, [f64::INFINITY, f64::INFINITY, 7.0, 6.0, 5.0, 4.0, 3.0]);
    assert!(!points[1].is_feasible && points[1].value == 8.0);
    assert!(serde_json::to_string(&points).unwrap().contains("Infinity"));
}

#[test]
fn a_slice_has_the_trials_with_the_parameter_only() {
    let study = study();
    let kinds = study.slice("kind", 0).unwrap();
    assert_eq!(kinds.len(), 7);
    let n = study.slice("n", 0).unwrap();
    assert!(!n.is_empty() && n.len() < 7);
    assert!(matches!(study.slice("m", 0), Err(TuneError::Parameter { .. })));
    assert!(matches!(study.slice("n", 1), Err(TuneError::Setting { .. })));
}
