//! Features that are formulas over other features.

use mlp_core::{FittedTransformer, FittedTransformerExt, ModelError, SaveError, Saved, Scratch};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A feature as a formula. NaN and infinity go through as arithmetic says: 0 / 0 is NaN, ln(1 + x) of x below -1 too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Formula {
    /// The first plus the second.
    Sum(String, String),
    /// The first less the second.
    Difference(String, String),
    /// The first times the second.
    Product(String, String),
    /// The first over the second.
    Ratio(String, String),
    /// ln(1 + x), for counts and amounts.
    Log1p(String),
    /// The square.
    Square(String),
}

impl Formula {
    /// One feature over another.
    pub fn ratio(over: impl Into<String>, under: impl Into<String>) -> Self {
        Self::Ratio(over.into(), under.into())
    }

    /// One feature times another.
    pub fn product(first: impl Into<String>, second: impl Into<String>) -> Self {
        Self::Product(first.into(), second.into())
    }

    fn inputs(&self) -> (&str, &str) {
        match self {
            Self::Sum(a, b) | Self::Difference(a, b) | Self::Product(a, b) | Self::Ratio(a, b) => {
                (a, b)
            }
            Self::Log1p(a) | Self::Square(a) => (a, a),
        }
    }

    fn value(&self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sum(..) => a + b,
            Self::Difference(..) => a - b,
            Self::Product(..) => a * b,
            Self::Ratio(..) => a / b,
            Self::Log1p(_) => a.ln_1p(),
            Self::Square(_) => a * a,
        }
    }
}

/// New features by formulas, to stand beside those they are computed from.
#[derive(Debug, Clone)]
pub struct DerivedFeatures {
    inputs: Vec<String>,
    outputs: Vec<String>,
    formulas: Vec<Formula>,
    /// Where the two operands of each formula stand among the inputs.
    places: Vec<(usize, usize)>,
}

impl DerivedFeatures {
    pub(crate) const KIND: &str = "mlp-data/derived-features";

    /// Features by their names and formulas.
    ///
    /// # Errors
    /// If there is none, or a name stands twice.
    pub fn new<N: Into<String>>(features: impl IntoIterator<Item = (N, Formula)>) -> Result<Self> {
        let (outputs, formulas): (Vec<String>, Vec<Formula>) =
            features.into_iter().map(|(name, formula)| (name.into(), formula)).unzip();
        if outputs.is_empty() {
            let reason = "there is none".to_owned();
            return Err(Error::Invalid { what: "the list of derived features".to_owned(), reason });
        }
        if let Some(twice) = (0..outputs.len()).find(|&i| outputs[..i].contains(&outputs[i])) {
            return Err(Error::DuplicateName { what: "the feature", name: outputs[twice].clone() });
        }
        let mut inputs: Vec<String> = Vec::new();
        let mut place = |name: &str| {
            inputs.iter().position(|input| input == name).unwrap_or_else(|| {
                inputs.push(name.to_owned());
                inputs.len() - 1
            })
        };
        let places = formulas
            .iter()
            .map(|formula| {
                let (a, b) = formula.inputs();
                (place(a), place(b))
            })
            .collect();
        Ok(Self { inputs, outputs, formulas, places })
    }

    pub(crate) fn load(saved: &Saved) -> Result<Self, SaveError> {
        let pairs: Vec<(String, Formula)> = super::load::body(saved, 1)?;
        Self::new(pairs).map_err(|error| SaveError::Malformed { reason: error.to_string() })
    }
}

impl FittedTransformer for DerivedFeatures {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        for (row, mut features) in rows.rows().into_iter().zip(out.rows_mut()) {
            for ((feature, formula), &(a, b)) in
                features.iter_mut().zip(&self.formulas).zip(&self.places)
            {
                *feature = formula.value(row[a], row[b]);
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
        let pairs: Vec<_> = self.outputs.iter().zip(&self.formulas).collect();
        super::load::saved(Self::KIND, 1, &pairs)
    }
}
