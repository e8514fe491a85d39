//! A fitted model: rows in, outputs out.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use crate::panic::Panicked;
use crate::scratch::Scratch;
use crate::signature::Signature;

/// A fitted tabular model.
///
/// The one method that computes writes in place and borrows its working memory, so that a warm caller allocates nothing. Conveniences
/// that do allocate are in [`ModelExt`].
///
/// # Contract
///
/// * `rows` is `n_rows × n_features`, `out` is `n_rows × n_outputs`; every cell of `out` is written, or an error is returned.
/// * A classifier writes one probability column per class, in the order of the signature's classes; each row sums to 1.
/// * A row's outputs depend on that row alone, whatever stands beside it in the batch.
/// * Zero rows are fine. A shape that does not fit is an error, never a panic.
pub trait Model: Debug + Send + Sync {
    /// Predicts each row.
    ///
    /// # Errors
    /// If the shapes do not fit the signature, or the model cannot predict these rows.
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError>;

    /// What the model takes and gives.
    fn signature(&self) -> &Signature;
}

/// Conveniences over [`Model`] that allocate their result.
pub trait ModelExt: Model {
    /// Predicts each row; the result is `n_rows × n_outputs`.
    ///
    /// # Errors
    /// As [`Model::predict_into`].
    fn predict(&self, rows: ArrayView2<'_, f64>) -> Result<Array2<f64>, ModelError> {
        let mut out = Array2::zeros((rows.nrows(), self.signature().outputs().len()));
        self.predict_into(rows, out.view_mut(), &mut Scratch::new())?;
        Ok(out)
    }

    /// Predicts one row.
    ///
    /// # Errors
    /// As [`Model::predict_into`].
    fn predict_row(&self, row: &[f64]) -> Result<Vec<f64>, ModelError> {
        let out = self.predict(ArrayView1::from(row).insert_axis(ndarray::Axis(0)))?;
        Ok(out.into_raw_vec_and_offset().0)
    }

    /// The most probable class of each row: the first of equally probable ones.
    ///
    /// # Errors
    /// As [`Model::predict_into`]; if the model is no classifier, or a row's probabilities are all NaN.
    fn predict_classes(&self, rows: ArrayView2<'_, f64>) -> Result<Vec<usize>, ModelError> {
        if self.signature().classes().is_none() {
            return Err(ModelError::WrongTask { needed: "classification" });
        }
        let probabilities = self.predict(rows)?;
        probabilities
            .rows()
            .into_iter()
            .enumerate()
            .map(|(row, values)| top(values).ok_or(ModelError::NoClass { row }))
            .collect()
    }

    /// The first output of each row: the prediction of a regressor of one number.
    ///
    /// # Errors
    /// As [`Model::predict_into`]; if the model is no regressor, or has no outputs.
    fn predict_values(&self, rows: ArrayView2<'_, f64>) -> Result<Vec<f64>, ModelError> {
        if self.signature().classes().is_some() || self.signature().outputs().is_empty() {
            return Err(ModelError::WrongTask { needed: "regression" });
        }
        Ok(self.predict(rows)?.column(0).to_vec())
    }
}

impl<M: Model + ?Sized> ModelExt for M {}

/// The position of the largest value, the first of equal ones; none if all are NaN.
pub(crate) fn top(values: ArrayView1<'_, f64>) -> Option<usize> {
    crate::metrics::Direction::Maximize
        .best(values.iter().copied().map(Some))
        .map(|(class, _)| class)
}

/// A model could not predict.
///
/// Errors can be cloned: every caller of a failed batch gets one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A row has the wrong number of features.
    #[error("a row has {given} features, the model takes {expected}")]
    FeatureCount {
        /// What the signature says.
        expected: usize,
        /// What was given.
        given: usize,
    },
    /// The place for the outputs has the wrong shape.
    #[error("the output is {} × {}, it must be {} × {}", .given.0, .given.1, .expected.0, .expected.1)]
    OutputShape {
        /// Rows and columns needed.
        expected: (usize, usize),
        /// Rows and columns given.
        given: (usize, usize),
    },
    /// The model gave another number of outputs than it was given inputs.
    #[error("the model gave {given} outputs for {expected} inputs")]
    OutputCount {
        /// How many inputs there were.
        expected: usize,
        /// How many outputs came.
        given: usize,
    },
    /// A feature is NaN or infinite, and the model has no notion of a missing value.
    #[error("row {row}, feature {feature}: {value} is not finite")]
    NotFinite {
        /// The row of the batch, from 0.
        row: usize,
        /// The column, from 0.
        feature: usize,
        /// The value.
        value: f64,
    },
    /// All probabilities of a row are NaN.
    #[error("row {row} has no most probable class: its probabilities are NaN")]
    NoClass {
        /// The row of the batch, from 0.
        row: usize,
    },
    /// The model does something else.
    #[error("the model does not do {needed}")]
    WrongTask {
        /// What was asked for.
        needed: &'static str,
    },
    /// The input was refused for a reason of the model's own.
    #[error("the input is invalid: {reason}")]
    InvalidInput {
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// The model panicked.
    #[error("the model panicked: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The model failed in a way of its own.
    #[error("the model failed")]
    Failed {
        /// The model's own error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl ModelError {
    /// The model failed in a way of its own.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { source: Arc::from(source.into()) }
    }
}

impl From<Panicked> for ModelError {
    fn from(panicked: Panicked) -> Self {
        Self::Panicked { message: panicked.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Task;
    use ndarray::array;

    #[derive(Debug)]
    struct Echo(Signature);

    impl Model for Echo {
        fn predict_into(
            &self,
            rows: ArrayView2<'_, f64>,
            mut out: ArrayViewMut2<'_, f64>,
            _: &mut Scratch,
        ) -> Result<(), ModelError> {
            self.0.check_shapes(&rows, &out)?;
            out.assign(&rows);
            Ok(())
        }

        fn signature(&self) -> &Signature {
            &self.0
        }
    }

    #[test]
    fn the_first_of_equally_probable_classes_is_predicted() {
        let model = Echo(Signature::classifier(["a", "b"], ["no", "yes"]));
        assert_eq!(
            model.predict_classes(array![[0.5, 0.5], [0.1, 0.9], [f64::NAN, 0.2]].view()).unwrap(),
            [0, 1, 1]
        );
        let nan = array![[0.5, 0.5], [f64::NAN, f64::NAN]];
        assert!(matches!(model.predict_classes(nan.view()), Err(ModelError::NoClass { row: 1 })));
        assert!(matches!(
            model.predict_values(nan.view()),
            Err(ModelError::WrongTask { needed: "regression" })
        ));
    }

    #[test]
    fn a_model_without_outputs_predicts_no_values() {
        let nothing = Task::Regression { targets: Vec::new() };
        let model = Echo(Signature::new(Vec::new(), nothing));
        assert!(matches!(
            model.predict_values(Array2::zeros((2, 0)).view()),
            Err(ModelError::WrongTask { needed: "regression" })
        ));
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let model = Echo(Signature::regressor(["a"], "y"));
        assert!(matches!(
            model.predict_row(&[1.0, 2.0]),
            Err(ModelError::FeatureCount { expected: 1, given: 2 })
        ));
        let mut out = Array2::zeros((2, 1));
        let error = model
            .predict_into(array![[1.0]].view(), out.view_mut(), &mut Scratch::new())
            .unwrap_err();
        assert_eq!(error.to_string(), "the output is 2 × 1, it must be 1 × 1");
        assert_eq!(model.predict(Array2::zeros((0, 1)).view()).unwrap().dim(), (0, 1));
        assert_eq!(model.predict_row(&[3.0]).unwrap(), [3.0]);
    }
}
