//! What a classifier gains and loses at every threshold.

use super::weights::Weights;

/// The ROC curve: the share of negatives called positive against the share of positives called so, at every threshold.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RocCurve {
    /// Falling; rows with at least this score are called positive. The first is infinite: none are.
    pub thresholds: Vec<f64>,
    /// Of the negative rows, the share called positive.
    pub false_positive_rates: Vec<f64>,
    /// Of the positive rows, the share called positive.
    pub true_positive_rates: Vec<f64>,
}

/// Precision against recall at every threshold.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PrecisionRecallCurve {
    /// Rising; rows with at least this score are called positive.
    pub thresholds: Vec<f64>,
    /// Of the rows called positive, the share that is; a last 1 belongs to no threshold.
    pub precision: Vec<f64>,
    /// Of the positive rows, the share called positive; a last 0 belongs to no threshold.
    pub recall: Vec<f64>,
}

/// The weight of positive and negative rows whose score is at least that of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) threshold: f64,
    pub(super) positive: f64,
    pub(super) negative: f64,
}

/// One step for every distinct score, from the greatest down. Rows without weight do not count.
pub(super) fn steps(positive: &[bool], scores: &[f64], weights: Weights<'_>) -> Vec<Step> {
    let mut rows: Vec<(f64, f64, bool)> = scores
        .iter()
        .enumerate()
        .map(|(row, &score)| (score, weights.of(row), positive[row]))
        .filter(|row| row.1 > 0.0)
        .collect();
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut called_positive, mut called_negative) = (0.0, 0.0);
    let step = |tied: &[(f64, f64, bool)]| {
        for &(_, weight, positive) in tied {
            *if positive { &mut called_positive } else { &mut called_negative } += weight;
        }
        Step { threshold: tied[0].0, positive: called_positive, negative: called_negative }
    };
    rows.chunk_by(|a, b| a.0 == b.0).map(step).collect()
}

/// The area under a curve of straight lines (the trapezoidal rule); the places may fall or rise.
pub(super) fn area(x: &[f64], y: &[f64]) -> f64 {
    let parts = x.windows(2).zip(y.windows(2));
    crate::sum::sum(parts.map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0)).abs()
}

impl RocCurve {
    pub(super) fn of(steps: &[Step]) -> Self {
        let last = steps[steps.len() - 1];
        let start = Step { threshold: f64::INFINITY, positive: 0.0, negative: 0.0 };
        let all = || [start].into_iter().chain(steps.iter().copied());
        Self {
            thresholds: all().map(|step| step.threshold).collect(),
            false_positive_rates: all().map(|step| step.negative / last.negative).collect(),
            true_positive_rates: all().map(|step| step.positive / last.positive).collect(),
        }
    }

    /// The area under the curve.
    #[must_use]
    pub fn area(&self) -> f64 {
        area(&self.false_positive_rates, &self.true_positive_rates)
    }
}

impl PrecisionRecallCurve {
    pub(super) fn of(steps: &[Step]) -> Self {
        let all = || steps.iter().rev();
        let positives = steps[steps.len() - 1].positive;
        let precision = |step: &Step| step.positive / (step.positive + step.negative);
        Self {
            thresholds: all().map(|step| step.threshold).collect(),
            precision: all().map(precision).chain([1.0]).collect(),
            recall: all().map(|step| step.positive / positives).chain([0.0]).collect(),
        }
    }

    /// The area under straight lines between the points: higher than what any classifier reaches between them
    /// (Davis and Goadrich 2006); [`average_precision`](Self::average_precision) is not.
    #[must_use]
    pub fn area(&self) -> f64 {
        area(&self.recall, &self.precision)
    }

    /// The mean precision, each weighted by the recall that it adds.
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        let parts = self.recall.windows(2).zip(&self.precision);
        crate::sum::sum(parts.map(|(recall, precision)| (recall[0] - recall[1]) * precision))
    }
}
