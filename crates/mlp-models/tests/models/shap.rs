//! TreeSHAP against Shapley's definition, and against the predictions.

use mlp_core::{ModelExt, Samples};
use mlp_models::{
    DecisionTree, FittedTrees, GradientBoosting, NodeView, RandomForest, Resolution, ShapValues,
};
use ndarray::{Array2, ArrayView2, Axis, s};

use crate::data::Data;

/// What a tree answers if only some features are known: the others send a row down both sides, by training weight.
fn expected(model: &FittedTrees, node: usize, row: &[f64], known: usize, output: usize) -> f64 {
    match model.node(node).unwrap() {
        NodeView::Leaf { values } => values[output],
        NodeView::Split { feature, threshold, missing_right, left, right } => {
            let below = |child| expected(model, child, row, known, output);
            if known & (1 << feature) != 0 {
                let goes_right =
                    if row[feature].is_nan() { missing_right } else { row[feature] > threshold };
                below(if goes_right { right } else { left })
            } else {
                let cover = |child| model.cover(child).unwrap();
                (cover(left) * below(left) + cover(right) * below(right))
                    / (cover(left) + cover(right))
            }
        }
        _ => unreachable!("a node is a split or a leaf"),
    }
}

/// Shapley's own sum over all sets of the other features.
fn brute_force(model: &FittedTrees, row: &[f64], feature: usize, output: usize) -> f64 {
    let n = row.len();
    let value = |known: usize| -> f64 {
        let each = (0..model.n_trees()).map(|tree| {
            let root = model.root(tree).unwrap();
            expected(model, root, row, known, output)
        });
        each.sum::<f64>() / model.n_trees() as f64
    };
    let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
    let sets = (0..1_usize << n).filter(|set| set & (1 << feature) == 0);
    sets.map(|set| {
        let size = set.count_ones() as usize;
        let weight = factorial(size) * factorial(n - size - 1) / factorial(n);
        weight * (value(set | 1 << feature) - value(set))
    })
    .sum()
}

#[test]
fn shap_values_are_shapley_values_by_brute_force() {
    // Six features; the last one is missing in every third row.
    let data = Data::load("wine");
    let mut features = data.features.slice(s![.., ..6]).to_owned();
    for row in (0..features.nrows()).step_by(3) {
        features[[row, 5]] = f64::NAN;
    }
    let all = data.samples();
    let names = all.names()[..6].to_vec();
    let samples = Samples::new(features.view(), &names, all.target()).unwrap();
    let tree = DecisionTree::default().with_max_depth(4).fit_tree(samples.reborrow()).unwrap();
    let forest = RandomForest::default().with_trees(3).with_max_depth(3);
    let forest = forest.fit_forest(samples, 1).unwrap();
    let mut largest: f64 = 0.0;
    for model in [tree, forest] {
        let rows = features.slice(s![..;40, ..]);
        let shap = model.shap(rows).unwrap();
        for (at, row) in rows.rows().into_iter().enumerate() {
            for feature in 0..6 {
                for output in 0..3 {
                    let slow = brute_force(&model, &row.to_vec(), feature, output);
                    let fast = shap.values[[at, feature, output]];
                    assert!((slow - fast).abs() < 1e-12, "{fast} for {slow}");
                    largest = largest.max(slow.abs());
                }
            }
        }
    }
    assert!(largest > 0.1, "the control: features matter");
}

fn check_sums(shap: &ShapValues, predicted: &Array2<f64>) {
    let sums = shap.values.sum_axis(Axis(1));
    for (row, predicted) in sums.rows().into_iter().zip(predicted.rows()) {
        for ((sum, base), predicted) in row.iter().zip(&shap.base).zip(predicted) {
            assert!((base + sum - predicted).abs() < 1e-9, "{base} + {sum} for {predicted}");
        }
    }
}

#[test]
fn shap_values_sum_to_the_prediction_for_deep_trees_forests_and_boosting() {
    for name in ["breast_cancer", "wine", "friedman1", "synth1k"] {
        let data = Data::load(name);
        let rows: ArrayView2<'_, f64> = data.features.slice(s![..;50, ..]);
        let tree = DecisionTree::default().fit_tree(data.samples()).unwrap();
        check_sums(&tree.shap(rows).unwrap(), &tree.predict(rows).unwrap());
        let forest = RandomForest::default().with_trees(10).with_resolution(Resolution::Bins);
        let forest = forest.fit_forest(data.samples(), 1).unwrap();
        check_sums(&forest.shap(rows).unwrap(), &forest.predict(rows).unwrap());
        let boosting = GradientBoosting::default().with_rounds(30).with_min_leaf(1);
        let boosting = boosting.fit_boosting(data.samples(), 0).unwrap();
        check_sums(&boosting.shap(rows).unwrap(), &boosting.predict_scores(rows).unwrap());
    }
}

#[test]
fn the_base_of_numbers_and_trees_is_the_mean_output_and_that_of_boosted_classes_is_not() {
    let means = |rows: Array2<f64>| rows.mean_axis(Axis(0)).unwrap();
    let apart = |base: &[f64], means: &ndarray::Array1<f64>| {
        base.iter().zip(means).map(|(base, mean)| (base - mean).abs()).fold(0.0, f64::max)
    };
    let (numbers, classes) = (Data::load("friedman1"), Data::load("breast_cancer"));
    let boosting = GradientBoosting::default().with_rounds(20).with_min_leaf(3);
    for data in [&numbers, &classes] {
        let rows = data.features.view();
        let tree = DecisionTree::default().with_max_depth(4).fit_tree(data.samples()).unwrap();
        let base = tree.shap(rows.slice(s![..1, ..])).unwrap().base;
        assert!(apart(&base, &means(tree.predict(rows).unwrap())) < 1e-12, "{base:?}");
        let boosted = boosting.fit_boosting(data.samples(), 0).unwrap();
        let base = boosted.shap(rows.slice(s![..1, ..])).unwrap().base;
        let apart = apart(&base, &means(boosted.predict_scores(rows).unwrap()));
        let has_classes = data.samples().classes().is_ok();
        assert!(if has_classes { apart > 1e-3 } else { apart < 1e-9 }, "{base:?}: {apart}");
    }
}

#[test]
fn a_feature_that_no_tree_asks_adds_nothing_and_a_tree_of_one_leaf_explains_itself() {
    let data = Data::load("iris");
    let rows = data.features.slice(s![..;15, ..]);
    let stump = DecisionTree::default().with_max_depth(1).fit_tree(data.samples()).unwrap();
    let asked: Vec<bool> = stump.split_counts().iter().map(|&count| count > 0).collect();
    assert_eq!(asked.iter().filter(|&&asked| asked).count(), 1);
    let shap = stump.shap(rows).unwrap();
    for (feature, asked) in asked.into_iter().enumerate() {
        let part = shap.values.slice(s![.., feature, ..]);
        assert_eq!(part.iter().any(|&value| value != 0.0), asked);
    }
    let leaf = DecisionTree::default().with_min_leaf(100).fit_tree(data.samples()).unwrap();
    let shap = leaf.shap(rows).unwrap();
    assert!(shap.base.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-12));
    assert!(shap.values.iter().all(|&value| value == 0.0));
    assert!(leaf.shap(data.features.slice(s![.., ..2])).is_err(), "too few features");
}
