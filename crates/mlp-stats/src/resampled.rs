//! The comparison of two models by their scores on the same folds.

use crate::check;
use crate::distribution::{student_t_quantile, student_t_tail};
use crate::error::StatsError;
use crate::sum::{mean, squared_deviations};
use crate::two_sample::Interval;

/// What a corrected resampled t-test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResampledT {
    /// The mean of the differences, the first model's score less the second's.
    pub mean: f64,
    /// The statistic; 0 if all differences are 0, infinite if they are all the same otherwise.
    pub t: f64,
    /// The variance of the differences, over one less than their number.
    pub variance: f64,
    /// The p-value against the two being equal.
    pub two_sided: f64,
    /// The p-value against the first being no better than the second.
    pub greater: f64,
    standard_error: f64,
    degrees: f64,
}

impl ResampledT {
    /// The interval that holds the true mean difference with this confidence.
    ///
    /// # Errors
    /// If the confidence is not between 0 and 1.
    pub fn interval(&self, confidence: f64) -> Result<Interval, StatsError> {
        check::open_unit("confidence", confidence)?;
        let reach =
            self.standard_error * student_t_quantile((1.0 + confidence) / 2.0, self.degrees);
        Ok(Interval { lower: self.mean - reach, upper: self.mean + reach })
    }
}

/// Whether one model scores better than another on the same folds (Nadeau and Bengio 2003, *Inference for the generalization error*).
///
/// Folds share training rows, so a plain paired t-test finds differences that are not there; here the variance of the differences is
/// increased by the ratio of the tested to the trained rows. `n_train` and `n_test` are the sizes of a fold.
///
/// # Errors
/// If there are fewer than two folds, the lengths differ, a score is not finite, or a size is 0.
///
/// ```
/// let (a, b) = ([0.82, 0.85, 0.80, 0.84, 0.83], [0.80, 0.82, 0.79, 0.83, 0.80]);
/// let test = mlp_stats::corrected_resampled_t(&a, &b, 80, 20)?;
/// assert!((test.two_sided - 0.0406815).abs() < 1e-6);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn corrected_resampled_t(
    first: &[f64],
    second: &[f64],
    n_train: usize,
    n_test: usize,
) -> Result<ResampledT, StatsError> {
    check::same_length("first", first.len(), "second", second.len())?;
    check::at_least("corrected_resampled_t", first.len(), 2)?;
    check::finite("first", first)?;
    check::finite("second", second)?;
    check::parameter("n_train", n_train as f64, "at least 1", n_train > 0)?;
    check::parameter("n_test", n_test as f64, "at least 1", n_test > 0)?;
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let (n, mean) = (differences.len() as f64, mean(&differences));
    let is_constant = differences.iter().all(|difference| *difference == differences[0]);
    let variance =
        if is_constant { 0.0 } else { squared_deviations(&differences, mean) / (n - 1.0) };
    let standard_error = ((1.0 / n + n_test as f64 / n_train as f64) * variance).sqrt();
    let t = match (mean == 0.0, variance) {
        (true, 0.0) => 0.0,
        _ => mean / standard_error,
    };
    let greater = student_t_tail(t, n - 1.0);
    Ok(ResampledT {
        mean,
        t,
        variance,
        two_sided: (2.0 * student_t_tail(t.abs(), n - 1.0)).min(1.0),
        greater,
        standard_error,
        degrees: n - 1.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_no_evidence_and_one_fold_is_no_test() {
        let test = corrected_resampled_t(&[0.5, 0.6], &[0.5, 0.6], 80, 20).unwrap();
        assert_eq!((test.t, test.two_sided), (0.0, 1.0));
        let test = corrected_resampled_t(&[1.0, 2.0], &[0.0, 1.0], 80, 20).unwrap();
        assert_eq!((test.t, test.two_sided, test.greater), (f64::INFINITY, 0.0, 0.0));
        assert!(corrected_resampled_t(&[0.5], &[0.5], 80, 20).is_err());
    }
}
