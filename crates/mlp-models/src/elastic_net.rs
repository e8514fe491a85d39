//! Linear regression with a penalty that leaves features out.

use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, Params, Samples};
use serde::{Deserialize, Serialize};

use crate::descent::minimise;
use crate::linear::Products;
use crate::support::as_param;

/// Fits a number as a weighted sum of few features: minimises
/// `Σ wᵢ (yᵢ − xᵢ·β − β₀)² / (2 Σ wᵢ) + alpha · l1_ratio · ‖β‖₁ + ½ alpha (1 − l1_ratio) ‖β‖²`, the intercept free.
///
/// The objective is that of scikit-learn's `ElasticNet`, and of its `Lasso` for `l1_ratio = 1` ([`lasso`](Self::lasso)); it is not that of
/// [`LinearRegression`](crate::LinearRegression), whose squares are summed and not averaged. Solved by coordinate descent over the products of the
/// features, so that a sweep does not depend on the rows (and, where that takes long, by solving the equations of the features that are left); meant for up to some thousands of features. Put a scaler before it: the penalty
/// treats all coefficients alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ElasticNet {
    /// The weight of the penalty: finite and at least 0. 1 by default.
    pub alpha: f64,
    /// The share of the L1 penalty, from 0 to 1. ½ by default.
    pub l1_ratio: f64,
    /// The most sweeps over the features, 100,000 by default.
    pub max_iterations: usize,
    /// What a last sweep may move, relative to the spread of the target: above 0. 1e-12 by default.
    pub tolerance: f64,
}

impl Default for ElasticNet {
    fn default() -> Self {
        Self { alpha: 1.0, l1_ratio: 0.5, max_iterations: 100_000, tolerance: 1e-12 }
    }
}

impl ElasticNet {
    /// With the L1 penalty alone.
    #[must_use]
    pub fn lasso(alpha: f64) -> Self {
        Self { alpha, l1_ratio: 1.0, ..Self::default() }
    }

    /// Sets the weight of the penalty.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the share of the L1 penalty.
    #[must_use]
    pub fn with_l1_ratio(mut self, ratio: f64) -> Self {
        self.l1_ratio = ratio;
        self
    }

    /// Sets the most sweeps over the features.
    #[must_use]
    pub fn with_max_iterations(mut self, sweeps: usize) -> Self {
        self.max_iterations = sweeps;
        self
    }

    fn check(&self) -> Result<(), FitError> {
        let params = Params::new()
            .with("alpha", self.alpha)
            .with("l1_ratio", self.l1_ratio)
            .with("max_iterations", as_param(self.max_iterations))
            .with("tolerance", self.tolerance);
        let mut read = params.read("elastic_net");
        read.float("alpha", 1.0, 0.0..=f64::MAX);
        read.float("l1_ratio", 0.5, 0.0..=1.0);
        read.int("max_iterations", 1, 1..=i64::MAX);
        read.float("tolerance", 1e-12, f64::MIN_POSITIVE..=1.0);
        Ok(read.finish()?)
    }
}

impl Estimator for ElasticNet {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.check()?;
        let mut products = Products::of(&data)?;
        let total = products.total;
        products.gram /= total;
        products.with_target /= total;
        let (l1, l2) = (self.alpha * self.l1_ratio, self.alpha * (1.0 - self.l1_ratio));
        products.gram.diag_mut().map_inplace(|cell| *cell += l2);
        let spread = (products.squares / total).sqrt();
        let mut coefficients = vec![0.0; data.n_features()];
        let penalties = vec![l1; coefficients.len()];
        let with_target = products.with_target.to_vec();
        let tolerance = self.tolerance * spread;
        let sweeps = minimise(
            &products.gram,
            &with_target,
            &penalties,
            &mut coefficients,
            tolerance,
            self.max_iterations,
        );
        if sweeps.is_none() {
            return Err(FitError::NotConverged { iterations: self.max_iterations });
        }
        Ok(Arc::new(products.model(data.names(), coefficients)))
    }
}
