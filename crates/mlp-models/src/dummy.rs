//! Baselines that learn nothing from the features: what a model must beat.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Signature, random,
};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::support::{class_weights, quantile, weights};

/// How a [`DummyClassifier`] guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Guess {
    MostFrequent,
    Prior,
    Stratified,
    Uniform,
    Constant(usize),
}

/// Guesses the class from the shares of the classes alone.
///
/// As scikit-learn's `DummyClassifier`, with one difference: where guesses are random (`stratified`, `uniform`), the same row always gets the
/// same guess, drawn from a stream of (seed, the row's bits), because a model's answer must depend on its row alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DummyClassifier(Guess);

impl DummyClassifier {
    /// Always the most frequent class, with probability 1; the first of equally frequent ones.
    #[must_use]
    pub const fn most_frequent() -> Self {
        Self(Guess::MostFrequent)
    }

    /// The shares of the classes as probabilities.
    #[must_use]
    pub const fn prior() -> Self {
        Self(Guess::Prior)
    }

    /// A random class, drawn with the shares of the classes.
    #[must_use]
    pub const fn stratified() -> Self {
        Self(Guess::Stratified)
    }

    /// A random class, drawn with the same probability for each.
    #[must_use]
    pub const fn uniform() -> Self {
        Self(Guess::Uniform)
    }

    /// Always this class.
    #[must_use]
    pub const fn constant(class: usize) -> Self {
        Self(Guess::Constant(class))
    }
}

impl Estimator for DummyClassifier {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let (labels, names) = data.classes()?;
        let totals = class_weights(&labels, &weights(&data)?, names.len());
        let total: f64 = totals.iter().sum();
        let n = names.len();
        let only = |class: usize| {
            (0..n).map(|other| f64::from(u8::from(other == class))).collect::<Vec<_>>()
        };
        let outputs = match self.0 {
            Guess::MostFrequent => only(
                (0..n)
                    .fold(0, |best, class| if totals[class] > totals[best] { class } else { best }),
            ),
            Guess::Prior | Guess::Stratified => {
                totals.iter().map(|weight| weight / total).collect()
            }
            Guess::Uniform => vec![1.0 / n as f64; n],
            Guess::Constant(class) if class < n => only(class),
            Guess::Constant(_) => {
                return Err(FitError::TooFew {
                    what: "classes for the constant guess",
                    given: n,
                    needed: n + 1,
                });
            }
        };
        let signature = Signature::classifier(data.names().iter().cloned(), names.iter().cloned());
        let is_drawn = matches!(self.0, Guess::Stratified | Guess::Uniform);
        let seed = is_drawn.then_some(seed);
        Ok(Arc::new(FittedDummy { signature, outputs, seed }))
    }
}

/// How a [`DummyRegressor`] guesses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Centre {
    Mean,
    Median,
    Quantile(f64),
    Constant(f64),
}

/// Guesses the number from the target alone; as scikit-learn's `DummyRegressor`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DummyRegressor(Centre);

impl DummyRegressor {
    /// Always the (weighted) mean.
    #[must_use]
    pub const fn mean() -> Self {
        Self(Centre::Mean)
    }

    /// Always the median, without regard to weights.
    #[must_use]
    pub const fn median() -> Self {
        Self(Centre::Median)
    }

    /// Always this quantile of the target (0 to 1, interpolated linearly), without regard to weights.
    #[must_use]
    pub const fn quantile(share: f64) -> Self {
        Self(Centre::Quantile(share))
    }

    /// Always this number, which must be finite.
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        Self(Centre::Constant(value))
    }
}

impl Estimator for DummyRegressor {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let values = data.values()?;
        let weights = weights(&data)?;
        let guess = match self.0 {
            Centre::Mean => {
                values.iter().zip(weights.iter()).map(|(v, w)| v * w).sum::<f64>()
                    / weights.iter().sum::<f64>()
            }
            Centre::Median => quantile(&values, 0.5),
            Centre::Quantile(share) => {
                let params = Params::new().with("quantile", share);
                let mut read = params.read("dummy_regressor");
                read.float("quantile", 0.5, 0.0..=1.0);
                read.finish()?;
                quantile(&values, share)
            }
            Centre::Constant(value) => {
                let params = Params::new().with("constant", value);
                let mut read = params.read("dummy_regressor");
                read.float("constant", 0.0, f64::MIN..=f64::MAX);
                read.finish()?;
                value
            }
        };
        let signature = Signature::regressor(data.names().iter().cloned(), "prediction");
        Ok(Arc::new(FittedDummy { signature, outputs: vec![guess], seed: None }))
    }
}

/// The same outputs for every row, or a class drawn with them as shares.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FittedDummy {
    signature: Signature,
    outputs: Vec<f64>,
    seed: Option<u64>,
}

impl FittedDummy {
    fn draw(&self, seed: u64, row: ArrayView1<'_, f64>) -> usize {
        // The stream of a row is chosen by its bits (FNV-1a over whole words).
        let word = |hash: u64, value: &f64| {
            (hash ^ value.to_bits()).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        };
        let place = random::uniform(&mut random::stream(
            seed,
            row.iter().fold(0xcbf2_9ce4_8422_2325, word),
        ));
        let mut below = 0.0;
        let drawn = self.outputs.iter().position(|share| {
            below += share;
            place < below
        });
        drawn.unwrap_or(self.outputs.len() - 1)
    }
}

impl Model for FittedDummy {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            match self.seed {
                None => out.assign(&ArrayView1::from(&self.outputs)),
                Some(seed) => {
                    out.fill(0.0);
                    out[self.draw(seed, row)] = 1.0;
                }
            }
        }
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedDummy {
    fn importances(&self) -> Option<Vec<f64>> {
        None
    }

    fn complexity(&self) -> Complexity {
        Complexity {
            parameters: self.outputs.len(),
            bytes: size_of::<Self>() + size_of_val(&self.outputs[..]),
        }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedDummy {
    const KIND: &'static str = "mlp-models/dummy";

    fn fault(&self) -> Option<String> {
        (self.outputs.len() != self.signature.outputs().len() || self.outputs.is_empty())
            .then(|| "the guesses do not fit the outputs".to_owned())
    }
}
