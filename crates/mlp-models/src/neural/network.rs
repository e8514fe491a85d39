//! Layers, and what they make of a batch of rows.

use mlp_core::random;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::logistic::normalise;

/// What a hidden unit makes of its sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// The sum if it is above 0, else 0.
    #[default]
    Relu,
    /// Its hyperbolic tangent.
    Tanh,
}

impl Activation {
    #[inline]
    pub(super) fn apply(self, value: f64) -> f64 {
        match self {
            // NaN stays: a network that has diverged must not pass for one that is at rest.
            Self::Relu if value <= 0.0 => 0.0,
            Self::Relu => value,
            Self::Tanh => value.tanh(),
        }
    }

    /// The slope where the result is this.
    #[inline]
    fn slope(self, result: f64) -> f64 {
        match self {
            Self::Relu => f64::from(u8::from(result > 0.0)),
            Self::Tanh => 1.0 - result * result,
        }
    }
}

/// What the last layer's sums mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Loss {
    /// Log-odds of class 1, or a score a class.
    Log,
    /// The number itself.
    Squared,
}

/// The weights (`inputs × units`) and the intercepts of one layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    pub(super) weights: Array2<f64>,
    pub(super) intercepts: Array1<f64>,
}

impl Layer {
    pub(super) fn zeros_like(other: &Self) -> Self {
        Self {
            weights: Array2::zeros(other.weights.dim()),
            intercepts: Array1::zeros(other.intercepts.len()),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    pub(super) layers: Vec<Layer>,
    pub(super) activation: Activation,
    pub(super) loss: Loss,
}

/// Working memory for batches of up to so many rows.
pub(super) struct Buffers {
    /// What each layer gives (`rows × units`).
    outputs: Vec<Array2<f64>>,
    /// The slopes of the loss in each layer's sums.
    slopes: Vec<Array2<f64>>,
}

impl Network {
    /// Weights uniform within `±√(6 / (inputs + outputs))`, intercepts too (Glorot and Bengio 2010, as scikit-learn does it).
    pub(super) fn start(widths: &[usize], activation: Activation, loss: Loss, seed: u64) -> Self {
        let mut draw = random::stream(seed, 0);
        let layer = |pair: &[usize]| {
            let bound = (6.0 / (pair[0] + pair[1]) as f64).sqrt();
            let mut next = || bound * (2.0 * random::uniform(&mut draw) - 1.0);
            let weights = Array2::from_shape_simple_fn((pair[0], pair[1]), &mut next);
            Layer { weights, intercepts: Array1::from_shape_simple_fn(pair[1], &mut next) }
        };
        let layers = widths.windows(2).map(layer).collect();
        Self { layers, activation, loss }
    }

    pub(super) fn is_finite(&self) -> bool {
        let all = |layer: &Layer| {
            layer.weights.iter().chain(&layer.intercepts).all(|weight| weight.is_finite())
        };
        self.layers.iter().all(all)
    }

    pub(super) fn buffers(&self, rows: usize) -> Buffers {
        let of = |layer: &Layer| Array2::zeros((rows, layer.intercepts.len()));
        Buffers {
            outputs: self.layers.iter().map(of).collect(),
            slopes: self.layers.iter().map(of).collect(),
        }
    }

    /// Runs a batch forward; the outputs of every layer stay in the buffers. The last ones are turned into probabilities.
    fn forward(&self, rows: ArrayView2<'_, f64>, buffers: &mut Buffers) {
        let n = rows.nrows();
        for (at, layer) in self.layers.iter().enumerate() {
            let (before, after) = buffers.outputs.split_at_mut(at);
            let input = match before.last() {
                Some(input) => input.slice(ndarray::s![..n, ..]),
                None => rows.reborrow(),
            };
            let mut output = after[0].slice_mut(ndarray::s![..n, ..]);
            output.assign(&layer.intercepts);
            general_mat_mul(1.0, &input, &layer.weights, 1.0, &mut output);
            if at + 1 < self.layers.len() {
                output.mapv_inplace(|value| self.activation.apply(value));
            } else if self.loss == Loss::Log {
                output
                    .rows_mut()
                    .into_iter()
                    .filter_map(|row| row.into_slice())
                    .for_each(normalise);
            }
        }
    }

    /// The sum of the losses of a batch, by weight.
    fn loss_of(
        &self,
        targets: ArrayView2<'_, f64>,
        weights: ArrayView1<'_, f64>,
        buffers: &Buffers,
    ) -> f64 {
        let n = targets.nrows();
        let Some(output) = buffers.outputs.last() else { return 0.0 };
        let mut sum = 0.0;
        for row in 0..n {
            let pairs = targets.row(row).into_iter().zip(output.row(row));
            let loss: f64 = match self.loss {
                Loss::Squared => pairs.map(|(t, p)| 0.5 * (t - p).powi(2)).sum(),
                Loss::Log if targets.ncols() == 1 => {
                    pairs.map(|(t, p)| -log(if *t == 1.0 { *p } else { 1.0 - p })).sum()
                }
                Loss::Log => pairs.map(|(t, p)| if *t == 1.0 { -log(*p) } else { 0.0 }).sum(),
            };
            sum += weights[row] * loss;
        }
        sum
    }

    /// The mean loss of some rows, by weight, a buffer's worth of them at a time.
    pub(super) fn mean_loss(&self, of: &super::Batchable, buffers: &mut Buffers) -> f64 {
        let most = buffers.outputs.first().map_or(1, Array2::nrows);
        let mut sum = 0.0;
        let pieces = of.features.axis_chunks_iter(Axis(0), most);
        let pieces = pieces.zip(of.targets.axis_chunks_iter(Axis(0), most));
        for ((rows, targets), weights) in pieces.zip(of.weights.axis_chunks_iter(Axis(0), most)) {
            self.forward(rows, buffers);
            sum += self.loss_of(targets, weights, buffers);
        }
        sum / of.weights.sum()
    }

    /// The slopes of `loss + alpha / (2 rows) Σ w²` in all parameters, and the sum of the losses by weight. The loss is the mean over the rows of the
    /// batch, each times its weight in `mean_weight`, which is that of all batches: a batch of heavy rows counts for more.
    pub(super) fn gradient(
        &self,
        batch: &super::Batchable,
        n: usize,
        alpha: f64,
        mean_weight: f64,
        buffers: &mut Buffers,
        gradient: &mut [Layer],
    ) -> f64 {
        let rows = batch.features.slice(ndarray::s![..n, ..]);
        let targets = batch.targets.slice(ndarray::s![..n, ..]);
        let weights = batch.weights.slice(ndarray::s![..n]);
        self.forward(rows, buffers);
        let loss = self.loss_of(targets, weights, buffers);
        let total = n as f64 * mean_weight;
        let Buffers { outputs, slopes } = buffers;
        for at in (0..self.layers.len()).rev() {
            let (here, above) = slopes.split_at_mut(at + 1);
            let mut slope = here[at].slice_mut(ndarray::s![..n, ..]);
            let output = outputs[at].slice(ndarray::s![..n, ..]);
            if let Some(above) = above.first() {
                let above = above.slice(ndarray::s![..n, ..]);
                general_mat_mul(1.0, &above, &self.layers[at + 1].weights.t(), 0.0, &mut slope);
                let activation = self.activation;
                Zip::from(&mut slope).and(&output).for_each(|s, o| *s *= activation.slope(*o));
            } else {
                // Softmax and log loss, sigmoid and log loss, identity and squared error: all have this slope.
                let by_row = weights.insert_axis(Axis(1));
                Zip::from(&mut slope)
                    .and(&output)
                    .and(&targets)
                    .and_broadcast(&by_row)
                    .for_each(|s, o, t, w| *s = w * (o - t) / total);
            }
            let input = match at {
                0 => rows,
                at => outputs[at - 1].slice(ndarray::s![..n, ..]),
            };
            let into = &mut gradient[at];
            into.weights.assign(&self.layers[at].weights);
            general_mat_mul(1.0, &input.t(), &slope, alpha / n as f64, &mut into.weights);
            into.intercepts.assign(&slope.sum_axis(Axis(0)));
        }
        loss
    }
}

/// The logarithm of a probability that may have rounded to 0; NaN of NaN.
fn log(probability: f64) -> f64 {
    if probability < f64::MIN_POSITIVE { f64::MIN_POSITIVE.ln() } else { probability.ln() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neural::Batchable;

    /// The slopes against differences of the objective.
    #[test]
    fn the_gradient_is_that_of_the_objective() {
        for (activation, loss, outputs) in [
            (Activation::Tanh, Loss::Log, 3),
            (Activation::Relu, Loss::Log, 1),
            (Activation::Tanh, Loss::Squared, 1),
        ] {
            let network = Network::start(&[4, 5, 3, outputs], activation, loss, 3);
            let mut draw = random::stream(1, 1);
            let features = Array2::from_shape_simple_fn((7, 4), || random::normal(&mut draw));
            let targets = Array2::from_shape_fn((7, outputs), |(row, output)| {
                f64::from(u8::from(row % outputs.max(2) == output))
            });
            let weights = Array1::from_shape_fn(7, |row| 0.5 + row as f64);
            let batch = Batchable { features, targets, weights };
            let (mut buffers, alpha) = (network.buffers(7), 0.3);
            let mut gradient: Vec<Layer> = network.layers.iter().map(Layer::zeros_like).collect();
            let mean_weight = batch.weights.sum() / 7.0;
            network.gradient(&batch, 7, alpha, mean_weight, &mut buffers, &mut gradient);
            let mut objective = |network: &Network| {
                let squares: f64 =
                    network.layers.iter().flat_map(|l| l.weights.iter()).map(|w| w * w).sum();
                network.mean_loss(&batch, &mut buffers) + alpha / 14.0 * squares
            };
            for (at, slopes) in gradient.iter().enumerate() {
                for (cell, slope) in slopes.weights.indexed_iter() {
                    let moved = |by: f64| {
                        let mut moved = network.clone();
                        moved.layers[at].weights[cell] += by;
                        moved
                    };
                    let found = (objective(&moved(1e-6)) - objective(&moved(-1e-6))) / 2e-6;
                    assert!((found - slope).abs() < 1e-6, "{found} for {slope}");
                }
                let mut moved = network.clone();
                moved.layers[at].intercepts[0] += 1e-6;
                let found = (objective(&moved) - objective(&network)) / 1e-6;
                assert!((found - slopes.intercepts[0]).abs() < 1e-4);
            }
        }
    }
}
