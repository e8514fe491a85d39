//! Whether predicted probabilities come true as often as they say.

use super::weights::Weights;
use crate::check;
use crate::error::StatsError;

/// Predicted probabilities in bins of equal width, and how often they came true (a reliability diagram; Murphy and Winkler 1977).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reliability {
    /// The bins from 0 to 1, empty ones included.
    pub bins: Vec<ReliabilityBin>,
}

/// One bin of predicted probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ReliabilityBin {
    /// The least probability in it; the bin ends where the next begins, the last one at 1 inclusive.
    pub lower: f64,
    /// The rows in it, or their weight.
    pub weight: f64,
    /// The mean predicted probability; none in an empty bin.
    pub mean_probability: Option<f64>,
    /// The share that came true; none in an empty bin.
    pub share_true: Option<f64>,
}

/// The most bins one may ask for.
const MOST_BINS: usize = 100_000;

impl Reliability {
    pub(super) fn of(
        probabilities: impl Iterator<Item = (f64, bool)>,
        weights: Weights<'_>,
        bins: usize,
    ) -> Result<Self, StatsError> {
        check::parameter(
            "bins",
            bins as f64,
            "from 1 to 100,000",
            (1..=MOST_BINS).contains(&bins),
        )?;
        let mut sums = vec![(0.0, 0.0, 0.0); bins];
        for (row, (probability, came_true)) in probabilities.enumerate() {
            let weight = weights.of(row);
            let bin = &mut sums[((probability * bins as f64) as usize).min(bins - 1)];
            bin.0 += weight;
            bin.1 += weight * probability;
            bin.2 += weight * f64::from(came_true);
        }
        let bin = |(i, (weight, probability, came_true)): (usize, (f64, f64, f64))| {
            let mean = |sum: f64| (weight > 0.0).then(|| sum / weight);
            ReliabilityBin {
                lower: i as f64 / bins as f64,
                weight,
                mean_probability: mean(probability),
                share_true: mean(came_true),
            }
        };
        Ok(Self { bins: sums.into_iter().enumerate().map(bin).collect() })
    }

    /// The expected calibration error: the mean distance of probability and truth, bins weighted by their rows (Naeini and others 2015).
    /// 0 without rows.
    #[must_use]
    pub fn expected_error(&self) -> f64 {
        let total: f64 = self.bins.iter().map(|bin| bin.weight).sum();
        self.gaps().map(|(weight, gap)| weight * gap).sum::<f64>() / total.max(f64::MIN_POSITIVE)
    }

    /// The greatest distance of probability and truth in a bin. 0 without rows.
    #[must_use]
    pub fn maximum_error(&self) -> f64 {
        self.gaps().map(|(_, gap)| gap).fold(0.0, f64::max)
    }

    fn gaps(&self) -> impl Iterator<Item = (f64, f64)> {
        self.bins
            .iter()
            .filter_map(|bin| Some((bin.weight, (bin.mean_probability? - bin.share_true?).abs())))
    }
}
