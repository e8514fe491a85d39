//! TreeSHAP: what each feature added to a prediction.

use mlp_core::{ModelError, Signature};
use ndarray::{Array3, ArrayView1, ArrayView2};

use super::nodes::{Nodes, Step};

/// What each feature added to each output of some rows: Shapley values of path-dependent TreeSHAP (Lundberg, Erion and Lee 2018,
/// *Consistent individualized feature attribution for tree ensembles*).
///
/// A feature that is left out sends a row down both sides of a split, in proportion to what went there in training: the weight of the rows or, in
/// boosting, the hessian of their loss, as in XGBoost. For numbers that is the weight too; for classes rows of which the trees before were sure count
/// for little. A row's values and the base sum to its prediction.
///
/// Each leaf is a game of its own: its answer counts if every feature on its path lets the row through, and a feature that is left out lets
/// through a share. The Shapley values of such a product are integrals of a polynomial (Owen 1972, *Multilinear extensions of games*), which
/// Gauss-Legendre quadrature solves exactly with half as many points as the path has features. Unlike Lundberg's Algorithm 2, which gives
/// the same values, it subtracts nothing, and loses no digits on deep trees.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShapValues {
    /// What is predicted without any feature, one an output: of trees and forests the mean over the rows that each tree learnt from, by weight. Of
    /// boosting the mean of the scores, tree by tree by that tree's hessians, which for classes is not the mean over the training rows.
    pub base: Vec<f64>,
    /// `n_rows × n_features × n_outputs`.
    pub values: Array3<f64>,
}

impl ShapValues {
    /// Explains the sums of all trees times `scale`, on top of `base`; the answer of tree t begins at output t × width modulo their number.
    pub(super) fn new(
        nodes: &Nodes,
        rows: ArrayView2<'_, f64>,
        mut base: Vec<f64>,
        scale: f64,
    ) -> Self {
        let n_outputs = base.len();
        let mut values = Array3::zeros((rows.nrows(), rows.ncols(), n_outputs));
        let mut quadrature = Quadrature::default();
        let (mut visits, mut path) = (Vec::new(), Vec::new());
        for tree in 0..nodes.n_trees() {
            let place = tree * nodes.width() % n_outputs;
            for (leaf, answer) in leaves(nodes, tree, &mut visits) {
                gates_of(&visits, leaf, &mut path);
                quadrature.grow(path.len());
                let share: f64 = path.iter().map(|gate: &Gate| gate.share).product();
                let outputs = base[place..].iter_mut().zip(nodes.values(answer));
                outputs.for_each(|(base, value)| *base += scale * share * value);
                for (row, mut values) in rows.rows().into_iter().zip(values.outer_iter_mut()) {
                    quadrature.explain(&path, row, |feature, part| {
                        let added = values.row_mut(feature);
                        let added = added.into_iter().skip(place).zip(nodes.values(answer));
                        added.for_each(|(added, value)| *added += scale * part * value);
                    });
                }
            }
        }
        Self { base, values }
    }
}

/// A share of nothing would leave nothing to divide by.
const LEAST_SHARE: f64 = 1e-300;

/// Refuses rows of another number of features.
pub(super) fn check_width(
    signature: &Signature,
    rows: &ArrayView2<'_, f64>,
) -> Result<(), ModelError> {
    let (expected, given) = (signature.n_features(), rows.ncols());
    if expected == given { Ok(()) } else { Err(ModelError::FeatureCount { expected, given }) }
}

/// What a path asks of one feature: a value above `low` and up to `high`.
#[derive(Debug, Clone, Copy)]
struct Gate {
    feature: usize,
    low: f64,
    high: f64,
    /// Whether a missing value passes.
    missing: bool,
    /// The share that passes if the feature is left out.
    share: f64,
}

impl Gate {
    fn lets_through(&self, value: f64) -> bool {
        if value.is_nan() { self.missing } else { self.low < value && value <= self.high }
    }
}

/// A question on the way to a node, and where the way came from.
#[derive(Debug, Clone, Copy)]
struct Visit {
    before: Option<usize>,
    gate: Gate,
}

/// Walks a tree without recursion: every question into `visits`, and the leaves as the number of their last question and their answer.
fn leaves(nodes: &Nodes, tree: usize, visits: &mut Vec<Visit>) -> Vec<(Option<usize>, usize)> {
    visits.clear();
    let mut leaves = Vec::new();
    let mut open = vec![(nodes.root_of(tree), None)];
    while let Some((node, before)) = open.pop() {
        match nodes.step(node) {
            Step::Leaf { slot } => leaves.push((before, slot)),
            Step::Split { feature, threshold, missing_right, left } => {
                for right in [false, true] {
                    let child = left + usize::from(right);
                    let share = nodes.cover(child) / (nodes.cover(left) + nodes.cover(left + 1));
                    let share = if share.is_nan() { 0.5 } else { share.clamp(LEAST_SHARE, 1.0) };
                    let missing = missing_right == right;
                    let (low, high) = if right {
                        (threshold, f64::INFINITY)
                    } else {
                        (f64::NEG_INFINITY, threshold)
                    };
                    visits
                        .push(Visit { before, gate: Gate { feature, low, high, missing, share } });
                    open.push((child, Some(visits.len() - 1)));
                }
            }
        }
    }
    leaves
}

/// The questions on the way to a leaf, those on one feature made one.
fn gates_of(visits: &[Visit], leaf: Option<usize>, path: &mut Vec<Gate>) {
    path.clear();
    let mut at = leaf;
    while let Some(number) = at {
        let Visit { before, gate } = visits[number];
        match path.iter_mut().find(|known| known.feature == gate.feature) {
            Some(known) => {
                known.low = known.low.max(gate.low);
                known.high = known.high.min(gate.high);
                known.missing &= gate.missing;
                known.share = (known.share * gate.share).max(LEAST_SHARE);
            }
            None => path.push(gate),
        }
        at = before;
    }
}

/// The points and weights of Gauss-Legendre quadrature on 0 to 1, and working memory.
#[derive(Debug, Default)]
struct Quadrature {
    /// By half the number of features, rounded up.
    rules: Vec<Vec<(f64, f64)>>,
    products: Vec<f64>,
}

impl Quadrature {
    fn grow(&mut self, features: usize) {
        while self.rules.len() <= features.div_ceil(2) {
            self.rules.push(legendre(self.rules.len()));
        }
    }

    /// Calls `add` with each feature of the path and its Shapley value, for an answer of 1.
    ///
    /// With t of the others present, feature i changes what comes through by (oᵢ − zᵢ) Π (t oⱼ + (1 − t) zⱼ), where o is 1 if the row passes and
    /// z the share; the mean over t is its value.
    fn explain(
        &mut self,
        path: &[Gate],
        row: ArrayView1<'_, f64>,
        mut add: impl FnMut(usize, f64),
    ) {
        let rule = &self.rules[path.len().div_ceil(2)];
        let passes = |gate: &Gate| f64::from(u8::from(gate.lets_through(row[gate.feature])));
        self.products.clear();
        self.products.extend(rule.iter().map(|(_, weight)| weight));
        for gate in path {
            let through = passes(gate);
            for (product, (t, _)) in self.products.iter_mut().zip(rule) {
                *product *= t * through + (1.0 - t) * gate.share;
            }
        }
        for gate in path {
            let through = passes(gate);
            let others = |(product, (t, _)): (&f64, &(f64, f64))| {
                product / (t * through + (1.0 - t) * gate.share)
            };
            let mean: f64 = self.products.iter().zip(rule).map(others).sum();
            add(gate.feature, (through - gate.share) * mean);
        }
    }
}

/// The roots of the Legendre polynomial of this degree and their weights, moved to 0 to 1, by Newton's method (Press et al. 2007, section 4.6).
fn legendre(degree: usize) -> Vec<(f64, f64)> {
    let n = degree as f64;
    let rule = |root: usize| {
        let mut x = (std::f64::consts::PI * (root as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut value, mut before) = (1.0, 0.0);
            for k in 0..degree {
                let k = k as f64;
                (value, before) = (((2.0 * k + 1.0) * x * value - k * before) / (k + 1.0), value);
            }
            slope = n * (x * value - before) / (x * x - 1.0);
            let step = value / slope;
            x -= step;
            if step.abs() < 1e-16 {
                break;
            }
        }
        ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..degree).map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadrature_is_exact_for_polynomials_of_twice_its_degree_less_one() {
        for degree in [1, 2, 3, 7, 20, 100] {
            let rule = legendre(degree);
            assert!(rule.iter().all(|&(t, weight)| t > 0.0 && t < 1.0 && weight > 0.0));
            for power in [0, 1, degree, 2 * degree - 1] {
                let integral: f64 = rule.iter().map(|(t, w)| w * t.powi(power as i32)).sum();
                let exact = 1.0 / (power as f64 + 1.0);
                assert!(
                    (integral - exact).abs() < 1e-14,
                    "degree {degree}, power {power}: {integral}"
                );
            }
            // One power more is not exact: the rule has no point to spare.
            let beyond: f64 = rule.iter().map(|(t, w)| w * t.powi(2 * degree as i32)).sum();
            assert!(degree > 7 || (beyond - 1.0 / (2.0 * degree as f64 + 1.0)).abs() > 1e-12);
        }
    }
}
