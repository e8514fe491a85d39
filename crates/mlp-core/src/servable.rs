//! Whatever can be served in batches.

use std::cell::Cell;
use std::fmt::Debug;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};

use crate::model::{Model, ModelError, top};
use crate::scratch::Scratch;

/// Something that answers inputs in batches: a tabular [`Model`], an embedding network, a ranker over the user's own types.
///
/// # Contract
///
/// * [`run`](Self::run) appends exactly one output an input, in order, or returns an error for the whole batch. A server checks the count.
/// * An output depends on its own input alone, whatever stands beside it in the batch.
/// * Two inputs with the same cache key have the same output.
pub trait Servable: Debug + Send + Sync {
    /// What is asked.
    type Input: Send + 'static;
    /// What is answered.
    type Output: Clone + Send + Sync + 'static;

    /// Answers a batch: appends one output an input to `out`, which is empty.
    ///
    /// # Errors
    /// If the batch cannot be answered; the server then finds out which input is to blame.
    fn run(&self, batch: &[Self::Input], out: &mut Vec<Self::Output>) -> Result<(), ModelError>;

    /// How many rows an input stands for: what the bounds of batches and queues count.
    fn rows(&self, _input: &Self::Input) -> usize {
        1
    }

    /// Refuses an input that can never be answered, before it takes a place in the queue.
    ///
    /// # Errors
    /// If the input is invalid.
    fn check(&self, _input: &Self::Input) -> Result<(), ModelError> {
        Ok(())
    }

    /// Appends what identifies the input among all inputs of this model; `false` if it cannot be cached.
    fn cache_key(&self, _input: &Self::Input, _key: &mut Vec<u8>) -> bool {
        false
    }

    /// A copy of an input, so that each of several shadows gets one of its own; none if it cannot be copied: then they see it one after another.
    fn clone_input(&self, _input: &Self::Input) -> Option<Self::Input> {
        None
    }

    /// How well a shadow's output agrees with the primary's, from 0 to 1; none if that makes no sense here.
    fn agreement(&self, _primary: &Self::Output, _shadow: &Self::Output) -> Option<f64> {
        None
    }

    /// The features of an input, for the prediction log; none if it is not made of numbers.
    fn features<'a>(&self, _input: &'a Self::Input) -> Option<&'a [f64]> {
        None
    }

    /// The numbers of an output, for the prediction log; none if it is not made of numbers.
    fn outputs<'a>(&self, _output: &'a Self::Output) -> Option<&'a [f64]> {
        None
    }

    /// How many bytes an output takes besides its own size, such as behind a pointer: what a cache bounded in bytes counts. By default those of its
    /// [`outputs`](Self::outputs); a type that keeps other things on the heap says so here, or its answers count as too small.
    fn output_bytes(&self, output: &Self::Output) -> usize {
        self.outputs(output).map_or(0, size_of_val)
    }
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// A tabular model answers a row of features with a row of outputs.
///
/// Features must be finite: a missing value is a matter of the pipeline before, and a NaN in a cache key would never be found again.
/// `-0.0` and `0.0` are the same feature. Two classifiers agree (1 or 0) if their most probable classes are the same; two numbers `a` and
/// `b` agree by `1 − |a − b| / (|a| + |b|)`, and the least agreement of the outputs counts. A number and NaN do not agree (0), nor do a class
/// and probabilities that are all NaN; where neither has an answer there is nothing to compare.
impl Servable for dyn Model {
    type Input = Vec<f64>;
    type Output = Vec<f64>;

    fn run(&self, batch: &[Vec<f64>], out: &mut Vec<Vec<f64>>) -> Result<(), ModelError> {
        // Taken, not borrowed: a model may serve another one inside its own call.
        let mut scratch = SCRATCH.take();
        let result = run_rows(self, batch, out, &mut scratch);
        SCRATCH.set(scratch);
        result
    }

    fn check(&self, row: &Vec<f64>) -> Result<(), ModelError> {
        if row.len() != self.signature().n_features() {
            return Err(ModelError::FeatureCount {
                expected: self.signature().n_features(),
                given: row.len(),
            });
        }
        // Without a way out of the loop several values are looked at at once.
        if row.iter().fold(true, |is_finite, value| is_finite & value.is_finite()) {
            return Ok(());
        }
        match row.iter().position(|value| !value.is_finite()) {
            Some(feature) => Err(ModelError::NotFinite { row: 0, feature, value: row[feature] }),
            None => Ok(()),
        }
    }

    fn cache_key(&self, row: &Vec<f64>, key: &mut Vec<u8>) -> bool {
        let start = key.len();
        key.resize(start + size_of_val(&row[..]), 0);
        let (places, _) = key[start..].as_chunks_mut::<8>();
        // Without a way out of the loop several values are done at once.
        let mut has_nan = false;
        for (place, value) in places.iter_mut().zip(row) {
            // Adding +0.0 turns -0.0 into 0.0 and changes no other value.
            *place = (value + 0.0).to_le_bytes();
            has_nan |= value.is_nan();
        }
        !has_nan
    }

    fn clone_input(&self, row: &Vec<f64>) -> Option<Vec<f64>> {
        Some(row.clone())
    }

    fn agreement(&self, primary: &Vec<f64>, shadow: &Vec<f64>) -> Option<f64> {
        if primary.len() != shadow.len() {
            return None;
        }
        if self.signature().classes().is_some() {
            let class = |output: &[f64]| top(ArrayView1::from(output));
            return match (class(primary), class(shadow)) {
                (None, None) => None,
                (first, second) => Some(if first == second { 1.0 } else { 0.0 }),
            };
        }
        let pairs = primary.iter().zip(shadow).filter(|(a, b)| !(a.is_nan() && b.is_nan()));
        pairs.map(|(&a, &b)| agreement_of(a, b)).reduce(f64::min)
    }

    fn features<'a>(&self, row: &'a Vec<f64>) -> Option<&'a [f64]> {
        Some(row)
    }

    fn outputs<'a>(&self, output: &'a Vec<f64>) -> Option<&'a [f64]> {
        Some(output)
    }
}

/// How well two numbers agree, from 0 to 1.
fn agreement_of(a: f64, b: f64) -> f64 {
    if a == b {
        return 1.0;
    }
    // The sum of halves cannot overflow, and halving rounds nothing that large.
    let scale = if a.abs().max(b.abs()) > 1.0 { 0.5 } else { 1.0 };
    let (a, b) = (a * scale, b * scale);
    let distance = (a - b).abs() / (a.abs() + b.abs());
    // From NaN or an infinite number every other one is as far as can be.
    if distance.is_nan() { 0.0 } else { 1.0 - distance }
}

fn run_rows(
    model: &dyn Model,
    batch: &[Vec<f64>],
    out: &mut Vec<Vec<f64>>,
    scratch: &mut Scratch,
) -> Result<(), ModelError> {
    let (n_features, n_outputs) =
        (model.signature().n_features(), model.signature().outputs().len());
    let mut rows = scratch.take(0);
    for row in batch {
        if row.len() != n_features {
            return Err(ModelError::FeatureCount { expected: n_features, given: row.len() });
        }
        rows.extend_from_slice(row);
    }
    let mut outputs = scratch.take(batch.len() * n_outputs);
    let shape = |error: ndarray::ShapeError| ModelError::failed(error);
    let row_view = ArrayView2::from_shape((batch.len(), n_features), &rows).map_err(shape)?;
    let output_view =
        ArrayViewMut2::from_shape((batch.len(), n_outputs), &mut outputs).map_err(shape)?;
    model.predict_into(row_view, output_view, scratch)?;
    match n_outputs {
        0 => out.extend(batch.iter().map(|_| Vec::new())),
        _ => out.extend(outputs.chunks_exact(n_outputs).map(<[f64]>::to_vec)),
    }
    scratch.give(rows);
    scratch.give(outputs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Signature;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Sum(Signature);

    impl Model for Sum {
        fn predict_into(
            &self,
            rows: ArrayView2<'_, f64>,
            mut out: ArrayViewMut2<'_, f64>,
            _: &mut Scratch,
        ) -> Result<(), ModelError> {
            self.0.check_shapes(&rows, &out)?;
            out.column_mut(0).assign(&rows.sum_axis(ndarray::Axis(1)));
            Ok(())
        }

        fn signature(&self) -> &Signature {
            &self.0
        }
    }

    fn sum() -> Arc<dyn Model> {
        Arc::new(Sum(Signature::regressor(["a", "b"], "sum")))
    }

    #[test]
    fn a_model_answers_a_batch_row_by_row() {
        let mut out = Vec::new();
        sum().run(&[vec![1.0, 2.0], vec![3.0, 4.0]], &mut out).unwrap();
        assert_eq!(out, [[3.0], [7.0]]);
        assert!(matches!(
            sum().run(&[vec![1.0]], &mut out),
            Err(ModelError::FeatureCount { expected: 2, given: 1 })
        ));
    }

    #[test]
    fn a_row_that_cannot_be_answered_is_refused_before_the_queue() {
        assert!(sum().check(&vec![1.0, 2.0]).is_ok());
        assert!(sum().check(&vec![1.0]).is_err());
        assert!(matches!(
            sum().check(&vec![1.0, f64::NAN]),
            Err(ModelError::NotFinite { feature: 1, .. })
        ));
    }

    #[test]
    fn zeros_of_both_signs_share_a_cache_key_and_other_rows_do_not() {
        let key = |row: Vec<f64>| {
            let mut key = Vec::new();
            sum().cache_key(&row, &mut key).then_some(key)
        };
        assert_eq!(key(vec![0.0, 1.0]), key(vec![-0.0, 1.0]));
        assert_ne!(key(vec![0.0, 1.0]), key(vec![1.0, 0.0]));
        assert_eq!(key(vec![f64::NAN, 1.0]), None);
    }

    #[test]
    fn agreement_is_1_for_equal_outputs_and_falls_with_the_distance() {
        let agreement = |a: f64, b: f64| sum().agreement(&vec![a], &vec![b]);
        assert_eq!(agreement(0.0, 0.0), Some(1.0));
        assert_eq!(agreement(3.0, 1.0), Some(0.5));
        assert_eq!(agreement(1.0, -1.0), Some(0.0));
        assert_eq!(agreement(5e-324, 0.0), Some(0.0));
        assert_eq!(agreement(f64::MAX, f64::MIN), Some(0.0));
        let huge = 2.0_f64.powi(1_022);
        assert_eq!(agreement(3.0 * huge, huge), Some(0.5));
        assert_eq!(agreement(f64::INFINITY, f64::INFINITY), Some(1.0));
        assert_eq!(agreement(f64::INFINITY, 1.0), Some(0.0));
    }

    #[test]
    fn a_number_and_nan_do_not_agree_whatever_stands_beside_them() {
        const NAN: f64 = f64::NAN;
        let agreement = |a: [f64; 2], b: [f64; 2]| sum().agreement(&a.to_vec(), &b.to_vec());
        assert_eq!(agreement([1.0, 2.0], [NAN, 2.0]), Some(0.0));
        assert_eq!(agreement([2.0, NAN], [2.0, 1.0]), Some(0.0));
        assert_eq!(agreement([3.0, NAN], [1.0, NAN]), Some(0.5));
        assert_eq!(agreement([NAN, NAN], [NAN, NAN]), None);
        let classifier: Arc<dyn Model> = Arc::new(Sum(Signature::classifier(["a"], ["no", "yes"])));
        let agreement = |a: [f64; 2], b: [f64; 2]| classifier.agreement(&a.to_vec(), &b.to_vec());
        assert_eq!(agreement([0.2, 0.8], [0.4, 0.6]), Some(1.0));
        assert_eq!(agreement([0.2, 0.8], [NAN, NAN]), Some(0.0));
        assert_eq!(agreement([NAN, NAN], [NAN, NAN]), None);
    }
}
