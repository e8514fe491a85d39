//! From scores to probabilities.

/// Turns the scores of a row into probabilities, and gives minus the log-probability of its class. The largest score is taken row by row: one far row
/// changes nothing for the others.
pub(super) fn softmax_loss(scores: &mut [f64], label: usize) -> f64 {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = scores[label] - top;
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - top).exp();
        total += *score;
    }
    scores.iter_mut().for_each(|score| *score /= total);
    total.ln() - own
}

/// Turns scores into probabilities: of class 1 if there is one score, else of each class.
pub(crate) fn normalise(scores: &mut [f64]) {
    if let [score] = scores {
        *score = sigmoid(*score);
        return;
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - top).exp();
        total += *score;
    }
    scores.iter_mut().for_each(|score| *score /= total);
}

/// `1 / (1 + exp(−score))`, taking the exponential of a negative number only; without a branch, which would be mispredicted half the time.
pub(crate) fn sigmoid(score: f64) -> f64 {
    let small = (-score.abs()).exp();
    let part = if score >= 0.0 { 1.0 } else { small };
    part / (1.0 + small)
}
