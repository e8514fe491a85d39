//! Missing values replaced by what was learnt from the data.

use std::sync::Arc;

use mlp_core::{
    FitError, FittedTransformer, FittedTransformerExt, ModelError, Samples, SaveError, Saved,
    Scratch, Transformer, exact,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a missing value is replaced by.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fill {
    /// The mean of the column's other values.
    Mean,
    /// Their median: the mean of the two middle ones if they are even in number. The default, because outliers do not move it.
    #[default]
    Median,
    /// A number.
    Constant(f64),
}

/// Replaces missing values (NaN) by what it learns from the data; infinities stay, and are not learnt from.
///
/// ```
/// use mlp_core::{FittedTransformerExt, Transformer};
/// use mlp_data::{Fill, FillMissing, Table};
/// use ndarray::array;
///
/// let table = Table::new(["age"], array![[20.0], [f64::NAN], [40.0]])?;
/// let filled = FillMissing::new(Fill::Mean).fit(table.samples()?, 0).unwrap();
/// assert_eq!(filled.transform(table.features())?, array![[20.0], [30.0], [40.0]]);
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct FillMissing {
    fill: Fill,
}

impl FillMissing {
    /// A transformer that fills so.
    #[must_use]
    pub fn new(fill: Fill) -> Self {
        Self { fill }
    }
}

impl Transformer for FillMissing {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let features = data.features();
        let columns = data
            .names()
            .iter()
            .zip(features.columns())
            .map(|(name, values)| {
                let known = values.iter().copied().filter(|value| value.is_finite()).collect();
                let value = self.learn(known).ok_or_else(|| {
                    FitError::failed(Error::Invalid {
                        what: format!("column {name:?}"),
                        reason: "it has no finite value to learn from".to_owned(),
                    })
                })?;
                Ok(FilledColumn { name: name.clone(), value })
            })
            .collect::<Result<Vec<_>, FitError>>()?;
        Ok(Arc::new(FilledMissing::new(columns)))
    }
}

impl FillMissing {
    fn learn(&self, mut known: Vec<f64>) -> Option<f64> {
        let count = known.len();
        match self.fill {
            Fill::Constant(value) => Some(value),
            _ if count == 0 => None,
            Fill::Mean => {
                Some(known.iter().enumerate().fold(0.0, |m, (i, v)| m + (v - m) / (i + 1) as f64))
            }
            Fill::Median => {
                known.sort_by(f64::total_cmp);
                Some(f64::midpoint(known[(count - 1) / 2], known[count / 2]))
            }
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilledColumn {
    name: String,
    #[serde(with = "exact")]
    value: f64,
}

/// What [`FillMissing`] learnt: a value for each column.
#[derive(Debug, Clone)]
pub struct FilledMissing {
    names: Vec<String>,
    values: Vec<f64>,
}

impl FilledMissing {
    pub(crate) const KIND: &str = "mlp-data/filled-missing";

    fn new(columns: Vec<FilledColumn>) -> Self {
        let (names, values) = columns.into_iter().map(|c| (c.name, c.value)).unzip();
        Self { names, values }
    }

    /// The value that stands for a missing one, for each column.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn load(saved: &Saved) -> Result<Self, SaveError> {
        Ok(Self::new(super::load::body(saved, 1)?))
    }
}

impl FittedTransformer for FilledMissing {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        for (row, mut filled) in rows.rows().into_iter().zip(out.rows_mut()) {
            for ((filled, &value), &instead) in filled.iter_mut().zip(row).zip(&self.values) {
                *filled = if value.is_nan() { instead } else { value };
            }
        }
        Ok(())
    }

    fn input_names(&self) -> &[String] {
        &self.names
    }

    fn output_names(&self) -> &[String] {
        &self.names
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let columns: Vec<_> = self
            .names
            .iter()
            .zip(&self.values)
            .map(|(name, &value)| FilledColumn { name: name.clone(), value })
            .collect();
        super::load::saved(Self::KIND, 1, &columns)
    }
}
