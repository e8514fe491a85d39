//! Evaluations side by side.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::batch::same_param;
use crate::evaluation::Evaluation;
use crate::series::SeriesKey;

/// Evaluations as columns: the parameters in which they differ, then their metrics, those of a context too, with the difference from the first
/// column.
///
/// Prints as aligned text, a dash where a value is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// What each column is called.
    pub labels: Vec<String>,
    /// The parameters that are not the same everywhere, in alphabetical order; a value for each column, as it prints.
    pub params: Vec<(String, Vec<Option<String>>)>,
    /// The series that any column has, in alphabetical order.
    pub metrics: Vec<ComparisonRow>,
}

/// One metric across the columns of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComparisonRow {
    /// The metric, with its context as in a filter: `loss[subset=train]`.
    pub metric: String,
    /// Its latest value in each column.
    #[serde(with = "columns")]
    pub values: Vec<Option<f64>>,
    /// The value less that of the first column, where both are there.
    #[serde(with = "columns")]
    pub deltas: Vec<Option<f64>>,
}

/// Optional doubles that survive JSON.
mod columns {
    use mlp_core::exact;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Exact(#[serde(with = "exact")] f64);

    pub(super) fn serialize<S: Serializer>(
        values: &[Option<f64>],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| value.map(Exact)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Option<f64>>, D::Error> {
        let values = Vec::<Option<Exact>>::deserialize(from)?;
        Ok(values.into_iter().map(|value| value.map(|exact| exact.0)).collect())
    }
}

impl Comparison {
    /// Puts evaluations side by side; the first is what the others are compared with.
    #[must_use]
    pub fn of(evaluations: &[Evaluation]) -> Self {
        let params: BTreeSet<&str> =
            evaluations.iter().flat_map(|e| e.params.iter().map(|(name, _)| name)).collect();
        let keys: BTreeSet<&SeriesKey> =
            evaluations.iter().flat_map(|e| e.series.iter().map(|series| &series.key)).collect();
        Self {
            labels: evaluations.iter().map(Evaluation::label).collect(),
            params: params
                .into_iter()
                .filter(|name| differs(evaluations, name))
                .map(|name| {
                    let print = |e: &Evaluation| e.params.get(name).map(ToString::to_string);
                    (name.to_owned(), evaluations.iter().map(print).collect())
                })
                .collect(),
            metrics: keys
                .into_iter()
                .map(|key| {
                    let values: Vec<_> = evaluations.iter().map(|e| e.value(key)).collect();
                    let baseline = values.first().copied().flatten();
                    let delta = |value: &Option<f64>| Some((*value)? - baseline?);
                    let deltas = values.iter().map(delta).collect();
                    ComparisonRow { metric: key.column(), values, deltas }
                })
                .collect(),
        }
    }

    /// Renames the columns, as far as there are names.
    #[must_use]
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        for (label, new) in self.labels.iter_mut().zip(labels) {
            *label = new;
        }
        self
    }
}

fn differs(evaluations: &[Evaluation], name: &str) -> bool {
    evaluations.windows(2).any(|pair| match (pair[0].params.get(name), pair[1].params.get(name)) {
        (Some(one), Some(other)) => !same_param(one, other),
        (one, other) => one.is_some() != other.is_some(),
    })
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![(String::new(), self.labels.clone())];
        let dash = || "-".to_owned();
        for (name, values) in &self.params {
            let cells = values.iter().map(|value| value.clone().unwrap_or_else(dash)).collect();
            rows.push((name.clone(), cells));
        }
        for row in &self.metrics {
            let cells =
                row.values.iter().zip(&row.deltas).enumerate().map(|(column, pair)| match pair {
                    (Some(value), Some(delta)) if column > 0 => format!("{value:.4} ({delta:+.4})"),
                    (Some(value), _) => format!("{value:.4}"),
                    (None, _) => dash(),
                });
            rows.push((row.metric.clone(), cells.collect()));
        }
        let width = |text: &str| text.chars().count();
        let first = rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.labels.len())
            .map(|column| rows.iter().map(|(_, cells)| width(&cells[column])).max().unwrap_or(0))
            .collect();
        for (name, cells) in rows {
            write!(f, "{name:<first$}")?;
            for (cell, width) in cells.iter().zip(&widths) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
