//! The directions in which rows differ most.

use std::sync::Arc;

use mlp_core::{
    FitError, FittedTransformer, FittedTransformerExt, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Transformer,
};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};
use serde::{Deserialize, Serialize};

use super::eigen::symmetric_eigen;
use crate::persist::{Plain, save};
use crate::support::{as_param, check_finite, weights};

/// Principal components: the features turned into the uncorrelated directions of greatest variance; as scikit-learn's `PCA`.
///
/// The covariance matrix (weights count like that many rows) is decomposed exactly, so there is nothing random, and the cost grows with the cube of the
/// features: it is meant for up to some hundreds. Features are centred, not scaled: put a scaler before it where units differ. Each component
/// points where its largest weight is positive. Columns are named `pc1`, `pc2`, ….
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Pca {
    /// How many components to keep.
    pub components: Components,
    /// Whether to scale each component to variance 1.
    pub whiten: Whiten,
}

/// How many components to keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Components {
    /// So many, at most as many as there are features and rows less one.
    Count(usize),
    /// The fewest that hold more than this share of the variance, between 0 and 1.
    Share(f64),
}

/// Whether to scale each component to variance 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whiten {
    /// As it is.
    #[default]
    No,
    /// Variance 1 among the rows learnt from; a component without variance cannot be scaled, and is refused.
    Yes,
}

impl Default for Pca {
    fn default() -> Self {
        Self { components: Components::Share(0.95), whiten: Whiten::No }
    }
}

impl Pca {
    /// Keeps so many components.
    #[must_use]
    pub const fn count(count: usize) -> Self {
        Self { components: Components::Count(count), whiten: Whiten::No }
    }

    /// Keeps the fewest components that hold more than this share of the variance.
    #[must_use]
    pub const fn share(share: f64) -> Self {
        Self { components: Components::Share(share), whiten: Whiten::No }
    }

    /// Scales each component to variance 1.
    #[must_use]
    pub const fn whitened(mut self) -> Self {
        self.whiten = Whiten::Yes;
        self
    }

    /// Learns the components.
    ///
    /// # Errors
    /// As [`Transformer::fit`]; if there are no features or fewer than two rows, or a feature is too large to be squared.
    pub fn fit_pca(&self, data: &Samples<'_>) -> Result<FittedPca, FitError> {
        data.check_finite()?;
        if data.n_features() == 0 {
            return Err(FitError::TooFew { what: "features", given: 0, needed: 1 });
        }
        if data.n_rows() < 2 {
            return Err(FitError::TooFew { what: "rows", given: data.n_rows(), needed: 2 });
        }
        let most = data.n_features().min(data.n_rows() - 1);
        let params = match self.components {
            Components::Count(count) => Params::new().with("count", as_param(count)),
            Components::Share(share) => Params::new().with("share", share),
        };
        let mut read = params.read("pca");
        match self.components {
            Components::Count(_) => read.int("count", 1, 1..=most as i64) as f64,
            Components::Share(_) => read.float("share", 0.95, f64::MIN_POSITIVE..=1.0),
        };
        read.finish()?;
        let (features, weights) = (data.features(), weights(data)?);
        let (weight, total) = (ArrayView1::from(&weights[..]), weights.iter().sum::<f64>());
        if total <= 1.0 {
            return Err(FitError::failed("the weights must sum to more than 1"));
        }
        let means = features.t().dot(&weight) / total;
        let mut centred = features.into_owned() - &means;
        let scales = weight.mapv(f64::sqrt).insert_axis(Axis(1));
        centred *= &scales;
        let covariance = centred.t().dot(&centred) / (total - 1.0);
        check_size(&covariance, data.names())?;
        let (values, vectors) = symmetric_eigen(covariance);
        let variance: f64 = values.iter().map(|value| value.max(0.0)).sum();
        let kept = match self.components {
            Components::Count(count) => count,
            Components::Share(share) => {
                let mut sum = 0.0;
                let enough = |value: &f64| {
                    sum += value.max(0.0);
                    sum > share * variance
                };
                values.iter().position(enough).map_or(most, |at| (at + 1).min(most))
            }
        };
        let mut components = Vec::with_capacity(kept * data.n_features());
        for (vector, &value) in vectors.columns().into_iter().zip(&values).take(kept) {
            let largest = vector.fold(0.0_f64, |m, v| if v.abs() > m.abs() { *v } else { m });
            let scale = match self.whiten {
                Whiten::No => largest.signum(),
                Whiten::Yes if value > 1e-12 * values[0] => largest.signum() / value.sqrt(),
                Whiten::Yes => {
                    return Err(FitError::failed(
                        "a component without variance cannot be whitened",
                    ));
                }
            };
            components.extend(vector.iter().map(|cell| cell * scale));
        }
        Ok(FittedPca {
            inputs: data.names().to_vec(),
            outputs: names(kept),
            means: means.to_vec(),
            components,
            variances: values[..kept].iter().map(|value| value.max(0.0)).collect(),
            total: variance,
        })
    }
}

/// Refuses features whose variances, or the sum of these, are no numbers.
fn check_size(covariance: &Array2<f64>, names: &[String]) -> Result<(), FitError> {
    let mut total = 0.0_f64;
    for (name, variance) in names.iter().zip(covariance.diag()) {
        total += variance;
        if !total.is_finite() {
            let reason =
                format!("feature {name:?} is too large: its variance is no number; scale it first");
            return Err(FitError::failed(reason));
        }
    }
    Ok(())
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|component| format!("pc{component}")).collect()
}

impl Transformer for Pca {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        Ok(Arc::new(self.fit_pca(&data)?))
    }
}

/// Principal components and how much each holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedPca {
    inputs: Vec<String>,
    outputs: Vec<String>,
    means: Vec<f64>,
    /// Component after component, a weight for each feature.
    components: Vec<f64>,
    variances: Vec<f64>,
    total: f64,
}

impl FittedPca {
    /// The weights of the features in each component (`n_components × n_features`).
    #[must_use]
    pub fn components(&self) -> Array2<f64> {
        let width = self.inputs.len();
        Array2::from_shape_fn((self.outputs.len(), width), |(i, j)| self.components[i * width + j])
    }

    /// The variance of each component among the rows learnt from (n − 1 in the denominator).
    #[must_use]
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The share of the variance that each component holds.
    #[must_use]
    pub fn variance_shares(&self) -> Vec<f64> {
        self.variances.iter().map(|variance| variance / self.total).collect()
    }
}

impl FittedTransformer for FittedPca {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        let mut centred = scratch.take(self.inputs.len());
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            let parts = centred.iter_mut().zip(row.iter().zip(&self.means));
            parts.for_each(|(cell, (value, mean))| *cell = value - mean);
            for (cell, component) in
                out.iter_mut().zip(self.components.chunks_exact(self.inputs.len()))
            {
                *cell = crate::solve::dot(&centred, component);
            }
        }
        scratch.give(centred);
        Ok(())
    }

    fn input_names(&self) -> &[String] {
        &self.inputs
    }

    fn output_names(&self) -> &[String] {
        &self.outputs
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedPca {
    const KIND: &'static str = "mlp-models/pca";

    fn fault(&self) -> Option<String> {
        let fits = !self.inputs.is_empty()
            && self.means.len() == self.inputs.len()
            && Some(self.components.len()) == self.inputs.len().checked_mul(self.outputs.len())
            && self.variances.len() == self.outputs.len()
            && self.outputs == names(self.outputs.len());
        (!fits).then(|| "the components do not fit the features".to_owned())
    }
}
