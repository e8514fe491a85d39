//! Spaces as they are declared, grown and read.

use std::path::Path;

use mlp_core::{Dimension, Direction, ParamValue, SearchSpace};
use mlp_tune::{
    Budget, CmaEsSampler, GpSampler, GpSettings, RandomSampler, Sampler, Study, TpeSampler, Trial,
    TuneError,
};

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

/// The losses of the last trials, the best first.
fn last_losses(study: &Study, count: usize) -> Vec<f64> {
    let trials = study.trials().unwrap();
    let mut losses: Vec<f64> =
        trials[trials.len() - count..].iter().map(|trial| trial.values[0]).collect();
    losses.sort_by(f64::total_cmp);
    losses
}

#[test]
fn a_space_may_get_a_new_parameter_and_the_trials_without_it_count() {
    let samplers: [fn() -> Box<dyn Sampler>; 2] =
        [|| Box::new(TpeSampler::default()), || Box::new(GpSampler::default())];
    for sampler in samplers {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |space, name: &str| open(space, &folder.path().join(name)).with_sampler(sampler());
        open(narrow(), "study.log").optimize(objective, Budget::trials(30)).unwrap();
        let study = open(wide(), "study.log");
        study.optimize(objective, Budget::trials(10)).unwrap();
        let afresh = open(wide(), "afresh.log");
        afresh.optimize(objective, Budget::trials(10)).unwrap();
        let (own, other) = (last_losses(&study, 10), last_losses(&afresh, 10));
        assert!(own[2] < 0.01 * other[2], "{own:?} {other:?}");
        assert!(study.trials().unwrap()[30..].iter().all(|t| study.space().contains(&t.params)));
    }
}

#[test]
fn trials_that_share_no_parameter_with_the_space_teach_the_gaussian_process_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let proposed = |startup_trials: Option<usize>, name: &str| {
        let open = |parameter: &str| {
            let space = space([Dimension::float(parameter, 0.0, 1.0)]);
            let mut settings = GpSettings::default();
            settings.startup_trials = startup_trials;
            open(space, &folder.path().join(name)).with_sampler(GpSampler::new(settings))
        };
        open("x").optimize(|trial| Ok(trial.float("x")?), Budget::trials(10)).unwrap();
        let study = open("y");
        study.optimize(|t| Ok((t.float("y")? - 0.3).powi(2)), Budget::trials(12)).unwrap();
        let trials = study.trials().unwrap();
        let y = trials[10..].iter().map(|t| t.params.get("y").unwrap().as_float().unwrap());
        y.collect::<Vec<_>>()
    };
    // The first four of its own lie on the sequence, as they do with any other trials before them; then it has learnt.
    let (own, sequence) = (proposed(None, "study.log"), proposed(Some(99), "sequence.log"));
    assert_eq!(own[..4], sequence[..4]);
    assert_ne!(own[4..], sequence[4..]);
    let near = own[4..].iter().filter(|&y| (y - 0.3).abs() < 0.05).count();
    assert!(near >= 4, "{own:?}");
}

#[test]
fn a_space_that_has_grown_proposes_the_same_after_a_restart() {
    let samplers: [fn() -> Box<dyn Sampler>; 3] = [
        || Box::new(TpeSampler::default()),
        || Box::new(GpSampler::default()),
        || Box::new(CmaEsSampler::default()),
    ];
    for sampler in samplers {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |space, name: &str| open(space, &folder.path().join(name)).with_sampler(sampler());
        for name in ["whole.log", "halves.log"] {
            open(narrow(), name).optimize(objective, Budget::trials(20)).unwrap();
        }
        let whole = open(wide(), "whole.log");
        whole.optimize(objective, Budget::trials(20)).unwrap();
        open(wide(), "halves.log").optimize(objective, Budget::trials(9)).unwrap();
        let halves = open(wide(), "halves.log");
        halves.optimize(objective, Budget::trials(11)).unwrap();
        assert_eq!(crate::essence(&whole), crate::essence(&halves));
    }
}

/// CMA-ES on a bowl around 0.7 in every number of the space.
fn follow(space: SearchSpace, path: &Path, trials: u64) -> Study {
    let study = open(space, path).with_sampler(CmaEsSampler::default());
    let bowl = |trial: &mut Trial<'_>| {
        let numbers = trial.params().iter().filter_map(|(_, value)| value.as_float());
        Ok(numbers.map(|x| (x - 0.7).powi(2)).sum::<f64>())
    };
    study.optimize(bowl, Budget::trials(trials)).unwrap();
    study
}

#[test]
fn cma_es_goes_on_where_it_was_when_a_range_gets_wider() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let square = |low, high| {
        space([
            Dimension::float("x", low, high),
            Dimension::float("y", low, high),
            Dimension::float("z", 0.0, 1.0),
        ])
    };
    follow(square(0.0, 1.0), &path, 140);
    let study = follow(square(-1.0, 3.0), &path, 14);
    // Shares of the earlier range lie elsewhere in the wider one: 0.7 is where 1.8 is now.
    let losses = last_losses(&study, 14);
    assert!(losses[13] < 0.1, "{losses:?}");
}

#[test]
fn cma_es_begins_anew_when_a_number_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let dimensions = ["x", "y", "z"].map(|name| Dimension::float(name, 0.0, 1.0));
    follow(space(dimensions[..2].iter().cloned()), &path, 120);
    let study = follow(space(dimensions), &path, 140);
    let trials = study.trials().unwrap();
    let spread = |numbers: std::ops::Range<usize>| {
        let x = trials[numbers].iter().map(|t| t.params.get("x").unwrap().as_float().unwrap());
        let x: Vec<f64> = x.collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
    };
    assert!(spread(100..120) < 0.02 && spread(120..127) > 0.05);
    assert!(last_losses(&study, 14)[13] < 0.01);
}
