//! Scores of a positive class.

use super::curves::{PrecisionRecallCurve, RocCurve, steps};
use super::reliability::Reliability;
use super::weights::Weights;
use crate::check;
use crate::error::{StatsError, Undefined};

/// Rows that are positive or not, with the score that a classifier gave each; every score of them follows.
///
/// Scores that rank (the areas and curves) take any number, infinite ones too; those of probabilities want them between 0 and 1.
/// Definitions are scikit-learn's.
///
/// ```
/// use mlp_stats::BinaryScores;
///
/// let truth = [false, true, false, true];
/// let scores = BinaryScores::new(&truth, &[0.1, 0.4, 0.4, 0.8])?;
/// assert_eq!(scores.roc_auc()?, 0.875);
/// assert!((scores.brier()? - 0.1425).abs() < 1e-15);
/// assert!((scores.reliability(10)?.expected_error() - 0.125).abs() < 1e-12);
/// // The last row counts three times.
/// let weights = [1.0, 1.0, 1.0, 3.0];
/// assert_eq!(scores.weighted(&weights)?.roc_auc()?, 0.9375);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct BinaryScores<'a> {
    positive: &'a [bool],
    scores: &'a [f64],
    weights: Weights<'a>,
}

impl<'a> BinaryScores<'a> {
    /// Checks rows and scores.
    ///
    /// # Errors
    /// If the lengths differ or a score is NaN.
    pub fn new(positive: &'a [bool], scores: &'a [f64]) -> Result<Self, StatsError> {
        check::same_length("positive", positive.len(), "scores", scores.len())?;
        check::no_nan("scores", scores)?;
        Ok(Self { positive, scores, weights: Weights::Equal })
    }

    /// The same rows, each counting as much as its weight.
    ///
    /// # Errors
    /// If the length differs, or a weight is not from 0 to 1e100.
    pub fn weighted(self, weights: &'a [f64]) -> Result<Self, StatsError> {
        Ok(Self { weights: Weights::checked(weights, self.positive.len())?, ..self })
    }

    /// The area under the ROC curve: the chance that a random positive row has a greater score than a random negative one, ties counting
    /// half (Hanley and McNeil 1982).
    ///
    /// # Errors
    /// If there are no rows, or all are of one kind.
    pub fn roc_auc(&self) -> Result<f64, StatsError> {
        self.both_kinds("roc_auc")?;
        Ok(match self.weights {
            Weights::Equal => self.area_of_counts(),
            Weights::Each(_) => RocCurve::of(&self.steps()).area(),
        })
    }

    /// The ROC curve, a point for every distinct score.
    ///
    /// # Errors
    /// If there are no rows, or all are of one kind.
    pub fn roc_curve(&self) -> Result<RocCurve, StatsError> {
        self.both_kinds("roc_curve")?;
        Ok(RocCurve::of(&self.steps()))
    }

    /// Precision against recall, a point for every distinct score.
    ///
    /// # Errors
    /// If there are no positive rows.
    pub fn precision_recall_curve(&self) -> Result<PrecisionRecallCurve, StatsError> {
        let quantity = "precision_recall_curve";
        check::not_empty(quantity, self.positive.len())?;
        if self.weight_of(true) == 0.0 {
            return Err(StatsError::undefined(quantity, Undefined::SingleClass { class: 0 }));
        }
        Ok(PrecisionRecallCurve::of(&self.steps()))
    }

    /// The mean precision, each weighted by the recall that it adds.
    ///
    /// # Errors
    /// If there are no positive rows.
    pub fn average_precision(&self) -> Result<f64, StatsError> {
        Ok(self.precision_recall_curve()?.average_precision())
    }

    /// Minus the mean logarithm of the probability given to what came true. Probabilities are kept 2⁻⁵² away from 0 and 1.
    ///
    /// # Errors
    /// If there are no rows, or a score is not between 0 and 1.
    pub fn log_loss(&self) -> Result<f64, StatsError> {
        self.probabilities()?;
        let loss = |(&positive, &p): (&bool, &f64)| {
            let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            -(if positive { p } else { 1.0 - p }).ln()
        };
        self.weights.mean("log_loss", self.positive.iter().zip(self.scores).map(loss))
    }

    /// The mean squared distance of probability and truth (Brier 1950).
    ///
    /// # Errors
    /// If there are no rows, or a score is not between 0 and 1.
    pub fn brier(&self) -> Result<f64, StatsError> {
        self.probabilities()?;
        let loss = |(&positive, &p): (&bool, &f64)| (p - f64::from(positive)).powi(2);
        self.weights.mean("brier", self.positive.iter().zip(self.scores).map(loss))
    }

    /// How often the positive class came true, by its predicted probability in bins of equal width.
    ///
    /// # Errors
    /// If there are no rows, a score is not between 0 and 1, or there are no bins or more than 100,000.
    pub fn reliability(&self, bins: usize) -> Result<Reliability, StatsError> {
        self.probabilities()?;
        let rows = self.scores.iter().copied().zip(self.positive.iter().copied());
        Reliability::of(rows, self.weights, bins)
    }

    /// How often the likelier class came true, by its predicted probability (0.5 calls positive).
    ///
    /// # Errors
    /// As [`reliability`](Self::reliability).
    pub fn top_label_reliability(&self, bins: usize) -> Result<Reliability, StatsError> {
        self.probabilities()?;
        let top = |(&p, &positive): (&f64, &bool)| (p.max(1.0 - p), (p >= 0.5) == positive);
        Reliability::of(self.scores.iter().zip(self.positive).map(top), self.weights, bins)
    }

    fn probabilities(&self) -> Result<(), StatsError> {
        check::not_empty("a score of probabilities", self.scores.len())?;
        check::within("scores", self.scores, "in [0, 1]", |p| (0.0..=1.0).contains(&p))
    }

    fn steps(&self) -> Vec<super::curves::Step> {
        steps(self.positive, self.scores, self.weights)
    }

    fn weight_of(&self, kind: bool) -> f64 {
        let rows = self.positive.iter().enumerate().filter(|row| *row.1 == kind);
        rows.map(|(row, _)| self.weights.of(row)).sum()
    }

    fn both_kinds(&self, quantity: &'static str) -> Result<(), StatsError> {
        check::not_empty(quantity, self.positive.len())?;
        let reason = match (self.weight_of(true) > 0.0, self.weight_of(false) > 0.0) {
            (true, true) => return Ok(()),
            (false, false) => Undefined::ZeroWeight,
            (positive, _) => Undefined::SingleClass { class: usize::from(positive) },
        };
        Err(StatsError::undefined(quantity, reason))
    }

    /// The area by whole numbers: nothing is rounded before the division.
    fn area_of_counts(&self) -> f64 {
        let mut keyed: Vec<(u64, bool)> = self
            .scores
            .iter()
            .zip(self.positive)
            .map(|(&score, &positive)| (crate::sort::key(score), positive))
            .collect();
        keyed.sort_unstable_by_key(|row| row.0);
        // Twice the number of pairs in the right order.
        let (mut doubled, mut below, mut positives) = (0_u128, 0_u128, 0_u128);
        for tied in keyed.chunk_by(|a, b| a.0 == b.0) {
            let winners = tied.iter().filter(|row| row.1).count() as u128;
            let losers = tied.len() as u128 - winners;
            doubled += winners * (2 * below + losers);
            below += losers;
            positives += winners;
        }
        doubled as f64 / (2.0 * positives as f64 * below as f64)
    }
}

/// The area under the ROC curve of unweighted rows; see [`BinaryScores::roc_auc`].
///
/// # Errors
/// If the lengths differ, a score is NaN, there are no rows, or all are of one kind.
///
/// ```
/// assert_eq!(mlp_stats::roc_auc(&[false, true, false, true], &[0.1, 0.4, 0.4, 0.8])?, 0.875);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn roc_auc(positive: &[bool], scores: &[f64]) -> Result<f64, StatsError> {
    BinaryScores::new(positive, scores)?.roc_auc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_class_only_has_no_area() {
        let error = roc_auc(&[true, true], &[0.1, 0.2]).unwrap_err();
        assert_eq!(error.undefined_reason(), Some(Undefined::SingleClass { class: 1 }));
        let error = roc_auc(&[false], &[0.1]).unwrap_err();
        assert_eq!(error.undefined_reason(), Some(Undefined::SingleClass { class: 0 }));
        assert!(roc_auc(&[true, false], &[0.1, f64::NAN]).is_err());
    }

    #[test]
    fn weights_of_nothing_have_no_area() {
        let scores = BinaryScores::new(&[true, false], &[0.1, 0.2]).unwrap();
        let reason = |weights: &[f64]| {
            scores.weighted(weights).unwrap().roc_auc().unwrap_err().undefined_reason()
        };
        assert_eq!(reason(&[0.0, 0.0]), Some(Undefined::ZeroWeight));
        assert_eq!(reason(&[0.0, 1.0]), Some(Undefined::SingleClass { class: 0 }));
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
            let ones = vec![1.0; rows.len()];
            match roc_auc(&positive, &scores) {
                Ok(area) => {
                    prop_assert!((area - pairs.iter().sum::<f64>() / pairs.len() as f64).abs() < 1e-12);
                    let weighted = BinaryScores::new(&positive, &scores).unwrap().weighted(&ones).unwrap();
                    prop_assert!((area - weighted.roc_auc().unwrap()).abs() < 1e-12);
                }
                Err(_) => prop_assert!(pairs.is_empty()),
            }
        }
    }
}
