//! Features as small integers: what a tree is grown on.

use ndarray::ArrayView2;
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
        let sorted = sorted(values.filter(|value| !value.is_nan()));
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
    pub codes: Vec<C>,
    pub n_rows: usize,
    pub edges: Vec<Edges>,
}

/// What lies in each feature, on as many threads as are worth their while.
fn learn(features: ArrayView2<'_, f64>, limit: usize, threads: usize) -> Vec<Edges> {
    let learn = |feature: usize| Edges::learn(features.column(feature).iter().copied(), limit);
    let edges = in_parts(features.ncols(), threads_for(features, threads), |part| {
        part.map(learn).collect::<Vec<_>>()
    });
    edges.into_iter().flatten().collect()
}

/// Values below which another thread costs more than it does.
const WORTH_A_THREAD: usize = 50_000;

fn threads_for(features: ArrayView2<'_, f64>, threads: usize) -> usize {
    if features.len() < WORTH_A_THREAD { 1 } else { threads }
}

impl<C: Code> Table<C> {
    fn new(features: ArrayView2<'_, f64>, edges: Vec<Edges>, threads: usize) -> Self {
        let codes = in_parts(features.ncols(), threads_for(features, threads), |part| {
            let mut codes = Vec::with_capacity(part.len() * features.nrows());
            for feature in part {
                let code = |&value: &f64| C::of(edges[feature].bin(value));
                codes.extend(features.column(feature).iter().map(code));
            }
            codes
        });
        Self { codes: codes.concat(), n_rows: features.nrows(), edges }
    }

    /// How many codes all features have together, the ones of NaN included.
    pub(crate) fn n_bins(&self) -> usize {
        self.edges.iter().map(|edges| edges.len() + 1).sum()
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
        let limit = if exact { MAX_EXACT } else { MAX_BINS };
        let edges = learn(features, limit, threads);
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
        Self::new(features, learn(features, MAX_BINS, threads), threads)
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
        let few = Edges::learn([3.0, 1.0, 2.0, 1.0, f64::NAN].into_iter(), 255);
        assert_eq!(few.low, [1.0, 2.0, 3.0]);
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let edges = Edges::learn(many.iter().copied(), 255);
        assert_eq!(edges.len(), 255);
        let widest = edges.low.iter().zip(&edges.high).map(|(low, high)| high - low + 1.0);
        assert!(widest.fold(0.0, f64::max) < 60.0);
    }
}
