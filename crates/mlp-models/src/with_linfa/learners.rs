//! The estimators of this crate as algorithms of linfa.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use linfa::DatasetBase;
use linfa::traits::{Fit, PredictInplace};
use mlp_core::{Estimator, FitError, FittedModel, ModelExt, Samples, Target};
use ndarray::{Array1, Array2, ArrayBase, ArrayView1, ArrayView2, Data, Ix1, Ix2};

use crate::{
    Calibrated, DecisionTree, DummyClassifier, DummyRegressor, ElasticNet, GradientBoosting,
    HeuristicRule, LinearRegression, LogisticRegression, MultilayerPerceptron, Pipeline,
    RandomForest, Stacking, Threshold, Voting,
};

/// A fit under linfa's traits failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinfaError {
    /// The estimator could not learn.
    Fit(FitError),
    /// linfa refused the dataset.
    Linfa(linfa::Error),
}

impl fmt::Display for LinfaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fit(error) => error.fmt(f),
            Self::Linfa(error) => error.fmt(f),
        }
    }
}

impl Error for LinfaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Fit(error) => error.source(),
            Self::Linfa(error) => error.source(),
        }
    }
}

impl From<linfa::Error> for LinfaError {
    fn from(error: linfa::Error) -> Self {
        Self::Linfa(error)
    }
}

impl From<FitError> for LinfaError {
    fn from(error: FitError) -> Self {
        Self::Fit(error)
    }
}

impl From<mlp_core::SamplesError> for LinfaError {
    fn from(error: mlp_core::SamplesError) -> Self {
        Self::Fit(error.into())
    }
}

/// A fitted classifier for linfa: predicts labels.
#[derive(Debug, Clone)]
pub struct LinfaClasses(Arc<dyn FittedModel>);

/// A fitted regressor for linfa: predicts numbers.
#[derive(Debug, Clone)]
pub struct LinfaValues(Arc<dyn FittedModel>);

impl LinfaClasses {
    /// The model under the traits of `mlp-core`: with probabilities, importances, and to be saved.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn FittedModel> {
        &self.0
    }
}

impl LinfaValues {
    /// The model under the traits of `mlp-core`.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn FittedModel> {
        &self.0
    }
}

impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<usize>> for LinfaClasses {
    /// # Panics
    /// If the model cannot predict the rows, as linfa's models do: the trait has no room for an error.
    fn predict_inplace(&self, rows: &ArrayBase<D, Ix2>, labels: &mut Array1<usize>) {
        match self.0.predict_classes(rows.view()) {
            Ok(predicted) => *labels = Array1::from(predicted),
            Err(error) => panic!("{error}"),
        }
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array1<usize> {
        Array1::zeros(rows.nrows())
    }
}

impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for LinfaValues {
    /// # Panics
    /// If the model cannot predict the rows, as linfa's models do: the trait has no room for an error.
    fn predict_inplace(&self, rows: &ArrayBase<D, Ix2>, values: &mut Array1<f64>) {
        match self.0.predict_values(rows.view()) {
            Ok(predicted) => *values = Array1::from(predicted),
            Err(error) => panic!("{error}"),
        }
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(rows.nrows())
    }
}

/// Fits an estimator with seed 0 to a dataset of linfa: names of features, if there are any, and weights go along.
fn fit<X: Data<Elem = f64>, T>(
    estimator: &dyn Estimator,
    dataset: &DatasetBase<ArrayBase<X, Ix2>, T>,
    target: Target<'_>,
) -> Result<Arc<dyn FittedModel>, LinfaError> {
    let rows = dataset.records.view();
    let given = dataset.feature_names();
    let names: Vec<String> = match given.len() == rows.ncols() {
        true => given.to_vec(),
        false => (0..rows.ncols()).map(|column| format!("feature-{column}")).collect(),
    };
    let weights: Option<Vec<f64>> =
        dataset.weights().map(|weights| weights.iter().map(|weight| f64::from(*weight)).collect());
    let mut samples = Samples::new(rows, &names, target)?;
    if let Some(weights) = &weights {
        samples = samples.with_weights(weights)?;
    }
    Ok(estimator.fit(samples, 0)?)
}

fn fit_classes<X: Data<Elem = f64>, Y: Data<Elem = usize>>(
    estimator: &dyn Estimator,
    dataset: &DatasetBase<ArrayBase<X, Ix2>, ArrayBase<Y, Ix1>>,
) -> Result<LinfaClasses, LinfaError> {
    let labels = dataset.targets.to_vec();
    let classes = labels.iter().max().map_or(0, |last| last + 1);
    let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    let target = Target::Classes { labels: &labels, names: &names };
    fit(estimator, dataset, target).map(LinfaClasses)
}

fn fit_values<X: Data<Elem = f64>, Y: Data<Elem = f64>>(
    estimator: &dyn Estimator,
    dataset: &DatasetBase<ArrayBase<X, Ix2>, ArrayBase<Y, Ix1>>,
) -> Result<LinfaValues, LinfaError> {
    let values = dataset.targets.to_vec();
    fit(estimator, dataset, Target::Values(&values)).map(LinfaValues)
}

macro_rules! implement {
    ($estimator:ty, $rows:ty, $target:ty, $model:ty, $fit:ident) => {
        impl<'a> Fit<$rows, $target, LinfaError> for $estimator {
            type Object = $model;

            fn fit(&self, dataset: &DatasetBase<$rows, $target>) -> Result<$model, LinfaError> {
                $fit(self, dataset)
            }
        }
    };
}

/// Labels (0, 1, …) and numbers, owned and borrowed: what linfa's datasets and its folds are made of.
macro_rules! implement_all {
    ($($estimator:ident),*) => {$(
        implement!($estimator, Array2<f64>, Array1<usize>, LinfaClasses, fit_classes);
        implement!($estimator, ArrayView2<'a, f64>, ArrayView1<'a, usize>, LinfaClasses, fit_classes);
        implement!($estimator, Array2<f64>, Array1<f64>, LinfaValues, fit_values);
        implement!($estimator, ArrayView2<'a, f64>, ArrayView1<'a, f64>, LinfaValues, fit_values);
    )*};
}

implement_all!(
    DummyClassifier,
    DummyRegressor,
    HeuristicRule,
    LogisticRegression,
    LinearRegression,
    ElasticNet,
    DecisionTree,
    RandomForest,
    GradientBoosting,
    MultilayerPerceptron,
    Pipeline,
    Voting,
    Stacking,
    Calibrated,
    Threshold
);
