//! Decision trees.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Signature, random,
};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::persist::{Plain, save};
use crate::support::{Goal, check_finite, weights};
use crate::tree_grow::{Grower, Limits};

/// Parts the rows by one feature at a time, for classes (Gini) or numbers (variance); as scikit-learn's exact `DecisionTreeClassifier` and
/// `DecisionTreeRegressor`, with ties between features going to the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DecisionTree {
    /// The most questions asked of a row, at least 1. Unbounded by default; memory is bounded by the number of rows.
    pub max_depth: Option<usize>,
    /// The fewest rows in a leaf, at least 1.
    pub min_leaf: usize,
}

impl Default for DecisionTree {
    fn default() -> Self {
        Self { max_depth: None, min_leaf: 1 }
    }
}

impl DecisionTree {
    /// Sets the most questions asked of a row.
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

    /// The limits for growing, checked.
    pub(crate) fn limits(&self, owner: &str, features: usize) -> Result<Limits, FitError> {
        let max_depth = self.max_depth.unwrap_or(usize::MAX);
        let as_param = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let params = Params::new()
            .with("max_depth", as_param(max_depth))
            .with("min_leaf", as_param(self.min_leaf));
        let mut read = params.read(owner);
        read.int("max_depth", 1, 1..=i64::MAX);
        read.int("min_leaf", 1, 1..=i64::MAX);
        read.finish()?;
        Ok(Limits { max_depth, min_leaf: self.min_leaf, features })
    }
}

impl Estimator for DecisionTree {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let limits = self.limits("decision_tree", data.n_features())?;
        data.check_finite()?;
        let goal = Goal::of(&data)?;
        let (features, weights) = (data.features(), weights(&data));
        check_weights(&weights)?;
        let grower = Grower {
            rows: features.view(),
            goal: &goal,
            weights: &weights,
            limits,
            generator: random::stream(seed, 0),
        };
        Ok(Arc::new(FittedTree { signature: goal.signature(&data), tree: grower.grow() }))
    }
}

/// Refuses weights that are all zero: there is no row to learn from.
pub(crate) fn check_weights(weights: &[f64]) -> Result<(), FitError> {
    let positive = weights.iter().filter(|&&weight| weight > 0.0).count();
    if positive == 0 {
        Err(FitError::TooFew { what: "rows with a weight above 0", given: 0, needed: 1 })
    } else {
        Ok(())
    }
}

/// Marks a leaf in the place of a feature.
pub(crate) const LEAF: u32 = u32::MAX;

/// A question, or a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) feature: u32,
    pub(crate) threshold: f64,
    pub(crate) left: u32,
    pub(crate) right: u32,
}

/// The nodes of one tree, children behind their parents, with the values of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
    /// `nodes × outputs`: class shares, or the mean.
    pub(crate) values: Vec<f64>,
    pub(crate) importances: Vec<f64>,
}

impl Nodes {
    /// The values of the leaf that a row falls into.
    pub(crate) fn values(&self, row: ArrayView1<'_, f64>, outputs: usize) -> &[f64] {
        let mut index = 0;
        loop {
            let node = &self.nodes[index];
            if node.feature == LEAF {
                return &self.values[index * outputs..(index + 1) * outputs];
            }
            index =
                if row[node.feature as usize] <= node.threshold { node.left } else { node.right }
                    as usize;
        }
    }

    pub(crate) fn leaves(&self) -> usize {
        self.nodes.iter().filter(|node| node.feature == LEAF).count()
    }

    pub(crate) fn complexity(&self, outputs: usize) -> Complexity {
        let leaves = self.leaves();
        let parameters = leaves * outputs + (self.nodes.len() - leaves);
        Complexity {
            parameters,
            bytes: size_of_val(&self.nodes[..]) + size_of_val(&self.values[..]),
        }
    }

    /// What is wrong with nodes that were read.
    pub(crate) fn fault(&self, signature: &Signature) -> Option<String> {
        let (n, features) = (self.nodes.len(), signature.n_features());
        let is_sound = |(index, node): (usize, &Node)| {
            let after = |child: u32| (child as usize) > index && (child as usize) < n;
            node.feature == LEAF
                || ((node.feature as usize) < features && after(node.left) && after(node.right))
        };
        // Children stand behind their parents, so that no row can walk in a circle.
        let fits = n > 0
            && self.values.len() == n * signature.outputs().len()
            && self.importances.len() == features
            && self.nodes.iter().enumerate().all(is_sound);
        (!fits).then(|| "the nodes do not form a tree over the features".to_owned())
    }
}

/// A fitted decision tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedTree {
    signature: Signature,
    tree: Nodes,
}

impl FittedTree {
    /// How many leaves the tree has.
    #[must_use]
    pub fn leaves(&self) -> usize {
        self.tree.leaves()
    }
}

impl Model for FittedTree {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_finite(&rows)?;
        let outputs = out.ncols();
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            out.assign(&ArrayView1::from(self.tree.values(row, outputs)));
        }
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedTree {
    fn importances(&self) -> Option<Vec<f64>> {
        Some(self.tree.importances.clone())
    }

    fn complexity(&self) -> Complexity {
        self.tree.complexity(self.signature.outputs().len())
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedTree {
    const KIND: &'static str = "mlp-models/tree";

    fn fault(&self) -> Option<String> {
        self.tree.fault(&self.signature)
    }
}
