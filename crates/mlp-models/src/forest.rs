//! Random forests.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Signature, random,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::support::{Goal, check_finite, weights};
use crate::tree::{DecisionTree, Nodes, check_weights};
use crate::tree_grow::Grower;

/// The mean of many trees, each grown on rows drawn with replacement and with a few random features at each node (Breiman 2001).
///
/// The square root of the number of features is tried for classes, a third for numbers. Tree `k` uses the stream (seed, k) alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RandomForest {
    /// How many trees, from 1 to 100,000. 100 by default, as in scikit-learn.
    pub trees: usize,
    /// The most questions a tree asks of a row, at least 1. Unbounded by default.
    pub max_depth: Option<usize>,
    /// The fewest rows in a leaf, at least 1.
    pub min_leaf: usize,
}

impl Default for RandomForest {
    fn default() -> Self {
        Self { trees: 100, max_depth: None, min_leaf: 1 }
    }
}

impl RandomForest {
    /// Sets how many trees there are.
    #[must_use]
    pub fn with_trees(mut self, trees: usize) -> Self {
        self.trees = trees;
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
}

impl Estimator for RandomForest {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let params = Params::new().with("trees", i64::try_from(self.trees).unwrap_or(i64::MAX));
        let mut read = params.read("random_forest");
        read.int("trees", 100, 1..=100_000);
        read.finish()?;
        data.check_finite()?;
        let goal = Goal::of(&data)?;
        let n_features = data.n_features();
        let tried = match goal {
            Goal::Classes(..) => (n_features as f64).sqrt() as usize,
            Goal::Values(_) => n_features / 3,
        };
        let tree = DecisionTree { max_depth: self.max_depth, min_leaf: self.min_leaf };
        let limits = tree.limits("random_forest", tried.max(1))?;
        let (features, weights) = (data.features(), weights(&data));
        check_weights(&weights)?;
        let grow = |k: u64| {
            let mut generator = random::stream(seed, k);
            let mut drawn = vec![0.0; weights.len()];
            for _ in 0..weights.len() {
                let row = random::below(&mut generator, weights.len() as u64) as usize;
                drawn[row] += weights[row];
            }
            // A draw may miss every row that has a weight; such a tree learns from all of them.
            let weights =
                if drawn.iter().any(|&weight| weight > 0.0) { &drawn[..] } else { &weights[..] };
            Grower { rows: features.view(), goal: &goal, weights, limits, generator }.grow()
        };
        let trees = (0..self.trees as u64).map(grow).collect();
        Ok(Arc::new(FittedForest { signature: goal.signature(&data), trees }))
    }
}

/// A fitted random forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedForest {
    signature: Signature,
    trees: Vec<Nodes>,
}

impl Model for FittedForest {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        let outputs = out.ncols();
        out.fill(0.0);
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            for tree in &self.trees {
                out.iter_mut()
                    .zip(tree.values(row, outputs))
                    .for_each(|(sum, value)| *sum += value);
            }
            out /= self.trees.len() as f64;
        }
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedForest {
    fn importances(&self) -> Option<Vec<f64>> {
        let n = self.trees.len() as f64;
        let mean = |feature: usize| {
            self.trees.iter().map(|tree| tree.importances[feature]).sum::<f64>() / n
        };
        Some((0..self.signature.n_features()).map(mean).collect())
    }

    fn complexity(&self) -> Complexity {
        let of_tree = |tree: &Nodes| tree.complexity(self.signature.outputs().len());
        let sum = |a: Complexity, b: Complexity| Complexity {
            parameters: a.parameters + b.parameters,
            bytes: a.bytes + b.bytes,
        };
        self.trees
            .iter()
            .map(of_tree)
            .fold(Complexity { parameters: 0, bytes: size_of::<Self>() }, sum)
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedForest {
    const KIND: &'static str = "mlp-models/forest";

    fn fault(&self) -> Option<String> {
        if self.trees.is_empty() {
            return Some("there is no tree".to_owned());
        }
        self.trees.iter().find_map(|tree| tree.fault(&self.signature))
    }
}
