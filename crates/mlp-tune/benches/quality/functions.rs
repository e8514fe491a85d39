//! Functions with known minima: the five of the reference table, and others that nothing was tuned to.

use mlp_core::{Dimension, ParamValue, Params};

pub(crate) type Function = (&'static str, fn() -> Vec<Dimension>, fn(&Params) -> f64);

pub(crate) const FUNCTIONS: [Function; 12] = [
    ("branin", branin_space, branin),
    ("hartmann6", hartmann_space, hartmann),
    ("rosenbrock5", rosenbrock_space, rosenbrock),
    ("mixed7", mixed_space, mixed),
    ("conditional", conditional_space, conditional),
    ("ackley5", ackley_space, ackley),
    ("levy4", levy_space, levy),
    ("styblinski5", styblinski_space, styblinski),
    ("mixed5", choices_space, choices),
    ("michalewicz5", michalewicz_space, michalewicz),
    ("griewank8", griewank_space, griewank),
    ("hartmann3", hartmann3_space, hartmann3),
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

fn cube(dimensions: usize, low: f64, high: f64) -> Vec<Dimension> {
    (0..dimensions).map(|i| Dimension::float(format!("x{i}"), low, high)).collect()
}

pub(crate) fn vector(params: &Params) -> Vec<f64> {
    (0..params.len()).map(|i| number(params, &format!("x{i}"))).collect()
}

fn ackley_space() -> Vec<Dimension> {
    cube(5, -32.768, 32.768)
}

/// With its optimum off the middle, where every sampler would find it by its prior.
fn ackley(params: &Params) -> f64 {
    let x: Vec<f64> = vector(params).iter().map(|x| x - 7.0).collect();
    let square = x.iter().map(|x| x * x).sum::<f64>() / 5.0;
    let wave = x.iter().map(|x| (std::f64::consts::TAU * x).cos()).sum::<f64>() / 5.0;
    -20.0 * (-0.2 * square.sqrt()).exp() - wave.exp() + 20.0 + std::f64::consts::E
}

fn levy_space() -> Vec<Dimension> {
    cube(4, -10.0, 10.0)
}

fn levy(params: &Params) -> f64 {
    use std::f64::consts::PI;
    let w: Vec<f64> = vector(params).iter().map(|x| 1.0 + (x - 1.0) / 4.0).collect();
    let middle = |w: &f64| (w - 1.0).powi(2) * (1.0 + 10.0 * (PI * w + 1.0).sin().powi(2));
    (PI * w[0]).sin().powi(2)
        + w[..3].iter().map(middle).sum::<f64>()
        + (w[3] - 1.0).powi(2) * (1.0 + (2.0 * PI * w[3]).sin().powi(2))
}

fn styblinski_space() -> Vec<Dimension> {
    cube(5, -5.0, 5.0)
}

fn styblinski(params: &Params) -> f64 {
    vector(params).iter().map(|x| x.powi(4) - 16.0 * x * x + 5.0 * x).sum::<f64>() / 2.0
}

fn michalewicz_space() -> Vec<Dimension> {
    cube(5, 0.0, std::f64::consts::PI)
}

fn michalewicz(params: &Params) -> f64 {
    let valley = |(i, x): (usize, f64)| {
        -x.sin() * ((i + 1) as f64 * x * x / std::f64::consts::PI).sin().powi(20)
    };
    vector(params).into_iter().enumerate().map(valley).sum()
}

fn griewank_space() -> Vec<Dimension> {
    cube(8, -100.0, 100.0)
}

/// With its optimum off the middle along every axis.
fn griewank(params: &Params) -> f64 {
    let moved = |(i, x): (usize, f64)| x - 70.0 * (3.0 * i as f64).cos();
    let x: Vec<f64> = vector(params).into_iter().enumerate().map(moved).collect();
    let wave = |(i, x): (usize, &f64)| (x / ((i + 1) as f64).sqrt()).cos();
    let waves: f64 = x.iter().enumerate().map(wave).product();
    x.iter().map(|x| x * x).sum::<f64>() / 400.0 - waves + 1.0
}

fn hartmann3_space() -> Vec<Dimension> {
    cube(3, 0.0, 1.0)
}

fn hartmann3(params: &Params) -> f64 {
    const A: [[f64; 3]; 4] =
        [[3.0, 10.0, 30.0], [0.1, 10.0, 35.0], [3.0, 10.0, 30.0], [0.1, 10.0, 35.0]];
    const P: [[f64; 3]; 4] = [
        [0.3689, 0.1170, 0.2673],
        [0.4699, 0.4387, 0.7470],
        [0.1091, 0.8732, 0.5547],
        [0.0381, 0.5743, 0.8828],
    ];
    hills(&A, &P, &vector(params))
}

/// Hartmann's sum of four hills, upside down.
fn hills<const N: usize>(a: &[[f64; N]; 4], p: &[[f64; N]; 4], x: &[f64]) -> f64 {
    const HEIGHTS: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    let hill = |k: usize| {
        let distance: f64 = (0..N).map(|i| a[k][i] * (x[i] - p[k][i]).powi(2)).sum();
        HEIGHTS[k] * (-distance).exp()
    };
    -(0..4).map(hill).sum::<f64>()
}

fn choices_space() -> Vec<Dimension> {
    vec![
        Dimension::categorical("kind", ["a", "b", "c", "d", "e"]),
        Dimension::int("n", 0, 200),
        Dimension::int("k", 1, 5),
        Dimension::float("x", -3.0, 3.0),
        Dimension::log_float("y", 1e-3, 10.0),
    ]
}

/// A choice that matters most, two integers, one of them wide.
fn choices(params: &Params) -> f64 {
    let (shift, offset) = match text(params, "kind") {
        "a" => (1.5, 0.3),
        "b" => (-0.5, 0.0),
        "c" => (0.0, 1.0),
        "d" => (2.0, 0.1),
        _ => (-2.0, 2.0),
    };
    let x = number(params, "x");
    offset
        + ((number(params, "n") - 130.0) / 50.0).powi(2)
        + 0.3 * (number(params, "k") - 2.0).abs()
        + (x - shift).powi(2)
        + 0.2 * (number(params, "y").log10() + 1.0 + 0.5 * x).powi(2)
}

pub(crate) fn zdt1_space() -> Vec<Dimension> {
    cube(30, 0.0, 1.0)
}

/// Zitzler, Deb and Thiele's first problem: two losses.
pub(crate) fn zdt1(params: &Params) -> [f64; 2] {
    let x = vector(params);
    let g = 1.0 + 9.0 * x[1..].iter().sum::<f64>() / (x.len() - 1) as f64;
    [x[0], g * (1.0 - (x[0] / g).sqrt())]
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
    cube(6, 0.0, 1.0)
}

fn hartmann(params: &Params) -> f64 {
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
    hills(&A, &P, &vector(params))
}

fn rosenbrock_space() -> Vec<Dimension> {
    cube(5, -5.0, 10.0)
}

fn rosenbrock(params: &Params) -> f64 {
    let x = vector(params);
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
