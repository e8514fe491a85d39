//! The same problems given to linfa 0.8.1: an oracle where it is sound, and a control where it is not.

use linfa::prelude::*;
use mlp_core::{Estimator, ModelExt, Samples, Target};
use mlp_models::{DecisionTree, LogisticRegression};
use ndarray::{Array1, Array2};

use crate::data::Data;

#[test]
fn logistic_regression_agrees_with_linfa_where_linfa_is_sound() {
    let data = Data::load("breast_cancer").standardised();
    let samples = data.samples();
    let (labels, _) = samples.classes().unwrap();
    // linfa minimises the mean loss plus α‖w‖²/2 scaled by the rows; C = 1/α.
    let dataset = Dataset::new(data.features.clone(), Array1::from(labels.to_vec()));
    let theirs = linfa_logistic::LogisticRegression::default()
        .alpha(1.0)
        .max_iterations(10_000)
        .gradient_tolerance(1e-8)
        .fit(&dataset)
        .unwrap();
    let ours = LogisticRegression::default().fit(samples.reborrow(), 0).unwrap();
    let (ours, theirs) =
        (ours.predict_classes(data.features.view()).unwrap(), theirs.predict(&data.features));
    let agreeing = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
    assert!(agreeing as f64 >= 0.99 * labels.len() as f64, "{agreeing} of {}", labels.len());
}

/// linfa's trees take values closer than 1e-5 for equal.
#[test]
fn values_close_together_are_told_apart_where_linfa_makes_no_split() {
    let features = Array2::from_shape_vec((4, 1), vec![1e-6, 2e-6, 3e-6, 4e-6]).unwrap();
    let labels = [0_usize, 0, 1, 1];
    let dataset = Dataset::new(features.clone(), Array1::from(labels.to_vec()));
    let theirs = linfa_trees::DecisionTree::params().fit(&dataset).unwrap().predict(&features);
    assert_ne!(
        theirs.to_vec(),
        labels,
        "the control: linfa tells them apart now, so this test can go"
    );
    let (names, classes) = (["x".to_owned()], ["0".to_owned(), "1".to_owned()]);
    let samples =
        Samples::new(features.view(), &names, Target::Classes { labels: &labels, names: &classes })
            .unwrap();
    assert_eq!(
        DecisionTree::default().fit(samples, 0).unwrap().predict_classes(features.view()).unwrap(),
        labels
    );
}
