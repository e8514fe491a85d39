//! What in the data makes every score suspect, looked for before any model is fitted.

use std::collections::HashSet;
use std::fmt;

use mlp_core::{Samples, Target};
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
        /// Its area under the ROC curve (of the class it tells best), or its absolute correlation with a numeric target.
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
fn single_scores(data: &Samples<'_>) -> Vec<f64> {
    let features = data.features();
    let columns = features.columns().into_iter().map(|column| column.to_vec());
    match data.target() {
        Target::Classes { .. } => {
            let Ok((labels, names)) = data.classes() else { return Vec::new() };
            let area = |column: &Vec<f64>, class: usize| {
                let positive: Vec<bool> = labels.iter().map(|label| *label == class).collect();
                let area = mlp_stats::roc_auc(&positive, column).unwrap_or(0.5);
                area.max(1.0 - area)
            };
            // One class well told from the rest is no leak where there are many: all must be.
            let worst = |column: Vec<f64>| {
                let present = (0..names.len()).filter(|class| labels.contains(class));
                present.map(|class| area(&column, class)).fold(1.0, f64::min)
            };
            columns.map(worst).collect()
        }
        _ => {
            let Ok(values) = data.values() else { return Vec::new() };
            columns.map(|column| correlation(&column, &values).abs()).collect()
        }
    }
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    let correlation = ab / (aa * bb).sqrt();
    if correlation.is_nan() { 0.0 } else { correlation }
}
