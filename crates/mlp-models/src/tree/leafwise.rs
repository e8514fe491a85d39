//! Growing one tree of a boosted model: the leaf that gains most is split next, on histograms of gradients.

use super::bins::{Edges, Table};
use super::nodes::Nodes;

/// When to stop, and how much to trust.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafRules {
    pub max_leaves: usize,
    pub max_depth: usize,
    pub min_leaf: usize,
    pub l2: f64,
    pub learning_rate: f64,
}

/// The slope and the curvature of the loss at a row's score.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slope {
    pub gradient: f64,
    pub hessian: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl Sum {
    fn add(&mut self, slope: Slope) {
        self.gradient += slope.gradient;
        self.hessian += slope.hessian;
        self.rows += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            rows: self.rows + other.rows,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    /// Twice what the best value of a leaf takes off the loss, to second order (Chen and Guestrin 2016, equation 6).
    fn score(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2).max(f64::MIN_POSITIVE)
    }

    fn value(self, rules: &LeafRules) -> f64 {
        -rules.learning_rate * self.gradient / (self.hessian + rules.l2).max(1e-16)
    }
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    gain: f64,
    feature: usize,
    last_left: usize,
    next: Option<usize>,
    missing_right: bool,
    left: Sum,
    right: Sum,
}

struct Leaf {
    node: usize,
    start: usize,
    end: usize,
    depth: usize,
    sum: Sum,
    histogram: Vec<Sum>,
    cut: Option<Cut>,
}

/// Grows trees on one table, with working memory that serves all of them.
pub(crate) struct LeafGrower<'a> {
    table: &'a Table<u8>,
    /// The codes row by row, because a histogram takes all features of a row.
    by_row: Vec<u8>,
    /// Where each feature's bins begin in a histogram.
    offsets: Vec<usize>,
    rules: LeafRules,
    rows: Vec<u32>,
    set_aside: Vec<u32>,
    pool: Vec<Vec<Sum>>,
}

impl<'a> LeafGrower<'a> {
    pub(crate) fn new(table: &'a Table<u8>, rules: LeafRules) -> Self {
        let n_features = table.n_features();
        let mut by_row = vec![0; table.codes.len()];
        for feature in 0..n_features {
            for (row, &code) in table.column(feature).iter().enumerate() {
                by_row[row * n_features + feature] = code;
            }
        }
        let mut offsets = vec![0];
        for edges in &table.edges {
            offsets.push(offsets[offsets.len() - 1] + edges.len() + 1);
        }
        let (rows, set_aside, pool) = (Vec::new(), Vec::new(), Vec::new());
        Self { table, by_row, offsets, rules, rows, set_aside, pool }
    }

    /// Grows a tree on the rows that have curvature, adds what each feature gained, and calls `moved` with the rows of each leaf and its value.
    pub(crate) fn grow(
        &mut self,
        slopes: &[Slope],
        nodes: &mut Nodes,
        gains: &mut [f64],
        mut moved: impl FnMut(&[u32], f64),
    ) {
        self.rows.clear();
        self.rows.extend(0..slopes.len() as u32);
        let mut sum = Sum::default();
        slopes.iter().for_each(|&slope| sum.add(slope));
        let node = nodes.root(sum.hessian);
        let histogram = self.histogram(0, slopes.len(), slopes);
        let mut leaves = vec![self.leaf(node, (0, slopes.len()), 0, sum, histogram)];
        while leaves.len() < self.rules.max_leaves {
            let gain = |leaf: &Leaf| leaf.cut.map(|cut| cut.gain);
            let best = mlp_core::Direction::Maximize.best(leaves.iter().map(gain));
            let Some((place, _)) = best else { break };
            let leaf = leaves.swap_remove(place);
            if let Some(cut) = leaf.cut {
                gains[cut.feature] += cut.gain;
                leaves.extend(self.split(leaf, cut, slopes, nodes));
            }
        }
        for leaf in leaves {
            let value = leaf.sum.value(&self.rules);
            nodes.answer(leaf.node)[0] = value;
            moved(&self.rows[leaf.start..leaf.end], value);
            self.pool.push(leaf.histogram);
        }
    }

    fn split(&mut self, leaf: Leaf, cut: Cut, slopes: &[Slope], nodes: &mut Nodes) -> [Leaf; 2] {
        let Leaf { start, end, depth, node, histogram: mut whole, .. } = leaf;
        let edges = &self.table.edges[cut.feature];
        let threshold = threshold(edges, &cut);
        let covers = [cut.left.hessian, cut.right.hessian];
        let left_node = nodes.split(node, cut.feature, threshold, cut.missing_right, covers);
        let middle = start + self.partition(start, end, &cut);
        // Only the smaller side is counted; the larger one is the rest.
        let left_is_smaller = middle - start <= end - middle;
        let (from, to) = if left_is_smaller { (start, middle) } else { (middle, end) };
        let smaller = self.histogram(from, to, slopes);
        for (rest, part) in whole.iter_mut().zip(&smaller) {
            *rest = rest.minus(*part);
        }
        let (left, right) = if left_is_smaller { (smaller, whole) } else { (whole, smaller) };
        [
            self.leaf(left_node, (start, middle), depth + 1, cut.left, left),
            self.leaf(left_node + 1, (middle, end), depth + 1, cut.right, right),
        ]
    }

    fn leaf(
        &self,
        node: usize,
        (start, end): (usize, usize),
        depth: usize,
        sum: Sum,
        histogram: Vec<Sum>,
    ) -> Leaf {
        let may_split = depth < self.rules.max_depth && (end - start) / 2 >= self.rules.min_leaf;
        let cut = if may_split { self.best_cut(&histogram, sum) } else { None };
        Leaf { node, start, end, depth, sum, histogram, cut }
    }

    fn histogram(&mut self, start: usize, end: usize, slopes: &[Slope]) -> Vec<Sum> {
        let n_features = self.table.n_features();
        let mut histogram = self.pool.pop().unwrap_or_default();
        histogram.clear();
        histogram.resize(self.offsets[n_features], Sum::default());
        for &row in &self.rows[start..end] {
            let row = row as usize;
            let slope = slopes[row];
            let codes = &self.by_row[row * n_features..(row + 1) * n_features];
            for (&code, &offset) in codes.iter().zip(&self.offsets) {
                histogram[offset + usize::from(code)].add(slope);
            }
        }
        histogram
    }

    /// The cut that gains most; the first of equally good ones.
    fn best_cut(&self, histogram: &[Sum], whole: Sum) -> Option<Cut> {
        let mut best: Option<Cut> = None;
        for feature in 0..self.table.n_features() {
            let bins = &histogram[self.offsets[feature]..self.offsets[feature + 1]];
            let Some((&missing, bins)) = bins.split_last() else { continue };
            let sides: &[bool] = if missing.rows > 0 { &[true, false] } else { &[true] };
            for &missing_right in sides {
                let mut left = if missing_right { Sum::default() } else { missing };
                for (bin, &sum) in bins.iter().enumerate() {
                    if sum.rows == 0 {
                        continue;
                    }
                    left = left.plus(sum);
                    let right = whole.minus(left);
                    if (right.rows as usize) < self.rules.min_leaf {
                        break;
                    }
                    if (left.rows as usize) < self.rules.min_leaf {
                        continue;
                    }
                    let l2 = self.rules.l2;
                    let gain = left.score(l2) + right.score(l2) - whole.score(l2);
                    if gain > best.as_ref().map_or(1e-12, |best| best.gain) {
                        let next = (bin + 1..bins.len()).find(|&next| bins[next].rows > 0);
                        let missing_right =
                            if missing.rows > 0 { missing_right } else { right.rows > left.rows };
                        let last_left = bin;
                        best = Some(Cut {
                            gain,
                            feature,
                            last_left,
                            next,
                            missing_right,
                            left,
                            right,
                        });
                    }
                }
            }
        }
        best
    }

    fn partition(&mut self, start: usize, end: usize, cut: &Cut) -> usize {
        let column = self.table.column(cut.feature);
        let n_bins = self.table.edges[cut.feature].len();
        self.set_aside.clear();
        let rows = &mut self.rows[start..end];
        let mut left = 0;
        for place in 0..rows.len() {
            let row = rows[place];
            let code = usize::from(column[row as usize]);
            if code <= cut.last_left || (code == n_bins && !cut.missing_right) {
                rows[left] = row;
                left += 1;
            } else {
                self.set_aside.push(row);
            }
        }
        rows[left..].copy_from_slice(&self.set_aside);
        left
    }
}

fn threshold(edges: &Edges, cut: &Cut) -> f64 {
    match cut.next {
        Some(next) => edges.threshold(cut.last_left, next),
        None => edges.high[cut.last_left],
    }
}
