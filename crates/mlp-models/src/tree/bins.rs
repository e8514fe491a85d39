//! Features as small integers: what a tree is grown on.

use std::ops::Range;

use ndarray::{ArrayView2, s};
use serde::{Deserialize, Serialize};

use super::threads::in_parts;

/// How finely a tree tells the values of a feature apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resolution {
    /// Exactly for up to 2,000 rows, else by quantile bins: a split between two of 255 bins costs a fraction and is as good.
    #[default]
    Auto,
    /// Every value apart, as CART does, as far as a feature has at most 65,535 different values.
    Exact,
    /// At most 255 bins a feature, of about equally many rows each.
    Bins,
}

/// How many binary searches go side by side, because each of their steps waits for the one before.
const SIDE_BY_SIDE: usize = 8;

const EXACT_ROWS: usize = 2_000;
const MAX_BINS: usize = 255;
const MAX_EXACT: usize = 65_535;

/// An integer that numbers the bins of a feature.
pub(crate) trait Code: Copy + Send + Sync {
    fn of(bin: usize) -> Self;
    fn bin(self) -> usize;
}

impl Code for u8 {
    fn of(bin: usize) -> Self {
        bin as Self
    }
    fn bin(self) -> usize {
        self.into()
    }
}

impl Code for u16 {
    fn of(bin: usize) -> Self {
        bin as Self
    }
    fn bin(self) -> usize {
        self.into()
    }
}

/// The smallest and largest training value of each bin of a feature, in ascending order. NaN has the bin after the last one.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    pub low: Vec<f64>,
    pub high: Vec<f64>,
}

impl Edges {
    fn learn(values: &[f64], limit: usize) -> Self {
        let sorted = sorted(values.iter().copied().filter(|value| !value.is_nan()));
        let mut runs: Vec<(f64, usize)> = Vec::new();
        for value in sorted.iter().copied() {
            match runs.last_mut() {
                Some((last, count)) if *last == value => *count += 1,
                _ => runs.push((value, 1)),
            }
        }
        let mut edges = Self::default();
        let (mut left, mut filled, mut bins_left) = (sorted.len(), 0, limit);
        let crowded = runs.len() > limit;
        for (value, count) in runs {
            let share = left as f64 / bins_left.max(1) as f64;
            let next = filled == 0 || !crowded || (filled as f64 + count as f64 / 2.0) > share;
            if next && edges.low.len() < limit {
                if filled > 0 {
                    left -= filled;
                    bins_left -= 1;
                }
                filled = 0;
                edges.low.push(value);
                edges.high.push(value);
            } else if let Some(high) = edges.high.last_mut() {
                *high = value;
            }
            filled += count;
        }
        edges
    }

    pub(crate) fn len(&self) -> usize {
        self.low.len()
    }

    fn bin(&self, value: f64) -> usize {
        if value.is_nan() {
            self.len()
        } else {
            self.high.partition_point(|&high| high < value).min(self.len().saturating_sub(1))
        }
    }

    /// The bins of some values.
    fn codes<C: Code>(&self, values: &[f64]) -> Vec<C> {
        if self.len() > MAX_BINS {
            return values.iter().map(|&value| C::of(self.bin(value))).collect();
        }
        let mut high = [f64::INFINITY; MAX_BINS + 1];
        high[..self.len()].copy_from_slice(&self.high);
        let last = self.len().saturating_sub(1);
        let mut codes = Vec::with_capacity(values.len());
        for values in values.chunks(SIDE_BY_SIDE) {
            let mut below = [0_u8; SIDE_BY_SIDE];
            for step in [128, 64, 32, 16, 8, 4, 2, 1] {
                for (below, &value) in below.iter_mut().zip(values) {
                    *below += u8::from(high[usize::from(*below + (step - 1))] < value) * step;
                }
            }
            codes.extend(values.iter().zip(below).map(|(value, below)| {
                C::of(if value.is_nan() { self.len() } else { last.min(below.into()) })
            }));
        }
        codes
    }

    /// The threshold between bin `below` and bin `above`: the middle of the values next to it, as CART does.
    pub(crate) fn threshold(&self, below: usize, above: usize) -> f64 {
        let (low, high) = (self.high[below], self.low[above]);
        let middle = low + (high - low) / 2.0;
        if middle < high && middle.is_finite() { middle } else { low }
    }
}

/// Numbers in their total order, sorted as integers, which takes half the time.
fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    // All but the sign are turned where the sign is set: the more negative, the lower. Doing it again undoes it.
    let turn = |bits: i64| bits ^ ((bits >> 63) as u64 >> 1) as i64;
    let mut keys: Vec<i64> = values.map(|value| turn(value.to_bits() as i64)).collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| f64::from_bits(turn(key) as u64)).collect()
}

/// A table of codes, column by column.
pub(crate) struct Table<C> {
    columns: Vec<Vec<C>>,
    pub n_rows: usize,
    pub edges: Vec<Edges>,
}

/// How many features are laid out in columns at a time: their values lie in one line of the cache, which is read once.
const STRIP: usize = 8;

/// Does the same with each feature, given as a column, on as many threads as are worth their while.
fn each_column<T: Send>(
    features: ArrayView2<'_, f64>,
    threads: usize,
    work: impl Fn(usize, &[f64]) -> T + Sync,
) -> Vec<T> {
    let threads = if features.len() < WORTH_A_THREAD { 1 } else { threads };
    let results = in_parts(features.ncols(), threads, |part: Range<usize>| {
        let mut results = Vec::with_capacity(part.len());
        let mut columns = vec![0.0; features.nrows() * STRIP.min(part.len())];
        for first in part.clone().step_by(STRIP) {
            let strip = features.slice(s![.., first..(first + STRIP).min(part.end)]);
            for (number, row) in strip.outer_iter().enumerate() {
                let cells = columns[number..].iter_mut().step_by(features.nrows());
                cells.zip(row).for_each(|(cell, &value)| *cell = value);
            }
            let each = (first..first + strip.ncols()).zip(columns.chunks_exact(features.nrows()));
            results.extend(each.map(|(feature, column)| work(feature, column)));
        }
        results
    });
    results.into_iter().flatten().collect()
}

/// Values below which another thread costs more than it does.
const WORTH_A_THREAD: usize = 50_000;

impl<C: Code> Table<C> {
    fn new(features: ArrayView2<'_, f64>, edges: Vec<Edges>, threads: usize) -> Self {
        let codes = |feature: usize, column: &[f64]| edges[feature].codes(column);
        let columns = each_column(features, threads, codes);
        Self { columns, n_rows: features.nrows(), edges }
    }

    /// How many codes all features have together, the ones of NaN included.
    pub(crate) fn n_bins(&self) -> usize {
        self.edges.iter().map(|edges| edges.len() + 1).sum()
    }

    pub(crate) fn column(&self, feature: usize) -> &[C] {
        &self.columns[feature]
    }

    pub(crate) fn n_features(&self) -> usize {
        self.edges.len()
    }

    /// The most codes that a feature has, the one of NaN included.
    pub(crate) fn widest(&self) -> usize {
        self.edges.iter().map(Edges::len).max().unwrap_or(0) + 1
    }
}

/// A table with codes as narrow as its features allow.
pub(crate) enum Binned {
    Narrow(Table<u8>),
    Wide(Table<u16>),
}

impl Binned {
    /// Bins the features (`n_rows × n_features`).
    pub(crate) fn new(
        features: ArrayView2<'_, f64>,
        resolution: Resolution,
        threads: usize,
    ) -> Self {
        let exact = match resolution {
            Resolution::Auto => features.nrows() <= EXACT_ROWS,
            Resolution::Exact => true,
            Resolution::Bins => false,
        };
        if !exact {
            return Self::Narrow(Table::narrow(features, threads));
        }
        let edges = each_column(features, threads, |_, column| Edges::learn(column, MAX_EXACT));
        if edges.iter().all(|edges| edges.len() <= MAX_BINS) {
            Self::Narrow(Table::new(features, edges, threads))
        } else {
            Self::Wide(Table::new(features, edges, threads))
        }
    }
}

impl Table<u8> {
    /// Bins the features (`n_rows × n_features`) into at most 255 bins each.
    pub(crate) fn narrow(features: ArrayView2<'_, f64>, threads: usize) -> Self {
        let all = each_column(features, threads, |_, column| {
            let edges = Edges::learn(column, MAX_BINS);
            let codes = edges.codes(column);
            (edges, codes)
        });
        let (edges, columns) = all.into_iter().unzip();
        Self { columns, n_rows: features.nrows(), edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_threshold_separates_its_bins(values in prop::collection::vec(prop::num::f64::NORMAL, 1..600), limit in 1_usize..=300) {
            let edges = Edges::learn(&values, limit);
            prop_assert!(edges.len() <= limit);
            let others = [f64::NAN, f64::MIN, f64::MAX, 0.0];
            let asked: Vec<f64> = values.iter().copied().chain(others).collect();
            for (value, code) in asked.iter().zip(edges.codes::<u16>(&asked)) {
                prop_assert_eq!(code.bin(), edges.bin(*value));
            }
            for &value in &values {
                let bin = edges.bin(value);
                prop_assert!(edges.low[bin] <= value && value <= edges.high[bin]);
            }
            for above in 1..edges.len() {
                let threshold = edges.threshold(above - 1, above);
                prop_assert!(edges.high[above - 1] <= threshold && threshold < edges.low[above]);
            }
        }
    }

    proptest! {
        #[test]
        fn sorting_as_integers_is_the_total_order(values in prop::collection::vec(prop::num::f64::ANY, 0..50)) {
            let mut expected = values.clone();
            expected.sort_by(f64::total_cmp);
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(sorted(values.into_iter())), bits(expected));
        }
    }

    #[test]
    fn few_values_are_told_apart_exactly_and_many_are_shared_out_evenly() {
        let few = Edges::learn(&[3.0, 1.0, 2.0, 1.0, f64::NAN], 255);
        assert_eq!(few.low, [1.0, 2.0, 3.0]);
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let edges = Edges::learn(&many, 255);
        assert_eq!(edges.len(), 255);
        let widest = edges.low.iter().zip(&edges.high).map(|(low, high)| high - low + 1.0);
        assert!(widest.fold(0.0, f64::max) < 60.0);
    }
}
