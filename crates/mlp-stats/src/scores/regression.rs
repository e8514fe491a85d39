//! Scores of predicted numbers against true ones.

use super::weights::Weights;
use crate::check;
use crate::error::{StatsError, Undefined};

/// True numbers and predicted ones; every score of them follows. Definitions are scikit-learn's.
///
/// ```
/// use mlp_stats::RegressionScores;
///
/// let scores = RegressionScores::new(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0])?;
/// assert_eq!(scores.mean_absolute_error()?, 0.5);
/// assert_eq!(scores.max_error()?, 1.0);
/// assert!((scores.r2()? - 0.9486081370449679).abs() < 1e-15);
/// assert!((scores.pinball(0.9)? - 0.15).abs() < 1e-15);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RegressionScores<'a> {
    truth: &'a [f64],
    predicted: &'a [f64],
    weights: Weights<'a>,
}

impl<'a> RegressionScores<'a> {
    /// Checks the numbers.
    ///
    /// # Errors
    /// If the lengths differ, or a value is NaN or infinite.
    pub fn new(truth: &'a [f64], predicted: &'a [f64]) -> Result<Self, StatsError> {
        check::same_length("truth", truth.len(), "predicted", predicted.len())?;
        check::finite("truth", truth)?;
        check::finite("predicted", predicted)?;
        Ok(Self { truth, predicted, weights: Weights::Equal })
    }

    /// The same rows, each counting as much as its weight.
    ///
    /// # Errors
    /// If the length differs, or a weight is not from 0 to 1e100.
    pub fn weighted(self, weights: &'a [f64]) -> Result<Self, StatsError> {
        Ok(Self { weights: Weights::checked(weights, self.truth.len())?, ..self })
    }

    /// The coefficient of determination: 1 less the ratio of the squared errors to the squared deviations of the truth from its mean.
    ///
    /// # Errors
    /// If there are fewer than two rows, or the truth is constant (scikit-learn says 1 if it is met, else 0).
    pub fn r2(&self) -> Result<f64, StatsError> {
        self.varies("r2", self.truth)?;
        let mean = self.weights.mean("r2", self.truth.iter().copied())?;
        self.explained("r2", self.mean_squared_error()?, |t| (t - mean) * (t - mean))
    }

    /// As [`r2`](Self::r2), but a constant error costs nothing.
    ///
    /// # Errors
    /// As there.
    pub fn explained_variance(&self) -> Result<f64, StatsError> {
        let quantity = "explained_variance";
        self.varies(quantity, self.truth)?;
        let mean = self.weights.mean(quantity, self.truth.iter().copied())?;
        let bias = self.mean(quantity, |t, p| t - p)?;
        let error = self.mean(quantity, |t, p| (t - p - bias) * (t - p - bias))?;
        self.explained(quantity, error, |t| (t - mean) * (t - mean))
    }

    /// The mean of the squared errors.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn mean_squared_error(&self) -> Result<f64, StatsError> {
        self.mean("mean_squared_error", |t, p| (t - p) * (t - p))
    }

    /// The root of the mean squared error.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn rmse(&self) -> Result<f64, StatsError> {
        Ok(self.mean_squared_error()?.sqrt())
    }

    /// The mean of the absolute errors.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn mean_absolute_error(&self) -> Result<f64, StatsError> {
        self.mean("mean_absolute_error", |t, p| (t - p).abs())
    }

    /// The median of the absolute errors.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn median_absolute_error(&self) -> Result<f64, StatsError> {
        let errors: Vec<f64> = self.pairs().map(|(t, p)| (t - p).abs()).collect();
        self.weights.quantile("median_absolute_error", &errors, 0.5)
    }

    /// The greatest absolute error, of rows without weight too.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn max_error(&self) -> Result<f64, StatsError> {
        check::not_empty("max_error", self.truth.len())?;
        let greatest = self.pairs().map(|(t, p)| (t - p).abs()).fold(0.0, f64::max);
        check::result("max_error", greatest)
    }

    /// The mean of the absolute errors relative to the truth, 1 being as large as it. A truth of 0 counts as 2⁻⁵², so the result is huge then.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn mean_absolute_percentage_error(&self) -> Result<f64, StatsError> {
        let relative = |t: f64, p: f64| (t - p).abs() / t.abs().max(f64::EPSILON);
        self.mean("mean_absolute_percentage_error", relative)
    }

    /// The mean squared difference of `ln(1 + x)` of truth and prediction.
    ///
    /// # Errors
    /// If there are no rows, or a value is not above −1.
    pub fn mean_squared_log_error(&self) -> Result<f64, StatsError> {
        for (name, values) in [("truth", self.truth), ("predicted", self.predicted)] {
            check::within(name, values, "above -1", |value| value > -1.0)?;
        }
        self.mean("mean_squared_log_error", |t, p| (t.ln_1p() - p.ln_1p()).powi(2))
    }

    /// The mean pinball loss of predicted `alpha`-quantiles (Koenker and Bassett 1978); at 0.5 half the mean absolute error.
    ///
    /// # Errors
    /// If there are no rows, or alpha is not between 0 and 1.
    pub fn pinball(&self, alpha: f64) -> Result<f64, StatsError> {
        check::parameter("alpha", alpha, "in [0, 1]", (0.0..=1.0).contains(&alpha))?;
        self.mean("pinball", |t, p| pinball(t - p, alpha))
    }

    /// The share of the pinball loss that the prediction takes off what the constant `alpha`-quantile of the truth loses.
    ///
    /// # Errors
    /// As [`pinball`](Self::pinball), or if there are fewer than two rows, or the quantile alone loses nothing.
    pub fn d2_pinball(&self, alpha: f64) -> Result<f64, StatsError> {
        let rows = (0..self.truth.len()).filter(|&row| self.weights.of(row) > 0.0).count();
        check::at_least("d2_pinball", rows, 2)?;
        let loss = self.pinball(alpha)?;
        let quantile = self.weights.quantile("d2_pinball", self.truth, alpha)?;
        self.explained("d2_pinball", loss, |t| pinball(t - quantile, alpha))
    }

    /// The share of the mean absolute error that the prediction takes off what the median of the truth has.
    ///
    /// # Errors
    /// If there are fewer than two rows, or the truth is constant.
    pub fn d2_absolute_error(&self) -> Result<f64, StatsError> {
        self.d2_pinball(0.5)
    }

    fn pairs(&self) -> impl ExactSizeIterator<Item = (f64, f64)> {
        self.truth.iter().copied().zip(self.predicted.iter().copied())
    }

    fn mean(
        &self,
        quantity: &'static str,
        of: impl Fn(f64, f64) -> f64,
    ) -> Result<f64, StatsError> {
        self.weights.mean(quantity, self.pairs().map(|(t, p)| of(t, p)))
    }

    /// 1 less the ratio of an error to that of a constant.
    fn explained(
        &self,
        quantity: &'static str,
        error: f64,
        constant: impl Fn(f64) -> f64,
    ) -> Result<f64, StatsError> {
        let whole = self.weights.mean(quantity, self.truth.iter().map(|&t| constant(t)))?;
        if whole == 0.0 {
            let perfect = error == 0.0;
            return Err(StatsError::undefined(quantity, Undefined::ConstantTruth { perfect }));
        }
        check::result(quantity, 1.0 - error / whole)
    }

    fn varies(&self, quantity: &'static str, values: &[f64]) -> Result<(), StatsError> {
        // Rows without weight do not count.
        let counts = |row: &usize| self.weights.of(*row) > 0.0;
        let mut rows = (0..values.len()).filter(counts);
        check::at_least(quantity, (0..values.len()).filter(counts).count(), 2)?;
        let first = rows.next().unwrap_or_default();
        if rows.all(|row| values[row] == values[first]) {
            let mut rows = (0..values.len()).filter(counts);
            let perfect = rows.all(|row| self.truth[row] == self.predicted[row]);
            return Err(StatsError::undefined(quantity, Undefined::ConstantTruth { perfect }));
        }
        Ok(())
    }
}

fn pinball(difference: f64, alpha: f64) -> f64 {
    if difference >= 0.0 { alpha * difference } else { (alpha - 1.0) * difference }
}

/// The root of the mean squared error.
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, or there are no rows.
pub fn rmse(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    RegressionScores::new(truth, predicted)?.rmse()
}

/// The mean of the squared errors.
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, or there are no rows.
pub fn mean_squared_error(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    RegressionScores::new(truth, predicted)?.mean_squared_error()
}

/// The mean absolute error.
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, or there are no rows.
pub fn mean_absolute_error(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    RegressionScores::new(truth, predicted)?.mean_absolute_error()
}

/// The coefficient of determination; see [`RegressionScores::r2`].
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, there are fewer than two rows, or the truth is constant.
pub fn r2(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    RegressionScores::new(truth, predicted)?.r2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_infinite_value_is_named_instead_of_becoming_a_score() {
        let (truth, predicted) = ([1.0, f64::INFINITY, 3.0], [1.0, 2.0, 3.0]);
        for score in [r2, rmse, mean_squared_error, mean_absolute_error] {
            let error = score(&truth, &predicted).unwrap_err();
            assert!(matches!(error, StatsError::OutOfRange { input: "truth", index: 1, .. }));
            let error = score(&predicted, &truth).unwrap_err();
            assert!(matches!(error, StatsError::OutOfRange { input: "predicted", index: 1, .. }));
        }
    }

    #[test]
    fn a_constant_truth_has_no_variance_to_explain() {
        let reason = |predicted: &[f64]| r2(&[2.0, 2.0], predicted).unwrap_err().undefined_reason();
        assert_eq!(reason(&[2.0, 2.0]), Some(Undefined::ConstantTruth { perfect: true }));
        assert_eq!(reason(&[2.0, 3.0]), Some(Undefined::ConstantTruth { perfect: false }));
        assert!(r2(&[1.0], &[1.0]).is_err() && rmse(&[], &[]).is_err());
        assert!(matches!(
            rmse(&[1.0, f64::NAN], &[1.0, 1.0]),
            Err(StatsError::Nan { input: "truth", index: 1 })
        ));
    }
}
