//! Growing one tree of a boosted model: the leaf that gains most is split next, on histograms of gradients.

use super::bins::{Edges, Table};
use super::nodes::Nodes;
use super::trend::{Bounds, Trends};

/// When to stop, and how much to trust.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafRules {
    pub max_leaves: usize,
    pub max_depth: usize,
    pub min_leaf: usize,
    pub l2: f64,
    pub min_gain: f64,
    /// The least curvature on either side of a cut: what is left of a smaller one after subtractions is rounding.
    pub min_hessian: f64,
    pub learning_rate: f64,
    pub threads: usize,
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

    /// Twice what this value takes off the loss.
    fn score_at(self, value: f64, l2: f64) -> f64 {
        -value * (2.0 * self.gradient + (self.hessian + l2) * value)
    }

    /// The best value of a leaf.
    fn value(self, l2: f64) -> f64 {
        -self.gradient / (self.hessian + l2).max(1e-16)
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

/// A node that may still be split: its rows, and what its leaf may answer.
struct Place {
    node: usize,
    start: usize,
    end: usize,
    depth: usize,
    bounds: Bounds,
}

struct Leaf {
    place: Place,
    sum: Sum,
    /// Empty where rows are few.
    histogram: Vec<Sum>,
    cut: Option<Cut>,
}

/// What lies up to each bin of a feature that has rows, and what a cut behind it gains. Columns let the compiler take several bins at once.
struct Scan {
    bin: [u8; MOST_BINS],
    gradient: [f64; MOST_BINS],
    hessian: [f64; MOST_BINS],
    rows: [f64; MOST_BINS],
    gain: [f64; MOST_BINS],
    len: usize,
}

const MOST_BINS: usize = 256;

impl Scan {
    fn new() -> Self {
        let zeros = [0.0; MOST_BINS];
        Self {
            bin: [0; MOST_BINS],
            gradient: zeros,
            hessian: zeros,
            rows: zeros,
            gain: zeros,
            len: 0,
        }
    }

    /// Takes the sums of some bins, whose numbers ascend.
    fn fill<'a>(&mut self, bins: impl Iterator<Item = (u8, &'a Sum)>, start: Sum) {
        let (mut sum, mut at) = (start, 0);
        for (number, &bin) in bins {
            sum = sum.plus(bin);
            self.bin[at] = number;
            (self.gradient[at], self.hessian[at]) = (sum.gradient, sum.hessian);
            self.rows[at] = f64::from(sum.rows);
            // Without a branch: the next one overwrites an empty bin.
            at += usize::from(bin.rows > 0);
        }
        self.len = at;
    }

    fn up_to(&self, at: usize) -> Sum {
        let rows = self.rows[at] as u32;
        Sum { gradient: self.gradient[at], hessian: self.hessian[at], rows }
    }

    /// Both sides' scores under one division, less the score before.
    fn gains(&mut self, whole: Sum, before: f64, rules: &LeafRules) {
        let (all, least, flat) = (f64::from(whole.rows), rules.min_leaf as f64, rules.min_hessian);
        let columns = self.gradient.iter().zip(&self.hessian).zip(&self.rows);
        for (gain, ((&gradient, &hessian), &rows)) in self.gain[..self.len].iter_mut().zip(columns)
        {
            let rest = (whole.gradient - gradient, whole.hessian - hessian);
            let left = (hessian + rules.l2).max(f64::MIN_POSITIVE);
            let right = (rest.1 + rules.l2).max(f64::MIN_POSITIVE);
            let scores = (gradient * gradient * right + rest.0 * rest.0 * left) / (left * right);
            let curved = (hessian >= flat) & (rest.1 >= flat);
            let allowed = (rows >= least) & (all - rows >= least) & curved;
            *gain = if allowed { scores - before } else { f64::NEG_INFINITY };
        }
    }

    fn gains_by(&mut self, whole: Sum, rules: &LeafRules, gain: impl Fn(Sum, Sum) -> f64) {
        for at in 0..self.len {
            let left = self.up_to(at);
            let right = whole.minus(left);
            let allows = |side: Sum| {
                side.rows as usize >= rules.min_leaf && side.hessian >= rules.min_hessian
            };
            let allowed = allows(left) && allows(right);
            self.gain[at] = if allowed { gain(left, right) } else { f64::NEG_INFINITY };
        }
    }

    /// The first place of the highest gain above `least`.
    fn best(&self, least: f64) -> Option<(usize, f64)> {
        let mut best = None;
        let mut most = least;
        for (at, &gain) in self.gain[..self.len].iter().enumerate() {
            if gain > most {
                (best, most) = (Some(at), gain);
            }
        }
        best.map(|at| (at, most))
    }
}

/// Additions to histograms below which another thread costs more than it does.
const WORTH_A_THREAD: usize = 200_000;

/// Grows trees on one table, with working memory that serves all of them.
pub(crate) struct LeafGrower<'a> {
    table: &'a Table<u8>,
    /// The codes row by row, because a histogram takes all features of a row.
    by_row: Vec<u8>,
    /// Where each feature's bins begin in a histogram.
    offsets: Vec<usize>,
    rules: LeafRules,
    trends: &'a Trends,
    /// The features that this tree may ask, ascending.
    features: Vec<usize>,
    rows: Vec<u32>,
    set_aside: Vec<u32>,
    pool: Vec<Vec<Sum>>,
}

impl<'a> LeafGrower<'a> {
    pub(crate) fn new(table: &'a Table<u8>, rules: LeafRules, trends: &'a Trends) -> Self {
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
        let features = (0..n_features).collect();
        let (rows, set_aside, pool) = (Vec::new(), Vec::new(), Vec::new());
        Self { table, by_row, offsets, rules, trends, features, rows, set_aside, pool }
    }

    /// Chooses the features of the next trees.
    pub(crate) fn choose(&mut self, features: &[usize]) {
        self.features.clear();
        self.features.extend_from_slice(features);
        self.features.sort_unstable();
    }

    /// Grows a tree on some rows, adds what each feature gained, and calls `moved` with the rows of each leaf and its value.
    pub(crate) fn grow(
        &mut self,
        rows: impl Iterator<Item = u32>,
        slopes: &[Slope],
        nodes: &mut Nodes,
        gains: &mut [f64],
        mut moved: impl FnMut(&[u32], f64),
    ) {
        self.rows.clear();
        self.rows.extend(rows);
        let mut sum = Sum::default();
        self.rows.iter().for_each(|&row| sum.add(slopes[row as usize]));
        let end = self.rows.len();
        let node = nodes.root(sum.hessian);
        let histogram = self.histogram(0, end, slopes);
        let root = Place { node, start: 0, end, depth: 0, bounds: Bounds::NONE };
        let mut leaves = vec![self.leaf(root, sum, histogram, slopes)];
        while leaves.len() < self.rules.max_leaves {
            let gain = |leaf: &Leaf| leaf.cut.map(|cut| cut.gain);
            let best = mlp_core::Direction::Maximize.best(leaves.iter().map(gain));
            let Some((place, _)) = best else { break };
            let leaf = leaves.swap_remove(place);
            if let Some(cut) = leaf.cut {
                gains[cut.feature] += cut.gain;
                let is_last = leaves.len() + 2 == self.rules.max_leaves;
                leaves.extend(self.split(leaf, cut, slopes, nodes, is_last));
            }
        }
        for Leaf { place, sum, histogram, .. } in leaves {
            let value = self.rules.learning_rate * self.value(sum, place.bounds);
            nodes.answer(place.node)[0] = value;
            moved(&self.rows[place.start..place.end], value);
            if !histogram.is_empty() {
                self.pool.push(histogram);
            }
        }
    }

    fn value(&self, sum: Sum, bounds: Bounds) -> f64 {
        bounds.clip(sum.value(self.rules.l2))
    }

    fn split(
        &mut self,
        leaf: Leaf,
        cut: Cut,
        slopes: &[Slope],
        nodes: &mut Nodes,
        is_last: bool,
    ) -> [Leaf; 2] {
        let Leaf { place: Place { node, start, end, depth, bounds }, histogram: mut whole, .. } =
            leaf;
        let edges = &self.table.edges[cut.feature];
        let threshold = threshold(edges, &cut);
        let covers = [cut.left.hessian, cut.right.hessian];
        let left_node = nodes.split(node, cut.feature, threshold, cut.missing_right, covers);
        let middle = start + self.partition(start, end, &cut);
        let trend = self.trends.of(cut.feature);
        let values = [cut.left, cut.right].map(|sum| self.value(sum, bounds));
        let [low, high] = bounds.split(trend, values[0], values[1]);
        let depth = depth + 1;
        let left_place = Place { node: left_node, start, end: middle, depth, bounds: low };
        let right_place = Place { node: left_node + 1, start: middle, end, depth, bounds: high };
        if is_last {
            // Nothing is split any more, so nothing need be counted.
            self.pool.push(whole);
            let leaf = |place, sum| Leaf { place, sum, histogram: Vec::new(), cut: None };
            return [leaf(left_place, cut.left), leaf(right_place, cut.right)];
        }
        if self.are_few((middle - start).max(end - middle)) {
            self.pool.push(whole);
            let mut leaf = |place, sum| self.leaf(place, sum, Vec::new(), slopes);
            return [leaf(left_place, cut.left), leaf(right_place, cut.right)];
        }
        // Only the smaller side is counted; the larger one is the rest.
        let left_is_smaller = middle - start <= end - middle;
        let (from, to) = if left_is_smaller { (start, middle) } else { (middle, end) };
        let smaller = self.histogram(from, to, slopes);
        for (rest, part) in whole.iter_mut().zip(&smaller) {
            *rest = rest.minus(*part);
        }
        let (left, right) = if left_is_smaller { (smaller, whole) } else { (whole, smaller) };
        [
            self.leaf(left_place, cut.left, left, slopes),
            self.leaf(right_place, cut.right, right, slopes),
        ]
    }

    /// Whether so few rows fill so few of the bins that a histogram of all of them costs more than counting feature by feature.
    fn are_few(&self, rows: usize) -> bool {
        2 * rows * self.table.n_features() <= self.offsets[self.table.n_features()]
    }

    /// A leaf, and where to cut it: by its histogram, or by its rows if that is empty.
    fn leaf(&mut self, place: Place, sum: Sum, histogram: Vec<Sum>, slopes: &[Slope]) -> Leaf {
        let large = (place.end - place.start) / 2 >= self.rules.min_leaf;
        let may_split = place.depth < self.rules.max_depth && large;
        let cut = match (may_split, histogram.is_empty()) {
            (false, _) => None,
            (true, false) => self.cut_by_histogram(&histogram, sum, place.bounds),
            (true, true) => self.cut_by_rows(&place, sum, slopes),
        };
        Leaf { place, sum, histogram, cut }
    }

    /// Each feature is counted by one thread in the order of the rows, so the sums do not depend on how many there are.
    fn histogram(&mut self, start: usize, end: usize, slopes: &[Slope]) -> Vec<Sum> {
        let mut histogram = self.pool.pop().unwrap_or_default();
        histogram.clear();
        histogram.resize(self.offsets[self.table.n_features()], Sum::default());
        let this = &*self;
        let rows = &this.rows[start..end];
        let additions = rows.len() * this.features.len();
        let threads = if additions < WORTH_A_THREAD { 1 } else { this.rules.threads };
        let part = this.features.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let (mut rest, mut from) = (&mut histogram[..], 0);
            let mut parts = this.features.chunks(part).peekable();
            while let Some(features) = parts.next() {
                let to = this.offsets[features[features.len() - 1] + 1];
                let (bins, behind) = rest.split_at_mut(to - from);
                if parts.peek().is_some() {
                    scope.spawn(move || this.count(rows, slopes, features, bins, from));
                } else {
                    this.count(rows, slopes, features, bins, from);
                }
                (rest, from) = (behind, to);
            }
        });
        histogram
    }

    /// Counts some features into their part of the histogram, which begins at bin `from` of all.
    fn count(
        &self,
        rows: &[u32],
        slopes: &[Slope],
        features: &[usize],
        bins: &mut [Sum],
        from: usize,
    ) {
        let n_features = self.table.n_features();
        let (first, last) = (features[0], features[features.len() - 1]);
        let consecutive = last + 1 - first == features.len();
        let offsets: Vec<usize> = features.iter().map(|&f| self.offsets[f] - from).collect();
        for &row in rows {
            let row = row as usize;
            let slope = slopes[row];
            let codes = &self.by_row[row * n_features..(row + 1) * n_features];
            if consecutive {
                for (&code, &offset) in codes[first..=last].iter().zip(&offsets) {
                    bins[offset + usize::from(code)].add(slope);
                }
            } else {
                for (&feature, &offset) in features.iter().zip(&offsets) {
                    bins[offset + usize::from(codes[feature])].add(slope);
                }
            }
        }
    }

    fn cut_by_histogram(&self, histogram: &[Sum], whole: Sum, bounds: Bounds) -> Option<Cut> {
        let mut search = Search::new(self, whole, bounds);
        for &feature in &self.features {
            let bins = &histogram[self.offsets[feature]..self.offsets[feature + 1]];
            if let Some((&missing, bins)) = bins.split_last() {
                search.look(feature, || (0..=u8::MAX).zip(bins), missing);
            }
        }
        search.best
    }

    /// The same feature by feature, looking at no bin without rows.
    fn cut_by_rows(&self, place: &Place, whole: Sum, slopes: &[Slope]) -> Option<Cut> {
        let rows = &self.rows[place.start..place.end];
        let mut search = Search::new(self, whole, place.bounds);
        let mut bins = [Sum::default(); MOST_BINS];
        for &feature in &self.features {
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

    /// What both sides take off the loss with values within the bounds; none if they go against the trend.
    fn bounded_score(&self, feature: usize, left: Sum, right: Sum, bounds: Bounds) -> Option<f64> {
        let (low, high) = (self.value(left, bounds), self.value(right, bounds));
        let l2 = self.rules.l2;
        let allowed = bounds.allow(self.trends.of(feature), low, high);
        allowed.then(|| left.score_at(low, l2) + right.score_at(high, l2))
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

/// The search for the cut of a leaf that gains most; the first of equally good ones.
struct Search<'a> {
    grower: &'a LeafGrower<'a>,
    whole: Sum,
    bounds: Bounds,
    before: f64,
    scan: Scan,
    best: Option<Cut>,
}

impl<'a> Search<'a> {
    fn new(grower: &'a LeafGrower<'a>, whole: Sum, bounds: Bounds) -> Self {
        let l2 = grower.rules.l2;
        let before = if grower.trends.is_empty() {
            whole.score(l2)
        } else {
            whole.score_at(grower.value(whole, bounds), l2)
        };
        Self { grower, whole, bounds, before, scan: Scan::new(), best: None }
    }

    /// Looks at a feature, given its bins as often as they are asked for, and what lies in none of them.
    fn look<'b, I>(&mut self, feature: usize, bins: impl Fn() -> I, missing: Sum)
    where
        I: Iterator<Item = (u8, &'b Sum)>,
    {
        let (grower, whole, scan) = (self.grower, self.whole, &mut self.scan);
        let sides: &[bool] = if missing.rows > 0 { &[true, false] } else { &[true] };
        for &missing_right in sides {
            scan.fill(bins(), if missing_right { Sum::default() } else { missing });
            if grower.trends.is_empty() {
                scan.gains(whole, self.before, &grower.rules);
            } else {
                scan.gains_by(whole, &grower.rules, |left, right| {
                    let score = grower.bounded_score(feature, left, right, self.bounds);
                    score.map_or(f64::NEG_INFINITY, |score| score - self.before)
                });
            }
            let least = self.best.map_or(grower.rules.min_gain.max(1e-12), |best| best.gain);
            let Some((at, gain)) = scan.best(least) else { continue };
            let left = scan.up_to(at);
            let right = whole.minus(left);
            self.best = Some(Cut {
                gain,
                feature,
                last_left: scan.bin[at].into(),
                next: scan.bin[..scan.len].get(at + 1).map(|&next| next.into()),
                missing_right: if missing.rows > 0 {
                    missing_right
                } else {
                    right.rows > left.rows
                },
                left,
                right,
            });
        }
    }
}

fn threshold(edges: &Edges, cut: &Cut) -> f64 {
    match cut.next {
        Some(next) => edges.threshold(cut.last_left, next),
        // All that is known goes left, whatever its size.
        None => f64::MAX,
    }
}
