//! Fitting and predicting beside scikit-learn and ONNX Runtime.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mlp::core::{Estimator, FittedModel, ModelExt, Samples, Saved, Scratch, Target};
use mlp::models::{
    DecisionTree, FittedLogistic, GradientBoosting, Loader, LogisticRegression, RandomForest,
};
use ndarray::{Array2, ArrayView2, s};

use crate::read;

struct Data {
    features: Array2<f64>,
    names: Vec<String>,
    labels: Vec<usize>,
    classes: [String; 2],
}

fn matrix(folder: &Path, name: &str, columns: usize) -> Array2<f64> {
    let values = read(folder, name);
    let shape = (values.len() / columns, columns);
    ArrayView2::from_shape(shape, &values).expect("whole rows").to_owned()
}

impl Data {
    fn read(folder: &Path, name: &str) -> Self {
        let target = read(folder, &format!("{name}.target"));
        let values = read(folder, &format!("{name}.features"));
        let columns = values.len() / target.len();
        Self {
            features: matrix(folder, &format!("{name}.features"), columns),
            names: (0..columns).map(|column| format!("x{column}")).collect(),
            labels: target.iter().map(|value| usize::from(*value > 0.5)).collect(),
            classes: ["no".to_owned(), "yes".to_owned()],
        }
    }

    fn samples(&self) -> Samples<'_> {
        let target = Target::Classes { labels: &self.labels, names: &self.classes };
        Samples::new(self.features.view(), &self.names, target).expect("good data")
    }

    fn accuracy(&self, model: &dyn FittedModel) -> f64 {
        let predicted = model.predict_classes(self.features.view()).expect("predictions");
        let right = predicted.iter().zip(&self.labels).filter(|(a, b)| a == b).count();
        right as f64 / predicted.len() as f64
    }
}

/// The processor time of this thread, which other programs on the machine do not lengthen; where the system does not tell it, the time of day.
fn thread_seconds(since: Instant) -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| since.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

#[derive(Clone, Copy)]
enum Time {
    /// Of this thread.
    Processor,
    /// Of day, for work on several threads.
    Day,
}

/// Prints the least seconds of several runs, and what `judge` makes of the last one's result.
fn timed<T>(
    name: &str,
    runs: usize,
    time: Time,
    mut work: impl FnMut() -> T,
    judge: impl Fn(&T) -> f64,
) {
    let since = Instant::now();
    let now = || match time {
        Time::Processor => thread_seconds(since),
        Time::Day => since.elapsed().as_secs_f64(),
    };
    let (mut least, mut judged) = (f64::INFINITY, 0.0);
    for _ in 0..runs {
        let start = now();
        let result = work();
        least = least.min(now() - start);
        judged = judge(&result);
    }
    println!("{name}\t{least}\t{judged}");
}

fn fitting(folder: &Path) {
    let (train, test) = (Data::read(folder, "train"), Data::read(folder, "test"));
    let estimators: [(&str, usize, Arc<dyn Estimator>); 4] = [
        ("fit_forest", 3, Arc::new(RandomForest::default())),
        ("fit_boosting", 3, Arc::new(GradientBoosting::default())),
        ("fit_tree", 9, Arc::new(DecisionTree::default())),
        ("fit_logistic", 9, Arc::new(LogisticRegression::default())),
    ];
    for (name, runs, estimator) in estimators {
        let fit = || estimator.fit(train.samples(), 1).expect("a model");
        timed(name, runs, Time::Processor, fit, |model| test.accuracy(&**model));
    }
}

/// The objective of scikit-learn's logistic regression for C = 1: the summed log loss and half the squares of the weights, without the intercept.
fn objective(data: &Data, model: &dyn FittedModel) -> f64 {
    let logistic = model.downcast_ref::<FittedLogistic>().expect("a logistic regression");
    let (weights, intercept) = (&logistic.coefficients()[0], logistic.intercepts()[0]);
    let loss = |(row, &label): (ndarray::ArrayView1<'_, f64>, &usize)| {
        let score = row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() + intercept;
        let margin = if label == 1 { score } else { -score };
        (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
    };
    let losses: f64 = data.features.rows().into_iter().zip(&data.labels).map(loss).sum();
    losses + 0.5 * weights.iter().map(|weight| weight * weight).sum::<f64>()
}

/// Fits of a millisecond, of which many are timed together.
fn small_fits(folder: &Path) {
    const FITS: usize = 50;
    for name in ["thousand", "cancer"] {
        let data = Data::read(folder, name);
        let fit = || LogisticRegression::default().fit(data.samples(), 1).expect("a model");
        let many = || (1..FITS).fold(fit(), |_, _| fit());
        let judge = |model: &Arc<dyn FittedModel>| objective(&data, &**model);
        timed(&format!("logistic_{name}"), 15, Time::Processor, many, judge);
        println!("logistic_{name}_fits\t{FITS}\t0");
    }
}

fn threads(folder: &Path) {
    let data = Data::read(folder, "large");
    for threads in [1, 2] {
        let forest = RandomForest::default().with_trees(20).with_threads(threads);
        let boosting = GradientBoosting::default().with_rounds(20).with_threads(threads);
        let estimators: [(&str, Arc<dyn Estimator>); 2] =
            [("forest", Arc::new(forest)), ("boosting", Arc::new(boosting))];
        for (name, estimator) in estimators {
            let fit = || estimator.fit(data.samples(), 1).expect("a model");
            let name = format!("{name}_large_{threads}");
            timed(&name, 4, Time::Day, fit, |model| data.accuracy(&**model));
        }
    }
}

/// The forests that the peer has fitted, node for node.
fn predicting(folder: &Path) {
    for (name, columns) in [("small", 30), ("large", 20)] {
        let bytes = std::fs::read(folder.join(format!("{name}.forest"))).expect("a forest");
        let saved = Saved::from_bytes(&bytes).expect("a saved model");
        let forest = Loader::default().model(&saved).expect("a forest");
        let rows = matrix(folder, &format!("{name}.rows"), columns);
        let n = rows.nrows();
        let (mut out, mut scratch) = (Array2::zeros((n, 2)), Scratch::new());
        // The system counts processor time in steps of some milliseconds.
        let passes = 50_000_usize.div_ceil(n);
        let one_by_one = || {
            for _ in 0..passes {
                for row in 0..n {
                    let (rows, out) =
                        (rows.slice(s![row..=row, ..]), out.slice_mut(s![row..=row, ..]));
                    forest.predict_into(rows, out, &mut scratch).expect("predictions");
                }
            }
            out.column(1).sum()
        };
        timed(&format!("one_row_{name}"), 7, Time::Processor, one_by_one, |sum| *sum);
        println!("one_row_{name}_calls\t{}\t0", passes * n);
        let mut out = Array2::zeros((n, 2));
        let all = || {
            for _ in 0..passes {
                forest.predict_into(rows.view(), out.view_mut(), &mut scratch).expect("rows");
            }
            out.column(1).sum()
        };
        timed(&format!("all_rows_{name}"), 9, Time::Processor, all, |sum| *sum);
        println!("all_rows_{name}_calls\t{passes}\t0");
    }
}

pub(crate) fn run(folder: &Path) {
    fitting(folder);
    small_fits(folder);
    predicting(folder);
    threads(folder);
}
