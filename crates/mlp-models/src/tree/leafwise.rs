//! Growing one tree of a boosted model: the leaf that gains most is split next, on histograms of gradients.

mod crew;
mod cut;
mod share;

use std::sync::Arc;
use std::thread::Scope;

use super::bins::Table;
use super::nodes::Nodes;
use super::trend::{Bounds, Trends};
use crew::Crew;
use cut::{Criteria, Cut, Sum};
use share::{Cuts, Order, Place, Step};

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

/// What trees are grown on.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) rows: Vec<u32>,
    /// The features that may be asked, ascending.
    pub(crate) features: Vec<usize>,
    /// Of all rows, score by score.
    pub(crate) slopes: Vec<Slope>,
    pub(crate) n_scores: usize,
}

impl Ground {
    /// All rows and all features.
    pub(crate) fn new(n_rows: usize, n_features: usize, n_scores: usize) -> Self {
        Self {
            rows: (0..n_rows as u32).collect(),
            features: (0..n_features).collect(),
            slopes: vec![Slope::default(); n_rows * n_scores],
            n_scores,
        }
    }

    fn slopes_of(&self, score: usize) -> &[Slope] {
        let n_rows = self.slopes.len() / self.n_scores;
        &self.slopes[score * n_rows..(score + 1) * n_rows]
    }
}

struct Leaf {
    node: usize,
    place: Place,
    cut: Option<Cut>,
}

/// Grows trees on one table, with threads and working memory that serve all of them.
pub(crate) struct LeafGrower<'scope, 'a> {
    table: &'a Table<u8>,
    criteria: Criteria<'a>,
    crew: Crew<'scope, 'a>,
}

impl<'scope, 'a: 'scope> LeafGrower<'scope, 'a> {
    pub(crate) fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        table: &'a Table<u8>,
        rules: &'a LeafRules,
        trends: &'a Trends,
    ) -> Self {
        let criteria = Criteria { rules, trends };
        Self { table, criteria, crew: Crew::new(scope, table, criteria) }
    }

    /// Grows a tree for one of the scores, adds what each feature gained, and calls `moved` with the rows of each leaf and its value.
    pub(crate) fn grow(
        &mut self,
        ground: &Arc<Ground>,
        score: usize,
        nodes: &mut Nodes,
        gains: &mut [f64],
        mut moved: impl FnMut(&[u32], f64),
    ) {
        let (mut sum, slopes) = (Sum::default(), ground.slopes_of(score));
        ground.rows.iter().for_each(|&row| sum.add(slopes[row as usize]));
        let root = Place { start: 0, end: ground.rows.len(), depth: 0, bounds: Bounds::NONE, sum };
        let order = |step| Order { ground: Arc::clone(ground), score, step };
        let [cut, _] = self.crew.carry_out(order(Step::Begin(root)));
        let mut leaves = vec![Leaf { node: nodes.root(sum.hessian), place: root, cut }];
        while leaves.len() < self.criteria.rules.max_leaves {
            let gain = |leaf: &Leaf| leaf.cut.map(|cut| cut.gain);
            let best = mlp_core::Direction::Maximize.best(leaves.iter().map(gain));
            let Some((number, _)) = best else { break };
            let Leaf { node, place, cut: Some(cut) } = leaves[number] else { break };
            gains[cut.feature] += cut.gain;
            let sides = self.sides(&place, &cut);
            let left_node = self.split(node, &cut, nodes);
            let is_last = leaves.len() + 1 == self.criteria.rules.max_leaves;
            let cuts: Cuts = if is_last {
                // Nothing is split any more, so nothing need be counted.
                self.crew.own.partition(&sides, &cut);
                [None, None]
            } else {
                self.crew.carry_out(order(Step::Split { number, cut, sides }))
            };
            let [left, right] = [0, 1].map(|side| Leaf {
                node: left_node + side,
                place: sides[side],
                cut: cuts[side],
            });
            leaves[number] = left;
            leaves.push(right);
        }
        for Leaf { node, place, .. } in leaves {
            let value =
                self.criteria.rules.learning_rate * self.criteria.value(place.sum, place.bounds);
            nodes.answer(node)[0] = value;
            moved(&self.crew.own.rows[place.start..place.end], value);
        }
    }

    /// Both sides of a cut.
    fn sides(&self, whole: &Place, cut: &Cut) -> [Place; 2] {
        let values = [cut.left, cut.right].map(|sum| self.criteria.value(sum, whole.bounds));
        let trend = self.criteria.trends.of(cut.feature);
        let [low, high] = whole.bounds.split(trend, values[0], values[1]);
        let (middle, depth) = (whole.start + cut.left.rows as usize, whole.depth + 1);
        [
            Place { start: whole.start, end: middle, depth, bounds: low, sum: cut.left },
            Place { start: middle, end: whole.end, depth, bounds: high, sum: cut.right },
        ]
    }

    /// Writes a split, and returns the node of its left side; the right one's is the next.
    fn split(&self, node: usize, cut: &Cut, nodes: &mut Nodes) -> usize {
        let threshold = cut.threshold(&self.table.edges[cut.feature]);
        let covers = [cut.left.hessian, cut.right.hessian];
        nodes.split(node, cut.feature, threshold, cut.missing_right, covers)
    }
}
