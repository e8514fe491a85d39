//! Scores of predicted probabilities against true classes.

use crate::check;
use crate::error::{StatsError, Undefined};

/// The area under the ROC curve: the chance that a random positive row has a greater score than a random negative one, ties counting
/// half (Hanley and McNeil 1982). Equal to scikit-learn's `roc_auc_score`.
///
/// # Errors
/// If the lengths differ, a score is NaN, or all rows are of one kind.
///
/// ```
/// assert_eq!(mlp_stats::roc_auc(&[false, true, false, true], &[0.1, 0.4, 0.4, 0.8])?, 0.875);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn roc_auc(positive: &[bool], scores: &[f64]) -> Result<f64, StatsError> {
    check::same_length("positive", positive.len(), "scores", scores.len())?;
    check::not_empty("roc_auc", scores.len())?;
    check::no_nan("scores", scores)?;
    let positives = positive.iter().filter(|&&positive| positive).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 {
        return Err(StatsError::undefined(
            "roc_auc",
            Undefined::SingleClass { class: usize::from(negatives == 0) },
        ));
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    // Twice the number of pairs in the right order: whole numbers, so that nothing is rounded before the division.
    let (mut doubled, mut below) = (0_u128, 0_u128);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let winners = tied.iter().filter(|&&row| positive[row]).count() as u128;
        let losers = tied.len() as u128 - winners;
        doubled += winners * (2 * below + losers);
        below += losers;
    }
    Ok(doubled as f64 / (2.0 * positives as f64 * negatives as f64))
}

/// The unweighted mean over the classes of the area under the ROC curve of each class against the rest; `probabilities` is row-major,
/// `n_rows × classes`. Equal to scikit-learn's `roc_auc_score(multi_class="ovr")`.
///
/// # Errors
/// If the lengths differ, a probability is NaN, or a class does not occur.
pub fn roc_auc_one_vs_rest(
    truth: &[usize],
    probabilities: &[f64],
    classes: usize,
) -> Result<f64, StatsError> {
    check::labels("truth", truth, classes)?;
    check::same_length(
        "probabilities",
        probabilities.len(),
        "truth times classes",
        truth.len() * classes,
    )?;
    check::not_empty("roc_auc", truth.len())?;
    let mut total = 0.0;
    for class in 0..classes {
        let positive: Vec<bool> = truth.iter().map(|&label| label == class).collect();
        let scores: Vec<f64> = probabilities.chunks_exact(classes).map(|row| row[class]).collect();
        total += roc_auc(&positive, &scores)?;
    }
    Ok(total / classes as f64)
}

/// Minus the mean logarithm of the true class's probability; `probabilities` is row-major, `n_rows × classes`.
///
/// Probabilities are kept at least 2⁻⁵² away from 0 and 1, as in scikit-learn's `log_loss`.
///
/// # Errors
/// If the lengths differ, a probability is not between 0 and 1, or there are no rows.
pub fn log_loss(truth: &[usize], probabilities: &[f64], classes: usize) -> Result<f64, StatsError> {
    check::labels("truth", truth, classes)?;
    check::same_length(
        "probabilities",
        probabilities.len(),
        "truth times classes",
        truth.len() * classes,
    )?;
    check::not_empty("log_loss", truth.len())?;
    check::within("probabilities", probabilities, "in [0, 1]", |value| {
        (-1e-9..=1.0 + 1e-9).contains(&value)
    })?;
    let clipped = |row: usize, label: usize| {
        probabilities[row * classes + label].clamp(f64::EPSILON, 1.0 - f64::EPSILON)
    };
    let total: f64 = truth.iter().enumerate().map(|(row, &label)| -clipped(row, label).ln()).sum();
    Ok(total / truth.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_class_only_has_no_area() {
        let error = roc_auc(&[true, true], &[0.1, 0.2]).unwrap_err();
        assert_eq!(error.undefined_reason(), Some(Undefined::SingleClass { class: 1 }));
        assert!(roc_auc(&[true, false], &[0.1, f64::NAN]).is_err());
    }

    #[test]
    fn an_impossible_probability_costs_the_logarithm_of_the_smallest_one_allowed() {
        let loss = log_loss(&[0, 1], &[0.0, 1.0, 0.5, 0.5], 2).unwrap();
        assert!((loss - (36.043_653_389_117_15 + 2.0_f64.ln()) / 2.0).abs() < 1e-12);
        assert!(log_loss(&[0], &[1.5, 0.0], 2).is_err());
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_the_right_order(rows in prop::collection::vec((any::<bool>(), 0_u8..6), 2..60)) {
            let positive: Vec<bool> = rows.iter().map(|row| row.0).collect();
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.1)).collect();
            let mut pairs = Vec::new();
            for (p, s) in rows.iter().filter(|row| row.0).flat_map(|p| rows.iter().filter(|row| !row.0).map(move |n| (p.1, n.1))) {
                pairs.push(if p > s { 1.0 } else if p == s { 0.5 } else { 0.0 });
            }
            match roc_auc(&positive, &scores) {
                Ok(area) => prop_assert!((area - pairs.iter().sum::<f64>() / pairs.len() as f64).abs() < 1e-12),
                Err(_) => prop_assert!(pairs.is_empty()),
            }
        }
    }
}
