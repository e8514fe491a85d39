//! What gradient boosting goes down: log loss for classes, squared error for numbers.

use super::leafwise::Slope;
use crate::support::Goal;

/// The truth about some rows: the place of each one's class among those present, or its value.
pub(super) enum Loss {
    Log(Vec<usize>),
    Squared(Vec<f64>),
}

impl Loss {
    /// The truth about these rows, whose classes are all among those present.
    pub(super) fn new(goal: &Goal<'_>, rows: &[usize], present: &[usize]) -> Self {
        match goal {
            Goal::Values(values) => Self::Squared(rows.iter().map(|&row| values[row]).collect()),
            Goal::Classes(labels, _) => {
                let place = |&row: &usize| present.partition_point(|&class| class < labels[row]);
                Self::Log(rows.iter().map(place).collect())
            }
        }
    }

    /// Writes the slopes of the rows from `first` on, as many as there are weights, score by score.
    pub(super) fn slopes(
        &self,
        first: usize,
        scores: &[f64],
        weights: &[f64],
        n_scores: usize,
        slopes: &mut [Slope],
    ) {
        let n_rows = weights.len();
        let mut probabilities = vec![0.0; n_scores];
        for (row, (scores, &weight)) in scores.chunks_exact(n_scores).zip(weights).enumerate() {
            match self {
                Self::Squared(values) => {
                    let gradient = weight * (scores[0] - values[first + row]);
                    slopes[row] = Slope { gradient, hessian: weight };
                }
                Self::Log(labels) => {
                    let label = labels[first + row];
                    probabilities.copy_from_slice(scores);
                    normalise(&mut probabilities);
                    for (k, p) in probabilities.iter().enumerate() {
                        let truth = if n_scores == 1 { label == 1 } else { label == k };
                        let gradient = weight * (p - f64::from(u8::from(truth)));
                        let hessian = weight * (p * (1.0 - p)).max(1e-16);
                        slopes[k * n_rows + row] = Slope { gradient, hessian };
                    }
                }
            }
        }
    }

    /// The unit of the loss, around the best constant score: 1, or the weighted variance of numbers. Of a constant that is the rounding of its mean, of
    /// which a sum over many rows may have lost some digits.
    pub(super) fn unit(&self, base: &[f64], weights: &[f64]) -> f64 {
        match self {
            Self::Log(_) => 1.0,
            Self::Squared(values) => {
                let variance = self.mean(&vec![base[0]; values.len()], weights, 1);
                variance.max((1e-10 * base[0]).powi(2))
            }
        }
    }

    /// The weighted mean loss.
    pub(super) fn mean(&self, scores: &[f64], weights: &[f64], n_scores: usize) -> f64 {
        let loss = |(row, scores): (usize, &[f64])| match self {
            Self::Squared(values) => (scores[0] - values[row]).powi(2),
            Self::Log(labels) => match scores {
                [score] => softplus(if labels[row] == 1 { -score } else { *score }),
                _ => {
                    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = scores.iter().map(|score| (score - top).exp()).sum();
                    top + sum.ln() - scores[labels[row]]
                }
            },
        };
        let losses = scores.chunks_exact(n_scores).enumerate().map(loss);
        let total: f64 = losses.zip(weights).map(|(loss, weight)| loss * weight).sum();
        total / weights.iter().sum::<f64>()
    }
}

/// ln(1 + eˣ) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Turns scores into probabilities: of the second class if there is one score, else of each class.
pub(super) fn normalise(scores: &mut [f64]) {
    if let [score] = scores {
        *score = 1.0 / (1.0 + (-*score).exp());
        return;
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - top).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}
