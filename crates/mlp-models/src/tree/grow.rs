//! Growing one tree, depth first, on coded features.

use mlp_core::random::{self, ChaCha8Rng};

use super::bins::{Code, Table};
use super::evidence::{Evidence, Item};
use super::nodes::Nodes;
use super::trend::{Bounds, Trends};

/// When to stop, and where to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub max_depth: usize,
    pub min_rows_in_leaf: usize,
    /// How much a split must take off the impurity, times the share of the weight that it concerns.
    pub min_gain: f64,
    /// How many features with more than one value are tried at a node.
    pub tried_features: usize,
}

/// A tree that is being grown, with working memory that serves many trees.
pub(crate) struct Grower<'a, C, E: Evidence> {
    table: &'a Table<C>,
    rules: Rules,
    trends: &'a Trends,
    /// The least gain of a split of the tree at hand.
    least_gain: f64,
    /// Evidence by code; all empty between uses.
    histogram: Vec<E>,
    /// Which codes were seen; all clear between uses.
    seen: Vec<u64>,
    runs: Vec<(usize, E)>,
    features: Vec<usize>,
    set_aside: Vec<Item<E::Part>>,
}

struct Split<E> {
    score: f64,
    feature: usize,
    /// Rows with a code up to this one go left.
    last_left: usize,
    threshold: f64,
    missing_right: bool,
    left: E,
    right: E,
}

struct Task {
    node: usize,
    start: usize,
    end: usize,
    depth: usize,
    bounds: Bounds,
    /// The weight of the node whose evidence was counted last on the way here; what came after it was subtracted.
    counted: f64,
}

/// Neither side of a cut weighs less than this share of its node: what subtraction leaves of so little is rounding.
const LEAST_SHARE: f64 = 1e-12;

/// Evidence is counted anew where it weighs less than this share of what it was subtracted from.
const SMALL_SHARE: f64 = 1e-6;

impl<'a, C: Code, E: Evidence> Grower<'a, C, E> {
    pub(crate) fn new(table: &'a Table<C>, rules: Rules, trends: &'a Trends) -> Self {
        let widest = table.widest();
        Self {
            table,
            rules,
            trends,
            least_gain: 0.0,
            histogram: vec![E::default(); widest],
            seen: vec![0; widest.div_ceil(64)],
            runs: Vec::new(),
            features: Vec::new(),
            set_aside: Vec::new(),
        }
    }

    pub(crate) fn n_features(&self) -> usize {
        self.table.n_features()
    }

    /// Grows a tree on the items, which it reorders, and adds what each feature gained to `gains`.
    pub(crate) fn grow(
        &mut self,
        items: &mut [Item<E::Part>],
        nodes: &mut Nodes,
        gains: &mut [f64],
        generator: &mut ChaCha8Rng,
    ) {
        self.features.clear();
        self.features.extend(0..self.table.n_features());
        let evidence = collect::<E>(items);
        self.least_gain = self.rules.min_gain * evidence.weight();
        let root = nodes.root(evidence.weight());
        let (start, end, depth, counted) = (0, items.len(), 0, evidence.weight());
        let whole = Task { node: root, start, end, depth, bounds: Bounds::NONE, counted };
        let mut tasks = vec![(whole, evidence)];
        while let Some((task, evidence)) = tasks.pop() {
            let part = &mut items[task.start..task.end];
            let Some(mut split) = self.find(part, &evidence, &task, generator) else {
                // Counted anew: what subtraction left of a small weight may be below 0.
                let own = if self.trends.is_empty() { collect::<E>(part) } else { evidence };
                own.answer(nodes.answer(task.node));
                continue;
            };
            // Below 0 is what rounding left of nothing.
            gains[split.feature] += (split.score - evidence.purity()).max(0.0);
            let n_left = self.partition(part, &split);
            let counted = self.count_right(&part[n_left..], &mut split, &task);
            let middle = task.start + n_left;
            let left = nodes.split(
                task.node,
                split.feature,
                split.threshold,
                split.missing_right,
                [split.left.weight(), split.right.weight()],
            );
            let depth = task.depth + 1;
            let bounds = match self.trends.of(split.feature) {
                None => [task.bounds; 2],
                trend => task.bounds.split(trend, split.left.level(), split.right.level()),
            };
            let (Task { start, end, .. }, [low, high]) = (task, bounds);
            let right = Task { node: left + 1, start: middle, end, depth, bounds: high, counted };
            tasks.push((right, split.right));
            let counted = split.left.weight();
            let left = Task { node: left, start, end: middle, depth, bounds: low, counted };
            tasks.push((left, split.left));
        }
    }

    /// Counts the right side anew if little is left there of what it was subtracted from, and gives the weight that was counted last on the way.
    fn count_right(&self, items: &[Item<E::Part>], split: &mut Split<E>, task: &Task) -> f64 {
        if split.right.weight() >= SMALL_SHARE * task.counted {
            return task.counted;
        }
        let right = collect::<E>(items);
        let trend = self.trends.of(split.feature);
        let (low, high) = (split.left.level(), right.level());
        // The last digits must not turn a split against its trend.
        if !self.trends.is_empty() && !task.bounds.allow(trend, low, high) {
            return task.counted;
        }
        split.right = right;
        split.right.weight()
    }

    fn find(
        &mut self,
        items: &[Item<E::Part>],
        evidence: &E,
        task: &Task,
        generator: &mut ChaCha8Rng,
    ) -> Option<Split<E>> {
        if task.depth >= self.rules.max_depth
            || items.len() / 2 < self.rules.min_rows_in_leaf
            || evidence.is_pure(items)
        {
            return None;
        }
        let mut best: Option<Split<E>> = None;
        let (n, wanted) = (self.features.len(), self.rules.tried_features);
        let mut tried = 0;
        for drawn in 0..n {
            if tried == wanted {
                break;
            }
            if wanted < n {
                let other = drawn + random::below(generator, (n - drawn) as u64) as usize;
                self.features.swap(drawn, other);
            }
            let feature = self.features[drawn];
            let missing = self.scan(feature, items);
            if self.runs.len() + usize::from(missing.is_some()) > 1 {
                tried += 1;
                self.best_cut(feature, missing, evidence, task.bounds, &mut best);
            }
        }
        let purity = evidence.purity();
        best.filter(|best| self.least_gain == 0.0 || best.score - purity >= self.least_gain)
    }

    /// Puts the evidence of each code into `runs`, in ascending order, and returns that of missing values.
    fn scan(&mut self, feature: usize, items: &[Item<E::Part>]) -> Option<E> {
        let column = self.table.column(feature);
        for item in items {
            let code = column[item.row as usize].bin();
            self.histogram[code].add(&item.part);
            self.seen[code / 64] |= 1 << (code % 64);
        }
        self.runs.clear();
        let n_bins = self.table.edges[feature].len();
        let mut missing = None;
        for (place, word) in self.seen.iter_mut().enumerate() {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let code = place * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let evidence = std::mem::take(&mut self.histogram[code]);
                if code == n_bins {
                    missing = Some(evidence);
                } else {
                    self.runs.push((code, evidence));
                }
            }
        }
        missing
    }

    /// Tries every cut between neighbouring codes, with the missing values on either side; the first of equally good ones counts.
    fn best_cut(
        &self,
        feature: usize,
        missing: Option<E>,
        evidence: &E,
        bounds: Bounds,
        best: &mut Option<Split<E>>,
    ) {
        let trend = self.trends.of(feature);
        let least = self.rules.min_rows_in_leaf as u32;
        let least_weight = LEAST_SHARE * evidence.weight();
        let mut left = E::default();
        for place in 0..self.runs.len() {
            left.join(&self.runs[place].1);
            let next = self.runs.get(place + 1).map(|run| run.0);
            for missing_right in [true, false] {
                let mut left = left;
                let right_has_rows = match (&missing, missing_right) {
                    (None, true) => next.is_some(),
                    (None, false) => continue,
                    (Some(_), true) => true,
                    (Some(missing), false) => {
                        left.join(missing);
                        next.is_some()
                    }
                };
                if !right_has_rows {
                    continue;
                }
                let right = evidence.without(&left);
                if left.rows() < least || right.rows() < least {
                    continue;
                }
                let score = left.purity() + right.purity();
                if best.as_ref().is_some_and(|best| score <= best.score) || score.is_nan() {
                    continue;
                }
                if left.weight() < least_weight || right.weight() < least_weight {
                    continue;
                }
                if !self.trends.is_empty() && !bounds.allow(trend, left.level(), right.level()) {
                    continue;
                }
                let last_left = self.runs[place].0;
                let edges = &self.table.edges[feature];
                let threshold = match next {
                    Some(next) => edges.threshold(last_left, next),
                    // All that is known goes left, whatever its size.
                    None => f64::MAX,
                };
                let missing_right = match missing {
                    Some(_) => missing_right,
                    None => right.weight() > left.weight(),
                };
                *best = Some(Split {
                    score,
                    feature,
                    last_left,
                    threshold,
                    missing_right,
                    left,
                    right,
                });
            }
        }
    }

    /// Moves the rows that go left to the front, keeping the order on both sides, and returns how many they are.
    fn partition(&mut self, items: &mut [Item<E::Part>], split: &Split<E>) -> usize {
        let column = self.table.column(split.feature);
        let n_bins = self.table.edges[split.feature].len();
        self.set_aside.clear();
        let mut left = 0;
        for place in 0..items.len() {
            let item = items[place];
            let code = column[item.row as usize].bin();
            if code <= split.last_left || (code == n_bins && !split.missing_right) {
                items[left] = item;
                left += 1;
            } else {
                self.set_aside.push(item);
            }
        }
        items[left..].copy_from_slice(&self.set_aside);
        left
    }
}

fn collect<E: Evidence>(items: &[Item<E::Part>]) -> E {
    items.iter().fold(E::default(), |mut sum, item| {
        sum.add(&item.part);
        sum
    })
}
