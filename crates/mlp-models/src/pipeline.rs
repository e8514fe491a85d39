//! Transformers and a final estimator as one estimator.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, FittedTransformer, FittedTransformerExt, Model,
    ModelError, Samples, SaveError, Saved, Scratch, Signature, Transformer,
};
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::parts::{Body, Composite, Inside, Parts, malformed};
use crate::scaler::{FittedScaler, SelectedColumns};

/// Transformers, one after another, and an estimator of what they give.
///
/// It is an estimator itself: cross-validated, everything in it is learnt inside the fold. Any [`Transformer`] can be a step, a feature
/// elimination among them.
#[derive(Debug, Clone)]
pub struct Pipeline {
    steps: Vec<(String, Arc<dyn Transformer>)>,
    estimator: Arc<dyn Estimator>,
}

impl Pipeline {
    /// Named transformers in the order in which they are applied, and the estimator at the end.
    pub fn new<N: Into<String>>(
        steps: impl IntoIterator<Item = (N, Arc<dyn Transformer>)>,
        estimator: Arc<dyn Estimator>,
    ) -> Self {
        Self {
            steps: steps.into_iter().map(|(name, step)| (name.into(), step)).collect(),
            estimator,
        }
    }

    /// An estimator, with no transformer yet.
    pub fn of(estimator: impl Estimator + 'static) -> Self {
        Self { steps: Vec::new(), estimator: Arc::new(estimator) }
    }

    /// Puts a transformer before the estimator, after the transformers that are there.
    #[must_use]
    pub fn after(mut self, name: impl Into<String>, step: impl Transformer + 'static) -> Self {
        self.steps.push((name.into(), Arc::new(step)));
        self
    }
}

impl Estimator for Pipeline {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let inputs = data.names().to_vec();
        let mut current = data.to_owned_samples();
        let mut steps = Vec::with_capacity(self.steps.len());
        for (name, step) in &self.steps {
            let fitted = step.fit(current.as_samples(), seed)?;
            let features = fitted.transform(current.as_samples().features().view())?;
            current = current.with_features(features, fitted.output_names().to_vec())?;
            steps.push((name.clone(), fitted));
        }
        let model = self.estimator.fit(current.as_samples(), seed)?;
        Ok(Arc::new(FittedPipeline::new(inputs, steps, model)))
    }
}

/// A fitted pipeline.
#[derive(Debug, Clone)]
pub struct FittedPipeline {
    signature: Signature,
    steps: Vec<(String, Arc<dyn FittedTransformer>)>,
    model: Arc<dyn FittedModel>,
}

impl FittedPipeline {
    fn new(
        inputs: Vec<String>,
        steps: Vec<(String, Arc<dyn FittedTransformer>)>,
        model: Arc<dyn FittedModel>,
    ) -> Self {
        let signature = Signature::new(inputs, model.signature().task().clone());
        Self { signature, steps, model }
    }

    /// The fitted transformers with their names, in the order in which they are applied.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &Arc<dyn FittedTransformer>)> {
        self.steps.iter().map(|(name, step)| (name.as_str(), step))
    }

    /// The model at the end.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn FittedModel> {
        &self.model
    }
}

impl Composite for FittedPipeline {
    const KIND: &'static str = "mlp-models/pipeline";

    fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError> {
        let inputs: Vec<String> = parts.json()?;
        let model = inside.model(parts)?;
        let mut steps = Vec::new();
        while !parts.is_empty() {
            steps.push((parts.text()?, inside.transformer(parts)?));
        }
        let mut names: &[String] = &inputs;
        for (name, step) in &steps {
            if step.input_names() != names {
                let reason = format!("step {name:?} takes other features than there are");
                return Err(malformed(reason));
            }
            names = step.output_names();
        }
        if model.signature().features() != names {
            return Err(malformed("the model takes other features than the steps give"));
        }
        Ok(Self::new(inputs, steps, model))
    }
}

impl Model for FittedPipeline {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        predict(&self.steps, &*self.model, rows, out, scratch)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// Applies the first step into borrowed memory, and goes on with the rest.
fn predict(
    steps: &[(String, Arc<dyn FittedTransformer>)],
    model: &dyn FittedModel,
    rows: ArrayView2<'_, f64>,
    out: ArrayViewMut2<'_, f64>,
    scratch: &mut Scratch,
) -> Result<(), ModelError> {
    let Some(((_, step), rest)) = steps.split_first() else {
        return model.predict_into(rows, out, scratch);
    };
    let shape = (rows.nrows(), step.output_names().len());
    let mut buffer = scratch.take(shape.0 * shape.1);
    let mut transformed =
        ArrayViewMut2::from_shape(shape, &mut buffer).map_err(ModelError::failed)?;
    step.transform_into(rows, transformed.view_mut(), scratch)?;
    predict(rest, model, transformed.view(), out, scratch)?;
    scratch.give(buffer);
    Ok(())
}

impl FittedModel for FittedPipeline {
    /// The importances of the last model's features under their names in the input, 0 for inputs it does not see; none if a step makes
    /// features that are no inputs.
    fn importances(&self) -> Option<Vec<f64>> {
        let seen = self.model.signature().features();
        let inputs = self.signature.features();
        let importances = self.model.importances()?;
        let mut all = vec![0.0; inputs.len()];
        for (name, importance) in seen.iter().zip(importances) {
            all[inputs.iter().position(|input| input == name)?] = importance;
        }
        Some(all)
    }

    /// The weights of the last model under the names of the inputs, 0 for inputs it does not see, where every step scales or selects features. They are
    /// weights of the scaled features, as the importances are. None behind other steps.
    fn linear_weights(&self) -> Option<Vec<Vec<f64>>> {
        let keeps = |(_, step): &(String, Arc<dyn FittedTransformer>)| {
            step.downcast_ref::<FittedScaler>().is_some()
                || step.downcast_ref::<SelectedColumns>().is_some()
        };
        if !self.steps.iter().all(keeps) {
            return None;
        }
        let seen = self.model.signature().features();
        let inputs = self.signature.features();
        let place = |name: &String| inputs.iter().position(|input| input == name);
        let places: Vec<usize> = seen.iter().map(place).collect::<Option<_>>()?;
        let spread = |weights: Vec<f64>| {
            let mut all = vec![0.0; inputs.len()];
            places.iter().zip(weights).for_each(|(&place, weight)| all[place] = weight);
            all
        };
        Some(self.model.linear_weights()?.into_iter().map(spread).collect())
    }

    fn complexity(&self) -> Complexity {
        self.model.complexity()
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let mut body = Body::default();
        body.json(&self.signature.features())?;
        body.model(&*self.model)?;
        for (name, step) in &self.steps {
            body.push(name.as_bytes());
            body.transformer(&**step)?;
        }
        body.save::<Self>()
    }
}
