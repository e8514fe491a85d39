//! Estimators by name, with their search spaces.

use std::sync::Arc;

use mlp_core::{Dimension, Estimator, ModelFamily, ParamError, ParamReader, Params, SearchSpace};

use crate::linear::LinearRegression;
use crate::logistic::LogisticRegression;
use crate::pipeline::Pipeline;
use crate::scaler::StandardScaler;
use crate::tree::{DecisionTree, GradientBoosting, RandomForest};

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

/// Every family of this crate: `logistic_regression` and `linear_regression` (features scaled first), `decision_tree`, `random_forest`,
/// `gradient_boosting`.
#[must_use]
pub fn families() -> Vec<Arc<dyn ModelFamily>> {
    vec![
        Arc::new(Family {
            name: "logistic_regression",
            dimensions: || vec![Dimension::log_float("c", 1e-3, 1e3)],
            build: |read| {
                let c = read.float("c", 1.0, 1e-9..=1e9);
                Arc::new(
                    Pipeline::of(LogisticRegression::default().with_c(c))
                        .after("scale", StandardScaler),
                )
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
                vec![Dimension::int("max_depth", 1, 16), Dimension::log_int("min_leaf", 1, 64)]
            },
            build: |read| {
                let (depth, leaf) = (
                    read.int("max_depth", 64, 1..=1_000_000),
                    read.int("min_leaf", 1, 1..=1_000_000),
                );
                Arc::new(
                    DecisionTree::default()
                        .with_max_depth(depth as usize)
                        .with_min_leaf(leaf as usize),
                )
            },
        }),
        Arc::new(Family {
            name: "random_forest",
            dimensions: || {
                vec![
                    Dimension::log_int("trees", 20, 200),
                    Dimension::int("max_depth", 2, 24),
                    Dimension::log_int("min_leaf", 1, 32),
                ]
            },
            build: |read| {
                let trees = read.int("trees", 100, 1..=100_000);
                let (depth, leaf) = (
                    read.int("max_depth", 64, 1..=1_000_000),
                    read.int("min_leaf", 1, 1..=1_000_000),
                );
                let rows = read.float("rows", 1.0, f64::MIN_POSITIVE..=1.0);
                let forest = RandomForest::default().with_trees(trees as usize).with_rows(rows);
                Arc::new(forest.with_max_depth(depth as usize).with_min_leaf(leaf as usize))
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
                ]
            },
            build: |read| {
                let rounds = read.int("rounds", 100, 1..=100_000);
                let rate = read.float("learning_rate", 0.1, f64::MIN_POSITIVE..=1.0);
                let leaves = read.int("max_leaves", 31, 2..=65_536);
                let leaf = read.int("min_leaf", 20, 1..=1_000_000);
                let l2 = read.float("l2", 0.0, 0.0..=1e12);
                let rows = read.float("rows", 1.0, f64::MIN_POSITIVE..=1.0);
                let features = read.float("features", 1.0, f64::MIN_POSITIVE..=1.0);
                let boosting = GradientBoosting::default()
                    .with_rounds(rounds as usize)
                    .with_learning_rate(rate)
                    .with_max_leaves(leaves as usize)
                    .with_min_leaf(leaf as usize)
                    .with_l2(l2)
                    .with_rows(rows)
                    .with_features(features);
                Arc::new(boosting)
            },
        }),
    ]
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
}
