//! Algorithms of linfa 0.8.1 with its faults fenced off.

use std::sync::Arc;

use linfa::traits::Fit;
use mlp_core::{Estimator, FitError, FittedModel, Params, Samples};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::wrap::LinfaEstimator;
use crate::support::{as_param, check_two_classes};

/// linfa's logistic regression for two classes, by L-BFGS.
///
/// linfa calls the more frequent class positive, so that its probabilities mean one class in one fold and the other in the next; here each
/// class has its column. More than two classes are refused: linfa's softmax takes its sums relative to the largest score of all rows, and one far row
/// ruins the fit. Weights are refused, since linfa does not heed them. [`LogisticRegression`](crate::LogisticRegression) does all three, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LinfaLogistic {
    /// The weight of the penalty `alpha / 2 · ‖w‖²` beside the summed log loss: finite and at least 0. 1 by default.
    pub alpha: f64,
    /// The most iterations, 100 by default.
    pub max_iterations: u64,
}

impl Default for LinfaLogistic {
    fn default() -> Self {
        Self { alpha: 1.0, max_iterations: 100 }
    }
}

impl Estimator for LinfaLogistic {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let params = Params::new().with("alpha", self.alpha);
        let mut read = params.read("linfa_logistic");
        read.float("alpha", 1.0, 0.0..=f64::MAX);
        read.finish()?;
        if data.weights().is_some() {
            return Err(FitError::failed("linfa's logistic regression heeds no weights"));
        }
        let (labels, names) = data.classes()?;
        check_two_classes(&labels, names)?;
        if names.len() != 2 {
            let reason =
                format!("linfa's softmax is unsound: 2 classes are allowed, not {}", names.len());
            return Err(FitError::failed(reason));
        }
        let Self { alpha, max_iterations } = *self;
        let fit = move |data: &linfa::DatasetBase<_, _>| {
            linfa_logistic::LogisticRegression::default()
                .alpha(alpha)
                .max_iterations(max_iterations)
                .fit(data)
        };
        let predict = |model: &linfa_logistic::FittedLogisticRegression<f64, usize>,
                       rows: &Array2<f64>| {
            let positive = model.labels().pos.class;
            let of_positive = model.predict_probabilities(rows);
            Array2::from_shape_fn((rows.nrows(), 2), |(row, class)| {
                if class == positive { of_positive[row] } else { 1.0 - of_positive[row] }
            })
        };
        LinfaEstimator::probabilities("logistic", fit, predict).fit(data, seed)
    }
}

/// linfa's decision tree of classes.
///
/// linfa takes values closer than 1e-5 for equal: a feature that has such values among the rows learnt from is refused by name, since its
/// splits would be lost. [`DecisionTree`](crate::DecisionTree) tells them apart.
///
/// One fault is left, since it is inside of linfa: it counts classes in a hash map, whose order differs from fit to fit. Where classes are equally frequent in a leaf, or splits equally
/// good, the same data can give another tree, so this estimator alone does not give the same model twice. linfa grows a tree by recursion; a tree of
/// 512 levels, to which it is held here, fits on a stack of 2 MB, which threads of Rust have unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LinfaTree {
    /// The most levels, from 1 to 512; none for 512.
    pub max_depth: Option<usize>,
    /// The least weight of a leaf, above 0. 1 by default.
    pub min_leaf: f32,
}

impl Default for LinfaTree {
    fn default() -> Self {
        Self { max_depth: None, min_leaf: 1.0 }
    }
}

/// linfa's trees grow by recursion, some kilobytes of the stack a level.
const MOST_LEVELS: usize = 512;

/// Values closer than this are the same to linfa's trees.
const LINFA_EQUAL: f64 = 1e-5;

/// Whether linfa's trees can split between two neighbouring values. Its threshold is their middle: where that is infinite, or rounds to one of them, a
/// split has an empty side, and linfa goes on splitting until the stack is full.
fn can_tell_apart(low: f64, high: f64) -> bool {
    let middle = (low + high) / 2.0;
    low == high || (high - low > LINFA_EQUAL && low < middle && middle < high)
}

impl Estimator for LinfaTree {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let params = Params::new()
            .with("max_depth", as_param(self.max_depth.unwrap_or(MOST_LEVELS)))
            .with("min_leaf", f64::from(self.min_leaf));
        let mut read = params.read("linfa_tree");
        read.int("max_depth", 1, 1..=MOST_LEVELS as i64);
        read.float("min_leaf", 1.0, f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX));
        read.finish()?;
        for (column, name) in data.features().columns().into_iter().zip(data.names()) {
            // Missing ones are refused below.
            let mut values: Vec<f64> = column.iter().copied().filter(|it| !it.is_nan()).collect();
            values.sort_by(f64::total_cmp);
            if let Some(pair) = values.windows(2).find(|pair| !can_tell_apart(pair[0], pair[1])) {
                let reason = format!(
                    "feature {name:?} has the values {} and {}, which linfa does not tell apart",
                    pair[0], pair[1]
                );
                return Err(FitError::failed(reason));
            }
        }
        let Self { max_depth, min_leaf } = *self;
        let fit = move |data: &linfa::DatasetBase<_, _>| {
            linfa_trees::DecisionTree::params()
                .max_depth(Some(max_depth.unwrap_or(MOST_LEVELS)))
                .min_weight_leaf(min_leaf)
                .fit(data)
        };
        LinfaEstimator::classifier("tree", fit).fit(data, seed)
    }
}

/// linfa's ordinary least squares. Weights are refused, since linfa does not heed them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinfaLinear {}

impl Estimator for LinfaLinear {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        if data.weights().is_some() {
            return Err(FitError::failed("linfa's least squares heed no weights"));
        }
        let fit = |data: &linfa::DatasetBase<_, _>| linfa_linear::LinearRegression::new().fit(data);
        LinfaEstimator::regressor("least squares", fit).fit(data, seed)
    }
}
