//! What does a study cost per trial, beside the objective? Ask and tell with ten floats, in memory, at a given length of the history: of the
//! times of a hundred trials the tenth least, which others on the machine have not disturbed (`-- --test` runs a short one).

use std::hint::black_box;
use std::time::{Duration, Instant};

use mlp_core::{Dimension, Direction, Params, SearchSpace};
use mlp_tune::{
    CmaEsSampler, GpSampler, NsgaSampler, PromotionPruner, RandomSampler, Sampler, SobolSampler,
    Study, TpeSampler, TpeSettings,
};

fn study(sampler: Box<dyn Sampler>) -> Study {
    let space = SearchSpace::new((0..10).map(|i| Dimension::float(format!("x{i}"), 0.0, 1.0)));
    Study::new(space.expect("ten ranges"), Direction::Minimize).with_sampler(sampler).with_seed(1)
}

fn score(params: &Params) -> f64 {
    params.iter().filter_map(|(_, value)| value.as_float()).map(|x| (x - 0.3) * (x - 0.3)).sum()
}

fn one_trial(study: &Study) {
    let trial = study.ask().expect("a trial");
    let value = score(trial.params());
    trial.tell(black_box(value)).expect("a result");
}

fn sampler(name: &str) -> Box<dyn Sampler> {
    match name {
        "random" => Box::new(RandomSampler::new()),
        "sobol" => Box::new(SobolSampler::new()),
        "tpe" => Box::new(TpeSampler::default()),
        "tpe_optuna" => Box::new(TpeSampler::new(TpeSettings::optuna())),
        "cma" => Box::new(CmaEsSampler::default()),
        "gp" => Box::new(GpSampler::default()),
        _ => Box::new(NsgaSampler::default()),
    }
}

/// Ask, one report, judge and pause, with a pruner that never goes on with a trial.
fn paused(lengths: &[usize]) {
    let pruner = PromotionPruner::new(1, 2, 1_000_000).expect("rungs");
    let study = study(sampler("random")).with_pruner(pruner);
    let one_trial = || {
        let mut trial = study.ask().expect("a trial");
        trial.report(1, score(trial.params())).expect("a report");
        assert!(trial.should_prune().expect("a verdict"));
        trial.prune().expect("a pause");
    };
    let mut done = 0;
    for &length in lengths {
        (done..length).for_each(|_| one_trial());
        done = length + 100;
        println!("random beside {length} paused trials: {:.1} µs", tenth_least(one_trial));
    }
}

/// Of the microseconds of a hundred calls the tenth least.
fn tenth_least(call: impl Fn()) -> f64 {
    let timed = |_| {
        let start = Instant::now();
        call();
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..100).map(timed).collect();
    times.sort_unstable();
    times[10].as_secs_f64() * 1e6
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let lengths: &[usize] = if short { &[20] } else { &[50, 1_000, 3_000] };
    paused(if short { &[20] } else { &[100, 1_000, 5_000] });
    for name in ["random", "sobol", "tpe", "tpe_optuna", "cma", "nsga2", "gp"] {
        let study = study(sampler(name));
        let mut done = 0;
        for &length in lengths.iter().filter(|length| name != "gp" || **length <= 50) {
            (done..length).for_each(|_| one_trial(&study));
            done = length + 100;
            let time = tenth_least(|| one_trial(&study));
            println!("{name} after {length} trials: {time:.1} µs");
        }
    }
}
