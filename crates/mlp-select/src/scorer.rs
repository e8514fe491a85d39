//! What a model is judged by.

use std::fmt::Debug;

use mlp_core::{Direction, Samples};
use mlp_stats::{Average, Confusion, LabelScore, ZeroDivision};
use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::ScoreError;

/// Compares predictions with the truth.
pub trait Scorer: Debug + Send + Sync {
    /// The name of the metric.
    fn name(&self) -> &str;

    /// Whether more or less of it is better.
    fn direction(&self) -> Direction;

    /// The score of `predictions` (`n_rows × n_outputs`) for the target of `truth`.
    ///
    /// # Errors
    /// If the score is undefined for these rows.
    fn score(
        &self,
        truth: &Samples<'_>,
        predictions: ArrayView2<'_, f64>,
    ) -> Result<f64, ScoreError>;
}

/// The usual scores, as `mlp-stats` defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Score {
    /// The share of rows whose most probable class is the true one.
    Accuracy,
    /// The mean over the classes of the share of their rows that are recognised.
    BalancedAccuracy,
    /// The unweighted mean of the F1 of each class; a class neither present nor predicted counts 0.
    F1Macro,
    /// The area under the ROC curve: of class 1 if there are two, else the unweighted mean of each class against the rest.
    RocAuc,
    /// Minus the mean log-probability of the true class. Less is better.
    LogLoss,
    /// The share of the target's variance that is explained.
    R2,
    /// The root of the mean squared error. Less is better.
    Rmse,
    /// The mean of the squared errors. Less is better.
    Mse,
    /// The mean absolute error. Less is better.
    Mae,
}

impl Scorer for Score {
    fn name(&self) -> &str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::F1Macro => "f1_macro",
            Self::RocAuc => "roc_auc",
            Self::LogLoss => "log_loss",
            Self::R2 => "r2",
            Self::Rmse => "rmse",
            Self::Mse => "mse",
            Self::Mae => "mae",
        }
    }

    fn direction(&self) -> Direction {
        match self {
            Self::Accuracy | Self::BalancedAccuracy | Self::F1Macro | Self::RocAuc | Self::R2 => {
                Direction::Maximize
            }
            Self::LogLoss | Self::Rmse | Self::Mse | Self::Mae => Direction::Minimize,
        }
    }

    fn score(
        &self,
        truth: &Samples<'_>,
        predictions: ArrayView2<'_, f64>,
    ) -> Result<f64, ScoreError> {
        match self {
            Self::R2 | Self::Rmse | Self::Mse | Self::Mae => {
                let (truth, predicted) = (truth.values()?, predictions.column(0).to_vec());
                Ok(match self {
                    Self::R2 => mlp_stats::r2(&truth, &predicted)?,
                    Self::Rmse => mlp_stats::rmse(&truth, &predicted)?,
                    Self::Mse => mlp_stats::mean_squared_error(&truth, &predicted)?,
                    _ => mlp_stats::mean_absolute_error(&truth, &predicted)?,
                })
            }
            _ => {
                let (labels, names) = truth.classes()?;
                self.of_classes(&labels, predictions, names.len())
            }
        }
    }
}

impl Score {
    fn of_classes(
        &self,
        truth: &[usize],
        predictions: ArrayView2<'_, f64>,
        classes: usize,
    ) -> Result<f64, ScoreError> {
        let predicted = || predictions.rows().into_iter().map(most_probable).collect::<Vec<_>>();
        let probabilities = || predictions.iter().copied().collect::<Vec<_>>();
        Ok(match self {
            Self::Accuracy => mlp_stats::accuracy(truth, &predicted())?,
            Self::BalancedAccuracy => {
                Confusion::of(truth, &predicted(), classes)?.balanced_accuracy()?
            }
            Self::F1Macro => Confusion::of(truth, &predicted(), classes)?.average(
                LabelScore::F1,
                Average::Macro,
                ZeroDivision::Skip,
            )?,
            Self::RocAuc if classes == 2 => {
                let positive: Vec<bool> = truth.iter().map(|&label| label == 1).collect();
                mlp_stats::roc_auc(&positive, &predictions.column(1).to_vec())?
            }
            Self::RocAuc => mlp_stats::roc_auc_one_vs_rest(truth, &probabilities(), classes)?,
            _ => mlp_stats::log_loss(truth, &probabilities(), classes)?,
        })
    }
}

/// The most probable class of a row, the first of equally probable ones.
fn most_probable(row: ArrayView1<'_, f64>) -> usize {
    row.iter()
        .enumerate()
        .fold(0, |best, (class, probability)| if *probability > row[best] { class } else { best })
}
