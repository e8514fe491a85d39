//! An estimator whose importances are known beforehand: the number in each feature's name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Samples, SaveError, Saved,
    Scratch, Signature,
};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

/// Predicts the sum of its features; a feature called `x2.5` has importance 2.5. Counts its fits.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    pub(crate) fits: AtomicUsize,
    /// Fails on data whose first feature is this in every row.
    pub(crate) poison: Option<f64>,
}

#[derive(Debug)]
struct Sum(Signature);

impl Estimator for Scripted {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.fits.fetch_add(1, Ordering::Relaxed);
        if self
            .poison
            .is_some_and(|poison| data.features().column(0).iter().all(|&value| value == poison))
        {
            return Err(FitError::TooFew { what: "antidotes", given: 0, needed: 1 });
        }
        Ok(Arc::new(Sum(Signature::regressor(data.names().to_vec(), "sum"))))
    }
}

impl Model for Sum {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.0.check_shapes(&rows, &out)?;
        out.column_mut(0).assign(&rows.sum_axis(Axis(1)));
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.0
    }
}

impl FittedModel for Sum {
    fn importances(&self) -> Option<Vec<f64>> {
        self.0.features().iter().map(|name| name.trim_start_matches('x').parse().ok()).collect()
    }

    fn complexity(&self) -> Complexity {
        Complexity { parameters: self.0.n_features(), bytes: size_of::<Self>() }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        Saved::new("scripted", 1, Vec::new())
    }
}
