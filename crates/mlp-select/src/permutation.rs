//! Permutation importance: how much worse a fitted model scores when one feature is shuffled.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Samples, SaveError, Saved,
    Scratch, Signature, random,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::error::{FoldError, SelectError, setting};
use crate::guard;
use crate::rule::oriented;
use crate::scorer::Scorer;
use crate::split::{KFold, Split};
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
        let predictions = guard::predict(model, features.view())?;
        let score = guard::score(scorer, data, predictions.view())?;
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
        importances.push(PermutationImportance {
            name: data.names()[column].clone(),
            mean: falls.iter().sum::<f64>() / repeats as f64,
            std: Summary::of(&falls).map_or(f64::NAN, |summary| summary.std),
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
    /// The standard deviation of the fall over the repeats; NaN of one.
    #[serde(with = "mlp_core::exact")]
    pub std: f64,
}

/// Any estimator, its features ranked by permutation: for eliminations with models that tell no importances, or whose importances favour features
/// of many values.
///
/// The importances are those of a model fitted on three quarters of the rows, by the score on the last quarter; the model itself learns from all.
///
/// ```
/// use std::sync::Arc;
/// use mlp_models::DecisionTree;
/// use mlp_select::{PermutationRanked, Rfe, Score};
///
/// let ranked = PermutationRanked::new(Arc::new(DecisionTree::default()), Score::Accuracy, 5);
/// let rfe = Rfe::new(Arc::new(ranked), 3);
/// ```
#[derive(Debug, Clone)]
pub struct PermutationRanked {
    estimator: Arc<dyn Estimator>,
    scorer: Arc<dyn Scorer>,
    repeats: usize,
}

impl PermutationRanked {
    /// Shuffles each feature so many times.
    pub fn new(
        estimator: Arc<dyn Estimator>,
        scorer: impl Scorer + 'static,
        repeats: usize,
    ) -> Self {
        Self { estimator, scorer: Arc::new(scorer), repeats }
    }
}

impl Estimator for PermutationRanked {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let folds = KFold::new(4).shuffled(seed).split(&data).map_err(FitError::failed)?;
        let fold = folds.first().ok_or_else(|| FitError::failed("no rows to hold out"))?;
        let part = self.estimator.fit(data.with_rows(&fold.train)?, seed)?;
        let held_out = data.with_rows(&fold.test)?;
        let found = permutation_importance(&*part, &held_out, &*self.scorer, self.repeats, seed);
        let found = found.map_err(FitError::failed)?;
        // Below 0 a feature says nothing, however far.
        let importances = found.iter().map(|importance| importance.mean.max(0.0)).collect();
        Ok(Arc::new(Ranked { model: self.estimator.fit(data, seed)?, importances }))
    }
}

/// A model with importances of its own.
#[derive(Debug)]
struct Ranked {
    model: Arc<dyn FittedModel>,
    importances: Vec<f64>,
}

impl Model for Ranked {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.model.predict_into(rows, out, scratch)
    }

    fn signature(&self) -> &Signature {
        self.model.signature()
    }
}

impl FittedModel for Ranked {
    fn importances(&self) -> Option<Vec<f64>> {
        Some(self.importances.clone())
    }

    fn complexity(&self) -> Complexity {
        self.model.complexity()
    }

    /// The model alone: the importances served the elimination.
    fn save(&self) -> Result<Saved, SaveError> {
        self.model.save()
    }
}
