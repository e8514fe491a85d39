//! A fitted tree or forest.

use mlp_core::{Complexity, FittedModel, Model, ModelError, SaveError, Saved, Scratch, Signature};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::nodes::{Nodes, Step};
use crate::persist::{Plain, save};
use crate::support::check_no_infinity;

/// A fitted tree, or the mean of several: a row's outputs are the trees' class shares (or mean values) at its leaves, averaged.
///
/// A missing value (NaN) goes to the side that was better in training, or where nothing was missing to the heavier one. Infinity is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedTrees {
    signature: Signature,
    nodes: Nodes,
    importances: Vec<f64>,
}

/// A node of a tree, for explanations.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NodeView {
    /// Rows go on to one of two nodes.
    Split {
        /// The position of the feature that is asked.
        feature: usize,
        /// Rows with a value up to this one go left.
        threshold: f64,
        /// Whether rows without a value go right.
        missing_right: bool,
        /// The number of the left node.
        left: usize,
        /// The number of the right node.
        right: usize,
    },
    /// Rows end here.
    Leaf {
        /// The class shares, or the mean value.
        values: Vec<f64>,
    },
}

/// Rows that are predicted by one group of trees before the next: their values and the group's nodes fit into the cache.
const BLOCK: usize = 64;

impl FittedTrees {
    /// `gains`: what each feature gained over all splits of each tree, normalised per tree by the caller.
    pub(crate) fn new(signature: Signature, nodes: Nodes, gains: Vec<f64>) -> Self {
        let total: f64 = gains.iter().sum();
        let share = |gain: f64| if total > 0.0 { gain / total } else { 0.0 };
        let importances = gains.into_iter().map(share).collect();
        Self { signature, nodes, importances }
    }

    /// How many trees there are.
    #[must_use]
    pub fn n_trees(&self) -> usize {
        self.nodes.n_trees()
    }

    /// The number of a tree's root; none if there is no such tree.
    #[must_use]
    pub fn root(&self, tree: usize) -> Option<usize> {
        (tree < self.n_trees()).then(|| self.nodes.root_of(tree))
    }

    /// A node by its number; none if there is no such node.
    #[must_use]
    pub fn node(&self, number: usize) -> Option<NodeView> {
        (number < self.nodes.len()).then(|| match self.nodes.step(number) {
            Step::Leaf { slot } => NodeView::Leaf { values: self.nodes.values(slot).to_vec() },
            Step::Split { feature, threshold, missing_right, left } => {
                NodeView::Split { feature, threshold, missing_right, left, right: left + 1 }
            }
        })
    }

    /// The training weight that reached a node; none if there is no such node.
    #[must_use]
    pub fn cover(&self, number: usize) -> Option<f64> {
        (number < self.nodes.len()).then(|| self.nodes.cover(number))
    }

    /// One tree as indented rules, for people.
    #[must_use]
    pub fn rules(&self, tree: usize) -> String {
        let mut text = String::new();
        let mut open: Vec<(usize, usize, String)> =
            self.root(tree).map(|root| (root, 0, String::new())).into_iter().collect();
        while let Some((number, depth, condition)) = open.pop() {
            let indent = "  ".repeat(depth);
            match self.node(number) {
                Some(NodeView::Split { feature, threshold, left, right, .. }) => {
                    let name = &self.signature.features()[feature];
                    if !condition.is_empty() {
                        text += &format!("{indent}{condition}:\n");
                    }
                    let depth = depth + usize::from(!condition.is_empty());
                    open.push((right, depth, format!("{name} > {threshold}")));
                    open.push((left, depth, format!("{name} <= {threshold}")));
                }
                Some(NodeView::Leaf { values }) => {
                    let outputs = self.signature.outputs().iter().zip(values);
                    let outputs: Vec<String> =
                        outputs.map(|(name, value)| format!("{name} {value:.4}")).collect();
                    let arrow = if condition.is_empty() { "" } else { ": " };
                    text += &format!("{indent}{condition}{arrow}{}\n", outputs.join(", "));
                }
                None => {}
            }
        }
        text
    }
}

impl Model for FittedTrees {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        check_no_infinity(&rows)?;
        out.fill(0.0);
        let width = rows.ncols();
        let share = 1.0 / self.n_trees() as f64;
        let mut cells = scratch.take(BLOCK.min(rows.nrows()) * width);
        for first in (0..rows.nrows()).step_by(BLOCK) {
            let n = BLOCK.min(rows.nrows() - first);
            for (row, cells) in (first..first + n).zip(cells.chunks_exact_mut(width)) {
                for (cell, value) in cells.iter_mut().zip(rows.row(row)) {
                    *cell = *value;
                }
            }
            for group in 0..self.nodes.n_groups() {
                for (row, cells) in (first..first + n).zip(cells.chunks_exact(width)) {
                    let mut out = out.row_mut(row);
                    self.nodes.add_group(group, cells, |_, values| {
                        out.iter_mut().zip(values).for_each(|(out, value)| *out += value);
                    });
                }
            }
        }
        scratch.give(cells);
        if self.n_trees() > 1 {
            out.mapv_inplace(|sum| sum * share);
        }
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedTrees {
    /// The decrease of impurity by the splits on each feature, as shares of the whole, averaged over the trees.
    fn importances(&self) -> Option<Vec<f64>> {
        Some(self.importances.clone())
    }

    fn complexity(&self) -> Complexity {
        let leaves = (self.nodes.len() + self.n_trees()) / 2;
        let splits = self.nodes.len() - leaves;
        Complexity {
            parameters: splits + leaves * self.signature.outputs().len(),
            bytes: size_of::<Self>() + self.nodes.bytes(),
        }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        save(self)
    }
}

impl Plain for FittedTrees {
    const KIND: &'static str = "mlp-models/trees";

    fn fault(&self) -> Option<String> {
        let n_features = self.signature.n_features();
        let fits = self.n_trees() > 0
            && self.importances.len() == n_features
            && n_features > 0
            && self.nodes.fits(n_features, self.signature.outputs().len());
        (!fits).then(|| "the trees do not fit their signature".to_owned())
    }
}
