//! Growing one tree of a boosted model: the leaf that gains most is split next, on histograms of gradients.

mod crew;
mod cut;
mod meeting;
mod share;
mod steps;
mod stretch;

use std::sync::Arc;

use super::bins::Table;
use super::loss::Loss;
use super::nodes::Nodes;
use super::trend::{Bounds, Trends};
use crew::{Crew, with_crew};
use cut::{Criteria, Cut, Sum};
use steps::{Count, Cuts, Place, Step};

/// When to stop, and how much to trust.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafRules {
    pub max_leaves: usize,
    pub max_depth: usize,
    pub min_leaf: usize,
    pub l2: f64,
    /// What a cut must gain more than: nothing that is rounding.
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

/// What trees are grown on, and by which rules.
pub(crate) struct Field<'a> {
    pub table: &'a Table<u8>,
    pub loss: &'a Loss,
    pub weights: &'a [f64],
    /// The scores that each row begins with.
    pub base: &'a [f64],
    pub rules: &'a LeafRules,
    pub trends: &'a Trends,
}

impl Field<'_> {
    fn criteria(&self) -> Criteria<'_> {
        Criteria { rules: self.rules, trends: self.trends }
    }

    fn may_cut(&self, place: &Place) -> bool {
        place.n_rows() / 2 >= self.rules.min_leaf && place.depth < self.rules.max_depth
    }

    /// Which side of a leaf is counted. A histogram of few rows costs more than they do, feature by feature. All threads must do the same, since sums
    /// differ in their last digits by how they came about.
    fn count(&self, [left, right]: &[Place; 2]) -> Count {
        let larger = left.n_rows().max(right.n_rows());
        if 2 * larger * self.table.n_features() <= self.table.n_bins() {
            Count::Few
        } else if left.n_rows() <= right.n_rows() {
            Count::Left
        } else {
            Count::Right
        }
    }
}

struct Leaf {
    node: usize,
    place: Place,
    cut: Option<Cut>,
}

/// Grows trees one after another, with threads and working memory that serve all of them.
pub(crate) struct LeafGrower<'crew, 's, 'a> {
    field: &'a Field<'a>,
    crew: &'crew mut Crew<'s, 'a>,
    /// The features that trees may ask, ascending.
    features: Arc<[usize]>,
}

/// Lends a grower of trees, all of whose rows have the scores they begin with.
pub(crate) fn with_grower<T>(
    field: &Field<'_>,
    work: impl FnOnce(LeafGrower<'_, '_, '_>) -> T,
) -> T {
    let features = (0..field.table.n_features()).collect();
    with_crew(field, |crew| work(LeafGrower { field, crew, features }))
}

impl LeafGrower<'_, '_, '_> {
    /// Says which rows, ascending, the next trees learn from: all of them if it was never said.
    pub(crate) fn draw_rows(&mut self, rows: &[u32]) {
        self.crew.each_stretch(|stretch| stretch.draw(rows));
    }

    /// Says which features, ascending, the next trees may ask: all of them if it was never said.
    pub(crate) fn draw_features(&mut self, features: &[usize]) {
        self.features = features.into();
    }

    /// Adds a value to the score, for which the last tree was, of each of these rows, ascending.
    pub(crate) fn add(&mut self, rows: &[u32], value: impl Fn(usize) -> f64) {
        let n_scores = self.field.base.len();
        self.crew.each_stretch(|stretch| stretch.add(rows, n_scores, &value));
    }

    /// Takes the slopes of the loss at the scores that the trees came to.
    pub(crate) fn take_slopes(&mut self) {
        self.crew.carry_out(Step::Slope);
    }

    /// Grows a tree for one of the scores, adds what each feature gained, and adds what it answers to the scores of the rows it learnt from.
    pub(crate) fn grow(&mut self, score: usize, nodes: &mut Nodes, gains: &mut [f64]) {
        let max_leaves = self.field.rules.max_leaves;
        let mut leaves = vec![self.root(score, nodes)];
        while leaves.len() < max_leaves {
            let gain = |leaf: &Leaf| leaf.cut.map(|cut| cut.gain);
            let best = mlp_core::Direction::Maximize.best(leaves.iter().map(gain));
            let Some((number, _)) = best else { break };
            let Leaf { node, place, cut: Some(cut) } = leaves[number] else { break };
            gains[cut.feature] += cut.gain;
            let sides = self.sides(&place, &cut);
            let left_node = self.split(node, &cut, nodes);
            let right = leaves.len();
            // Where nothing will be split any more, nothing need be counted.
            let goes_on = right + 1 < max_leaves && sides.iter().any(|it| self.field.may_cut(it));
            let cuts: Cuts = self.crew.carry_out(if goes_on {
                Step::Split { number, right, cut, sides, count: self.field.count(&sides) }
            } else {
                Step::Part { number, cut, sides }
            });
            let [left, right] = [0, 1].map(|side| Leaf {
                node: left_node + side,
                place: sides[side],
                cut: cuts[side],
            });
            leaves[number] = left;
            leaves.push(right);
        }
        let (rate, criteria) = (self.field.rules.learning_rate, self.field.criteria());
        let value = |leaf: &Leaf| {
            let value = rate * criteria.value(leaf.place.sum, leaf.place.bounds);
            nodes.answer(leaf.node)[0] = value;
            value
        };
        let values = leaves.iter().map(value).collect();
        self.crew.carry_out(Step::Answer { values });
    }

    fn root(&mut self, score: usize, nodes: &mut Nodes) -> Leaf {
        self.crew.carry_out(Step::Gather { score });
        let mut sum = Sum::default();
        self.crew.each_stretch(|stretch| {
            sum = stretch.sums.iter().fold(sum, |sum, &block| sum.plus(block));
        });
        let place = Place { depth: 0, bounds: Bounds::NONE, sum };
        let features = Arc::clone(&self.features);
        let [cut, _] = self.crew.carry_out(Step::Begin { root: place, features });
        Leaf { node: nodes.root(sum.hessian), place, cut }
    }

    /// Both sides of a cut.
    fn sides(&self, whole: &Place, cut: &Cut) -> [Place; 2] {
        let criteria = self.field.criteria();
        let values = [cut.left, cut.right].map(|sum| criteria.value(sum, whole.bounds));
        let trend = self.field.trends.of(cut.feature);
        let [low, high] = whole.bounds.split(trend, values[0], values[1]);
        let depth = whole.depth + 1;
        [Place { depth, bounds: low, sum: cut.left }, Place { depth, bounds: high, sum: cut.right }]
    }

    /// Writes a split, and returns the node of its left side; the right one's is the next.
    fn split(&self, node: usize, cut: &Cut, nodes: &mut Nodes) -> usize {
        let threshold = cut.threshold(&self.field.table.edges[cut.feature]);
        let covers = [cut.left.hessian, cut.right.hessian];
        nodes.split(node, cut.feature, threshold, cut.missing_right, covers)
    }
}
