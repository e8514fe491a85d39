//! What every sampler promises: that the trials are a matter of the seed and the past alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Dimension, Direction, ManualClock, Params, SearchSpace, Timestamp};
use mlp_tune::{
    BruteForceSampler, Budget, CmaEsSampler, CmaEsSettings, GpSampler, GridSampler, NsgaSampler,
    NsgaSettings, RandomSampler, Restart, Sampler, SobolSampler, StopReason, Study, TpeSampler,
    TpeSettings, TrialError, TrialState, Variation,
};

use crate::{bowl, essence, plane, states};

const NAMES: [&str; 8] =
    ["random", "sobol", "tpe", "tpe_optuna", "cma", "gp", "nsga2", "nsga2_simulated"];

fn sampler(name: &str) -> Box<dyn Sampler> {
    let mut nsga = NsgaSettings::default();
    nsga.population = 6;
    let mut cma = CmaEsSettings::default();
    cma.restart = Restart::Larger;
    match name {
        "random" => Box::new(RandomSampler::new()),
        "sobol" => Box::new(SobolSampler::new()),
        "tpe" => Box::new(TpeSampler::default()),
        "tpe_optuna" => Box::new(TpeSampler::new(TpeSettings::optuna())),
        "cma" => Box::new(CmaEsSampler::new(cma)),
        "gp" => Box::new(GpSampler::default()),
        "nsga2" => Box::new(NsgaSampler::new(nsga)),
        _ => {
            nsga.variation = Variation::Simulated;
            Box::new(NsgaSampler::new(nsga))
        }
    }
}

fn study(name: &str) -> Study {
    Study::new(plane(), Direction::Minimize).with_seed(9).with_sampler(sampler(name))
}

/// Some trials fail, some are pruned: samplers must cope.
fn objective(number: u64, params: &Params) -> Result<f64, TrialError> {
    match number % 9 {
        4 => Err(TrialError::failed("now and then")),
        7 => Err(TrialError::Pruned),
        _ => Ok(bowl(params)),
    }
}

fn run(study: &Study, trials: u64) {
    let objective = |trial: &mut mlp_tune::Trial<'_>| objective(trial.number(), trial.params());
    study.optimize(objective, Budget::trials(trials)).unwrap();
}

#[test]
fn every_sampler_proposes_within_the_space_and_is_the_same_after_a_resume() {
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let whole = study(name);
        run(&whole, 40);
        let trials = whole.trials().unwrap();
        assert!(trials.iter().all(|trial| whole.space().contains(&trial.params)), "{name}");
        let path = folder.path().join("halves.log");
        let half = |path: &Path| study(name).with_journal(path).unwrap();
        // Twice in the middle of a generation.
        for trials in [17, 10] {
            run(&half(&path), trials);
        }
        let resumed = half(&path);
        run(&resumed, 13);
        assert_eq!(essence(&whole), essence(&resumed), "{name}");
        let other = study(name).with_seed(10);
        run(&other, 40);
        assert_ne!(essence(&whole), essence(&other), "{name}");
    }
}

#[test]
fn every_sampler_is_the_same_on_any_number_of_threads_in_an_ordered_study() {
    for name in NAMES {
        let on = |threads| {
            let study = study(name).with_order(4).with_threads(threads);
            run(&study, 30);
            essence(&study)
        };
        assert_eq!(on(1), on(3), "{name}");
    }
}

#[test]
fn what_samplers_keep_between_calls_only_saves_time() {
    // Trials that end out of their order, so that what was kept has to be put right: what follows is what a sampler proposes that sees the
    // whole past at once.
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.log");
        let kept = study(name).with_journal(&path).unwrap();
        let mut waiting = Vec::new();
        for round in 0..24_u64 {
            waiting.push(kept.ask().unwrap());
            if round % 3 == 2 {
                let trial = waiting.swap_remove(0);
                let value = bowl(trial.params());
                trial.tell(value).unwrap();
                let trial = waiting.pop().unwrap();
                let value = bowl(trial.params());
                trial.tell(value).unwrap();
            }
        }
        drop(waiting);
        // Both see the same history now; the copy of the file keeps their trials apart.
        let copy = folder.path().join("copy.log");
        std::fs::copy(&path, &copy).unwrap();
        let fresh = study(name).with_journal(&copy).unwrap();
        run(&kept, 8);
        run(&fresh, 8);
        assert_eq!(essence(&kept), essence(&fresh), "{name}");
    }
}

#[test]
fn brute_force_tries_every_point_of_a_conditional_space_once() {
    for threads in [1, 3] {
        let space = SearchSpace::new([
            Dimension::categorical("kind", ["a", "b", "c"]),
            Dimension::int("depth", 1, 4).when("kind", ["b"]),
            Dimension::stepped_float("rate", 0.0, 1.0, 0.5).when("kind", ["b", "c"]),
        ]);
        let study = Study::new(space.unwrap(), Direction::Minimize)
            .with_sampler(BruteForceSampler::new())
            .with_threads(threads);
        let objective = |trial: &mut mlp_tune::Trial<'_>| match trial.number() {
            3 => Err(TrialError::failed("once")),
            _ => Ok(0.0),
        };
        let summary = study.optimize(objective, Budget::unlimited()).unwrap();
        assert_eq!(summary.reason, mlp_tune::StopReason::Exhausted);
        let trials = study.trials().unwrap();
        let complete = trials.iter().filter(|t| t.state == mlp_tune::TrialState::Complete);
        let mut points: Vec<String> = complete.map(|trial| trial.params.to_string()).collect();
        points.sort();
        points.dedup();
        assert_eq!((points.len(), trials.len()), (1 + 4 * 3 + 3, 17), "one of them failed once");
    }
    let endless = SearchSpace::new([Dimension::float("x", 0.0, 1.0)]).unwrap();
    let study = Study::new(endless, Direction::Minimize).with_sampler(BruteForceSampler::new());
    assert!(study.ask().unwrap_err().to_string().contains("no end"));
}

#[test]
fn a_point_whose_trial_fails_while_the_sampler_is_asked_is_tried_again_on_several_threads() {
    let samplers: [Box<dyn Sampler>; 2] =
        [Box::new(GridSampler::new()), Box::new(BruteForceSampler::new())];
    for sampler in samplers {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let space = SearchSpace::new([Dimension::categorical("kind", ["a"])]).unwrap();
        let study = Study::new(space, Direction::Minimize)
            .with_sampler(sampler)
            .with_threads(2)
            .with_clock(clock.clone())
            .with_trial_limit(Duration::from_secs(10));
        // The other thread fails the first trial, which hangs, in the same breath in which it finds that nothing is left.
        let objective = |trial: &mut mlp_tune::Trial<'_>| {
            if trial.number() == 0 {
                clock.advance(Duration::from_secs(11));
                while trial.study().trials()?[0].state == TrialState::Running {
                    std::thread::yield_now();
                }
            }
            Ok(0.0)
        };
        let summary = study.optimize(objective, Budget::unlimited()).unwrap();
        assert_eq!((summary.trials, summary.reason), (2, StopReason::Exhausted));
        assert_eq!(states(&study), [TrialState::Failed, TrialState::Complete]);
    }
}

#[test]
fn brute_force_exhausts_a_tree_that_grows_while_trials_run() {
    let objective = |trial: &mut mlp_tune::Trial<'_>| {
        let layers = trial.suggest_int("layers", 1, 3)?;
        if trial.number() == 5 {
            return Err(TrialError::failed("halfway"));
        }
        let mut sum = 0;
        for layer in 0..layers {
            sum += trial.suggest_int(&format!("width_{layer}"), 1, 2)?;
        }
        // One whose domain depends on the path, and whose name stands before the others.
        sum += trial.suggest_int("a_last", 0, layers - 1)?;
        Ok(sum as f64)
    };
    let study = Study::new(SearchSpace::default(), Direction::Minimize)
        .with_sampler(BruteForceSampler::new());
    let summary = study.optimize(objective, Budget::trials(200)).unwrap();
    assert_eq!(summary.reason, mlp_tune::StopReason::Exhausted);
    let trials = study.trials().unwrap();
    assert_eq!(trials.len(), 2 + 4 * 2 + 8 * 3 + 1, "each point once, and the failed one");
}

#[test]
fn cma_es_needs_one_objective_and_numbers() {
    let two = Study::with_objectives(plane(), [Direction::Minimize; 2]).unwrap();
    assert!(two.with_sampler(CmaEsSampler::default()).ask().is_err());
    let two = Study::with_objectives(plane(), [Direction::Minimize; 2]).unwrap();
    assert!(two.with_sampler(GpSampler::default()).ask().is_err());
    let choices = SearchSpace::new([Dimension::categorical("c", ["a", "b"])]).unwrap();
    let study = Study::new(choices, Direction::Minimize).with_sampler(CmaEsSampler::default());
    study.optimize(|_| Ok(1.0), Budget::trials(20)).unwrap();
}

/// The best value of a sampler, in the median of some seeds.
fn median_best(name: &str, space: &SearchSpace, trials: u64, loss: fn(&Params) -> f64) -> f64 {
    let mut bests: Vec<f64> = (0..3)
        .map(|seed| {
            let study = Study::new(space.clone(), Direction::Minimize)
                .with_seed(seed)
                .with_sampler(sampler(name));
            study.optimize(|trial| Ok(loss(trial.params())), Budget::trials(trials)).unwrap();
            study.best().unwrap().value().unwrap()
        })
        .collect();
    bests.sort_by(f64::total_cmp);
    bests[1]
}

#[test]
fn cma_es_moves_integers_to_their_optimum() {
    let dimensions = (0..4).map(|i| Dimension::int(format!("n{i}"), -20, 20));
    let space = SearchSpace::new(dimensions.chain([Dimension::float("x", -1.0, 1.0)])).unwrap();
    let loss = |params: &Params| -> f64 {
        let values = params.iter().filter_map(|(_, value)| value.as_float());
        values
            .enumerate()
            .map(|(k, value)| if k < 4 { (value - 7.0).powi(2) } else { value * value })
            .sum()
    };
    let best = median_best("cma", &space, 500, loss);
    assert!(best < 1e-3, "{best}");
    assert!(median_best("random", &space, 500, loss) > 1.0);
}

#[test]
fn cma_es_moves_integers_on_a_logarithmic_scale_that_weigh_little() {
    let integers = (0..6).map(|i| Dimension::log_int(format!("n{i}"), 1, 4));
    let floats = (0..4).map(|i| Dimension::float(format!("x{i}"), -1.0, 1.0));
    let space = SearchSpace::new(integers.chain(floats)).unwrap();
    // The floats contract the distribution long before the integers are where they should be: without a margin two of the twelve stay
    // elsewhere however many trials there are.
    let loss = |params: &Params| -> f64 {
        let loss = |(name, value): (&str, &mlp_core::ParamValue)| {
            let value = value.as_float().unwrap();
            if name.starts_with('n') { 0.01 * value.log2().powi(2) } else { (value - 0.6).powi(2) }
        };
        params.iter().map(loss).sum()
    };
    for seed in 0..12 {
        let study = Study::new(space.clone(), Direction::Minimize)
            .with_seed(seed)
            .with_sampler(CmaEsSampler::default());
        study.optimize(|trial| Ok(loss(trial.params())), Budget::trials(600)).unwrap();
        let best = study.best().unwrap();
        let integers = best.params.iter().filter(|(name, _)| name.starts_with('n'));
        assert!(integers.into_iter().all(|(_, n)| n.as_float() == Some(1.0)), "{}", best.params);
    }
}

#[test]
fn a_gaussian_process_needs_few_trials() {
    let dimensions = [Dimension::float("x", -5.0, 10.0), Dimension::float("y", 0.0, 15.0)];
    let space = SearchSpace::new(dimensions).unwrap();
    let loss = |params: &Params| {
        let [x, y] = ["x", "y"].map(|name| params.get(name).and_then(|v| v.as_float()).unwrap());
        (x - 3.0).powi(2) + 0.5 * (x - 3.0) * (y - 2.0) + (y - 2.0).powi(2)
    };
    let best = median_best("gp", &space, 25, loss);
    assert!(best < 1e-3, "{best}");
}

#[test]
fn several_objectives_reach_their_front() {
    let space =
        SearchSpace::new((0..4).map(|i| Dimension::float(format!("x{i}"), 0.0, 1.0))).unwrap();
    let volume = |sampler: Box<dyn Sampler>| {
        let study =
            Study::with_objectives(space.clone(), [Direction::Minimize, Direction::Maximize]);
        let study = study.unwrap().with_sampler(sampler).with_seed(3);
        let objective = |trial: &mut mlp_tune::Trial<'_>| {
            let x: Vec<f64> =
                (0..4).map(|i| trial.float(&format!("x{i}"))).collect::<Result<_, _>>()?;
            let g = 1.0 + 3.0 * x[1..].iter().sum::<f64>();
            Ok([x[0], -g * (1.0 - (x[0] / g).sqrt())])
        };
        study.optimize(objective, Budget::trials(200)).unwrap();
        let front = study.pareto_front().unwrap();
        let points: Vec<&[f64]> = front.iter().map(|trial| trial.values.as_slice()).collect();
        let directions = [Direction::Minimize, Direction::Maximize];
        mlp_tune::hypervolume(&points, &[1.1, -11.0], &directions).unwrap()
    };
    let random = volume(sampler("random"));
    let mut nsga = NsgaSettings::default();
    nsga.population = 20;
    let nsga = volume(Box::new(NsgaSampler::new(nsga)));
    let tpe = volume(sampler("tpe"));
    assert!(nsga > random && tpe > random, "{random} {nsga} {tpe}");
}
