//! From rows to leaves where rows are many: values by their ranks among the thresholds that the trees ask of their feature.
//!
//! A value is above a threshold if and only if its rank is, so the leaves are the same; but a rank takes a quarter of the memory, and a node half.
//! More rows stay in the cache while a tree goes by, so that each tree comes from memory less often, and a step is a handful of instructions.

use super::nodes::{Node, Nodes};
use super::walk::LANES;

/// The most thresholds of a feature: ranks begin at 1, and `LEAF` is nobody's.
const MOST_THRESHOLDS: usize = 65_533;

/// The rank of a missing value.
const MISSING: u16 = 0;

/// More than any rank.
const LEAF: u16 = u16::MAX;

/// The nodes of some trees with ranks instead of thresholds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    nodes: Vec<RankedNode>,
    /// Where each leaf's answer is.
    slots: Vec<u32>,
    /// What the trees ask of each feature, ascending; of features behind the last one asked nothing.
    thresholds: Vec<Vec<f64>>,
}

/// A place in a tree, of 8 bytes. A leaf points to itself.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RankedNode {
    /// The left child; a leaf's own number.
    left: u32,
    feature: u16,
    /// A row goes left if its rank is at most this.
    rank: u16,
}

impl Ranked {
    /// None if there are too many features or thresholds for numbers of two bytes.
    pub(super) fn new(nodes: &[Node]) -> Option<Self> {
        let splits = || nodes.iter().zip(0..).filter(|(node, number)| node.left != *number);
        let n_features = splits().map(|(node, _)| node.feature() + 1).max().unwrap_or(0);
        if n_features > usize::from(u16::MAX) {
            return None;
        }
        let mut thresholds = vec![Vec::new(); n_features];
        splits().for_each(|(node, _)| thresholds[node.feature()].push(node.threshold));
        for thresholds in &mut thresholds {
            thresholds.sort_unstable_by(f64::total_cmp);
            thresholds.dedup();
            thresholds.shrink_to_fit();
        }
        if thresholds.iter().any(|thresholds| thresholds.len() > MOST_THRESHOLDS) {
            return None;
        }
        let ranked = |(node, number): (&Node, u32)| {
            let feature = node.feature();
            let is_leaf = node.left == number;
            let rank = if is_leaf { LEAF } else { rank(&thresholds[feature], node.threshold) };
            RankedNode { left: node.left, feature: feature as u16, rank }
        };
        let slots = nodes.iter().map(|node| node.slot() as u32).collect();
        Some(Self { nodes: nodes.iter().zip(0..).map(ranked).collect(), slots, thresholds })
    }

    pub(super) fn bytes(&self) -> usize {
        let thresholds: usize = self.thresholds.iter().map(|part| size_of_val(&part[..])).sum();
        size_of_val(&self.nodes[..]) + size_of_val(&self.slots[..]) + thresholds
    }
}

/// One more than how many thresholds are below a value; of NaN `MISSING`.
fn rank(thresholds: &[f64], value: f64) -> u16 {
    let below = thresholds.partition_point(|&threshold| threshold < value);
    if value.is_nan() { MISSING } else { below as u16 + 1 }
}

/// The ranks of some rows, and the trees that they go through.
pub(super) struct RankedRows<'a> {
    nodes: &'a Nodes,
    ranked: &'a Ranked,
    /// Row by row, one rank or more a row.
    ranks: Vec<u16>,
    width: usize,
}

impl<'a> RankedRows<'a> {
    pub(super) fn new(nodes: &'a Nodes, ranked: &'a Ranked) -> Self {
        Self { nodes, ranked, ranks: Vec::new(), width: ranked.thresholds.len().max(1) }
    }

    /// Adds the answers of all trees to the sums of each row. `cells` are rows of `n_features` values, `sums` rows of `n_sums`; the answer of
    /// tree t begins at sum t × width modulo `n_sums`.
    pub(super) fn add(
        &mut self,
        cells: &[f64],
        n_features: usize,
        sums: &mut [f64],
        n_sums: usize,
    ) {
        let has_missing = self.fill(cells, n_features);
        for tree in 0..self.nodes.n_trees() {
            let place = tree * self.nodes.width() % n_sums;
            if has_missing {
                self.add_tree::<true>(tree, &mut sums[place..], n_sums);
            } else {
                self.add_tree::<false>(tree, &mut sums[place..], n_sums);
            }
        }
    }

    /// Takes the next rows; tells whether a value is missing.
    fn fill(&mut self, cells: &[f64], n_features: usize) -> bool {
        self.ranks.clear();
        self.ranks.resize(cells.len() / n_features * self.width, MISSING);
        let mut has_missing = false;
        // Feature by feature, so that its thresholds stay in the nearest cache.
        for (feature, thresholds) in self.ranked.thresholds.iter().enumerate() {
            let ranks = self.ranks[feature..].iter_mut().step_by(self.width);
            for (to, &value) in ranks.zip(cells[feature..].iter().step_by(n_features)) {
                *to = rank(thresholds, value);
                has_missing |= *to == MISSING;
            }
        }
        has_missing
    }

    /// `sums` begin with the first row's sum that the tree adds to.
    fn add_tree<const WITH_MISSING: bool>(&self, tree: usize, sums: &mut [f64], n_sums: usize) {
        let root = self.nodes.roots[tree];
        let rows = self.ranks.chunks(LANES * self.width).zip(sums.chunks_mut(LANES * n_sums));
        for (ranks, sums) in rows {
            let last = ranks.len() / self.width - 1;
            let starts: [usize; LANES] = std::array::from_fn(|lane| lane.min(last) * self.width);
            let mut at = [root; LANES];
            let mut moved = 1;
            while moved != 0 {
                moved = 0;
                for (at, start) in at.iter_mut().zip(starts) {
                    // Two steps for each time that somebody looks whether all have arrived.
                    let halfway = self.step::<WITH_MISSING>(*at, ranks, start);
                    *at = self.step::<WITH_MISSING>(halfway, ranks, start);
                    moved |= *at ^ halfway;
                }
            }
            for (leaf, sums) in at.into_iter().zip(sums.chunks_mut(n_sums)) {
                let values = self.nodes.values(self.ranked.slots[leaf as usize] as usize);
                add(sums, values);
            }
        }
    }

    #[inline(always)]
    fn step<const WITH_MISSING: bool>(&self, at: u32, ranks: &[u16], start: usize) -> u32 {
        let node = &self.ranked.nodes[at as usize];
        let rank = ranks[start + usize::from(node.feature)];
        let mut right = node.rank < rank;
        if WITH_MISSING {
            right |= (rank == MISSING) & self.nodes.nodes[at as usize].sends_missing_right();
        }
        node.left + u32::from(right)
    }
}

/// Adds an answer, most often of one or two numbers, to the first sums.
#[inline(always)]
fn add(sums: &mut [f64], values: &[f64]) {
    match (values, &mut *sums) {
        ([value], [sum, ..]) => *sum += value,
        ([first, second], [a, b, ..]) => {
            *a += first;
            *b += second;
        }
        _ => sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_is_above_a_threshold_if_and_only_if_its_rank_is(
            mut thresholds in prop::collection::vec(-9_i32..9, 1..40),
            values in prop::collection::vec(-40_i32..40, 1..40),
        ) {
            thresholds.sort_unstable();
            thresholds.dedup();
            let thresholds: Vec<f64> = thresholds.into_iter().map(f64::from).collect();
            let special = [-0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE];
            for value in values.iter().map(|value| f64::from(*value) / 4.0).chain(special) {
                prop_assert!(rank(&thresholds, value) > MISSING);
                prop_assert!(rank(&thresholds, value) < LEAF);
                for &threshold in &thresholds {
                    let by_rank = rank(&thresholds, value) > rank(&thresholds, threshold);
                    prop_assert_eq!(by_rank, value > threshold);
                }
            }
        }
    }

    #[test]
    fn nan_has_a_rank_of_its_own_and_too_many_thresholds_have_none() {
        assert_eq!(rank(&[1.0, 2.0], f64::NAN), MISSING);
        let chain = |splits: usize| {
            let mut nodes = Nodes::new(1);
            let mut at = nodes.root(1.0);
            for threshold in 0..splits {
                nodes.answer(at);
                at = nodes.split(at, 0, threshold as f64, false, [1.0, 1.0]);
                nodes.answer(at + 1);
            }
            nodes.answer(at);
            nodes
        };
        assert!(Ranked::new(&chain(MOST_THRESHOLDS).nodes).is_some());
        assert!(Ranked::new(&chain(MOST_THRESHOLDS + 1).nodes).is_none());
    }
}
