//! What made one model version, and the record of it.

use std::collections::BTreeMap;

use mlp_core::{
    ContentHash, DatasetRef, InvalidId, Metrics, ModelName, Params, RecordId, Timestamp,
    VersionNumber,
};
use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::code::Code;
use crate::environment::Environment;

/// What made one model version: what a record is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Description {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: VersionNumber,
    /// The datasets it learnt from and was tested on, by role: `train`, `test`.
    pub datasets: BTreeMap<String, DatasetRef>,
    /// The features it takes, by name and version of their set.
    pub features: Option<String>,
    /// The code.
    pub code: Option<Code>,
    /// The machine and the tools.
    pub environment: Option<Environment>,
    /// Hyperparameters and settings.
    pub configuration: Params,
    /// The seed of everything random.
    pub seed: Option<u64>,
    /// What it scored.
    pub metrics: Metrics,
    /// The bytes it consists of, by name.
    pub artifacts: BTreeMap<String, ArtifactRef>,
    /// Who made it.
    pub author: Option<String>,
    /// What it is for.
    pub note: Option<String>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $method:ident, $field:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $method(mut self, $field: $type) -> Self {
                self.$field = $field.into();
                self
            }
        )*
    };
}

impl Description {
    /// A description of a version of a model, with nothing known of it yet.
    ///
    /// # Errors
    /// If the name is empty, too long, or holds control characters.
    pub fn new(model: impl Into<String>, version: u64) -> Result<Self, InvalidId> {
        Ok(Self {
            model: ModelName::new(model)?,
            version: VersionNumber(version),
            datasets: BTreeMap::new(),
            features: None,
            code: None,
            environment: None,
            configuration: Params::new(),
            seed: None,
            metrics: Metrics::new(),
            artifacts: BTreeMap::new(),
            author: None,
            note: None,
        })
    }

    /// Adds a dataset in a role.
    #[must_use]
    pub fn with_dataset(mut self, role: impl Into<String>, dataset: DatasetRef) -> Self {
        self.datasets.insert(role.into(), dataset);
        self
    }

    /// Adds an artifact under a name.
    #[must_use]
    pub fn with_artifact(mut self, name: impl Into<String>, artifact: ArtifactRef) -> Self {
        self.artifacts.insert(name.into(), artifact);
        self
    }

    setters! {
        /// Sets the features by name and version of their set.
        with_features, features: String;
        /// Sets the code.
        with_code, code: Code;
        /// Sets the machine and the tools.
        with_environment, environment: Environment;
        /// Sets hyperparameters and settings.
        with_configuration, configuration: Params;
        /// Sets the seed.
        with_seed, seed: u64;
        /// Sets what it scored.
        with_metrics, metrics: Metrics;
        /// Sets who made it.
        with_author, author: String;
        /// Sets what it is for.
        with_note, note: String;
    }
}

/// An immutable record: a description, when it was made, and the hashes that chain it to the record before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The identity.
    pub id: RecordId,
    /// Its place in the chain, from 0.
    pub sequence: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The hash of the record before; none for the first.
    pub previous: Option<ContentHash>,
    /// What made the model.
    pub description: Description,
    /// The hash of all of the above.
    pub hash: ContentHash,
}

impl Record {
    /// Chains a description to the record before. For those who write a store.
    ///
    /// # Errors
    /// If the description cannot be written as JSON.
    pub fn chain(
        description: Description,
        id: RecordId,
        at: Timestamp,
        previous: Option<&Record>,
    ) -> Result<Self, serde_json::Error> {
        let mut record = Self {
            id,
            sequence: previous.map_or(0, |record| record.sequence + 1),
            at,
            previous: previous.map(|record| record.hash),
            description,
            hash: ContentHash::from_bytes([0; 32]),
        };
        record.hash = record.content_hash()?;
        Ok(record)
    }

    /// The hash that the content has now: BLAKE3 of its canonical JSON (keys in the order of the fields, maps in alphabetical order).
    ///
    /// # Errors
    /// If the content cannot be written as JSON.
    pub fn content_hash(&self) -> Result<ContentHash, serde_json::Error> {
        let bytes = serde_json::to_vec(&(
            self.id,
            self.sequence,
            self.at,
            self.previous,
            &self.description,
        ))?;
        Ok(ContentHash::from_bytes(*blake3::hash(&bytes).as_bytes()))
    }
}
