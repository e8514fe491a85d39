//! A fitted tree or forest.

use mlp_core::{Complexity, FittedModel, Model, ModelError, SaveError, Saved, Scratch, Signature};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::nodes::{Nodes, Step};
use super::shap::{ShapValues, check_width};
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

impl FittedTrees {
    /// `gains`: what each feature gained over all splits of each tree, normalised per tree by the caller.
    pub(crate) fn new(signature: Signature, nodes: Nodes, gains: Vec<f64>) -> Self {
        let total: f64 = gains.iter().sum();
        let share = |gain: f64| if total > 0.0 { gain / total } else { 0.0 };
        let importances = gains.into_iter().map(share).collect();
        Self { signature, nodes: nodes.finish(), importances }
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

    /// How many splits ask each feature.
    #[must_use]
    pub fn split_counts(&self) -> Vec<usize> {
        self.nodes.split_counts(self.signature.n_features())
    }

    /// One tree as indented rules, for people, which say where a missing value goes; empty if there is no such tree.
    #[must_use]
    pub fn rules(&self, tree: usize) -> String {
        self.nodes.rules(tree, self.signature.features(), self.signature.outputs())
    }

    /// What each feature adds to each output of these rows (`n_rows × n_features`), by path-dependent TreeSHAP.
    ///
    /// # Errors
    /// If the shape does not fit the signature, or a value is infinite.
    pub fn shap(&self, rows: ArrayView2<'_, f64>) -> Result<ShapValues, ModelError> {
        check_width(&self.signature, &rows)?;
        check_no_infinity(&rows)?;
        let base = vec![0.0; self.signature.outputs().len()];
        Ok(ShapValues::new(&self.nodes, rows, base, 1.0 / self.n_trees() as f64))
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
        let share = 1.0 / self.n_trees() as f64;
        self.nodes.predict(rows, &[], out.ncols(), scratch, |row, sums| {
            let mean = |(out, sum): (&mut f64, &f64)| *out = *sum * share;
            out.row_mut(row).iter_mut().zip(&*sums).for_each(mean);
        });
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
        let leaves = self.nodes.n_leaves();
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
