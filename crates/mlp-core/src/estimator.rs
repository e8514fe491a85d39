//! What can be fitted, and what comes of it.

use std::any::Any;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Model, ModelError};
use crate::panic::Panicked;
use crate::params::{ParamError, Params};
use crate::samples::{Samples, SamplesError};
use crate::saved::{SaveError, Saved};
use crate::space::SearchSpace;

/// Something that can be fitted: a point in its family's configuration space.
///
/// # Contract
///
/// * Fitting the same data with the same seed gives the same model, bit for bit, whatever the number of threads.
/// * The model of a classifier has a column for each of the target's class names, also for one that is absent from these rows.
/// * Bad data is an error, never a panic.
pub trait Estimator: Debug + Send + Sync {
    /// Learns from the data.
    ///
    /// # Errors
    /// If the data do not suit the estimator, or fitting fails.
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError>;

    /// A way to eliminate features one after another without fitting anew, where the family has one.
    fn path(&self) -> Option<&dyn EliminationPath> {
        None
    }
}

/// A model that was fitted here: it can also tell what mattered to it, how complex it is, and be saved. What its own type offers beyond that is
/// reached by [`downcast_ref`](#method.downcast_ref).
pub trait FittedModel: Model + Any {
    /// How much each feature matters (absolute coefficients, impurity decrease), not below zero, in the order of the signature's features;
    /// none if the family has no such notion.
    fn importances(&self) -> Option<Vec<f64>>;

    /// The weights of a linear model: a row for each of its functions (one, or one a class), a weight for each feature; none for other models.
    fn linear_weights(&self) -> Option<Vec<Vec<f64>>> {
        None
    }

    /// How complex the model is.
    fn complexity(&self) -> Complexity;

    /// The model as bytes that its crate can load again.
    ///
    /// # Errors
    /// If the model holds a part that cannot be saved, such as a closure.
    fn save(&self) -> Result<Saved, SaveError>;
}

impl dyn FittedModel {
    /// The model as what it is, with all that its own type offers; none if it is of another type.
    ///
    /// ```
    /// # use mlp_core::{Complexity, FittedModel, Model, ModelError, SaveError, Saved, Scratch, Signature};
    /// # use ndarray::{ArrayView2, ArrayViewMut2};
    /// # #[derive(Debug)]
    /// # struct Line(Signature);
    /// # impl Model for Line {
    /// #     fn predict_into(&self, _: ArrayView2<'_, f64>, _: ArrayViewMut2<'_, f64>, _: &mut Scratch) -> Result<(), ModelError> { Ok(()) }
    /// #     fn signature(&self) -> &Signature { &self.0 }
    /// # }
    /// # impl FittedModel for Line {
    /// #     fn importances(&self) -> Option<Vec<f64>> { None }
    /// #     fn complexity(&self) -> Complexity { Complexity { parameters: 2, bytes: 16 } }
    /// #     fn save(&self) -> Result<Saved, SaveError> { Saved::new("line", 1, Vec::new()) }
    /// # }
    /// # impl Line { fn slope(&self) -> f64 { 2.0 } }
    /// # let line = Line(Signature::regressor(["x".to_owned()], "y"));
    /// // As an estimator's `fit` or a loader gives it.
    /// let model: std::sync::Arc<dyn FittedModel> = std::sync::Arc::new(line);
    /// assert_eq!(model.downcast_ref::<Line>().map(Line::slope), Some(2.0));
    /// ```
    #[must_use]
    pub fn downcast_ref<M: FittedModel>(&self) -> Option<&M> {
        (self as &dyn Any).downcast_ref()
    }
}

/// How complex a fitted model is: what a simpler one would save.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Complexity {
    /// How many numbers were fitted: coefficients, leaf values, thresholds.
    pub parameters: usize,
    /// How many bytes the model takes in memory, about.
    pub bytes: usize,
}

/// Starts an elimination of features that reuses the work of the step before.
///
/// The caller decides what to drop and when to stop; the estimator only updates its solution. The same features must come out as with
/// cold fits.
pub trait EliminationPath: Send + Sync {
    /// Fits with all features, and keeps what the next steps need.
    ///
    /// # Errors
    /// As [`Estimator::fit`].
    fn start<'a>(
        &'a self,
        data: Samples<'a>,
        seed: u64,
    ) -> Result<Box<dyn EliminationState + 'a>, FitError>;
}

/// A fit over some of the features, from which features can be dropped.
pub trait EliminationState {
    /// The columns that are left, in ascending order.
    fn active(&self) -> &[usize];

    /// The importance of each column that is left, in the order of [`active`](Self::active).
    fn importances(&self) -> Vec<f64>;

    /// Drops columns, and updates the fit.
    ///
    /// # Errors
    /// If a column is not active, none would be left, or the update fails.
    fn drop_features(&mut self, columns: &[usize]) -> Result<(), FitError>;

    /// The model of the columns that are left; its signature names those only.
    ///
    /// # Errors
    /// If the fit cannot be turned into a model.
    fn model(&self) -> Result<Arc<dyn FittedModel>, FitError>;
}

/// A kind of estimator that a configuration can name.
pub trait ModelFamily: Debug + Send + Sync {
    /// The name, such as `logistic_regression`.
    fn name(&self) -> &str;

    /// Where to look for good parameters when nobody says otherwise.
    fn search_space(&self) -> SearchSpace;

    /// The estimator with these parameters, and defaults for the others.
    ///
    /// # Errors
    /// Lists every unknown, ill-typed and out-of-range parameter.
    fn build(&self, params: &Params) -> Result<Arc<dyn Estimator>, ParamError>;
}

/// An estimator could not learn from the data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The data do not fit together, or not to the estimator.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// There is too little of something.
    #[error("{what}: {given} given, at least {needed} needed")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        given: usize,
        /// How much is needed.
        needed: usize,
    },
    /// All rows are of one class.
    #[error("all rows are of class {class:?}: at least two classes are needed")]
    SingleClass {
        /// That class.
        class: String,
    },
    /// The parameters are wrong.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// A fitted part could not predict what the next part was to learn from.
    #[error("a fitted part could not predict")]
    Model(#[from] ModelError),
    /// The solver did not reach its tolerance.
    #[error("no convergence within {iterations} iterations")]
    NotConverged {
        /// How many iterations were done.
        iterations: usize,
    },
    /// The estimator panicked.
    #[error("the estimator panicked: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The estimator failed in a way of its own.
    #[error("fitting failed")]
    Failed {
        /// The estimator's own error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl FitError {
    /// The estimator failed in a way of its own.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { source: source.into() }
    }
}

impl From<Panicked> for FitError {
    fn from(panicked: Panicked) -> Self {
        Self::Panicked { message: panicked.message }
    }
}
