//! Quantiles with a bound on their relative error.

use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use crate::check;
use crate::error::{StatsError, Undefined};

/// Quantiles of any number of values in a bounded number of counters (at 1 % 2,048 each for negative and positive ones; the number grows as
/// the accuracy shrinks) (DDSketch; Masson, Rim and Lee
/// 2019): each is within the relative accuracy of a true one. Sketches of parts add up to exactly the sketch of all.
///
/// Where the values span so many orders of magnitude that the counters do not suffice (more than 17), the
/// smallest are taken together. Values nearer to 0 than 10⁻⁹ count as 0.
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
#[serde(deny_unknown_fields)]
pub struct QuantileSketch {
    accuracy: f64,
    left_out: u64,
    /// None before the first value.
    sketch: Option<DDSketch>,
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
        // As many counters as span seventeen orders of magnitude: 2,048 at 1 %, 20,480 at 0.1 %.
        let counters = (20.48 / self.accuracy).ceil().max(128.0) as u32;
        DDSketch::new(Config::new(self.accuracy, counters, 1e-9))
    }

    /// Takes a value. One that is NaN, infinite or beyond 1e140 in magnitude is left out, and counted as such.
    pub fn add(&mut self, value: f64) {
        if value.is_nan() || value.abs() > check::LARGEST {
            self.left_out += 1;
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
    /// If its accuracy differs.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        let same = self.accuracy == other.accuracy;
        check::parameter("accuracy", other.accuracy, "that of the other sketch", same)?;
        self.left_out += other.left_out;
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
