//! The same questions as `tests/reference/make.py` asks scikit-learn, and its answers.

use std::path::PathBuf;

use mlp_core::{Estimator, FitError, FittedTransformerExt, ModelExt, Samples, Target, Transformer};
use mlp_models::{
    ElasticNet, Fill, Folds, Imputer, LinearRegression, LogisticRegression, MultilayerPerceptron,
    Pca, Pipeline, PolynomialFeatures, RobustScaler, RowFold, Stacking, StandardScaler, Voting,
};
use ndarray::{Array2, ArrayView2, s};
use serde_json::Value;

use crate::data::{Data, list, number};

fn answers() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/sklearn.json");
    let text = std::fs::read_to_string(&path).expect("the answers");
    serde_json::from_str(&text).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(number).collect()
}

fn check(ours: impl IntoIterator<Item = f64>, theirs: &[f64], tolerance: f64, what: &str) {
    let ours: Vec<f64> = ours.into_iter().collect();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let distance = (ours - theirs).abs();
        assert!(distance <= tolerance * theirs.abs().max(1.0), "{what}: {ours} for {theirs}");
    }
}

fn check_rows(ours: ArrayView2<'_, f64>, theirs: &Value, tolerance: f64, what: &str) {
    let theirs: Vec<f64> = list(theirs).iter().flat_map(numbers).collect();
    check(ours.iter().copied(), &theirs, tolerance, what);
}

/// The folds of which each row knows in which it is asked about.
fn folds_of(fold: &[f64]) -> Vec<RowFold> {
    let last = fold.iter().copied().fold(0.0, f64::max) as usize;
    (0..=last).map(|k| (0..fold.len()).partition(|&row| fold[row] as usize != k)).collect()
}

#[test]
fn an_elastic_net_is_that_of_scikit_learn() {
    let data = Data::load("friedman1").standardised();
    let weights: Vec<f64> = (0..200).map(|row| f64::from(row % 3) + 0.5).collect();
    for case in list(&answers()["elastic_net"]) {
        let (alpha, ratio) = (number(&case["alpha"]), number(&case["l1_ratio"]));
        let net = ElasticNet::default().with_alpha(alpha).with_l1_ratio(ratio);
        let samples = match case["weighted"].as_bool() {
            Some(true) => data.samples().with_weights(&weights).unwrap(),
            _ => data.samples(),
        };
        let model = net.fit(samples, 0).unwrap();
        let ours = model.linear_weights().unwrap().remove(0);
        check(ours, &numbers(&case["coef"]), 1e-6, &format!("alpha {alpha}, ratio {ratio}"));
        let at_zero = model.predict_values(Array2::zeros((1, 10)).view()).unwrap();
        check(at_zero, &[number(&case["intercept"])], 1e-6, "intercept");
    }
    let lasso = ElasticNet::lasso(1e3).fit(data.samples(), 0).unwrap();
    assert!(lasso.importances().unwrap().iter().all(|importance| *importance == 0.0));
    let hasty = ElasticNet::lasso(0.01).with_max_iterations(1).fit(data.samples(), 0);
    assert!(matches!(hasty, Err(FitError::NotConverged { iterations: 1 })));
}

#[test]
fn a_logistic_regression_that_leaves_features_out_is_at_its_minimum() {
    for case in list(&answers()["logistic"]) {
        let name = case["dataset"].as_str().expect("a dataset");
        let (c, ratio) = (number(&case["c"]), number(&case["l1_ratio"]));
        let data = Data::load(name).standardised();
        let estimator = LogisticRegression::default().with_c(c).with_l1_ratio(ratio);
        let model = estimator.fit(data.samples(), 0).unwrap();
        let weights = model.linear_weights().unwrap();
        let predicted = model.predict(data.features.view()).unwrap();
        let labels = data.samples().classes().unwrap().0.to_vec();
        let loss: f64 = labels.iter().zip(predicted.rows()).map(|(&l, row)| -row[l].ln()).sum();
        let all = || weights.iter().flatten();
        let size = ratio * all().map(|w| w.abs()).sum::<f64>()
            + (1.0 - ratio) / 2.0 * all().map(|w| w * w).sum::<f64>();
        let (ours, theirs) = (loss + size / c, number(&case["objective"]));
        assert!(ours < theirs * (1.0 + 1e-9), "{name}: {ours}, scikit-learn {theirs}");
        assert!(ours > theirs * (1.0 - 1e-3), "{name}: {ours}, scikit-learn {theirs}");
        // At the minimum every slope of the loss is held by the penalty.
        let mut zeros = 0;
        for (function, weights) in weights.iter().enumerate() {
            let class = if weights.len() == data.features.ncols() && predicted.ncols() == 2 {
                1
            } else {
                function
            };
            for (feature, weight) in weights.iter().enumerate() {
                let rows = data.features.column(feature).into_iter().zip(&labels);
                let slope: f64 = rows
                    .zip(predicted.column(class))
                    .map(|((x, label), p)| x * (p - f64::from(u8::from(*label == class))))
                    .sum();
                let smooth = slope + (1.0 - ratio) / c * weight;
                if *weight == 0.0 {
                    zeros += 1;
                    assert!(smooth.abs() <= ratio / c * (1.0 + 1e-9), "{name}: {smooth}");
                } else {
                    let rest = smooth + ratio / c * weight.signum();
                    assert!(rest.abs() < 1e-6, "{name}: a slope of {rest} is left");
                }
            }
        }
        assert!(zeros > 0, "{name}: no feature was left out");
        assert!(estimator.path().is_none());
        check_rows_like(&weights, &case["coef"]);
    }
}

/// Nearly the weights of scikit-learn, whose solver stops earlier.
fn check_rows_like(ours: &[Vec<f64>], theirs: &Value) {
    let theirs: Vec<f64> = list(theirs).iter().flat_map(numbers).collect();
    check(ours.iter().flatten().copied(), &theirs, 0.05, "coefficients");
}

#[test]
fn principal_components_are_those_of_scikit_learn() {
    let (answers, data) = (&answers()["pca"], Data::load("wine"));
    let pca = Pca::count(4).fit_pca(&data.samples()).unwrap();
    check(pca.variances().to_vec(), &numbers(&answers["variances"]), 1e-10, "variances");
    check(pca.variance_shares(), &numbers(&answers["shares"]), 1e-10, "shares");
    check_rows(pca.components().view(), &answers["components"], 1e-8, "components");
    let rows = pca.transform(data.features.slice(s![..3, ..])).unwrap();
    check_rows(rows.view(), &answers["first_rows"], 1e-8, "rows");
    let kept = Pca::share(0.9999).fit(data.samples(), 0).unwrap().output_names().len();
    assert_eq!(kept as f64, number(&answers["kept_for_0.9999"]));
}

#[test]
fn scaling_by_quantiles_is_that_of_scikit_learn() {
    let data = Data::load("wine");
    let scaler = RobustScaler::default().fit(data.samples(), 0).unwrap();
    let rows = scaler.transform(data.features.slice(s![..3, ..])).unwrap();
    check_rows(rows.view(), &answers()["robust"], 1e-12, "rows");
}

#[test]
fn products_have_the_order_and_names_of_scikit_learn() {
    let (answers, data) = (&answers()["polynomial"], Data::load("wine"));
    let names = ["a", "b", "c"].map(str::to_owned);
    let three = data.features.slice(s![.., ..3]);
    let samples = Samples::new(three, &names, Target::Absent).unwrap();
    let fitted = PolynomialFeatures::default().with_degree(3).fit(samples, 0).unwrap();
    let wanted: Vec<&str> = list(&answers["names"]).iter().filter_map(Value::as_str).collect();
    assert_eq!(fitted.output_names(), wanted);
    let row = fitted.transform(three.slice(s![..1, ..])).unwrap();
    check(row, &numbers(&answers["first_row"]), 1e-12, "row");
}

#[test]
fn what_is_filled_in_is_what_scikit_learn_fills_in() {
    let (answers, data) = (&answers()["imputer"], Data::load("wine"));
    let mut holes =
        data.features.slice(s![..40, ..4]).mapv(|value| (value * 10.0).round_ties_even() / 10.0);
    (0..40).step_by(7).for_each(|row| holes[[row, 1]] = f64::NAN);
    (3..40).step_by(5).for_each(|row| holes[[row, 2]] = f64::NAN);
    let names: Vec<String> = (0..4).map(|column| format!("x{column}")).collect();
    let samples = Samples::new(holes.view(), &names, Target::Absent).unwrap();
    let fills = [
        ("mean", Fill::Mean),
        ("median", Fill::Median),
        ("most_frequent", Fill::MostFrequent),
        ("constant", Fill::Constant(-1.0)),
    ];
    for (name, fill) in fills {
        let fitted = Imputer::new(fill).fit(samples.reborrow(), 0).unwrap();
        let missing = Array2::from_elem((1, 4), f64::NAN);
        let filled = fitted.transform(missing.view()).unwrap();
        check(filled, &numbers(&answers[name]), 1e-12, name);
    }
}

#[test]
fn votes_and_stacks_are_those_of_scikit_learn() {
    let (answers, data) = (&answers()["ensemble"], Data::load("wine").standardised());
    let linear = |c| LogisticRegression::default().with_c(c);
    let voting = Voting::soft().member("a", linear(1.0), 1.0).member("b", linear(0.001), 3.0);
    let fold = numbers(&answers["fold"]);
    let folds = Folds::given(fold.len(), folds_of(&fold));
    let stacking =
        Stacking::new(linear(1.0), folds).member("a", linear(1.0)).member("b", linear(0.001));
    let estimators: [(&str, &dyn Estimator); 2] = [("soft", &voting), ("stacking", &stacking)];
    for (name, estimator) in estimators {
        let model = estimator.fit(data.samples(), 0).unwrap();
        let rows = data.features.slice(s![..;20, ..]);
        check_rows(model.predict(rows).unwrap().view(), &answers[name], 1e-6, name);
    }
    let data = Data::load("friedman1");
    let ridge = |alpha| LinearRegression::default().with_alpha(alpha);
    let folds = folds_of(&(0..200).map(|row| f64::from(row % 4)).collect::<Vec<_>>());
    let stacking = Stacking::new(ridge(1.0), Folds::given(200, folds))
        .member("a", ridge(1.0))
        .member("b", ridge(100.0))
        .passing_features();
    let model = stacking.fit(data.samples(), 0).unwrap();
    let ours = model.predict_values(data.features.slice(s![..;20, ..])).unwrap();
    check(ours, &numbers(&answers["regression"]), 1e-9, "regression");
}

/// The mean score over folds.
fn mean_over_folds(data: &Data, folds: &[RowFold], estimator: &dyn Estimator, seed: u64) -> f64 {
    let score = |(train, test): &RowFold| {
        let samples = data.samples();
        let model = estimator.fit(samples.with_rows(train).unwrap(), seed).unwrap();
        let test = samples.with_rows(test).unwrap();
        if let Ok((labels, _)) = test.classes() {
            let ours = model.predict_classes(test.features().view()).unwrap();
            let right = labels.iter().zip(&ours).filter(|(truth, ours)| truth == ours).count();
            return right as f64 / labels.len() as f64;
        }
        let (truth, ours) =
            (test.values().unwrap(), model.predict_values(test.features().view()).unwrap());
        let mean = truth.iter().sum::<f64>() / truth.len() as f64;
        let error: f64 = truth.iter().zip(&ours).map(|(t, o)| (t - o).powi(2)).sum();
        1.0 - error / truth.iter().map(|t| (t - mean).powi(2)).sum::<f64>()
    };
    folds.iter().map(score).sum::<f64>() / folds.len() as f64
}

#[test]
fn a_network_is_as_accurate_on_digits_as_that_of_scikit_learn() {
    let answers = &answers()["perceptron"];
    let mut data = Data::load("digits");
    data.features /= 16.0;
    let folds = folds_of(&numbers(&answers["fold"]));
    let theirs = numbers(&answers["accuracies"]);
    let theirs = theirs.iter().sum::<f64>() / theirs.len() as f64;
    let started = std::time::Instant::now();
    let ours = mean_over_folds(&data, &folds, &MultilayerPerceptron::default(), 0);
    println!("digits: {ours:.4}, scikit-learn {theirs:.4}, {:?}", started.elapsed());
    assert!(ours > theirs - 0.01, "{ours}, scikit-learn {theirs}");
    // The control: a network that hardly learns is not.
    let short = MultilayerPerceptron::default().with_max_epochs(3);
    let short = mean_over_folds(&data, &folds, &short, 0);
    assert!(short < theirs - 0.01, "{short} after three epochs");
}

#[test]
fn a_network_of_numbers_explains_as_much_as_that_of_scikit_learn() {
    let answers = &answers()["perceptron"];
    let data = Data::load("friedman1");
    let folds = folds_of(&(0..200).map(|row| f64::from(row % 5)).collect::<Vec<_>>());
    let network = MultilayerPerceptron::default().with_learning_rate(0.01).with_max_epochs(1000);
    let network = Pipeline::of(network).after("scale", StandardScaler);
    let theirs = numbers(&answers["regression_r2"]);
    let theirs = theirs.iter().sum::<f64>() / theirs.len() as f64;
    let ours = (0..2).map(|seed| mean_over_folds(&data, &folds, &network, seed)).sum::<f64>() / 2.0;
    println!("friedman1: {ours:.4}, scikit-learn {theirs:.4}");
    assert!(ours > theirs - 0.05, "{ours}, scikit-learn {theirs}");
}
