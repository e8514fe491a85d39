//! A model that learns from the predictions of other models.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Samples, SaveError, Saved,
    Scratch, Signature,
};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::folds::Folds;
use super::held_out::{held_out, seed_of};
use super::members::{FittedMembers, Members};
use crate::parts::{Body, Composite, Inside, Parts, malformed};
use crate::support::MadeNames;

/// Stacked generalisation (Wolpert 1992): a final estimator learns from what the members predict for rows that they have not seen.
///
/// As scikit-learn's `StackingClassifier` and `StackingRegressor`: each member is fitted on the one side of each fold and predicts the other, the
/// final estimator learns from these predictions (of two classes, the probability of the second), and then each member is fitted on all
/// rows. A row that no fold asks about (the first ones of a time series) does not reach the final estimator.
///
/// ```
/// use mlp_models::{DecisionTree, Folds, LinearRegression, RandomForest, Stacking};
///
/// let stacking = Stacking::new(LinearRegression::default(), Folds::stratified(5))
///     .member("tree", DecisionTree::default().with_max_depth(4))
///     .member("forest", RandomForest::default());
/// ```
#[derive(Debug, Clone)]
pub struct Stacking {
    members: Members,
    last: Arc<dyn Estimator>,
    folds: Folds,
    passes_features: bool,
}

impl Stacking {
    /// The final estimator, and the folds for the predictions that it learns from.
    pub fn new(last: impl Estimator + 'static, folds: Folds) -> Self {
        Self { members: Members::default(), last: Arc::new(last), folds, passes_features: false }
    }

    /// Adds a member.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, estimator: impl Estimator + 'static) -> Self {
        self.members.push(name, estimator);
        self
    }

    /// Gives the final estimator the features too, behind the predictions.
    #[must_use]
    pub fn passing_features(mut self) -> Self {
        self.passes_features = true;
        self
    }
}

impl Estimator for Stacking {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.members.check()?;
        let folds = self.folds.of(&data, seed)?;
        let members = self.members.fit(&data, seed)?;
        let signature = members.signature().map_err(FitError::failed)?;
        let columns = FittedMembers::columns(signature.task());
        let asked: Vec<usize> = folds.iter().flat_map(|(_, test)| test.iter().copied()).collect();
        let asked = data.with_rows(&asked)?;
        let names = names(&members, self.passes_features).map_err(FitError::failed)?;
        let mut features = Array2::zeros((asked.n_rows(), names.len()));
        for (k, (_, estimator)) in self.members.0.iter().enumerate() {
            let found = held_out(&**estimator, &data, &folds, seed_of(seed, k as u64))?;
            let to = k * columns.len()..(k + 1) * columns.len();
            features
                .slice_mut(s![.., to])
                .assign(&found.predictions.slice(s![.., columns.clone()]));
        }
        if self.passes_features {
            let from = members.0.len() * columns.len();
            features.slice_mut(s![.., from..]).assign(&asked.features());
        }
        let samples = asked.to_owned_samples().with_features(features, names)?;
        let last = self.last.fit(samples.as_samples(), seed)?;
        FittedStacking::new(members, last, self.passes_features)
            .map(|fitted| Arc::new(fitted) as _)
            .map_err(FitError::failed)
    }
}

/// What the columns are called that the final model sees.
fn names(members: &FittedMembers, passes_features: bool) -> Result<Vec<String>, String> {
    let mut names = MadeNames::default();
    for (name, model) in &members.0 {
        let signature = model.signature();
        let outputs = &signature.outputs()[FittedMembers::columns(signature.task())];
        for output in outputs {
            names.push(format!("{name}: {output}"))?;
        }
    }
    let mut names = names.into_names();
    if let (true, Some((_, model))) = (passes_features, members.0.first()) {
        names.extend_from_slice(model.signature().features());
    }
    Ok(names)
}

/// Fitted members and the final model of their predictions.
#[derive(Debug, Clone)]
pub struct FittedStacking {
    signature: Signature,
    members: FittedMembers,
    last: Arc<dyn FittedModel>,
    passes_features: bool,
}

impl FittedStacking {
    fn new(
        members: FittedMembers,
        last: Arc<dyn FittedModel>,
        passes_features: bool,
    ) -> Result<Self, String> {
        let signature = members.signature()?;
        if last.signature().features() != names(&members, passes_features)? {
            return Err("the final model takes other features than the members predict".to_owned());
        }
        let signature =
            Signature::new(signature.features().to_vec(), last.signature().task().clone());
        Ok(Self { signature, members, last, passes_features })
    }

    /// The models with their names.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Arc<dyn FittedModel>)> {
        self.members.0.iter().map(|(name, model)| (name.as_str(), model))
    }

    /// The model of their predictions.
    #[must_use]
    pub fn last(&self) -> &Arc<dyn FittedModel> {
        &self.last
    }
}

impl Model for FittedStacking {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        let shape = (rows.nrows(), self.last.signature().n_features());
        let mut buffer = scratch.take(shape.0 * shape.1);
        let mut features =
            ArrayViewMut2::from_shape(shape, &mut buffer).map_err(ModelError::failed)?;
        self.members.write_columns(rows, features.view_mut(), scratch)?;
        if self.passes_features {
            let from = shape.1 - rows.ncols();
            features.slice_mut(s![.., from..]).assign(&rows);
        }
        self.last.predict_into(features.view(), out, scratch)?;
        scratch.give(buffer);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedStacking {
    /// None: what the final model weighs are predictions, not features.
    fn importances(&self) -> Option<Vec<f64>> {
        None
    }

    fn complexity(&self) -> Complexity {
        let members = self.members.0.iter().map(|(_, model)| model.complexity());
        super::sum(members.chain([self.last.complexity()]))
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let mut body = Body::default();
        body.json(&self.passes_features)?;
        body.model(&*self.last)?;
        self.members.write(&mut body)?;
        body.save::<Self>()
    }
}

impl Composite for FittedStacking {
    const KIND: &'static str = "mlp-models/stacking";

    fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError> {
        let (passes_features, last) = (parts.json()?, inside.model(parts)?);
        Self::new(FittedMembers::read(parts, inside)?, last, passes_features).map_err(malformed)
    }
}
