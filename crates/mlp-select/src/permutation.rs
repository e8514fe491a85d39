//! Permutation importance: how much worse a fitted model scores when one feature is shuffled.

use mlp_core::{FittedModel, ModelExt, Samples, random};
use serde::{Deserialize, Serialize};

use crate::error::{FoldError, SelectError, setting};
use crate::rule::oriented;
use crate::scorer::Scorer;
use crate::validate::Summary;

/// How much each feature matters to a fitted model's score on some rows (Breiman 2001, *Random forests*, section 10).
///
/// Each feature is shuffled `repeats` times; its importance is how much the score falls, so it may be below zero for a feature that says
/// nothing. The rows should be held out: on the rows learnt from, an overfitted feature looks important. The shuffle of repeat `r` of feature `j`
/// depends on (seed, j, r) alone.
///
/// # Errors
/// If `repeats` is 0, the model cannot predict, or the score is undefined.
pub fn permutation_importance(
    model: &dyn FittedModel,
    data: &Samples<'_>,
    scorer: &dyn Scorer,
    repeats: usize,
    seed: u64,
) -> Result<Vec<PermutationImportance>, SelectError> {
    if repeats == 0 {
        return Err(setting("the number of repeats", 0, "at least 1"));
    }
    let mut features = data.features().into_owned();
    let score = |features: &ndarray::Array2<f64>| -> Result<f64, FoldError> {
        let predictions = model.predict(features.view())?;
        let score = scorer.score(data, predictions.view());
        let score = score
            .map_err(|source| FoldError::Score { metric: scorer.name().to_owned(), source })?;
        Ok(oriented(scorer.direction(), score))
    };
    let baseline = score(&features).map_err(SelectError::Scoring)?;
    let mut importances = Vec::with_capacity(features.ncols());
    for column in 0..features.ncols() {
        let original = features.column(column).to_vec();
        let mut falls = Vec::with_capacity(repeats);
        for repeat in 0..repeats {
            let mut shuffled = original.clone();
            random::shuffle(
                &mut random::stream(seed, (column * repeats + repeat) as u64),
                &mut shuffled,
            );
            features.column_mut(column).assign(&ndarray::ArrayView1::from(&shuffled));
            falls.push(baseline - score(&features).map_err(SelectError::Scoring)?);
        }
        features.column_mut(column).assign(&ndarray::ArrayView1::from(&original));
        let summary = Summary::of(&falls).unwrap_or(Summary {
            mean: f64::NAN,
            std: f64::NAN,
            standard_error: f64::NAN,
        });
        importances.push(PermutationImportance {
            name: data.names()[column].clone(),
            mean: summary.mean,
            std: summary.std,
        });
    }
    Ok(importances)
}

/// How much the score falls when a feature is shuffled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermutationImportance {
    /// The feature.
    pub name: String,
    /// The mean fall over the repeats; NaN if the score was.
    #[serde(with = "mlp_core::exact")]
    pub mean: f64,
    /// The standard deviation of the fall over the repeats.
    #[serde(with = "mlp_core::exact")]
    pub std: f64,
}
