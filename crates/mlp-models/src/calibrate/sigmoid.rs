//! Platt's sigmoid.

use crate::logistic::sigmoid;

/// `P = 1 / (1 + exp(−(slope · score + intercept)))`: the slope and intercept of greatest likelihood for smoothed targets.
///
/// The targets are `(N₊ + 1) / (N₊ + 2)` and `1 / (N₋ + 2)` instead of 1 and 0 (Platt 1999, *Probabilistic outputs for support vector machines*,
/// section 2.2; counted by weight), which keeps the slope finite on separated scores. Weights of less than 1 in the mean are scaled to 1: there would
/// seem to be fewer rows than there are, and the targets would tend to ½. Solved by Newton's method with step halving (Lin, Lin and Weng 2007, *A note
/// on Platt's probabilistic outputs*).
pub(super) fn fit(scores: &[f64], is_positive: &[bool], weights: &[f64]) -> (f64, f64) {
    let rows = weights.iter().filter(|weight| **weight > 0.0).count() as f64;
    let raise = (rows / weights.iter().sum::<f64>()).max(1.0);
    let weights: Vec<f64> = weights.iter().map(|weight| weight * raise).collect();
    let likelihood = Likelihood::new(scores, is_positive, &weights);
    let mut at = (0.0, ((likelihood.positive + 1.0) / (likelihood.negative + 1.0)).ln());
    let mut loss = likelihood.loss(at);
    for _ in 0..100 {
        let (step, decrease) = likelihood.step(at);
        let towards = |length: f64| (at.0 - length * step.0, at.1 - length * step.1);
        // Near the minimum the loss is flat to rounding, and the full step is right.
        let is_near = decrease <= 1e-9 * (1.0 + loss.abs());
        let length = (0..40)
            .map(|halving| 0.5_f64.powi(halving))
            .find(|length| is_near || likelihood.loss(towards(*length)) <= loss);
        let Some(length) = length.filter(|_| decrease.is_finite()) else { break };
        at = towards(length);
        loss = likelihood.loss(at);
        if decrease <= 1e-24 {
            break;
        }
    }
    at
}

struct Likelihood<'a> {
    scores: &'a [f64],
    weights: &'a [f64],
    targets: Vec<f64>,
    positive: f64,
    negative: f64,
}

impl<'a> Likelihood<'a> {
    fn new(scores: &'a [f64], is_positive: &[bool], weights: &'a [f64]) -> Self {
        let total = |wanted: bool| -> f64 {
            let of = is_positive.iter().zip(weights).filter(|(is, _)| **is == wanted);
            of.map(|(_, weight)| weight).sum()
        };
        let (positive, negative) = (total(true), total(false));
        let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
        let targets = is_positive.iter().map(|&is| if is { high } else { low }).collect();
        Self { scores, weights, targets, positive, negative }
    }

    fn rows(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let rows = self.scores.iter().zip(&self.targets).zip(self.weights);
        rows.map(|((score, target), weight)| (*score, *target, *weight))
    }

    /// Minus the log-likelihood, without overflow.
    fn loss(&self, (slope, intercept): (f64, f64)) -> f64 {
        let of = |(score, target, weight): (f64, f64, f64)| {
            let margin = slope * score + intercept;
            weight * (margin.max(0.0) + (-margin.abs()).exp().ln_1p() - target * margin)
        };
        self.rows().map(of).sum()
    }

    /// Newton's step, and the decrease that it promises.
    fn step(&self, (slope, intercept): (f64, f64)) -> ((f64, f64), f64) {
        let (mut by_slope, mut by_intercept) = (0.0, 0.0);
        // A little on the diagonal: equal scores say nothing about the slope.
        let (mut ss, mut si, mut ii) = (1e-12, 0.0, 1e-12);
        for (score, target, weight) in self.rows() {
            let probability = sigmoid(slope * score + intercept);
            let residual = weight * (probability - target);
            let curvature = weight * probability * (1.0 - probability);
            by_slope += residual * score;
            by_intercept += residual;
            ss += curvature * score * score;
            si += curvature * score;
            ii += curvature;
        }
        let determinant = ss * ii - si * si;
        let step = (
            (ii * by_slope - si * by_intercept) / determinant,
            (ss * by_intercept - si * by_slope) / determinant,
        );
        (step, step.0 * by_slope + step.1 * by_intercept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_stays_finite_on_separated_scores() {
        let (slope, intercept) =
            fit(&[-2.0, -1.0, 1.0, 2.0], &[false, false, true, true], &[1.0; 4]);
        assert!(slope > 0.0 && slope < 3.0 && intercept.abs() < 1e-9, "{slope} {intercept}");
    }

    #[test]
    fn equal_scores_give_the_smoothed_share() {
        let (slope, intercept) = fit(&[0.3; 4], &[false, true, true, true], &[1.0; 4]);
        let wanted = (3.0 * 4.0 / 5.0 + 1.0 / 3.0) / 4.0;
        assert!((sigmoid(slope * 0.3 + intercept) - wanted).abs() < 1e-9, "{slope} {intercept}");
    }
}
