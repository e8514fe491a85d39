//! Data at the edge: rows without weight, numbers beyond all bounds, missing values, and saved parts that ask for too much.

use std::sync::Arc;

use mlp_core::{
    Estimator, FitError, FittedModel, FittedTransformer, FittedTransformerExt, ModelExt, Samples,
    SaveError, Saved, Transformer, random,
};
use mlp_models::{
    Calibrated, DecisionGoal, DecisionTree, DummyClassifier, DummyRegressor, ElasticNet, Fill,
    Folds, GradientBoosting, Imputer, LinearRegression, Loader, LogisticRegression, MinMaxScaler,
    MultilayerPerceptron, OneHotEncoder, Pca, PolynomialFeatures, RandomForest, Resolution,
    RobustScaler, StandardScaler, Threshold,
};
use ndarray::{Array2, array};

use crate::data::{Given, reason};
use crate::{memory, peak};

#[test]
fn boosting_for_long_takes_no_step_that_only_rounding_asks_for() {
    // 40 rows of a certain class at high x; the others have 30 % of wrong labels.
    for seed in 0..4 {
        let mut draw = random::stream(seed, 0);
        let x: Vec<f64> = (0..640).map(|row| f64::from(row) / 640.0).collect();
        let label = |&x: &f64| {
            let noise = random::uniform(&mut draw) < 0.3;
            usize::from(x >= 600.0 / 640.0 || (x > 0.3) != noise)
        };
        let labels: Vec<usize> = x.iter().map(label).collect();
        let data = Given::classes(Array2::from_shape_vec((640, 1), x).unwrap(), &labels);
        let boosting = GradientBoosting::default().with_rounds(400).with_learning_rate(0.1);
        let model = boosting.fit_boosting(data.samples(), 0).unwrap();
        // The rules end each line of a leaf with its step, "score of c1 -0.0123".
        let rules: String = (0..400).map(|tree| model.rules(tree)).collect();
        let steps = rules.lines().filter_map(|line| line.split_once("score of c1 "));
        let leaves = steps.map(|(_, step)| step.parse::<f64>().unwrap().abs());
        let largest = leaves.fold(0.0, f64::max);
        assert!(largest < 10.0, "a leaf moves the log-odds by {largest}");
    }
}

#[test]
fn boosting_grows_the_same_trees_whatever_the_unit_of_the_weights_is() {
    let mut draw = random::stream(5, 0);
    let features = Array2::from_shape_simple_fn((300, 2), || random::uniform(&mut draw));
    let labels: Vec<usize> =
        features.rows().into_iter().map(|row| usize::from(row[0] + 0.3 * row[1] > 0.6)).collect();
    let data = Given::classes(features, &labels);
    let fit = |weight: f64| {
        let weights = vec![weight; 300];
        let samples = data.samples().with_weights(&weights).unwrap();
        let model = GradientBoosting::default().with_rounds(20).fit(samples, 0).unwrap();
        model.predict(data.features.view()).unwrap()
    };
    // Only gains of less than 1e-12 in the unit at hand are left out.
    let (one, small) = (fit(1.0), fit(2.0_f64.powi(-12)));
    assert!(one.iter().zip(&small).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn a_value_above_all_known_ones_goes_with_the_known_ones_and_not_with_the_missing() {
    let features = array![[1.0], [2.0], [3.0], [f64::NAN], [f64::NAN]];
    let data = Given::classes(features.clone(), &[0, 0, 0, 1, 1]);
    let asked = array![[3.5], [1e308], [-1e308], [f64::NAN]];
    let estimators: [Arc<dyn Estimator>; 4] = [
        Arc::new(DecisionTree::default()),
        Arc::new(DecisionTree::default().with_resolution(Resolution::Bins)),
        Arc::new(RandomForest::default()),
        Arc::new(GradientBoosting::default().with_min_leaf(1)),
    ];
    for estimator in estimators {
        let model = estimator.fit(data.samples(), 0).unwrap();
        let loaded = Loader::default().model(&model.save().unwrap()).unwrap();
        for model in [model, loaded] {
            let decided = model.predict_classes(asked.view()).unwrap();
            assert_eq!(decided, [0, 0, 0, 1], "{estimator:?}");
        }
    }
    let tree = DecisionTree::default().fit_tree(data.samples()).unwrap();
    let rules = tree.rules(0);
    assert!(rules.contains("x0 is known: c0 1.0000") && rules.contains("x0 is missing"), "{rules}");
}

#[test]
fn no_probability_of_a_tree_leaves_the_range_from_0_to_1_with_fractional_weights() {
    let data = Given::classes(array![[3.0], [2.0], [1.0], [4.0]], &[1, 1, 1, 0]);
    let samples = data.samples().with_weights(&[0.3, 0.2, 0.1, 1.0]).unwrap();
    let model = DecisionTree::default().fit(samples, 0).unwrap();
    let predicted = model.predict(data.features.view()).unwrap();
    assert_eq!(predicted, array![[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]);
    // Many weights at random, in trees of all kinds.
    let mut draw = random::stream(9, 0);
    let features = Array2::from_shape_simple_fn((200, 3), || random::uniform(&mut draw));
    let labels: Vec<usize> = (0..200).map(|_| random::below(&mut draw, 3) as usize).collect();
    let weights: Vec<f64> = (0..200).map(|_| 10.0 * random::uniform(&mut draw)).collect();
    let data = Given::classes(features, &labels);
    let estimators: [&dyn Estimator; 2] =
        [&DecisionTree::default(), &RandomForest::default().with_trees(20)];
    for estimator in estimators {
        let samples = data.samples().with_weights(&weights).unwrap();
        let predicted = estimator.fit(samples, 0).unwrap().predict(data.features.view()).unwrap();
        assert!(predicted.iter().all(|p| (0.0..=1.0).contains(p)), "{predicted}");
    }
}

#[test]
fn a_small_saved_part_cannot_ask_for_much_memory() {
    // Trees whose leaves share one wide answer.
    let (width, leaves) = (50_000, 50_000);
    let nodes = 2 * leaves - 1;
    let list = |of: &dyn Fn(usize) -> usize, n: usize| {
        (0..n).map(|k| of(k).to_string()).collect::<Vec<_>>().join(",")
    };
    // Every left child is a leaf, every right one splits again.
    let left = list(&|k| if k % 2 == 0 && k + 1 < nodes { k + 1 } else { 0 }, nodes);
    let zeros = list(&|_| 0, nodes);
    let answers = list(&|_| 0, width);
    let body = format!(
        "{{\"signature\":{{\"features\":[\"x\"],\"task\":{{\"classification\":{{\"classes\":[\"a\",\"b\"]}}}}}},\"nodes\":\
         {{\"width\":{width},\"roots\":[0],\"feature\":[{zeros}],\"threshold\":[{zeros}],\"left\":[{left}],\"cover\":[{zeros}],\
         \"slot\":[{zeros}],\"answers\":[{answers}]}},\"importances\":[1.0]}}"
    );
    assert!(body.len() < 2 << 20, "{}", body.len());
    let trees = Saved::new("mlp-models/trees", 1, body.into_bytes()).unwrap();
    let long = "n".repeat(400_000);
    let categories = list(&|k| k, 90_000);
    let encoder = format!(
        "{{\"inputs\":[\"{long}\"],\"categories\":[[{categories}]],\"code\":\"one_hot\",\"unknown\":\"refuse\"}}"
    );
    let products = vec!["[0]"; 150_000].join(",");
    let polynomial = format!("{{\"inputs\":[\"{long}\"],\"products\":[{products}]}}");
    let _memory = memory();
    let before = peak();
    let loader = Loader::default();
    let error = loader.model(&trees).unwrap_err();
    assert!(error.to_string().contains("do not fit their signature"), "{error}");
    for (kind, body) in [("encoder", encoder), ("polynomial", polynomial)] {
        let saved = Saved::new(format!("mlp-models/{kind}"), 1, body.into_bytes()).unwrap();
        let error = loader.transformer(&saved).unwrap_err();
        assert!(error.to_string().contains("names of the outputs"), "{error}");
    }
    // A stack's features are named after members and classes.
    let data = crate::data::Data::load("iris");
    let name = "n".repeat(30 << 20);
    let stacking = mlp_models::Stacking::new(LogisticRegression::default(), Folds::stratified(2));
    let error = stacking.member(name, DecisionTree::default()).fit(data.samples(), 0).unwrap_err();
    assert!(reason(&error).contains("names of the outputs"), "{error}");
    if let (Some(before), Some(after)) = (before, peak()) {
        assert!(after - before < 2.0, "{} GiB more", after - before);
    }
}

#[test]
fn a_class_that_has_no_weight_takes_no_part() {
    let mut draw = random::stream(3, 0);
    let features = Array2::from_shape_simple_fn((60, 2), || random::normal(&mut draw));
    let two: Vec<usize> = (0..60).map(|row| usize::from(row % 3 == 0)).collect();
    let estimators: [Arc<dyn Estimator>; 5] = [
        Arc::new(LogisticRegression::default()),
        Arc::new(LogisticRegression::default().with_c(0.5).with_l1_ratio(0.5)),
        Arc::new(MultilayerPerceptron::default().with_max_epochs(5)),
        Arc::new(Calibrated::platt(LogisticRegression::default(), Folds::stratified(3))),
        Arc::new(Calibrated::isotonic(LogisticRegression::default(), Folds::stratified(3))),
    ];
    // Only the first class has weight.
    let data = Given::classes(features.clone(), &two);
    let first: Vec<f64> = two.iter().map(|label| 1.0 - *label as f64).collect();
    for estimator in &estimators {
        let error = estimator.fit(data.samples().with_weights(&first).unwrap(), 0).unwrap_err();
        assert!(matches!(&error, FitError::SingleClass { class } if class == "c0"), "{error}");
    }
    // A third class whose rows have no weight: as without these rows.
    let three: Vec<usize> = (0..60).map(|row| if row >= 50 { 2 } else { two[row] }).collect();
    let weights: Vec<f64> = (0..60).map(|row| f64::from(u8::from(row < 50))).collect();
    let data = Given::classes(features, &three);
    let kept: Vec<usize> = (0..50).collect();
    for estimator in &estimators[..3] {
        let weighted = estimator.fit(data.samples().with_weights(&weights).unwrap(), 0).unwrap();
        let without = estimator.fit(data.samples().with_rows(&kept).unwrap(), 0).unwrap();
        let rows = data.features.view();
        let (a, b) = (weighted.predict(rows).unwrap(), without.predict(rows).unwrap());
        assert_eq!(a, b, "{estimator:?}");
        assert!(a.column(2).iter().all(|p| *p == 0.0));
    }
}

#[test]
fn weights_that_are_all_0_are_refused_everywhere() {
    let features = array![[1.0, 2.0], [2.0, 5.0], [3.0, 1.0], [5.0, 2.0]];
    let numbers = Given::values(features.clone(), &[1.0, 2.0, 3.0, 4.0]);
    let classes = Given::classes(features, &[0, 0, 1, 1]);
    let of_numbers: [Arc<dyn Estimator>; 7] = [
        Arc::new(LinearRegression::default()),
        Arc::new(ElasticNet::default()),
        Arc::new(DummyRegressor::mean()),
        Arc::new(DummyRegressor::median()),
        Arc::new(DecisionTree::default()),
        Arc::new(GradientBoosting::default().with_min_leaf(1)),
        Arc::new(MultilayerPerceptron::default()),
    ];
    let of_classes: [Arc<dyn Estimator>; 6] = [
        Arc::new(LogisticRegression::default()),
        Arc::new(DummyClassifier::prior()),
        Arc::new(RandomForest::default()),
        Arc::new(MultilayerPerceptron::default()),
        Arc::new(Calibrated::platt(DecisionTree::default(), Folds::stratified(2))),
        Arc::new(Threshold::chosen(
            DecisionTree::default(),
            DecisionGoal::Accuracy,
            Folds::stratified(2),
        )),
    ];
    let is_refused = |error: FitError| {
        let message = error.to_string();
        assert!(message.contains("rows with a weight above 0: 0 given"), "{message}");
    };
    for (data, estimators) in [(&numbers, &of_numbers[..]), (&classes, &of_classes[..])] {
        for estimator in estimators {
            let samples = data.samples().with_weights(&[0.0; 4]).unwrap();
            is_refused(estimator.fit(samples, 0).unwrap_err());
        }
    }
    let transformers: [&dyn Transformer; 3] =
        [&StandardScaler, &Imputer::new(Fill::Mean), &Pca::default()];
    for transformer in transformers {
        let samples = numbers.samples().with_weights(&[0.0; 4]).unwrap();
        is_refused(transformer.fit(samples, 0).unwrap_err());
    }
}

#[test]
fn a_row_without_weight_does_not_touch_a_regression_tree() {
    let data = Given::values(array![[1.0], [2.0], [3.0], [4.0]], &[1.0, 2.0, 3.0, 1e18]);
    let estimators: [&dyn Estimator; 2] = [&DecisionTree::default(), &RandomForest::default()];
    for estimator in estimators {
        let samples = data.samples().with_weights(&[1.0, 1.0, 1.0, 0.0]).unwrap();
        let model = estimator.fit(samples, 0).unwrap();
        let three = estimator.fit(data.samples().with_rows(&[0, 1, 2]).unwrap(), 0).unwrap();
        let rows = array![[1.0], [2.0], [3.0]];
        let predicted = model.predict_values(rows.view()).unwrap();
        assert!(predicted.iter().all(|value| (1.0..=3.0).contains(value)), "{predicted:?}");
        if three.complexity().parameters == 5 {
            assert_eq!(predicted, [1.0, 2.0, 3.0]);
        }
    }
}

#[test]
fn a_constant_that_is_not_finite_is_refused() {
    let data = Given::values(array![[1.0], [2.0]], &[1.0, 2.0]);
    for constant in [f64::NAN, f64::INFINITY] {
        let error = DummyRegressor::constant(constant).fit(data.samples(), 0).unwrap_err();
        assert!(error.to_string().contains("constant"), "{error}");
    }
    assert!(DummyRegressor::constant(1e300).fit(data.samples(), 0).is_ok());
}

#[test]
fn a_model_with_a_number_that_is_not_finite_is_not_saved_as_null() {
    // Sums beyond all numbers: the mean is infinite.
    let data = Given::values(array![[1.0], [2.0]], &[1.7e308, 1.7e308]);
    let model = DummyRegressor::mean().fit(data.samples(), 0).unwrap();
    let error = model.save().unwrap_err();
    assert!(matches!(&error, SaveError::NotSaveable { what, .. } if what == "mlp-models/dummy"));
    assert!(error.to_string().contains("finite"), "{error}");
}

#[test]
fn a_uniform_guess_is_right_as_often_as_there_are_classes() {
    let features = Array2::from_shape_fn((9_000, 1), |(row, _)| row as f64);
    let labels: Vec<usize> = (0..9_000).map(|row| usize::from(row % 9 == 0)).collect();
    let mut data = Given::classes(features, &labels);
    data.classes.push("c2".to_owned());
    let model = DummyClassifier::uniform().fit(data.samples(), 1).unwrap();
    let guesses = model.predict_classes(data.features.view()).unwrap();
    let mut counts = [0.0_f64; 3];
    guesses.iter().for_each(|&guess| counts[guess] += 1.0);
    // Five standard deviations of a binomial count.
    let deviation = (9_000.0_f64 * 1.0 / 3.0 * 2.0 / 3.0).sqrt();
    assert!(counts.iter().all(|count| (count - 3_000.0).abs() < 5.0 * deviation), "{counts:?}");
    let right = guesses.iter().zip(&labels).filter(|(guess, truth)| guess == truth).count();
    assert!((right as f64 - 3_000.0).abs() < 5.0 * deviation, "{right}");
    assert_eq!(guesses, model.predict_classes(data.features.view()).unwrap());
    let other = DummyClassifier::uniform().fit(data.samples(), 2).unwrap();
    assert_ne!(guesses, other.predict_classes(data.features.view()).unwrap());
}

#[test]
fn a_constant_feature_gets_no_coefficient_for_its_rounding() {
    let mut draw = random::stream(4, 0);
    for rows in [10, 1_000] {
        let x: Vec<f64> = (0..rows).map(|_| random::normal(&mut draw)).collect();
        let y: Vec<f64> =
            x.iter().map(|x| 3.0 * x + 100.0 + 0.01 * random::normal(&mut draw)).collect();
        let features = Array2::from_shape_fn(
            (rows, 2),
            |(row, column)| if column == 0 { x[row] } else { 0.1 },
        );
        let data = Given::values(features, &y);
        let estimators: [&dyn Estimator; 3] = [
            &LinearRegression::default(),
            &LinearRegression::default().with_alpha(1e-9),
            &ElasticNet::default().with_alpha(1e-9),
        ];
        for estimator in estimators {
            let model = estimator.fit(data.samples(), 0).unwrap();
            let weights = model.linear_weights().unwrap().remove(0);
            assert_eq!(weights[1], 0.0, "{estimator:?} on {rows} rows");
            assert!((weights[0] - 3.0).abs() < 0.02, "{weights:?}");
        }
        let scaled = StandardScaler.fit(data.samples(), 0).unwrap();
        let scaled = scaled.transform(data.features.view()).unwrap();
        assert!(scaled.column(1).iter().all(|value| *value == 0.0));
    }
}

#[test]
fn numbers_too_large_to_square_are_an_error_that_names_them() {
    let features = array![[1.0, 1e200], [2.0, -1e200], [3.0, 1e200], [4.0, 3e200]];
    let data = Given::values(features, &[1.0, 2.0, 3.0, 4.0]);
    let estimators: [&dyn Estimator; 2] = [&ElasticNet::default(), &LinearRegression::default()];
    for estimator in estimators {
        let error = reason(&estimator.fit(data.samples(), 0).unwrap_err());
        assert!(error.contains("\"x1\" is too large"), "{error}");
    }
    let tall = Given::values(array![[1.0], [2.0], [4.0]], &[1e200, -1e200, 3e200]);
    let error = reason(&ElasticNet::default().fit(tall.samples(), 0).unwrap_err());
    assert!(error.contains("target is too large"), "{error}");
    // Scaled, they are learnt from.
    let scaled = StandardScaler.fit(data.samples(), 0).unwrap();
    let scaled = Given::values(scaled.transform(data.features.view()).unwrap(), &data.values);
    assert!(ElasticNet::lasso(0.01).fit(scaled.samples(), 0).is_ok());
}

#[test]
fn scalers_keep_features_whose_squares_are_beyond_all_numbers() {
    for unit in [1e200, 1e-200, 1.0] {
        let data = Given::values(array![[-unit], [0.0], [unit], [2.0 * unit]], &[0.0; 4]);
        let fitted: Arc<dyn FittedTransformer> = StandardScaler.fit(data.samples(), 0).unwrap();
        let scaled = fitted.transform(data.features.view()).unwrap();
        let wanted = [-1.5, -0.5, 0.5, 1.5].map(|value: f64| value / 1.25_f64.sqrt());
        let pairs = scaled.iter().zip(wanted);
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-12), "{unit}: {scaled}");
    }
    let wide = Given::values(array![[-1.7e308], [1.7e308]], &[0.0; 2]);
    let transformers: [&dyn Transformer; 2] =
        [&MinMaxScaler, &RobustScaler::default().with_quantiles(0.0, 1.0)];
    for transformer in transformers {
        let error = reason(&transformer.fit(wide.samples(), 0).unwrap_err());
        assert!(error.contains("\"x0\" is beyond all numbers"), "{error}");
    }
}

#[test]
fn a_network_that_diverges_is_an_error_for_classes_as_for_numbers() {
    let mut draw = random::stream(6, 0);
    let features =
        Array2::from_shape_simple_fn((40, 60), || 1.7e308 * random::normal(&mut draw).signum());
    let labels: Vec<usize> = (0..40).map(|row| row % 3).collect();
    for labels in [labels.clone(), labels.iter().map(|label| label % 2).collect()] {
        let data = Given::classes(features.clone(), &labels);
        let error = MultilayerPerceptron::default().fit(data.samples(), 0).unwrap_err();
        assert!(matches!(error, FitError::NotConverged { .. }), "{error}");
    }
}

/// Rows in groups of one class each, whose group is told by a feature.
fn in_groups() -> (Given, Vec<u64>) {
    let groups: Vec<u64> = (0..120).map(|row| row * 7 % 24).collect();
    let features = Array2::from_shape_fn((120, 1), |(row, _)| groups[row] as f64);
    let labels: Vec<usize> = groups.iter().map(|group| (group * group % 5 < 2) as usize).collect();
    (Given::classes(features, &labels), groups)
}

#[test]
fn no_group_is_on_both_sides_of_a_drawn_fold() {
    let (data, groups) = in_groups();
    let samples = data.samples().with_groups(&groups).unwrap();
    // A rule that is asked about the rows of a fold tells which they are; a member sees its own part alone.
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let rule = mlp_models::HeuristicRule::classifier("told", ["x0"], {
        let asked = asked.clone();
        move |row| {
            asked.lock().unwrap().push(row[0] as u64);
            0
        }
    });
    let stacking = mlp_models::Stacking::new(LogisticRegression::default(), Folds::stratified(4));
    stacking.member("told", rule).fit(samples.reborrow(), 3).unwrap();
    // Fold after fold, a group's rows come in one run of folds: each group is asked about within one fold only.
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 120);
    // Each of the four folds holds a quarter of the groups, and of each class.
    let mut seen = std::collections::BTreeSet::new();
    for fold in asked.chunks(30) {
        let here: std::collections::BTreeSet<u64> = fold.iter().copied().collect();
        assert_eq!(here.len(), 6, "{here:?}");
        assert!(here.iter().all(|group| seen.insert(*group)), "a group is in two folds");
        let ones = here.iter().filter(|group| *group * *group % 5 < 2).count();
        assert!((2..=5).contains(&ones), "{ones} groups of class 1");
    }
    // A tree that knows groups by heart is right about rows of groups it has seen, and of no use for others: calibration must see that.
    let loss = |samples: Samples<'_>| {
        let calibrated = Calibrated::platt(DecisionTree::default(), Folds::stratified(4));
        let model = calibrated.fit(samples, 3).unwrap();
        let predicted = model.predict(data.features.view()).unwrap();
        predicted.rows().into_iter().map(|row| row[0].max(row[1])).sum::<f64>() / 120.0
    };
    let (by_group, by_row) = (loss(samples.reborrow()), loss(data.samples()));
    assert!(by_row > 0.95 && by_group < 0.9, "sure by {by_row} and {by_group}");
    let few = data.samples().with_groups(&[0; 120]).unwrap();
    let error = Calibrated::platt(DecisionTree::default(), Folds::stratified(4)).fit(few, 0);
    assert!(error.unwrap_err().to_string().contains("groups for the folds: 1 given"));
}

#[test]
fn a_network_sets_whole_groups_aside() {
    // The label is the group's own secret: rows of groups that are learnt from tell nothing about others.
    let mut draw = random::stream(8, 0);
    let groups: Vec<u64> = (0..400).map(|row| row % 20).collect();
    let secret: Vec<usize> = (0..20).map(|_| random::below(&mut draw, 2) as usize).collect();
    let labels: Vec<usize> = groups.iter().map(|&group| secret[group as usize]).collect();
    let features = Array2::from_shape_fn((400, 20), |(row, column)| {
        f64::from(u8::from(groups[row] == column as u64))
    });
    let data = Given::classes(features, &labels);
    let network =
        MultilayerPerceptron::default().with_learning_rate(0.01).with_early_stopping(0.25);
    let least = |samples: Samples<'_>| {
        let model = network.fit_network(&samples, 1).unwrap();
        model.loss_curve().iter().copied().fold(f64::INFINITY, f64::min)
    };
    let rows = least(data.samples());
    let whole = least(data.samples().with_groups(&groups).unwrap());
    assert!(rows < 0.1 && whole > 0.4, "by rows {rows}, by groups {whole}");
}

#[test]
fn names_that_are_made_of_others_may_still_be_many() {
    let features = Array2::from_shape_fn((500, 20), |(row, column)| (row % (column + 2)) as f64);
    let data = Given::values(features, &[0.0; 500]);
    let encoded = OneHotEncoder::default().fit(data.samples(), 0).unwrap();
    assert_eq!(encoded.output_names().len(), (2..22).sum::<usize>());
    let products = PolynomialFeatures::default().with_degree(3).fit(data.samples(), 0).unwrap();
    let loaded = Loader::default().transformer(&products.save().unwrap()).unwrap();
    assert_eq!(loaded.output_names(), products.output_names());
}

#[cfg(feature = "linfa")]
#[test]
fn linfas_logistic_regression_refuses_weights_that_it_would_not_heed() {
    let data = Given::classes(array![[1.0], [2.0], [3.0], [4.0]], &[0, 0, 1, 1]);
    let weighted = data.samples().with_weights(&[1.0, 2.0, 1.0, 1.0]).unwrap();
    let linfa: &dyn Estimator = &mlp_models::LinfaLogistic::default();
    let error = reason(&linfa.fit(weighted, 0).unwrap_err());
    assert!(error.contains("heeds no weights"), "{error}");
    assert!(linfa.fit(data.samples(), 0).is_ok(), "the control");
}

#[test]
fn a_fitted_or_loaded_model_is_reached_as_what_it_is() {
    use mlp_models::{
        FittedBoosting, FittedCalibrated, FittedLinear, FittedLogistic, FittedPipeline,
        FittedScaler, FittedStacking, FittedThreshold, FittedTrees, FittedVoting, Pipeline,
        Stacking, Voting,
    };
    let data = crate::data::Data::load("breast_cancer");
    let both = |estimator: &dyn Estimator| -> [Arc<dyn FittedModel>; 2] {
        let model = estimator.fit(data.samples(), 1).unwrap();
        let loaded = Loader::default().model(&model.save().unwrap()).unwrap();
        [model, loaded]
    };
    let scaled = || Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler);
    let goal = DecisionGoal::Cost { false_positive: 1.0, false_negative: 5.0 };
    for model in both(&Threshold::chosen(scaled(), goal, Folds::stratified(3))) {
        let threshold = model.downcast_ref::<FittedThreshold>().unwrap();
        assert!(threshold.threshold() > 0.0 && threshold.score().unwrap() <= 0.0);
        let pipeline = threshold.model().downcast_ref::<FittedPipeline>().unwrap();
        let (name, step) = pipeline.steps().next().unwrap();
        assert_eq!(name, "scale");
        assert!(step.downcast_ref::<FittedScaler>().is_some());
        let logistic = pipeline.model().downcast_ref::<FittedLogistic>().unwrap();
        assert_eq!(logistic.named_coefficients().count(), 1);
        assert!(model.downcast_ref::<FittedTrees>().is_none(), "the control");
    }
    let forest = || RandomForest::default().with_trees(3).with_max_depth(3);
    for model in both(&Calibrated::platt(forest(), Folds::stratified(3))) {
        let calibrated = model.downcast_ref::<FittedCalibrated>().unwrap();
        let trees = calibrated.model().downcast_ref::<FittedTrees>().unwrap();
        assert!(!trees.rules(0).is_empty());
        assert!(trees.shap(data.features.view()).is_ok());
    }
    for model in both(&GradientBoosting::default().with_rounds(2)) {
        let boosting = model.downcast_ref::<FittedBoosting>().unwrap();
        assert!(boosting.shap(data.features.view()).is_ok() && !boosting.rules(0).is_empty());
    }
    let stacking = Stacking::new(LogisticRegression::default(), Folds::stratified(3));
    for model in both(&stacking.member("forest", forest())) {
        let stacking = model.downcast_ref::<FittedStacking>().unwrap();
        assert!(stacking.last().downcast_ref::<FittedLogistic>().is_some());
    }
    for model in both(&Voting::soft().member("forest", forest(), 2.0)) {
        let voting = model.downcast_ref::<FittedVoting>().unwrap();
        assert_eq!(voting.members().next().unwrap().2, 2.0);
    }
    let numbers = crate::data::Data::load("friedman1");
    let model = LinearRegression::default().fit(numbers.samples(), 0).unwrap();
    let linear = model.downcast_ref::<FittedLinear>().unwrap();
    assert_eq!(linear.named_coefficients().count(), numbers.features.ncols());
}

#[test]
fn a_pipeline_of_scalers_tells_the_weights_of_its_linear_model_under_its_inputs() {
    use mlp_models::{ColumnSelect, Pipeline};
    let data = crate::data::Data::load("friedman1");
    let names = data.samples().names().to_vec();
    let chosen = [names[3].clone(), names[0].clone()];
    let select = || ColumnSelect::new(chosen.clone());
    let pipeline = Pipeline::of(LinearRegression::default())
        .after("choose", select())
        .after("scale", StandardScaler);
    let model = pipeline.fit(data.samples(), 0).unwrap();
    let weights = model.linear_weights().unwrap().remove(0);
    let importances = model.importances().unwrap();
    assert!(weights[0] != 0.0 && weights[3] != 0.0 && weights[1] == 0.0);
    assert!(
        weights.iter().zip(&importances).all(|(weight, importance)| weight.abs() == *importance)
    );
    let products = Pipeline::of(LinearRegression::default())
        .after("choose", select())
        .after("multiply", PolynomialFeatures::default());
    assert_eq!(products.fit(data.samples(), 0).unwrap().linear_weights(), None);
    let tree = Pipeline::of(DecisionTree::default()).after("scale", StandardScaler);
    assert_eq!(tree.fit(data.samples(), 0).unwrap().linear_weights(), None);
}
