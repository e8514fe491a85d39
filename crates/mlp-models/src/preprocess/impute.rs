//! Missing values, filled in.

use std::sync::Arc;

use mlp_core::{
    FitError, FittedTransformer, FittedTransformerExt, ModelError, Samples, SaveError, Saved,
    Scratch, Transformer,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::support::{check_no_infinite_feature, check_no_infinity, quantile};

/// What a missing value is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fill {
    /// The (weighted) mean of the feature's values.
    Mean,
    /// Their median, without regard to weights.
    Median,
    /// The value with the most rows (by weight), the smallest of equally frequent ones.
    MostFrequent,
    /// This number, which must be finite.
    Constant(f64),
}

/// Fills in missing values (NaN), feature by feature; as scikit-learn's `SimpleImputer`.
///
/// With an indicator, each feature that had a missing value among the rows learnt from gets a second column, `NAME is missing`, of ones and zeros behind
/// all features. A feature without any value among the rows learnt from is an error, unless it is filled with a constant. Infinity is an error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Imputer {
    /// What to fill in.
    pub fill: Fill,
    /// Whether columns tell what was missing.
    #[serde(default)]
    pub indicator: Indicator,
}

/// Whether columns tell what was missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// No further columns.
    #[default]
    Without,
    /// One for each feature that had a missing value among the rows learnt from.
    With,
}

impl Imputer {
    /// Fills with this.
    #[must_use]
    pub const fn new(fill: Fill) -> Self {
        Self { fill, indicator: Indicator::Without }
    }

    /// Adds columns that tell what was missing.
    #[must_use]
    pub const fn with_indicator(mut self) -> Self {
        self.indicator = Indicator::With;
        self
    }
}

impl Transformer for Imputer {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        check_no_infinite_feature(&data)?;
        let (features, weights) = (data.features(), crate::support::weights(&data)?);
        let mut fills = Vec::with_capacity(data.n_features());
        let mut indicated = Vec::new();
        for (feature, column) in features.columns().into_iter().enumerate() {
            let rows = column.iter().zip(weights.iter());
            let known: Vec<(f64, f64)> =
                rows.filter(|(value, _)| !value.is_nan()).map(|(v, w)| (*v, *w)).collect();
            if known.len() < column.len() && self.indicator == Indicator::With {
                indicated.push(feature);
            }
            fills.push(self.fill_of(known, &data.names()[feature])?);
        }
        let inputs = data.names().to_vec();
        Ok(Arc::new(FittedImputer::new(inputs, fills, indicated)))
    }
}

impl Imputer {
    fn fill_of(&self, mut known: Vec<(f64, f64)>, name: &str) -> Result<f64, FitError> {
        if let Fill::Constant(value) = self.fill {
            let params = mlp_core::Params::new().with("constant", value);
            let mut read = params.read("imputer");
            read.float("constant", 0.0, f64::MIN..=f64::MAX);
            read.finish()?;
            return Ok(value);
        }
        let total: f64 = known.iter().map(|(_, weight)| weight).sum();
        if known.is_empty() || total <= 0.0 {
            return Err(FitError::failed(format!("feature {name:?} has no value to fill with")));
        }
        Ok(match self.fill {
            Fill::Mean => known.iter().map(|(value, weight)| value * weight).sum::<f64>() / total,
            Fill::Median => quantile(&known.iter().map(|(v, _)| *v).collect::<Vec<_>>(), 0.5),
            _ => {
                known.sort_by(|a, b| a.0.total_cmp(&b.0));
                let weight = |rows: &[(f64, f64)]| rows.iter().map(|(_, w)| w).sum::<f64>();
                let groups =
                    known.chunk_by(|a, b| a.0 == b.0).map(|rows| (rows[0].0, weight(rows)));
                groups
                    .reduce(|best, next| if next.1 > best.1 { next } else { best })
                    .map_or(f64::NAN, |(value, _)| value)
            }
        })
    }
}

/// A number to fill in for each feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FittedImputer {
    inputs: Vec<String>,
    outputs: Vec<String>,
    fills: Vec<f64>,
    /// The features whose missing values are told, ascending.
    indicated: Vec<usize>,
}

impl FittedImputer {
    fn new(inputs: Vec<String>, fills: Vec<f64>, indicated: Vec<usize>) -> Self {
        let outputs = Self::outputs(&inputs, &indicated);
        Self { inputs, outputs, fills, indicated }
    }

    fn outputs(inputs: &[String], indicated: &[usize]) -> Vec<String> {
        let told = indicated.iter().filter_map(|&feature| inputs.get(feature));
        inputs.iter().cloned().chain(told.map(|name| format!("{name} is missing"))).collect()
    }
}

impl FittedTransformer for FittedImputer {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        check_no_infinity(&rows)?;
        let width = self.inputs.len();
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            for (place, value) in row.iter().enumerate() {
                out[place] = if value.is_nan() { self.fills[place] } else { *value };
            }
            for (place, &feature) in self.indicated.iter().enumerate() {
                out[width + place] = f64::from(u8::from(row[feature].is_nan()));
            }
        }
        Ok(())
    }

    fn input_names(&self) -> &[String] {
        &self.inputs
    }

    fn output_names(&self) -> &[String] {
        &self.outputs
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedImputer {
    const KIND: &'static str = "mlp-models/imputer";

    fn fault(&self) -> Option<String> {
        let fits = self.fills.len() == self.inputs.len()
            && self.fills.iter().all(|fill| fill.is_finite())
            && self.indicated.is_sorted_by(|a, b| a < b)
            && self.indicated.last().is_none_or(|&last| last < self.inputs.len())
            && self.outputs == Self::outputs(&self.inputs, &self.indicated);
        (!fits).then(|| "what is filled in does not fit the features".to_owned())
    }
}
