//! From rows to leaves: many walks at once.
//!
//! A walk waits for memory at each step, so eight go side by side: of one row through eight trees, or of eight rows through one tree. Answers are
//! added in the order of the trees either way, so a row gets the same bits alone and in a batch. Where rows are many, they
//! [walk by the ranks of their values](super::ranked).

use mlp_core::Scratch;
use ndarray::ArrayView2;

use super::nodes::{Node, Nodes};
use super::ranked::RankedRows;

pub(super) const LANES: usize = 8;

/// Rows that go through one tree before the next: their values and the tree's nodes fit into the cache.
const BLOCK: usize = 256;

/// From this many rows on, rows go side by side instead of trees.
const SOME_ROWS: usize = 5;

/// From this many rows on, it pays to rank their values first.
const MANY_ROWS: usize = 512;

/// How many values are ranked at a time: trees are larger than their ranks, so each tree should come from memory once for as many rows as the second
/// cache holds.
const MANY_VALUES: usize = 1 << 18;

impl Nodes {
    /// The leaf of a row in one tree.
    pub(crate) fn leaf(&self, tree: usize, row: &[f64]) -> &[f64] {
        let mut at = self.roots[tree];
        loop {
            let next = step::<true>(&self.nodes, at, |feature| row[feature]);
            if next == at {
                return self.answer_of(at);
            }
            at = next;
        }
    }

    /// Starts the `n_sums` sums of each row at `base` (zeros if that is empty), adds the answers of all trees, and gives them to `write` with
    /// the row's number.
    pub(crate) fn predict(
        &self,
        rows: ArrayView2<'_, f64>,
        base: &[f64],
        n_sums: usize,
        scratch: &mut Scratch,
        mut write: impl FnMut(usize, &mut [f64]),
    ) {
        let (n_rows, n_features) = rows.dim();
        let ranked = self.ranked.as_ref().filter(|_| n_rows >= MANY_ROWS);
        let mut ranked = ranked.map(|ranked| RankedRows::new(self, ranked));
        let most = if ranked.is_some() { MANY_VALUES / n_features.max(1) } else { BLOCK };
        let block = most.max(BLOCK).min(n_rows).max(1);
        let mut copy = scratch.take(if rows.is_standard_layout() { 0 } else { block * n_features });
        let mut sums = scratch.take(block * n_sums);
        for first in (0..n_rows).step_by(block) {
            let n = block.min(n_rows - first);
            let sums = &mut sums[..n * n_sums];
            sums.fill(0.0);
            if !base.is_empty() {
                sums.chunks_exact_mut(n_sums).for_each(|sums| sums.copy_from_slice(base));
            }
            let cells = if let Some(all) = rows.as_slice() {
                &all[first * n_features..(first + n) * n_features]
            } else {
                let cells = (first..first + n).flat_map(|row| rows.row(row));
                copy.iter_mut().zip(cells).for_each(|(copy, cell)| *copy = *cell);
                &copy[..n * n_features]
            };
            match &mut ranked {
                Some(ranked) => ranked.add(cells, n_features, sums, n_sums),
                None => self.add(cells, n_features, sums, n_sums),
            }
            let each = sums.chunks_exact_mut(n_sums).enumerate();
            each.for_each(|(row, sums)| write(first + row, sums));
        }
        scratch.give(sums);
        scratch.give(copy);
    }

    /// Adds the answers of all trees to the sums of each row. `cells` are rows of `n_features` values, `sums` rows of `n_sums`; the answer of
    /// tree t begins at sum t × width modulo `n_sums`: all of them where a tree answers with as many numbers, else one after another.
    fn add(&self, cells: &[f64], n_features: usize, sums: &mut [f64], n_sums: usize) {
        if cells.iter().fold(false, |any, value| any | value.is_nan()) {
            self.add_rows::<true>(cells, n_features, sums, n_sums);
        } else {
            self.add_rows::<false>(cells, n_features, sums, n_sums);
        }
    }

    fn add_rows<const MISSING: bool>(
        &self,
        cells: &[f64],
        n_features: usize,
        sums: &mut [f64],
        n_sums: usize,
    ) {
        if cells.len() < SOME_ROWS * n_features {
            let rows = cells.chunks_exact(n_features).zip(sums.chunks_exact_mut(n_sums));
            rows.for_each(|(row, sums)| self.add_trees_together::<MISSING>(row, sums));
        } else {
            for tree in 0..self.n_trees() {
                self.add_rows_together::<MISSING>(tree, cells, n_features, sums, n_sums);
            }
        }
    }

    fn add_trees_together<const MISSING: bool>(&self, row: &[f64], sums: &mut [f64]) {
        let mut place = 0;
        for roots in self.roots.chunks(LANES) {
            let mut at = [roots[0]; LANES];
            at[..roots.len()].copy_from_slice(roots);
            descend::<MISSING>(&self.nodes, &mut at, |_, feature| row[feature]);
            for &leaf in &at[..roots.len()] {
                self.add_answer(leaf, &mut sums[place..]);
                place = (place + self.width()) % sums.len();
            }
        }
    }

    fn add_rows_together<const MISSING: bool>(
        &self,
        tree: usize,
        cells: &[f64],
        n_features: usize,
        sums: &mut [f64],
        n_sums: usize,
    ) {
        let place = tree * self.width() % n_sums;
        let rows = cells.chunks(LANES * n_features).zip(sums.chunks_mut(LANES * n_sums));
        for (cells, sums) in rows {
            let last = cells.len() / n_features - 1;
            let starts: [usize; LANES] = std::array::from_fn(|lane| lane.min(last) * n_features);
            let mut at = [self.roots[tree]; LANES];
            descend::<MISSING>(&self.nodes, &mut at, |lane, feature| cells[starts[lane] + feature]);
            for (leaf, sums) in at.into_iter().zip(sums.chunks_exact_mut(n_sums)) {
                self.add_answer(leaf, &mut sums[place..]);
            }
        }
    }

    #[inline(always)]
    pub(super) fn add_answer(&self, leaf: u32, sums: &mut [f64]) {
        let values = self.answer_of(leaf);
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

/// Walks until every lane is at a leaf.
#[inline(always)]
fn descend<const MISSING: bool>(
    nodes: &[Node],
    at: &mut [u32; LANES],
    value: impl Fn(usize, usize) -> f64,
) {
    loop {
        let mut moved = 0;
        for (lane, at) in at.iter_mut().enumerate() {
            let next = step::<MISSING>(nodes, *at, |feature| value(lane, feature));
            moved |= next ^ *at;
            *at = next;
        }
        if moved == 0 {
            return;
        }
    }
}

#[inline(always)]
fn step<const MISSING: bool>(nodes: &[Node], at: u32, value: impl Fn(usize) -> f64) -> u32 {
    let node = &nodes[at as usize];
    let value = value(node.feature());
    let mut right = value > node.threshold;
    if MISSING {
        right |= value.is_nan() & node.sends_missing_right();
    }
    node.left + u32::from(right)
}
