//! Categories as numbers that a model can use.

use std::sync::Arc;

use mlp_core::{
    FitError, FittedTransformer, FittedTransformerExt, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Transformer,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::support::{MadeNames, as_param};

/// What to do with a category that was not among the rows learnt from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unknown {
    /// Refuse the row, naming feature and value.
    #[default]
    Refuse,
    /// Zeros in all columns of the feature, or, for codes, one number more than the last code.
    Ignore,
    /// A column of its own, `NAME is other`, or, for codes, one number more than the last code.
    Other,
}

/// A column of ones and zeros for each category of each feature, named `NAME=CATEGORY`; as scikit-learn's `OneHotEncoder`.
///
/// Categories are numbers here: the distinct values of a feature among the rows learnt from, ascending. NaN is a category like others if it is among
/// them. For some features only, see [`ColumnTransform`](crate::ColumnTransform).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OneHotEncoder {
    /// What to do with a category that was not learnt.
    pub unknown: Unknown,
    /// The most categories of a feature, 1,000 by default: one with more is hardly one of categories, and is refused.
    pub max_categories: usize,
}

impl Default for OneHotEncoder {
    fn default() -> Self {
        Self { unknown: Unknown::Refuse, max_categories: 1_000 }
    }
}

impl OneHotEncoder {
    /// Sets what to do with a category that was not learnt.
    #[must_use]
    pub const fn with_unknown(mut self, unknown: Unknown) -> Self {
        self.unknown = unknown;
        self
    }

    /// Sets the most categories of a feature.
    #[must_use]
    pub const fn with_max_categories(mut self, most: usize) -> Self {
        self.max_categories = most;
        self
    }
}

impl Transformer for OneHotEncoder {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        fit(&data, Code::OneHot, self.unknown, self.max_categories)
    }
}

/// The place of each value among the distinct values of its feature, from 0; as scikit-learn's `OrdinalEncoder`.
///
/// Categories as for [`OneHotEncoder`]. A category that was not learnt gets the number after the last one, unless it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OrdinalEncoder {
    /// What to do with a category that was not learnt.
    pub unknown: Unknown,
    /// The most categories of a feature, 100,000 by default.
    pub max_categories: usize,
}

impl Default for OrdinalEncoder {
    fn default() -> Self {
        Self { unknown: Unknown::Refuse, max_categories: 100_000 }
    }
}

impl OrdinalEncoder {
    /// Sets what to do with a category that was not learnt.
    #[must_use]
    pub const fn with_unknown(mut self, unknown: Unknown) -> Self {
        self.unknown = unknown;
        self
    }
}

impl Transformer for OrdinalEncoder {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        fit(&data, Code::Ordinal, self.unknown, self.max_categories)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Code {
    OneHot,
    Ordinal,
}

fn fit(
    data: &Samples<'_>,
    code: Code,
    unknown: Unknown,
    most: usize,
) -> Result<Arc<dyn FittedTransformer>, FitError> {
    let params = Params::new().with("max_categories", as_param(most));
    let mut read = params.read("encoder");
    read.int("max_categories", 1_000, 1..=i64::MAX);
    read.finish()?;
    let features = data.features();
    let mut categories = Vec::with_capacity(data.n_features());
    for (column, name) in features.columns().into_iter().zip(data.names()) {
        let mut values: Vec<f64> = column.iter().map(|value| canonical(*value)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup_by(|a, b| a.to_bits() == b.to_bits());
        if values.len() > most {
            let reason = format!(
                "feature {name:?} has {} categories, at most {most} are allowed",
                values.len()
            );
            return Err(FitError::failed(reason));
        }
        categories.push(values);
    }
    let state = Encoding { inputs: data.names().to_vec(), categories, code, unknown };
    Ok(Arc::new(FittedEncoder::try_from(state).map_err(FitError::failed)?))
}

/// One NaN and one zero.
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// What an encoder has learnt.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoding {
    inputs: Vec<String>,
    /// The categories of each feature, ascending, NaN last.
    #[serde(with = "exact_lists")]
    categories: Vec<Vec<f64>>,
    code: Code,
    unknown: Unknown,
}

/// An encoder with its categories.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Encoding", into = "Encoding")]
pub(crate) struct FittedEncoder {
    state: Encoding,
    outputs: Vec<String>,
}

impl TryFrom<Encoding> for FittedEncoder {
    type Error = String;

    fn try_from(state: Encoding) -> Result<Self, String> {
        let mut outputs = MadeNames::default();
        for (name, categories) in state.inputs.iter().zip(&state.categories) {
            if state.code == Code::Ordinal {
                outputs.push(name.clone())?;
                continue;
            }
            for category in categories {
                outputs.push(format!("{name}={category}"))?;
            }
            if state.unknown == Unknown::Other {
                outputs.push(format!("{name} is other"))?;
            }
        }
        Ok(Self { state, outputs: outputs.into_names() })
    }
}

impl From<FittedEncoder> for Encoding {
    fn from(fitted: FittedEncoder) -> Self {
        fitted.state
    }
}

impl FittedEncoder {
    /// The place of a value among the categories of a feature: one after the last if it is unknown and that is fine.
    fn place(&self, row: usize, feature: usize, value: f64) -> Result<usize, ModelError> {
        let categories = &self.state.categories[feature];
        let value = canonical(value);
        match categories.binary_search_by(|category| category.total_cmp(&value)) {
            Ok(place) => Ok(place),
            Err(_) if self.state.unknown != Unknown::Refuse => Ok(categories.len()),
            Err(_) => Err(ModelError::InvalidInput {
                reason: format!(
                    "row {row}, feature {:?}: {value} is none of the {} categories learnt",
                    self.state.inputs[feature],
                    categories.len()
                ),
            }),
        }
    }
}

impl FittedTransformer for FittedEncoder {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        let other = usize::from(self.state.unknown == Unknown::Other);
        out.fill(0.0);
        for (at, (row, mut out)) in rows.rows().into_iter().zip(out.rows_mut()).enumerate() {
            let mut from = 0;
            for (feature, &value) in row.iter().enumerate() {
                let place = self.place(at, feature, value)?;
                if self.state.code == Code::Ordinal {
                    out[feature] = place as f64;
                    continue;
                }
                let columns = self.state.categories[feature].len() + other;
                if place < columns {
                    out[from + place] = 1.0;
                }
                from += columns;
            }
        }
        Ok(())
    }

    fn input_names(&self) -> &[String] {
        &self.state.inputs
    }

    fn output_names(&self) -> &[String] {
        &self.outputs
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedEncoder {
    const KIND: &'static str = "mlp-models/encoder";

    fn fault(&self) -> Option<String> {
        let sorted = |categories: &Vec<f64>| {
            categories.is_sorted_by(|a, b| a.total_cmp(b).is_lt())
                && categories.iter().all(|c| canonical(*c).to_bits() == c.to_bits())
        };
        let fits = self.state.categories.len() == self.state.inputs.len()
            && self.state.categories.iter().all(sorted);
        (!fits).then(|| "the categories do not fit the features".to_owned())
    }
}

/// Lists of doubles, of which those that are not finite are written as texts.
mod exact_lists {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Exact(#[serde(with = "mlp_core::exact")] f64);

    pub(super) fn serialize<S: Serializer>(lists: &[Vec<f64>], to: S) -> Result<S::Ok, S::Error> {
        let exact = |list: &Vec<f64>| list.iter().copied().map(Exact).collect();
        lists.iter().map(exact).collect::<Vec<Vec<Exact>>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<f64>>, D::Error> {
        let lists = Vec::<Vec<Exact>>::deserialize(from)?;
        Ok(lists.into_iter().map(|list| list.into_iter().map(|Exact(v)| v).collect()).collect())
    }
}
