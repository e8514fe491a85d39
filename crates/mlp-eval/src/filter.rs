//! Which evaluations are meant: conditions on what they hold.

use std::cmp::Ordering;

use mlp_core::{ParamValue, StoreError, Timestamp, exact};
use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, Stage};
use crate::series::{SeriesKey, SeriesSummary};

/// The deepest nesting of a filter.
pub const MAX_FILTER_DEPTH: usize = 32;
/// The most conditions and values in a filter.
pub const MAX_FILTER_TERMS: usize = 1_000;

/// One number of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The value of the latest point.
    #[default]
    Last,
    /// The smallest value.
    Min,
    /// The greatest value.
    Max,
    /// The mean of the values.
    Mean,
    /// The number of points.
    Count,
    /// The step of the smallest value.
    StepOfMin,
    /// The step of the greatest value.
    StepOfMax,
}

impl Statistic {
    /// All of them, each at its own number (`statistic as usize`).
    pub const ALL: [Self; 7] = [
        Self::Last,
        Self::Min,
        Self::Max,
        Self::Mean,
        Self::Count,
        Self::StepOfMin,
        Self::StepOfMax,
    ];

    /// This number of a series; none if every value of it is NaN and the number is one of those that pass over NaN.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts and steps are compared as doubles")]
    pub fn of(self, series: &SeriesSummary) -> Option<f64> {
        Some(match self {
            Self::Last => series.last.value,
            Self::Min => series.min?.value,
            Self::Max => series.max?.value,
            Self::Mean => series.mean()?,
            Self::Count => series.count as f64,
            Self::StepOfMin => series.min?.step as f64,
            Self::StepOfMax => series.max?.step as f64,
        })
    }
}

/// Something that an evaluation holds, and that can be compared and sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Field {
    /// The id, as text.
    Id,
    /// The experiment, a text.
    Experiment,
    /// The model, a text.
    Model,
    /// The version of the model, a number.
    ModelVersion,
    /// The name of the dataset, a text.
    DatasetName,
    /// The version of the dataset, a text.
    DatasetVersion,
    /// The hash of the dataset, a text of 64 digits.
    DatasetFingerprint,
    /// The stage, a text such as `cross_validation`.
    Stage,
    /// The status, a text such as `finished`.
    Status,
    /// When it started, a time.
    StartedAt,
    /// When it ended, a time.
    EndedAt,
    /// A parameter: compared as a number with a number, as text with a text.
    Param(String),
    /// A tag, a text.
    Tag(String),
    /// A number of a series: of a metric by its name, or of the one of its series that has this context.
    Metric(SeriesKey, Statistic),
}

impl Field {
    /// The latest value of a metric, or of one of its series.
    ///
    /// ```
    /// use mlp_eval::{Field, Order, SeriesKey};
    ///
    /// let order = Order::ascending(Field::metric(SeriesKey::new("loss").with_context("subset", "train")));
    /// assert_eq!(Order::parse_list("metrics.loss[subset=train]")?, [order]);
    /// # Ok::<(), mlp_eval::ParseFilterError>(())
    /// ```
    pub fn metric(key: impl Into<SeriesKey>) -> Self {
        Self::Metric(key.into(), Statistic::Last)
    }

    /// The value in this evaluation; none if it lacks the key.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "versions are compared as doubles")]
    pub fn read(&self, evaluation: &Evaluation) -> Option<Value> {
        let text = |text: &dyn ToString| Value::Text(text.to_string());
        let dataset = evaluation.dataset.as_ref();
        match self {
            Self::Id => Some(text(&evaluation.id)),
            Self::Experiment => Some(text(&evaluation.experiment)),
            Self::Model => evaluation.model.as_ref().map(|model| text(model)),
            Self::ModelVersion => evaluation.model_version.map(|v| Value::Number(v.0 as f64)),
            Self::DatasetName => dataset.map(|d| text(&d.name)),
            Self::DatasetVersion => dataset.map(|d| text(&d.version)),
            Self::DatasetFingerprint => dataset.map(|d| text(&d.fingerprint)),
            Self::Stage => Some(text(&evaluation.stage)),
            Self::Status => Some(text(&evaluation.status)),
            Self::StartedAt => Some(Value::Time(evaluation.started_at)),
            Self::EndedAt => evaluation.ended_at.map(Value::Time),
            Self::Param(name) => evaluation.params.get(name).map(|value| match value {
                ParamValue::Int(_) | ParamValue::Float(_) => {
                    Value::Number(value.as_float().unwrap_or(f64::NAN))
                }
                _ => text(value),
            }),
            Self::Tag(name) => evaluation.tags.get(name).map(|value| text(value)),
            Self::Metric(key, statistic) => {
                statistic.of(evaluation.summary_of(key)?).map(Value::Number)
            }
        }
    }

    /// The value as text, where texts are compared: a parameter is written as it prints.
    fn read_text(&self, evaluation: &Evaluation) -> Option<String> {
        match (self, self.read(evaluation)?) {
            (Self::Param(name), _) => evaluation.params.get(name).map(ToString::to_string),
            (_, Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn takes(&self, value: &Value) -> bool {
        match self {
            Self::Metric(..) | Self::ModelVersion => matches!(value, Value::Number(_)),
            Self::StartedAt | Self::EndedAt => matches!(value, Value::Time(_)),
            Self::Param(_) => !matches!(value, Value::Time(_)),
            _ => matches!(value, Value::Text(_)),
        }
    }
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A number.
    Number(#[serde(with = "exact")] f64),
    /// A text.
    Text(String),
    /// A moment.
    Time(Timestamp),
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Time(value)
    }
}

/// How two values are compared. NaN is unequal to everything, and neither less nor greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The same.
    Equal,
    /// Present, and not the same.
    NotEqual,
    /// Smaller; not for texts.
    Less,
    /// Smaller or the same; not for texts.
    AtMost,
    /// Greater; not for texts.
    Greater,
    /// Greater or the same; not for texts.
    AtLeast,
    /// Matches a pattern in which `%` stands for any characters; for texts.
    Like,
    /// As `Like`, whether letters are capital or small.
    LikeIgnoringCase,
}

impl Operator {
    fn holds(self, ordering: Option<Ordering>) -> bool {
        match self {
            Self::Equal => ordering == Some(Ordering::Equal),
            Self::NotEqual => ordering != Some(Ordering::Equal),
            Self::Less => ordering == Some(Ordering::Less),
            Self::AtMost => ordering.is_some_and(Ordering::is_le),
            Self::Greater => ordering == Some(Ordering::Greater),
            Self::AtLeast => ordering.is_some_and(Ordering::is_ge),
            Self::Like | Self::LikeIgnoringCase => false,
        }
    }

    fn orders(self) -> bool {
        matches!(self, Self::Less | Self::AtMost | Self::Greater | Self::AtLeast)
    }
}

/// Conditions on an evaluation. A condition on a key that the evaluation lacks does not hold, whatever the operator.
///
/// ```
/// use mlp_eval::{Field, Filter, Operator, Statistic};
///
/// let good = Filter::experiment("wine")
///     .and(Filter::metric("f1", Operator::Greater, 0.7))
///     .and(Filter::tag("team", "red").or(Filter::compare(Field::Metric("loss".into(), Statistic::Min), Operator::Less, 0.2)));
/// assert!(good.check().is_ok());
/// assert!(Filter::compare(Field::Tag("team".into()), Operator::Greater, "red").check().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Filter {
    /// All of these hold; with none, everything does.
    All(Vec<Filter>),
    /// One of these holds; with none, nothing does.
    Any(Vec<Filter>),
    /// A value is compared.
    Compare(Field, Operator, Value),
    /// A value is one of some.
    In(Field, Vec<Value>),
    /// There is a value, be it NaN.
    Present(Field),
    /// There is none.
    Absent(Field),
}

impl Filter {
    /// Every evaluation.
    #[must_use]
    pub fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// Compares a value.
    pub fn compare(field: Field, operator: Operator, value: impl Into<Value>) -> Self {
        Self::Compare(field, operator, value.into())
    }

    /// The evaluations of an experiment.
    pub fn experiment(name: impl Into<String>) -> Self {
        Self::compare(Field::Experiment, Operator::Equal, name.into())
    }

    /// The evaluations of a model.
    pub fn model(name: impl Into<String>) -> Self {
        Self::compare(Field::Model, Operator::Equal, name.into())
    }

    /// The evaluations at a stage.
    #[must_use]
    pub fn stage(stage: &Stage) -> Self {
        Self::compare(Field::Stage, Operator::Equal, stage.to_string())
    }

    /// Compares the latest value of a metric, or of one of its series.
    pub fn metric(key: impl Into<SeriesKey>, operator: Operator, value: f64) -> Self {
        Self::compare(Field::metric(key), operator, value)
    }

    /// The evaluations with this tag.
    pub fn tag(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare(Field::Tag(name.into()), Operator::Equal, value.into())
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut all) => {
                all.push(other);
                Self::All(all)
            }
            one => Self::All(vec![one, other]),
        }
    }

    /// One of both holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Any(mut any) => {
                any.push(other);
                Self::Any(any)
            }
            one => Self::Any(vec![one, other]),
        }
    }

    /// The fields that are compared, as often as they are. For backends.
    #[must_use]
    pub fn fields(&self) -> Vec<&Field> {
        match self {
            Self::All(filters) | Self::Any(filters) => {
                filters.iter().flat_map(Self::fields).collect()
            }
            Self::Compare(field, ..)
            | Self::In(field, _)
            | Self::Present(field)
            | Self::Absent(field) => vec![field],
        }
    }

    /// Whether the evaluation is meant.
    #[must_use]
    pub fn matches(&self, evaluation: &Evaluation) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.matches(evaluation)),
            Self::Any(any) => any.iter().any(|filter| filter.matches(evaluation)),
            Self::Present(field) => field.read(evaluation).is_some(),
            Self::Absent(field) => field.read(evaluation).is_none(),
            Self::Compare(field, operator, value) => holds(field, *operator, value, evaluation),
            Self::In(field, values) => {
                values.iter().any(|value| holds(field, Operator::Equal, value, evaluation))
            }
        }
    }

    /// Checks the filter by itself: its size, and that every field is compared with a value of its kind.
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`], or [`StoreError::Invalid`] naming the field.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut terms = 0;
        self.check_within(0, &mut terms)
    }

    /// How many levels lie below this one.
    pub(crate) fn height(&self) -> usize {
        match self {
            Self::All(filters) | Self::Any(filters) => {
                filters.iter().map(Self::height).max().map_or(0, |height| height + 1)
            }
            _ => 0,
        }
    }

    /// How many conditions and values there are, each join one of them.
    pub(crate) fn terms(&self) -> usize {
        match self {
            Self::All(filters) | Self::Any(filters) => {
                1 + filters.iter().map(Self::terms).sum::<usize>()
            }
            Self::In(_, values) => values.len().max(1),
            _ => 1,
        }
    }

    fn check_within(&self, depth: usize, terms: &mut usize) -> Result<(), StoreError> {
        let limit = |what, given: usize, limit: usize| {
            if given > limit {
                let (given, limit) = (given as u64, limit as u64);
                return Err(StoreError::limit_exceeded(what, given, limit));
            }
            Ok(())
        };
        limit("depth of a filter", depth, MAX_FILTER_DEPTH)?;
        *terms += if let Self::In(_, values) = self { values.len().max(1) } else { 1 };
        limit("conditions of a filter", *terms, MAX_FILTER_TERMS)?;
        match self {
            Self::All(filters) | Self::Any(filters) => {
                filters.iter().try_for_each(|filter| filter.check_within(depth + 1, terms))
            }
            Self::Present(_) | Self::Absent(_) => Ok(()),
            Self::Compare(field, operator, value) => check_kind(field, *operator, value),
            Self::In(field, values) => {
                values.iter().try_for_each(|value| check_kind(field, Operator::Equal, value))
            }
        }
    }
}

fn check_kind(field: &Field, operator: Operator, value: &Value) -> Result<(), StoreError> {
    let text = matches!(value, Value::Text(_));
    let reason = if !field.takes(value) {
        format!("it cannot be compared with {value:?}")
    } else if text && operator.orders() {
        "texts are compared by `equal`, `not_equal`, `like` and `in` only".to_owned()
    } else if !text && matches!(operator, Operator::Like | Operator::LikeIgnoringCase) {
        "a pattern is for texts only".to_owned()
    } else {
        return Ok(());
    };
    Err(StoreError::invalid(format!("filter on {field:?}"), reason))
}

fn holds(field: &Field, operator: Operator, value: &Value, evaluation: &Evaluation) -> bool {
    if let Value::Text(pattern) = value {
        let Some(text) = field.read_text(evaluation) else { return false };
        return match operator {
            Operator::Like | Operator::LikeIgnoringCase => operator.matches_pattern(&text, pattern),
            _ => operator.holds(Some(text.as_str().cmp(pattern.as_str()))),
        };
    }
    match (field.read(evaluation), value) {
        (Some(Value::Number(held)), Value::Number(given)) => {
            operator.holds(held.partial_cmp(given))
        }
        (Some(Value::Time(held)), Value::Time(given)) => operator.holds(Some(held.cmp(given))),
        // A parameter that is a text differs from every number.
        (Some(_), _) => operator == Operator::NotEqual,
        (None, _) => false,
    }
}

impl Operator {
    /// Whether a text matches a pattern; `false` for operators without one. For backends.
    #[must_use]
    pub fn matches_pattern(self, text: &str, pattern: &str) -> bool {
        match self {
            Self::Like => is_like(text, pattern),
            Self::LikeIgnoringCase => is_like(&text.to_lowercase(), &pattern.to_lowercase()),
            _ => false,
        }
    }
}

/// Matches in time proportional to the product of the lengths at worst: each part is found leftmost, which suffices for one wildcard kind.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('%');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statistic_stands_at_its_number() {
        for (number, statistic) in Statistic::ALL.into_iter().enumerate() {
            assert_eq!(statistic as usize, number);
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_text_with_any_characters_for_a_percent_sign() {
        for (text, pattern, expected) in [
            ("forest", "forest", true),
            ("forest", "for", false),
            ("forest", "for%", true),
            ("forest", "%est", true),
            ("forest", "f%r%t", true),
            ("forest", "%t%t", false),
            ("aa", "aa%aa", false),
            ("", "%", true),
            ("", "", true),
            ("x_y", "x_y", true),
            ("xzy", "x_y", false),
        ] {
            assert_eq!(is_like(text, pattern), expected, "{text:?} LIKE {pattern:?}");
        }
    }

    #[test]
    fn a_filter_that_is_too_deep_or_too_long_is_refused() {
        let nest =
            |depth| (0..depth).fold(Filter::everything(), |filter, _| Filter::All(vec![filter]));
        assert!(nest(MAX_FILTER_DEPTH).check().is_ok());
        assert!(nest(MAX_FILTER_DEPTH + 1).check().is_err());
        let long = |terms| Filter::In(Field::Model, vec!["a".into(); terms]);
        assert!(long(MAX_FILTER_TERMS).check().is_ok());
        assert!(long(MAX_FILTER_TERMS + 1).check().is_err());
    }
}
