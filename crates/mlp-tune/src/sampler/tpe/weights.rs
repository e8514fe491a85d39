//! How much each kernel of a mixture counts: one weight per kernel and a last one for the prior, summing to 1.

/// Even weights of so many kernels and the prior.
pub(super) fn even(kernels: usize) -> Vec<f64> {
    vec![1.0 / (kernels + 1) as f64; kernels + 1]
}

/// Weights of so many kernels, the oldest first, and the prior, as Optuna 5.0 has them.
pub(super) fn recency(kernels: usize) -> Vec<f64> {
    let mut weights = ramp(kernels);
    weights.push(1.0);
    normalised(weights)
}

/// Optuna's default weights of so many trials, the oldest first.
fn ramp(trials: usize) -> Vec<f64> {
    let old = trials.saturating_sub(25);
    let low = 1.0 / trials.max(1) as f64;
    let step = if old > 1 { (1.0 - low) / (old - 1) as f64 } else { 0.0 };
    let weight = |trial: usize| if trial < old { low + step * trial as f64 } else { 1.0 };
    (0..trials).map(weight).collect()
}

/// Weights by the improvement over a threshold, with the prior's, their mean; even ones where that says nothing.
pub(super) fn improvement(losses: &[f64], threshold: f64) -> Vec<f64> {
    let gains: Vec<f64> = losses.iter().map(|loss| (threshold - loss).max(1e-12)).collect();
    let sum: f64 = gains.iter().sum();
    if gains.is_empty() || !sum.is_finite() {
        return even(losses.len());
    }
    let prior = sum / gains.len() as f64;
    normalised(gains.into_iter().chain([prior]).collect())
}

fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_trials_weigh_less() {
        assert_eq!(ramp(0), [0.0; 0]);
        assert_eq!(ramp(10), [1.0; 10]);
        let weights = ramp(50);
        assert_eq!((weights[0], weights[24], weights[49]), (0.02, 1.0, 1.0));
        assert!(weights.is_sorted());
    }

    #[test]
    fn improvement_over_the_others_weighs() {
        assert_eq!(improvement(&[1.0, 3.0], 4.0), [0.5, 1.0 / 6.0, 2.0 / 6.0]);
        assert_eq!(improvement(&[1.0], f64::INFINITY), [0.5, 0.5]);
        assert_eq!(improvement(&[f64::NEG_INFINITY], 0.0), [0.5, 0.5]);
    }
}
