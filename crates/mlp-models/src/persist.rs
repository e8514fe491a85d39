//! Fitted parts as bytes, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mlp_core::{FittedModel, FittedTransformer, SaveError, Saved};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dummy::FittedDummy;
use crate::linear::FittedLinear;
use crate::logistic::FittedLogistic;
use crate::pipeline::FittedPipeline;
use crate::scaler::{FittedScaler, SelectedColumns};
use crate::tree::{FittedBoosting, FittedTrees};

/// A fitted part that is plain data: its kind, the version of its format, and what must hold of it.
pub(crate) trait Plain: Serialize + DeserializeOwned {
    const KIND: &'static str;
    const FORMAT: u32 = 1;

    /// What is wrong with data that were read: lengths that do not fit, indices out of range.
    fn fault(&self) -> Option<String>;
}

pub(crate) fn save<P: Plain>(part: &P) -> Result<Saved, SaveError> {
    let body = serde_json::to_vec(part)
        .map_err(|error| SaveError::Malformed { reason: error.to_string() })?;
    Saved::new(P::KIND, P::FORMAT, body)
}

fn load<P: Plain>(saved: &Saved) -> Result<P, SaveError> {
    if saved.format() > P::FORMAT {
        return Err(SaveError::NewerFormat {
            kind: P::KIND.to_owned(),
            found: saved.format(),
            supported: P::FORMAT,
        });
    }
    let part: P = serde_json::from_slice(saved.body())
        .map_err(|error| SaveError::Malformed { reason: error.to_string() })?;
    match part.fault() {
        Some(reason) => Err(SaveError::Malformed { reason }),
        None => Ok(part),
    }
}

type ModelReader = Arc<dyn Fn(&Saved) -> Result<Arc<dyn FittedModel>, SaveError> + Send + Sync>;
type TransformerReader =
    Arc<dyn Fn(&Saved) -> Result<Arc<dyn FittedTransformer>, SaveError> + Send + Sync>;

/// Reads saved models and transformers by their kind.
///
/// Knows everything this crate saves; readers of other crates' parts can be added, so that a pipeline with a foreign step loads too.
/// What it reads is data: nothing in a saved model runs.
#[derive(Clone)]
pub struct Loader {
    models: BTreeMap<String, ModelReader>,
    transformers: BTreeMap<String, TransformerReader>,
}

impl Default for Loader {
    fn default() -> Self {
        let empty = Self { models: BTreeMap::new(), transformers: BTreeMap::new() };
        empty
            .with_plain_model::<FittedDummy>()
            .with_plain_model::<FittedLogistic>()
            .with_plain_model::<FittedLinear>()
            .with_plain_model::<FittedTrees>()
            .with_plain_model::<FittedBoosting>()
            .with_transformer(FittedScaler::KIND, |saved| {
                Ok(Arc::new(load::<FittedScaler>(saved)?))
            })
            .with_transformer(SelectedColumns::KIND, |saved| {
                Ok(Arc::new(load::<SelectedColumns>(saved)?))
            })
    }
}

impl Loader {
    fn with_plain_model<P: Plain + FittedModel + 'static>(self) -> Self {
        self.with_model(P::KIND, |saved| Ok(Arc::new(load::<P>(saved)?)))
    }

    /// Adds a reader of models.
    #[must_use]
    pub fn with_model(
        mut self,
        kind: impl Into<String>,
        reader: impl Fn(&Saved) -> Result<Arc<dyn FittedModel>, SaveError> + Send + Sync + 'static,
    ) -> Self {
        self.models.insert(kind.into(), Arc::new(reader));
        self
    }

    /// Adds a reader of transformers.
    #[must_use]
    pub fn with_transformer(
        mut self,
        kind: impl Into<String>,
        reader: impl Fn(&Saved) -> Result<Arc<dyn FittedTransformer>, SaveError> + Send + Sync + 'static,
    ) -> Self {
        self.transformers.insert(kind.into(), Arc::new(reader));
        self
    }

    /// Reads a model.
    ///
    /// # Errors
    /// If no reader knows the kind, the format is newer than this library, or the bytes are malformed.
    pub fn model(&self, saved: &Saved) -> Result<Arc<dyn FittedModel>, SaveError> {
        if saved.kind() == FittedPipeline::KIND {
            return Ok(Arc::new(FittedPipeline::load(saved, self)?));
        }
        let reader = self
            .models
            .get(saved.kind())
            .ok_or_else(|| SaveError::UnknownKind { kind: saved.kind().to_owned() })?;
        reader(saved)
    }

    /// Reads a transformer.
    ///
    /// # Errors
    /// If no reader knows the kind, the format is newer than this library, or the bytes are malformed.
    pub fn transformer(&self, saved: &Saved) -> Result<Arc<dyn FittedTransformer>, SaveError> {
        let reader = self
            .transformers
            .get(saved.kind())
            .ok_or_else(|| SaveError::UnknownKind { kind: saved.kind().to_owned() })?;
        reader(saved)
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.models.keys()).entries(self.transformers.keys()).finish()
    }
}
