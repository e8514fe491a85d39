//! What is written to a running evaluation in one step, and the bounds it keeps.

use std::collections::BTreeSet;

use mlp_core::{ParamValue, Params, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evaluation::{NewEvaluation, Stage, Status};
use crate::retention::{LEGAL_HOLD, PIN};
use crate::series::{MetricPoint, SeriesKey};

/// The most points in one batch, as in MLflow.
pub const MAX_METRICS: usize = 1_000;
/// The most parameters in one batch and of one new evaluation, as in MLflow.
pub const MAX_PARAMS: usize = 100;
/// The most tags in one batch and of one new evaluation, as in MLflow.
pub const MAX_TAGS: usize = 100;
/// The most characters of a key, as in MLflow.
pub const MAX_KEY_LENGTH: usize = 250;
/// The most bytes of one text value: 1 MiB, so that a row stays readable at once.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// The most lists within each other in a parameter.
pub const MAX_DEPTH: usize = 8;

/// Writes that are made together: all of them, or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Batch {
    /// Points to add to series.
    pub points: Vec<(SeriesKey, MetricPoint)>,
    /// Parameters to set. Each is written once: the same value again is fine, another one is a conflict.
    pub params: Vec<(String, ParamValue)>,
    /// Tags to set or to replace.
    pub tags: Vec<(String, String)>,
    /// Tags to remove; one that is not there fails the batch.
    pub removed_tags: Vec<String>,
    /// Ends and seals the evaluation after the rest is written.
    pub finish: Option<(Status, Timestamp)>,
}

impl Batch {
    /// Nothing to write yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a point to a series.
    #[must_use]
    pub fn with_point(
        mut self,
        key: impl Into<SeriesKey>,
        step: i64,
        at: Timestamp,
        value: f64,
    ) -> Self {
        self.points.push((key.into(), MetricPoint::new(step, at, value)));
        self
    }

    /// Sets a parameter.
    #[must_use]
    pub fn with_param(mut self, name: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Sets or replaces a tag.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((name.into(), value.into()));
        self
    }

    /// Removes a tag.
    #[must_use]
    pub fn without_tag(mut self, name: impl Into<String>) -> Self {
        self.removed_tags.push(name.into());
        self
    }

    /// Ends the evaluation.
    #[must_use]
    pub fn finished(mut self, status: Status, at: Timestamp) -> Self {
        self.finish = Some((status, at));
        self
    }

    /// Whether the batch does nothing but hold an evaluation or let it go ([`PIN`], [`LEGAL_HOLD`]): such a batch is taken by evaluations
    /// that have ended or are in the bin, too. For backends.
    #[must_use]
    pub fn only_holds(&self) -> bool {
        let tags = self.tags.iter().map(|(name, _)| name).chain(&self.removed_tags);
        self.points.is_empty()
            && self.params.is_empty()
            && self.finish.is_none()
            && tags.into_iter().all(|name| name == PIN || name == LEGAL_HOLD)
            && !(self.tags.is_empty() && self.removed_tags.is_empty())
    }

    /// Checks the batch by itself, for backends: bounds, keys, and that no parameter has two values.
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`] or [`StoreError::Invalid`], naming the key.
    pub fn check(&self) -> Result<(), StoreError> {
        limit("metrics of a batch", self.points.len(), MAX_METRICS)?;
        limit("parameters of a batch", self.params.len(), MAX_PARAMS)?;
        limit("tags of a batch", self.tags.len() + self.removed_tags.len(), MAX_TAGS)?;
        for (key, _) in &self.points {
            check_series(key)?;
        }
        let mut seen = Params::new();
        for (name, value) in &self.params {
            check_param(name, value)?;
            if seen.insert(name.clone(), value.clone()).is_some_and(|old| !same_param(&old, value))
            {
                return Err(StoreError::invalid(
                    format!("parameter {name:?}"),
                    "it has two values in one batch",
                ));
            }
        }
        for (name, value) in &self.tags {
            check_tag(name, value)?;
        }
        let set: BTreeSet<_> = self.tags.iter().map(|(name, _)| name).collect();
        if let Some(name) = self.removed_tags.iter().find(|name| set.contains(name)) {
            return Err(StoreError::invalid(
                format!("tag {name:?}"),
                "it is set and removed in one batch",
            ));
        }
        let mut removed = BTreeSet::new();
        if let Some(name) = self.removed_tags.iter().find(|name| !removed.insert(*name)) {
            return Err(StoreError::invalid(
                format!("tag {name:?}"),
                "it is removed twice in one batch",
            ));
        }
        if matches!(self.finish, Some((Status::Running, _))) {
            return Err(StoreError::invalid("status", "an evaluation cannot end as running"));
        }
        Ok(())
    }
}

impl NewEvaluation {
    /// Checks the evaluation by itself, for backends: bounds, keys and names.
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`] or [`StoreError::Invalid`], naming the key.
    pub fn check(&self) -> Result<(), StoreError> {
        limit("metrics of a new evaluation", self.metrics.len(), MAX_METRICS)?;
        limit("parameters of a new evaluation", self.params.len(), MAX_PARAMS)?;
        limit("tags of a new evaluation", self.tags.len(), MAX_TAGS)?;
        check_experiment(&self.experiment)?;
        if let Stage::AbArm(arm) = &self.stage {
            check_name("arm of an experiment", arm)?;
        }
        if let Some(version) =
            self.model_version.filter(|version| i64::try_from(version.0).is_err())
        {
            let reason = format!("it is {}, at most {} is taken", version.0, i64::MAX);
            return Err(StoreError::invalid("model version", reason));
        }
        if let Some(dataset) = &self.dataset {
            check_size("dataset", "name", dataset.name.len())?;
            check_size("dataset", "version", dataset.version.len())?;
        }
        self.metrics.iter().try_for_each(|(name, _)| check_key("metric", name))?;
        self.params.iter().try_for_each(|(name, value)| check_param(name, value))?;
        self.tags.iter().try_for_each(|(name, value)| check_tag(name, value))
    }
}

/// Checks the name of an experiment: 1 to 250 characters, none of them a control character.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn check_experiment(name: &str) -> Result<(), StoreError> {
    check_name("experiment", name)
}

fn check_name(what: &str, name: &str) -> Result<(), StoreError> {
    let length = name.chars().count();
    if length == 0 || length > MAX_KEY_LENGTH || name.chars().any(char::is_control) {
        return Err(StoreError::invalid(
            what,
            format!("a name has 1 to {MAX_KEY_LENGTH} characters without control characters"),
        ));
    }
    Ok(())
}

/// Whether two values are the same: numbers by their bits, so that 0 is not -0, but any NaN is the same as another. For backends.
#[must_use]
pub fn same_param(one: &ParamValue, other: &ParamValue) -> bool {
    match (one, other) {
        (ParamValue::Float(one), ParamValue::Float(other)) => {
            one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan())
        }
        (ParamValue::List(one), ParamValue::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same_param(a, b))
        }
        _ => one == other,
    }
}

fn check_series(key: &SeriesKey) -> Result<(), StoreError> {
    check_key("metric", &key.metric)?;
    limit("context of a series", key.context.len(), 16)?;
    key.context.iter().try_for_each(|(name, value)| {
        check_key("context", name)?;
        check_size("context", name, value.len())
    })
}

fn check_param(name: &str, value: &ParamValue) -> Result<(), StoreError> {
    check_key("parameter", name)?;
    if !is_shallow(value, MAX_DEPTH) {
        return Err(StoreError::invalid(
            format!("parameter {name:?}"),
            format!("its lists lie more than {MAX_DEPTH} deep"),
        ));
    }
    check_size("parameter", name, text_bytes(value))
}

fn check_tag(name: &str, value: &str) -> Result<(), StoreError> {
    check_key("tag", name)?;
    check_size("tag", name, value.len())
}

fn is_shallow(value: &ParamValue, depth: usize) -> bool {
    match value {
        ParamValue::List(values) => {
            depth > 0 && values.iter().all(|value| is_shallow(value, depth - 1))
        }
        _ => true,
    }
}

fn text_bytes(value: &ParamValue) -> usize {
    match value {
        ParamValue::Text(text) => text.len(),
        ParamValue::List(values) => values.iter().map(|value| 8 + text_bytes(value)).sum(),
        _ => 8,
    }
}

fn check_size(what: &str, name: &str, bytes: usize) -> Result<(), StoreError> {
    if bytes > MAX_VALUE_BYTES {
        return Err(StoreError::invalid(
            format!("{what} {name:?}"),
            format!("its value has {bytes} bytes of at most {MAX_VALUE_BYTES}"),
        ));
    }
    Ok(())
}

/// The rule of MLflow: keys may become paths elsewhere, so they must not leave a folder.
fn check_key(what: &str, key: &str) -> Result<(), StoreError> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/');
    let reason = if key.is_empty() || key.chars().count() > MAX_KEY_LENGTH {
        format!("a key has 1 to {MAX_KEY_LENGTH} characters")
    } else if let Some(bad) = key.chars().find(|&c| !allowed(c)) {
        format!("{bad:?} is not allowed: letters, digits, `_ - . : /` and spaces are")
    } else if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "the parts between `/` must not be empty, `.` or `..`".to_owned()
    } else {
        return Ok(());
    };
    let shown: String = key.chars().take(80).collect();
    Err(StoreError::invalid(format!("{what} key {shown:?}"), reason))
}

fn limit(what: &'static str, given: usize, limit: usize) -> Result<(), StoreError> {
    if given > limit {
        return Err(StoreError::limit_exceeded(what, given as u64, limit as u64));
    }
    Ok(())
}
