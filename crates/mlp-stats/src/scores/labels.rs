//! Scores of predicted classes against true ones.

use serde::{Deserialize, Serialize};

use super::matthews::matthews;
use super::weights::Weights;
use crate::check;
use crate::error::{StatsError, Undefined};

/// How often, or with how much weight, each true class was predicted as each class. Every score of labels follows from it; definitions are those
/// of scikit-learn's `metrics` module (Pedregosa and others 2011), the classic ones of van Rijsbergen 1979.
///
/// ```
/// use mlp_stats::{Average, Confusion, LabelScore, ZeroDivision};
///
/// let confusion = Confusion::of(&[0, 0, 1, 1, 1], &[0, 1, 1, 1, 0], 2)?;
/// assert_eq!(confusion.count(1, 1), 2.0);
/// assert_eq!(confusion.accuracy()?, 0.6);
/// assert_eq!(confusion.precision(1)?, 2.0 / 3.0);
/// let f1 = confusion.average(LabelScore::F1, Average::Macro, ZeroDivision::Error)?;
/// assert!((f1 - 7.0 / 12.0).abs() < 1e-15);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Confusion {
    classes: usize,
    /// Row-major: true class, then predicted class.
    counts: Vec<f64>,
}

/// What is stored of a confusion, before it is checked.
#[derive(Deserialize)]
struct Stored {
    classes: usize,
    counts: Vec<f64>,
}

impl TryFrom<Stored> for Confusion {
    type Error = StatsError;

    fn try_from(Stored { classes, counts }: Stored) -> Result<Self, StatsError> {
        check::class_table(classes)?;
        check::same_length("counts", counts.len(), "classes squared", classes * classes)?;
        check::within("counts", &counts, "finite and at least 0", |c| c >= 0.0 && c.is_finite())?;
        Ok(Self { classes, counts })
    }
}

/// A score of one class against the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LabelScore {
    /// Of what was predicted as the class, the share that is of it.
    Precision,
    /// Of the class, the share that was predicted as it.
    Recall,
    /// The harmonic mean of precision and recall.
    F1,
    /// The mean that takes recall as so many times as important as precision (van Rijsbergen 1979); the factor is above 0.
    FBeta(f64),
    /// What is of the class and predicted as it, of what is either.
    Jaccard,
}

/// How the scores of several classes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Average {
    /// Every class counts the same.
    Macro,
    /// Every row counts the same: one score of the counts of all classes together.
    Micro,
    /// Every class counts as often as it occurs in the truth.
    Weighted,
}

/// What the score of a class is whose definition divides zero by zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroDivision {
    /// An error with its reason.
    #[default]
    Error,
    /// This value; scikit-learn's default is 0.
    Value(f64),
    /// It is left out of the mean, as scikit-learn does with `nan`; if nothing is left, an error.
    Skip,
}

impl Confusion {
    /// Counts pairs of a true and a predicted class, both below `classes`.
    ///
    /// # Errors
    /// If the lengths differ, or a label is not below `classes`.
    pub fn of(truth: &[usize], predicted: &[usize], classes: usize) -> Result<Self, StatsError> {
        Self::counted(truth, predicted, Weights::Equal, classes)
    }

    /// Adds up the weights of pairs of a true and a predicted class.
    ///
    /// # Errors
    /// If the lengths differ, a label is not below `classes`, or a weight is not from 0 to 1e100.
    pub fn weighted(
        truth: &[usize],
        predicted: &[usize],
        weights: &[f64],
        classes: usize,
    ) -> Result<Self, StatsError> {
        let weights = Weights::checked(weights, truth.len())?;
        Self::counted(truth, predicted, weights, classes)
    }

    fn counted(
        truth: &[usize],
        predicted: &[usize],
        weights: Weights<'_>,
        classes: usize,
    ) -> Result<Self, StatsError> {
        check::same_length("truth", truth.len(), "predicted", predicted.len())?;
        check::labels("truth", truth, classes)?;
        check::labels("predicted", predicted, classes)?;
        check::class_table(classes)?;
        let mut counts = vec![0.0; classes * classes];
        for (row, (&truth, &predicted)) in truth.iter().zip(predicted).enumerate() {
            counts[truth * classes + predicted] += weights.of(row);
        }
        Ok(Self { classes, counts })
    }

    /// Adds the counts of other rows.
    ///
    /// # Errors
    /// If the number of classes differs.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        check::same_length("classes", self.classes, "other classes", other.classes)?;
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
        Ok(())
    }

    /// How often, or with how much weight, `truth` was predicted as `predicted`.
    ///
    /// # Panics
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> f64 {
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
        ratio("accuracy", self.right(), self.total(), Undefined::Empty)
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

    /// Of the rows predicted as `class`, the share that is of it.
    ///
    /// # Errors
    /// If the class was never predicted, or is not below the number of classes.
    pub fn precision(&self, class: usize) -> Result<f64, StatsError> {
        self.score(LabelScore::Precision, class)
    }

    /// Of the rows of `class`, the share that was predicted as it.
    ///
    /// # Errors
    /// If the class does not occur, or is not below the number of classes.
    pub fn recall(&self, class: usize) -> Result<f64, StatsError> {
        self.score(LabelScore::Recall, class)
    }

    /// The harmonic mean of precision and recall.
    ///
    /// # Errors
    /// If the class neither occurs nor was predicted, or is not below the number of classes.
    pub fn f1(&self, class: usize) -> Result<f64, StatsError> {
        self.score(LabelScore::F1, class)
    }

    /// A score of one class against the others.
    ///
    /// # Errors
    /// If its definition divides zero by zero, the factor of [`LabelScore::FBeta`] is not above 0 and up to 1e100, or the class is not below
    /// the number of classes.
    pub fn score(&self, score: LabelScore, class: usize) -> Result<f64, StatsError> {
        check::labels("class", &[class], self.classes)?;
        let (right, occurs) = (self.count(class, class), self.occurs(class));
        score.of(right, occurs, self.predicted(class), Undefined::MissingClass { class })
    }

    /// The mean of a score over the classes that occur or were predicted; as scikit-learn's `average`.
    ///
    /// # Errors
    /// If there are no rows, or a class has no score and the policy does not say what it is then.
    pub fn average(
        &self,
        score: LabelScore,
        average: Average,
        zero_division: ZeroDivision,
    ) -> Result<f64, StatsError> {
        check::not_empty(score.name(), usize::from(self.total() > 0.0))?;
        if average == Average::Micro {
            let one = score.of(self.right(), self.total(), self.total(), Undefined::Empty);
            return zero_division.apply(one)?.ok_or_else(|| score.undefined());
        }
        let (mut total, mut weight) = (0.0, 0.0);
        for class in self.present() {
            let counts = if average == Average::Macro { 1.0 } else { self.occurs(class) };
            if let Some(value) = zero_division.apply(self.score(score, class))? {
                total += counts * value;
                weight += counts;
            }
        }
        ratio(score.name(), total, weight, Undefined::ZeroDivision)
    }

    /// Matthews' correlation of truth and prediction, from −1 to 1 (Gorodkin 2004 for several classes).
    ///
    /// # Errors
    /// If there are no rows, or the truth or the prediction is one class only (scikit-learn says 0 then).
    pub fn matthews_correlation(&self) -> Result<f64, StatsError> {
        matthews(&self.counts, self.classes)
    }

    /// Cohen's κ (Cohen 1960): the agreement beyond chance, 1 if perfect, 0 if by chance.
    ///
    /// # Errors
    /// If there are no rows, or truth and prediction are one and the same class throughout.
    pub fn cohen_kappa(&self) -> Result<f64, StatsError> {
        self.kappa("cohen_kappa", |truth, predicted| f64::from(truth != predicted))
    }

    /// Cohen's κ where a wrong class costs the square of its distance (Cohen 1968): for classes in an order.
    ///
    /// # Errors
    /// If there are no rows, or truth and prediction are one and the same class throughout.
    pub fn quadratic_kappa(&self) -> Result<f64, StatsError> {
        self.kappa("quadratic_kappa", |truth, predicted| (truth.abs_diff(predicted) as f64).powi(2))
    }

    fn kappa(
        &self,
        quantity: &'static str,
        cost: impl Fn(usize, usize) -> f64,
    ) -> Result<f64, StatsError> {
        check::not_empty(quantity, usize::from(self.total() > 0.0))?;
        let ((truths, predictions), total) = (self.shares(), self.total());
        let (mut found, mut by_chance) = (0.0, 0.0);
        for (truth, of_truth) in truths.iter().enumerate() {
            for (predicted, of_predicted) in predictions.iter().enumerate() {
                let cost = cost(truth, predicted);
                found += cost * (self.count(truth, predicted) / total);
                by_chance += cost * of_truth * of_predicted;
            }
        }
        Ok(1.0 - ratio(quantity, found, by_chance, Undefined::Constant)?)
    }

    /// The share of each class in the truth and in the predictions.
    fn shares(&self) -> (Vec<f64>, Vec<f64>) {
        let total = self.total();
        let classes = || 0..self.classes;
        let truths = classes().map(|class| self.occurs(class) / total).collect();
        (truths, classes().map(|class| self.predicted(class) / total).collect())
    }

    fn present(&self) -> impl Iterator<Item = usize> {
        (0..self.classes).filter(|&class| self.occurs(class) + self.predicted(class) > 0.0)
    }

    fn right(&self) -> f64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    fn occurs(&self, class: usize) -> f64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    fn predicted(&self, class: usize) -> f64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }
}

impl LabelScore {
    fn of(
        self,
        right: f64,
        occurs: f64,
        predicted: f64,
        missing: Undefined,
    ) -> Result<f64, StatsError> {
        let (part, whole, reason) = match self {
            Self::Precision => (right, predicted, Undefined::ZeroDivision),
            Self::Recall => (right, occurs, missing),
            Self::F1 => (2.0 * right, occurs + predicted, Undefined::ZeroDivision),
            Self::FBeta(beta) => {
                check::parameter(
                    "beta",
                    beta,
                    "above 0, up to 1e100",
                    beta > 0.0 && beta <= 1e100,
                )?;
                let square = beta * beta;
                ((1.0 + square) * right, square * occurs + predicted, Undefined::ZeroDivision)
            }
            Self::Jaccard => (right, occurs + predicted - right, Undefined::ZeroDivision),
        };
        ratio(self.name(), part, whole, reason)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1 => "f1",
            Self::FBeta(_) => "f_beta",
            Self::Jaccard => "jaccard",
        }
    }

    fn undefined(self) -> StatsError {
        StatsError::undefined(self.name(), Undefined::ZeroDivision)
    }
}

impl ZeroDivision {
    /// The score, the policy's value, or nothing where it is to be left out.
    fn apply(self, score: Result<f64, StatsError>) -> Result<Option<f64>, StatsError> {
        match (score, self) {
            (Err(StatsError::Undefined { .. }), Self::Value(value)) => Ok(Some(value)),
            (Err(StatsError::Undefined { .. }), Self::Skip) => Ok(None),
            (score, _) => score.map(Some),
        }
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
    part: f64,
    whole: f64,
    otherwise: Undefined,
) -> Result<f64, StatsError> {
    if whole == 0.0 {
        return Err(StatsError::undefined(quantity, otherwise));
    }
    check::result(quantity, part / whole)
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
        let f1 = confusion.average(LabelScore::F1, Average::Macro, ZeroDivision::Error).unwrap();
        assert!((f1 - (0.5 + 0.8 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn what_has_no_value_is_an_error_with_its_reason() {
        let confusion = Confusion::of(&[0, 0], &[0, 0], 2).unwrap();
        let reason = |result: Result<f64, StatsError>| result.unwrap_err().undefined_reason();
        assert_eq!(reason(confusion.precision(1)), Some(Undefined::ZeroDivision));
        assert_eq!(reason(confusion.recall(1)), Some(Undefined::MissingClass { class: 1 }));
        let single = Some(Undefined::SingleClass { class: 0 });
        assert_eq!(reason(confusion.matthews_correlation()), single);
        assert_eq!(reason(confusion.cohen_kappa()), Some(Undefined::Constant));
        assert_eq!(reason(accuracy(&[], &[])), Some(Undefined::Empty));
        let empty = Confusion::of(&[], &[], 2).unwrap();
        assert_eq!(reason(empty.accuracy()), Some(Undefined::Empty));
        assert_eq!(reason(empty.matthews_correlation()), Some(Undefined::Empty));
        assert!(matches!(accuracy(&[0], &[0, 1]), Err(StatsError::Length { .. })));
        assert!(matches!(
            Confusion::of(&[0], &[2], 2),
            Err(StatsError::Label { index: 0, label: 2, classes: 2, .. })
        ));
        assert!(matches!(Confusion::of(&[], &[], usize::MAX), Err(StatsError::Limit { .. })));
        assert!(confusion.score(LabelScore::FBeta(f64::NAN), 0).is_err());
    }

    /// The correlation from whole numbers, which are exact.
    fn correlation(counts: &[i128], classes: usize) -> f64 {
        let row = |class: usize| counts[class * classes..][..classes].iter().sum::<i128>();
        let column = |class: usize| counts.iter().skip(class).step_by(classes).sum::<i128>();
        let sum = |of: &dyn Fn(usize) -> i128| (0..classes).map(of).sum::<i128>();
        let total = counts.iter().sum::<i128>();
        let covariance =
            sum(&|class| counts[class * classes + class] * total - row(class) * column(class));
        let truth = total * total - sum(&|class| row(class) * row(class));
        let predicted = total * total - sum(&|class| column(class) * column(class));
        covariance as f64 / (truth as f64).sqrt() / (predicted as f64).sqrt()
    }

    #[test]
    fn the_correlation_keeps_its_digits_where_classes_are_rare() {
        let tables: [&[u64]; 8] = [
            &[3, 1, 2, 100_000_000],
            &[100_000_000, 2, 1, 3],
            &[1, 1, 1, 1 << 50],
            &[100_000, 100_000, 99_999, 99_999],
            &[1 << 40, 1 << 20, 1 << 20, 1],
            &[1 << 50, 7, 5, 3, 2, 1, 0, 4, 2],
            &[5, 0, 1, 0, 3, 1, 2, 2, 1 << 45],
            &[1 << 30, 1, 0, 1, 1 << 30, 1, 1, 0, 3],
        ];
        for counts in tables {
            let classes = counts.len().isqrt();
            let table = Confusion { classes, counts: counts.iter().map(|&c| c as f64).collect() };
            let whole: Vec<i128> = counts.iter().map(|&count| i128::from(count)).collect();
            let (ours, wanted) =
                (table.matthews_correlation().unwrap(), correlation(&whole, classes));
            let is_close = (ours - wanted).abs() <= 1e-14 * wanted.abs();
            assert!(is_close, "{counts:?}: {ours} for {wanted}");
        }
    }

    #[test]
    fn the_correlation_of_weights_of_any_size_is_a_number() {
        let of = |weights: [f64; 4]| {
            Confusion::weighted(&[0, 0, 1, 1], &[0, 1, 0, 1], &weights, 2)
                .unwrap()
                .matthews_correlation()
        };
        let close = |ours: Result<f64, StatsError>, wanted: f64| {
            let ours = ours.unwrap();
            assert!((ours - wanted).abs() <= 1e-14 * wanted.abs(), "{ours} for {wanted}");
        };
        close(
            of([1e17, 1e17, 0.0, 1.0]),
            correlation(&[10_i128.pow(17), 10_i128.pow(17), 0, 1], 2),
        );
        for scale in [1e-300, 1e-150, 1e99] {
            close(
                of([3.0, 1.0, 2.0, 7.0].map(|weight| weight * scale)),
                correlation(&[3, 1, 2, 7], 2),
            );
        }
        assert_eq!(of([1e100, 0.0, 0.0, 1e-100]), Ok(1.0));
        assert_eq!(of([0.0, 1e100, 1e-100, 0.0]), Ok(-1.0));
        let mut table = Confusion::of(&[0, 0, 1], &[0, 1, 1], 2).unwrap();
        table.counts.iter_mut().for_each(|count| *count *= f64::MAX);
        close(table.matthews_correlation(), correlation(&[1, 1, 0, 1], 2));
    }

    #[test]
    fn a_policy_says_what_zero_by_zero_is() {
        // Class 1 is never predicted: its precision is zero by zero.
        let confusion = Confusion::of(&[0, 0, 1], &[0, 0, 0], 2).unwrap();
        let mean = |policy| confusion.average(LabelScore::Precision, Average::Macro, policy);
        assert!(mean(ZeroDivision::Error).is_err());
        assert_eq!(mean(ZeroDivision::Value(0.0)), Ok(1.0 / 3.0));
        assert_eq!(mean(ZeroDivision::Value(1.0)), Ok((2.0 / 3.0 + 1.0) / 2.0));
        assert_eq!(mean(ZeroDivision::Skip), Ok(2.0 / 3.0));
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (truth, predicted) = ([0, 1, 2, 1, 0], [0, 2, 2, 1, 1]);
        let mut parts = Confusion::of(&truth[..2], &predicted[..2], 3).unwrap();
        parts.merge(&Confusion::of(&truth[2..], &predicted[2..], 3).unwrap()).unwrap();
        assert_eq!(parts, Confusion::of(&truth, &predicted, 3).unwrap());
        assert!(parts.merge(&Confusion::of(&[], &[], 2).unwrap()).is_err());
    }
}
