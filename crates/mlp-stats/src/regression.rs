//! Scores of predicted numbers against true ones.

use crate::check;
use crate::error::{StatsError, Undefined};
use crate::sum::{mean, squared_deviations, sum};

/// The root of the mean squared error.
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, or there are no rows.
pub fn rmse(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    Ok(mean_squared_error(truth, predicted)?.sqrt())
}

/// The mean of the squared errors.
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, or there are no rows.
pub fn mean_squared_error(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    pairs("mean_squared_error", truth, predicted)?;
    Ok(sum(truth.iter().zip(predicted).map(|(t, p)| (t - p).powi(2))) / truth.len() as f64)
}

/// The mean absolute error.
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, or there are no rows.
pub fn mean_absolute_error(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    pairs("mean_absolute_error", truth, predicted)?;
    Ok(sum(truth.iter().zip(predicted).map(|(t, p)| (t - p).abs())) / truth.len() as f64)
}

/// The coefficient of determination: 1 less the ratio of the squared errors to the squared deviations of the truth from its mean.
///
/// # Errors
/// If the lengths differ, a value is NaN or infinite, there are fewer than two rows, or the truth is constant.
pub fn r2(truth: &[f64], predicted: &[f64]) -> Result<f64, StatsError> {
    pairs("r2", truth, predicted)?;
    check::at_least("r2", truth.len(), 2)?;
    let errors = sum(truth.iter().zip(predicted).map(|(t, p)| (t - p).powi(2)));
    let deviations = squared_deviations(truth, mean(truth));
    if truth.iter().all(|value| *value == truth[0]) {
        return Err(StatsError::undefined(
            "r2",
            Undefined::ConstantTruth { perfect: errors == 0.0 },
        ));
    }
    Ok(1.0 - errors / deviations)
}

fn pairs(quantity: &'static str, truth: &[f64], predicted: &[f64]) -> Result<(), StatsError> {
    check::same_length("truth", truth.len(), "predicted", predicted.len())?;
    check::not_empty(quantity, truth.len())?;
    check::finite("truth", truth)?;
    check::finite("predicted", predicted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_as_worked_by_hand() {
        let (truth, predicted) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        assert!((rmse(&truth, &predicted).unwrap() - 0.375_f64.sqrt()).abs() < 1e-15);
        assert_eq!(mean_absolute_error(&truth, &predicted), Ok(0.5));
        assert!((r2(&truth, &predicted).unwrap() - 0.948_608_137_044_968).abs() < 1e-14);
    }

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
