//! What the estimators promise, by name.

use std::sync::Arc;

use mlp_core::{
    Estimator, FitError, FittedModel, FittedTransformerExt, ModelError, ModelExt, Samples,
    SaveError, Saved, Target, Transformer,
};
use mlp_models::{
    Calibrated, ColumnSelect, DecisionGoal, DecisionTree, DummyClassifier, DummyRegressor,
    ElasticNet, FittedLogistic, Folds, GradientBoosting, LinearRegression, Loader,
    LogisticRegression, MinMaxScaler, MultilayerPerceptron, Pipeline, RandomForest, Resolution,
    Stacking, StandardScaler, Threshold, Voting, families,
};
use ndarray::{Array2, array};

use crate::data::Data;

fn classifiers() -> Vec<Arc<dyn Estimator>> {
    vec![
        Arc::new(DummyClassifier::most_frequent()),
        Arc::new(DummyClassifier::stratified()),
        Arc::new(Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler)),
        Arc::new(DecisionTree::default()),
        Arc::new(RandomForest::default().with_trees(5)),
        Arc::new(GradientBoosting::default().with_rounds(5).with_min_leaf(1)),
        Arc::new(LogisticRegression::default().with_c(0.5).with_l1_ratio(0.8)),
        Arc::new(MultilayerPerceptron::default().with_hidden([6, 4]).with_max_epochs(5)),
        Arc::new(Voting::hard().member("tree", DecisionTree::default(), 1.0).member(
            "prior",
            DummyClassifier::prior(),
            2.0,
        )),
        Arc::new(
            Stacking::new(LogisticRegression::default(), Folds::stratified(2))
                .member("tree", DecisionTree::default()),
        ),
        Arc::new(Calibrated::platt(DecisionTree::default(), Folds::stratified(2))),
        Arc::new(Calibrated::isotonic(DecisionTree::default(), Folds::stratified(2))),
    ]
}

fn regressors() -> Vec<Arc<dyn Estimator>> {
    vec![
        Arc::new(DummyRegressor::median()),
        Arc::new(LinearRegression::default()),
        Arc::new(ElasticNet::lasso(0.1)),
        Arc::new(DecisionTree::default().with_min_leaf(3)),
        Arc::new(RandomForest::default().with_trees(5)),
        Arc::new(GradientBoosting::default().with_rounds(5)),
        Arc::new(MultilayerPerceptron::default().with_hidden([5]).with_early_stopping(0.2)),
        Arc::new(Voting::average().member("tree", DecisionTree::default(), 1.0).member(
            "mean",
            DummyRegressor::mean(),
            2.0,
        )),
        Arc::new(
            Pipeline::of(LinearRegression::default().with_alpha(1.0)).after("scale", MinMaxScaler),
        ),
    ]
}

#[test]
fn a_saved_model_predicts_the_same_bits() {
    for (name, estimators) in [("wine", classifiers()), ("friedman1", regressors())] {
        let data = Data::load(name);
        for estimator in estimators {
            let model = estimator.fit(data.samples(), 3).unwrap();
            let saved = Saved::from_bytes(&model.save().unwrap().to_bytes()).unwrap();
            let loaded = Loader::default().model(&saved).unwrap();
            assert_eq!(
                loaded.predict(data.features.view()).unwrap(),
                model.predict(data.features.view()).unwrap(),
                "{estimator:?}"
            );
            assert_eq!(loaded.importances(), model.importances());
        }
    }
}

#[test]
fn damaged_bytes_are_refused_and_never_panic() {
    let data = Data::load("iris");
    for estimator in classifiers() {
        let saved = estimator.fit(data.samples(), 3).unwrap().save().unwrap();
        let body = saved.body().to_vec();
        for place in (0..body.len()).step_by(body.len() / 60 + 1) {
            let mut damaged = body.clone();
            damaged[place] ^= 0x11;
            for body in [damaged, body[..place].to_vec()] {
                let _: Result<Arc<dyn FittedModel>, SaveError> =
                    Loader::default().model(&Saved::new(saved.kind(), 1, body).unwrap());
            }
        }
        let newer = Loader::default().model(&Saved::new(saved.kind(), 99, body.clone()).unwrap());
        assert!(matches!(newer, Err(SaveError::NewerFormat { found: 99, .. })));
        assert!(
            Loader::default()
                .model(&Saved::new(saved.kind(), 1, body[..body.len() / 2].to_vec()).unwrap())
                .is_err()
        );
    }
    assert!(matches!(
        Loader::default().model(&Saved::new("somebody/else", 1, vec![]).unwrap()),
        Err(SaveError::UnknownKind { .. })
    ));
}

#[test]
fn a_saved_tree_that_walks_in_a_circle_is_refused() {
    let data = Data::load("iris");
    let saved =
        DecisionTree::default().with_max_depth(1).fit(data.samples(), 0).unwrap().save().unwrap();
    let text = String::from_utf8(saved.body().to_vec()).unwrap();
    let circle = text.replacen("\"left\":[1,", "\"left\":[9,", 1);
    assert_ne!(text, circle, "nothing was changed");
    assert!(
        Loader::default()
            .model(&Saved::new(saved.kind(), 1, circle.into_bytes()).unwrap())
            .is_err()
    );
    assert!(Loader::default().model(&saved).is_ok(), "the control");
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_seed_another_forest() {
    let data = Data::load("wine");
    for estimator in classifiers() {
        let bytes = |seed| estimator.fit(data.samples(), seed).unwrap().save().unwrap().to_bytes();
        assert_eq!(bytes(5), bytes(5), "{estimator:?}");
    }
    let forest = RandomForest::default().with_trees(5);
    assert_ne!(
        forest.fit(data.samples(), 5).unwrap().save().unwrap(),
        forest.fit(data.samples(), 6).unwrap().save().unwrap()
    );
}

#[test]
fn a_class_that_a_fold_lacks_keeps_its_column_with_probability_0() {
    let features = array![[1.0], [2.0], [8.0], [9.0]];
    let (names, classes) =
        (["x".to_owned()], ["a".to_owned(), "absent".to_owned(), "b".to_owned()]);
    let samples = Samples::new(
        features.view(),
        &names,
        Target::Classes { labels: &[0, 0, 2, 2], names: &classes },
    )
    .unwrap();
    for estimator in classifiers() {
        let predicted =
            estimator.fit(samples.reborrow(), 1).unwrap().predict(features.view()).unwrap();
        assert_eq!(predicted.dim(), (4, 3));
        assert!(predicted.column(1).iter().all(|probability| *probability == 0.0), "{estimator:?}");
        assert!(predicted.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12));
    }
}

#[test]
fn many_rows_are_solved_as_exactly_as_few() {
    // Rows that stand eight times: the minimum of all is that of one eighth, with the penalty scaled.
    let data = Data::load("synth1k");
    let samples = data.samples();
    let rows: Vec<usize> = (0..1_000).flat_map(|row| [row; 8]).collect();
    let many = samples.with_rows(&rows).unwrap();
    let many = LogisticRegression::default().with_c(0.125).fit(many, 0).unwrap();
    let few = LogisticRegression::default().fit(data.samples(), 0).unwrap();
    let pairs = (many.linear_weights().unwrap(), few.linear_weights().unwrap());
    let pairs = pairs.0.iter().flatten().zip(pairs.1.iter().flatten());
    for (many, few) in pairs {
        assert!((many - few).abs() < 1e-10 * few.abs().max(1.0), "{many}, {few}");
    }
}

#[test]
fn coefficients_have_the_names_of_features_and_classes() {
    let data = Data::load("iris");
    let model = LogisticRegression::default().fit(data.samples(), 0).unwrap();
    let saved = model.save().unwrap();
    let fitted: FittedLogistic = serde_json::from_slice(saved.body()).unwrap();
    let named: Vec<_> = fitted.named_coefficients().collect();
    assert_eq!(named.iter().map(|(class, _)| *class).collect::<Vec<_>>(), ["0", "1", "2"]);
    let names: Vec<&str> = named[0].1.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, data.samples().names());
    assert_eq!(named[2].1[3].1, fitted.coefficients()[2][3]);
}

#[test]
fn nan_is_a_typed_error_in_learning_and_predicting() {
    let mut data = Data::load("iris");
    let model = LogisticRegression::default().fit(data.samples(), 0).unwrap();
    let mut row = data.features.row(0).to_vec();
    row[2] = f64::NAN;
    assert!(matches!(
        model.predict_row(&row),
        Err(ModelError::NotFinite { row: 0, feature: 2, .. })
    ));
    data.features[[5, 1]] = f64::NAN;
    for estimator in &classifiers()[2..3] {
        let error = estimator.fit(data.samples(), 0).unwrap_err();
        assert!(matches!(error, FitError::Samples(_)), "{estimator:?}: {error}");
        assert!(error.to_string().contains("row 5"), "{error}");
    }
}

#[test]
fn trees_send_missing_values_to_the_better_side_and_refuse_infinity() {
    // Where the feature is missing, the class is always 1, as where it is large; and in the mirror image as where it is small.
    for (missing_class, row_class) in [(1, 1), (0, 0)] {
        let features = array![[1.0], [2.0], [3.0], [7.0], [8.0], [9.0], [f64::NAN], [f64::NAN]];
        let labels = [0, 0, 0, 1, 1, 1, missing_class, missing_class];
        let (names, classes) = (["x".to_owned()], ["no".to_owned(), "yes".to_owned()]);
        let target = Target::Classes { labels: &labels, names: &classes };
        let samples = Samples::new(features.view(), &names, target).unwrap();
        let model = DecisionTree::default().fit_tree(samples).unwrap();
        assert_eq!(model.predict_classes(features.view()).unwrap(), labels);
        assert_eq!(model.complexity().parameters, 5, "one split and two leaves are enough");
        assert_eq!(model.predict_classes(array![[f64::NAN]].view()).unwrap(), [row_class]);
        let infinite = model.predict_row(&[f64::INFINITY]);
        assert!(matches!(infinite, Err(ModelError::NotFinite { row: 0, feature: 0, .. })));
    }
    let mut data = Data::load("iris");
    data.features[[5, 1]] = f64::NEG_INFINITY;
    let error = RandomForest::default().fit(data.samples(), 0).unwrap_err();
    assert!(error.to_string().contains("row 5"), "{error}");
}

#[test]
fn boosting_lowers_its_loss_round_by_round_and_beats_a_tree_on_held_out_rows() {
    let data = Data::load("friedman1");
    let samples = data.samples();
    let (train, test): (Vec<usize>, Vec<usize>) = (0..200).partition(|row| row % 3 != 0);
    let (train, test) = (samples.with_rows(&train).unwrap(), samples.with_rows(&test).unwrap());
    let error = |estimator: &dyn Estimator, on: &Samples<'_>| {
        let model = estimator.fit(train.reborrow(), 0).unwrap();
        let predicted = model.predict_values(on.features().view()).unwrap();
        let values = on.values().unwrap();
        values.iter().zip(predicted).map(|(y, p)| (y - p).powi(2)).sum::<f64>()
            / values.len() as f64
    };
    let boosting = |rounds| GradientBoosting::default().with_min_leaf(5).with_rounds(rounds);
    let losses: Vec<f64> = [1, 2, 5, 20, 100].map(|rounds| error(&boosting(rounds), &train)).into();
    assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");
    let (boosted, tree) = (error(&boosting(100), &test), error(&DecisionTree::default(), &test));
    assert!(boosted < 0.6 * tree, "boosting {boosted}, tree {tree}");
}

#[test]
fn one_round_without_shrinking_is_the_tree_of_least_squares() {
    let data = Data::load("friedman1");
    let stump = GradientBoosting::default().with_rounds(1).with_learning_rate(1.0);
    let stump = stump.with_max_leaves(2).with_min_leaf(1);
    let boosted = stump.fit(data.samples(), 0).unwrap().predict(data.features.view()).unwrap();
    let tree = DecisionTree::default().with_max_depth(1).fit_tree(data.samples()).unwrap();
    let tree = tree.predict(data.features.view()).unwrap();
    assert!(boosted.iter().zip(&tree).all(|(a, b)| (a - b).abs() < 1e-9));
}

#[test]
fn any_number_of_threads_grows_the_same_forest() {
    let data = Data::load("wine");
    let bytes = |threads| {
        let forest = RandomForest::default().with_trees(17).with_threads(threads);
        forest.fit(data.samples(), 5).unwrap().save().unwrap().to_bytes()
    };
    let one = bytes(1);
    assert!([2, 3, 8, 40].into_iter().all(|threads| bytes(threads) == one));
}

#[test]
fn binned_trees_are_nearly_as_good_as_exact_ones() {
    let data = Data::load("synth1k");
    let samples = data.samples();
    let (train, test): (Vec<usize>, Vec<usize>) = (0..1000).partition(|row| row % 2 == 0);
    let (train, test) = (samples.with_rows(&train).unwrap(), samples.with_rows(&test).unwrap());
    let accuracy = |resolution| {
        let forest = RandomForest::default().with_resolution(resolution);
        let model = forest.fit(train.reborrow(), 1).unwrap();
        let predicted = model.predict_classes(test.features().view()).unwrap();
        let (labels, _) = test.classes().unwrap();
        labels.iter().zip(&predicted).filter(|(a, b)| a == b).count() as f64 / labels.len() as f64
    };
    let (exact, bins) = (accuracy(Resolution::Exact), accuracy(Resolution::Bins));
    assert!((exact - bins).abs() < 0.04, "exact {exact}, bins {bins}");
}

#[test]
fn a_tree_can_be_read_as_rules() {
    let features = array![[1.0], [2.0], [8.0]];
    let (names, classes) = (["age".to_owned()], ["no".to_owned(), "yes".to_owned()]);
    let target = Target::Classes { labels: &[0, 0, 1], names: &classes };
    let samples = Samples::new(features.view(), &names, target).unwrap();
    let rules = DecisionTree::default().fit_tree(samples).unwrap().rules(0);
    assert_eq!(
        rules,
        "age <= 5 or missing: no 1.0000, yes 0.0000\nage > 5: no 0.0000, yes 1.0000\n"
    );
}

#[test]
fn one_class_is_an_error_that_names_it_where_two_are_needed() {
    let features = array![[1.0], [2.0]];
    let (names, classes) = (["x".to_owned()], ["no".to_owned(), "yes".to_owned()]);
    let samples =
        Samples::new(features.view(), &names, Target::Classes { labels: &[1, 1], names: &classes })
            .unwrap();
    let error = LogisticRegression::default().fit(samples.reborrow(), 0).unwrap_err();
    assert!(matches!(error, FitError::SingleClass { ref class } if class == "yes"), "{error}");
    assert!(DecisionTree::default().fit(samples, 0).is_ok());
}

/// Fits on rows weighted 0, 1, 2, 0, 1, 2, … and on the rows that many times, and gives the largest and the mean difference of the predictions
/// for the rows that have weight: between equally good splits of these the others may go either way.
fn weighted_and_repeated(estimator: &dyn Estimator, data: &Data) -> (f64, f64) {
    let n = data.features.nrows();
    let rows: Vec<usize> = (0..n).flat_map(|row| std::iter::repeat_n(row, row % 3)).collect();
    let weights: Vec<f64> = (0..n).map(|row| (row % 3) as f64).collect();
    let (weighted, repeated) = (data.samples().with_weights(&weights).unwrap(), data.samples());
    let repeated = repeated.with_rows(&rows).unwrap();
    let asked = repeated.features().into_owned();
    let predict =
        |samples: Samples<'_>| estimator.fit(samples, 0).unwrap().predict(asked.view()).unwrap();
    let differences = (predict(weighted) - predict(repeated)).abs();
    (differences.fold(0.0, |most: f64, d| most.max(*d)), differences.mean().unwrap())
}

#[test]
fn a_weight_counts_like_that_many_rows() {
    // Folds by the row itself, so that rows and their repetitions are on the same side.
    let folds = |rows: usize| {
        let side = |fold| (0..rows).partition(|row| row / 3 % 3 != fold);
        Folds::given(rows, (0..3).map(side).collect::<Vec<(Vec<usize>, Vec<usize>)>>())
    };
    let soft = || {
        let flat = LogisticRegression::default().with_c(0.01);
        Pipeline::of(flat).after("scale", StandardScaler)
    };
    let boosting = || GradientBoosting::default().with_rounds(10).with_min_leaf(1);
    // All rows in one batch and no penalty, which is by rows.
    let network = || {
        let network = MultilayerPerceptron::default().with_alpha(0.0).with_batch_size(1_000);
        network.with_hidden([5]).with_max_epochs(30)
    };
    let goal = DecisionGoal::FScore { beta: 2.0 };
    let classes: [Arc<dyn Estimator>; 8] = [
        Arc::new(LogisticRegression::default()),
        Arc::new(LogisticRegression::default().with_c(0.5).with_l1_ratio(0.5)),
        Arc::new(DecisionTree::default().with_max_depth(3)),
        Arc::new(DummyClassifier::prior()),
        Arc::new(boosting()),
        Arc::new(network()),
        Arc::new(Calibrated::platt(soft(), folds(150))),
        Arc::new(Calibrated::isotonic(soft(), folds(150))),
    ];
    let two: [Arc<dyn Estimator>; 2] = [
        Arc::new(Threshold::chosen(soft(), goal, folds(569))),
        Arc::new(Threshold::chosen(soft(), DecisionGoal::Matthews, folds(569))),
    ];
    let numbers: [Arc<dyn Estimator>; 7] = [
        Arc::new(LinearRegression::default()),
        Arc::new(LinearRegression::default().with_alpha(2.0)),
        Arc::new(ElasticNet::lasso(0.1)),
        Arc::new(DecisionTree::default().with_max_depth(3)),
        Arc::new(DummyRegressor::mean()),
        Arc::new(boosting()),
        Arc::new(network()),
    ];
    let all = [("iris", &classes[..]), ("breast_cancer", &two), ("friedman1", &numbers)];
    for (name, estimators) in all {
        let data = Data::load(name);
        for estimator in estimators {
            let (largest, _) = weighted_and_repeated(&**estimator, &data);
            assert!(largest < 1e-7, "{largest} by {estimator:?}");
        }
    }
    // A forest draws rows, and other ones where there are more of them: the same in the mean of many trees.
    let iris = Data::load("iris");
    let forest = RandomForest::default().with_trees(400).with_min_leaf(3);
    let (_, mean) = weighted_and_repeated(&forest, &iris);
    assert!(mean < 0.02, "{mean} by the forest");
}

#[test]
fn a_setting_out_of_range_is_an_error_that_names_it() {
    let data = Data::load("iris");
    let message =
        |estimator: &dyn Estimator| estimator.fit(data.samples(), 0).unwrap_err().to_string();
    assert!(message(&RandomForest::default().with_trees(0)).contains("trees is 0"));
    assert!(message(&DecisionTree::default().with_min_leaf(0)).contains("min_leaf is 0"));
    assert!(message(&LogisticRegression::default().with_c(-1.0)).contains("c is -1.0"));
    assert!(message(&DummyClassifier::constant(3)).contains("classes"));
    assert!(message(&LogisticRegression::default().with_l1_ratio(1.5)).contains("l1_ratio is 1.5"));
    let network = MultilayerPerceptron::default().with_hidden([0]).with_batch_size(0);
    let both = message(&network);
    assert!(both.contains("narrowest_layer is 0") && both.contains("batch_size is 0"), "{both}");
    let numbers = Data::load("friedman1");
    let net = ElasticNet::default().with_alpha(-1.0).fit(numbers.samples(), 0).unwrap_err();
    assert!(net.to_string().contains("alpha is -1.0"), "{net}");
}

#[test]
fn a_batch_and_its_rows_one_by_one_are_predicted_the_same_bits() {
    for (name, estimators) in [("wine", classifiers()), ("friedman1", regressors())] {
        let data = Data::load(name);
        for estimator in estimators {
            let model = estimator.fit(data.samples(), 3).unwrap();
            let batch = model.predict(data.features.view()).unwrap();
            for (row, expected) in data.features.rows().into_iter().zip(batch.rows()) {
                assert_eq!(
                    model.predict_row(&row.to_vec()).unwrap(),
                    expected.to_vec(),
                    "{estimator:?}"
                );
            }
        }
    }
}

#[test]
fn a_pipeline_tells_importances_under_the_names_of_its_inputs() {
    let data = Data::load("iris");
    let names = data.samples().names().to_vec();
    let pipeline = Pipeline::of(DecisionTree::default())
        .after("choose", ColumnSelect::new([names[2].clone(), names[0].clone()]))
        .after("scale", StandardScaler);
    let model = pipeline.fit(data.samples(), 0).unwrap();
    assert_eq!(model.signature().features(), names);
    let importances = model.importances().unwrap();
    assert_eq!((importances[1], importances[3]), (0.0, 0.0));
    assert!(importances[2] > 0.5);
    assert!(
        Pipeline::of(DecisionTree::default())
            .after("choose", ColumnSelect::new(["no such"]))
            .fit(data.samples(), 0)
            .is_err()
    );
}

#[test]
fn scalers_learn_from_the_chosen_rows_alone() {
    let features = array![[1.0, 5.0], [3.0, 5.0], [1000.0, 7.0]];
    let names = ["a".to_owned(), "constant".to_owned()];
    let all = Samples::new(features.view(), &names, Target::Absent).unwrap();
    let train = all.with_rows(&[0, 1]).unwrap();
    let standard =
        StandardScaler.fit(train.reborrow(), 0).unwrap().transform(features.view()).unwrap();
    assert_eq!(standard, array![[-1.0, 0.0], [1.0, 0.0], [998.0, 2.0]]);
    let range = MinMaxScaler.fit(train, 0).unwrap().transform(features.view()).unwrap();
    assert_eq!(range.column(0).to_vec(), [0.0, 1.0, 499.5]);
}

#[test]
fn a_forest_beats_a_single_tree_on_held_out_rows() {
    let data = Data::load("synth1k");
    let (train, test): (Vec<usize>, Vec<usize>) = (0..1000).partition(|row| row % 2 == 0);
    let samples = data.samples();
    let (train, test) = (samples.with_rows(&train).unwrap(), samples.with_rows(&test).unwrap());
    let accuracy = |estimator: &dyn Estimator| {
        let predicted = estimator
            .fit(train.reborrow(), 1)
            .unwrap()
            .predict_classes(test.features().view())
            .unwrap();
        let (labels, _) = test.classes().unwrap();
        labels.iter().zip(&predicted).filter(|(truth, guess)| truth == guess).count() as f64
            / labels.len() as f64
    };
    let (forest, tree) = (accuracy(&RandomForest::default()), accuracy(&DecisionTree::default()));
    assert!(forest > tree + 0.03, "forest {forest}, tree {tree}");
}

#[test]
fn every_family_fits_the_data_of_its_task() {
    let (classes, numbers) = (Data::load("iris"), Data::load("friedman1"));
    for family in families() {
        let of_numbers = ["linear_regression", "elastic_net", "dummy_regressor"];
        let data = if of_numbers.contains(&family.name()) { &numbers } else { &classes };
        let estimator = family.build(&mlp_core::Params::new()).unwrap();
        let model = estimator.fit(data.samples(), 0).unwrap();
        let out: Array2<f64> = model.predict(data.features.view()).unwrap();
        assert!(out.iter().all(|value| value.is_finite()), "{}", family.name());
    }
}
