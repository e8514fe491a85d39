//! Growing one tree: exact best splits, as in CART (Breiman, Friedman, Olshen and Stone 1984).

use mlp_core::random::{self, ChaCha8Rng};
use ndarray::ArrayView2;

use crate::support::Goal;
use crate::tree::{LEAF, Node, Nodes};

/// When to stop, and how many features to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_depth: usize,
    pub(crate) min_leaf: usize,
    /// How many features are tried at a node, drawn anew each time; all of them, in order, if this is their number.
    pub(crate) features: usize,
}

/// What a tree is grown from. Rows with weight 0 take no part.
pub(crate) struct Grower<'a> {
    pub(crate) rows: ArrayView2<'a, f64>,
    pub(crate) goal: &'a Goal<'a>,
    pub(crate) weights: &'a [f64],
    pub(crate) limits: Limits,
    pub(crate) generator: ChaCha8Rng,
}

/// The best way found to part a node.
struct Split {
    feature: usize,
    threshold: f64,
    gain: f64,
}

/// A node that is still to be looked at.
struct Pending {
    node: usize,
    start: usize,
    end: usize,
    depth: usize,
}

impl Grower<'_> {
    pub(crate) fn grow(mut self) -> Nodes {
        let mut rows: Vec<u32> =
            (0..self.rows.nrows() as u32).filter(|&row| self.weights[row as usize] > 0.0).collect();
        let mut tree = Nodes {
            nodes: Vec::new(),
            values: Vec::new(),
            importances: vec![0.0; self.rows.ncols()],
        };
        self.add_node(&mut tree, &rows);
        let mut pending = vec![Pending { node: 0, start: 0, end: rows.len(), depth: 0 }];
        while let Some(Pending { node, start, end, depth }) = pending.pop() {
            let part = &mut rows[start..end];
            if depth >= self.limits.max_depth || part.len() < 2 * self.limits.min_leaf {
                continue;
            }
            let Some(split) = self.best_split(part) else { continue };
            let is_left = |row: u32| self.rows[[row as usize, split.feature]] <= split.threshold;
            let middle = start + partition(part, is_left);
            tree.importances[split.feature] += split.gain;
            let left = self.add_node(&mut tree, &rows[start..middle]);
            let right = self.add_node(&mut tree, &rows[middle..end]);
            tree.nodes[node] =
                Node { feature: split.feature as u32, threshold: split.threshold, left, right };
            pending.push(Pending { node: right as usize, start: middle, end, depth: depth + 1 });
            pending.push(Pending { node: left as usize, start, end: middle, depth: depth + 1 });
        }
        let total: f64 = tree.importances.iter().sum();
        if total > 0.0 {
            tree.importances.iter_mut().for_each(|importance| *importance /= total);
        }
        tree
    }

    fn add_node(&self, tree: &mut Nodes, rows: &[u32]) -> u32 {
        tree.nodes.push(Node { feature: LEAF, threshold: 0.0, left: 0, right: 0 });
        let sums = self.sums(rows);
        match self.goal {
            Goal::Classes(..) => {
                tree.values.extend(sums.parts.iter().map(|part| part / sums.weight))
            }
            Goal::Values(_) => tree.values.push(sums.parts[0] / sums.weight),
        }
        tree.nodes.len() as u32 - 1
    }

    fn sums(&self, rows: &[u32]) -> Sums {
        let mut sums = Sums { parts: vec![0.0; self.goal.outputs()], weight: 0.0 };
        rows.iter().for_each(|&row| self.add(&mut sums, row as usize, 1.0));
        sums
    }

    fn add(&self, sums: &mut Sums, row: usize, sign: f64) {
        let weight = sign * self.weights[row];
        sums.weight += weight;
        match self.goal {
            Goal::Classes(labels, _) => sums.parts[labels[row]] += weight,
            Goal::Values(values) => sums.parts[0] += weight * values[row],
        }
    }

    fn is_pure(&self, rows: &[u32]) -> bool {
        let first = rows[0] as usize;
        match self.goal {
            Goal::Classes(labels, _) => {
                rows.iter().all(|&row| labels[row as usize] == labels[first])
            }
            Goal::Values(values) => rows.iter().all(|&row| values[row as usize] == values[first]),
        }
    }

    /// The split with the greatest decrease of impurity; of equal ones that of the feature looked at first.
    fn best_split(&mut self, rows: &[u32]) -> Option<Split> {
        if self.is_pure(rows) {
            return None;
        }
        let n_features = self.rows.ncols();
        let mut order: Vec<usize> = (0..n_features).collect();
        if self.limits.features < n_features {
            random::shuffle(&mut self.generator, &mut order);
        }
        let whole = self.sums(rows);
        let mut best: Option<Split> = None;
        let mut pairs: Vec<(f64, u32)> = Vec::with_capacity(rows.len());
        for (looked_at, feature) in order.into_iter().enumerate() {
            // Once enough features were tried, go on only if none of them could be split.
            if looked_at >= self.limits.features && best.is_some() {
                break;
            }
            pairs.clear();
            pairs.extend(rows.iter().map(|&row| (self.rows[[row as usize, feature]], row)));
            pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            if let Some(split) = self.best_of_feature(feature, &pairs, &whole)
                && best.as_ref().is_none_or(|best| split.gain > best.gain)
            {
                best = Some(split);
            }
        }
        best
    }

    fn best_of_feature(&self, feature: usize, pairs: &[(f64, u32)], whole: &Sums) -> Option<Split> {
        let mut left = Sums { parts: vec![0.0; whole.parts.len()], weight: 0.0 };
        let mut right = whole.clone();
        let mut best: Option<Split> = None;
        for count in 1..pairs.len() {
            let (value, row) = pairs[count - 1];
            self.add(&mut left, row as usize, 1.0);
            self.add(&mut right, row as usize, -1.0);
            let next = pairs[count].0;
            if value == next
                || count < self.limits.min_leaf
                || pairs.len() - count < self.limits.min_leaf
            {
                continue;
            }
            let gain = left.concentration() + right.concentration() - whole.concentration();
            if best.as_ref().is_none_or(|best| gain > best.gain) {
                best = Some(Split { feature, threshold: between(value, next), gain });
            }
        }
        best
    }
}

/// Weighted counts of the classes, or the weighted sum of the values, and the weight.
#[derive(Clone)]
struct Sums {
    parts: Vec<f64>,
    weight: f64,
}

impl Sums {
    /// What is left of the squared target: the greater, the purer (Gini for classes, variance for values).
    fn concentration(&self) -> f64 {
        self.parts.iter().map(|part| part * part).sum::<f64>() / self.weight
    }
}

/// The middle of two values, always below the greater one.
fn between(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    if middle >= high { low } else { middle }
}

/// Moves the rows that go left to the front, both sides keeping their order; returns how many go left.
fn partition(rows: &mut [u32], is_left: impl Fn(u32) -> bool) -> usize {
    let (left, right): (Vec<u32>, Vec<u32>) = rows.iter().partition(|&&row| is_left(row));
    rows[..left.len()].copy_from_slice(&left);
    rows[left.len()..].copy_from_slice(&right);
    left.len()
}
