//! What words and values mean.

use mlp_core::Timestamp;

use super::tokens::Token;
use super::{ParseFilterError, fail};
use crate::evaluation::{ParseStageError, Stage};
use crate::filter::{Field, Operator, Statistic, Value};
use crate::series::SeriesKey;

pub(super) fn operator_orders(operator: Operator) -> bool {
    matches!(operator, Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast)
}

pub(super) fn is_pattern(operator: Operator) -> bool {
    matches!(operator, Operator::Like | Operator::LikeIgnoringCase)
}

/// Whether it is a number or a time; a parameter is a text that may be a number.
pub(super) fn is_no_text(field: &Field) -> bool {
    matches!(field, Field::Metric(..) | Field::ModelVersion | Field::StartedAt | Field::EndedAt)
}

/// A metric whose key stands alone: its last part may be a statistic.
pub(super) fn metric(key: SeriesKey) -> Field {
    let split = key.metric.rsplit_once('.').filter(|(metric, _)| !metric.is_empty());
    match split.and_then(|(metric, word)| Some((metric, statistic(word)?))) {
        Some((metric, statistic)) => Field::Metric(metric.into(), statistic),
        None => Field::metric(key),
    }
}

/// A status or a stage, which MLflow writes in capitals, as this library writes it; any other text as it is.
pub(super) fn word(
    column: usize,
    field: &Field,
    text: String,
    is_context: bool,
) -> Result<Value, ParseFilterError> {
    let lower = text.to_ascii_lowercase();
    if is_context {
        // What MLflow's own integrations write for what this library calls training, validation and test.
        return Ok(Value::Text(match lower.as_str() {
            "train" => "training".to_owned(),
            "eval" | "val" | "evaluation" => "validation".to_owned(),
            "testing" => "test".to_owned(),
            _ if lower.parse::<Stage>().is_ok() && !lower.starts_with("ab:") => lower,
            _ => text,
        }));
    }
    let known = match field {
        Field::Status => {
            ["running", "finished", "failed", "killed", "scheduled"].contains(&lower.as_str())
        }
        Field::Stage if lower.starts_with("ab:") => return Ok(Value::Text(text)),
        Field::Stage => lower.parse::<Stage>().is_ok(),
        _ => return Ok(Value::Text(text)),
    };
    if known {
        return Ok(Value::Text(lower));
    }
    match field {
        Field::Status => fail(
            column,
            format!(
                "{text:?} is no status: running, finished, failed or killed (scheduled is nobody's)"
            ),
        ),
        _ => fail(column, ParseStageError { given: text.chars().take(80).collect() }.to_string()),
    }
}

pub(super) const STATISTICS: &str = "last, min, max, mean, count, step_of_min or step_of_max";

pub(super) fn statistic(word: &str) -> Option<Statistic> {
    Some(match word.to_ascii_lowercase().as_str() {
        "last" => Statistic::Last,
        "min" => Statistic::Min,
        "max" => Statistic::Max,
        "mean" => Statistic::Mean,
        "count" => Statistic::Count,
        "step_of_min" => Statistic::StepOfMin,
        "step_of_max" => Statistic::StepOfMax,
        _ => return None,
    })
}

pub(super) const ATTRIBUTES: &str = "run_id, run_name, user_id, experiment, model, model_version, stage, status, start_time, end_time";

pub(super) fn attribute(column: usize, word: &str) -> Result<Option<Field>, ParseFilterError> {
    Ok(Some(match word.to_ascii_lowercase().as_str() {
        "run_id" | "id" => Field::Id,
        "experiment" => Field::Experiment,
        "model" => Field::Model,
        "model_version" => Field::ModelVersion,
        "stage" => Field::Stage,
        "status" => Field::Status,
        "start_time" | "started_at" | "created" => Field::StartedAt,
        "end_time" | "ended_at" => Field::EndedAt,
        // Attributes of a run in MLflow, which keeps them as tags.
        "run_name" | "run name" => Field::Tag("mlflow.runName".to_owned()),
        "user_id" => Field::Tag("mlflow.user".to_owned()),
        "artifact_uri" => {
            return fail(
                column,
                "an evaluation has no artifact_uri: artifacts lie in the store of lineage",
            );
        }
        _ => return Ok(None),
    }))
}

pub(super) fn dataset(word: &str) -> Option<Field> {
    Some(match word.to_ascii_lowercase().as_str() {
        "name" => Field::DatasetName,
        "version" => Field::DatasetVersion,
        "digest" | "fingerprint" => Field::DatasetFingerprint,
        "context" => Field::Stage,
        _ => return None,
    })
}

pub(super) fn name(field: &Field) -> &'static str {
    match field {
        Field::Metric(..) => "a metric",
        Field::Param(_) => "a parameter",
        Field::Tag(_) => "a tag",
        Field::ModelVersion => "the version of a model",
        Field::StartedAt | Field::EndedAt => "a time",
        _ => "this attribute",
    }
}

pub(super) fn number(column: usize, word: &str) -> Result<Value, ParseFilterError> {
    word.parse::<f64>()
        .map(Value::Number)
        .or_else(|_| fail(column, format!("{word:?} is no number")))
}

pub(super) fn time(column: usize, token: Token) -> Result<Value, ParseFilterError> {
    let read = match &token {
        Token::Text(text) => text.parse::<Timestamp>().ok(),
        Token::Plain(word) => {
            let micros = word.parse::<i64>().ok().and_then(|millis| millis.checked_mul(1_000));
            micros.map(Timestamp::from_micros)
        }
        _ => None,
    };
    read.map(Value::Time).map_or_else(
        || {
            fail(
                column,
                format!("{token} is no time: milliseconds since 1970 or '2026-01-31T12:00:00Z'"),
            )
        },
        Ok,
    )
}
