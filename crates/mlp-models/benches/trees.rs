//! What does it cost to fit trees and forests, and to ask them?

use criterion::{Criterion, criterion_group, criterion_main};
use mlp_core::{Estimator, Samples, Scratch, Target, random};
use mlp_models::{DecisionTree, GradientBoosting, LogisticRegression, RandomForest, Trend};
use ndarray::{Array2, ArrayView2};
use std::hint::black_box;

/// Two classes whose boundary bends: rows × 20, of which five features matter.
struct Data {
    features: Array2<f64>,
    labels: Vec<usize>,
    names: Vec<String>,
    classes: Vec<String>,
}

impl Data {
    fn new(rows: usize) -> Self {
        let mut generator = random::stream(1, 0);
        let features = Array2::from_shape_simple_fn((rows, 20), || random::normal(&mut generator));
        let label = |row: ndarray::ArrayView1<'_, f64>| {
            let score = row[0] * row[1] + row[2] - 0.5 * row[3] * row[3] + row[4].sin();
            usize::from(score > -0.4)
        };
        let labels = features.rows().into_iter().map(label).collect();
        Self {
            features,
            labels,
            names: (0..20).map(|feature| format!("x{feature}")).collect(),
            classes: vec!["no".to_owned(), "yes".to_owned()],
        }
    }

    fn samples(&self) -> Samples<'_> {
        let target = Target::Classes { labels: &self.labels, names: &self.classes };
        Samples::new(self.features.view(), &self.names, target).expect("samples")
    }
}

fn fitting(criterion: &mut Criterion) {
    let data = Data::new(10_000);
    let mut group = criterion.benchmark_group("fit_10000x20");
    group.sample_size(10);
    let estimators: [(&str, Box<dyn Estimator>); 7] = [
        ("forest_100_trees_1_thread", Box::new(RandomForest::default())),
        ("forest_100_trees_2_threads", Box::new(RandomForest::default().with_threads(2))),
        ("full_tree", Box::new(DecisionTree::default())),
        ("boosting_100_rounds", Box::new(GradientBoosting::default())),
        ("boosting_100_rounds_2_threads", Box::new(GradientBoosting::default().with_threads(2))),
        (
            "boosting_100_rounds_monotone",
            Box::new(GradientBoosting::default().with_monotone("x2", Trend::Increasing)),
        ),
        ("logistic", Box::new(LogisticRegression::default())),
    ];
    for (name, estimator) in &estimators {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| estimator.fit(data.samples(), 1).expect("a model"));
        });
    }
    group.finish();
}

/// Large enough that starting threads costs nothing: the second thread is to be worth 1.7 times one.
fn threads(criterion: &mut Criterion) {
    let data = Data::new(50_000);
    let mut group = criterion.benchmark_group("fit_50000x20_threads");
    group.sample_size(10);
    for threads in [1, 2] {
        let forest = RandomForest::default().with_trees(20).with_threads(threads);
        let boosting = GradientBoosting::default().with_rounds(20).with_threads(threads);
        let estimators: [(&str, Box<dyn Estimator>); 2] =
            [("forest", Box::new(forest)), ("boosting", Box::new(boosting))];
        for (name, estimator) in estimators {
            group.bench_function(format!("{name}_{threads}"), |bencher| {
                bencher.iter(|| estimator.fit(data.samples(), 1).expect("a model"));
            });
        }
    }
    group.finish();
}

fn predicting(criterion: &mut Criterion) {
    let data = Data::new(10_000);
    let models = [
        ("forest", RandomForest::default().fit(data.samples(), 1).expect("a forest")),
        ("boosting", GradientBoosting::default().fit(data.samples(), 1).expect("a model")),
    ];
    for (name, model) in &models {
        let (mut out, mut scratch) = (Array2::zeros((10_000, 2)), Scratch::new());
        let mut group = criterion.benchmark_group(format!("predict_{name}_100_trees"));
        group.sample_size(20);
        for rows in [1, 10_000] {
            group.bench_function(format!("{rows}_rows"), |bencher| {
                let mut first = 0;
                bencher.iter(|| {
                    let given: ArrayView2<'_, f64> =
                        data.features.slice(ndarray::s![first..first + rows, ..]);
                    let out = out.slice_mut(ndarray::s![..rows, ..]);
                    first = if rows == 1 { (first + 7) % 10_000 } else { 0 };
                    model.predict_into(black_box(given), out, &mut scratch)
                });
            });
        }
        group.finish();
    }
}

fn explaining(criterion: &mut Criterion) {
    let data = Data::new(10_000);
    let rows = data.features.slice(ndarray::s![..10, ..]);
    let boosting = GradientBoosting::default().fit_boosting(data.samples(), 1).expect("a model");
    let forest = RandomForest::default().with_max_depth(8).fit_forest(data.samples(), 1);
    let forest = forest.expect("a forest");
    let mut group = criterion.benchmark_group("shap_10_rows");
    group.sample_size(10);
    group.bench_function("boosting_100_rounds", |bencher| {
        bencher.iter(|| boosting.shap(black_box(rows)).expect("values"));
    });
    group.bench_function("forest_100_trees_depth_8", |bencher| {
        bencher.iter(|| forest.shap(black_box(rows)).expect("values"));
    });
    group.finish();
}

criterion_group!(benches, fitting, threads, predicting, explaining);
criterion_main!(benches);
