//! Gradient boosting: trees that correct each other.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Signature,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::bins::Table;
use super::fit::check_weights;
use super::leafwise::{LeafGrower, LeafRules, Slope};
use super::nodes::Nodes;
use crate::persist::{Plain, save};
use crate::support::{
    Goal, as_param, check_no_infinite_feature, check_no_infinity, class_weights, weights,
};

/// Gradient boosting with histograms (Friedman 2001; Ke et al. 2017): each round adds a tree, grown leaf by leaf, that takes a step down the
/// loss. Log loss for classes, squared error for numbers; the defaults are those of scikit-learn's `HistGradientBoosting`.
///
/// Nothing in it is random. NaN is a missing value, which each split sends to the better side; infinity is refused. A class without rows has
/// probability zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GradientBoosting {
    /// How many rounds, from 1 to 100,000. With more than two classes each round adds a tree per class.
    pub rounds: usize,
    /// How much of each step is taken, above 0 and at most 1.
    pub learning_rate: f64,
    /// The most leaves of a tree, from 2 to 65,536.
    pub max_leaves: usize,
    /// The most questions a tree asks of a row, at least 1. Unbounded by default.
    pub max_depth: Option<usize>,
    /// The fewest rows in a leaf, at least 1.
    pub min_leaf: usize,
    /// The weight of the penalty on the squares of the leaves' values: finite and at least 0.
    pub l2: f64,
}

impl Default for GradientBoosting {
    /// 100 rounds of a tenth of a step with 31 leaves of at least 20 rows, without a penalty, as in scikit-learn.
    fn default() -> Self {
        Self {
            rounds: 100,
            learning_rate: 0.1,
            max_leaves: 31,
            max_depth: None,
            min_leaf: 20,
            l2: 0.0,
        }
    }
}

impl GradientBoosting {
    /// Sets how many rounds there are.
    #[must_use]
    pub fn with_rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Sets how much of each step is taken.
    #[must_use]
    pub fn with_learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Sets the most leaves of a tree.
    #[must_use]
    pub fn with_max_leaves(mut self, leaves: usize) -> Self {
        self.max_leaves = leaves;
        self
    }

    /// Sets the most questions a tree asks of a row.
    #[must_use]
    pub fn with_max_depth(mut self, depth: usize) -> Self {
        self.max_depth = Some(depth);
        self
    }

    /// Sets the fewest rows in a leaf.
    #[must_use]
    pub fn with_min_leaf(mut self, rows: usize) -> Self {
        self.min_leaf = rows;
        self
    }

    /// Sets the weight of the penalty.
    #[must_use]
    pub fn with_l2(mut self, l2: f64) -> Self {
        self.l2 = l2;
        self
    }

    fn rules(&self) -> Result<LeafRules, FitError> {
        let max_depth = self.max_depth.unwrap_or(usize::MAX);
        let params = Params::new()
            .with("rounds", as_param(self.rounds))
            .with("learning_rate", self.learning_rate)
            .with("max_leaves", as_param(self.max_leaves))
            .with("max_depth", as_param(max_depth))
            .with("min_leaf", as_param(self.min_leaf))
            .with("l2", self.l2);
        let mut read = params.read("gradient_boosting");
        read.int("rounds", 100, 1..=100_000);
        read.float("learning_rate", 0.1, f64::MIN_POSITIVE..=1.0);
        read.int("max_leaves", 31, 2..=65_536);
        read.int("max_depth", 1, 1..=i64::MAX);
        read.int("min_leaf", 20, 1..=i64::MAX);
        read.float("l2", 0.0, 0.0..=f64::MAX);
        read.finish()?;
        Ok(LeafRules {
            max_leaves: self.max_leaves,
            max_depth,
            min_leaf: self.min_leaf,
            l2: self.l2,
            learning_rate: self.learning_rate,
        })
    }
}

impl Estimator for GradientBoosting {
    fn fit(&self, data: Samples<'_>, _: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let rules = self.rules()?;
        let goal = Goal::of(&data)?;
        let all_weights = weights(&data);
        check_weights(&all_weights)?;
        if data.n_features() == 0 {
            return Err(FitError::TooFew { what: "features", given: 0, needed: 1 });
        }
        check_no_infinite_feature(&data)?;
        let rows: Vec<usize> =
            (0..all_weights.len()).filter(|&row| all_weights[row] > 0.0).collect();
        let weights: Vec<f64> = rows.iter().map(|&row| all_weights[row]).collect();
        let features = data.features().select(ndarray::Axis(0), &rows);
        let (loss, present, base) = start(&goal, &all_weights, &rows, &weights)?;
        let n_scores = base.len();
        let table = Table::narrow(features.view());
        let mut grower = LeafGrower::new(&table, rules);
        let mut nodes = Nodes::new(1);
        let mut gains = vec![0.0; data.n_features()];
        let mut scores: Vec<f64> = rows.iter().flat_map(|_| base.iter().copied()).collect();
        let mut slopes = vec![Slope::default(); rows.len() * n_scores];
        for _ in 0..self.rounds {
            loss.slopes(&scores, &weights, n_scores, &mut slopes);
            for score in 0..n_scores {
                let slopes = &slopes[score * rows.len()..(score + 1) * rows.len()];
                grower.grow(slopes, &mut nodes, &mut gains, |rows, value| {
                    for &row in rows {
                        scores[row as usize * n_scores + score] += value;
                    }
                });
            }
        }
        let total: f64 = gains.iter().sum();
        let share = |gain: f64| if total > 0.0 { gain / total } else { 0.0 };
        let importances = gains.into_iter().map(share).collect();
        Ok(Arc::new(FittedBoosting {
            signature: goal.signature(&data),
            present,
            base,
            nodes,
            importances,
        }))
    }
}

/// What is minimised: the classes or the values of the rows that have weight.
enum Loss {
    Log(Vec<usize>),
    Squared(Vec<f64>),
}

/// The loss, the classes that have weight, and the best constant scores.
fn start(
    goal: &Goal<'_>,
    all_weights: &[f64],
    rows: &[usize],
    weights: &[f64],
) -> Result<(Loss, Vec<usize>, Vec<f64>), FitError> {
    let total: f64 = weights.iter().sum();
    match goal {
        Goal::Values(values) => {
            let values: Vec<f64> = rows.iter().map(|&row| values[row]).collect();
            let mean = values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
            Ok((Loss::Squared(values), Vec::new(), vec![mean]))
        }
        Goal::Classes(labels, names) => {
            let sums = class_weights(labels, all_weights, names.len());
            let present: Vec<usize> = (0..sums.len()).filter(|&class| sums[class] > 0.0).collect();
            if let [only] = present[..] {
                return Err(FitError::SingleClass { class: names[only].clone() });
            }
            let place = |row: &usize| present.partition_point(|&class| class < labels[*row]);
            let places = rows.iter().map(place).collect();
            let base = match present[..] {
                [negative, positive] => vec![(sums[positive] / sums[negative]).ln()],
                _ => present.iter().map(|&class| (sums[class] / total).ln()).collect(),
            };
            Ok((Loss::Log(places), present, base))
        }
    }
}

impl Loss {
    /// Writes the slopes, score by score.
    fn slopes(&self, scores: &[f64], weights: &[f64], n_scores: usize, slopes: &mut [Slope]) {
        let n_rows = weights.len();
        let mut probabilities = vec![0.0; n_scores];
        for (row, (scores, &weight)) in scores.chunks_exact(n_scores).zip(weights).enumerate() {
            match self {
                Self::Squared(values) => {
                    let gradient = weight * (scores[0] - values[row]);
                    slopes[row] = Slope { gradient, hessian: weight };
                }
                Self::Log(labels) => {
                    probabilities.copy_from_slice(scores);
                    normalise(&mut probabilities);
                    for (k, p) in probabilities.iter().enumerate() {
                        let truth = if n_scores == 1 { labels[row] == 1 } else { labels[row] == k };
                        let gradient = weight * (p - f64::from(u8::from(truth)));
                        let hessian = weight * (p * (1.0 - p)).max(1e-16);
                        slopes[k * n_rows + row] = Slope { gradient, hessian };
                    }
                }
            }
        }
    }
}

/// Turns scores into probabilities: of the second class if there is one score, else of each class.
fn normalise(scores: &mut [f64]) {
    if let [score] = scores {
        *score = 1.0 / (1.0 + (-*score).exp());
        return;
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - top).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// A fitted gradient boosting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedBoosting {
    signature: Signature,
    /// The classes that took part in the fit, ascending; none for numbers.
    present: Vec<usize>,
    base: Vec<f64>,
    nodes: Nodes,
    importances: Vec<f64>,
}

impl FittedBoosting {
    /// How many trees there are.
    #[must_use]
    pub fn n_trees(&self) -> usize {
        self.nodes.n_trees()
    }
}

impl Model for FittedBoosting {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_no_infinity(&rows)?;
        out.fill(0.0);
        let n_scores = self.base.len();
        let mut cells = scratch.take(rows.ncols());
        let mut scores = scratch.take(n_scores);
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            cells.iter_mut().zip(row).for_each(|(cell, value)| *cell = *value);
            scores.copy_from_slice(&self.base);
            for group in 0..self.nodes.n_groups() {
                self.nodes.add_group(group, &cells, |tree, values| {
                    scores[tree % n_scores] += values[0];
                });
            }
            match self.present[..] {
                [] => out[0] = scores[0],
                [negative, positive] => {
                    // Both by the same function: one less the other would lose the digits of a small probability.
                    out[negative] = 1.0 / (1.0 + scores[0].exp());
                    out[positive] = 1.0 / (1.0 + (-scores[0]).exp());
                }
                _ => {
                    normalise(&mut scores);
                    self.present.iter().zip(&scores).for_each(|(&class, &p)| out[class] = p);
                }
            }
        }
        scratch.give(scores);
        scratch.give(cells);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedBoosting {
    /// What the splits on each feature gained, as shares of the whole.
    fn importances(&self) -> Option<Vec<f64>> {
        Some(self.importances.clone())
    }

    fn complexity(&self) -> Complexity {
        Complexity {
            parameters: self.nodes.len() + self.base.len(),
            bytes: size_of::<Self>() + self.nodes.bytes(),
        }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedBoosting {
    const KIND: &'static str = "mlp-models/gradient_boosting";

    fn fault(&self) -> Option<String> {
        let n_features = self.signature.n_features();
        let n_scores = match self.present.len() {
            0 | 2 => 1,
            n => n,
        };
        let classes = self.signature.classes().map(<[String]>::len);
        let task_fits = match classes {
            None => self.present.is_empty() && self.signature.outputs().len() == 1,
            Some(n) => self.present.len() >= 2 && self.present.iter().all(|&class| class < n),
        };
        let fits = task_fits
            && self.present.is_sorted_by(|a, b| a < b)
            && self.base.len() == n_scores
            && self.nodes.n_trees() > 0
            && self.nodes.n_trees().is_multiple_of(n_scores)
            && self.importances.len() == n_features
            && n_features > 0
            && self.nodes.fits(n_features, 1);
        (!fits).then(|| "the trees do not fit their signature".to_owned())
    }
}
