//! The text format of Prometheus, version 0.0.4.

use std::collections::HashSet;
use std::fmt::Write as _;

use mlp_core::Labels;

use crate::error::{MonitorError, Result};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only grows; its name ends in `_total`.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts by upper bound, with sum and count.
    Histogram,
}

impl MetricKind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// All names under which a metric is written.
    pub(crate) fn written(self, name: &str) -> Vec<String> {
        let suffixes: &[&str] = match self {
            Self::Histogram => &["", "_bucket", "_sum", "_count"],
            Self::Counter | Self::Gauge => &[""],
        };
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
    }
}

/// Metrics as text that Prometheus scrapes: answer a request for `/metrics` with it, as `text/plain; version=0.0.4`.
///
/// Names are checked and label values escaped, so what it writes can be parsed, whatever labels hold. Labels without a value are left out: to
/// Prometheus they are none. A series is written once.
///
/// ```
/// use mlp_core::Labels;
/// use mlp_monitor::{Exposition, MetricKind};
///
/// let mut metrics = Exposition::new();
/// let labels: Labels = [("model".to_owned(), "a\"b\nc".to_owned())].into();
/// metrics.family("predictions_total", MetricKind::Counter, "Predictions since the start.")?.sample(&labels, 7.0)?;
/// let text = metrics.into_text();
/// assert!(text.ends_with("predictions_total{model=\"a\\\"b\\nc\"} 7\n"));
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    families: HashSet<String>,
}

/// The series of one metric, as they are written.
#[derive(Debug)]
pub struct MetricFamily<'a> {
    text: &'a mut String,
    name: String,
    kind: MetricKind,
    /// The labels of the series written so far, as text.
    series: HashSet<String>,
}

impl Exposition {
    /// A text without metrics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a metric.
    ///
    /// # Errors
    /// If the name is none (`[a-zA-Z_:][a-zA-Z0-9_:]*`) or there already (a histogram has `_bucket`, `_sum` and `_count` too), a counter's does not end in `_total`, or there is no help.
    pub fn family(&mut self, name: &str, kind: MetricKind, help: &str) -> Result<MetricFamily<'_>> {
        let fault = |allowed| {
            let given = name.chars().take(200).collect::<String>();
            Err(MonitorError::setting("name of a metric", given, allowed))
        };
        if !is_name(name, |c| c == ':') {
            return fault("a letter, '_' or ':' and then letters, digits, '_' or ':'");
        }
        if (kind == MetricKind::Counter) != name.ends_with("_total") {
            return fault("one that ends in _total if and only if it is a counter's");
        }
        if help.trim().is_empty() {
            return Err(MonitorError::setting(format!("help of {name}"), "empty", "a sentence"));
        }
        let names = kind.written(name);
        if let Some(name) = names.iter().find(|name| self.families.contains(*name)) {
            return Err(MonitorError::Duplicate { what: "metrics", name: name.clone() });
        }
        self.families.extend(names);
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
        let (text, name) = (&mut self.text, name.to_owned());
        Ok(MetricFamily { text, name, kind, series: HashSet::new() })
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl MetricFamily<'_> {
    /// Writes the value of one series of a counter or gauge; NaN and infinities are values.
    ///
    /// # Errors
    /// If a label's name is none (`[a-zA-Z_][a-zA-Z0-9_]*`, not beginning with `__`), the series is there already, or this is a histogram.
    pub fn sample(&mut self, labels: &Labels, value: f64) -> Result<()> {
        if self.kind == MetricKind::Histogram {
            return self.wrong_kind("a counter or a gauge");
        }
        let labels = self.begin(labels)?;
        self.line("", &labels, None, value);
        Ok(())
    }

    /// Writes one series of a histogram: how many values are at most each bound, how many there are, and their sum.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), if bounds or counts do not rise, or if this is no histogram.
    pub fn histogram(
        &mut self,
        labels: &Labels,
        buckets: &[(f64, u64)],
        count: u64,
        sum: f64,
    ) -> Result<()> {
        if self.kind != MetricKind::Histogram {
            return self.wrong_kind("a histogram");
        }
        let rises = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let bounded = buckets.iter().all(|(bound, below)| bound.is_finite() && *below <= count);
        if !rises || !bounded {
            let name = format!("buckets of {}", self.name);
            return Err(MonitorError::setting(
                name,
                "out of order",
                "finite bounds that rise, with counts that do not fall",
            ));
        }
        let labels = self.begin(labels)?;
        for (bound, below) in buckets {
            self.line("_bucket", &labels, Some(&bound.to_string()), *below as f64);
        }
        self.line("_bucket", &labels, Some("+Inf"), count as f64);
        self.line("_sum", &labels, None, sum);
        self.line("_count", &labels, None, count as f64);
        Ok(())
    }

    fn wrong_kind<T>(&self, allowed: &'static str) -> Result<T> {
        Err(MonitorError::setting(format!("kind of {}", self.name), self.kind.name(), allowed))
    }

    /// The labels as they are written, of a series that is not there yet.
    fn begin(&mut self, labels: &Labels) -> Result<String> {
        let mut text = String::new();
        // To Prometheus a label without a value is none.
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let reserved =
                name.starts_with("__") || self.kind == MetricKind::Histogram && name == "le";
            if !is_name(name, |_| false) || reserved {
                let given = name.chars().take(200).collect::<String>();
                let allowed = "letters, digits and '_', not beginning with a digit or '__', and not le in a histogram";
                return Err(MonitorError::setting(
                    format!("label of {}", self.name),
                    given,
                    allowed,
                ));
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            escape_into(&mut text, value);
            text.push('"');
        }
        if self.series.contains(&text) {
            let name = format!("{}{{{text}}}", self.name);
            return Err(MonitorError::Duplicate { what: "series", name });
        }
        self.series.insert(text.clone());
        Ok(text)
    }

    fn line(&mut self, suffix: &str, labels: &str, bound: Option<&str>, value: f64) {
        let text = &mut *self.text;
        text.push_str(&self.name);
        text.push_str(suffix);
        if !labels.is_empty() || bound.is_some() {
            text.push('{');
            text.push_str(labels);
            if let Some(bound) = bound {
                let comma = if labels.is_empty() { "" } else { "," };
                text.push_str(&format!("{comma}le=\"{bound}\""));
            }
            text.push('}');
        }
        text.push(' ');
        let written = match value {
            f64::INFINITY => text.write_str("+Inf"),
            f64::NEG_INFINITY => text.write_str("-Inf"),
            _ => write!(text, "{value}"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        text.push('\n');
    }
}

pub(crate) fn is_name(name: &str, also: impl Fn(char) -> bool) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || also(c);
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn escape_into(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str(r"\n"),
            _ => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> Labels {
        [("model".to_owned(), value.to_owned())].into()
    }

    #[test]
    fn the_text_is_what_prometheus_documents() {
        let mut metrics = Exposition::new();
        let mut family =
            metrics.family("rows", MetricKind::Gauge, "Rows:\nall \\ of them.").unwrap();
        for (value, name) in [(f64::NAN, "a"), (f64::INFINITY, "b"), (-1e300, "c"), (0.1, "d")] {
            family.sample(&labels(name), value).unwrap();
        }
        family.sample(&Labels::new(), f64::NEG_INFINITY).unwrap();
        let mut family = metrics.family("seconds", MetricKind::Histogram, "Seconds.").unwrap();
        family.histogram(&Labels::new(), &[(0.1, 2), (1.0, 5)], 6, 3.25).unwrap();
        family.histogram(&labels("a"), &[(0.5, 0)], 0, 0.0).unwrap();
        let text = metrics.into_text();
        assert!(text.starts_with("# HELP rows Rows:\\nall \\\\ of them.\n# TYPE rows gauge\nrows{model=\"a\"} NaN\nrows{model=\"b\"} +Inf\n"), "{text}");
        assert!(text.contains("rows{model=\"d\"} 0.1\nrows -Inf\n"), "{text}");
        assert!(text.contains("seconds_bucket{le=\"0.1\"} 2\nseconds_bucket{le=\"1\"} 5\nseconds_bucket{le=\"+Inf\"} 6\nseconds_sum 3.25\nseconds_count 6\n"), "{text}");
        assert!(text.contains("seconds_bucket{model=\"a\",le=\"+Inf\"} 0\n"), "{text}");
    }

    #[test]
    fn names_that_prometheus_refuses_and_series_twice_are_refused() {
        let mut metrics = Exposition::new();
        for name in ["", "1a", "a-b", "a b", "a\n", "é", "a{}"] {
            assert!(metrics.family(name, MetricKind::Gauge, "Help.").is_err(), "{name:?}");
        }
        assert!(metrics.family("requests", MetricKind::Counter, "Help.").is_err());
        assert!(metrics.family("requests_total", MetricKind::Gauge, "Help.").is_err());
        assert!(metrics.family("a", MetricKind::Gauge, " ").is_err());
        let mut family = metrics.family("a", MetricKind::Gauge, "Help.").unwrap();
        for name in ["", "__name__", "a:b", "1", "a-b"] {
            let labels = [(name.to_owned(), "x".to_owned())].into();
            assert!(family.sample(&labels, 1.0).is_err(), "{name:?}");
        }
        family.sample(&Labels::new(), 1.0).unwrap();
        let empty = family.sample(&labels(""), 2.0);
        assert!(
            matches!(empty, Err(MonitorError::Duplicate { .. })),
            "to Prometheus it is the same series"
        );
        family.sample(&labels("x"), 1.0).unwrap();
        assert!(matches!(family.sample(&labels("x"), 2.0), Err(MonitorError::Duplicate { .. })));
        assert!(family.histogram(&labels("y"), &[], 0, 0.0).is_err());
        assert!(metrics.family("a", MetricKind::Gauge, "Help.").is_err());
        metrics.family("seconds_count", MetricKind::Gauge, "Help.").unwrap();
        assert!(metrics.family("seconds", MetricKind::Histogram, "Help.").is_err());
        metrics.family("minutes", MetricKind::Histogram, "Help.").unwrap();
        for name in ["minutes_count", "minutes_sum", "minutes_bucket"] {
            assert!(metrics.family(name, MetricKind::Gauge, "Help.").is_err(), "{name}");
        }
        let mut family = metrics.family("h", MetricKind::Histogram, "Help.").unwrap();
        for buckets in
            [&[(1.0, 2), (0.5, 3)][..], &[(1.0, 3), (2.0, 2)], &[(1.0, 9)], &[(f64::INFINITY, 1)]]
        {
            assert!(family.histogram(&Labels::new(), buckets, 5, 1.0).is_err(), "{buckets:?}");
        }
        let le = [("le".to_owned(), "1".to_owned())].into();
        assert!(family.histogram(&le, &[], 0, 0.0).is_err());
    }
}
