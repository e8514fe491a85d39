//! Scores of predicted probabilities of several classes.

use super::binary::BinaryScores;
use super::labels::Average;
use super::reliability::Reliability;
use super::weights::Weights;
use crate::check;
use crate::error::{StatsError, Undefined};

/// Rows with their true class and a probability for each class, row-major (`n_rows × classes`). Definitions are scikit-learn's.
///
/// ```
/// use mlp_stats::{Average, ClassScores, Pairing};
///
/// let scores = ClassScores::new(&[0, 1, 2], &[0.7, 0.2, 0.1, 0.3, 0.4, 0.3, 0.2, 0.3, 0.5], 3)?;
/// assert_eq!(scores.roc_auc(Pairing::OneVsRest, Average::Macro)?, 1.0);
/// assert_eq!(scores.top_k_accuracy(1)?, 1.0);
/// assert!((scores.brier()? - (0.14 + 0.54 + 0.38) / 3.0).abs() < 1e-12);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ClassScores<'a> {
    truth: &'a [usize],
    probabilities: &'a [f64],
    classes: usize,
    weights: Weights<'a>,
}

/// What a class is told apart from in an area under several curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pairing {
    /// From all the others together.
    OneVsRest,
    /// From each other class in turn, on the rows of the two (Hand and Till 2001): not moved by how frequent the classes are.
    OneVsOne,
}

impl<'a> ClassScores<'a> {
    /// Checks classes and probabilities.
    ///
    /// # Errors
    /// If the lengths differ, a label is not below `classes`, or a probability is not between 0 and 1.
    pub fn new(
        truth: &'a [usize],
        probabilities: &'a [f64],
        classes: usize,
    ) -> Result<Self, StatsError> {
        check::labels("truth", truth, classes)?;
        let cells = truth.len().saturating_mul(classes);
        check::same_length("probabilities", probabilities.len(), "truth times classes", cells)?;
        // Rounding may carry a probability past its end by a little.
        check::within("probabilities", probabilities, "in [0, 1]", |value| {
            (-1e-9..=1.0 + 1e-9).contains(&value)
        })?;
        Ok(Self { truth, probabilities, classes, weights: Weights::Equal })
    }

    /// The same rows, each counting as much as its weight.
    ///
    /// # Errors
    /// If the length differs, or a weight is not from 0 to 1e100.
    pub fn weighted(self, weights: &'a [f64]) -> Result<Self, StatsError> {
        Ok(Self { weights: Weights::checked(weights, self.truth.len())?, ..self })
    }

    /// The mean area under the ROC curves of the classes.
    ///
    /// # Errors
    /// If there are no rows, a class does not occur, the probabilities of a row do not add up to 1 (to five digits), or one-vs-one is asked
    /// for with [`Average::Micro`] or weights.
    pub fn roc_auc(&self, pairing: Pairing, average: Average) -> Result<f64, StatsError> {
        check::not_empty("roc_auc", self.truth.len())?;
        self.rows_add_up()?;
        match pairing {
            Pairing::OneVsRest => self.one_vs_rest(average, |scores| scores.roc_auc()),
            Pairing::OneVsOne => self.one_vs_one(average),
        }
    }

    /// The mean over the classes of the average precision of each against the rest.
    ///
    /// # Errors
    /// If there are no rows, or a class does not occur.
    pub fn average_precision(&self, average: Average) -> Result<f64, StatsError> {
        check::not_empty("average_precision", self.truth.len())?;
        self.one_vs_rest(average, |scores| scores.average_precision())
    }

    fn one_vs_rest(
        &self,
        average: Average,
        area: impl Fn(BinaryScores<'_>) -> Result<f64, StatsError>,
    ) -> Result<f64, StatsError> {
        if average == Average::Micro {
            let positive: Vec<bool> = self
                .truth
                .iter()
                .flat_map(|&label| (0..self.classes).map(move |class| class == label))
                .collect();
            let weights: Vec<f64> =
                (0..positive.len()).map(|cell| self.weights.of(cell / self.classes)).collect();
            let scores = BinaryScores::new(&positive, self.probabilities)?;
            return match self.weights {
                Weights::Equal => area(scores),
                Weights::Each(_) => area(scores.weighted(&weights)?),
            };
        }
        self.mean_over(0..self.classes, |class| {
            let positive: Vec<bool> = self.truth.iter().map(|&label| label == class).collect();
            let column: Vec<f64> = self.column(class).collect();
            let scores = BinaryScores::new(&positive, &column)?;
            let area = match self.weights {
                Weights::Equal => area(scores),
                Weights::Each(weights) => area(scores.weighted(weights)?),
            };
            let occurs = (0..positive.len()).filter(|&row| positive[row]);
            let weight = match average {
                Average::Macro => 1.0,
                _ => occurs.map(|row| self.weights.of(row)).sum(),
            };
            Ok((area.map_err(|error| named(error, class))?, weight))
        })
    }

    fn one_vs_one(&self, average: Average) -> Result<f64, StatsError> {
        if average == Average::Micro || matches!(self.weights, Weights::Each(_)) {
            return Err(StatsError::Unsupported {
                what: "one-vs-one with weights or micro average",
            });
        }
        let pairs = (0..self.classes).flat_map(|a| (a + 1..self.classes).map(move |b| (a, b)));
        self.mean_over(pairs, |(a, b)| {
            let rows: Vec<usize> =
                (0..self.truth.len()).filter(|&row| [a, b].contains(&self.truth[row])).collect();
            let area = |class: usize| {
                let positive: Vec<bool> =
                    rows.iter().map(|&row| self.truth[row] == class).collect();
                let scores: Vec<f64> = rows
                    .iter()
                    .map(|&row| self.probabilities[row * self.classes + class])
                    .collect();
                let area = BinaryScores::new(&positive, &scores)?.roc_auc();
                let absent = if positive.contains(&true) { a + b - class } else { class };
                area.map_err(|error| missing(error, absent))
            };
            let both = (area(a)? + area(b)?) / 2.0;
            Ok((both, if average == Average::Macro { 1.0 } else { rows.len() as f64 }))
        })
    }

    fn mean_over<T>(
        &self,
        parts: impl Iterator<Item = T>,
        area: impl Fn(T) -> Result<(f64, f64), StatsError>,
    ) -> Result<f64, StatsError> {
        let (mut total, mut weights) = (0.0, 0.0);
        for part in parts {
            let (area, weight) = area(part)?;
            total += area * weight;
            weights += weight;
        }
        if weights == 0.0 {
            return Err(StatsError::undefined("roc_auc", Undefined::SingleClass { class: 0 }));
        }
        Ok(total / weights)
    }

    /// Minus the mean logarithm of the true class's probability. Probabilities are kept 2⁻⁵² away from 0 and 1.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn log_loss(&self) -> Result<f64, StatsError> {
        let loss = |(row, &label): (usize, &usize)| {
            let p = self.probabilities[row * self.classes + label];
            -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
        };
        self.weights.mean("log_loss", self.truth.iter().enumerate().map(loss))
    }

    /// The mean over the rows of the sum over the classes of the squared distance of probability and truth (Brier 1950): from 0 to 2.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn brier(&self) -> Result<f64, StatsError> {
        let loss = |(row, &label): (usize, &usize)| {
            let cells = self.row(row).iter().enumerate();
            cells.map(|(class, p)| (p - f64::from(class == label)).powi(2)).sum()
        };
        self.weights.mean("brier", self.truth.iter().enumerate().map(loss))
    }

    /// The share of rows whose class is among the `k` likeliest; of equally likely classes the last counts as the likeliest.
    ///
    /// # Errors
    /// If there are no rows, or `k` is not from 1 to the number of classes.
    pub fn top_k_accuracy(&self, k: usize) -> Result<f64, StatsError> {
        let allowed = (1..=self.classes).contains(&k);
        check::parameter("k", k as f64, "from 1 to the number of classes", allowed)?;
        let hit = |(row, &label): (usize, &usize)| {
            let row = self.row(row);
            let before = row.iter().enumerate();
            let before =
                before.filter(|&(class, p)| *p > row[label] || (*p == row[label] && class > label));
            f64::from(before.count() < k)
        };
        self.weights.mean("top_k_accuracy", self.truth.iter().enumerate().map(hit))
    }

    /// How often the likeliest class came true, by its probability in bins of equal width; of equally likely classes the first.
    ///
    /// # Errors
    /// If there are no rows or classes, or there are no bins or more than 100,000.
    pub fn top_label_reliability(&self, bins: usize) -> Result<Reliability, StatsError> {
        check::not_empty("top_label_reliability", self.truth.len())?;
        let top = |(row, &label): (usize, &usize)| {
            let row = self.row(row);
            let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (best, row.iter().position(|&p| p == best) == Some(label))
        };
        Reliability::of(self.truth.iter().enumerate().map(top), self.weights, bins)
    }

    fn rows_add_up(&self) -> Result<(), StatsError> {
        for row in 0..self.truth.len() {
            let sum: f64 = self.row(row).iter().sum();
            if (sum - 1.0).abs() > 1e-5 {
                return Err(StatsError::RowSum { row, sum });
            }
        }
        Ok(())
    }

    fn row(&self, row: usize) -> &'a [f64] {
        &self.probabilities[row * self.classes..(row + 1) * self.classes]
    }

    fn column(&self, class: usize) -> impl Iterator<Item = f64> {
        self.probabilities.chunks_exact(self.classes).map(move |row| row[class])
    }
}

/// Of a class against the others: that it is missing, or that it is the only one.
fn named(error: StatsError, class: usize) -> StatsError {
    match error.undefined_reason() {
        Some(Undefined::SingleClass { class: 0 }) => missing(error, class),
        Some(Undefined::SingleClass { .. }) => {
            StatsError::undefined("roc_auc", Undefined::SingleClass { class })
        }
        _ => error,
    }
}

/// Of a class against one other: which of them is missing.
fn missing(error: StatsError, class: usize) -> StatsError {
    match error.undefined_reason() {
        Some(Undefined::SingleClass { .. }) => {
            StatsError::undefined("roc_auc", Undefined::MissingClass { class })
        }
        _ => error,
    }
}

/// The unweighted mean over the classes of the area under the ROC curve of each class against the rest; see [`ClassScores::roc_auc`].
///
/// # Errors
/// As there.
pub fn roc_auc_one_vs_rest(
    truth: &[usize],
    probabilities: &[f64],
    classes: usize,
) -> Result<f64, StatsError> {
    let scores = ClassScores::new(truth, probabilities, classes)?;
    scores.roc_auc(Pairing::OneVsRest, Average::Macro)
}

/// Minus the mean logarithm of the true class's probability; see [`ClassScores::log_loss`].
///
/// # Errors
/// If the lengths differ, a label is not below `classes`, a probability is not between 0 and 1, or there are no rows.
pub fn log_loss(truth: &[usize], probabilities: &[f64], classes: usize) -> Result<f64, StatsError> {
    ClassScores::new(truth, probabilities, classes)?.log_loss()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_probability_costs_the_logarithm_of_the_smallest_one_allowed() {
        let loss = log_loss(&[0, 1], &[0.0, 1.0, 0.5, 0.5], 2).unwrap();
        assert!((loss - (36.043_653_389_117_15 + 2.0_f64.ln()) / 2.0).abs() < 1e-12);
        assert!(log_loss(&[0], &[1.5, 0.0], 2).is_err());
    }

    #[test]
    fn a_class_that_does_not_occur_is_named() {
        let probabilities = [0.5, 0.3, 0.2, 0.2, 0.5, 0.3];
        let scores = ClassScores::new(&[0, 1], &probabilities, 3).unwrap();
        for pairing in [Pairing::OneVsRest, Pairing::OneVsOne] {
            let error = scores.roc_auc(pairing, Average::Macro).unwrap_err();
            assert_eq!(error.undefined_reason(), Some(Undefined::MissingClass { class: 2 }));
        }
        assert!(scores.top_k_accuracy(0).is_err() && scores.top_k_accuracy(4).is_err());
    }

    #[test]
    fn rows_that_do_not_add_up_have_no_area() {
        let scores = ClassScores::new(&[0, 1], &[0.5, 0.6, 0.5, 0.5], 2).unwrap();
        let error = scores.roc_auc(Pairing::OneVsRest, Average::Macro).unwrap_err();
        assert!(matches!(error, StatsError::RowSum { row: 0, .. }));
    }
}
