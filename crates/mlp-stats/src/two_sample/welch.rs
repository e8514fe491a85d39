//! Tests of two means.

use super::Alternative;
use super::proportions::Interval;
use crate::check;
use crate::distribution::{student_t_quantile, student_t_tail};
use crate::error::StatsError;
use crate::sum::{mean, squared_deviations};

/// What a t-test of two means says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TTest {
    /// The statistic; 0 if nothing varies and the means are equal, infinite if nothing varies otherwise.
    pub t: f64,
    /// The degrees of freedom, not always whole.
    pub degrees: f64,
    /// The mean of the first sample less that of the second.
    pub mean_difference: f64,
    /// The difference over the pooled standard deviation (Cohen 1988); infinite if nothing varies.
    pub cohens_d: f64,
    standard_error: f64,
}

impl TTest {
    /// The chance of such a statistic if the means are equal.
    #[must_use]
    pub fn p_value(&self, alternative: Alternative) -> f64 {
        let (above, below) =
            (student_t_tail(self.t, self.degrees), student_t_tail(-self.t, self.degrees));
        alternative.of_tails(below, above)
    }

    /// The interval that holds the true difference with this confidence.
    ///
    /// # Errors
    /// If the confidence is not between 0 and 1.
    pub fn interval(&self, confidence: f64) -> Result<Interval, StatsError> {
        check::open_unit("confidence", confidence)?;
        let reach =
            self.standard_error * student_t_quantile((1.0 + confidence) / 2.0, self.degrees);
        Ok(Interval { lower: self.mean_difference - reach, upper: self.mean_difference + reach })
    }
}

struct Sample {
    size: f64,
    mean: f64,
    variance: f64,
}

impl Sample {
    fn of(name: &'static str, values: &[f64]) -> Result<Self, StatsError> {
        check::at_least("t_test", values.len(), 2)?;
        check::finite(name, values)?;
        let (size, mean) = (values.len() as f64, mean(values));
        let is_constant = values.iter().all(|value| *value == values[0]);
        let variance =
            if is_constant { 0.0 } else { squared_deviations(values, mean) / (size - 1.0) };
        // Deviations so small or so large that their squares are nothing or infinite say nothing.
        if !is_constant && (variance <= 0.0 || !variance.is_finite()) {
            return Err(StatsError::Overflow { quantity: "t_test" });
        }
        Ok(Self { size, mean: if is_constant { values[0] } else { mean }, variance })
    }
}

/// Whether two means differ where the variances may, too (Welch 1947): as SciPy's `ttest_ind(equal_var=False)`.
///
/// # Errors
/// If a sample has fewer than two values, or one that is NaN or infinite, or its variance is beyond what a double can hold.
///
/// ```
/// use mlp_stats::{Alternative, welch_t_test};
///
/// let (before, after) = ([27.5, 21.0, 19.0, 23.6, 17.0, 17.9], [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8]);
/// let test = welch_t_test(&before, &after)?;
/// assert!((test.p_value(Alternative::TwoSided) - 0.1762180).abs() < 1e-7);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn welch_t_test(first: &[f64], second: &[f64]) -> Result<TTest, StatsError> {
    let (first, second) = (Sample::of("first", first)?, Sample::of("second", second)?);
    let (a, b) = (first.variance / first.size, second.variance / second.size);
    let (p, q) = (a / (a + b), b / (a + b));
    let degrees = 1.0 / (p * p / (first.size - 1.0) + q * q / (second.size - 1.0));
    // Where nothing varies the degrees are zero by zero, and do not matter.
    let degrees = if degrees.is_nan() { first.size + second.size - 2.0 } else { degrees };
    Ok(t_test(&first, &second, (a + b).sqrt(), degrees))
}

/// Whether two means differ where the variances are the same (Student 1908): as SciPy's `ttest_ind`.
///
/// # Errors
/// If a sample has fewer than two values, or one that is NaN or infinite, or its variance is beyond what a double can hold.
pub fn student_t_test(first: &[f64], second: &[f64]) -> Result<TTest, StatsError> {
    let (first, second) = (Sample::of("first", first)?, Sample::of("second", second)?);
    let error = pooled_deviation(&first, &second) * (1.0 / first.size + 1.0 / second.size).sqrt();
    Ok(t_test(&first, &second, error, first.size + second.size - 2.0))
}

fn pooled_deviation(first: &Sample, second: &Sample) -> f64 {
    let squares = first.variance * (first.size - 1.0) + second.variance * (second.size - 1.0);
    (squares / (first.size + second.size - 2.0)).sqrt()
}

fn t_test(first: &Sample, second: &Sample, standard_error: f64, degrees: f64) -> TTest {
    let mean_difference = first.mean - second.mean;
    let over = |scale: f64| if mean_difference == 0.0 { 0.0 } else { mean_difference / scale };
    let cohens_d = over(pooled_deviation(first, second));
    TTest { t: over(standard_error), degrees, mean_difference, cohens_d, standard_error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_samples_are_equal_or_certainly_different() {
        let p = |first: &[f64], second: &[f64]| {
            let test = welch_t_test(first, second).unwrap();
            (test.t, test.p_value(Alternative::TwoSided))
        };
        assert_eq!(p(&[0.1; 3], &[0.1; 4]), (0.0, 1.0));
        assert_eq!(p(&[2.0; 3], &[1.0; 4]), (f64::INFINITY, 0.0));
        assert!(welch_t_test(&[1.0], &[1.0, 2.0]).is_err());
        assert!(welch_t_test(&[1.0, f64::NAN], &[1.0, 2.0]).is_err());
        assert!(student_t_test(&[1.0, 3.0], &[1.0, 2.0]).unwrap().interval(1.0).is_err());
    }
}
