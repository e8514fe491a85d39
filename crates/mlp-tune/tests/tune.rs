//! Studies as their users see them.

#[path = "tune/budgets.rs"]
mod budgets;
#[path = "tune/checkpoints.rs"]
mod checkpoints;
#[path = "tune/crash.rs"]
mod crash;
#[path = "tune/duplicates.rs"]
mod duplicates;
#[path = "tune/faults.rs"]
mod faults;
#[path = "tune/insight.rs"]
mod insight;
#[path = "tune/outcomes.rs"]
mod outcomes;
#[path = "tune/promotion.rs"]
mod promotion;
#[path = "tune/pruners.rs"]
mod pruners;
#[path = "tune/resume.rs"]
mod resume;
#[path = "tune/samplers.rs"]
mod samplers;
#[path = "tune/several.rs"]
mod several;
#[path = "tune/spaces.rs"]
mod spaces;
#[path = "tune/studies.rs"]
mod studies;

use mlp_core::{Dimension, Direction, Params, SearchSpace};
use mlp_tune::{RandomSampler, Study, TrialRecord, TrialState};

pub(crate) fn plane() -> SearchSpace {
    SearchSpace::new([
        Dimension::float("x", -5.0, 5.0),
        Dimension::log_float("rate", 1e-4, 1.0),
        Dimension::categorical("kind", ["a", "b"]),
        Dimension::int("depth", 1, 8).when("kind", ["b"]),
    ])
    .unwrap()
}

pub(crate) fn bowl(params: &Params) -> f64 {
    let number = |name| params.get(name).and_then(mlp_core::ParamValue::as_float);
    let x = number("x").unwrap_or_default() - 1.0;
    let rate = number("rate").unwrap_or(1.0).log10() + 2.0;
    x * x + rate * rate + number("depth").map_or(0.5, |depth| (depth - 3.0).abs() * 0.1)
}

/// What makes two studies the same: numbers, states, parameters, values.
pub(crate) fn essence(study: &Study) -> Vec<String> {
    let line = |t: &TrialRecord| format!("{} {} {} {:?}", t.number, t.state, t.params, t.values);
    study.trials().unwrap().iter().map(|trial| line(trial)).collect()
}

/// A study over one number from 0 to 1, at random.
pub(crate) fn line() -> Study {
    let space = SearchSpace::new([Dimension::float("x", 0.0, 1.0)]).unwrap();
    Study::new(space, Direction::Minimize).with_sampler(RandomSampler::new())
}

pub(crate) fn states(study: &Study) -> Vec<TrialState> {
    study.trials().unwrap().iter().map(|trial| trial.state).collect()
}
