//! Scores of predictions against truth.

mod binary;
mod curves;
mod labels;
mod matthews;
mod multiclass;
mod regression;
mod reliability;
mod weights;

pub use binary::{BinaryScores, roc_auc};
pub use curves::{PrecisionRecallCurve, RocCurve};
pub use labels::{Average, Confusion, LabelScore, ZeroDivision, accuracy};
pub use multiclass::{ClassScores, Pairing, log_loss, roc_auc_one_vs_rest};
pub use regression::{RegressionScores, mean_absolute_error, mean_squared_error, r2, rmse};
pub use reliability::{Reliability, ReliabilityBin};
