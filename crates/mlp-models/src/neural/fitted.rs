//! A fitted perceptron.

use mlp_core::{Complexity, FittedModel, Model, ModelError, SaveError, Saved, Scratch, Signature};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut1, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::network::{Activation, Layer, Loss, Network};
use crate::logistic::{normalise, sigmoid};
use crate::persist::{Plain, save};
use crate::support::check_finite;

/// A fitted multilayer perceptron.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SavedPerceptron", into = "SavedPerceptron")]
pub struct FittedPerceptron {
    signature: Signature,
    network: Network,
    /// The classes that took part in the fit, ascending; none for numbers.
    present: Vec<usize>,
    /// The mean and the standard deviation of a target of numbers.
    shift: f64,
    scale: f64,
    curve: Vec<f64>,
}

impl FittedPerceptron {
    pub(super) fn new(
        signature: Signature,
        network: Network,
        present: Vec<usize>,
        (shift, scale): (f64, f64),
        curve: Vec<f64>,
    ) -> Self {
        Self { signature, network, present, shift, scale, curve }
    }

    /// The loss after each epoch: of the rows set aside if there are any, else the mean over the epoch's batches.
    #[must_use]
    pub fn loss_curve(&self) -> &[f64] {
        &self.curve
    }

    /// The weights of each layer (`inputs × units`).
    pub fn weights(&self) -> impl Iterator<Item = ArrayView2<'_, f64>> {
        self.network.layers.iter().map(|layer| layer.weights.view())
    }

    fn write(&self, sums: &mut [f64], mut out: ArrayViewMut1<'_, f64>) {
        if self.network.loss == Loss::Squared {
            out[0] = self.shift + self.scale * sums[0];
            return;
        }
        out.fill(0.0);
        if let [sum] = sums {
            out[self.present[0]] = sigmoid(-*sum);
            out[self.present[1]] = sigmoid(*sum);
        } else {
            normalise(sums);
            let places = self.present.iter().zip(sums.iter());
            places.for_each(|(&class, probability)| out[class] = *probability);
        }
    }
}

impl Model for FittedPerceptron {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        let widest = |layer: &Layer| layer.intercepts.len().max(layer.weights.nrows());
        let widest = self.network.layers.iter().map(widest).max().unwrap_or(0);
        let (mut input, mut sums) = (scratch.take(widest), scratch.take(widest));
        for (row, out) in rows.rows().into_iter().zip(out.rows_mut()) {
            input.iter_mut().zip(row).for_each(|(cell, value)| *cell = *value);
            for (at, layer) in self.network.layers.iter().enumerate() {
                let units = layer.intercepts.len();
                add_up(layer, &input, &mut sums[..units]);
                if at + 1 < self.network.layers.len() {
                    sums[..units]
                        .iter_mut()
                        .for_each(|sum| *sum = self.network.activation.apply(*sum));
                }
                std::mem::swap(&mut input, &mut sums);
            }
            let outputs = self.network.layers.last().map_or(0, |layer| layer.intercepts.len());
            self.write(&mut input[..outputs], out);
        }
        scratch.give(input);
        scratch.give(sums);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// The sums of a layer for one row, input after input, so that they do not depend on what stands beside the row.
fn add_up(layer: &Layer, input: &[f64], sums: &mut [f64]) {
    sums.iter_mut().zip(&layer.intercepts).for_each(|(sum, intercept)| *sum = *intercept);
    for (weights, value) in layer.weights.rows().into_iter().zip(input) {
        if let Some(weights) = weights.as_slice() {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
    }
}

impl FittedModel for FittedPerceptron {
    /// None: a network has no importances of its own; permutation importances say what mattered.
    fn importances(&self) -> Option<Vec<f64>> {
        None
    }

    fn complexity(&self) -> Complexity {
        let of = |layer: &Layer| layer.weights.len() + layer.intercepts.len();
        let parameters: usize = self.network.layers.iter().map(of).sum();
        Complexity { parameters, bytes: size_of::<Self>() + 8 * parameters }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedPerceptron {
    const KIND: &'static str = "mlp-models/perceptron";

    fn fault(&self) -> Option<String> {
        let layers = &self.network.layers;
        let outputs = layers.last().map_or(0, |layer| layer.intercepts.len());
        let classes = self.signature.classes().map(<[String]>::len);
        let fits_task = match (self.network.loss, classes) {
            (Loss::Squared, None) => outputs == 1 && self.signature.outputs().len() == 1,
            (Loss::Log, Some(classes)) => {
                let wanted = if self.present.len() == 2 { 1 } else { self.present.len() };
                self.present.len() >= 2
                    && self.present.is_sorted_by(|a, b| a < b)
                    && self.present.last().is_some_and(|&last| last < classes)
                    && outputs == wanted
            }
            _ => false,
        };
        let chained = layers.windows(2).all(|p| p[0].intercepts.len() == p[1].weights.nrows());
        let begins = layers.first().map(|layer| layer.weights.nrows());
        let fits = fits_task && chained && begins == Some(self.signature.n_features());
        (!fits).then(|| "the layers do not fit together".to_owned())
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedPerceptron {
    signature: Signature,
    activation: Activation,
    loss: Loss,
    layers: Vec<SavedLayer>,
    present: Vec<usize>,
    shift: f64,
    scale: f64,
    curve: Vec<f64>,
}

/// The weights row by row, an input after another.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedLayer {
    weights: Vec<f64>,
    intercepts: Vec<f64>,
}

impl TryFrom<SavedPerceptron> for FittedPerceptron {
    type Error = String;

    fn try_from(saved: SavedPerceptron) -> Result<Self, String> {
        let layer = |SavedLayer { weights, intercepts }: SavedLayer| {
            let units = intercepts.len();
            if units == 0 || weights.len() % units != 0 {
                return Err("the weights of a layer do not fit its units".to_owned());
            }
            let shape = (weights.len() / units, units);
            let weights =
                Array2::from_shape_vec(shape, weights).map_err(|error| error.to_string())?;
            Ok(Layer { weights, intercepts: Array1::from(intercepts) })
        };
        let SavedPerceptron { signature, activation, loss, layers, present, shift, scale, curve } =
            saved;
        let layers = layers.into_iter().map(layer).collect::<Result<_, String>>()?;
        let network = Network { layers, activation, loss };
        Ok(Self { signature, network, present, shift, scale, curve })
    }
}

impl From<FittedPerceptron> for SavedPerceptron {
    fn from(fitted: FittedPerceptron) -> Self {
        let FittedPerceptron { signature, network, present, shift, scale, curve } = fitted;
        let Network { layers, activation, loss } = network;
        let layer = |layer: Layer| SavedLayer {
            weights: layer.weights.iter().copied().collect(),
            intercepts: layer.intercepts.to_vec(),
        };
        let layers = layers.into_iter().map(layer).collect();
        Self { signature, activation, loss, layers, present, shift, scale, curve }
    }
}
