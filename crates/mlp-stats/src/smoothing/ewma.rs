//! Moving averages that forget exponentially.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;

/// An exponentially weighted mean and variance (Finch 2009, *Incremental calculation of weighted mean and variance*, section 9).
///
/// The first values weigh more, so that the start is the plain mean of what was seen.
///
/// ```
/// use mlp_stats::MovingMoments;
///
/// let mut latency = MovingMoments::new(0.1)?;
/// (0..200).for_each(|i| latency.add(f64::from(i % 2)));
/// assert!((latency.mean().unwrap() - 0.5).abs() < 0.05);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct MovingMoments {
    weight: f64,
    count: u64,
    mean: f64,
    variance: f64,
}

/// What is stored of them, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    weight: f64,
    count: u64,
    mean: f64,
    variance: f64,
}

impl TryFrom<Stored> for MovingMoments {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { weight, count, mean, variance } = stored;
        check::parameter("mean", mean, "from -1e140 to 1e140", mean.abs() <= check::LARGEST)?;
        let allowed = variance >= 0.0 && variance.is_finite();
        check::parameter("variance", variance, "at least 0 and finite", allowed)?;
        Ok(Self { count, mean, variance, ..Self::new(weight)? })
    }
}

impl MovingMoments {
    /// Follows with this weight of the newest value: at 0.1 about the last twenty values matter.
    ///
    /// # Errors
    /// If the weight is not above 0 and below 1.
    pub fn new(weight: f64) -> Result<Self, StatsError> {
        check::open_unit("weight", weight)?;
        Ok(Self { weight, count: 0, mean: 0.0, variance: 0.0 })
    }

    /// Learns a value. NaN, infinite values and those beyond 1e140 in magnitude teach nothing.
    pub fn add(&mut self, value: f64) {
        if value.abs() <= check::LARGEST {
            let weight = self.weight.max(1.0 / (self.count as f64 + 1.0));
            let difference = value - self.mean;
            self.mean += weight * difference;
            self.variance = (1.0 - weight) * (self.variance + weight * difference * difference);
            self.count = self.count.saturating_add(1);
        }
    }

    /// The weight of the newest value.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// How many values were learnt.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The moving average; none before the first value.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The moving standard deviation; none before the second value.
    #[must_use]
    pub fn standard_deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| self.variance.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_the_plain_mean_and_what_is_no_number_teaches_nothing() {
        let mut moments = MovingMoments::new(0.1).unwrap();
        assert_eq!((moments.mean(), moments.standard_deviation()), (None, None));
        for value in [2.0, f64::NAN, 4.0, f64::INFINITY, 9.0] {
            moments.add(value);
        }
        assert_eq!(moments.count(), 3);
        assert!((moments.mean().unwrap() - 5.0).abs() < 1e-12);
        assert!(MovingMoments::new(1.0).is_err());
    }

    #[test]
    fn a_stored_state_that_makes_no_sense_is_refused() {
        let mut moments = MovingMoments::new(0.1).unwrap();
        [1.0, 1e140, -1e140].into_iter().for_each(|value| moments.add(value));
        let text = serde_json::to_string(&moments).unwrap();
        assert_eq!(serde_json::from_str::<MovingMoments>(&text).unwrap(), moments);
        for (part, instead) in [
            ("\"weight\":0.1", "\"weight\":5"),
            ("\"count\":3", "\"count\":-1"),
            ("\"variance\":", "\"variance\":-"),
            ("{", "{\"more\":1,"),
        ] {
            let wrong = text.replacen(part, instead, 1);
            assert!(
                wrong != text && serde_json::from_str::<MovingMoments>(&wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
