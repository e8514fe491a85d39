//! The same problems given to linfa 0.8.1: an oracle where it is sound, and a control where it is not. When a control fails, linfa has mended that fault.

use std::process::Command;
use std::sync::Arc;

use linfa::prelude::*;
use linfa_ensemble::EnsembleLearnerParams;
use mlp_core::{Estimator, FitError, FittedModel, ModelExt, Samples, Target, random};
use mlp_models::{DecisionTree, Folds, LogisticRegression, RandomForest, Stacking};
use ndarray::{Array1, Array2, array};
use rand_08::SeedableRng;
use rand_08::rngs::SmallRng;

use serde_json::Value;

use crate::data::{Data, cases, list, number};

/// Features with names, and classes from 0 up.
struct Labelled {
    features: Array2<f64>,
    labels: Vec<usize>,
    names: Vec<String>,
    classes: Vec<String>,
}

impl Labelled {
    fn new(features: Array2<f64>, labels: Vec<usize>) -> Self {
        let names = (0..features.ncols()).map(|column| format!("x{column}")).collect();
        let classes = labels.iter().max().map_or(0, |last| last + 1);
        let classes = (0..classes).map(|class| class.to_string()).collect();
        Self { features, labels, names, classes }
    }

    fn samples(&self) -> Samples<'_> {
        let target = Target::Classes { labels: &self.labels, names: &self.classes };
        Samples::new(self.features.view(), &self.names, target).unwrap()
    }

    fn dataset(&self) -> Dataset<f64, usize, ndarray::Ix1> {
        Dataset::new(self.features.clone(), Array1::from(self.labels.clone()))
    }
}

/// Fits by our trait: linfa's has a method of the same name, and with the feature both fit.
fn learn(estimator: &dyn Estimator, data: Samples<'_>) -> Result<Arc<dyn FittedModel>, FitError> {
    estimator.fit(data, 0)
}

#[test]
fn logistic_regression_agrees_with_linfa_where_linfa_is_sound() {
    let data = Data::load("breast_cancer").standardised();
    let samples = data.samples();
    let (labels, _) = samples.classes().unwrap();
    // linfa minimises the summed loss plus α‖w‖²/2; C = 1/α.
    let dataset = Dataset::new(data.features.clone(), Array1::from(labels.to_vec()));
    let theirs = linfa_logistic::LogisticRegression::default()
        .alpha(1.0)
        .max_iterations(10_000)
        .gradient_tolerance(1e-8)
        .fit(&dataset)
        .unwrap();
    let ours = learn(&LogisticRegression::default(), samples.reborrow()).unwrap();
    let (ours, theirs) =
        (ours.predict_classes(data.features.view()).unwrap(), theirs.predict(&data.features));
    let agreeing = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
    assert!(agreeing as f64 >= 0.99 * labels.len() as f64, "{agreeing} of {}", labels.len());
}

/// The exact trees of scikit-learn as an oracle of both: ours meets every case (see `vectors`), linfa's does not.
#[test]
fn linfas_trees_miss_cases_of_the_vectors_that_ours_meet() {
    let (mut missed, mut asked, mut ours_missed) = (Vec::new(), 0, 0);
    for case in cases("trees.json") {
        if !case["task"].as_str().unwrap().starts_with("classification") {
            continue;
        }
        let data = match case.get("X") {
            Some(rows) => {
                let numbers = |row: &Value| list(row).iter().map(number).collect::<Vec<_>>();
                let rows: Vec<Vec<f64>> = list(rows).iter().map(numbers).collect();
                let shape = (rows.len(), rows[0].len());
                let features = Array2::from_shape_fn(shape, |(i, j)| rows[i][j]);
                let labels = list(&case["y"]).iter().map(|label| number(label) as usize).collect();
                Labelled::new(features, labels)
            }
            None => {
                let data = Data::load(case["dataset"].as_str().unwrap());
                let labels = data.samples().classes().unwrap().0.to_vec();
                Labelled::new(data.features, labels)
            }
        };
        let depth = case["max_depth"].as_u64().map(|depth| depth as usize);
        let min_leaf = case["min_samples_leaf"].as_u64().unwrap() as usize;
        let theirs = linfa_trees::DecisionTree::params()
            .max_depth(depth)
            .min_weight_leaf(min_leaf as f32)
            .fit(&data.dataset())
            .unwrap();
        let right = |predicted: &[usize]| {
            let pairs = predicted.iter().zip(&data.labels);
            pairs.filter(|(a, b)| a == b).count() as f64 / data.labels.len() as f64
        };
        let score = case["train_score"].as_f64().unwrap();
        // linfa joins leaves of one class, so that their number tells nothing.
        let is_as_good = |predicted: &[usize]| (right(predicted) - score).abs() < 1e-9;
        asked += 1;
        if !is_as_good(&theirs.predict(&data.features).to_vec()) {
            missed.push((case["dataset"].clone(), depth, min_leaf));
        }
        let tree = DecisionTree::default().with_min_leaf(min_leaf);
        let tree = depth.map_or(tree.clone(), |depth| tree.with_max_depth(depth));
        let ours = learn(&tree, data.samples()).unwrap();
        ours_missed +=
            usize::from(!is_as_good(&ours.predict_classes(data.features.view()).unwrap()));
    }
    println!("linfa misses {missed:?} of {asked} cases");
    assert_eq!(ours_missed, 0);
    assert!(asked > missed.len() * 2, "linfa is no oracle: it misses {missed:?} of {asked}");
    assert_eq!(missed.len(), 2, "the control: {missed:?}");
}

/// linfa's trees take values closer than 1e-5 for equal.
#[test]
fn values_close_together_are_told_apart_where_linfa_makes_no_split() {
    let features = Array2::from_shape_vec((4, 1), vec![1e-6, 2e-6, 3e-6, 4e-6]).unwrap();
    let data = Labelled::new(features, vec![0, 0, 1, 1]);
    let theirs = linfa_trees::DecisionTree::params().fit(&data.dataset()).unwrap();
    let theirs = theirs.predict(&data.features);
    assert_ne!(theirs.to_vec(), data.labels, "the control: linfa tells them apart now");
    let ours = learn(&DecisionTree::default(), data.samples()).unwrap();
    assert_eq!(ours.predict_classes(data.features.view()).unwrap(), data.labels);
}

/// linfa's binary logistic regression calls the more frequent class positive.
#[test]
fn class_1_keeps_its_column_whichever_class_has_more_rows_where_linfa_swaps_them() {
    let features = Array2::from_shape_fn((9, 1), |(row, _)| row as f64 - 4.0);
    let asked = array![[4.0]];
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for ones in [3, 6] {
        let labels = (0..9).map(|row| usize::from(row >= 9 - ones)).collect();
        let data = Labelled::new(features.clone(), labels);
        let model = linfa_logistic::LogisticRegression::default().fit(&data.dataset()).unwrap();
        theirs.push(model.predict_probabilities(&asked)[0]);
        let model = learn(&LogisticRegression::default(), data.samples()).unwrap();
        ours.push(model.predict(asked.view()).unwrap()[[0, 1]]);
    }
    assert!(theirs[0] < 0.5 && theirs[1] > 0.5, "the control: {theirs:?}");
    assert!(ours.iter().all(|probability| *probability > 0.8), "{ours:?}");
}

/// linfa's softmax takes its sums relative to the largest score of all rows.
#[test]
fn one_far_row_does_not_ruin_a_fit_of_three_classes_as_it_does_linfas() {
    let mut draw = random::stream(1, 0);
    let mut features = Array2::from_shape_fn((151, 2), |(row, column)| {
        let centre = [[0.0, 4.0], [-4.0, -3.0], [4.0, -3.0]][row % 3][column];
        centre + 0.7 * random::normal(&mut draw)
    });
    // Far, and on the side of its class.
    features[[150, 0]] = 1e5;
    features[[150, 1]] = 0.0;
    let labels = (0..151).map(|row| if row == 150 { 2 } else { row % 3 }).collect();
    let data = Labelled::new(features, labels);
    let accuracy = |predicted: &[usize]| {
        let right = predicted.iter().zip(&data.labels).filter(|(ours, truth)| ours == truth);
        right.count() as f64 / data.labels.len() as f64
    };
    let theirs = linfa_logistic::MultiLogisticRegression::default()
        .max_iterations(1_000)
        .fit(&data.dataset())
        .map_or(0.0, |model| accuracy(&model.predict(&data.features).to_vec()));
    assert!(theirs < 0.9, "the control: {theirs}");
    let ours = learn(&LogisticRegression::default(), data.samples()).unwrap();
    let ours = accuracy(&ours.predict_classes(data.features.view()).unwrap());
    assert!(ours > 0.98, "{ours}");
}

const CHILD: &str = "MLP_MODELS_NAN_IN_LINFA";

/// One NaN sends linfa's trees into a recursion without end, which ends the process: the control runs in a process of its own.
#[test]
fn a_missing_value_is_learnt_from_where_it_ends_the_process_with_linfa() {
    let features = array![[1.0], [2.0], [f64::NAN], [4.0], [5.0], [6.0]];
    let data = Labelled::new(features, vec![0, 0, 1, 1, 0, 1]);
    if std::env::var_os(CHILD).is_some() {
        let tree = linfa_trees::DecisionTree::params().fit(&data.dataset());
        println!("the control: linfa lived on, {}", tree.is_ok());
        std::process::exit(0);
    }
    let name = "linfa::a_missing_value_is_learnt_from_where_it_ends_the_process_with_linfa";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(!child.status.success(), "the control: {said}");
    assert!(said.contains("overflow"), "the control ended in another way: {said}");
    let ours = learn(&DecisionTree::default(), data.samples()).unwrap();
    assert!(ours.predict(data.features.view()).unwrap().iter().all(|share| share.is_finite()));
    let refused = learn(&LogisticRegression::default(), data.samples()).unwrap_err();
    assert!(matches!(refused, FitError::Samples(_)), "{refused}");
}

/// linfa's forests count votes in a hash map and break ties by its order, which differs from map to map.
#[test]
fn a_forest_predicts_the_same_again_where_linfas_does_not() {
    let data = Data::load("synth1k");
    let samples = data.samples();
    let labels = samples.classes().unwrap().0.to_vec();
    let dataset = Dataset::new(data.features.clone(), Array1::from(labels));
    let theirs = || {
        EnsembleLearnerParams::new_fixed_rng(
            linfa_trees::DecisionTree::params(),
            SmallRng::seed_from_u64(42),
        )
        .ensemble_size(2)
        .bootstrap_proportion(0.5)
        .feature_proportion(0.5)
        .fit(&dataset)
        .unwrap()
        .predict(&dataset)
        .to_vec()
    };
    assert_ne!(theirs(), theirs(), "the control: linfa's forest is the same again");
    let forest = RandomForest::default().with_trees(2);
    let ours = || {
        let model = (&forest as &dyn Estimator).fit(samples.reborrow(), 42).unwrap();
        model.predict(data.features.view()).unwrap()
    };
    assert_eq!(ours(), ours());
}

/// linfa's folds are of n / k rows, and the rest is in none of them.
#[test]
fn every_row_is_asked_about_where_linfas_folds_drop_some() {
    let data = Labelled::new(
        Array2::from_shape_fn((11, 1), |(row, _)| row as f64),
        (0..11).map(|row| row % 2).collect(),
    );
    let mut seen = [false; 11];
    for (_, test) in data.dataset().fold(4) {
        test.records.iter().for_each(|row| seen[*row as usize] = true);
    }
    assert!(seen.contains(&false), "the control: linfa asks about every row");
    // What a fold asks about reaches the rule that gives the folds' rows to the final estimator: count them there.
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let count = mlp_models::HeuristicRule::classifier("member", ["x0"], {
        let asked = asked.clone();
        move |row| {
            asked.lock().unwrap().push(row[0] as usize);
            usize::from(row[0] > 5.0)
        }
    });
    let stacking = Stacking::new(LogisticRegression::default(), Folds::stratified(4));
    learn(&stacking.member("member", count), data.samples()).unwrap();
    let mut asked = asked.lock().unwrap().clone();
    asked.sort_unstable();
    assert_eq!(asked, (0..11).collect::<Vec<_>>());
}

/// linfa's trees count the classes of a leaf in a hash map and break ties by its order, which differs from map to map.
#[test]
fn a_tie_in_a_leaf_goes_to_the_first_class_where_linfa_draws_lots() {
    let data = Labelled::new(array![[1.0], [1.0], [1.0], [1.0]], vec![1, 0, 0, 1]);
    let asked = array![[1.0]];
    let theirs: Vec<usize> = (0..64)
        .map(|_| linfa_trees::DecisionTree::params().fit(&data.dataset()).unwrap())
        .map(|tree| tree.predict(&asked)[0])
        .collect();
    assert!(theirs.contains(&0) && theirs.contains(&1), "the control: {theirs:?}");
    for _ in 0..8 {
        let ours = learn(&DecisionTree::default(), data.samples()).unwrap();
        assert_eq!(ours.predict(asked.view()).unwrap(), array![[0.5, 0.5]]);
        assert_eq!(ours.predict_classes(asked.view()).unwrap(), [0]);
    }
}

#[cfg(feature = "linfa")]
mod with_the_feature {
    use super::*;
    use mlp_core::{ModelError, SaveError};
    use mlp_models::{
        DummyClassifier, DummyRegressor, GradientBoosting, HeuristicRule, LinearRegression,
        LinfaEstimator, LinfaLinear, LinfaLogistic, LinfaTree, Pipeline, StandardScaler,
    };

    #[test]
    fn any_fit_of_linfa_is_an_estimator_in_one_line() {
        let data = Data::load("iris");
        let tree = LinfaEstimator::classifier("tree", |data| {
            linfa_trees::DecisionTree::params().max_depth(Some(3)).fit(data)
        });
        // In a pipeline, as any other estimator.
        let pipeline = Pipeline::of(tree).after("scale", StandardScaler);
        let model = learn(&pipeline, data.samples()).unwrap();
        let labels = data.samples().classes().unwrap().0.to_vec();
        let predicted = model.predict_classes(data.features.view()).unwrap();
        let right = predicted.iter().zip(&labels).filter(|(a, b)| a == b).count();
        assert!(right > 140, "{right}");
        assert!(matches!(model.save(), Err(SaveError::NotSaveable { .. })));
        let missing = model.predict(array![[f64::NAN, 1.0, 1.0, 1.0]].view());
        assert!(matches!(missing, Err(ModelError::NotFinite { .. })));
    }

    #[test]
    fn the_guarded_adapters_keep_linfas_faults_away() {
        let features = Array2::from_shape_fn((9, 1), |(row, _)| row as f64 - 4.0);
        for ones in [3, 6] {
            let labels = (0..9).map(|row| usize::from(row >= 9 - ones)).collect();
            let data = Labelled::new(features.clone(), labels);
            let model = learn(&LinfaLogistic::default(), data.samples()).unwrap();
            let ours = learn(&LogisticRegression::default(), data.samples()).unwrap();
            let (theirs, ours) =
                (model.predict(features.view()).unwrap(), ours.predict(features.view()).unwrap());
            assert!(theirs.iter().zip(&ours).all(|(a, b)| (a - b).abs() < 1e-3), "{theirs}");
        }
        let three = Labelled::new(features.clone(), (0..9).map(|row| row % 3).collect());
        assert!(learn(&LinfaLogistic::default(), three.samples()).is_err());
        let close = Labelled::new(array![[1e-6], [2e-6], [3.0]], vec![0, 1, 1]);
        let refused = learn(&LinfaTree::default(), close.samples()).unwrap_err();
        let reason = std::error::Error::source(&refused).unwrap().to_string();
        assert!(reason.contains("\"x0\"") && reason.contains("0.000001"), "{reason}");
        // Their middle is infinite, or rounds to one of them: linfa would split the same rows until the stack is full.
        for (low, high) in [(1e308, 1.5e308), (1e17 + 16.0, 1e17 + 32.0), (1e17, 1e17 + 16.0)] {
            let large = Labelled::new(array![[low], [high]], vec![0, 1]);
            let refused = learn(&LinfaTree::default(), large.samples()).unwrap_err();
            let reason = std::error::Error::source(&refused).unwrap().to_string();
            assert!(reason.contains("\"x0\""), "{reason}");
        }
        let missing = Labelled::new(array![[f64::NAN], [2.0], [3.0]], vec![0, 1, 1]);
        assert!(matches!(
            learn(&LinfaTree::default(), missing.samples()),
            Err(FitError::Samples(_))
        ));
        let numbers = Data::load("friedman1");
        let theirs = learn(&LinfaLinear::default(), numbers.samples()).unwrap();
        let ours = learn(&LinearRegression::default(), numbers.samples()).unwrap();
        let rows = numbers.features.view();
        let pairs = (theirs.predict(rows).unwrap(), ours.predict(rows).unwrap());
        assert!(pairs.0.iter().zip(&pairs.1).all(|(a, b)| (a - b).abs() < 1e-8));
    }

    /// Each label needs a level of its own: of so many rows with labels that take turns, linfa splits one off at a time.
    #[test]
    fn a_tree_of_linfa_has_no_more_levels_than_a_stack_holds() {
        let n = 1_500;
        let features = Array2::from_shape_fn((n, 1), |(row, _)| row as f64);
        let data = Labelled::new(features, (0..n).map(|row| row % 2).collect());
        let dataset = data.dataset();
        let deep = std::thread::Builder::new()
            .stack_size(256 << 20)
            .spawn(move || linfa_trees::DecisionTree::params().fit(&dataset).unwrap().max_depth());
        let deep = deep.unwrap().join().unwrap();
        assert!(deep > 512, "the control: linfa's own tree has {deep} levels");
        // On the stack of a test's thread, the least that any thread of Rust has unless told otherwise.
        assert!(learn(&LinfaTree::default(), data.samples()).is_ok());
        let tree = |depth: Option<usize>, leaf: f32| {
            let mut tree = LinfaTree::default();
            (tree.max_depth, tree.min_leaf) = (depth, leaf);
            learn(&tree, data.samples())
        };
        assert!(tree(Some(512), 1.0).is_ok() && tree(Some(2), f32::MIN_POSITIVE).is_ok());
        for (depth, leaf) in [(Some(0), 1.0), (Some(513), 1.0), (None, 0.0), (None, -1.0)] {
            let refused = tree(depth, leaf).unwrap_err();
            assert!(matches!(refused, FitError::Params(_)), "{refused}");
        }
    }

    #[test]
    fn baselines_work_under_linfas_traits_too() {
        let rows = array![[1.0], [2.0], [3.0]];
        let labelled = Dataset::new(rows.clone(), array![0_usize, 1, 1]);
        let most = Fit::fit(&DummyClassifier::most_frequent(), &labelled).unwrap();
        assert_eq!(most.predict(&labelled).to_vec(), [1, 1, 1]);
        let rule = HeuristicRule::classifier("more than one", ["feature-0"], |row| {
            usize::from(row[0] > 1.5)
        });
        let rule = Fit::fit(&rule, &labelled).unwrap();
        assert_eq!(rule.predict(&labelled).to_vec(), [0, 1, 1]);
        let numbers = Dataset::new(rows, array![1.0, 2.0, 6.0]);
        let mean = Fit::fit(&DummyRegressor::mean(), &numbers).unwrap();
        assert_eq!(mean.predict(&numbers).to_vec(), [3.0, 3.0, 3.0]);
        // A dummy of the other kind of target is an error, not a panic.
        assert!(Fit::fit(&DummyRegressor::mean(), &labelled).is_err());
    }

    #[test]
    fn our_learners_work_under_linfas_traits_and_in_its_cross_validation() {
        let data = Data::load("iris");
        let labels = data.samples().classes().unwrap().0.to_vec();
        let mut dataset = Dataset::new(data.features.clone(), Array1::from(labels));
        let model: mlp_models::LinfaClasses =
            Fit::fit(&GradientBoosting::default(), &dataset).unwrap();
        let accuracy = model.predict(&dataset).confusion_matrix(&dataset).unwrap().accuracy();
        assert!(accuracy > 0.95, "{accuracy}");
        let ours = learn(&GradientBoosting::default(), data.samples()).unwrap();
        let rows = data.features.view();
        assert_eq!(model.predict(&dataset).to_vec(), ours.predict_classes(rows).unwrap());
        let scores: Vec<f32> = dataset
            .iter_fold(5, |fold| Fit::fit(&DecisionTree::default(), fold).unwrap())
            .map(|(model, test)| {
                model.predict(test.records()).confusion_matrix(test.targets()).unwrap().accuracy()
            })
            .collect();
        assert_eq!(scores.len(), 5);
        let numbers = Data::load("friedman1");
        let values = Array1::from(numbers.samples().values().unwrap().to_vec());
        let dataset = Dataset::new(numbers.features.clone(), values);
        let model = Fit::fit(&LinearRegression::default(), &dataset).unwrap();
        assert!(model.predict(&dataset).r2(&dataset).unwrap() > 0.6);
    }
}
