//! What a column looks like, in a few numbers.

use mlp_core::exact;
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

use crate::table::{Table, TargetColumn, code};

/// A column in a few numbers, over its finite values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ColumnSummary {
    /// The name of the column.
    pub name: String,
    /// How many values are missing.
    pub missing: usize,
    /// How many values are infinite.
    pub infinite: usize,
    /// The mean; NaN if no value is finite.
    #[serde(with = "exact")]
    pub mean: f64,
    /// The standard deviation, with the number of values less one as divisor; NaN below two values.
    #[serde(with = "exact")]
    pub standard_deviation: f64,
    /// The smallest value; NaN if no value is finite.
    #[serde(with = "exact")]
    pub minimum: f64,
    /// The largest value; NaN if no value is finite.
    #[serde(with = "exact")]
    pub maximum: f64,
    /// For categories and classes: each text and how many rows have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Vec<(String, usize)>>,
}

impl ColumnSummary {
    /// The summaries of a table's columns, the target last.
    #[must_use]
    pub fn of_table(table: &Table) -> Vec<Self> {
        let mut columns: Vec<Self> = table
            .names()
            .iter()
            .zip(table.features().columns())
            .map(|(name, values)| Self::of(name, values, table.dictionary(name)))
            .collect();
        match table.target() {
            TargetColumn::Absent => {}
            TargetColumn::Classes { name, labels, classes } => {
                let values: Vec<f64> = labels.iter().map(|&label| label as f64).collect();
                columns.push(Self::of(name, ArrayView1::from(&values), Some(classes)));
            }
            TargetColumn::Values { name, values } => {
                columns.push(Self::of(name, ArrayView1::from(values), None));
            }
        }
        columns
    }

    fn of(name: &str, values: ArrayView1<'_, f64>, dictionary: Option<&[String]>) -> Self {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        // Welford 1962: means and sums of squares without cancellation.
        let (mut mean, mut squares) = (0.0, 0.0);
        for (position, value) in finite.iter().enumerate() {
            let delta = value - mean;
            mean += delta / (position + 1) as f64;
            squares += delta * (value - mean);
        }
        let count = finite.len();
        Self {
            name: name.to_owned(),
            missing: values.iter().filter(|value| value.is_nan()).count(),
            infinite: values.iter().filter(|value| value.is_infinite()).count(),
            mean: if count > 0 { mean } else { f64::NAN },
            standard_deviation: if count > 1 {
                (squares / (count - 1) as f64).sqrt()
            } else {
                f64::NAN
            },
            minimum: finite.iter().copied().fold(f64::NAN, f64::min),
            maximum: finite.iter().copied().fold(f64::NAN, f64::max),
            counts: dictionary.map(|texts| {
                let mut counts: Vec<(String, usize)> =
                    texts.iter().map(|text| (text.clone(), 0)).collect();
                let codes = values.iter().filter_map(|&value| code(value, texts.len()));
                codes.for_each(|code| counts[code].1 += 1);
                counts
            }),
        }
    }
}
