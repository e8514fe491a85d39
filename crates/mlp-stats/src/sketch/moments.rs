//! Count, mean and variance.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;

/// The count, mean and variance of values, one at a time (Welford 1962); parts add up exactly but for rounding (Chan and others 1979).
///
/// ```
/// use mlp_stats::Moments;
///
/// let (mut first, mut second) = (Moments::default(), Moments::default());
/// [1.0, 2.0].into_iter().for_each(|value| first.add(value));
/// [3.0, 6.0].into_iter().for_each(|value| second.add(value));
/// first.merge(&second);
/// assert_eq!((first.count(), first.mean()), (4, Some(3.0)));
/// assert!((first.sample_variance().unwrap() - 14.0 / 3.0).abs() < 1e-15);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Moments {
    count: u64,
    left_out: u64,
    mean: f64,
    squares: f64,
}

/// What is stored of them, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    count: u64,
    left_out: u64,
    mean: f64,
    squares: f64,
}

impl TryFrom<Stored> for Moments {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { count, left_out, mean, squares } = stored;
        check::within_largest("mean", &[mean])?;
        let allowed = squares >= 0.0 && squares.is_finite();
        check::parameter("squares", squares, "at least 0 and finite", allowed)?;
        Ok(Self { count, left_out, mean, squares })
    }
}

impl Moments {
    /// Takes a value. One that is NaN, infinite or beyond 1e140 in magnitude, whose squares could not be added up, is left out, and counted as
    /// such.
    pub fn add(&mut self, value: f64) {
        if value.is_nan() || value.abs() > check::LARGEST {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.count = self.count.saturating_add(1);
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Adds the values of another part.
    pub fn merge(&mut self, other: &Self) {
        self.left_out = self.left_out.saturating_add(other.left_out);
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.squares += other.squares + apart * apart * n * m / (n + m);
        self.mean += apart * m / (n + m);
        self.count = self.count.saturating_add(other.count);
    }

    /// How many values there were that counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many values were left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The mean; none without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The variance over the number of values; none without values.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.count > 0).then(|| self.squares / self.count as f64)
    }

    /// The variance over one less than the number of values, an unbiased estimate; none of fewer than two values.
    #[must_use]
    pub fn sample_variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }
}
