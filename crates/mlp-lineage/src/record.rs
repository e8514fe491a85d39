//! How a model came to be.

use std::collections::BTreeMap;

use mlp_core::{
    ContentHash, DatasetRef, Metrics, ModelName, ParamValue, Params, RecordId, StoreError,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::code::Code;
use crate::environment::Environment;

/// Data that a model was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Which version of which dataset, by its content.
    pub dataset: DatasetRef,
    /// The query it was read with, if one was.
    pub query: Option<String>,
    /// The filters that were applied, in order.
    pub filters: Vec<String>,
    /// The moment as of which it was read.
    pub as_of: Option<Timestamp>,
}

impl From<DatasetRef> for DataSource {
    fn from(dataset: DatasetRef) -> Self {
        Self { dataset, query: None, filters: Vec::new(), as_of: None }
    }
}

/// Features that a model was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSource {
    /// The name of the feature set.
    pub name: String,
    /// Its version in the feature store.
    pub version: String,
    /// The transforms with their versions, in the order in which they run.
    pub transforms: Vec<String>,
}

/// Some bytes by their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The BLAKE3 hash of the bytes.
    pub hash: ContentHash,
    /// How many bytes.
    pub size: u64,
}

/// How the training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The scores it ended with.
    pub metrics: Metrics,
}

/// How a model came to be. Once appended to a store it does not change; a correction is another record that names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Record {
    /// Its identity.
    pub id: RecordId,
    /// The model that was made.
    pub model: ModelName,
    /// When the record was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub author: Option<String>,
    /// What it is, in words.
    pub description: Option<String>,
    /// What it is not fit for, and other limits that are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// The data by their role, such as `training` or `test`.
    pub datasets: BTreeMap<String, DataSource>,
    /// The features.
    pub features: Option<FeatureSource>,
    /// The code.
    pub code: Code,
    /// The configuration, hyperparameters included.
    pub configuration: Params,
    /// The machine and its tools.
    pub environment: Option<Environment>,
    /// The seeds by what they were for.
    pub seeds: BTreeMap<String, u64>,
    /// What was produced, by name, such as `model` or `checkpoint/3`.
    pub artifacts: BTreeMap<String, Artifact>,
    /// How the training went.
    pub training: Option<Training>,
    /// The records this one builds on, such as that of a model whose output is a feature here.
    pub parents: Vec<RecordId>,
    /// The record that this one corrects.
    pub corrects: Option<RecordId>,
}

impl Record {
    /// A record with a new id and nothing else set.
    #[must_use]
    pub fn new(model: ModelName, created_at: Timestamp) -> Self {
        Self {
            id: RecordId::generate(),
            model,
            created_at,
            author: None,
            description: None,
            limits: Vec::new(),
            datasets: BTreeMap::new(),
            features: None,
            code: Code::Unknown { reason: "not captured".to_owned() },
            configuration: Params::new(),
            environment: None,
            seeds: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            training: None,
            parents: Vec::new(),
            corrects: None,
        }
    }

    /// Sets who made it.
    #[must_use]
    pub fn with_author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Sets what it is, in words.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds something that it is not fit for, or another limit that is known.
    #[must_use]
    pub fn with_limit(mut self, limit: impl Into<String>) -> Self {
        self.limits.push(limit.into());
        self
    }

    /// Adds data in a role.
    #[must_use]
    pub fn with_dataset(mut self, role: impl Into<String>, data: impl Into<DataSource>) -> Self {
        self.datasets.insert(role.into(), data.into());
        self
    }

    /// Sets the features.
    #[must_use]
    pub fn with_features(mut self, features: FeatureSource) -> Self {
        self.features = Some(features);
        self
    }

    /// Sets the code, as [`capture_code`](crate::capture_code) finds it.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Replaces the configuration.
    #[must_use]
    pub fn with_configuration(mut self, configuration: Params) -> Self {
        self.configuration = configuration;
        self
    }

    /// Sets one value of the configuration.
    #[must_use]
    pub fn with_parameter(mut self, name: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.configuration.insert(name, value);
        self
    }

    /// Sets the environment.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Adds a seed.
    #[must_use]
    pub fn with_seed(mut self, purpose: impl Into<String>, seed: u64) -> Self {
        self.seeds.insert(purpose.into(), seed);
        self
    }

    /// Adds an artifact.
    #[must_use]
    pub fn with_artifact(mut self, name: impl Into<String>, artifact: Artifact) -> Self {
        self.artifacts.insert(name.into(), artifact);
        self
    }

    /// Sets how the training went.
    #[must_use]
    pub fn with_training(mut self, training: Training) -> Self {
        self.training = Some(training);
        self
    }

    /// Adds a record that this one builds on.
    #[must_use]
    pub fn with_parent(mut self, parent: RecordId) -> Self {
        self.parents.push(parent);
        self
    }

    /// Says that this record corrects another.
    #[must_use]
    pub fn correcting(mut self, record: RecordId) -> Self {
        self.corrects = Some(record);
        self
    }

    /// The record as JSON in its canonical form: equal records give equal bytes.
    ///
    /// # Errors
    /// None that is known of; serialisation is fallible by type.
    pub fn to_json(&self) -> Result<String, StoreError> {
        canonical::text(self).map_err(StoreError::backend)
    }

    /// Reads a record from JSON.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], with the line and column.
    pub fn from_json(text: &str) -> Result<Self, StoreError> {
        serde_json::from_str(text)
            .map_err(|e| StoreError::Corrupt { what: "record".to_owned(), reason: e.to_string() })
    }
}
