//! A transformer for some of the features.

use std::sync::Arc;

use mlp_core::{
    FitError, FittedTransformer, FittedTransformerExt, ModelError, Samples, SaveError, Saved,
    Scratch, Transformer, choose_columns,
};
use ndarray::{ArrayView2, ArrayViewMut2, s};

use crate::parts::{Body, Composite, Inside, Parts, malformed};

/// Gives some features to a transformer, and passes the others on as they are: what the transformer makes of its features comes first.
///
/// ```
/// use mlp_models::{ColumnTransform, LogisticRegression, OneHotEncoder, Pipeline, StandardScaler, Unknown};
///
/// let pipeline = Pipeline::of(LogisticRegression::default())
///     .after("encode", ColumnTransform::new(["colour"], OneHotEncoder::default().with_unknown(Unknown::Ignore)))
///     .after("scale", ColumnTransform::new(["size", "weight"], StandardScaler));
/// ```
#[derive(Debug, Clone)]
pub struct ColumnTransform {
    names: Vec<String>,
    transformer: Arc<dyn Transformer>,
}

impl ColumnTransform {
    /// Gives these features to the transformer, in this order.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        transformer: impl Transformer + 'static,
    ) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { names, transformer: Arc::new(transformer) }
    }
}

impl Transformer for ColumnTransform {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let chosen = places(data.names(), &self.names).map_err(FitError::failed)?;
        let features = choose_columns(data.features().view(), &chosen);
        let samples = data.to_owned_samples().with_features(features, self.names.clone())?;
        let inside = self.transformer.fit(samples.as_samples(), seed)?;
        FittedColumns::new(data.names().to_vec(), inside)
            .map(|fitted| Arc::new(fitted) as _)
            .map_err(FitError::failed)
    }
}

/// Where these names stand among the others.
fn places(all: &[String], names: &[String]) -> Result<Vec<usize>, String> {
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let place = all.iter().position(|other| other == name);
        let place =
            place.ok_or_else(|| format!("feature {name:?} is not among {}", all.join(", ")))?;
        if places.contains(&place) {
            return Err(format!("feature {name:?} is given twice"));
        }
        places.push(place);
    }
    Ok(places)
}

/// A fitted transformer for some of the features.
#[derive(Debug, Clone)]
pub(crate) struct FittedColumns {
    inputs: Vec<String>,
    outputs: Vec<String>,
    chosen: Vec<usize>,
    passed: Vec<usize>,
    inside: Arc<dyn FittedTransformer>,
}

impl FittedColumns {
    fn new(inputs: Vec<String>, inside: Arc<dyn FittedTransformer>) -> Result<Self, String> {
        let chosen = places(&inputs, inside.input_names())?;
        let passed: Vec<usize> =
            (0..inputs.len()).filter(|column| !chosen.contains(column)).collect();
        let mut outputs = inside.output_names().to_vec();
        outputs.extend(passed.iter().map(|&column| inputs[column].clone()));
        Ok(Self { inputs, outputs, chosen, passed, inside })
    }
}

impl FittedTransformer for FittedColumns {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        let mut buffer = scratch.take(rows.nrows() * self.chosen.len());
        let mut chosen = ArrayViewMut2::from_shape((rows.nrows(), self.chosen.len()), &mut buffer)
            .map_err(ModelError::failed)?;
        for (place, &column) in self.chosen.iter().enumerate() {
            chosen.column_mut(place).assign(&rows.column(column));
        }
        let made = self.inside.output_names().len();
        self.inside.transform_into(chosen.view(), out.slice_mut(s![.., ..made]), scratch)?;
        for (place, &column) in self.passed.iter().enumerate() {
            out.column_mut(made + place).assign(&rows.column(column));
        }
        scratch.give(buffer);
        Ok(())
    }

    fn input_names(&self) -> &[String] {
        &self.inputs
    }

    fn output_names(&self) -> &[String] {
        &self.outputs
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let mut body = Body::default();
        body.json(&self.inputs)?;
        body.transformer(&*self.inside)?;
        body.save::<Self>()
    }
}

impl Composite for FittedColumns {
    const KIND: &'static str = "mlp-models/column-transform";

    fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError> {
        let inputs = parts.json()?;
        Self::new(inputs, inside.transformer(parts)?).map_err(malformed)
    }
}
