//! Linear models and networks: features far from zero or nearly equal, rows in any layout, weights in small batches.

use mlp_core::{Estimator, FittedModel, ModelExt, Samples, random};
use mlp_models::{ElasticNet, LinearRegression, LogisticRegression, MultilayerPerceptron};
use ndarray::{Array2, ShapeBuilder, array};

use crate::data::{Data, Given};

/// The slopes of the objective of a logistic regression in each weight of class 1, without the penalty, and of the intercept.
fn slopes(data: &Given, model: &dyn FittedModel) -> (Vec<f64>, f64) {
    let predicted = model.predict(data.features.view()).unwrap();
    let truth = data.labels.iter().map(|label| *label as f64);
    let residuals: Vec<f64> = predicted.column(1).iter().zip(truth).map(|(p, y)| p - y).collect();
    let slope = |column: ndarray::ArrayView1<'_, f64>| {
        // Around the mean, since what is left of the intercept's slope would be multiplied by it.
        let mean = column.mean().unwrap();
        column.iter().zip(&residuals).map(|(x, residual)| (x - mean) * residual).sum()
    };
    (data.features.columns().into_iter().map(slope).collect(), residuals.iter().sum())
}

#[test]
fn a_logistic_regression_is_at_its_minimum_however_far_from_zero_a_feature_is() {
    for (shift, unit) in [(1.7e9, 10.0), (0.0, 1.0), (-1e12, 1.0)] {
        let features = Array2::from_shape_fn((100, 1), |(row, _)| shift + unit * row as f64);
        let labels: Vec<usize> = (0..100).map(|row| usize::from(row >= 50)).collect();
        let data = Given::classes(features, &labels);
        for ratio in [0.0, 0.5] {
            let logistic = LogisticRegression::default().with_l1_ratio(ratio);
            let model = logistic.fit(data.samples(), 0).unwrap();
            let weight = model.linear_weights().unwrap()[0][0];
            let (slope, of_intercept) = slopes(&data, &*model);
            let rest = slope[0] + (1.0 - ratio) * weight + ratio * weight.signum();
            // Predictions far from zero have the rounding of their large products.
            let rounding = 1e-9 + 1e-14 * shift.abs();
            assert!(weight > 0.0 && of_intercept.abs() < rounding, "{shift}: {of_intercept}");
            assert!(rest.abs() < 100.0 * unit * rounding, "{shift}: a slope of {rest} is left");
            assert_eq!(model.predict_classes(data.features.view()).unwrap(), labels);
        }
    }
}

#[test]
fn a_difference_in_the_last_digits_of_a_large_feature_is_learnt_from() {
    let features = Array2::from_shape_fn((40, 1), |(row, _)| 1e15 + (row % 2) as f64);
    let labels: Vec<usize> = (0..40).map(|row| row % 2).collect();
    let data = Given::classes(features, &labels);
    for ratio in [0.0, 1.0] {
        let logistic = LogisticRegression::default().with_l1_ratio(ratio);
        let model = logistic.fit(data.samples(), 0).unwrap();
        let weight = model.linear_weights().unwrap()[0][0];
        assert!(weight > 1.0, "{weight}");
    }
}

#[test]
fn a_constant_feature_has_no_weight_in_a_logistic_regression() {
    let features = Array2::from_shape_fn((60, 2), |(row, column)| match column {
        0 => 0.1,
        _ => (row * 7 % 13) as f64,
    });
    let labels: Vec<usize> = (0..60).map(|row| usize::from(row % 3 == 0)).collect();
    let data = Given::classes(features, &labels);
    for c in [1.0, 1e12, 1e300] {
        let model = LogisticRegression::default().with_c(c).fit(data.samples(), 0).unwrap();
        assert_eq!(model.linear_weights().unwrap()[0][0], 0.0, "{c}");
    }
}

#[test]
fn eliminated_down_to_few_features_a_logistic_regression_is_the_fit_of_those() {
    let mut data = Data::load("wine");
    data.features += 1e6;
    let logistic = LogisticRegression::default();
    let mut state = logistic.path().unwrap().start(data.samples(), 0).unwrap();
    state.drop_features(&[0, 5]).unwrap();
    state.drop_features(&[12, 7]).unwrap();
    let eliminated = state.model().unwrap();
    let left = state.active().to_vec();
    let features = data.features.select(ndarray::Axis(1), &left);
    let samples = data.samples();
    let names: Vec<String> = left.iter().map(|&column| samples.names()[column].clone()).collect();
    let few = Samples::new(features.view(), &names, samples.target()).unwrap();
    let alone = logistic.fit(few, 0).unwrap();
    let (a, b) = (eliminated.predict(features.view()), alone.predict(features.view()));
    let pairs = a.unwrap().into_iter().zip(b.unwrap());
    pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} for {b}"));
}

/// What a feature becomes that is nearly the same as another: from that one's value, and noise.
type Copied = fn(f64, f64) -> f64;

const COPIES: [(&str, Copied); 5] = [
    ("1e-5 apart", |x, noise| x * (1.0 + 1e-5 * noise)),
    ("1e-7 apart", |x, noise| x * (1.0 + 1e-7 * noise)),
    ("1e-8 apart", |x, noise| x * (1.0 + 1e-8 * noise)),
    ("rounded to 32 bits", |x, _| f64::from(x as f32)),
    ("the same", |x, _| x),
];

/// Every way to copy, with some seeds.
fn copies() -> impl Iterator<Item = ((&'static str, Copied), u64)> {
    COPIES.into_iter().flat_map(|copy| (21..25).map(move |seed| (copy, seed)))
}

/// A feature, its copy, and a third one; and scores that depend on the first and the third.
fn near_duplicates(seed: u64, copied: Copied) -> (Array2<f64>, Vec<f64>) {
    let mut draw = random::stream(seed, 0);
    let mut features = Array2::zeros((300, 3));
    let mut scores = Vec::new();
    for mut row in features.rows_mut() {
        let (x, noise) = (random::normal(&mut draw), random::normal(&mut draw));
        row[0] = x;
        row[1] = copied(x, random::normal(&mut draw));
        row[2] = noise;
        scores.push(x + 0.5 * noise + random::normal(&mut draw));
    }
    (features, scores)
}

/// How far the slope of the objective in a weight, without the L1 penalty, is from what that penalty holds.
fn rest(slope: f64, weight: f64, l1: f64) -> f64 {
    match weight {
        0.0 => (slope.abs() - l1).max(0.0),
        weight => (slope + l1 * weight.signum()).abs(),
    }
}

#[test]
fn features_that_are_nearly_equal_do_not_keep_an_l1_penalty_from_its_minimum() {
    for ((copy, copied), seed) in copies() {
        let (features, scores) = near_duplicates(seed, copied);
        let labels: Vec<usize> = scores.iter().map(|score| usize::from(*score > 0.0)).collect();
        let data = Given::classes(features, &labels);
        for (c, ratio) in [(1.0, 1.0), (100.0, 1.0), (1e8, 1.0), (1e8, 0.5)] {
            let logistic = LogisticRegression::default().with_c(c).with_l1_ratio(ratio);
            let model = logistic.fit(data.samples(), 0);
            let model = model.unwrap_or_else(|error| panic!("{copy}, {seed}, C {c}: {error}"));
            let weights = model.linear_weights().unwrap().remove(0);
            for (slope, &weight) in slopes(&data, &*model).0.into_iter().zip(&weights) {
                let rest = rest(slope + (1.0 - ratio) / c * weight, weight, ratio / c);
                let rounding =
                    1e-13 * weights.iter().fold(1_000.0, |sum, weight| sum + weight.abs());
                assert!(rest < rounding, "{copy}, C {c}: a slope of {rest} is left at {weights:?}");
            }
        }
    }
}

#[test]
fn an_l1_penalty_that_hardly_counts_decides_what_the_likelihood_of_several_classes_leaves_open() {
    // A number added to a feature's weights in all classes changes no probability: only the penalty tells which, and the median of them is 0.
    for seed in [31, 32, 33] {
        let mut draw = random::stream(seed, 0);
        let mut features = Array2::zeros((150, 2));
        let mut labels = Vec::new();
        for mut row in features.rows_mut() {
            row.map_inplace(|cell| *cell = random::normal(&mut draw));
            let means = [row[0], row[1] - 0.5 * row[0], 0.0];
            let scores = means.map(|mean| mean + 1.5 * random::normal(&mut draw));
            let best = (0..3).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            labels.push(best.unwrap());
        }
        let data = Given::classes(features, &labels);
        let heavy = vec![100.0; 150];
        for (c, is_heavy) in [(1.0, false), (1e4, false), (1e6, false), (1e3, true)] {
            let samples = data.samples();
            let samples = if is_heavy { samples.with_weights(&heavy).unwrap() } else { samples };
            let logistic = LogisticRegression::default().with_c(c).with_l1_ratio(1.0);
            let model = logistic.fit(samples, 0);
            let model = model.unwrap_or_else(|error| panic!("{seed}, C {c}: {error}"));
            let weights = model.linear_weights().unwrap();
            let predicted = model.predict(data.features.view()).unwrap();
            for (class, weights) in weights.iter().enumerate() {
                for (column, &weight) in data.features.columns().into_iter().zip(weights) {
                    let truth = labels.iter().map(|&label| f64::from(u8::from(label == class)));
                    let rows = column.iter().zip(predicted.column(class)).zip(truth);
                    let slope: f64 = rows.map(|((x, p), y)| x * (p - y)).sum();
                    let times = if is_heavy { 100.0 } else { 1.0 };
                    let rest = rest(times * slope, weight, 1.0 / c);
                    assert!(rest < 1e-10 * times, "{seed}, C {c}: {rest} is left at {weights:?}");
                }
            }
            for feature in 0..2 {
                let zeros = weights.iter().filter(|weights| weights[feature] == 0.0).count();
                assert!(zeros > 0, "{seed}, C {c}: {weights:?}");
            }
        }
    }
}

#[test]
fn features_that_are_nearly_equal_do_not_keep_an_elastic_net_from_its_minimum() {
    for ((copy, copied), seed) in copies() {
        let (features, scores) = near_duplicates(seed, copied);
        let data = Given::values(features, &scores);
        for alpha in [0.1, 0.01, 1e-3, 1e-6, 1e-9] {
            let model = ElasticNet::lasso(alpha).fit(data.samples(), 0);
            let model = model.unwrap_or_else(|error| panic!("{copy}, {seed}, {alpha}: {error}"));
            let weights = model.linear_weights().unwrap().remove(0);
            let predicted = model.predict_values(data.features.view()).unwrap();
            for (column, &weight) in data.features.columns().into_iter().zip(&weights) {
                let rows = column.iter().zip(&predicted).zip(&scores);
                let slope = rows.map(|((x, p), y)| x * (p - y)).sum::<f64>() / 300.0;
                let rest = rest(slope, weight, alpha);
                let rounding = 1e-15 * weights.iter().fold(1e4, |sum, weight| sum + weight.abs());
                assert!(
                    rest < rounding,
                    "{copy}, {alpha}: a slope of {rest} is left at {weights:?}"
                );
            }
        }
    }
}

#[test]
fn weights_count_in_a_network_however_small_its_batches_are() {
    // The same row with both labels, one of them three times as heavy.
    let features = Array2::from_elem((200, 1), 1.0);
    let labels: Vec<usize> = (0..200).map(|row| row % 2).collect();
    let weights: Vec<f64> = (0..200).map(|row| [0.01, 0.03][row % 2]).collect();
    let data = Given::classes(features, &labels);
    let network = MultilayerPerceptron::default().with_hidden([4]).with_max_epochs(100);
    for batch in [1, 7, 200] {
        let network = network.clone().with_batch_size(batch).with_learning_rate(0.01);
        let samples = data.samples().with_weights(&weights).unwrap();
        let model = network.fit(samples, 0).unwrap();
        let share = model.predict(array![[1.0]].view()).unwrap()[[0, 1]];
        assert!((share - 0.75).abs() < 0.08, "{share} by batches of {batch}");
        let equal = network.fit(data.samples(), 0).unwrap();
        let share = equal.predict(array![[1.0]].view()).unwrap()[[0, 1]];
        assert!((share - 0.5).abs() < 0.08, "{share} by batches of {batch}, the control");
    }
}

#[test]
fn linear_models_predict_the_same_bits_in_any_layout_of_the_rows() {
    let (classes, numbers) = (Data::load("wine"), Data::load("friedman1"));
    let estimators: [(&Data, &dyn Estimator); 4] = [
        (&classes, &LogisticRegression::default()),
        (&numbers, &LinearRegression::default()),
        (&numbers, &ElasticNet::lasso(0.1)),
        (&numbers, &MultilayerPerceptron::default().with_max_epochs(3)),
    ];
    for (data, estimator) in estimators {
        let model = estimator.fit(data.samples(), 0).unwrap();
        let wanted = model.predict(data.features.view()).unwrap();
        let mut columns = Array2::zeros(data.features.raw_dim().f());
        columns.assign(&data.features);
        assert_eq!(model.predict(columns.view()).unwrap(), wanted, "{estimator:?}");
        // Every other cell of a wider table.
        let width = data.features.ncols();
        let mut wide = Array2::zeros((data.features.nrows(), 2 * width));
        wide.slice_mut(ndarray::s![.., ..;2]).assign(&data.features);
        let sparse = wide.slice(ndarray::s![.., ..;2]);
        assert_eq!(model.predict(sparse).unwrap(), wanted, "{estimator:?}");
    }
}
