//! One thread's share of growing a tree: all rows, and some of the features.

use std::ops::Range;
use std::sync::Arc;

use super::cut::{Criteria, Cut, MOST_BINS, Search, Sum};
use super::{Ground, Slope};
use crate::tree::bins::Table;
use crate::tree::trend::Bounds;

/// A leaf that may still be split: its rows are those from `start` to `end`, and come to `sum`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) depth: usize,
    pub(super) bounds: Bounds,
    pub(super) sum: Sum,
}

impl Place {
    fn n_rows(&self) -> usize {
        self.end - self.start
    }
}

/// What is to be done next.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) ground: Arc<Ground>,
    /// Which of a row's scores the tree is for.
    pub(super) score: usize,
    pub(super) step: Step,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Begins a tree with one leaf.
    Begin(Place),
    /// Splits the leaf with this number, which the left side keeps; the right side gets the next free one.
    Split { number: usize, cut: Cut, sides: [Place; 2] },
}

/// The best cuts of the leaves that a step made.
pub(super) type Cuts = [Option<Cut>; 2];

pub(super) struct Share<'a> {
    table: &'a Table<u8>,
    criteria: Criteria<'a>,
    own: Range<usize>,
    /// The codes of the own features row by row, because a histogram takes all features of a row.
    by_row: Vec<u8>,
    /// Where each own feature's bins begin in a histogram.
    offsets: Vec<usize>,
    /// The own features that this tree may ask, counted from the first own one, ascending.
    chosen: Vec<usize>,
    pub(super) rows: Vec<u32>,
    set_aside: Vec<u32>,
    /// Of each leaf; empty where rows are few.
    histograms: Vec<Vec<Sum>>,
    pool: Vec<Vec<Sum>>,
}

impl<'a> Share<'a> {
    pub(super) fn new(table: &'a Table<u8>, criteria: Criteria<'a>, own: Range<usize>) -> Self {
        let n_own = own.len();
        let mut by_row = vec![0; table.n_rows * n_own];
        for (place, feature) in own.clone().enumerate() {
            for (row, &code) in table.column(feature).iter().enumerate() {
                by_row[row * n_own + place] = code;
            }
        }
        let mut offsets = vec![0];
        for edges in &table.edges[own.clone()] {
            offsets.push(offsets[offsets.len() - 1] + edges.len() + 1);
        }
        Self {
            table,
            criteria,
            own,
            by_row,
            offsets,
            chosen: Vec::new(),
            rows: Vec::new(),
            set_aside: Vec::new(),
            histograms: Vec::new(),
            pool: Vec::new(),
        }
    }

    pub(super) fn carry_out(&mut self, order: &Order) -> Cuts {
        let slopes = order.ground.slopes_of(order.score);
        match order.step {
            Step::Begin(root) => [self.begin(&order.ground, slopes, &root), None],
            Step::Split { number, cut, sides } => self.split(slopes, number, &cut, &sides),
        }
    }

    fn begin(&mut self, ground: &Ground, slopes: &[Slope], root: &Place) -> Option<Cut> {
        self.rows.clone_from(&ground.rows);
        let (own, features) = (&self.own, ground.features.iter());
        self.chosen.clear();
        self.chosen.extend(features.filter(|it| own.contains(it)).map(|it| it - own.start));
        self.pool.extend(self.histograms.drain(..).filter(|it| !it.is_empty()));
        let histogram = self.histogram(root, slopes);
        let cut = self.cut(&histogram, root, slopes);
        self.histograms.push(histogram);
        cut
    }

    fn split(&mut self, slopes: &[Slope], number: usize, cut: &Cut, sides: &[Place; 2]) -> Cuts {
        self.partition(sides, cut);
        let mut whole = std::mem::take(&mut self.histograms[number]);
        let [left, right] = sides;
        let histograms = if self.are_few(left.n_rows().max(right.n_rows())) {
            // That of a leaf of few rows is empty, and would be taken before those that have room.
            self.pool.extend(Some(whole).filter(|whole| !whole.is_empty()));
            [Vec::new(), Vec::new()]
        } else {
            // Only the smaller side is counted; the larger one is the rest.
            let left_is_smaller = left.n_rows() <= right.n_rows();
            let smaller = self.histogram(if left_is_smaller { left } else { right }, slopes);
            for (rest, part) in whole.iter_mut().zip(&smaller) {
                *rest = rest.minus(*part);
            }
            if left_is_smaller { [smaller, whole] } else { [whole, smaller] }
        };
        let cuts = [0, 1].map(|side| self.cut(&histograms[side], &sides[side], slopes));
        let [left, right] = histograms;
        self.histograms[number] = left;
        self.histograms.push(right);
        cuts
    }

    /// Brings the rows of the left side before those of the right one, each in their order.
    pub(super) fn partition(&mut self, [left, right]: &[Place; 2], cut: &Cut) {
        let column = self.table.column(cut.feature);
        let n_bins = self.table.edges[cut.feature].len();
        let rows = &mut self.rows[left.start..right.end];
        let room = self.set_aside.len().max(rows.len());
        self.set_aside.resize(room, 0);
        let (mut kept, mut aside) = (0, 0);
        for place in 0..rows.len() {
            let row = rows[place];
            let goes_left = cut.takes_left(column[row as usize].into(), n_bins);
            // Without a branch, which could not be foreseen: each row is written to both, and overwritten where it does not belong.
            rows[kept] = row;
            self.set_aside[aside] = row;
            kept += usize::from(goes_left);
            aside += usize::from(!goes_left);
        }
        rows[kept..].copy_from_slice(&self.set_aside[..aside]);
    }

    /// Whether so few rows fill so few of the bins that a histogram of all of them costs more than counting feature by feature. All shares must say the
    /// same, since sums differ in their last digits by how they came about.
    fn are_few(&self, rows: usize) -> bool {
        2 * rows * self.table.n_features() <= self.table.n_bins()
    }

    /// Where to cut a leaf: by its histogram, or by its rows if that is empty.
    fn cut(&self, histogram: &[Sum], place: &Place, slopes: &[Slope]) -> Option<Cut> {
        let rules = self.criteria.rules;
        let large = place.n_rows() / 2 >= rules.min_leaf;
        match (large && place.depth < rules.max_depth, histogram.is_empty()) {
            (false, _) => None,
            (true, false) => self.cut_by_histogram(histogram, place),
            (true, true) => self.cut_by_rows(place, slopes),
        }
    }

    fn cut_by_histogram(&self, histogram: &[Sum], place: &Place) -> Option<Cut> {
        let mut search = Search::new(self.criteria, place.sum, place.bounds);
        for &feature in &self.chosen {
            let bins = &histogram[self.offsets[feature]..self.offsets[feature + 1]];
            if let Some((&missing, bins)) = bins.split_last() {
                search.look(self.own.start + feature, || (0..=u8::MAX).zip(bins), missing);
            }
        }
        search.best
    }

    /// The same feature by feature, looking at no bin without rows.
    fn cut_by_rows(&self, place: &Place, slopes: &[Slope]) -> Option<Cut> {
        let rows = &self.rows[place.start..place.end];
        let mut search = Search::new(self.criteria, place.sum, place.bounds);
        let mut bins = [Sum::default(); MOST_BINS];
        for feature in self.chosen.iter().map(|it| self.own.start + it) {
            let column = self.table.column(feature);
            let mut filled = Filled::default();
            for &row in rows {
                let code = column[row as usize];
                bins[usize::from(code)].add(slopes[row as usize]);
                filled.add(code);
            }
            let n_bins = self.table.edges[feature].len();
            let missing = bins[n_bins];
            let values = || {
                let numbers = filled.numbers().filter(|&number| usize::from(number) < n_bins);
                numbers.map(|number| (number, &bins[usize::from(number)]))
            };
            search.look(feature, values, missing);
            filled.numbers().for_each(|number| bins[usize::from(number)] = Sum::default());
        }
        search.best
    }

    /// Counts the chosen features in the order of the rows.
    fn histogram(&mut self, place: &Place, slopes: &[Slope]) -> Vec<Sum> {
        let mut bins = self.pool.pop().unwrap_or_default();
        bins.clear();
        bins.resize(self.offsets[self.own.len()], Sum::default());
        let n_own = self.own.len();
        let all_are_chosen = self.chosen.len() == n_own;
        for &row in &self.rows[place.start..place.end] {
            let row = row as usize;
            let slope = slopes[row];
            let codes = &self.by_row[row * n_own..(row + 1) * n_own];
            if all_are_chosen {
                for (&code, &offset) in codes.iter().zip(&self.offsets) {
                    bins[offset + usize::from(code)].add(slope);
                }
            } else {
                for &feature in &self.chosen {
                    bins[self.offsets[feature] + usize::from(codes[feature])].add(slope);
                }
            }
        }
        bins
    }
}

/// Which bins have rows, as bits.
#[derive(Default)]
struct Filled([u64; MOST_BINS / 64]);

impl Filled {
    fn add(&mut self, bin: u8) {
        self.0[usize::from(bin / 64)] |= 1 << (bin % 64);
    }

    /// In ascending order.
    fn numbers(&self) -> impl Iterator<Item = u8> {
        // The bits first: behind the last of them there is no number to step to.
        self.0.into_iter().zip((0_u8..).step_by(64)).flat_map(|(mut bits, first)| {
            std::iter::from_fn(move || {
                let lowest = (bits != 0).then(|| bits.trailing_zeros() as u8)?;
                bits &= bits - 1;
                Some(first + lowest)
            })
        })
    }
}
