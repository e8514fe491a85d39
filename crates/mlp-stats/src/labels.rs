//! Scores of predicted classes against true ones.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{StatsError, Undefined};

/// How often each true class was predicted as each class.
///
/// ```
/// use mlp_stats::Confusion;
///
/// let confusion = Confusion::of(&[0, 0, 1, 1, 1], &[0, 1, 1, 1, 0], 2)?;
/// assert_eq!(confusion.count(1, 1), 2);
/// assert_eq!(confusion.accuracy()?, 0.6);
/// assert_eq!(confusion.precision(1)?, 2.0 / 3.0);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    /// Row-major: true class, then predicted class.
    counts: Vec<u64>,
}

impl Confusion {
    /// Counts pairs of a true and a predicted class, both below `classes`.
    ///
    /// # Errors
    /// If the lengths differ, or a label is not below `classes`.
    pub fn of(truth: &[usize], predicted: &[usize], classes: usize) -> Result<Self, StatsError> {
        check::same_length("truth", truth.len(), "predicted", predicted.len())?;
        check::labels("truth", truth, classes)?;
        check::labels("predicted", predicted, classes)?;
        let mut counts = vec![0; classes * classes];
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            counts[truth * classes + predicted] += 1;
        }
        Ok(Self { classes, counts })
    }

    /// How often `truth` was predicted as `predicted`.
    ///
    /// # Panics
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        assert!(
            truth < self.classes && predicted < self.classes,
            "a class is not below {}",
            self.classes
        );
        self.counts[truth * self.classes + predicted]
    }

    /// How many classes there are.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The share of rows whose class was predicted right.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn accuracy(&self) -> Result<f64, StatsError> {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        ratio("accuracy", right, self.counts.iter().sum(), Undefined::Empty)
    }

    /// Of the rows predicted as `class`, the share that is of it.
    ///
    /// # Errors
    /// If the class was never predicted.
    ///
    /// # Panics
    /// If `class` is not below the number of classes.
    pub fn precision(&self, class: usize) -> Result<f64, StatsError> {
        ratio("precision", self.count(class, class), self.predicted(class), Undefined::ZeroDivision)
    }

    /// Of the rows of `class`, the share that was predicted as it.
    ///
    /// # Errors
    /// If the class does not occur.
    ///
    /// # Panics
    /// If `class` is not below the number of classes.
    pub fn recall(&self, class: usize) -> Result<f64, StatsError> {
        ratio(
            "recall",
            self.count(class, class),
            self.occurs(class),
            Undefined::MissingClass { class },
        )
    }

    /// The harmonic mean of precision and recall.
    ///
    /// # Errors
    /// If the class neither occurs nor was predicted.
    ///
    /// # Panics
    /// If `class` is not below the number of classes.
    pub fn f1(&self, class: usize) -> Result<f64, StatsError> {
        let both = self.occurs(class) + self.predicted(class);
        ratio("f1", 2 * self.count(class, class), both, Undefined::ZeroDivision)
    }

    /// The mean of the F1 of every class that occurs or was predicted; as scikit-learn's `f1_score(average="macro")`.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn f1_macro(&self) -> Result<f64, StatsError> {
        let scores: Vec<f64> = (0..self.classes).filter_map(|class| self.f1(class).ok()).collect();
        check::not_empty("f1_macro", scores.len())?;
        Ok(scores.iter().sum::<f64>() / scores.len() as f64)
    }

    /// The mean of the recall of every class that occurs; as scikit-learn's `balanced_accuracy_score`.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn balanced_accuracy(&self) -> Result<f64, StatsError> {
        let recalls: Vec<f64> =
            (0..self.classes).filter_map(|class| self.recall(class).ok()).collect();
        check::not_empty("balanced_accuracy", recalls.len())?;
        Ok(recalls.iter().sum::<f64>() / recalls.len() as f64)
    }

    fn occurs(&self, class: usize) -> u64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }
}

/// The share of rows whose class was predicted right.
///
/// # Errors
/// If the lengths differ or there are no rows.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> Result<f64, StatsError> {
    check::same_length("truth", truth.len(), "predicted", predicted.len())?;
    check::not_empty("accuracy", truth.len())?;
    let right = truth.iter().zip(predicted).filter(|(truth, predicted)| truth == predicted).count();
    Ok(right as f64 / truth.len() as f64)
}

fn ratio(
    quantity: &'static str,
    part: u64,
    whole: u64,
    otherwise: Undefined,
) -> Result<f64, StatsError> {
    if whole == 0 {
        Err(StatsError::undefined(quantity, otherwise))
    } else {
        Ok(part as f64 / whole as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_three_classes_are_as_worked_by_hand() {
        let confusion = Confusion::of(&[0, 0, 1, 1, 2, 2], &[0, 1, 1, 1, 2, 0], 4).unwrap();
        assert_eq!(confusion.accuracy(), Ok(4.0 / 6.0));
        assert_eq!(confusion.balanced_accuracy(), Ok((0.5 + 1.0 + 0.5) / 3.0));
        assert_eq!(confusion.f1(0), Ok(0.5));
        assert_eq!(confusion.f1(1), Ok(0.8));
        // The fourth class neither occurs nor is predicted: it has no share in the mean.
        assert!((confusion.f1_macro().unwrap() - (0.5 + 0.8 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn what_has_no_value_is_an_error_with_its_reason() {
        let confusion = Confusion::of(&[0, 0], &[0, 0], 2).unwrap();
        assert_eq!(
            confusion.precision(1).unwrap_err().undefined_reason(),
            Some(Undefined::ZeroDivision)
        );
        assert_eq!(
            confusion.recall(1).unwrap_err().undefined_reason(),
            Some(Undefined::MissingClass { class: 1 })
        );
        assert_eq!(accuracy(&[], &[]).unwrap_err().undefined_reason(), Some(Undefined::Empty));
        assert!(matches!(accuracy(&[0], &[0, 1]), Err(StatsError::Length { .. })));
        assert!(matches!(
            Confusion::of(&[0], &[2], 2),
            Err(StatsError::Label { index: 0, label: 2, classes: 2, .. })
        ));
    }
}
