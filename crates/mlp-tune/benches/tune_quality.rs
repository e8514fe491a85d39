//! How good is what the samplers find? Median and quartiles of the best value after 25, 50, 100 and 200 trials on five functions, minimised,
//! over 60 seeds (`-- --seeds N` for another number; `--test` runs one).

use mlp_core::{Dimension, Direction, ParamValue, Params, SearchSpace};
use mlp_tune::{RandomSampler, Sampler, Study, TpeSampler, TpeSettings};

type Function = (&'static str, fn() -> Vec<Dimension>, fn(&Params) -> f64);

const FUNCTIONS: [Function; 5] = [
    ("branin", branin_space, branin),
    ("hartmann6", hartmann_space, hartmann),
    ("rosenbrock5", rosenbrock_space, rosenbrock),
    ("mixed7", mixed_space, mixed),
    ("conditional", conditional_space, conditional),
];

fn number(params: &Params, name: &str) -> f64 {
    params.get(name).and_then(ParamValue::as_float).unwrap_or(f64::NAN)
}

fn text<'a>(params: &'a Params, name: &str) -> &'a str {
    match params.get(name) {
        Some(ParamValue::Text(text)) => text,
        _ => "",
    }
}

fn branin_space() -> Vec<Dimension> {
    vec![Dimension::float("x0", -5.0, 10.0), Dimension::float("x1", 0.0, 15.0)]
}

fn branin(params: &Params) -> f64 {
    use std::f64::consts::PI;
    let (x, y) = (number(params, "x0"), number(params, "x1"));
    let square = y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0;
    square * square + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos() + 10.0
}

fn hartmann_space() -> Vec<Dimension> {
    (0..6).map(|i| Dimension::float(format!("x{i}"), 0.0, 1.0)).collect()
}

fn hartmann(params: &Params) -> f64 {
    const ALPHA: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    let x: Vec<f64> = (0..6).map(|i| number(params, &format!("x{i}"))).collect();
    let hill = |k: usize| {
        let distance: f64 = (0..6).map(|i| A[k][i] * (x[i] - P[k][i]).powi(2)).sum();
        ALPHA[k] * (-distance).exp()
    };
    -(0..4).map(hill).sum::<f64>()
}

fn rosenbrock_space() -> Vec<Dimension> {
    (0..5).map(|i| Dimension::float(format!("x{i}"), -5.0, 10.0)).collect()
}

fn rosenbrock(params: &Params) -> f64 {
    let x: Vec<f64> = (0..5).map(|i| number(params, &format!("x{i}"))).collect();
    x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum()
}

fn mixed_space() -> Vec<Dimension> {
    vec![
        Dimension::log_float("lr", 1e-5, 1.0),
        Dimension::int("n_layers", 1, 8),
        Dimension::log_int("width", 16, 1024),
        Dimension::stepped_float("dropout", 0.0, 0.6, 0.05),
        Dimension::categorical("act", ["relu", "tanh", "gelu", "sigmoid"]),
        Dimension::categorical("opt", ["sgd", "adam", "rmsprop"]),
        Dimension::float("momentum", 0.0, 0.99),
    ]
}

fn mixed(params: &Params) -> f64 {
    let (width, momentum) = (number(params, "width"), number(params, "momentum"));
    let (rate, penalty) = match text(params, "opt") {
        "sgd" => (-1.5, 0.1 + 0.5 * (momentum - 0.9).powi(2)),
        "adam" => (-3.0, 0.02 * momentum),
        _ => (-3.5, 0.05 + 0.02 * momentum),
    };
    let activation = match text(params, "act") {
        "relu" => 0.05,
        "tanh" => 0.2,
        "gelu" => 0.0,
        _ => 0.5,
    };
    let dropout = if width > 256.0 { 0.3 } else { 0.1 };
    0.5 * (number(params, "lr").log10() - rate).powi(2)
        + 0.05 * (number(params, "n_layers") - 4.0).powi(2)
        + 0.1 * (width.log2() - 7.5).powi(2)
        + 4.0 * (number(params, "dropout") - dropout).powi(2)
        + activation
        + penalty
}

fn conditional_space() -> Vec<Dimension> {
    let mut space = vec![
        Dimension::categorical("model", ["svm", "rf", "mlp"]),
        Dimension::log_float("C", 1e-3, 1e3).when("model", ["svm"]),
        Dimension::log_float("gamma", 1e-4, 10.0).when("model", ["svm"]),
        Dimension::int("depth", 2, 32).when("model", ["rf"]),
        Dimension::log_int("n_est", 10, 1000).when("model", ["rf"]),
        Dimension::log_float("lr", 1e-5, 1.0).when("model", ["mlp"]),
        Dimension::int("layers", 1, 4).when("model", ["mlp"]),
    ];
    let width = |i: i64| Dimension::log_int(format!("w{i}"), 8, 256).when("layers", i + 1..=4);
    space.extend((0..4).map(width));
    space
}

fn conditional(params: &Params) -> f64 {
    let log = |name| number(params, name).log10();
    match text(params, "model") {
        "svm" => 0.3 + 0.1 * (log("C") - 1.0).powi(2) + 0.1 * (log("gamma") + 2.0).powi(2),
        "rf" => {
            0.2 + 0.002 * (number(params, "depth") - 14.0).powi(2)
                + 0.1 * (log("n_est") - 2.5).powi(2)
        }
        _ => {
            let layers = number(params, "layers");
            let width = |i: usize| number(params, &format!("w{i}")).log2() - (6.5 - i as f64);
            let widths: f64 = (0..layers as usize).map(|i| 0.05 * width(i).powi(2)).sum();
            0.1 * (3.0 - layers).powi(2) + widths + 0.2 * (log("lr") + 2.5).powi(2)
        }
    }
}

fn sampler(name: &str) -> Box<dyn Sampler> {
    match name {
        "random" => Box::new(RandomSampler::new()),
        "tpe_optuna" => Box::new(TpeSampler::new(TpeSettings::optuna())),
        _ => Box::new(TpeSampler::default()),
    }
}

const CHECKPOINTS: [usize; 4] = [25, 50, 100, 200];

fn run(function: &Function, name: &str, seed: u64) -> [f64; 4] {
    let space = SearchSpace::new(function.1()).expect("the space of the function");
    let study = Study::new(space, Direction::Minimize).with_sampler(sampler(name)).with_seed(seed);
    let (mut best, mut reached) = (f64::INFINITY, [f64::NAN; 4]);
    for done in 1..=CHECKPOINTS[3] {
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

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--seeds");
    let seeds = given.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(60);
    let seeds = if arguments.iter().any(|argument| argument == "--test") { 1 } else { seeds };
    println!(
        "function,sampler,n_seeds,median_25,median_50,median_100,median_200,q25_200,q75_200,ms_per_run"
    );
    for function in &FUNCTIONS {
        for name in ["random", "tpe", "tpe_optuna"] {
            let start = std::time::Instant::now();
            let runs: Vec<[f64; 4]> = (0..seeds).map(|seed| run(function, name, seed)).collect();
            let time = start.elapsed().as_secs_f64() * 1e3 / seeds as f64;
            let column = |place: usize| runs.iter().map(|run| run[place]).collect::<Vec<_>>();
            let medians: Vec<_> =
                (0..4).map(|k| format!("{:.6}", quantile(&mut column(k), 0.5))).collect();
            let (low, high) = (quantile(&mut column(3), 0.25), quantile(&mut column(3), 0.75));
            println!(
                "{},{name},{seeds},{},{low:.6},{high:.6},{time:.1}",
                function.0,
                medians.join(",")
            );
        }
    }
}
