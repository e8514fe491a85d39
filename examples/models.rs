//! The rungs of the ladder side by side on three datasets: what each one costs to fit, to keep and to ask, and what it is worth.
//!
//! Run it with `cargo run --release --example models`.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp::core::{Estimator, Model, Scratch};
use mlp::data::{ReadOptions, Table, TargetKind, read_csv};
use mlp::models::{
    DecisionTree, DummyClassifier, DummyRegressor, GradientBoosting, HeuristicRule,
    LinearRegression, LogisticRegression, MultilayerPerceptron, Pipeline, RandomForest,
    StandardScaler,
};
use mlp::select::{CrossValidation, KFold, Score, Scorer, Split, StratifiedKFold};
use ndarray::{Array2, s};

type Rung = (&'static str, Arc<dyn Estimator>);

fn perceptron() -> Rung {
    let scaled = Pipeline::of(MultilayerPerceptron::default()).after("scale", StandardScaler);
    ("neural network", Arc::new(scaled))
}

fn classifiers(rule: HeuristicRule) -> Vec<Rung> {
    let logistic = Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler);
    vec![
        ("most frequent class", Arc::new(DummyClassifier::most_frequent())),
        ("heuristic rule", Arc::new(rule)),
        ("logistic regression", Arc::new(logistic)),
        ("decision tree", Arc::new(DecisionTree::default())),
        ("random forest", Arc::new(RandomForest::default())),
        ("gradient boosting", Arc::new(GradientBoosting::default())),
        perceptron(),
    ]
}

/// What a doctor might say: a large tumour is malignant (class 0).
fn by_size() -> HeuristicRule {
    HeuristicRule::classifier("size", ["worst_radius"], |row| usize::from(row[0] < 17.0))
}

/// What a taster might say: the rich wines are of the first kind, the deeply coloured ones without flavanoids of the third.
fn by_taste() -> HeuristicRule {
    let asked = ["proline", "flavanoids", "color_intensity"];
    HeuristicRule::classifier("taste", asked, |row| match row {
        [proline, ..] if *proline > 750.0 => 0,
        [_, flavanoids, colour] if *flavanoids < 1.4 && *colour > 3.8 => 2,
        _ => 1,
    })
}

/// The heavier a patient, the faster the disease goes on.
fn by_weight() -> HeuristicRule {
    HeuristicRule::regressor("weight", ["bmi"], |row| 10.0 * row[0] - 110.0)
}

fn regressors() -> Vec<Rung> {
    let linear = Pipeline::of(LinearRegression::default()).after("scale", StandardScaler);
    vec![
        ("mean", Arc::new(DummyRegressor::mean())),
        ("heuristic rule", Arc::new(by_weight())),
        ("linear regression", Arc::new(linear)),
        ("decision tree", Arc::new(DecisionTree::default().with_min_leaf(10))),
        ("random forest", Arc::new(RandomForest::default())),
        ("gradient boosting", Arc::new(GradientBoosting::default().with_rounds(50))),
        perceptron(),
    ]
}

fn load(name: &str, kind: TargetKind) -> Result<Table, Box<dyn Error>> {
    let path = format!("{}/examples/data/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    Ok(read_csv(&path, &ReadOptions::new().with_target("target", kind))?)
}

/// The shortest of several runs: what else the machine does only lengthens them.
fn least<T>(
    runs: usize,
    mut work: impl FnMut() -> Result<T, Box<dyn Error>>,
) -> Result<(Duration, T), Box<dyn Error>> {
    let mut best: Option<(Duration, T)> = None;
    for _ in 0..runs {
        let start = Instant::now();
        let result = work()?;
        let took = start.elapsed();
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, result));
        }
    }
    best.ok_or_else(|| "no runs".into())
}

/// What a row costs when rows come one at a time.
fn time_a_row(model: &dyn Model, table: &Table) -> Result<Duration, Box<dyn Error>> {
    let (rows, mut scratch) = (table.features(), Scratch::new());
    let mut out = Array2::zeros((1, model.signature().outputs().len()));
    let (took, ()) = least(20, || {
        for row in 0..rows.nrows() {
            let row = black_box(rows.slice(s![row..=row, ..]));
            model.predict_into(row, out.view_mut(), &mut scratch)?;
        }
        Ok(())
    })?;
    Ok(took / u32::try_from(rows.nrows())?)
}

fn show(
    name: &str,
    kind: TargetKind,
    rungs: &[Rung],
    split: &dyn Split,
    score: &Score,
) -> Result<(), Box<dyn Error>> {
    let table = load(name, kind)?;
    let samples = table.samples()?;
    println!("\n{name}: {} rows, {} features", table.n_rows(), table.n_features());
    println!("{:22}{:>12}{:>22}{:>14}{:>12}", "", "fit", score.name(), "saved bytes", "a row");
    for (rung, estimator) in rungs {
        let (fit, model) = least(3, || Ok(estimator.fit(samples.reborrow(), 1)?))?;
        let validated =
            CrossValidation::default().with_seed(1).run(&**estimator, &samples, split, &[score])?;
        let summary = validated.summary(score.name()).ok_or("a fold has no score")?;
        let bytes = model.save()?.to_bytes().len();
        let a_row = time_a_row(&*model, &table)?;
        let scored = format!("{:.4} ± {:.4}", summary.mean, summary.standard_error);
        println!("{rung:22}{:>12}{scored:>22}{bytes:>14}{:>12}", short(fit), short(a_row));
    }
    Ok(())
}

/// A duration of three digits.
fn short(duration: Duration) -> String {
    let ns = duration.as_secs_f64() * 1e9;
    match ns {
        0.0..1e3 => format!("{ns:.0} ns"),
        1e3..1e6 => format!("{:.2} µs", ns / 1e3),
        1e6..1e9 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folds = StratifiedKFold::new(5).shuffled(1);
    for (name, rule) in [("breast_cancer", by_size()), ("wine", by_taste())] {
        show(name, TargetKind::Classes, &classifiers(rule), &folds, &Score::Accuracy)?;
    }
    let folds = KFold::new(5).shuffled(1);
    show("diabetes", TargetKind::Values, &regressors(), &folds, &Score::R2)?;
    println!(
        "\nThe score is the mean of five folds with its standard error; the model that is timed and saved is fitted on all rows."
    );
    Ok(())
}
