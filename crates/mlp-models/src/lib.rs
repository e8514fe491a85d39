//! Ready estimators, from the dummy to the forest, behind the traits of `mlp-core`.
//!
//! Each is a point in its family's configuration space, fitted with a seed: the same data and seed give the same model, bit for bit, on any
//! number of threads (but for algorithms of linfa, under the feature of that name, which break ties by the order of a hash map). Sample weights count everywhere, and a class without rows keeps its column. Bad data (one class only, infinity, NaN where
//! there is no notion of a missing value) are typed errors; trees take NaN for a missing value.
//!
//! # Examples
//!
//! ```
//! use mlp_core::{Estimator, ModelExt, Samples, Target};
//! use mlp_models::{Loader, LogisticRegression, Pipeline, StandardScaler};
//! use ndarray::array;
//!
//! let features = array![[1.0, 10.0], [2.0, 14.0], [3.0, 9.0], [7.0, 11.0], [8.0, 13.0], [9.0, 10.0]];
//! let names = ["size".to_owned(), "noise".to_owned()];
//! let classes = ["small".to_owned(), "large".to_owned()];
//! let samples = Samples::new(features.view(), &names, Target::Classes { labels: &[0, 0, 0, 1, 1, 1], names: &classes })?;
//!
//! let pipeline = Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler);
//! let model = pipeline.fit(samples, 42)?;
//! assert_eq!(model.predict_classes(array![[1.5, 11.0], [8.5, 11.0]].view())?, [0, 1]);
//!
//! let loaded = Loader::default().model(&model.save()?)?;
//! assert_eq!(loaded.predict(features.view())?, model.predict(features.view())?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a fitted model offers beyond predictions is reached by its own type, also of one that was loaded:
//!
//! ```
//! # use mlp_core::{Estimator, Samples, Target};
//! use mlp_models::{FittedLogistic, FittedPipeline, Loader, LogisticRegression, Pipeline, StandardScaler};
//! # use ndarray::array;
//! # let features = array![[1.0], [2.0], [3.0], [7.0], [8.0], [9.0]];
//! # let names = ["size".to_owned()];
//! # let classes = ["small".to_owned(), "large".to_owned()];
//! # let samples = Samples::new(features.view(), &names, Target::Classes { labels: &[0, 0, 0, 1, 1, 1], names: &classes })?;
//!
//! let pipeline = Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler);
//! let saved = pipeline.fit(samples, 42)?.save()?;
//!
//! let model = Loader::default().model(&saved)?;
//! let pipeline = model.downcast_ref::<FittedPipeline>().ok_or("another kind of model")?;
//! let logistic = pipeline.model().downcast_ref::<FittedLogistic>().ok_or("another kind of model")?;
//! for (class, weights) in logistic.named_coefficients() {
//!     assert_eq!(class, "large");
//!     assert!(weights[0].0 == "size" && weights[0].1 > 0.0);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | baselines | [`DummyClassifier`], [`DummyRegressor`], [`HeuristicRule`] |
//! | linear models | [`LogisticRegression`], [`LinearRegression`], [`ElasticNet`] |
//! | trees | [`DecisionTree`], [`RandomForest`], [`GradientBoosting`] with [`EarlyStopping`]; all with monotone constraints ([`Trend`]) |
//! | why a prediction is what it is | [`ShapValues`] of [`FittedTrees`] and [`FittedBoosting`], their rules as text |
//! | a neural network | [`MultilayerPerceptron`] |
//! | scales and holes | [`StandardScaler`], [`MinMaxScaler`], [`RobustScaler`], [`Imputer`] |
//! | features made of features | [`PolynomialFeatures`], [`OneHotEncoder`], [`OrdinalEncoder`], [`Pca`], [`ColumnSelect`] |
//! | putting together | [`Pipeline`], [`ColumnTransform`] |
//! | several models as one | [`Voting`], [`Stacking`], over [`Folds`] |
//! | probabilities and decisions | [`Calibrated`], [`Threshold`] |
//! | by name | [`families`], [`family`] |
//! | from disk | [`Loader`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `linfa`, not by default | any supervised algorithm of linfa, of labels or of numbers, as an estimator (`LinfaEstimator`), three of them with their faults fenced off (`LinfaLogistic`, `LinfaTree`, `LinfaLinear`), and the estimators of this crate under linfa's `Fit` and `PredictInplace` |
//!
//! # What it does not do
//!
//! It does not choose between estimators (`mlp-select`) and searches no parameters (`mlp-tune`).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod parts;
mod persist;
mod support;

mod dummy;
mod rule;

mod descent;
mod elastic_net;
mod linear;
mod logistic;
mod simd;
mod solve;

mod neural;
mod tree;

mod pipeline;
mod preprocess;
mod scaler;

mod calibrate;
mod ensemble;

mod family;
#[cfg(feature = "linfa")]
mod with_linfa;

pub use calibrate::{Calibrated, DecisionGoal, FittedCalibrated, FittedThreshold, Threshold};
pub use dummy::{DummyClassifier, DummyRegressor};
pub use elastic_net::ElasticNet;
pub use ensemble::{FittedStacking, FittedVoting, Folds, RowFold, Stacking, Voting};
pub use family::{families, family};
pub use linear::{FittedLinear, LinearRegression};
pub use logistic::{FittedLogistic, LogisticRegression};
pub use neural::{Activation, FittedPerceptron, MultilayerPerceptron};
pub use persist::Loader;
pub use pipeline::{FittedPipeline, Pipeline};
pub use preprocess::{
    ColumnTransform, Components, Fill, FittedPca, Imputer, Indicator, OneHotEncoder,
    OrdinalEncoder, Pca, PolynomialFeatures, Powers, Unknown, Whiten,
};
pub use rule::HeuristicRule;
pub use scaler::{
    ColumnSelect, FittedScaler, MinMaxScaler, RobustScaler, SelectedColumns, StandardScaler,
};
pub use tree::{
    DecisionTree, EarlyStopping, Features, FittedBoosting, FittedTrees, GradientBoosting, NodeView,
    RandomForest, Resolution, ShapValues, Trend,
};
#[cfg(feature = "linfa")]
pub use with_linfa::{
    LinfaClasses, LinfaError, LinfaEstimator, LinfaLinear, LinfaLogistic, LinfaTree, LinfaValues,
};
