//! What trees, forests and boosting promise beyond what all estimators do.

use mlp_core::{Estimator, FittedModel, ModelExt, Samples, Target, random};
use mlp_models::{
    DecisionTree, EarlyStopping, GradientBoosting, Loader, RandomForest, Resolution, Trend,
};
use ndarray::{Array2, ShapeBuilder, array};

use crate::data::Data;

/// y rises with x0 but for noise that would tempt any tree to fall somewhere, and bends with x1.
struct Rising {
    features: Array2<f64>,
    values: Vec<f64>,
    labels: Vec<usize>,
    names: [String; 2],
    classes: [String; 2],
}

impl Rising {
    fn new(rows: usize) -> Self {
        let mut generator = random::stream(11, 0);
        let features = Array2::from_shape_simple_fn((rows, 2), || random::uniform(&mut generator));
        let values: Vec<f64> = features
            .rows()
            .into_iter()
            .map(|row| row[0] + (6.0 * row[1]).sin() + 0.7 * random::normal(&mut generator))
            .collect();
        Self {
            features,
            labels: values.iter().map(|value| usize::from(*value > 0.5)).collect(),
            values,
            names: ["x0".to_owned(), "x1".to_owned()],
            classes: ["low".to_owned(), "high".to_owned()],
        }
    }

    fn numbers(&self) -> Samples<'_> {
        let target = Target::Values(&self.values);
        Samples::new(self.features.view(), &self.names, target).unwrap()
    }

    fn classes(&self) -> Samples<'_> {
        let target = Target::Classes { labels: &self.labels, names: &self.classes };
        Samples::new(self.features.view(), &self.names, target).unwrap()
    }
}

/// How often the last output moves against `trend` along x0, at several values of x1.
fn violations(model: &dyn FittedModel, trend: Trend) -> usize {
    let mut count = 0;
    for other in 0..10 {
        let along = |step: usize| [step as f64 / 200.0, f64::from(other) / 10.0];
        let rows = Array2::from_shape_fn((201, 2), |(step, feature)| along(step)[feature]);
        let predicted = model.predict(rows.view()).unwrap();
        let last: Vec<f64> = predicted.column(predicted.ncols() - 1).to_vec();
        count += last
            .windows(2)
            .filter(|pair| match trend {
                Trend::Increasing => pair[1] < pair[0],
                _ => pair[1] > pair[0],
            })
            .count();
    }
    count
}

#[test]
fn predictions_follow_a_monotone_constraint_and_without_it_they_do_not() {
    let data = Rising::new(600);
    for trend in [Trend::Increasing, Trend::Decreasing] {
        let tree = DecisionTree::default().with_min_leaf(3);
        let forest = RandomForest::default().with_trees(10).with_resolution(Resolution::Bins);
        let boosting = GradientBoosting::default().with_rounds(40).with_min_leaf(3);
        let free: [&dyn Estimator; 3] = [&tree, &forest, &boosting];
        let bound: [&dyn Estimator; 3] = [
            &tree.clone().with_monotone("x0", trend),
            &forest.clone().with_monotone("x0", trend),
            &boosting.clone().with_monotone("x0", trend),
        ];
        for samples in [data.numbers(), data.classes()] {
            for (free, bound) in free.into_iter().zip(bound) {
                let model = bound.fit(samples.reborrow(), 1).unwrap();
                assert_eq!(violations(&*model, trend), 0, "{bound:?}");
                assert!(model.complexity().parameters > 10, "it learnt something: {bound:?}");
                let control = free.fit(samples.reborrow(), 1).unwrap();
                assert!(violations(&*control, trend) > 0, "the control: {free:?}");
            }
        }
    }
}

#[test]
fn a_monotone_constraint_costs_no_accuracy_where_the_truth_is_monotone() {
    let (train, test) = (Rising::new(600), Rising::new(2_000));
    let error = |boosting: &GradientBoosting| {
        let model = boosting.fit(train.numbers(), 0).unwrap();
        let predicted = model.predict_values(test.features.view()).unwrap();
        let truth = test.features.rows().into_iter().map(|row| row[0] + (6.0 * row[1]).sin());
        truth.zip(predicted).map(|(y, p)| (y - p).powi(2)).sum::<f64>()
    };
    let free = GradientBoosting::default().with_rounds(60);
    let bound = free.clone().with_monotone("x0", Trend::Increasing);
    assert!(error(&bound) < error(&free), "{} and {}", error(&bound), error(&free));
}

#[test]
fn a_monotone_constraint_that_does_not_suit_the_data_is_an_error_that_names_it() {
    let data = Rising::new(50);
    let tree = DecisionTree::default().with_monotone("x7", Trend::Increasing);
    let error = tree.fit(data.numbers(), 0).unwrap_err();
    assert!(format!("{error:?}").contains("x7"), "{error:?}");
    let (iris, tree) = (Data::load("iris"), DecisionTree::default());
    let name = iris.samples().names()[0].clone();
    let error = tree.with_monotone(name, Trend::Increasing).fit(iris.samples(), 0).unwrap_err();
    assert!(format!("{error:?}").contains("3 classes"), "{error:?}");
}

#[test]
fn early_stopping_keeps_the_best_round_and_predicts_better_than_all_rounds() {
    let data = Data::load("friedman1");
    let all = GradientBoosting::default().with_rounds(2_000).with_min_leaf(3);
    let all = all.with_learning_rate(0.3);
    let stopping = all.clone().with_early_stopping(EarlyStopping::default().with_share(0.25));
    let model = stopping.fit_boosting(data.samples(), 4).unwrap();
    let losses = model.validation_losses();
    let best = losses[model.n_rounds() - 1];
    assert!(losses.iter().all(|&loss| loss >= best - 1e-7));
    assert_eq!(losses.len(), model.n_rounds() + 10, "patience");
    assert!(model.n_rounds() < 500);
    let loaded = Loader::default().model(&model.save().unwrap()).unwrap();
    let rows = data.features.view();
    assert_eq!(loaded.predict(rows).unwrap(), model.predict(rows).unwrap());
    // The same rounds without early stopping on the rows that were learnt from: the prefix of a longer run, not another model.
    let other = stopping.with_rounds(model.n_rounds() + 3).fit_boosting(data.samples(), 4).unwrap();
    assert_eq!(other.predict(rows).unwrap(), model.predict(rows).unwrap());
}

#[test]
fn early_stopping_watches_validation_rows_that_are_given() {
    let data = Data::load("friedman1");
    let samples = data.samples();
    let (train, test): (Vec<usize>, Vec<usize>) = (0..200).partition(|row| row % 3 != 0);
    let (train, test) = (samples.with_rows(&train).unwrap(), samples.with_rows(&test).unwrap());
    let boosting = GradientBoosting::default().with_rounds(300).with_min_leaf(3);
    let model = boosting.fit_validated(train.reborrow(), test.reborrow(), 0).unwrap();
    let predicted = model.predict_values(test.features().view()).unwrap();
    let truth = test.values().unwrap();
    let squares = truth.iter().zip(&predicted).map(|(y, p)| (y - p).powi(2));
    let loss = squares.sum::<f64>() / predicted.len() as f64;
    let told = model.validation_losses()[model.n_rounds() - 1];
    assert!((loss - told).abs() < 1e-9 * told, "{loss} for {told}");
    // All training rows were learnt from: as many rounds without validation are the same model.
    let plain = boosting.clone().with_rounds(model.n_rounds());
    let plain = plain.fit_boosting(train.reborrow(), 0).unwrap();
    let rows = data.features.view();
    assert_eq!(plain.predict(rows).unwrap(), model.predict(rows).unwrap());
    let (wine, iris) = (Data::load("wine"), Data::load("iris"));
    assert!(boosting.fit_validated(wine.samples(), iris.samples(), 0).is_err());
}

#[test]
fn early_stopping_tells_the_log_loss_of_two_and_of_three_classes() {
    for name in ["synth1k", "wine"] {
        let data = Data::load(name);
        let samples = data.samples();
        let n = samples.n_rows();
        let (train, test): (Vec<usize>, Vec<usize>) = (0..n).partition(|row| row % 3 != 0);
        let (train, test) = (samples.with_rows(&train).unwrap(), samples.with_rows(&test).unwrap());
        let boosting = GradientBoosting::default().with_rounds(40).with_min_leaf(2);
        let model = boosting.fit_validated(train, test.reborrow(), 0).unwrap();
        let predicted = model.predict(test.features().view()).unwrap();
        let (labels, _) = test.classes().unwrap();
        let logs = labels.iter().zip(predicted.rows()).map(|(&label, row)| -row[label].ln());
        let loss = logs.sum::<f64>() / labels.len() as f64;
        let told = model.validation_losses()[model.n_rounds() - 1];
        assert!((loss - told).abs() < 1e-9, "{loss} for {told}");
    }
}

#[test]
fn early_stopping_holds_out_whole_groups() {
    // Each group has a value of its own that no feature but its number tells: rows of a known group are easy, those of a new one are not.
    let mut generator = random::stream(2, 0);
    let offsets: Vec<f64> = (0..30).map(|_| random::normal(&mut generator)).collect();
    let features = Array2::from_shape_fn((600, 1), |(row, _)| (row % 30) as f64);
    let values: Vec<f64> = (0..600).map(|row| offsets[row % 30]).collect();
    let groups: Vec<u64> = (0..600).map(|row| row % 30).collect();
    let names = ["group".to_owned()];
    let free = Samples::new(features.view(), &names, Target::Values(&values)).unwrap();
    let grouped = free.reborrow().with_groups(&groups).unwrap();
    let boosting = GradientBoosting::default().with_min_leaf(1).with_rounds(60);
    let boosting = boosting.with_early_stopping(EarlyStopping::default());
    let best = |samples: &Samples<'_>| {
        let model = boosting.fit_boosting(samples.reborrow(), 1).unwrap();
        model.validation_losses()[model.n_rounds() - 1]
    };
    assert!(best(&free) < 1e-3 && best(&grouped) > 0.05, "{}", best(&grouped));
}

#[test]
fn sampled_rows_and_features_learn_too_and_depend_on_the_seed() {
    let data = Data::load("friedman1");
    let error = |boosting: &GradientBoosting, seed| {
        let model = boosting.fit_boosting(data.samples(), seed).unwrap();
        let predicted = model.predict_values(data.features.view()).unwrap();
        let truth = data.samples().values().unwrap().into_owned();
        truth.iter().zip(predicted).map(|(y, p)| (y - p).powi(2)).sum::<f64>() / 200.0
    };
    let whole = GradientBoosting::default().with_min_leaf(5);
    let sampled = whole.clone().with_rows(0.6).with_features(0.5);
    assert_ne!(error(&sampled, 1), error(&sampled, 2));
    assert_eq!(error(&whole, 1), error(&whole, 2));
    // In-sample: close to fitting on everything, and far from the variance of the target, 25.
    assert!(error(&sampled, 1) < 1.0, "{}", error(&sampled, 1));
}

#[test]
fn a_least_gain_prunes_as_scikit_learn_does() {
    // Computed by scikit-learn 1.9.1: DecisionTreeClassifier(min_impurity_decrease=…) on iris has so many leaves.
    let data = Data::load("iris");
    for (least, leaves) in [(0.0, 9), (0.02, 4), (0.2, 3), (0.3, 2), (0.5, 1)] {
        let tree = DecisionTree::default().with_min_gain(least).fit_tree(data.samples()).unwrap();
        let splits: usize = tree.split_counts().iter().sum();
        assert_eq!(splits + 1, leaves, "least gain {least}");
    }
    let boosting = GradientBoosting::default().with_rounds(5);
    let splits = |boosting: GradientBoosting| -> usize {
        boosting.fit_boosting(data.samples(), 0).unwrap().split_counts().iter().sum()
    };
    assert!(splits(boosting.clone().with_min_gain(5.0)) < splits(boosting.clone()));
    assert_eq!(splits(boosting.with_min_gain(1e9)), 0);
}

#[test]
fn a_penalty_on_leaves_shrinks_predictions() {
    let data = Data::load("friedman1");
    let spread = |l2| {
        let boosting = GradientBoosting::default().with_rounds(5).with_l2(l2);
        let predicted = boosting.fit(data.samples(), 0).unwrap();
        let predicted = predicted.predict_values(data.features.view()).unwrap();
        let mean = predicted.iter().sum::<f64>() / 200.0;
        predicted.iter().map(|p| (p - mean).powi(2)).sum::<f64>()
    };
    assert!(spread(0.0) > spread(10.0) && spread(10.0) > spread(1_000.0));
}

#[test]
fn many_rows_at_once_and_rows_of_any_layout_are_predicted_the_same_bits() {
    let data = Data::load("synth1k");
    let mut features = data.features.clone();
    features[[300, 0]] = f64::NAN;
    let forest = RandomForest::default().with_trees(13).fit(data.samples(), 1).unwrap();
    let boosting = GradientBoosting::default().with_rounds(13).fit(data.samples(), 1).unwrap();
    for model in [forest, boosting] {
        let all = model.predict(features.view()).unwrap();
        let mut columns = Array2::zeros(features.raw_dim().f());
        columns.assign(&features);
        assert_eq!(model.predict(columns.view()).unwrap(), all);
        for (row, expected) in features.rows().into_iter().zip(all.rows()) {
            assert_eq!(model.predict_row(&row.to_vec()).unwrap(), expected.to_vec());
        }
        for n in [0, 1, 3, 5, 7, 9, 257] {
            let some = model.predict(features.slice(ndarray::s![..n, ..])).unwrap();
            assert_eq!(some, all.slice(ndarray::s![..n, ..]));
        }
    }
}

#[test]
fn a_boosted_tree_can_be_read_as_rules() {
    let features = array![[1.0], [2.0], [8.0], [9.0]];
    let (names, classes) = (["age".to_owned()], ["no".to_owned(), "yes".to_owned()]);
    let target = Target::Classes { labels: &[0, 0, 1, 1], names: &classes };
    let samples = Samples::new(features.view(), &names, target).unwrap();
    let boosting = GradientBoosting::default().with_rounds(1).with_min_leaf(1);
    let rules = boosting.fit_boosting(samples, 0).unwrap().rules(0);
    let (below, above) =
        ("age <= 5 or missing: score of yes -0.2000", "age > 5: score of yes 0.2000");
    assert_eq!(rules, format!("{below}\n{above}\n"));
}

/// Rows enough that they are ranked, with values at the thresholds' sides and, if wanted, missing ones.
fn many_rows(data: &Data, with_missing: bool) -> Array2<f64> {
    let (n, columns) = data.features.dim();
    Array2::from_shape_fn((1_300, columns), |(row, column)| {
        let is_missing = with_missing && (row * 7 + column * 3) % 5 == 0;
        let shift = (row / n) as f64 * 0.01;
        if is_missing { f64::NAN } else { data.features[[row % n, column]] + shift }
    })
}

#[test]
fn many_rows_at_once_get_the_same_bits_as_each_alone() {
    let (classes, numbers) = (Data::load("wine"), Data::load("friedman1"));
    let estimators: [(&Data, Box<dyn Estimator>); 4] = [
        (&classes, Box::new(RandomForest::default().with_trees(20))),
        (&numbers, Box::new(RandomForest::default().with_trees(20))),
        (&classes, Box::new(GradientBoosting::default().with_rounds(20).with_min_leaf(2))),
        (&numbers, Box::new(GradientBoosting::default().with_rounds(20).with_min_leaf(2))),
    ];
    for (data, estimator) in estimators {
        let model = estimator.fit(data.samples(), 3).unwrap();
        for with_missing in [false, true] {
            let rows = many_rows(data, with_missing);
            let together = model.predict(rows.view()).unwrap();
            // The same rows in another layout.
            let turned = rows.t().as_standard_layout().into_owned().reversed_axes();
            assert_eq!(model.predict(turned.view()).unwrap(), together);
            for (row, expected) in rows.rows().into_iter().zip(together.rows()) {
                assert_eq!(model.predict_row(&row.to_vec()).unwrap(), expected.to_vec());
            }
        }
    }
}
