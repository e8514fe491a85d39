//! What a model is judged by.

use std::fmt::Debug;

use mlp_core::{Direction, Samples};
use mlp_stats::{
    Average, BinaryScores, ClassScores, Confusion, LabelScore, OrUndefined, ZeroDivision,
};
use ndarray::ArrayView2;
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
    /// The mean of the F1 of each class, weighted by its rows.
    F1Weighted,
    /// The unweighted mean of the precision of each class; one that is never predicted counts 0.
    PrecisionMacro,
    /// The unweighted mean of the recall of each class.
    RecallMacro,
    /// The F1 of class 1, the positive one of two; 0 if it neither occurs nor is predicted.
    F1,
    /// The precision of class 1; 0 if it is never predicted.
    Precision,
    /// The recall of class 1; 0 if it does not occur.
    Recall,
    /// Matthews' correlation of truth and prediction.
    Matthews,
    /// The mean precision over the recall: of class 1 if there are two, else the unweighted mean of each class against the rest.
    AveragePrecision,
    /// The mean squared distance of probability and truth: of class 1 if there are two, else summed over the classes. Less is better.
    Brier,
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
            Self::F1Weighted => "f1_weighted",
            Self::PrecisionMacro => "precision_macro",
            Self::RecallMacro => "recall_macro",
            Self::F1 => "f1",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Matthews => "matthews_correlation",
            Self::AveragePrecision => "average_precision",
            Self::Brier => "brier",
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
            Self::LogLoss | Self::Brier | Self::Rmse | Self::Mse | Self::Mae => Direction::Minimize,
            _ => Direction::Maximize,
        }
    }

    fn score(
        &self,
        truth: &Samples<'_>,
        predictions: ArrayView2<'_, f64>,
    ) -> Result<f64, ScoreError> {
        match self {
            Self::R2 | Self::Rmse | Self::Mse | Self::Mae => {
                let first = predictions.columns().into_iter().next();
                let first = first.ok_or(ScoreError::Columns { given: 0, expected: 1 })?;
                let (truth, predicted) = (truth.values()?, first.to_vec());
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
        if predictions.ncols() != classes {
            return Err(ScoreError::Columns { given: predictions.ncols(), expected: classes });
        }
        let predicted = || most_probable(&predictions);
        let confusion =
            || -> Result<_, ScoreError> { Ok(Confusion::of(truth, &predicted()?, classes)?) };
        let probabilities = || predictions.iter().copied().collect::<Vec<_>>();
        let by_class = |score: LabelScore, average: Average, zero: ZeroDivision| {
            Ok::<_, ScoreError>(confusion()?.average(score, average, zero)?)
        };
        let of_positive = |score: LabelScore| {
            Ok::<_, ScoreError>(confusion()?.score(score, 1).or_if_undefined(0.0)?)
        };
        let zero = ZeroDivision::Value(0.0);
        Ok(match self {
            Self::Accuracy => mlp_stats::accuracy(truth, &predicted()?)?,
            Self::BalancedAccuracy => confusion()?.balanced_accuracy()?,
            Self::F1Macro => by_class(LabelScore::F1, Average::Macro, ZeroDivision::Skip)?,
            Self::RocAuc | Self::AveragePrecision | Self::Brier if classes == 2 => {
                let positive: Vec<bool> = truth.iter().map(|&label| label == 1).collect();
                let scores = predictions.column(1).to_vec();
                let scores = BinaryScores::new(&positive, &scores)?;
                match self {
                    Self::RocAuc => scores.roc_auc()?,
                    Self::Brier => scores.brier()?,
                    _ => scores.average_precision()?,
                }
            }
            Self::AveragePrecision => ClassScores::new(truth, &probabilities(), classes)?
                .average_precision(Average::Macro)?,
            Self::Brier => ClassScores::new(truth, &probabilities(), classes)?.brier()?,
            Self::Matthews => confusion()?.matthews_correlation()?,
            Self::F1Weighted => by_class(LabelScore::F1, Average::Weighted, zero)?,
            Self::PrecisionMacro => by_class(LabelScore::Precision, Average::Macro, zero)?,
            Self::RecallMacro => by_class(LabelScore::Recall, Average::Macro, zero)?,
            Self::F1 => of_positive(LabelScore::F1)?,
            Self::Precision => of_positive(LabelScore::Precision)?,
            Self::Recall => of_positive(LabelScore::Recall)?,
            Self::RocAuc => mlp_stats::roc_auc_one_vs_rest(truth, &probabilities(), classes)?,
            _ => mlp_stats::log_loss(truth, &probabilities(), classes)?,
        })
    }
}

/// The most probable class of each row, the first of equally probable ones: as [`predict_classes`](mlp_core::ModelExt::predict_classes)
/// decides.
fn most_probable(predictions: &ArrayView2<'_, f64>) -> Result<Vec<usize>, ScoreError> {
    let rows = predictions.rows().into_iter().enumerate();
    rows.map(|(row, values)| {
        let best = Direction::Maximize.best(values.iter().copied().map(Some));
        best.map(|(class, _)| class).ok_or(ScoreError::NoClass { row })
    })
    .collect()
}
