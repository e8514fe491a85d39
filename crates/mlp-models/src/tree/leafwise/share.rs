//! One thread's share of the features: it counts them over the rows of all, and looks for the cut that gains most.

use std::ops::{Deref, Range};

use super::cut::{Cut, MOST_BINS, Search, Sum};
use super::steps::{Count, Cuts, Place, Step};
use super::stretch::Stretch;
use super::{Field, Slope};

/// How many features are counted at a time: as many as leave their bins in the nearest cache.
const TOGETHER: usize = 4;

/// The bins of a feature; a code needs no check to be one of them.
type Bins = [Sum; MOST_BINS];

pub(super) struct Share<'a> {
    field: &'a Field<'a>,
    /// Some own features' codes each, row by row.
    groups: Vec<Group>,
    /// The own features that this tree may ask, ascending.
    chosen: Vec<usize>,
    /// The chosen ones of each group that has any.
    picks: Vec<Pick>,
    /// The chosen features' bins of each leaf; empty where rows are few.
    histograms: Vec<Vec<Bins>>,
    pool: Vec<Vec<Bins>>,
}

struct Group {
    features: Range<usize>,
    codes: Vec<[u8; TOGETHER]>,
}

/// Which of a group's features are chosen.
struct Pick {
    group: usize,
    /// Where they are among all chosen ones.
    places: Range<usize>,
    /// Where they are in the group; as many as there are places.
    lanes: [usize; TOGETHER],
}

impl Group {
    fn new(field: &Field<'_>, features: Range<usize>) -> Self {
        let mut codes = vec![[0; TOGETHER]; field.table.n_rows];
        for (lane, feature) in features.clone().enumerate() {
            let column = field.table.column(feature).iter();
            codes.iter_mut().zip(column).for_each(|(codes, &code)| codes[lane] = code);
        }
        Self { features, codes }
    }
}

impl<'a> Share<'a> {
    pub(super) fn new(field: &'a Field<'a>, own: Range<usize>) -> Self {
        let groups = own.clone().step_by(TOGETHER).map(|first| {
            let features = first..(first + TOGETHER).min(own.end);
            Group::new(field, features)
        });
        Self {
            field,
            groups: groups.collect(),
            chosen: Vec::new(),
            picks: Vec::new(),
            histograms: Vec::new(),
            pool: Vec::new(),
        }
    }

    /// Finds the best cuts of the leaves that a step made, over own features.
    pub(super) fn carry_out<S: Deref<Target = Stretch>>(
        &mut self,
        step: &Step,
        stretches: &[S],
    ) -> Cuts {
        match step {
            Step::Begin { root, features } => {
                self.choose(features);
                [self.begin(root, stretches), None]
            }
            &Step::Split { number, right, sides: [low, high], count, .. } => {
                let (left, right) = ((number, low), (right, high));
                match count {
                    Count::Left => self.split(number, left, right, stretches),
                    Count::Right => {
                        let [right, left] = self.split(number, right, left, stretches);
                        [left, right]
                    }
                    Count::Few => {
                        let whole = self.take(number);
                        self.pool.extend(Some(whole).filter(|whole| !whole.is_empty()));
                        [left, right].map(|side| self.cut_by_rows(side, stretches))
                    }
                }
            }
            Step::Slope | Step::Gather { .. } | Step::Part { .. } | Step::Answer { .. } => {
                Cuts::default()
            }
        }
    }

    fn choose(&mut self, features: &[usize]) {
        self.chosen.clear();
        self.picks.clear();
        for (group, Group { features: own, .. }) in self.groups.iter().enumerate() {
            let start = self.chosen.len();
            let mut lanes = [0; TOGETHER];
            for &feature in features.iter().filter(|feature| own.contains(feature)) {
                lanes[self.chosen.len() - start] = feature - own.start;
                self.chosen.push(feature);
            }
            if self.chosen.len() > start {
                self.picks.push(Pick { group, places: start..self.chosen.len(), lanes });
            }
        }
    }

    fn begin<S: Deref<Target = Stretch>>(&mut self, root: &Place, stretches: &[S]) -> Option<Cut> {
        self.pool.extend(self.histograms.drain(..).filter(|it| !it.is_empty()));
        let mut histogram = self.empty();
        let mut search = self.search(root);
        for pick in &self.picks {
            self.count(pick, 0, &mut histogram, stretches);
            self.look(pick, &histogram, &mut search);
        }
        self.keep(0, histogram);
        search.and_then(|search| search.best)
    }

    /// Counts the smaller side of a leaf; the larger one is the rest. What lies in the nearest cache is used at once.
    fn split<S: Deref<Target = Stretch>>(
        &mut self,
        whole: usize,
        smaller: (usize, Place),
        larger: (usize, Place),
        stretches: &[S],
    ) -> Cuts {
        let (mut part, mut rest) = (self.empty(), self.take(whole));
        let mut searches = [self.search(&smaller.1), self.search(&larger.1)];
        for pick in &self.picks {
            self.count(pick, smaller.0, &mut part, stretches);
            for place in pick.places.clone() {
                let n_codes = self.n_codes(place);
                let pairs = rest[place][..n_codes].iter_mut().zip(&part[place]);
                pairs.for_each(|(rest, part)| *rest = rest.minus(*part));
            }
            self.look(pick, &part, &mut searches[0]);
            self.look(pick, &rest, &mut searches[1]);
        }
        self.keep(smaller.0, part);
        self.keep(larger.0, rest);
        searches.map(|search| search.and_then(|search| search.best))
    }

    /// Counts some features over the rows of a leaf, in their order.
    fn count<S: Deref<Target = Stretch>>(
        &self,
        pick: &Pick,
        leaf: usize,
        histogram: &mut [Bins],
        stretches: &[S],
    ) {
        for place in pick.places.clone() {
            histogram[place][..self.n_codes(place)].fill(Sum::default());
        }
        let (codes, bins) = (&self.groups[pick.group].codes, &mut histogram[pick.places.clone()]);
        for stretch in stretches {
            let (rows, slopes) = stretch.leaf(leaf);
            match pick.places.len() {
                1 => count::<1>(bins, pick.lanes, codes, rows, slopes),
                2 => count::<2>(bins, pick.lanes, codes, rows, slopes),
                3 => count::<3>(bins, pick.lanes, codes, rows, slopes),
                _ => count::<TOGETHER>(bins, pick.lanes, codes, rows, slopes),
            }
        }
    }

    /// How many codes the chosen feature at this place has, that of a missing value included.
    fn n_codes(&self, place: usize) -> usize {
        self.field.table.edges[self.chosen[place]].len() + 1
    }

    fn empty(&mut self) -> Vec<Bins> {
        let mut bins = self.pool.pop().unwrap_or_default();
        bins.resize(self.chosen.len(), [Sum::default(); MOST_BINS]);
        bins
    }

    fn take(&mut self, leaf: usize) -> Vec<Bins> {
        std::mem::take(&mut self.histograms[leaf])
    }

    fn keep(&mut self, leaf: usize, histogram: Vec<Bins>) {
        if self.histograms.len() <= leaf {
            self.histograms.resize_with(leaf + 1, Vec::new);
        }
        self.histograms[leaf] = histogram;
    }

    /// None if the leaf may not be cut.
    fn search(&self, place: &Place) -> Option<Search<'a>> {
        let may = self.field.may_cut(place);
        may.then(|| Search::new(self.field.criteria(), place.sum, place.bounds))
    }

    fn look(&self, pick: &Pick, histogram: &[Bins], search: &mut Option<Search<'_>>) {
        let Some(search) = search else { return };
        for place in pick.places.clone() {
            if let Some((&missing, bins)) = histogram[place][..self.n_codes(place)].split_last() {
                search.look(self.chosen[place], || (0..=u8::MAX).zip(bins), missing);
            }
        }
    }

    /// Where to cut a leaf of few rows: feature by feature, looking at no bin without rows.
    fn cut_by_rows<S: Deref<Target = Stretch>>(
        &mut self,
        (leaf, place): (usize, Place),
        stretches: &[S],
    ) -> Option<Cut> {
        self.keep(leaf, Vec::new());
        let mut search = self.search(&place)?;
        let mut bins = [Sum::default(); MOST_BINS];
        for &feature in &self.chosen {
            let column = self.field.table.column(feature);
            let mut filled = Filled::default();
            for stretch in stretches {
                let (rows, slopes) = stretch.leaf(leaf);
                for (&row, &slope) in rows.iter().zip(slopes) {
                    let code = column[row as usize];
                    bins[usize::from(code)].add(slope);
                    filled.add(code);
                }
            }
            let n_bins = self.field.table.edges[feature].len();
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
}

/// Adds the slopes of some rows to the bins of `N` features, which are in these lanes of the codes.
fn count<const N: usize>(
    bins: &mut [Bins],
    lanes: [usize; TOGETHER],
    codes: &[[u8; TOGETHER]],
    rows: &[u32],
    slopes: &[Slope],
) {
    let Some(bins) = bins.first_chunk_mut::<N>() else { return };
    for (&row, &slope) in rows.iter().zip(slopes) {
        let codes = &codes[row as usize];
        for (bins, lane) in bins.iter_mut().zip(lanes) {
            bins[usize::from(codes[lane % TOGETHER])].add(slope);
        }
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
