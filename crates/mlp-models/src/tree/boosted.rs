//! A fitted gradient boosting.

use mlp_core::{Complexity, FittedModel, Model, ModelError, SaveError, Saved, Scratch, Signature};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::loss::normalise;
use super::nodes::Nodes;
use super::shap::{ShapValues, check_width};
use crate::persist::{Plain, save};
use crate::support::check_no_infinity;

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
    /// The loss on the validation rows after each round; none without early stopping.
    #[serde(default)]
    losses: Vec<f64>,
}

impl FittedBoosting {
    /// `gains`: what the splits on each feature gained in all.
    pub(super) fn new(
        signature: Signature,
        (present, base): (Vec<usize>, Vec<f64>),
        nodes: Nodes,
        gains: &[f64],
        losses: Vec<f64>,
    ) -> Self {
        let total: f64 = gains.iter().sum();
        let share = |&gain: &f64| if total > 0.0 { gain / total } else { 0.0 };
        let importances = gains.iter().map(share).collect();
        Self { signature, present, base, nodes: nodes.finish(), importances, losses }
    }

    /// How many trees there are.
    #[must_use]
    pub fn n_trees(&self) -> usize {
        self.nodes.n_trees()
    }

    /// How many rounds there are: early stopping keeps those up to the best one.
    #[must_use]
    pub fn n_rounds(&self) -> usize {
        self.nodes.n_trees() / self.base.len()
    }

    /// The mean loss on the validation rows after each round that was tried (log loss or squared error); empty without early stopping.
    #[must_use]
    pub fn validation_losses(&self) -> &[f64] {
        &self.losses
    }

    /// How many splits ask each feature.
    #[must_use]
    pub fn split_counts(&self) -> Vec<usize> {
        self.nodes.split_counts(self.signature.n_features())
    }

    /// One tree as indented rules, for people, which say where a missing value goes; empty if there is no such tree. A leaf tells what it adds to
    /// the prediction, or to the score of a class.
    #[must_use]
    pub fn rules(&self, tree: usize) -> String {
        let output = match (self.signature.classes(), &self.present[..]) {
            (Some(names), [_, positive]) => format!("score of {}", names[*positive]),
            (Some(names), present) => format!("score of {}", names[present[tree % present.len()]]),
            (None, _) => self.signature.outputs()[0].clone(),
        };
        self.nodes.rules(tree, self.signature.features(), &[output])
    }

    /// The scores of each row, `n_rows × n_scores`: the prediction of a number, the log-odds of the second of two classes, or a score a
    /// class, whose softmax is its probability. A class that the training rows lacked has none.
    ///
    /// # Errors
    /// If the shape does not fit the signature, or a value is infinite.
    pub fn predict_scores(&self, rows: ArrayView2<'_, f64>) -> Result<Array2<f64>, ModelError> {
        check_width(&self.signature, &rows)?;
        check_no_infinity(&rows)?;
        let n_scores = self.base.len();
        let mut all = Array2::zeros((rows.nrows(), n_scores));
        let mut scratch = Scratch::new();
        self.nodes.predict(rows, &self.base, n_scores, &mut scratch, |row, scores| {
            all.row_mut(row).iter_mut().zip(&*scores).for_each(|(to, score)| *to = *score);
        });
        Ok(all)
    }

    /// What each feature adds to each of the [scores](Self::predict_scores) of these rows (`n_rows × n_features`), by path-dependent TreeSHAP: rows
    /// count by the hessian of their loss, as in XGBoost.
    ///
    /// # Errors
    /// If the shape does not fit the signature, or a value is infinite.
    pub fn shap(&self, rows: ArrayView2<'_, f64>) -> Result<ShapValues, ModelError> {
        check_width(&self.signature, &rows)?;
        check_no_infinity(&rows)?;
        Ok(ShapValues::new(&self.nodes, rows, self.base.clone(), 1.0))
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
        self.nodes.predict(rows, &self.base, self.base.len(), scratch, |row, scores| {
            let mut out = out.row_mut(row);
            match self.present[..] {
                [] => out[0] = scores[0],
                [negative, positive] => {
                    // Both by the same function: one less the other would lose the digits of a small probability.
                    out[negative] = 1.0 / (1.0 + scores[0].exp());
                    out[positive] = 1.0 / (1.0 + (-scores[0]).exp());
                }
                _ => {
                    normalise(scores);
                    self.present.iter().zip(&*scores).for_each(|(&class, &p)| out[class] = p);
                }
            }
        });
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
    /// The second has the losses on validation rows.
    const FORMAT: u32 = 2;

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
