//! Features on one scale, and choices of features.

use std::sync::Arc;

use mlp_core::{
    FitError, FittedTransformer, FittedTransformerExt, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Transformer,
};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, Axis};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::support::{quantile, weights};

/// Shifts each feature to mean 0 and scales it to standard deviation 1 (n in the denominator); as scikit-learn's `StandardScaler`.
///
/// A weight counts like that many rows. A constant feature becomes 0: its scale stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandardScaler;

impl Transformer for StandardScaler {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let weights = weights(&data)?;
        let total: f64 = weights.iter().sum();
        FittedScaler::fit(&data, |column| {
            let mean_of = |of: &dyn Fn(f64) -> f64| {
                let rows = column.iter().zip(weights.iter());
                rows.map(|(value, weight)| weight * of(*value)).sum::<f64>() / total
            };
            let plain = mean_of(&|value| value);
            // Sums and squares of numbers that are very large or very small are taken in a unit of their own.
            let unit = column.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            let mean = if plain.is_finite() { plain } else { unit * mean_of(&|v| v / unit) };
            let variance = mean_of(&|value| (value - mean).powi(2));
            if variance.is_normal() {
                return (mean, variance.sqrt());
            }
            let unit = column.iter().fold(0.0_f64, |most, value| most.max((value - mean).abs()));
            let share = |value: f64| if unit > 0.0 { (value - mean) / unit } else { 0.0 };
            (mean, unit * mean_of(&|value| share(value).powi(2)).sqrt())
        })
    }
}

/// Shifts and scales each feature to the range from 0 to 1 of the rows learnt from; as scikit-learn's `MinMaxScaler`.
///
/// Later rows may fall outside. A constant feature becomes 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinMaxScaler;

impl Transformer for MinMaxScaler {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        FittedScaler::fit(&data, |column| {
            let low = column.iter().copied().fold(f64::INFINITY, f64::min);
            (low, column.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low)
        })
    }
}

/// Shifts each feature by its median and scales it by the range between two quantiles, without regard to weights: a few wild values change little. As
/// scikit-learn's `RobustScaler`.
///
/// A feature whose quantiles are the same keeps its scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RobustScaler {
    /// The lower quantile, 0.25 by default: from 0 to below the upper one.
    pub low: f64,
    /// The upper quantile, 0.75 by default: at most 1.
    pub high: f64,
}

impl Default for RobustScaler {
    fn default() -> Self {
        Self { low: 0.25, high: 0.75 }
    }
}

impl RobustScaler {
    /// Sets the two quantiles.
    #[must_use]
    pub const fn with_quantiles(mut self, low: f64, high: f64) -> Self {
        (self.low, self.high) = (low, high);
        self
    }
}

impl Transformer for RobustScaler {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let params = Params::new().with("low", self.low).with("high", self.high);
        let mut read = params.read("robust_scaler");
        let low = read.float("low", 0.25, 0.0..=1.0);
        read.float("high", 0.75, low.next_up()..=1.0);
        read.finish()?;
        FittedScaler::fit(&data, |column| {
            let values = column.to_vec();
            let range = quantile(&values, self.high) - quantile(&values, self.low);
            (quantile(&values, 0.5), range)
        })
    }
}

/// A shift and a scale for each feature: `(x − shift) / scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedScaler {
    names: Vec<String>,
    shift: Vec<f64>,
    scale: Vec<f64>,
}

impl FittedScaler {
    fn fit(
        data: &Samples<'_>,
        shift_and_scale: impl Fn(ArrayView1<'_, f64>) -> (f64, f64),
    ) -> Result<Arc<dyn FittedTransformer>, FitError> {
        data.check_finite()?;
        let (mut shift, mut scale) = (Vec::new(), Vec::new());
        for (column, name) in data.features().axis_iter(Axis(1)).zip(data.names()) {
            let first = column.first().copied().unwrap_or(0.0);
            let is_constant = column.iter().all(|value| *value == first);
            let (by, to) = if is_constant { (first, 0.0) } else { shift_and_scale(column) };
            if !(by.is_finite() && to.is_finite()) {
                let reason = format!("the spread of feature {name:?} is beyond all numbers");
                return Err(FitError::failed(reason));
            }
            shift.push(by);
            scale.push(to);
        }
        // A constant's deviation is zero but for rounding, which must not be blown up to one.
        let usable = |(scale, shift): (f64, &f64)| {
            if scale > 10.0 * f64::EPSILON * shift.abs() { scale } else { 1.0 }
        };
        let scale = scale.into_iter().zip(&shift).map(usable).collect();
        Ok(Arc::new(Self { names: data.names().to_vec(), shift, scale }))
    }
}

impl FittedTransformer for FittedScaler {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            for (place, value) in row.iter().enumerate() {
                out[place] = (value - self.shift[place]) / self.scale[place];
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
        save(self)
    }
}

impl Plain for FittedScaler {
    const KIND: &'static str = "mlp-models/scaler";

    fn fault(&self) -> Option<String> {
        let fits = self.shift.len() == self.names.len() && self.scale.len() == self.names.len();
        (!fits).then(|| "the scales do not fit the features".to_owned())
    }
}

/// Keeps the features with these names, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ColumnSelect {
    names: Vec<String>,
}

impl ColumnSelect {
    /// Keeps these features.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }
}

impl Transformer for ColumnSelect {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let missing =
            |name: &String| format!("feature {name:?} is not among {}", data.names().join(", "));
        let column = |name: &String| {
            data.names()
                .iter()
                .position(|other| other == name)
                .ok_or_else(|| FitError::failed(missing(name)))
        };
        let columns = self.names.iter().map(column).collect::<Result<_, _>>()?;
        Ok(Arc::new(SelectedColumns {
            inputs: data.names().to_vec(),
            columns,
            outputs: self.names.clone(),
        }))
    }
}

/// Some columns of the input, in some order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectedColumns {
    inputs: Vec<String>,
    columns: Vec<usize>,
    outputs: Vec<String>,
}

impl FittedTransformer for SelectedColumns {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        for (place, &column) in self.columns.iter().enumerate() {
            out.column_mut(place).assign(&rows.column(column));
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

impl Plain for SelectedColumns {
    const KIND: &'static str = "mlp-models/columns";

    fn fault(&self) -> Option<String> {
        let named = |(&column, name): (&usize, &String)| self.inputs.get(column) == Some(name);
        let fits = self.columns.len() == self.outputs.len()
            && self.columns.iter().zip(&self.outputs).all(named);
        (!fits).then(|| "the columns do not fit the features".to_owned())
    }
}
