//! Targets and weights in any unit, for trees of all kinds.

use mlp_core::{Estimator, FittedModel, ModelExt, random};
use mlp_models::{
    DecisionTree, FittedTrees, GradientBoosting, NodeView, RandomForest, Resolution, Trend,
};
use ndarray::Array2;

use crate::data::Given;

/// Rows of two features, and a target that bends with the first and rises with the second.
fn bent(rows: usize) -> Given {
    let mut draw = random::stream(12, 0);
    let features = Array2::from_shape_simple_fn((rows, 2), || random::uniform(&mut draw));
    let values: Vec<f64> =
        features.rows().into_iter().map(|row| (6.0 * row[0]).sin() + row[1]).collect();
    Given::values(features, &values)
}

#[test]
fn boosting_learns_a_target_in_any_unit_and_under_weights_in_any_unit() {
    let data = bent(1_000);
    let boosting = GradientBoosting::default().with_rounds(30);
    let fit = |unit: f64, weight: f64| {
        let values: Vec<f64> = data.values.iter().map(|value| unit * value).collect();
        let (scaled, weights) =
            (Given::values(data.features.clone(), &values), vec![weight; 1_000]);
        let samples = scaled.samples().with_weights(&weights).unwrap();
        boosting.fit_boosting(samples, 0).unwrap()
    };
    let one = fit(1.0, 1.0);
    let wanted = one.predict_values(data.features.view()).unwrap();
    let power = |n: i32| 2.0_f64.powi(n);
    for (unit, weight) in [(power(-30), 1.0), (1.0, power(-60)), (power(-90), power(40))] {
        let model = fit(unit, weight);
        // Powers of two change no digit.
        assert_eq!(model.split_counts(), one.split_counts(), "{unit}, {weight}");
        let predicted = model.predict_values(data.features.view()).unwrap();
        assert!(predicted.iter().zip(&wanted).all(|(a, b)| *a == b * unit), "{unit}, {weight}");
    }
}

#[test]
fn boosting_does_not_split_the_rounding_of_a_constant_target() {
    let features = bent(5_000).features;
    for constant in [0.1, -1.7e9 / 3.0, 3e-9] {
        let data = Given::values(features.clone(), &[constant; 5_000]);
        let model = GradientBoosting::default().with_rounds(5).fit_boosting(data.samples(), 0);
        let splits: usize = model.unwrap().split_counts().iter().sum();
        assert_eq!(splits, 0, "{constant}");
    }
}

/// Weights that fall by half every fifteen rows: those of a thousand rows span a factor of 2⁶⁶.
fn decaying(rows: usize) -> Vec<f64> {
    (0..rows).map(|age| (-(age as f64) / 15.0).exp2()).collect()
}

/// The answers of all leaves.
fn answers(trees: &FittedTrees) -> Vec<f64> {
    let leaf = |node| match trees.node(node) {
        Some(NodeView::Leaf { values }) => Some(values),
        _ => None,
    };
    (0..).take_while(|&node| trees.node(node).is_some()).filter_map(leaf).flatten().collect()
}

#[test]
fn trees_learn_from_weights_that_fall_by_half_again_and_again() {
    let (data, weights) = (bent(1_000), decaying(1_000));
    let labels: Vec<usize> = data.values.iter().map(|value| usize::from(*value > 0.6)).collect();
    let classes = Given::classes(data.features.clone(), &labels);
    let (low, high) = (-1.0, 2.0);
    for given in [&data, &classes] {
        let samples = || given.samples().with_weights(&weights).unwrap();
        let tree = DecisionTree::default();
        let bins = tree.clone().with_resolution(Resolution::Bins);
        let rising = tree.clone().with_monotone("x1", Trend::Increasing);
        for tree in [tree, bins, rising.clone(), rising.with_monotone("x0", Trend::Decreasing)] {
            let model = tree.fit_tree(samples()).unwrap();
            let importances = model.importances().unwrap();
            let sum: f64 = importances.iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{importances:?} by {tree:?}");
            assert!(answers(&model).iter().all(|a| (low..=high).contains(a)), "{tree:?}");
            let covers = (0..).map_while(|node| model.cover(node));
            assert!(covers.min_by(f64::total_cmp).unwrap() > 0.0, "{tree:?}");
        }
        let forest = RandomForest::default().with_trees(20).fit_forest(samples(), 3).unwrap();
        let sum: f64 = forest.importances().unwrap().iter().sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!(answers(&forest).iter().all(|answer| (low..=high).contains(answer)));
    }
    // The rows that weigh most are learnt by heart.
    let model = DecisionTree::default();
    let model = model.fit_tree(data.samples().with_weights(&weights).unwrap()).unwrap();
    let predicted = model.predict_values(data.features.view()).unwrap();
    let pairs = predicted.iter().zip(&data.values).take(200);
    assert!(pairs.clone().all(|(p, y)| (p - y).abs() < 1e-6), "{:?}", pairs.collect::<Vec<_>>());
}

#[test]
fn rows_of_little_weight_are_parted_as_well_as_heavy_ones() {
    // Heavy rows on the left and ever lighter ones to the right: what is left there by subtraction alone would be rounding.
    let features = Array2::from_shape_fn((60, 1), |(row, _)| row as f64);
    let values: Vec<f64> = (0..60).map(|row| f64::from(row * 7 % 11) / 3.0).collect();
    let weights: Vec<f64> = (0..60).map(|row| (-1.5 * f64::from(row)).exp2()).collect();
    let data = Given::values(features, &values);
    let samples = data.samples().with_weights(&weights).unwrap();
    let model = DecisionTree::default().fit_tree(samples).unwrap();
    let predicted = model.predict_values(data.features.view()).unwrap();
    for (predicted, value) in predicted.iter().zip(&values) {
        assert!((predicted - value).abs() < 1e-6, "{predicted} for {value}");
    }
}

#[test]
fn no_importance_is_below_zero() {
    // Of x1 and x2 only both together tell something, on one side of x0: what the first split on them gains is rounding.
    for seed in 0..100 {
        let mut draw = random::stream(seed, 0);
        let bit = |row: usize, place: usize| ((row >> place) & 1) as f64;
        let features = Array2::from_shape_fn((40, 3), |(row, column)| bit(row, column));
        let [base, step, both] = [(); 3].map(|()| random::uniform(&mut draw));
        let value = |row: usize| {
            let differ = bit(row, 1) != bit(row, 2);
            base + if bit(row, 0) == 0.0 { step } else { both * f64::from(u8::from(differ)) }
        };
        let values: Vec<f64> = (0..40).map(value).collect();
        let data = Given::values(features, &values);
        let model = DecisionTree::default().fit(data.samples(), 0).unwrap();
        let importances = model.importances().unwrap();
        assert!(importances.iter().all(|share| *share >= 0.0), "{seed}: {importances:?}");
    }
}
