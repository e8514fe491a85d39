//! One evaluation: what was measured, on what, and what came out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mlp_core::{
    DatasetRef, EvaluationId, Metrics, ModelName, ParamValue, Params, Timestamp, VersionNumber,
};
use serde::{Deserialize, Serialize};

use crate::series::{SeriesKey, SeriesSummary};

/// What the measured data were to the model. Written as a word, such as `cross_validation` or `ab:treatment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Stage {
    /// The rows it was fitted on.
    Training,
    /// Rows that steered the training or the choice of parameters.
    Validation,
    /// Rows that nothing was chosen by.
    Test,
    /// Folds, each scored by a model that did not see it.
    CrossValidation,
    /// Live traffic.
    Production,
    /// One arm of an experiment on live traffic.
    AbArm(String),
}

/// A text that names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a stage: expected training, validation, test, cross_validation, production or ab:ARM"
)]
pub struct ParseStageError {
    /// What was given, cut to 80 characters.
    pub given: String,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Training => f.pad("training"),
            Self::Validation => f.pad("validation"),
            Self::Test => f.pad("test"),
            Self::CrossValidation => f.pad("cross_validation"),
            Self::Production => f.pad("production"),
            Self::AbArm(arm) => f.pad(&format!("ab:{arm}")),
        }
    }
}

impl FromStr for Stage {
    type Err = ParseStageError;

    fn from_str(text: &str) -> Result<Self, ParseStageError> {
        Ok(match text {
            "training" => Self::Training,
            "validation" => Self::Validation,
            "test" => Self::Test,
            "cross_validation" => Self::CrossValidation,
            "production" => Self::Production,
            _ => match text.strip_prefix("ab:") {
                Some(arm) if !arm.is_empty() => Self::AbArm(arm.to_owned()),
                _ => return Err(ParseStageError { given: text.chars().take(80).collect() }),
            },
        })
    }
}

impl TryFrom<String> for Stage {
    type Error = ParseStageError;

    fn try_from(text: String) -> Result<Self, ParseStageError> {
        text.parse()
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        stage.to_string()
    }
}

/// How far an evaluation is. Any status but `Running` seals it: it takes no more writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It goes on, and takes writes.
    Running,
    /// It came to its end.
    Finished,
    /// It broke.
    Failed,
    /// Somebody stopped it.
    Killed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Killed => "killed",
        })
    }
}

/// Whether an evaluation is in use or in the bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// In use.
    Active,
    /// In the bin: readable, not writable, restorable until it is purged.
    Deleted,
}

/// What evaluations are gathered under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// Whether it is in use.
    pub lifecycle: Lifecycle,
}

/// An evaluation to be stored. Its id is made here, so that a write whose answer was lost can be recognised when it is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewEvaluation {
    /// Its identity.
    pub id: EvaluationId,
    /// The experiment it belongs to.
    pub experiment: String,
    /// What the data were to the model.
    pub stage: Stage,
    /// When it started.
    pub started_at: Timestamp,
    /// The model that was measured.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// Which version of the model.
    #[serde(default)]
    pub model_version: Option<VersionNumber>,
    /// What it was measured on.
    #[serde(default)]
    pub dataset: Option<DatasetRef>,
    /// The configuration that was measured.
    #[serde(default)]
    pub params: Params,
    /// Free labels.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Scores that are known from the start: each becomes the point of step 0 at `started_at`.
    #[serde(default)]
    pub metrics: Metrics,
}

impl NewEvaluation {
    /// An evaluation that starts now, with a new id and nothing else set.
    pub fn new(experiment: impl Into<String>, stage: Stage, started_at: Timestamp) -> Self {
        Self {
            id: EvaluationId::generate(),
            experiment: experiment.into(),
            stage,
            started_at,
            model: None,
            model_version: None,
            dataset: None,
            params: Params::new(),
            tags: BTreeMap::new(),
            metrics: Metrics::new(),
        }
    }

    /// Sets the id, for a write that is tried again.
    #[must_use]
    pub fn with_id(mut self, id: EvaluationId) -> Self {
        self.id = id;
        self
    }

    /// Sets the model.
    #[must_use]
    pub fn with_model(mut self, model: ModelName) -> Self {
        self.model = Some(model);
        self
    }

    /// Sets the version of the model.
    #[must_use]
    pub fn with_model_version(mut self, version: VersionNumber) -> Self {
        self.model_version = Some(version);
        self
    }

    /// Sets what it is measured on.
    #[must_use]
    pub fn with_dataset(mut self, dataset: DatasetRef) -> Self {
        self.dataset = Some(dataset);
        self
    }

    /// Replaces all parameters.
    #[must_use]
    pub fn with_params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// Sets one parameter.
    #[must_use]
    pub fn with_param(mut self, name: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.params.insert(name, value);
        self
    }

    /// Sets one tag.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Replaces all scores.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Sets one score.
    #[must_use]
    pub fn with_metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.insert(name, value);
        self
    }
}

/// An evaluation as the store holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Evaluation {
    /// Its identity.
    pub id: EvaluationId,
    /// The experiment it belongs to.
    pub experiment: String,
    /// What the data were to the model.
    pub stage: Stage,
    /// How far it is.
    pub status: Status,
    /// Whether it is in use.
    pub lifecycle: Lifecycle,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The model that was measured.
    pub model: Option<ModelName>,
    /// Which version of the model.
    pub model_version: Option<VersionNumber>,
    /// What it was measured on.
    pub dataset: Option<DatasetRef>,
    /// The configuration that was measured.
    pub params: Params,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// The latest value of each series that has no context.
    pub metrics: Metrics,
    /// What is known of each series, ordered by key; the points are read with [`EvalStore::series`](crate::EvalStore::series).
    pub series: Vec<SeriesSummary>,
}

impl Evaluation {
    /// The evaluation at its creation, without its scores. For backends.
    #[must_use]
    pub fn from_new(new: &NewEvaluation) -> Self {
        Self {
            id: new.id,
            experiment: new.experiment.clone(),
            stage: new.stage.clone(),
            status: Status::Running,
            lifecycle: Lifecycle::Active,
            started_at: new.started_at,
            ended_at: None,
            model: new.model.clone(),
            model_version: new.model_version,
            dataset: new.dataset.clone(),
            params: new.params.clone(),
            tags: new.tags.clone(),
            metrics: Metrics::new(),
            series: Vec::new(),
        }
    }

    /// The summary of the series of this metric that has no context.
    #[must_use]
    pub fn summary(&self, metric: &str) -> Option<&SeriesSummary> {
        self.series.iter().find(|s| s.key.metric == metric && s.key.context.is_empty())
    }

    /// The summary of a series.
    #[must_use]
    pub fn summary_of(&self, key: &SeriesKey) -> Option<&SeriesSummary> {
        self.series.iter().find(|summary| summary.key == *key)
    }

    /// The latest value of a series.
    #[must_use]
    pub fn value(&self, key: &SeriesKey) -> Option<f64> {
        self.summary_of(key).map(|summary| summary.last.value)
    }

    /// What the evaluation is about, for people: the model with its version, or else the first digits of the id.
    #[must_use]
    pub fn label(&self) -> String {
        match (&self.model, self.model_version) {
            (Some(model), Some(version)) => format!("{model} {version}"),
            (Some(model), None) => model.to_string(),
            // A UUID of version 7 begins with the time: its end tells evaluations apart.
            _ => format!("…{}", &self.id.to_string()[28..]),
        }
    }
}
