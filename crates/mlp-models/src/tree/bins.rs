//! Features as small integers: what a tree is grown on.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

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
    fn learn(values: impl Iterator<Item = f64>, limit: usize) -> Self {
        let mut sorted: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
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

    /// The threshold between bin `below` and bin `above`: the middle of the values next to it, as CART does.
    pub(crate) fn threshold(&self, below: usize, above: usize) -> f64 {
        let (low, high) = (self.high[below], self.low[above]);
        let middle = low + (high - low) / 2.0;
        if middle < high && middle.is_finite() { middle } else { low }
    }
}

/// A table of codes, column by column.
pub(crate) struct Table<C> {
    pub codes: Vec<C>,
    pub n_rows: usize,
    pub edges: Vec<Edges>,
}

impl<C: Code> Table<C> {
    fn new(features: ArrayView2<'_, f64>, edges: Vec<Edges>) -> Self {
        let mut codes = Vec::with_capacity(features.len());
        for (column, edges) in features.columns().into_iter().zip(&edges) {
            codes.extend(column.iter().map(|&value| C::of(edges.bin(value))));
        }
        Self { codes, n_rows: features.nrows(), edges }
    }

    pub(crate) fn column(&self, feature: usize) -> &[C] {
        &self.codes[feature * self.n_rows..(feature + 1) * self.n_rows]
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
    pub(crate) fn new(features: ArrayView2<'_, f64>, resolution: Resolution) -> Self {
        let exact = match resolution {
            Resolution::Auto => features.nrows() <= EXACT_ROWS,
            Resolution::Exact => true,
            Resolution::Bins => false,
        };
        let limit = if exact { MAX_EXACT } else { MAX_BINS };
        let columns = features.columns().into_iter();
        let edges: Vec<Edges> =
            columns.map(|column| Edges::learn(column.iter().copied(), limit)).collect();
        if edges.iter().all(|edges| edges.len() <= MAX_BINS) {
            Self::Narrow(Table::new(features, edges))
        } else {
            Self::Wide(Table::new(features, edges))
        }
    }
}

impl Table<u8> {
    /// Bins the features (`n_rows × n_features`) into at most 255 bins each.
    pub(crate) fn narrow(features: ArrayView2<'_, f64>) -> Self {
        let columns = features.columns().into_iter();
        let edges = columns.map(|column| Edges::learn(column.iter().copied(), MAX_BINS)).collect();
        Self::new(features, edges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_threshold_separates_its_bins(values in prop::collection::vec(prop::num::f64::NORMAL, 1..600), limit in 1_usize..255) {
            let edges = Edges::learn(values.iter().copied(), limit);
            prop_assert!(edges.len() <= limit);
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

    #[test]
    fn few_values_are_told_apart_exactly_and_many_are_shared_out_evenly() {
        let few = Edges::learn([3.0, 1.0, 2.0, 1.0, f64::NAN].into_iter(), 255);
        assert_eq!(few.low, [1.0, 2.0, 3.0]);
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let edges = Edges::learn(many.iter().copied(), 255);
        assert_eq!(edges.len(), 255);
        let widest = edges.low.iter().zip(&edges.high).map(|(low, high)| high - low + 1.0);
        assert!(widest.fold(0.0, f64::max) < 60.0);
    }
}
