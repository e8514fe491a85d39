//! Products of features.

use std::sync::Arc;

use mlp_core::{
    FitError, FittedTransformer, FittedTransformerExt, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Transformer,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::support::{MadeNames, as_param};

/// The most columns that may come out: a million doubles a hundred rows are 0.8 GB.
const MAX_OUTPUTS: usize = 100_000;

/// The features and their products up to a degree, in the order and with the names of scikit-learn's `PolynomialFeatures` without its constant: `a`,
/// `b`, `a^2`, `a b`, `b^2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PolynomialFeatures {
    /// The most factors of a product: 1 to 10, 2 by default.
    pub degree: usize,
    /// Whether a feature may be multiplied by itself.
    pub powers: Powers,
}

/// Whether a feature may be multiplied by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Powers {
    /// Squares and higher powers too.
    #[default]
    All,
    /// Products of different features only.
    InteractionsOnly,
}

impl Default for PolynomialFeatures {
    fn default() -> Self {
        Self { degree: 2, powers: Powers::All }
    }
}

impl PolynomialFeatures {
    /// Sets the most factors of a product.
    #[must_use]
    pub const fn with_degree(mut self, degree: usize) -> Self {
        self.degree = degree;
        self
    }

    /// Leaves out squares and higher powers.
    #[must_use]
    pub const fn interactions_only(mut self) -> Self {
        self.powers = Powers::InteractionsOnly;
        self
    }
}

impl Transformer for PolynomialFeatures {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let params = Params::new().with("degree", as_param(self.degree));
        let mut read = params.read("polynomial_features");
        read.int("degree", 2, 1..=10);
        read.finish()?;
        let mut products: Vec<Vec<usize>> = Vec::new();
        let mut last: Vec<Vec<usize>> = vec![Vec::new()];
        for _ in 0..self.degree {
            let mut next = Vec::new();
            for product in &last {
                let from = product.last().map_or(0, |&factor| match self.powers {
                    Powers::All => factor,
                    Powers::InteractionsOnly => factor + 1,
                });
                for factor in from..data.n_features() {
                    next.push(product.iter().copied().chain([factor]).collect());
                }
                if products.len() + next.len() > MAX_OUTPUTS {
                    let reason = format!(
                        "products of {} features up to degree {} are more than {MAX_OUTPUTS}",
                        data.n_features(),
                        self.degree
                    );
                    return Err(FitError::failed(reason));
                }
            }
            products.extend_from_slice(&next);
            last = next;
        }
        let fitted = FittedPolynomial::new(data.names().to_vec(), products);
        Ok(Arc::new(fitted.map_err(FitError::failed)?))
    }
}

/// The factors of each product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SavedPolynomial", into = "SavedPolynomial")]
pub(crate) struct FittedPolynomial {
    inputs: Vec<String>,
    outputs: Vec<String>,
    products: Vec<Vec<usize>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedPolynomial {
    inputs: Vec<String>,
    products: Vec<Vec<usize>>,
}

impl TryFrom<SavedPolynomial> for FittedPolynomial {
    type Error = String;

    fn try_from(saved: SavedPolynomial) -> Result<Self, String> {
        Self::new(saved.inputs, saved.products)
    }
}

impl From<FittedPolynomial> for SavedPolynomial {
    fn from(fitted: FittedPolynomial) -> Self {
        Self { inputs: fitted.inputs, products: fitted.products }
    }
}

impl FittedPolynomial {
    fn new(inputs: Vec<String>, products: Vec<Vec<usize>>) -> Result<Self, String> {
        let name = |product: &Vec<usize>| {
            let factor = |factors: &[usize]| {
                let name = inputs.get(factors[0]).map_or("?", String::as_str);
                match factors.len() {
                    1 => name.to_owned(),
                    power => format!("{name}^{power}"),
                }
            };
            product.chunk_by(|a, b| a == b).map(factor).collect::<Vec<_>>().join(" ")
        };
        let mut outputs = MadeNames::default();
        for product in &products {
            outputs.push(name(product))?;
        }
        Ok(Self { inputs, outputs: outputs.into_names(), products })
    }
}

impl FittedTransformer for FittedPolynomial {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            for (cell, product) in out.iter_mut().zip(&self.products) {
                *cell = product.iter().map(|&factor| row[factor]).product();
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

impl Plain for FittedPolynomial {
    const KIND: &'static str = "mlp-models/polynomial";

    fn fault(&self) -> Option<String> {
        let fits = self.products.iter().all(|product| {
            !product.is_empty() && product.iter().all(|&factor| factor < self.inputs.len())
        });
        (!fits).then(|| "the products do not fit the features".to_owned())
    }
}
