//! Any supervised algorithm of linfa as an estimator.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use linfa::DatasetBase;
use linfa::traits::PredictInplace;
use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Samples, SaveError, Saved,
    Scratch, Signature, catch_panic,
};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2};

use crate::support::{Goal, check_finite, weights};

type Labels = DatasetBase<Array2<f64>, Array1<usize>>;
type Numbers = DatasetBase<Array2<f64>, Array1<f64>>;
type Predict = Arc<dyn Fn(&Array2<f64>) -> Array2<f64> + Send + Sync>;

/// What a fit of linfa gives, reduced to what is asked of it.
type Fitting<D> = Arc<dyn Fn(&D, usize) -> Result<Predict, FitError> + Send + Sync>;

#[derive(Clone)]
enum Kind {
    Classes(Fitting<Labels>),
    Values(Fitting<Numbers>),
}

/// Any supervised [`Fit`](linfa::traits::Fit) of linfa as an estimator, in one line: its records are rows of `f64`, and its targets labels (`usize`) or numbers (`f64`), one a row.
///
/// Rows with NaN or infinity are refused before linfa sees them (its trees overflow the stack on one NaN), and a panic is an error of that call. Sample
/// weights are handed on in linfa's single precision; whether an algorithm heeds them is its own affair. Nothing here mends an algorithm: see
/// [`LinfaLogistic`](crate::LinfaLogistic) and [`LinfaTree`](crate::LinfaTree) for two that need it, and mind that what linfa draws it draws from its own generator. A model
/// of foreign type cannot be saved.
///
/// ```
/// use linfa::traits::Fit;
/// use mlp_core::{Estimator, ModelExt, Samples, Target};
/// use mlp_models::LinfaEstimator;
/// use ndarray::array;
///
/// let linear = LinfaEstimator::regressor("ols", |data| linfa_linear::LinearRegression::new().fit(data));
///
/// let (features, names) = (array![[0.0], [1.0], [2.0]], ["x".to_owned()]);
/// let samples = Samples::new(features.view(), &names, Target::Values(&[1.0, 3.0, 5.0]))?;
/// let predicted = linear.fit(samples, 0)?.predict_values(array![[3.0]].view())?;
/// assert!((predicted[0] - 7.0).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LinfaEstimator {
    name: String,
    kind: Kind,
}

impl LinfaEstimator {
    /// An algorithm that predicts labels: the label of a row gets the probability 1.
    pub fn classifier<M, E>(
        name: impl Into<String>,
        fit: impl Fn(&Labels) -> Result<M, E> + Send + Sync + 'static,
    ) -> Self
    where
        M: PredictInplace<Array2<f64>, Array1<usize>> + Send + Sync + 'static,
        E: Error + Send + Sync + 'static,
    {
        let fitting = move |data: &Labels, classes: usize| {
            let model = fit(data).map_err(FitError::failed)?;
            let predict = move |rows: &Array2<f64>| {
                let mut labels = model.default_target(rows);
                model.predict_inplace(rows, &mut labels);
                let mut shares = Array2::zeros((rows.nrows(), classes));
                labels.iter().enumerate().for_each(|(row, &label)| shares[[row, label]] = 1.0);
                shares
            };
            Ok(Arc::new(predict) as Predict)
        };
        Self { name: name.into(), kind: Kind::Classes(Arc::new(fitting)) }
    }

    /// An algorithm that predicts probabilities: `predict` gives a column a class (`n_rows × n_classes`), labels ascending, for a model and rows.
    pub fn probabilities<M, E>(
        name: impl Into<String>,
        fit: impl Fn(&Labels) -> Result<M, E> + Send + Sync + 'static,
        predict: impl Fn(&M, &Array2<f64>) -> Array2<f64> + Send + Sync + 'static,
    ) -> Self
    where
        M: Send + Sync + 'static,
        E: Error + Send + Sync + 'static,
    {
        let predict = Arc::new(predict);
        let fitting = move |data: &Labels, _| {
            let (model, predict) = (fit(data).map_err(FitError::failed)?, predict.clone());
            Ok(Arc::new(move |rows: &Array2<f64>| predict(&model, rows)) as Predict)
        };
        Self { name: name.into(), kind: Kind::Classes(Arc::new(fitting)) }
    }

    /// An algorithm that predicts numbers.
    pub fn regressor<M, E>(
        name: impl Into<String>,
        fit: impl Fn(&Numbers) -> Result<M, E> + Send + Sync + 'static,
    ) -> Self
    where
        M: PredictInplace<Array2<f64>, Array1<f64>> + Send + Sync + 'static,
        E: Error + Send + Sync + 'static,
    {
        let fitting = move |data: &Numbers, _| {
            let model = fit(data).map_err(FitError::failed)?;
            let predict = move |rows: &Array2<f64>| {
                let mut values = model.default_target(rows);
                model.predict_inplace(rows, &mut values);
                values.insert_axis(ndarray::Axis(1))
            };
            Ok(Arc::new(predict) as Predict)
        };
        Self { name: name.into(), kind: Kind::Values(Arc::new(fitting)) }
    }
}

impl fmt::Debug for LinfaEstimator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinfaEstimator({:?})", self.name)
    }
}

impl Estimator for LinfaEstimator {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        data.check_finite()?;
        let goal = Goal::of(&data)?;
        let signature = goal.signature(&data);
        let features = data.features().into_owned();
        let weights: Array1<f32> = match data.weights() {
            Some(_) => weights(&data)?.iter().map(|weight| *weight as f32).collect(),
            None => Array1::zeros(0),
        };
        let predict = match (&self.kind, &goal) {
            (Kind::Classes(fitting), Goal::Classes(labels, names)) => {
                let labels = Array1::from(labels.to_vec());
                let data = DatasetBase::new(features, labels).with_weights(weights);
                catch_panic(|| fitting(&data, names.len()))??
            }
            (Kind::Values(fitting), Goal::Values(values)) => {
                let values = Array1::from(values.to_vec());
                let data = DatasetBase::new(features, values).with_weights(weights);
                catch_panic(|| fitting(&data, 0))??
            }
            (Kind::Classes(_), _) => return Err(wrong("classes", "numbers")),
            (Kind::Values(_), _) => return Err(wrong("numbers", "classes")),
        };
        Ok(Arc::new(FittedLinfa { name: self.name.clone(), signature, predict }))
    }
}

fn wrong(needed: &'static str, found: &'static str) -> FitError {
    mlp_core::SamplesError::WrongTarget { needed, found }.into()
}

/// A fitted model of linfa.
struct FittedLinfa {
    name: String,
    signature: Signature,
    predict: Predict,
}

impl fmt::Debug for FittedLinfa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FittedLinfa({:?})", self.name)
    }
}

impl Model for FittedLinfa {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        // Row by row: the sums of a matrix product may depend on what stands beside a row.
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            let row = row.to_owned().insert_axis(ndarray::Axis(0));
            let predicted = catch_panic(|| (self.predict)(&row))?;
            if predicted.dim() != (1, out.len()) {
                let (given, expected) = (predicted.dim(), (1, out.len()));
                return Err(ModelError::OutputShape { expected, given });
            }
            out.assign(&predicted.row(0));
        }
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedLinfa {
    fn importances(&self) -> Option<Vec<f64>> {
        None
    }

    /// What is inside is not told by linfa: only the shell is counted.
    fn complexity(&self) -> Complexity {
        Complexity { parameters: 0, bytes: size_of::<Self>() }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let reason = "it is a model of linfa, of a type that this crate does not know".to_owned();
        Err(SaveError::NotSaveable { what: format!("{:?}", self.name), reason })
    }
}
