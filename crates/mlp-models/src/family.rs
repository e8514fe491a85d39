//! Estimators by name, with their search spaces.

use std::sync::Arc;

use mlp_core::{Dimension, Estimator, ModelFamily, ParamError, ParamReader, Params, SearchSpace};

use crate::dummy::{DummyClassifier, DummyRegressor};
use crate::elastic_net::ElasticNet;
use crate::linear::LinearRegression;
use crate::logistic::LogisticRegression;
use crate::neural::{Activation, MultilayerPerceptron};
use crate::pipeline::Pipeline;
use crate::scaler::StandardScaler;
use crate::tree::{DecisionTree, EarlyStopping, Features, GradientBoosting, RandomForest};

const GUESSES: [&str; 4] = ["most_frequent", "prior", "stratified", "uniform"];
const CENTRES: [&str; 3] = ["mean", "median", "quantile"];
const ACTIVATIONS: [&str; 2] = ["relu", "tanh"];

/// A family as data: its name, where to look, and how to build one from parameters.
#[derive(Debug)]
struct Family {
    name: &'static str,
    dimensions: fn() -> Vec<Dimension>,
    build: fn(&mut ParamReader<'_>) -> Arc<dyn Estimator>,
}

impl ModelFamily for Family {
    fn name(&self) -> &str {
        self.name
    }

    fn search_space(&self) -> SearchSpace {
        SearchSpace::new((self.dimensions)()).unwrap_or_default()
    }

    fn build(&self, params: &Params) -> Result<Arc<dyn Estimator>, ParamError> {
        let mut read = params.read(self.name);
        let estimator = (self.build)(&mut read);
        read.finish()?;
        Ok(estimator)
    }
}

/// Every family of this crate: `dummy_classifier` and `dummy_regressor`; `logistic_regression`, `linear_regression`, `elastic_net` and
/// `multilayer_perceptron` (features scaled first); `decision_tree`, `random_forest`, `gradient_boosting`.
///
/// Every setting that regularises can be named; one that is not named is that of the estimator's default. The default search space has those whose best value depends
/// on the data: early stopping (`early_stopping`, the share of rows held out, with `patience` and `tolerance`) is not searched, nor is a forest's `min_gain`, in whose place it has
/// `min_leaf` and the share of `features` tried at a split.
///
/// Rules, ensembles, calibration and thresholds are made of other estimators, and so are put together in code.
#[must_use]
pub fn families() -> Vec<Arc<dyn ModelFamily>> {
    vec![
        Arc::new(Family {
            name: "dummy_classifier",
            dimensions: || vec![Dimension::categorical("strategy", GUESSES)],
            build: |read| {
                let strategy = read.choice("strategy", 1, &[&GUESSES[..], &["constant"]].concat());
                let class = read.int("constant", 0, 0..=1_000_000);
                Arc::new(match strategy {
                    0 => DummyClassifier::most_frequent(),
                    1 => DummyClassifier::prior(),
                    2 => DummyClassifier::stratified(),
                    3 => DummyClassifier::uniform(),
                    _ => DummyClassifier::constant(class as usize),
                })
            },
        }),
        Arc::new(Family {
            name: "dummy_regressor",
            dimensions: || {
                vec![
                    Dimension::categorical("strategy", CENTRES),
                    Dimension::float("quantile", 0.0, 1.0).when("strategy", ["quantile"]),
                ]
            },
            build: |read| {
                let strategy = read.choice("strategy", 0, &[&CENTRES[..], &["constant"]].concat());
                let share = read.float("quantile", 0.5, 0.0..=1.0);
                let value = read.float("constant", 0.0, f64::MIN..=f64::MAX);
                Arc::new(match strategy {
                    0 => DummyRegressor::mean(),
                    1 => DummyRegressor::median(),
                    2 => DummyRegressor::quantile(share),
                    _ => DummyRegressor::constant(value),
                })
            },
        }),
        Arc::new(Family {
            name: "logistic_regression",
            dimensions: || {
                vec![Dimension::log_float("c", 1e-3, 1e3), Dimension::float("l1_ratio", 0.0, 1.0)]
            },
            build: |read| {
                let c = read.float("c", 1.0, 1e-9..=1e9);
                let ratio = read.float("l1_ratio", 0.0, 0.0..=1.0);
                let logistic = LogisticRegression::default().with_c(c).with_l1_ratio(ratio);
                Arc::new(Pipeline::of(logistic).after("scale", StandardScaler))
            },
        }),
        Arc::new(Family {
            name: "elastic_net",
            dimensions: || {
                vec![
                    Dimension::log_float("alpha", 1e-4, 1e2),
                    Dimension::float("l1_ratio", 0.0, 1.0),
                ]
            },
            build: |read| {
                let alpha = read.float("alpha", 1.0, 0.0..=1e12);
                let ratio = read.float("l1_ratio", 0.5, 0.0..=1.0);
                let net = ElasticNet::default().with_alpha(alpha).with_l1_ratio(ratio);
                Arc::new(Pipeline::of(net).after("scale", StandardScaler))
            },
        }),
        Arc::new(Family {
            name: "multilayer_perceptron",
            dimensions: || {
                vec![
                    Dimension::int("layers", 1, 3),
                    Dimension::log_int("units", 8, 256),
                    Dimension::categorical("activation", ACTIVATIONS),
                    Dimension::log_float("alpha", 1e-6, 1e-1),
                    Dimension::log_float("learning_rate", 1e-4, 1e-1),
                ]
            },
            build: |read| {
                let layers = read.int("layers", 1, 0..=20);
                let units = read.int("units", 100, 1..=100_000);
                let activation = match read.choice("activation", 0, &ACTIVATIONS) {
                    0 => Activation::Relu,
                    _ => Activation::Tanh,
                };
                let alpha = read.float("alpha", 1e-4, 0.0..=1e12);
                let rate = read.float("learning_rate", 1e-3, f64::MIN_POSITIVE..=10.0);
                let epochs = read.int("max_epochs", 200, 1..=1_000_000);
                let aside = read.float("early_stopping", 0.0, 0.0..=0.5);
                let batch = read.int("batch_size", 200, 1..=1_000_000_000);
                let patience = read.int("patience", 10, 1..=1_000_000);
                let tolerance = read.float("tolerance", 1e-4, 0.0..=f64::MAX);
                let mut network = MultilayerPerceptron::default()
                    .with_hidden(vec![units as usize; layers as usize])
                    .with_activation(activation)
                    .with_alpha(alpha)
                    .with_learning_rate(rate)
                    .with_max_epochs(epochs as usize);
                network.early_stopping = (aside > 0.0).then_some(aside);
                network.batch_size = batch as usize;
                network.patience = patience as usize;
                network.tolerance = tolerance;
                Arc::new(Pipeline::of(network).after("scale", StandardScaler))
            },
        }),
        Arc::new(Family {
            name: "linear_regression",
            dimensions: || vec![Dimension::log_float("alpha", 1e-4, 1e4)],
            build: |read| {
                let alpha = read.float("alpha", 0.0, 0.0..=1e12);
                Arc::new(
                    Pipeline::of(LinearRegression::default().with_alpha(alpha))
                        .after("scale", StandardScaler),
                )
            },
        }),
        Arc::new(Family {
            name: "decision_tree",
            dimensions: || {
                vec![
                    Dimension::int("max_depth", 1, 16),
                    Dimension::log_int("min_leaf", 1, 64),
                    Dimension::log_float("min_gain", 1e-6, 1e-1),
                ]
            },
            build: |read| {
                let (depth, leaf) = growth(read, 1);
                let mut tree = DecisionTree::default().with_min_leaf(leaf);
                tree.max_depth = depth;
                Arc::new(tree.with_min_gain(read.float("min_gain", 0.0, 0.0..=f64::MAX)))
            },
        }),
        Arc::new(Family {
            name: "random_forest",
            dimensions: || {
                vec![
                    Dimension::log_int("trees", 20, 200),
                    Dimension::int("max_depth", 2, 24),
                    Dimension::log_int("min_leaf", 1, 32),
                    Dimension::float("features", 0.1, 1.0),
                ]
            },
            build: |read| {
                let trees = read.int("trees", 100, 1..=100_000);
                let (depth, leaf) = growth(read, 1);
                let rows = read.float("rows", 1.0, f64::MIN_POSITIVE..=1.0);
                let share = read.float("features", AUTO, f64::MIN_POSITIVE..=1.0);
                let mut forest = RandomForest::default()
                    .with_trees(trees as usize)
                    .with_min_leaf(leaf)
                    .with_min_gain(read.float("min_gain", 0.0, 0.0..=f64::MAX))
                    .with_rows(rows);
                forest.max_depth = depth;
                if share != AUTO {
                    forest = forest.with_features(Features::Share(share));
                }
                Arc::new(forest)
            },
        }),
        Arc::new(Family {
            name: "gradient_boosting",
            dimensions: || {
                vec![
                    Dimension::log_int("rounds", 20, 400),
                    Dimension::log_float("learning_rate", 0.01, 0.5),
                    Dimension::log_int("max_leaves", 4, 128),
                    Dimension::log_int("min_leaf", 1, 64),
                    Dimension::log_float("l2", 1e-3, 1e2),
                    Dimension::float("rows", 0.5, 1.0),
                    Dimension::float("features", 0.5, 1.0),
                    Dimension::int("max_depth", 2, 16),
                    Dimension::log_float("min_gain", 1e-8, 1e1),
                ]
            },
            build: |read| {
                let rounds = read.int("rounds", 100, 1..=100_000);
                let rate = read.float("learning_rate", 0.1, f64::MIN_POSITIVE..=1.0);
                let leaves = read.int("max_leaves", 31, 2..=65_536);
                let (depth, leaf) = growth(read, 20);
                let l2 = read.float("l2", 0.0, 0.0..=1e12);
                let rows = read.float("rows", 1.0, f64::MIN_POSITIVE..=1.0);
                let features = read.float("features", 1.0, f64::MIN_POSITIVE..=1.0);
                let mut boosting = GradientBoosting::default()
                    .with_rounds(rounds as usize)
                    .with_learning_rate(rate)
                    .with_max_leaves(leaves as usize)
                    .with_min_leaf(leaf)
                    .with_l2(l2)
                    .with_min_gain(read.float("min_gain", 0.0, 0.0..=f64::MAX))
                    .with_rows(rows)
                    .with_features(features);
                boosting.max_depth = depth;
                let share = read.float("early_stopping", 0.0, 0.0..=0.9);
                let patience = read.int("patience", 10, 1..=100_000);
                let tolerance = read.float("tolerance", 1e-7, 0.0..=f64::MAX);
                boosting.early_stopping = (share > 0.0).then(|| {
                    EarlyStopping::default()
                        .with_share(share)
                        .with_patience(patience as usize)
                        .with_tolerance(tolerance)
                });
                Arc::new(boosting)
            },
        }),
    ]
}

/// What says that a forest's share of features was not given.
const AUTO: f64 = 0.0;

/// The depth and the leaf size of trees; as deep as it takes if no depth is given.
fn growth(read: &mut ParamReader<'_>, min_leaf: i64) -> (Option<usize>, usize) {
    let depth = read.int("max_depth", 0, 1..=1_000_000);
    let leaf = read.int("min_leaf", min_leaf, 1..=1_000_000);
    ((depth > 0).then_some(depth as usize), leaf as usize)
}

/// The family of this name, if there is one.
#[must_use]
pub fn family(name: &str) -> Option<Arc<dyn ModelFamily>> {
    families().into_iter().find(|family| family.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_space_whose_parameters_it_knows() {
        for family in families() {
            let space = family.search_space();
            assert!(!space.dimensions().is_empty(), "{}", family.name());
            assert!(family.build(&Params::new()).is_ok());
            let unknown = family.build(&Params::new().with("no_such_parameter", 1)).unwrap_err();
            for dimension in space.dimensions() {
                assert!(unknown.to_string().contains(&dimension.name), "{unknown}");
            }
        }
        assert!(family("random_forest").is_some() && family("forrest").is_none());
    }

    #[test]
    fn everything_wrong_with_the_parameters_is_listed() {
        let params = Params::new().with("trees", 0).with("max_depth", "deep").with("leaves", 3);
        let error = family("random_forest").unwrap().build(&params).unwrap_err();
        assert_eq!(error.issues.len(), 3, "{error}");
    }
    fn debug(family_name: &str, params: Params) -> String {
        // Estimators are told apart by how they are printed.
        format!("{:?}", family(family_name).unwrap().build(&params).unwrap())
    }

    #[test]
    fn what_is_not_named_is_the_default_of_the_estimator() {
        let none = Params::new;
        assert_eq!(debug("decision_tree", none()), format!("{:?}", DecisionTree::default()));
        assert_eq!(debug("random_forest", none()), format!("{:?}", RandomForest::default()));
        assert_eq!(
            debug("gradient_boosting", none()),
            format!("{:?}", GradientBoosting::default())
        );
        let network = format!("{:?}", MultilayerPerceptron::default());
        assert!(debug("multilayer_perceptron", none()).contains(&network));
    }

    #[test]
    fn every_setting_that_regularises_trees_can_be_named() {
        let growth =
            || Params::new().with("max_depth", 5).with("min_leaf", 3).with("min_gain", 0.25);
        let tree = DecisionTree::default().with_max_depth(5).with_min_leaf(3).with_min_gain(0.25);
        assert_eq!(debug("decision_tree", growth()), format!("{tree:?}"));
        let forest = RandomForest::default()
            .with_max_depth(5)
            .with_min_leaf(3)
            .with_min_gain(0.25)
            .with_features(Features::Share(0.4));
        let given = growth().with("features", 0.4);
        assert_eq!(debug("random_forest", given), format!("{forest:?}"));
        let early = EarlyStopping::default().with_share(0.2).with_patience(4).with_tolerance(1e-3);
        let boosting = GradientBoosting::default()
            .with_max_depth(5)
            .with_min_leaf(3)
            .with_min_gain(0.25)
            .with_early_stopping(early);
        let stopping = growth().with("early_stopping", 0.2).with("patience", 4);
        let given = stopping.with("tolerance", 1e-3);
        assert_eq!(debug("gradient_boosting", given), format!("{boosting:?}"));
        for wrong in [("features", 0.0), ("min_gain", -1.0), ("rows", 1.5)] {
            let refused =
                family("random_forest").unwrap().build(&Params::new().with(wrong.0, wrong.1));
            assert!(refused.unwrap_err().to_string().contains(wrong.0));
        }
    }
}
