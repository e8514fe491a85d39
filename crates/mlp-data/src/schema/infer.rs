//! A schema from a sample.

use ndarray::ArrayView1;

use super::definition::{ColumnKind, ColumnSchema, Infinite, Schema};
use crate::error::{Error, Result};
use crate::table::{Table, TargetColumn};

/// How far a schema goes beyond the sample it is inferred from.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InferOptions {
    /// How far a range reaches beyond the smallest and the largest value, as a share of their distance: 0 by default, the sample as it is.
    pub range_margin: f64,
    /// How much more of a column may be missing than in the sample: 0 by default.
    pub missing_margin: f64,
}

impl Default for InferOptions {
    fn default() -> Self {
        Self { range_margin: 0.0, missing_margin: 0.0 }
    }
}

impl InferOptions {
    /// The sample as it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how far a range reaches beyond the sample, as a share of its width.
    #[must_use]
    pub fn with_range_margin(mut self, share: f64) -> Self {
        self.range_margin = share;
        self
    }

    /// Sets how much more of a column may be missing than in the sample.
    #[must_use]
    pub fn with_missing_margin(mut self, share: f64) -> Self {
        self.missing_margin = share;
        self
    }
}

impl Schema {
    /// The schema that describes a sample: kinds, ranges, texts and missing rates of its columns, the target too. The sample keeps it.
    ///
    /// ```
    /// use mlp_data::{InferOptions, Schema, Table};
    /// use ndarray::array;
    ///
    /// let sample = Table::new(["ph"], array![[3.0], [3.5], [4.0]])?;
    /// let schema = Schema::infer(&sample, &InferOptions::new().with_range_margin(0.5))?;
    /// assert_eq!((schema.columns[0].minimum, schema.columns[0].maximum), (Some(2.5), Some(4.5)));
    /// # Ok::<(), mlp_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a margin is negative or not finite.
    pub fn infer(sample: &Table, options: &InferOptions) -> Result<Self> {
        for margin in [options.range_margin, options.missing_margin] {
            if !(margin.is_finite() && margin >= 0.0) {
                let reason = format!("it is {margin}, it must be a number from 0");
                return Err(Error::Invalid {
                    what: "a margin of the inference".to_owned(),
                    reason,
                });
            }
        }
        let mut columns: Vec<ColumnSchema> = sample
            .names()
            .iter()
            .zip(sample.features().columns())
            .map(|(name, values)| match sample.dictionary(name) {
                Some(texts) => with_missing(
                    ColumnSchema::category(name).with_texts(texts.to_vec()),
                    values,
                    options,
                ),
                None => numbers(name, values, options),
            })
            .collect();
        match sample.target() {
            TargetColumn::Absent => {}
            TargetColumn::Classes { name, classes, .. } => {
                columns.push(ColumnSchema::category(name).with_texts(classes.clone()));
            }
            TargetColumn::Values { name, values } => {
                columns.push(numbers(name, ArrayView1::from(values), options));
            }
        }
        Ok(Self::new(columns))
    }
}

fn numbers(name: &str, values: ArrayView1<'_, f64>, options: &InferOptions) -> ColumnSchema {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let whole = finite().all(|value| value.fract() == 0.0) && finite().next().is_some();
    let kind = if whole { ColumnKind::Integer } else { ColumnKind::Number };
    let mut column = ColumnSchema::number(name);
    column.kind = kind;
    if values.iter().any(|value| value.is_infinite()) {
        // A range would refuse the infinities of the sample itself.
        column = column.with_infinite(Infinite::Allowed);
    } else if finite().next().is_some() {
        let low = finite().fold(f64::INFINITY, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        let margin = (high - low) * options.range_margin;
        let wider = (low - margin, high + margin);
        // The distance of very large values of opposite signs is no finite number; such a range is kept as it is.
        let sane = margin.is_finite() && wider.0.is_finite() && wider.1.is_finite();
        let (low, high) = if sane { wider } else { (low, high) };
        column = column.with_range(low, high);
    }
    with_missing(column, values, options)
}

fn with_missing(
    column: ColumnSchema,
    values: ArrayView1<'_, f64>,
    options: &InferOptions,
) -> ColumnSchema {
    let missing = values.iter().filter(|value| value.is_nan()).count();
    if missing == 0 && options.missing_margin == 0.0 {
        return column;
    }
    let rate = missing as f64 / values.len().max(1) as f64;
    // Rounded up by the last digit, so that `rate × rows` is never below the count it came from.
    column.with_missing_rate((rate * (1.0 + f64::EPSILON) + options.missing_margin).min(1.0))
}
