//! What in the data makes every score suspect, looked for before any model is fitted.

use std::collections::HashSet;
use std::fmt;

use mlp_core::{Samples, Target};
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

use crate::leak::prints;
use crate::split::Fold;

/// Something about the data that is likelier a mistake than luck.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Suspicion {
    /// One feature alone all but determines the target: it may have been made from it, or after it.
    Leak {
        /// The feature.
        feature: String,
        /// Its area under the ROC curve (where there are more than two classes, of the pair of classes that it tells apart worst), or its
        /// absolute correlation with a numeric target.
        score: f64,
    },
    /// Rows that a fold tests are also among those it learns from.
    Duplicates {
        /// How many of the tested rows, over all folds.
        rows: usize,
        /// How many rows are tested, over all folds.
        tested: usize,
    },
    /// All rows have the same target: nothing can be learnt.
    ConstantTarget,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leak { feature, score } => {
                write!(
                    f,
                    "{feature:?} alone all but determines the target ({score:.4}): was it made from it?"
                )
            }
            Self::Duplicates { rows, tested } => {
                write!(
                    f,
                    "{rows} of {tested} tested rows are also learnt from: drop duplicates, or split by group"
                )
            }
            Self::ConstantTarget => write!(f, "the target is constant: nothing can be learnt"),
        }
    }
}

/// From here on a single feature is too good to be true.
const TOO_GOOD: f64 = 0.999;

/// Looks for a constant target, for features that alone all but determine the target, and for rows on both sides of a fold.
///
/// A feature is named if its values of one class all but lie apart from those of any other, or if it is all but a linear function of a numeric
/// target. Rows in which it is missing do not count; one that is missing in more than half of the rows is not named.
#[must_use]
pub fn suspicions(data: &Samples<'_>, folds: &[Fold]) -> Vec<Suspicion> {
    if is_constant(data) {
        return vec![Suspicion::ConstantTarget];
    }
    let scores = single_scores(data);
    let mut found: Vec<Suspicion> = data
        .names()
        .iter()
        .zip(scores)
        .filter(|(_, score)| *score >= TOO_GOOD)
        .map(|(feature, score)| Suspicion::Leak { feature: feature.clone(), score })
        .collect();
    let (mut rows, mut tested) = (0, 0);
    for fold in folds {
        let sides = data.with_rows(&fold.train).and_then(|a| Ok((a, data.with_rows(&fold.test)?)));
        let Ok((train, test)) = sides else { continue };
        let known: HashSet<u64> = prints(&train).into_iter().collect();
        rows += prints(&test).iter().filter(|print| known.contains(print)).count();
        tested += fold.test.len();
    }
    if rows > 0 {
        found.push(Suspicion::Duplicates { rows, tested });
    }
    found
}

fn is_constant(data: &Samples<'_>) -> bool {
    match data.target() {
        Target::Classes { .. } => {
            data.classes().is_ok_and(|(labels, _)| labels.iter().all(|label| *label == labels[0]))
        }
        Target::Values(_) => {
            data.values().is_ok_and(|values| values.iter().all(|value| *value == values[0]))
        }
        _ => false,
    }
}

/// How well each feature alone tells the target, from 0 to 1; 0 where it cannot be said.
///
/// Rows in which the feature is missing are left out. Where they are more than half, it determines nothing.
fn single_scores(data: &Samples<'_>) -> Vec<f64> {
    let features = data.features();
    let columns = features.columns().into_iter();
    match data.target() {
        Target::Classes { .. } => {
            let Ok((labels, names)) = data.classes() else { return Vec::new() };
            columns.map(|column| least_area(column, &labels, names.len())).collect()
        }
        _ => {
            let Ok(values) = data.values() else { return Vec::new() };
            columns.map(|column| correlation(column, &values).abs()).collect()
        }
    }
}

/// The least area under the ROC curve over all pairs of classes (those of Hand and Till 2001): near 1 if each class has a range of the
/// feature to itself, whatever the order of the ranges.
///
/// One class well told from the rest is no leak where there are many, so the worst pair counts. The first one that is no leak ends the search.
fn least_area(column: ArrayView1<'_, f64>, labels: &[usize], classes: usize) -> f64 {
    let (mut known, mut rows) = (vec![Vec::new(); classes], vec![0_usize; classes]);
    for (value, &label) in column.iter().zip(labels) {
        rows[label] += 1;
        if !value.is_nan() {
            known[label].push(*value);
        }
    }
    let n_known = known.iter().map(Vec::len).sum::<usize>();
    let is_silent = |(known, rows): (&Vec<f64>, &usize)| known.is_empty() && *rows > 0;
    if n_known * 2 < labels.len() || known.iter().zip(&rows).any(is_silent) {
        return 0.0;
    }
    known.retain(|values| !values.is_empty());
    let mut least = 1.0_f64;
    for (i, first) in known.iter().enumerate() {
        for second in &known[..i] {
            least = least.min(area(first, second));
            if least < TOO_GOOD {
                return least;
            }
        }
    }
    least
}

fn area(first: &[f64], second: &[f64]) -> f64 {
    let positive: Vec<bool> =
        (0..first.len() + second.len()).map(|row| row < first.len()).collect();
    let area = mlp_stats::roc_auc(&positive, &[first, second].concat()).unwrap_or(0.5);
    area.max(1.0 - area)
}

/// Pearson's correlation over the rows in which the feature is finite.
fn correlation(column: ArrayView1<'_, f64>, values: &[f64]) -> f64 {
    let rows = || column.iter().zip(values).filter(|(a, _)| a.is_finite());
    let count = rows().count();
    if count * 2 < values.len() {
        return 0.0;
    }
    let n = count as f64;
    let mean_a = rows().map(|(a, _)| a).sum::<f64>() / n;
    let mean_b = rows().map(|(_, b)| b).sum::<f64>() / n;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in rows() {
        let (a, b) = (a - mean_a, b - mean_b);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    let correlation = ab / (aa * bb).sqrt();
    if correlation.is_nan() { 0.0 } else { correlation }
}
