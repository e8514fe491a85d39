//! How good is what the samplers find? Median and quartiles of the best value after 25, 50, 100 and 200 trials, minimised, over 60 seeds
//! (`-- --seeds N` for another number; `--test` runs one; `--only NAME` one function; `--raw` prints every seed's best after 100 and 200).
//! The Gaussian process stops after 50 trials. Hypervolumes of NSGA-II are of 500 and 1,000 trials, and negative, so that less is better too.

#[path = "quality/functions.rs"]
mod functions;

use std::time::Instant;

use mlp_core::{Direction, SearchSpace};
use mlp_tune::{
    CmaEsSampler, GpSampler, NsgaSampler, NsgaSettings, RandomSampler, Sampler, SobolSampler,
    Study, TpeSampler, TpeSettings, Variation, hypervolume,
};

use functions::{FUNCTIONS, Function};

const SAMPLERS: [&str; 6] = ["random", "sobol", "tpe", "tpe_optuna", "cma", "gp"];
const CHECKPOINTS: [usize; 4] = [25, 50, 100, 200];

fn sampler(name: &str) -> Box<dyn Sampler> {
    match name {
        "random" => Box::new(RandomSampler::new()),
        "sobol" => Box::new(SobolSampler::new()),
        "tpe_optuna" => Box::new(TpeSampler::new(TpeSettings::optuna())),
        "cma" => Box::new(CmaEsSampler::default()),
        "gp" => Box::new(GpSampler::default()),
        _ => Box::new(TpeSampler::default()),
    }
}

/// The best values after so many trials.
fn run(function: &Function, name: &str, seed: u64) -> [f64; 4] {
    let space = SearchSpace::new(function.1()).expect("the space of the function");
    let study = Study::new(space, Direction::Minimize).with_sampler(sampler(name)).with_seed(seed);
    let (mut best, mut reached) = (f64::INFINITY, [f64::NAN; 4]);
    let trials = if name == "gp" { CHECKPOINTS[1] } else { CHECKPOINTS[3] };
    for done in 1..=trials {
        let trial = study.ask().expect("a trial");
        let value = function.2(trial.params());
        trial.tell(value).expect("a result");
        best = best.min(value);
        if let Some(place) = CHECKPOINTS.iter().position(|&checkpoint| checkpoint == done) {
            reached[place] = best;
        }
    }
    reached
}

/// Minus the hypervolumes of the first 500 and of all 1,000 trials.
fn run_nsga(settings: NsgaSettings, seed: u64) -> [f64; 2] {
    let space = SearchSpace::new(functions::zdt1_space()).expect("the space of the function");
    let directions = [Direction::Minimize; 2];
    let study = Study::with_objectives(space, directions).expect("two objectives");
    let study = study.with_sampler(NsgaSampler::new(settings)).with_seed(seed);
    let mut values = Vec::new();
    for _ in 0..1_000 {
        let trial = study.ask().expect("a trial");
        values.push(functions::zdt1(trial.params()));
        trial.tell(values[values.len() - 1]).expect("a result");
    }
    [500, 1_000].map(|trials| {
        -hypervolume(&values[..trials], &[11.0, 11.0], &directions).expect("a hypervolume")
    })
}

fn nsga(name: &str) -> NsgaSettings {
    let mut settings = NsgaSettings::default();
    if name == "nsga2_simulated" {
        settings.variation = Variation::Simulated;
    }
    settings
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

fn median<const N: usize>(runs: &[[f64; N]], column: usize, share: f64) -> f64 {
    quantile(&mut runs.iter().map(|run| run[column]).collect::<Vec<_>>(), share)
}

/// The table of medians and quartiles.
fn table(functions: &[&Function], samplers: &[&str], seeds: u64) {
    println!(
        "function,sampler,n_seeds,median_25,median_50,median_100,median_200,q25_200,q75_200,ms_per_run"
    );
    for function in functions {
        for name in samplers {
            let start = Instant::now();
            let runs: Vec<[f64; 4]> = (0..seeds).map(|seed| run(function, name, seed)).collect();
            let time = start.elapsed().as_secs_f64() * 1e3 / seeds as f64;
            let medians: Vec<_> =
                (0..4).map(|column| format!("{:.6}", median(&runs, column, 0.5))).collect();
            let (low, high) = (median(&runs, 3, 0.25), median(&runs, 3, 0.75));
            let medians = medians.join(",");
            println!("{},{name},{seeds},{medians},{low:.6},{high:.6},{time:.1}", function.0);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let after = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)
    };
    let seeds = after("--seeds").and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let seeds = if has("--test") { 1 } else { seeds };
    let only = after("--only");
    let functions: Vec<&Function> =
        FUNCTIONS.iter().filter(|function| only.is_none_or(|only| function.0 == only)).collect();
    let samplers: Vec<&str> = match after("--sampler") {
        Some(name) => vec![name.as_str()],
        None => SAMPLERS.to_vec(),
    };
    let front = only.is_none_or(|only| only == "zdt1");
    if has("--raw") {
        for name in ["tpe", "cma"] {
            for function in &functions {
                for seed in 0..seeds {
                    let [_, _, hundred, all] = run(function, name, seed);
                    println!("{},{name},{seed},{hundred},{all}", function.0);
                }
            }
        }
        for seed in (0..seeds).filter(|_| front) {
            let [half, all] = run_nsga(nsga("nsga2"), seed);
            println!("zdt1,nsga2,{seed},{half},{all}");
        }
        return;
    }
    table(&functions, &samplers, seeds);
    for name in ["nsga2", "nsga2_simulated"].into_iter().filter(|_| front) {
        let runs: Vec<[f64; 2]> = (0..seeds).map(|seed| run_nsga(nsga(name), seed)).collect();
        let (half, all) = (median(&runs, 0, 0.5), median(&runs, 1, 0.5));
        println!("zdt1,{name},{seeds}: minus the hypervolume {half:.4} at 500, {all:.4} at 1000");
    }
}
