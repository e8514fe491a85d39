//! Series of a metric: loss curves, fold scores, live windows.

use std::cmp::Ordering;
use std::fmt;

use mlp_core::{Labels, Timestamp, exact};
use serde::{Deserialize, Serialize};

/// The most points that one series holds.
///
/// Enough for a score a second over eleven days; whoever has more keeps windows of them.
pub const MAX_POINTS: usize = 1_000_000;

/// Names a series within its evaluation: the metric, and what sets it apart from others of the same metric. As JSON it is the metric alone, or
/// `{"metric": "loss", "context": {"subset": "train"}}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct SeriesKey {
    /// The metric.
    pub metric: String,
    /// For instance `subset=train`; empty for the series whose latest value is *the* value of the metric.
    pub context: Labels,
}

impl SeriesKey {
    /// The series of a metric without context.
    pub fn new(metric: impl Into<String>) -> Self {
        Self { metric: metric.into(), context: Labels::new() }
    }

    /// Adds one label of context.
    #[must_use]
    pub fn with_context(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.insert(name.into(), value.into());
        self
    }
}

impl From<&str> for SeriesKey {
    fn from(metric: &str) -> Self {
        Self::new(metric)
    }
}

impl From<String> for SeriesKey {
    fn from(metric: String) -> Self {
        Self::new(metric)
    }
}

impl From<&Self> for SeriesKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// A key as it is written: the name of the metric alone, if there is no context.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Metric(String),
    Series {
        metric: String,
        #[serde(default)]
        context: Labels,
    },
}

impl From<SeriesKey> for Written {
    fn from(SeriesKey { metric, context }: SeriesKey) -> Self {
        if context.is_empty() { Self::Metric(metric) } else { Self::Series { metric, context } }
    }
}

impl From<Written> for SeriesKey {
    fn from(written: Written) -> Self {
        match written {
            Written::Metric(metric) => Self::new(metric),
            Written::Series { metric, context } => Self { metric, context },
        }
    }
}

impl SeriesKey {
    /// What its column or row is called: the metric, its context as in a filter.
    pub(crate) fn column(&self) -> String {
        let metric = match self.metric.contains(['[', '"']) {
            true => quoted(&self.metric),
            false => self.metric.clone(),
        };
        if self.context.is_empty() {
            return metric;
        }
        let label = |(name, value): (&String, &String)| format!("{}={}", plain(name), plain(value));
        let context: Vec<_> = self.context.iter().map(label).collect();
        format!("{metric}[{}]", context.join(","))
    }
}

/// A text as it is if it can stand alone in a filter, and otherwise in quotes.
fn plain(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    let stands_alone = !text.is_empty() && text.chars().all(is_plain);
    if stands_alone { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        self.context.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// One point of a series. Points are ordered by time, then step, then value; two are the same only if every bit is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricPoint {
    /// The epoch, fold or batch. Negative ones are fine.
    pub step: i64,
    /// When it was measured.
    pub at: Timestamp,
    /// The value; NaN and the infinities are kept as they are.
    #[serde(with = "exact")]
    pub value: f64,
}

impl MetricPoint {
    /// A point.
    #[must_use]
    pub fn new(step: i64, at: Timestamp, value: f64) -> Self {
        Self { step, at, value }
    }

    /// Whether this point is later in the sense of [`SeriesSummary::last`]: by step, then time, then value.
    #[must_use]
    pub fn is_later(&self, than: &Self) -> bool {
        (self.step, self.at)
            .cmp(&(than.step, than.at))
            .then_with(|| self.value.total_cmp(&than.value))
            .is_gt()
    }
}

impl Ord for MetricPoint {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.step)
            .cmp(&(other.at, other.step))
            .then_with(|| self.value.total_cmp(&other.value))
    }
}

impl PartialOrd for MetricPoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MetricPoint {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for MetricPoint {}

/// What is known of a series without reading its points. NaN counts as a point, and takes no part in the extremes and the sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SeriesSummary {
    /// Which series.
    pub key: SeriesKey,
    /// The point with the greatest step, then time, then value.
    pub last: MetricPoint,
    /// The point with the smallest value, the earliest of equal ones; none if every value is NaN.
    pub min: Option<MetricPoint>,
    /// The point with the greatest value, the earliest of equal ones; none if every value is NaN.
    pub max: Option<MetricPoint>,
    /// The sum of the values that are not NaN, in the order in which they were written.
    #[serde(with = "exact")]
    pub sum: f64,
    /// How many points there are.
    pub count: u64,
    /// How many of them are NaN.
    pub nan_count: u64,
}

impl SeriesSummary {
    /// The summary of one point.
    #[must_use]
    pub fn first(key: SeriesKey, point: MetricPoint) -> Self {
        let mut summary =
            Self { key, last: point, min: None, max: None, sum: 0.0, count: 0, nan_count: 0 };
        summary.add(point);
        summary
    }

    /// Takes in a point that was not there before.
    pub fn add(&mut self, point: MetricPoint) {
        self.count += 1;
        if point.is_later(&self.last) {
            self.last = point;
        }
        if point.value.is_nan() {
            self.nan_count += 1;
            return;
        }
        self.sum += point.value;
        let is_earlier = |than: MetricPoint| point.value == than.value && point < than;
        if self.min.is_none_or(|min| point.value < min.value || is_earlier(min)) {
            self.min = Some(point);
        }
        if self.max.is_none_or(|max| point.value > max.value || is_earlier(max)) {
            self.max = Some(point);
        }
    }

    /// The mean of the values that are not NaN; none if there is none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a series has at most a million points")]
    pub fn mean(&self) -> Option<f64> {
        let numbers = self.count.saturating_sub(self.nan_count);
        (numbers > 0).then(|| self.sum / numbers as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_series_have_the_same_column() {
        let key = |labels: &[(&str, &str)]| {
            labels
                .iter()
                .fold(SeriesKey::new("loss"), |key, (name, value)| key.with_context(*name, *value))
        };
        assert_eq!(key(&[]).column(), "loss");
        assert_eq!(key(&[("a", "1"), ("b", "2")]).column(), "loss[a=1,b=2]");
        assert_eq!(key(&[("a", "1,b=2")]).column(), "loss[a=\"1,b=2\"]");
        assert_eq!(key(&[("a", "say \"x\"")]).column(), "loss[a=\"say \"\"x\"\"\"]");
        assert_eq!(SeriesKey::new("loss[a=1,b=2]").column(), "\"loss[a=1,b=2]\"");
    }

    #[test]
    fn a_key_is_written_as_its_metric_if_it_has_no_context() {
        let train = SeriesKey::new("loss").with_context("subset", "train");
        let long = r#"{"metric":"loss","context":{"subset":"train"}}"#;
        assert_eq!(serde_json::to_string(&train).unwrap(), long);
        assert_eq!(serde_json::to_string(&SeriesKey::new("loss")).unwrap(), r#""loss""#);
        for (text, key) in [
            (long, train),
            (r#""loss""#, "loss".into()),
            (r#"{"metric":"loss"}"#, "loss".into()),
            (r#"{"metric":"loss","context":{}}"#, "loss".into()),
        ] {
            assert_eq!(serde_json::from_str::<SeriesKey>(text).unwrap(), key, "{text}");
        }
    }
}
