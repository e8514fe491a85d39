//! Spaces as they are declared, grown and read.

use std::path::Path;

use mlp_core::{Dimension, Direction, ParamValue, SearchSpace};
use mlp_tune::{Budget, RandomSampler, Study, TpeSampler, Trial, TuneError};

fn space(dimensions: impl IntoIterator<Item = Dimension>) -> SearchSpace {
    SearchSpace::new(dimensions).unwrap()
}

#[test]
fn a_declared_space_gives_typed_values_and_constants() {
    let text = r#"[
        {"name": "rate", "domain": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}},
        {"name": "share", "domain": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25}},
        {"name": "width", "domain": {"type": "int", "low": 1, "high": 64, "scale": "log"}},
        {"name": "depth", "domain": {"type": "int", "low": 2, "high": 10, "step": 4}},
        {"name": "warm", "domain": {"type": "categorical", "choices": [true, false]}},
        {"name": "kind", "domain": {"type": "categorical", "choices": ["a", 3, 0.5, [1, 2]]}},
        {"name": "seed", "domain": {"type": "categorical", "choices": [42]}},
        {"name": "extra", "domain": {"type": "int", "low": 0, "high": 9}, "condition": {"parameter": "warm", "values": [true]}}
    ]"#;
    let space: SearchSpace = serde_json::from_str(text).unwrap();
    assert_eq!(space.dimensions()[6], Dimension::constant("seed", 42));
    for sampler in [true, false] {
        let study = Study::new(space.clone(), Direction::Minimize).with_seed(1);
        let study = if sampler { study } else { study.with_sampler(RandomSampler::new()) };
        let objective = |trial: &mut Trial<'_>| {
            assert!(trial.study().space().contains(trial.params()));
            assert_eq!(trial.int("seed")?, 42);
            assert_eq!(trial.boolean("warm")?, trial.params().get("extra").is_some());
            assert!([2, 6, 10].contains(&trial.int("depth")?));
            trial.float("kind").or(trial.text("kind").map(|_| 0.0)).ok();
            Ok(trial.float("rate")? + trial.float("share")? + trial.float("width")?)
        };
        study.optimize(objective, Budget::trials(40)).unwrap();
        assert!(study.trials().unwrap().iter().all(|trial| trial.failure().is_none()));
    }
}

#[test]
fn a_wrong_domain_or_type_is_an_error_that_names_the_parameter() {
    let named = |error: TuneError, expected: &str| match error {
        TuneError::Parameter { parameter, .. } => assert_eq!(parameter, expected),
        error => panic!("{error}"),
    };
    let study = Study::new(space([Dimension::float("x", 0.0, 1.0)]), Direction::Minimize);
    let mut trial = study.ask().unwrap();
    named(trial.suggest_float("low", 1.0, 0.0).unwrap_err(), "low");
    named(trial.suggest_log_float("log", 0.0, 1.0).unwrap_err(), "log");
    named(trial.suggest_log_int("log", 0, 9).unwrap_err(), "log");
    named(trial.suggest_stepped_float("step", 0.0, 1.0, 0.0).unwrap_err(), "step");
    named(trial.suggest_stepped_int("step", 0, 9, 0).unwrap_err(), "step");
    named(trial.suggest_choice::<i64>("none", []).unwrap_err(), "none");
    named(trial.suggest_choice("twice", [1, 1]).unwrap_err(), "twice");
    named(trial.int("x").unwrap_err(), "x");
    named(trial.boolean("x").unwrap_err(), "x");
    named(trial.float("y").unwrap_err(), "y");
    assert!([1.0, 4.0, 7.0].contains(&trial.suggest_stepped_float("s", 1.0, 9.0, 3.0).unwrap()));
    assert!([1, 5, 9].contains(&trial.suggest_stepped_int("i", 1, 10, 4).unwrap()));
    assert!((1e-3..=1.0).contains(&trial.suggest_log_float("l", 1e-3, 1.0).unwrap()));
    assert!((1..=9).contains(&trial.suggest_log_int("m", 1, 9).unwrap()));
    assert!(matches!(trial.suggest_choice("c", [true, false]).unwrap(), ParamValue::Bool(_)));
}

fn narrow() -> SearchSpace {
    space([Dimension::float("x", 0.0, 1.0), Dimension::categorical("kind", ["a", "b"])])
}

fn wide() -> SearchSpace {
    space([
        Dimension::float("x", -0.5, 1.5),
        Dimension::categorical("kind", ["a", "b", "c"]),
        Dimension::int("depth", 1, 4),
    ])
}

fn open(space: SearchSpace, path: &Path) -> Study {
    let study = Study::new(space, Direction::Minimize).with_seed(6);
    study.with_sampler(TpeSampler::default()).with_journal(path).unwrap()
}

fn objective(trial: &mut Trial<'_>) -> Result<f64, mlp_tune::TrialError> {
    let kind = if trial.text("kind")? == "b" { 0.0 } else { 1.0 };
    Ok((trial.float("x")? - 0.7).powi(2) + kind)
}

#[test]
fn a_space_may_grow_and_the_trials_of_the_smaller_one_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    open(narrow(), &path).optimize(objective, Budget::trials(30)).unwrap();
    // Ranges widen and choices are appended.
    let grown = SearchSpace::new(wide().dimensions()[..2].iter().cloned()).unwrap();
    let study = open(grown.clone(), &path);
    study.optimize(objective, Budget::trials(10)).unwrap();
    // It goes on near the best of the old trials; the control knows none of them.
    let best_of_ten = |study: &Study| {
        let trials = study.trials().unwrap();
        let last = &trials[trials.len() - 10..];
        last.iter().map(|trial| trial.values[0]).fold(f64::INFINITY, f64::min)
    };
    let afresh = open(grown, &folder.path().join("afresh.log"));
    afresh.optimize(objective, Budget::trials(10)).unwrap();
    assert!(best_of_ten(&study) < 0.1 * best_of_ten(&afresh));
    assert!(study.trials().unwrap()[30..].iter().all(|t| study.space().contains(&t.params)));
}

#[test]
fn a_trial_of_a_dead_process_gets_the_parameters_that_the_space_has_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let first = open(narrow(), &path);
    first.ask().unwrap().interrupt().unwrap();
    let study = open(wide(), &path);
    let trial = study.ask().unwrap();
    assert_eq!(trial.number(), 0);
    assert!((1..=4).contains(&trial.int("depth").unwrap()));
    trial.tell(0.0).unwrap();
}
