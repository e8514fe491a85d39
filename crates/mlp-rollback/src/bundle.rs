//! What is deployed together and rolled back together.

use std::collections::BTreeMap;

use mlp_core::{ContentHash, Metrics, Params, RecordId};
use serde::{Deserialize, Serialize};

/// A version as a whole: the model with everything that must match it.
///
/// Model, configuration, feature set and schema are deployed and rolled back as one, so a rollback cannot leave new features under an
/// old model. The bundle names them; the source given at registration builds what runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VersionBundle {
    /// What the model is called, for people.
    pub name: String,
    /// The hash of the model's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ContentHash>,
    /// The configuration it runs with.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub configuration: Params,
    /// The feature set and its version, such as `wine@3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_set: Option<String>,
    /// The version of the input schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The lineage record that says what made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<RecordId>,
    /// What was measured before it was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Anything else worth keeping, at most 64 entries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl VersionBundle {
    /// A bundle with nothing but a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Names the model's bytes by their hash.
    #[must_use]
    pub fn with_artifact(mut self, artifact: ContentHash) -> Self {
        self.artifact = Some(artifact);
        self
    }

    /// Adds the configuration.
    #[must_use]
    pub fn with_configuration(mut self, configuration: Params) -> Self {
        self.configuration = configuration;
        self
    }

    /// Names the feature set and its version.
    #[must_use]
    pub fn with_feature_set(mut self, feature_set: impl Into<String>) -> Self {
        self.feature_set = Some(feature_set.into());
        self
    }

    /// Names the version of the input schema.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Names the lineage record.
    #[must_use]
    pub fn with_lineage(mut self, lineage: RecordId) -> Self {
        self.lineage = Some(lineage);
        self
    }

    /// Adds what was measured before deployment.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }
}
