//! Adam over minibatches.

use mlp_core::{FitError, random};
use ndarray::{Array1, Array2, ArrayBase, DataMut, Dimension, Zip};

use super::MultilayerPerceptron;
use super::network::{Layer, Network};

/// Rows to learn from, side by side.
pub(super) struct Batchable {
    /// `n_rows × n_features`.
    pub(super) features: Array2<f64>,
    /// `n_rows × n_outputs`.
    pub(super) targets: Array2<f64>,
    pub(super) weights: Array1<f64>,
}

impl Batchable {
    fn of_rows(rows: usize, like: &Self) -> Self {
        Self {
            features: Array2::zeros((rows, like.features.ncols())),
            targets: Array2::zeros((rows, like.targets.ncols())),
            weights: Array1::zeros(rows),
        }
    }

    fn gather(&mut self, from: &Self, rows: &[usize]) {
        for (to, &row) in rows.iter().enumerate() {
            self.features.row_mut(to).assign(&from.features.row(row));
            self.targets.row_mut(to).assign(&from.targets.row(row));
            self.weights[to] = from.weights[row];
        }
    }
}

/// Trains until there is no more progress; also gives the loss after each epoch: of the rows set aside, or else the mean over the epoch's batches.
pub(super) fn train(
    settings: &MultilayerPerceptron,
    mut network: Network,
    learnt: &Batchable,
    aside: Option<&Batchable>,
    seed: u64,
) -> Result<(Network, Vec<f64>), FitError> {
    let n = learnt.features.nrows();
    let batch_size = settings.batch_size.min(n);
    let mut batch = Batchable::of_rows(batch_size, learnt);
    let mut buffers = network.buffers(batch_size);
    let mut adam = Adam::new(&network, settings.learning_rate);
    let mut rows: Vec<usize> = (0..n).collect();
    let total = learnt.weights.sum();
    let mean_weight = total / n as f64;
    let (mut curve, mut best) = (Vec::new(), None::<(f64, Network)>);
    let (mut least, mut without_progress) = (f64::INFINITY, 0);
    for epoch in 0..settings.max_epochs {
        random::shuffle(&mut random::stream(seed, epoch as u64 + 2), &mut rows);
        let mut loss = 0.0;
        for rows in rows.chunks(batch_size) {
            batch.gather(learnt, rows);
            let (n, alpha, gradient) = (rows.len(), settings.alpha, &mut adam.gradient);
            loss += network.gradient(&batch, n, alpha, mean_weight, &mut buffers, gradient);
            adam.step(&mut network);
        }
        loss = aside.map_or(loss / total, |aside| network.mean_loss(aside, &mut buffers));
        if !loss.is_finite() {
            return Err(FitError::NotConverged { iterations: epoch + 1 });
        }
        curve.push(loss);
        without_progress = if loss > least - settings.tolerance { without_progress + 1 } else { 0 };
        least = least.min(loss);
        if aside.is_some() && best.as_ref().is_none_or(|(before, _)| loss < *before) {
            best = Some((loss, network.clone()));
        }
        if without_progress >= settings.patience {
            break;
        }
    }
    let network = best.map_or(network, |(_, best)| best);
    if !network.is_finite() {
        return Err(FitError::NotConverged { iterations: curve.len() });
    }
    Ok((network, curve))
}

/// Adam (Kingma and Ba 2015, algorithm 1) with its usual constants.
struct Adam {
    rate: f64,
    steps: i32,
    gradient: Vec<Layer>,
    first: Vec<Layer>,
    second: Vec<Layer>,
}

impl Adam {
    fn new(network: &Network, rate: f64) -> Self {
        let zeros = || network.layers.iter().map(Layer::zeros_like).collect();
        Self { rate, steps: 0, gradient: zeros(), first: zeros(), second: zeros() }
    }

    fn step(&mut self, network: &mut Network) {
        self.steps = self.steps.saturating_add(1);
        let rate = self.rate * (1.0 - 0.999_f64.powi(self.steps)).sqrt()
            / (1.0 - 0.9_f64.powi(self.steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        let layers = network.layers.iter_mut().zip(&self.gradient).zip(moments);
        for ((layer, slopes), (first, second)) in layers {
            let (m, v) = (&mut first.weights, &mut second.weights);
            update(&mut layer.weights, &slopes.weights, m, v, rate);
            let (m, v) = (&mut first.intercepts, &mut second.intercepts);
            update(&mut layer.intercepts, &slopes.intercepts, m, v, rate);
        }
    }
}

fn update<S: DataMut<Elem = f64>, D: Dimension>(
    values: &mut ArrayBase<S, D>,
    slopes: &ArrayBase<S, D>,
    first: &mut ArrayBase<S, D>,
    second: &mut ArrayBase<S, D>,
    rate: f64,
) {
    Zip::from(values).and(slopes).and(first).and(second).for_each(|value, slope, m, v| {
        *m = 0.9 * *m + 0.1 * slope;
        *v = 0.999 * *v + 0.001 * slope * slope;
        *value -= rate * *m / (v.sqrt() + 1e-8);
    });
}
