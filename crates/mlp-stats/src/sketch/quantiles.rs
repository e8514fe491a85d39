//! Quantiles with a bound on their relative error.

use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use super::stored::Stored;
use crate::check;
use crate::error::{StatsError, Undefined};

/// Quantiles of any number of values in a bounded number of counters (DDSketch; Masson, Rim and Lee 2019): each is within the relative accuracy
/// of a true one. Sketches of parts add up to exactly the sketch of all.
///
/// At 1 % there are 116 counters, of 8 bytes, for each order of magnitude that the values span, negative and positive ones for themselves; the
/// number grows as the accuracy shrinks. None are ever taken together, so one value in the wrong unit cannot spoil the others. Values
/// nearer to 0 than 10⁻⁹ count as 0.
///
/// ```
/// use mlp_stats::QuantileSketch;
///
/// let mut latencies = QuantileSketch::new(0.01)?;
/// (1..=10_000).for_each(|ms| latencies.add(f64::from(ms)));
/// let p99 = latencies.quantile(0.99)?;
/// assert!((p99 / 9_900.0 - 1.0).abs() <= 0.01);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct QuantileSketch {
    accuracy: f64,
    left_out: u64,
    /// None before the first value.
    sketch: Option<DDSketch>,
}

/// Values nearer to 0 count as 0.
pub(super) const LEAST: f64 = 1e-9;
/// More values than a sketch ever sees: sums of counters up to here cannot overflow.
pub(super) const MOST: u64 = u64::MAX / 2;

/// Counters for all magnitudes from [`LEAST`] to the largest.
pub(super) fn config(accuracy: f64) -> Config {
    let keys = Config::new(accuracy, 0, LEAST);
    let counters = keys.key(check::LARGEST) - keys.key(LEAST) + 1;
    Config::new(accuracy, counters.unsigned_abs(), LEAST)
}

impl TryFrom<Stored> for QuantileSketch {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let empty = Self::new(stored.accuracy)?;
        Ok(Self { left_out: stored.left_out, sketch: stored.sketch()?, ..empty })
    }
}

impl std::fmt::Debug for QuantileSketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuantileSketch")
            .field("accuracy", &self.accuracy)
            .field("count", &self.count())
            .field("min", &self.min())
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

impl QuantileSketch {
    /// An empty sketch of this relative accuracy.
    ///
    /// # Errors
    /// If the accuracy is not from 0.001 to 0.5.
    pub fn new(accuracy: f64) -> Result<Self, StatsError> {
        let allowed = (0.001..=0.5).contains(&accuracy);
        check::parameter("accuracy", accuracy, "from 0.001 to 0.5", allowed)?;
        Ok(Self { accuracy, left_out: 0, sketch: None })
    }

    fn empty(&self) -> DDSketch {
        DDSketch::new(config(self.accuracy))
    }

    /// Takes a value. One that is NaN, infinite or beyond 1e140 in magnitude is left out, and counted as such.
    pub fn add(&mut self, value: f64) {
        if value.is_nan() || value.abs() > check::LARGEST {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        if self.sketch.is_none() {
            self.sketch = Some(self.empty());
        }
        if let Some(sketch) = &mut self.sketch {
            sketch.add(value);
        }
    }

    /// Adds the values of another sketch.
    ///
    /// # Errors
    /// If its accuracy differs, or both together hold more than 2⁶³ values.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        let same = self.accuracy == other.accuracy;
        check::parameter("accuracy", other.accuracy, "that of the other sketch", same)?;
        let count = self.count().saturating_add(other.count());
        check::parameter("count", count as f64, "up to 2^63 together", count <= MOST)?;
        self.left_out = self.left_out.saturating_add(other.left_out);
        let Some(theirs) = &other.sketch else { return Ok(()) };
        let mut ours = self.sketch.take().unwrap_or_else(|| self.empty());
        let merged = ours.merge(theirs);
        self.sketch = Some(ours);
        let error = StatsError::Unsupported { what: "merging sketches of different shapes" };
        merged.map_err(|_| error)
    }

    /// The value that a share `p` of the values does not exceed, within the accuracy.
    ///
    /// # Errors
    /// If there are no values, or `p` is not between 0 and 1.
    pub fn quantile(&self, p: f64) -> Result<f64, StatsError> {
        check::parameter("p", p, "in [0, 1]", (0.0..=1.0).contains(&p))?;
        let value = self.sketch.as_ref().and_then(|sketch| sketch.quantile(p).ok().flatten());
        value.ok_or_else(|| StatsError::undefined("quantile", Undefined::Empty))
    }

    /// How many values there were that counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sketch.as_ref().map_or(0, |sketch| sketch.count() as u64)
    }

    /// How many values were left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The least value; none without values.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        self.sketch.as_ref().and_then(DDSketch::min)
    }

    /// The greatest value; none without values.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.sketch.as_ref().and_then(DDSketch::max)
    }
}
