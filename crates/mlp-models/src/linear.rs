//! Linear regression, by least squares, with an optional ridge penalty.

use std::sync::Arc;

use mlp_core::{
    Complexity, EliminationPath, EliminationState, Estimator, FitError, FittedModel, Model,
    ModelError, Params, Samples, SaveError, Saved, Scratch, Signature, choose_columns,
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, CowArray};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::solve::{dot, in_one_piece, solve, space_for};
use crate::support::{check_finite, part, weights};

/// Fits a number as a weighted sum of the features: minimises `Σ wᵢ (yᵢ − xᵢ·β − β₀)² + α‖β‖²`, the intercept free.
///
/// `α = 0`, the default, is ordinary least squares; otherwise as scikit-learn's `Ridge`. A feature that is constant, or a combination of the ones before it,
/// gets the coefficient 0. Features or targets too large to be squared are refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LinearRegression {
    /// The weight of the ridge penalty: finite and at least 0.
    pub alpha: f64,
}

impl Default for LinearRegression {
    fn default() -> Self {
        Self { alpha: 0.0 }
    }
}

impl LinearRegression {
    /// Sets the weight of the ridge penalty.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }
}

impl Estimator for LinearRegression {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let elimination = self.elimination(&data)?;
        Ok(Arc::new(elimination.fitted()))
    }

    fn path(&self) -> Option<&dyn EliminationPath> {
        Some(self)
    }
}

impl EliminationPath for LinearRegression {
    fn start<'a>(
        &'a self,
        data: Samples<'a>,
        _seed: u64,
    ) -> Result<Box<dyn EliminationState + 'a>, FitError> {
        Ok(Box::new(self.elimination(&data)?))
    }
}

impl LinearRegression {
    fn elimination(&self, data: &Samples<'_>) -> Result<LinearElimination, FitError> {
        let params = Params::new().with("alpha", self.alpha);
        let mut read = params.read("linear_regression");
        read.float("alpha", 0.0, 0.0..=f64::MAX);
        read.finish()?;
        let mut products = Products::of(data)?;
        products.gram.diag_mut().map_inplace(|value| *value += self.alpha);
        let (names, active) = (data.names().to_vec(), (0..data.n_features()).collect());
        let coefficients = solve(&products.gram, products.with_target.to_vec());
        Ok(LinearElimination { products, names, active, coefficients })
    }
}

/// All that a least-squares fit needs to know of the rows, centred and weighted.
#[derive(Debug)]
pub(crate) struct Products {
    /// The products of every two features.
    pub(crate) gram: Array2<f64>,
    /// The products of every feature with the target.
    pub(crate) with_target: Array1<f64>,
    /// The sum of the target's squares.
    pub(crate) squares: f64,
    /// The sum of the weights.
    pub(crate) total: f64,
    means: Array1<f64>,
    mean: f64,
}

impl Products {
    pub(crate) fn of(data: &Samples<'_>) -> Result<Self, FitError> {
        data.check_finite()?;
        let (values, weights) = (data.values()?, weights(data)?);
        let (features, total) = (data.features(), weights.iter().sum::<f64>());
        let weight = ArrayView1::from(&weights[..]);
        let target = ArrayView1::from(&values[..]);
        let means = features.t().dot(&weight) / total;
        let mean = target.dot(&weight) / total;
        let centred = features.into_owned() - &means;
        let weighted = match data.weights() {
            Some(_) => CowArray::from(&centred * &weight.insert_axis(Axis(1))),
            None => CowArray::from(&centred),
        };
        let mut gram = weighted.t().dot(&centred);
        let target = &target - mean;
        let mut with_target = weighted.t().dot(&target);
        let squares: f64 =
            target.iter().zip(&weight).map(|(value, weight)| weight * value * value).sum();
        for (j, name) in data.names().iter().enumerate() {
            if !gram[[j, j]].is_finite() {
                let reason = format!(
                    "feature {name:?} is too large: the sum of its squares is no number; scale it first"
                );
                return Err(FitError::failed(reason));
            }
            // What is left of a constant after centring is rounding.
            let rounding = 10.0 * f64::EPSILON * means[j].abs();
            let first = centred[[0, j]];
            let is_constant = centred.column(j).iter().all(|value| *value == first);
            if is_constant || gram[[j, j]] <= total * rounding * rounding {
                gram.row_mut(j).fill(0.0);
                gram.column_mut(j).fill(0.0);
                with_target[j] = 0.0;
            }
        }
        if !squares.is_finite() || with_target.iter().any(|product| !product.is_finite()) {
            let reason =
                "the target is too large: a sum of its products is no number; scale it first";
            return Err(FitError::failed(reason));
        }
        Ok(Self { gram, with_target, squares, total, means, mean })
    }

    /// The model with these coefficients of all features, and the intercept that goes with them.
    pub(crate) fn model(&self, names: &[String], coefficients: Vec<f64>) -> FittedLinear {
        let shift: f64 = coefficients.iter().zip(&self.means).map(|(w, mean)| w * mean).sum();
        let signature = Signature::regressor(names.iter().cloned(), "prediction");
        FittedLinear { signature, coefficients, intercept: self.mean - shift }
    }
}

/// Everything about the rows that a least-squares fit of any of the features needs, and the fit of those that are left.
#[derive(Debug)]
struct LinearElimination {
    products: Products,
    names: Vec<String>,
    active: Vec<usize>,
    coefficients: Vec<f64>,
}

impl LinearElimination {
    fn fitted(&self) -> FittedLinear {
        let means = self.active.iter().map(|&column| self.products.means[column]);
        let shift: f64 =
            self.coefficients.iter().zip(means).map(|(weight, mean)| weight * mean).sum();
        let names = self.active.iter().map(|&column| self.names[column].clone());
        let signature = Signature::regressor(names, "prediction");
        let coefficients = self.coefficients.clone();
        FittedLinear { signature, coefficients, intercept: self.products.mean - shift }
    }
}

impl EliminationState for LinearElimination {
    fn active(&self) -> &[usize] {
        &self.active
    }

    fn importances(&self) -> Vec<f64> {
        self.coefficients.iter().map(|weight| weight.abs()).collect()
    }

    fn drop_features(&mut self, columns: &[usize]) -> Result<(), FitError> {
        let (_, left) = part(&self.active, columns)?;
        self.active = left.iter().map(|&at| self.active[at]).collect();
        let rows = self.products.gram.select(Axis(0), &self.active);
        let gram = choose_columns(rows.view(), &self.active);
        let products = self.products.with_target.select(Axis(0), &self.active);
        self.coefficients = solve(&gram, products.to_vec());
        Ok(())
    }

    fn model(&self) -> Result<Arc<dyn FittedModel>, FitError> {
        Ok(Arc::new(self.fitted()))
    }
}

/// A fitted linear regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedLinear {
    signature: Signature,
    coefficients: Vec<f64>,
    intercept: f64,
}

impl FittedLinear {
    /// The weight of each feature.
    #[must_use]
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The weight of each feature with its name.
    pub fn named_coefficients(&self) -> impl Iterator<Item = (&str, f64)> {
        let names = self.signature.features().iter().map(String::as_str);
        names.zip(self.coefficients.iter().copied())
    }

    /// The prediction where all features are 0.
    #[must_use]
    pub fn intercept(&self) -> f64 {
        self.intercept
    }
}

impl Model for FittedLinear {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        let mut space = scratch.take(space_for(&rows));
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            out[0] = self.intercept + dot(in_one_piece(&row, &mut space), &self.coefficients);
        }
        scratch.give(space);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedLinear {
    fn importances(&self) -> Option<Vec<f64>> {
        Some(self.coefficients.iter().map(|weight| weight.abs()).collect())
    }

    fn linear_weights(&self) -> Option<Vec<Vec<f64>>> {
        Some(vec![self.coefficients.clone()])
    }

    fn complexity(&self) -> Complexity {
        let parameters = self.coefficients.len() + 1;
        Complexity { parameters, bytes: size_of::<Self>() + size_of_val(&self.coefficients[..]) }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedLinear {
    const KIND: &'static str = "mlp-models/linear";

    fn fault(&self) -> Option<String> {
        let fits = self.coefficients.len() == self.signature.n_features()
            && self.signature.outputs().len() == 1;
        (!fits).then(|| "the coefficients do not fit the features".to_owned())
    }
}
