//! A fitted logistic regression.

use mlp_core::{Complexity, FittedModel, Model, ModelError, SaveError, Saved, Scratch, Signature};
use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::link::{normalise, sigmoid};
use crate::persist::{Plain, save};
use crate::solve::{dot, in_one_piece, space_for};
use crate::support::check_finite;

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedLogistic {
    signature: Signature,
    /// The classes that took part in the fit, ascending.
    present: Vec<usize>,
    /// One function for two classes, else one a class: the weights of the features, then the intercept.
    weights: Vec<f64>,
}

impl FittedLogistic {
    pub(super) fn new(signature: Signature, present: Vec<usize>, weights: Vec<f64>) -> Self {
        Self { signature, present, weights }
    }

    /// The weights of the features: one row for two classes, else one a class that took part (`functions × n_features`).
    #[must_use]
    pub fn coefficients(&self) -> Vec<Vec<f64>> {
        self.functions().map(|function| function[..self.signature.n_features()].to_vec()).collect()
    }

    /// The weight of each feature with its name, for each function: the class it speaks for (of two classes the second), and its weights.
    pub fn named_coefficients(&self) -> impl Iterator<Item = (&str, Vec<(&str, f64)>)> {
        let speaks_for = match &self.present[..] {
            [_, second] => std::slice::from_ref(second),
            all => all,
        };
        let classes = self.signature.classes().unwrap_or_default();
        speaks_for.iter().zip(self.functions()).map(|(&class, function)| {
            let names = self.signature.features().iter().map(String::as_str);
            (classes[class].as_str(), names.zip(function.iter().copied()).collect())
        })
    }

    /// The intercept of each function.
    #[must_use]
    pub fn intercepts(&self) -> Vec<f64> {
        self.functions().map(|function| function[self.signature.n_features()]).collect()
    }

    fn functions(&self) -> impl Iterator<Item = &[f64]> {
        self.weights.chunks_exact(self.signature.n_features() + 1)
    }

    fn write(&self, scores: &mut [f64], mut out: ArrayViewMut1<'_, f64>) {
        out.fill(0.0);
        if let [score] = scores {
            // Both by the sigmoid: one less the other would lose the digits of a small probability.
            out[self.present[0]] = sigmoid(-*score);
            out[self.present[1]] = sigmoid(*score);
        } else {
            normalise(scores);
            self.present
                .iter()
                .zip(scores.iter())
                .for_each(|(&class, probability)| out[class] = *probability);
        }
    }
}

impl Model for FittedLogistic {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        let n_features = self.signature.n_features();
        let mut scores = scratch.take(self.weights.len() / (n_features + 1));
        let mut space = scratch.take(space_for(&rows));
        for (row, out) in rows.rows().into_iter().zip(out.rows_mut()) {
            let row = in_one_piece(&row, &mut space);
            for (score, function) in scores.iter_mut().zip(self.functions()) {
                *score = function[n_features] + dot(row, &function[..n_features]);
            }
            self.write(&mut scores, out);
        }
        scratch.give(scores);
        scratch.give(space);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedLogistic {
    /// The Euclidean length of a feature's weights over the functions: the absolute weight where there are two classes.
    fn importances(&self) -> Option<Vec<f64>> {
        let length = |feature: usize| {
            self.functions().map(|function| function[feature].powi(2)).sum::<f64>().sqrt()
        };
        Some((0..self.signature.n_features()).map(length).collect())
    }

    fn linear_weights(&self) -> Option<Vec<Vec<f64>>> {
        Some(self.coefficients())
    }

    fn complexity(&self) -> Complexity {
        Complexity {
            parameters: self.weights.len(),
            bytes: size_of::<Self>() + size_of_val(&self.weights[..]),
        }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedLogistic {
    const KIND: &'static str = "mlp-models/logistic";

    fn fault(&self) -> Option<String> {
        let classes = self.signature.classes().map_or(0, <[String]>::len);
        let functions = if self.present.len() == 2 { 1 } else { self.present.len() };
        let fits = self.present.len() >= 2
            && self.present.is_sorted_by(|a, b| a < b)
            && self.present.last().is_some_and(|&last| last < classes)
            && self.weights.len() == functions * (self.signature.n_features() + 1);
        (!fits).then(|| "the weights do not fit the features and classes".to_owned())
    }
}
