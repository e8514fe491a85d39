//! Fitted parts as bytes, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mlp_core::{FittedModel, FittedTransformer, SaveError, Saved};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::calibrate::{FittedCalibrated, FittedThreshold};
use crate::dummy::FittedDummy;
use crate::ensemble::{FittedStacking, FittedVoting};
use crate::linear::FittedLinear;
use crate::logistic::FittedLogistic;
use crate::neural::FittedPerceptron;
use crate::parts::{self, Composite, Inside, malformed};
use crate::pipeline::FittedPipeline;
use crate::preprocess::{FittedColumns, FittedEncoder, FittedImputer, FittedPca, FittedPolynomial};
use crate::rule::HeuristicRule;
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
    // JSON has no NaN and no infinity, and null in their place could not be read again.
    let has_null = body.windows(4).any(|part| part == b"null");
    if has_null && serde_json::from_slice::<P>(&body).is_err() {
        let reason = "a number in it is not finite".to_owned();
        return Err(SaveError::NotSaveable { what: P::KIND.to_owned(), reason });
    }
    Saved::new(P::KIND, P::FORMAT, body)
}

/// Refuses a format that a later version of the library wrote.
pub(crate) fn check_format(saved: &Saved, kind: &str, supported: u32) -> Result<(), SaveError> {
    if saved.format() <= supported {
        return Ok(());
    }
    Err(SaveError::NewerFormat { kind: kind.to_owned(), found: saved.format(), supported })
}

fn load<P: Plain>(saved: &Saved) -> Result<P, SaveError> {
    check_format(saved, P::KIND, P::FORMAT)?;
    let part: P =
        serde_json::from_slice(saved.body()).map_err(|error| malformed(error.to_string()))?;
    match part.fault() {
        Some(reason) => Err(malformed(reason)),
        None => Ok(part),
    }
}

type Reader<T> = Arc<dyn Fn(&Saved, &Inside<'_>) -> Result<Arc<T>, SaveError> + Send + Sync>;

/// Reads saved models and transformers by their kind.
///
/// Knows everything this crate saves; readers of other crates' parts can be added, so that a pipeline with a foreign step loads too.
/// What it reads is data: nothing in a saved model runs.
#[derive(Clone)]
pub struct Loader {
    models: BTreeMap<String, Reader<dyn FittedModel>>,
    transformers: BTreeMap<String, Reader<dyn FittedTransformer>>,
}

impl Default for Loader {
    fn default() -> Self {
        let empty = Self { models: BTreeMap::new(), transformers: BTreeMap::new() };
        empty
            .plain_model::<FittedDummy>()
            .plain_model::<FittedLogistic>()
            .plain_model::<FittedLinear>()
            .plain_model::<FittedTrees>()
            .plain_model::<FittedBoosting>()
            .plain_model::<FittedPerceptron>()
            .composite_model::<FittedPipeline>()
            .composite_model::<FittedVoting>()
            .composite_model::<FittedStacking>()
            .composite_model::<FittedCalibrated>()
            .composite_model::<FittedThreshold>()
            .plain_transformer::<FittedScaler>()
            .plain_transformer::<SelectedColumns>()
            .plain_transformer::<FittedImputer>()
            .plain_transformer::<FittedPolynomial>()
            .plain_transformer::<FittedEncoder>()
            .plain_transformer::<FittedPca>()
            .composite_transformer::<FittedColumns>()
    }
}

impl Loader {
    fn plain_model<P: Plain + FittedModel + 'static>(self) -> Self {
        self.with_model(P::KIND, |saved| Ok(Arc::new(load::<P>(saved)?)))
    }

    fn plain_transformer<P: Plain + FittedTransformer + 'static>(self) -> Self {
        self.with_transformer(P::KIND, |saved| Ok(Arc::new(load::<P>(saved)?)))
    }

    fn composite_model<C: Composite + FittedModel + 'static>(mut self) -> Self {
        let reader: Reader<dyn FittedModel> =
            Arc::new(|saved, inside| Ok(Arc::new(parts::load::<C>(saved, inside)?)));
        self.models.insert(C::KIND.to_owned(), reader);
        self
    }

    fn composite_transformer<C: Composite + FittedTransformer + 'static>(mut self) -> Self {
        let reader: Reader<dyn FittedTransformer> =
            Arc::new(|saved, inside| Ok(Arc::new(parts::load::<C>(saved, inside)?)));
        self.transformers.insert(C::KIND.to_owned(), reader);
        self
    }

    /// Registers a rule, so that models of it load: what was saved is its name, not what it does.
    #[must_use]
    pub fn with_rule(self, rule: &HeuristicRule) -> Self {
        let (kind, rule) = (rule.kind(), rule.clone());
        self.with_model(kind, move |saved| Ok(Arc::new(rule.load(saved)?)))
    }

    /// Adds a reader of models.
    #[must_use]
    pub fn with_model(
        mut self,
        kind: impl Into<String>,
        reader: impl Fn(&Saved) -> Result<Arc<dyn FittedModel>, SaveError> + Send + Sync + 'static,
    ) -> Self {
        self.models.insert(kind.into(), Arc::new(move |saved, _| reader(saved)));
        self
    }

    /// Adds a reader of transformers.
    #[must_use]
    pub fn with_transformer(
        mut self,
        kind: impl Into<String>,
        reader: impl Fn(&Saved) -> Result<Arc<dyn FittedTransformer>, SaveError> + Send + Sync + 'static,
    ) -> Self {
        self.transformers.insert(kind.into(), Arc::new(move |saved, _| reader(saved)));
        self
    }

    /// Reads a model.
    ///
    /// # Errors
    /// If no reader knows the kind, the format is newer than this library, or the bytes are malformed.
    pub fn model(&self, saved: &Saved) -> Result<Arc<dyn FittedModel>, SaveError> {
        self.model_inside(saved, &Inside { loader: self, depth: 0 })
    }

    /// Reads a transformer.
    ///
    /// # Errors
    /// If no reader knows the kind, the format is newer than this library, or the bytes are malformed.
    pub fn transformer(&self, saved: &Saved) -> Result<Arc<dyn FittedTransformer>, SaveError> {
        self.transformer_inside(saved, &Inside { loader: self, depth: 0 })
    }

    pub(crate) fn model_inside(
        &self,
        saved: &Saved,
        inside: &Inside<'_>,
    ) -> Result<Arc<dyn FittedModel>, SaveError> {
        reader_of(&self.models, saved)?(saved, inside)
    }

    pub(crate) fn transformer_inside(
        &self,
        saved: &Saved,
        inside: &Inside<'_>,
    ) -> Result<Arc<dyn FittedTransformer>, SaveError> {
        reader_of(&self.transformers, saved)?(saved, inside)
    }
}

fn reader_of<'a, T: ?Sized>(
    readers: &'a BTreeMap<String, Reader<T>>,
    saved: &Saved,
) -> Result<&'a Reader<T>, SaveError> {
    let unknown = || SaveError::UnknownKind { kind: saved.kind().to_owned() };
    readers.get(saved.kind()).ok_or_else(unknown)
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.models.keys()).entries(self.transformers.keys()).finish()
    }
}
