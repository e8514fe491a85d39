//! Steps that turn features into features.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::estimator::FitError;
use crate::model::ModelError;
use crate::samples::Samples;
use crate::saved::{SaveError, Saved};
use crate::scratch::Scratch;

/// A transformation of features whose state is learnt: a scaler, an encoder, a feature selection.
///
/// # Contract
///
/// The state depends on the given rows alone: a pipeline that is fitted inside folds learns nothing from the rows it is tested on.
pub trait Transformer: Debug + Send + Sync {
    /// Learns the state from the data.
    ///
    /// # Errors
    /// If the data do not suit the transformer.
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError>;
}

/// A transformation with its state: the same function of a row, offline over a table and online over one row.
///
/// # Contract
///
/// A row's result depends on that row alone, and is the same bit for bit in a batch of any size.
pub trait FittedTransformer: Any + Debug + Send + Sync {
    /// Transforms each row: `rows` is `n_rows × input_names().len()`, `out` is `n_rows × output_names().len()`.
    ///
    /// # Errors
    /// If a shape does not fit, or a value cannot be transformed.
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError>;

    /// The names of the features it takes.
    fn input_names(&self) -> &[String];

    /// The names of the features it gives.
    fn output_names(&self) -> &[String];

    /// The transformation as bytes that its crate can load again.
    ///
    /// # Errors
    /// If it holds a part that cannot be saved, such as a closure.
    fn save(&self) -> Result<Saved, SaveError>;
}

impl dyn FittedTransformer {
    /// The transformation as what it is, with all that its own type offers; none if it is of another type.
    #[must_use]
    pub fn downcast_ref<T: FittedTransformer>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Conveniences over [`FittedTransformer`].
pub trait FittedTransformerExt: FittedTransformer {
    /// Transforms each row into a new matrix, `n_rows × output_names().len()`.
    ///
    /// # Errors
    /// As [`FittedTransformer::transform_into`].
    fn transform(&self, rows: ArrayView2<'_, f64>) -> Result<Array2<f64>, ModelError> {
        let mut out = Array2::zeros((rows.nrows(), self.output_names().len()));
        self.transform_into(rows, out.view_mut(), &mut Scratch::new())?;
        Ok(out)
    }

    /// Checks the shapes of a call, for implementers.
    ///
    /// # Errors
    /// If a shape differs, naming both.
    fn check_shapes(
        &self,
        rows: &ArrayView2<'_, f64>,
        out: &ArrayViewMut2<'_, f64>,
    ) -> Result<(), ModelError> {
        if rows.ncols() != self.input_names().len() {
            return Err(ModelError::FeatureCount {
                expected: self.input_names().len(),
                given: rows.ncols(),
            });
        }
        let expected = (rows.nrows(), self.output_names().len());
        if out.dim() != expected {
            return Err(ModelError::OutputShape { expected, given: out.dim() });
        }
        Ok(())
    }
}

impl<T: FittedTransformer + ?Sized> FittedTransformerExt for T {}
