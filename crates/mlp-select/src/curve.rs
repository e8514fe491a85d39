//! Curves: how a score grows with more rows, or changes with one parameter.

use std::sync::Arc;

use mlp_core::{Estimator, Samples, random};

use crate::error::{SelectError, setting};
use crate::scorer::Scorer;
use crate::split::{Fold, Split};
use crate::validate::{CrossValidation, Validated};

/// One point of a curve.
#[derive(Debug, Clone)]
pub struct CurvePoint<P> {
    /// Where on the axis: the number of rows learnt from, or the value of the parameter.
    pub at: P,
    /// The scores there, on the rows learnt from too.
    pub validated: Validated,
}

/// How the score grows with the rows learnt from: each fold is fitted on a random part of its training rows of each share.
///
/// Smaller parts are contained in larger ones, and the tested rows stay the same, so the points can be compared. Shares are above 0 and at
/// most 1.
///
/// # Errors
/// If a share is out of range, the rows cannot be split, or a fold fails.
pub fn learning_curve(
    estimator: &dyn Estimator,
    data: &Samples<'_>,
    split: &dyn Split,
    scorer: &dyn Scorer,
    shares: &[f64],
    validation: &CrossValidation,
) -> Result<Vec<CurvePoint<usize>>, SelectError> {
    if let Some(share) = shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
        return Err(setting("a share of the training rows", share, "above 0 and at most 1"));
    }
    let mut folds = split.split(data)?;
    for (k, fold) in folds.iter_mut().enumerate() {
        random::shuffle(&mut random::stream(validation.seed, k as u64), &mut fold.train);
    }
    let smallest = folds.iter().map(|fold| fold.train.len()).min().unwrap_or(0);
    let validation = validation.clone().with_train_scores();
    let point = |&share: &f64| {
        let at = ((share * smallest as f64) as usize).max(1);
        let part = |fold: &Fold| {
            let mut train = fold.train[..at].to_vec();
            train.sort_unstable();
            Fold { train, test: fold.test.clone() }
        };
        let folds: Vec<Fold> = folds.iter().map(part).collect();
        Ok(CurvePoint { at, validated: validation.run_folds(estimator, data, &folds, &[scorer])? })
    };
    shares.iter().map(point).collect()
}

/// How the score changes with one parameter: the same folds for each value.
///
/// # Errors
/// If the rows cannot be split, or a fold fails.
pub fn validation_curve<P: Clone>(
    candidates: &[(P, Arc<dyn Estimator>)],
    data: &Samples<'_>,
    split: &dyn Split,
    scorer: &dyn Scorer,
    validation: &CrossValidation,
) -> Result<Vec<CurvePoint<P>>, SelectError> {
    let folds = split.split(data)?;
    let validation = validation.clone().with_train_scores();
    let point = |(at, estimator): &(P, Arc<dyn Estimator>)| {
        let validated = validation.run_folds(&**estimator, data, &folds, &[scorer])?;
        Ok(CurvePoint { at: at.clone(), validated })
    };
    candidates.iter().map(point).collect()
}
