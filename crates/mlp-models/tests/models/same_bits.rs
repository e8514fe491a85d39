//! The same data and seed give the same bits: on any number of threads, and in any process.

use std::process::Command;

use mlp_core::{Estimator, Samples, Target, random};
use mlp_models::{DecisionTree, EarlyStopping, GradientBoosting, RandomForest};
use ndarray::Array2;

/// Enough rows for the threads of boosting to share the counting.
struct Large {
    features: Array2<f64>,
    names: Vec<String>,
    labels: Vec<usize>,
    classes: Vec<String>,
    values: Vec<f64>,
}

impl Large {
    fn new() -> Self {
        let mut generator = random::stream(3, 0);
        let draw = || random::normal(&mut generator);
        let mut features = Array2::from_shape_simple_fn((24_000, 10), draw);
        for row in (0..24_000).step_by(7) {
            features[[row, 3]] = f64::NAN;
        }
        let value = |row: ndarray::ArrayView1<'_, f64>| row[0] * row[1] + row[2].sin() + row[4];
        let values: Vec<f64> = features.rows().into_iter().map(value).collect();
        Self {
            features,
            names: (0..10).map(|feature| format!("x{feature}")).collect(),
            labels: values.iter().map(|value| usize::from(*value > 0.2)).collect(),
            classes: vec!["no".to_owned(), "yes".to_owned()],
            values,
        }
    }

    fn samples(&self) -> [Samples<'_>; 2] {
        let classes = Target::Classes { labels: &self.labels, names: &self.classes };
        [classes, Target::Values(&self.values)]
            .map(|target| Samples::new(self.features.view(), &self.names, target).unwrap())
    }
}

/// The saved models of every kind of tree, one after another.
fn models(threads: usize, seed: u64) -> Vec<Vec<u8>> {
    let data = Large::new();
    let forest = RandomForest::default().with_trees(9).with_max_depth(8).with_rows(0.5);
    let boosting = GradientBoosting::default().with_rounds(4);
    let sampled = boosting.clone().with_rows(0.9).with_features(0.7);
    let estimators: Vec<Box<dyn Estimator>> = vec![
        Box::new(DecisionTree::default().with_max_depth(6)),
        Box::new(forest.with_threads(threads)),
        Box::new(boosting.with_threads(threads)),
        Box::new(sampled.with_early_stopping(EarlyStopping::default()).with_threads(threads)),
    ];
    let mut models = Vec::new();
    for samples in data.samples() {
        for estimator in &estimators {
            let model = estimator.fit(samples.reborrow(), seed).unwrap();
            models.push(model.save().unwrap().to_bytes());
        }
    }
    models
}

#[test]
fn threads_1_2_and_8_give_bit_identical_models() {
    let one = models(1, 5);
    for threads in [2, 8, 16] {
        assert!(models(threads, 5) == one, "{threads} threads");
    }
    let other = models(1, 6);
    let differ: Vec<bool> = one.iter().zip(&other).map(|(a, b)| a != b).collect();
    // The control: another seed is another forest and another sampled boosting; the tree and plain boosting draw nothing.
    assert_eq!(differ, [false, true, false, true, false, true, false, true]);
}

/// With three classes a round has three trees, whose slopes are taken together; 50,000 rows × 10 are enough to keep threads busy.
#[test]
fn boosting_of_three_classes_is_the_same_on_1_2_and_8_threads() {
    let mut generator = random::stream(4, 0);
    let draw = || random::normal(&mut generator);
    let features = Array2::from_shape_simple_fn((50_000, 10), draw);
    let class = |row: ndarray::ArrayView1<'_, f64>| {
        usize::from(row[0] + row[1] * row[2] > 0.3) + usize::from(row[3] > 0.9)
    };
    let labels: Vec<usize> = features.rows().into_iter().map(class).collect();
    let names: Vec<String> = (0..10).map(|feature| format!("x{feature}")).collect();
    let classes = ["low", "middle", "high"].map(str::to_owned);
    let target = Target::Classes { labels: &labels, names: &classes };
    let samples = Samples::new(features.view(), &names, target).unwrap();
    let boosting = GradientBoosting::default().with_rounds(3).with_max_leaves(15);
    for boosting in [boosting.clone(), boosting.with_rows(0.7).with_features(0.6)] {
        let fit = |threads: usize, seed: u64| {
            let boosting = boosting.clone().with_threads(threads);
            let model = boosting.fit_boosting(samples.reborrow(), seed).unwrap();
            assert_eq!(model.n_trees(), 9);
            mlp_core::FittedModel::save(&model).unwrap().to_bytes()
        };
        let one = fit(1, 5);
        for threads in [2, 8] {
            assert!(fit(threads, 5) == one, "{threads} threads");
        }
        // The control: only what is drawn depends on the seed.
        assert_eq!(fit(1, 6) != one, boosting.rows < 1.0);
    }
}

/// Set in a process that is to print the hashes of its models.
const PRINT: &str = "MLP_MODELS_PRINT_HASHES";

fn hashes(seed: u64) -> String {
    let hash = |bytes: &Vec<u8>| {
        // FNV-1a, which is the same in every process.
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    models(2, seed).iter().map(|bytes| format!("hash {:016x};", hash(bytes))).collect()
}

#[test]
fn two_processes_give_bit_identical_models() {
    if let Ok(seed) = std::env::var(PRINT) {
        println!("{}", hashes(seed.parse().unwrap()));
        return;
    }
    let other_process = |seed: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "same_bits::two_processes_give_bit_identical_models", "--nocapture"])
            .env(PRINT, seed)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let start = text.find("hash ").unwrap_or_else(|| panic!("no hashes in {text:?}"));
        text[start..].lines().next().unwrap().to_owned()
    };
    let own = hashes(5);
    assert_eq!(other_process("5"), own);
    assert_ne!(other_process("6"), own, "the control: another seed");
}
