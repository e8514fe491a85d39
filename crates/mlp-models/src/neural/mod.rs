//! A small multilayer perceptron.

mod fitted;
mod network;
mod train;

use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, Params, Samples, random};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

pub use fitted::FittedPerceptron;
pub use network::Activation;
use network::{Loss, Network};
use train::{Batchable, train};

use crate::support::{
    Goal, as_param, check_two_classes, cut_to, held_groups, weighted_rows, weights,
};

/// A feed-forward neural network with a few layers, for classes (softmax and log loss; a sigmoid for two) and for numbers (squared error); after
/// scikit-learn's `MLPClassifier` and `MLPRegressor`.
///
/// It minimises `mean loss + alpha / (2 · batch rows) · Σ w²` by Adam (Kingma and Ba 2015) over minibatches that are drawn anew in each epoch, from the
/// initial weights of Glorot and Bengio (2010). The mean is that of all rows by their weights, so a minibatch of heavy rows counts for more than one of
/// light rows. It stops when the loss has not fallen by `tolerance` for `patience` epochs: the loss of the rows learnt from or, with
/// [`with_early_stopping`](Self::with_early_stopping), of rows set aside, and then the best weights so far are kept. Features should be on one scale: put
/// a scaler before it. A target of numbers is standardised inside, unlike in scikit-learn, so that the settings do not hang on its unit.
///
/// Everything is drawn from the seed and computed by one thread, so the same data and seed give the same network.
///
/// ```
/// use mlp_models::{MultilayerPerceptron, Pipeline, StandardScaler};
///
/// let network = MultilayerPerceptron::default().with_hidden([32, 16]).with_early_stopping(0.1);
/// let pipeline = Pipeline::of(network).after("scale", StandardScaler);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MultilayerPerceptron {
    /// The units of each hidden layer, at most 20 layers of 1 to 100,000. One of 100 by default.
    pub hidden: Vec<usize>,
    /// What a hidden unit makes of its sum.
    pub activation: Activation,
    /// The weight of the L2 penalty, finite and at least 0. 1e-4 by default.
    pub alpha: f64,
    /// Adam's step size, above 0 and at most 10. 1e-3 by default.
    pub learning_rate: f64,
    /// The rows of a minibatch, at least 1; no more than there are. 200 by default.
    pub batch_size: usize,
    /// The most passes over the rows, at least 1. 200 by default.
    pub max_epochs: usize,
    /// By how much the loss must fall to count as progress, at least 0. 1e-4 by default.
    pub tolerance: f64,
    /// How many epochs to go on without progress, at least 1. 10 by default.
    pub patience: usize,
    /// The share of the rows that is set aside to tell when to stop, above 0 and at most 0.5; none by default.
    pub early_stopping: Option<f64>,
}

impl Default for MultilayerPerceptron {
    fn default() -> Self {
        Self {
            hidden: vec![100],
            activation: Activation::Relu,
            alpha: 1e-4,
            learning_rate: 1e-3,
            batch_size: 200,
            max_epochs: 200,
            tolerance: 1e-4,
            patience: 10,
            early_stopping: None,
        }
    }
}

impl MultilayerPerceptron {
    /// Sets the units of each hidden layer.
    #[must_use]
    pub fn with_hidden(mut self, units: impl Into<Vec<usize>>) -> Self {
        self.hidden = units.into();
        self
    }

    /// Sets what a hidden unit makes of its sum.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets the weight of the L2 penalty.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets Adam's step size.
    #[must_use]
    pub fn with_learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Sets the rows of a minibatch.
    #[must_use]
    pub fn with_batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// Sets the most passes over the rows.
    #[must_use]
    pub fn with_max_epochs(mut self, epochs: usize) -> Self {
        self.max_epochs = epochs;
        self
    }

    /// Sets how many epochs to go on without progress.
    #[must_use]
    pub fn with_patience(mut self, epochs: usize) -> Self {
        self.patience = epochs;
        self
    }

    /// Sets aside this share of the rows (of each class, or of the groups where there are some) and stops by their loss.
    #[must_use]
    pub fn with_early_stopping(mut self, share: f64) -> Self {
        self.early_stopping = Some(share);
        self
    }

    fn check(&self) -> Result<(), FitError> {
        let widest = self.hidden.iter().copied().max().unwrap_or(1);
        let narrowest = self.hidden.iter().copied().min().unwrap_or(1);
        let mut params = Params::new()
            .with("layers", as_param(self.hidden.len()))
            .with("widest_layer", as_param(widest))
            .with("narrowest_layer", as_param(narrowest))
            .with("alpha", self.alpha)
            .with("learning_rate", self.learning_rate)
            .with("batch_size", as_param(self.batch_size))
            .with("max_epochs", as_param(self.max_epochs))
            .with("tolerance", self.tolerance)
            .with("patience", as_param(self.patience));
        if let Some(share) = self.early_stopping {
            params.insert("early_stopping", share);
        }
        let mut read = params.read("multilayer_perceptron");
        read.int("layers", 1, 0..=20);
        read.int("widest_layer", 1, 1..=100_000);
        read.int("narrowest_layer", 1, 1..=100_000);
        read.float("alpha", 0.0, 0.0..=f64::MAX);
        read.float("learning_rate", 0.1, f64::MIN_POSITIVE..=10.0);
        read.int("batch_size", 1, 1..=i64::MAX);
        read.int("max_epochs", 1, 1..=i64::MAX);
        read.float("tolerance", 0.0, 0.0..=f64::MAX);
        read.int("patience", 1, 1..=i64::MAX);
        read.float("early_stopping", 0.1, f64::MIN_POSITIVE..=0.5);
        Ok(read.finish()?)
    }

    /// Fits the network.
    ///
    /// # Errors
    /// As [`Estimator::fit`]; [`FitError::NotConverged`] if the weights grow beyond all bounds, as they do on features of very different scales.
    pub fn fit_network(&self, data: &Samples<'_>, seed: u64) -> Result<FittedPerceptron, FitError> {
        self.check()?;
        data.check_finite()?;
        // A row without weight takes no part, nor does a class that only such rows have.
        let rows = weighted_rows(data)?;
        let data = &cut_to(data, rows.as_deref())?;
        let (goal, weights) = (Goal::of(data)?, weights(data)?);
        let n = data.n_rows();
        let (loss, present, shift, scale, targets) = match &goal {
            Goal::Classes(labels, names) => {
                check_two_classes(labels, names)?;
                let present: Vec<usize> =
                    (0..names.len()).filter(|class| labels.contains(class)).collect();
                let outputs = if present.len() == 2 { 1 } else { present.len() };
                let targets = Array2::from_shape_fn((n, outputs), |(row, output)| {
                    let wanted = if outputs == 1 { present[1] } else { present[output] };
                    f64::from(u8::from(labels[row] == wanted))
                });
                (Loss::Log, present, 0.0, 1.0, targets)
            }
            Goal::Values(values) => {
                let total: f64 = weights.iter().sum();
                let rows = || values.iter().zip(weights.iter());
                let mean = rows().map(|(value, weight)| value * weight).sum::<f64>() / total;
                let spread =
                    rows().map(|(value, weight)| weight * (value - mean).powi(2)).sum::<f64>();
                let spread = (spread / total).sqrt();
                let scale = if spread > 0.0 { spread } else { 1.0 };
                let targets =
                    Array2::from_shape_fn((n, 1), |(row, _)| (values[row] - mean) / scale);
                (Loss::Squared, Vec::new(), mean, scale, targets)
            }
        };
        let all = Batchable {
            features: data.features().into_owned(),
            targets,
            weights: Array1::from(weights.into_owned()),
        };
        let widths: Vec<usize> = [data.n_features()]
            .into_iter()
            .chain(self.hidden.iter().copied())
            .chain([all.targets.ncols()])
            .collect();
        let start = Network::start(&widths, self.activation, loss, seed);
        let (learnt, aside) = self.part(all, data.groups().as_deref(), seed)?;
        let (network, curve) = train(self, start, &learnt, aside.as_ref(), seed)?;
        Ok(FittedPerceptron::new(goal.signature(data), network, present, (shift, scale), curve))
    }

    /// What is learnt from, and what is set aside: of each class its share, or whole groups.
    fn part(
        &self,
        all: Batchable,
        groups: Option<&[u64]>,
        seed: u64,
    ) -> Result<(Batchable, Option<Batchable>), FitError> {
        let Some(share) = self.early_stopping else { return Ok((all, None)) };
        let n = all.targets.nrows();
        let mut draw = random::stream(seed, 1);
        let held = groups.map(|groups| held_groups(&mut draw, groups, share));
        let mut rows: Vec<usize> = (0..n).collect();
        random::shuffle(&mut draw, &mut rows);
        // By class: rows of equal targets become neighbours, and every so-many-th is set aside.
        let class = |row: &usize| all.targets.row(*row).iter().position(|t| *t == 1.0);
        if all.targets.iter().all(|target| *target == 0.0 || *target == 1.0) {
            rows.sort_by_key(class);
        }
        let (mut aside, mut learnt) = (Vec::new(), Vec::new());
        for (place, row) in rows.into_iter().enumerate() {
            let is_next = ((place + 1) as f64 * share).floor() > (place as f64 * share).floor();
            if held.as_ref().map_or(is_next, |held| held[row]) {
                aside.push(row)
            } else {
                learnt.push(row)
            }
        }
        if aside.is_empty() || learnt.is_empty() {
            return Err(FitError::TooFew { what: "rows to set some aside", given: n, needed: 2 });
        }
        let choose = |rows: &[usize]| Batchable {
            features: all.features.select(Axis(0), rows),
            targets: all.targets.select(Axis(0), rows),
            weights: all.weights.select(Axis(0), rows),
        };
        Ok((choose(&learnt), Some(choose(&aside))))
    }
}

impl Estimator for MultilayerPerceptron {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        Ok(Arc::new(self.fit_network(&data, seed)?))
    }
}
