//! Trees as they predict: all nodes of all trees in one array.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ranked::Ranked;

/// A place in a tree, of 16 bytes. A leaf points to itself, so that a walk may take more steps than a tree is deep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// A row goes left if its value is at most this. In a leaf NaN, which nothing is above, with the leaf's slot in its lower half.
    pub threshold: f64,
    /// The feature asked; the highest bit is set if a missing value goes right.
    feature: u32,
    /// The left child; the right one is next to it. A leaf's own number.
    pub left: u32,
}

const MISSING_RIGHT: u32 = 1 << 31;
const LEAF: u64 = 0x7ff8_0000_0000_0000;

impl Node {
    fn leaf(number: u32, slot: u32) -> Self {
        let threshold = f64::from_bits(LEAF | u64::from(slot));
        Self { threshold, feature: 0, left: number }
    }

    #[inline(always)]
    pub(super) fn feature(&self) -> usize {
        (self.feature & !MISSING_RIGHT) as usize
    }

    #[inline(always)]
    pub(super) fn sends_missing_right(&self) -> bool {
        self.feature & MISSING_RIGHT != 0
    }

    /// Where a leaf's answer is.
    #[inline(always)]
    pub(super) fn slot(&self) -> usize {
        self.threshold.to_bits() as u32 as usize
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        let same = self.threshold.to_bits() == other.threshold.to_bits();
        same && (self.feature, self.left) == (other.feature, other.left)
    }
}

/// Some trees: nodes in one array, the leaves' answers in another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NodesBody", into = "NodesBody")]
pub(crate) struct Nodes {
    pub(super) nodes: Vec<Node>,
    /// The training weight that reached each node; in boosting the sum of the hessians.
    cover: Vec<f64>,
    pub(super) roots: Vec<u32>,
    answers: Vec<f64>,
    width: usize,
    /// The same nodes for many rows at once, once the trees are finished.
    pub(super) ranked: Option<Ranked>,
}

/// A split or a leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Leaf { slot: usize },
    Split { feature: usize, threshold: f64, missing_right: bool, left: usize },
}

impl Nodes {
    /// No trees yet; a leaf answers with `width` numbers.
    pub(crate) fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Starts a tree, and returns its root, a leaf for now.
    pub(crate) fn root(&mut self, cover: f64) -> usize {
        self.roots.push(self.nodes.len() as u32);
        self.push(cover)
    }

    fn push(&mut self, cover: f64) -> usize {
        let number = self.nodes.len();
        self.nodes.push(Node::leaf(number as u32, 0));
        self.cover.push(cover);
        number
    }

    /// Turns a leaf into a split, and returns its left child; the right one is next to it.
    pub(crate) fn split(
        &mut self,
        node: usize,
        feature: usize,
        threshold: f64,
        missing_right: bool,
        covers: [f64; 2],
    ) -> usize {
        let left = self.push(covers[0]);
        self.push(covers[1]);
        let mark = if missing_right { MISSING_RIGHT } else { 0 };
        self.nodes[node] = Node { threshold, feature: feature as u32 | mark, left: left as u32 };
        left
    }

    /// The answer of a leaf, to be written.
    pub(crate) fn answer(&mut self, leaf: usize) -> &mut [f64] {
        let start = self.answers.len();
        self.nodes[leaf] = Node::leaf(leaf as u32, (start / self.width.max(1)) as u32);
        self.answers.resize(start + self.width, 0.0);
        &mut self.answers[start..]
    }

    /// Adds the same number to all answers.
    pub(crate) fn shift(&mut self, by: f64) {
        self.answers.iter_mut().for_each(|answer| *answer += by);
    }

    /// Appends the trees of another arena.
    pub(crate) fn append(&mut self, other: &Self) {
        let (nodes, slots) = (self.nodes.len() as u32, self.answers.len() / self.width.max(1));
        self.nodes.extend(other.nodes.iter().enumerate().map(|(number, node)| {
            if other.is_leaf(number) {
                Node::leaf(node.left + nodes, (node.slot() + slots) as u32)
            } else {
                Node { left: node.left + nodes, ..*node }
            }
        }));
        self.cover.extend_from_slice(&other.cover);
        self.roots.extend(other.roots.iter().map(|root| root + nodes));
        self.answers.extend_from_slice(&other.answers);
    }

    /// Keeps the first trees only.
    pub(crate) fn truncate(&mut self, trees: usize) {
        let Some(&end) = self.roots.get(trees) else { return };
        self.roots.truncate(trees);
        self.nodes.truncate(end as usize);
        self.cover.truncate(end as usize);
        let leaves = (0..self.nodes.len()).filter(|&number| self.is_leaf(number));
        let slots = leaves.map(|number| self.nodes[number].slot() + 1).max().unwrap_or(0);
        self.answers.truncate(slots * self.width);
    }

    /// Orders the nodes of each tree so that rows find the next ones near: behind two children come the children of the one that more
    /// training weight reached. Leaves that are sure of one class share its answer. An arranged tree stays as it is.
    pub(crate) fn arrange(&mut self) {
        let mut arranged = Self::new(self.width);
        let mut moved = vec![None; self.answers.len() / self.width.max(1)];
        for tree in 0..self.n_trees() {
            self.arrange_tree(self.root_of(tree), &mut arranged, &mut moved);
        }
        *self = arranged;
    }

    /// `moved` tells where an answer is by now: leaves that share one go on doing so, and none is copied twice.
    fn arrange_tree(&self, root: usize, into: &mut Self, moved: &mut [Option<u32>]) {
        let mut shared: BTreeMap<usize, u32> = BTreeMap::new();
        let mut open = vec![(root, into.root(self.cover[root]))];
        while let Some((old, new)) = open.pop() {
            match self.step(old) {
                Step::Split { feature, threshold, missing_right, left } => {
                    let covers = [self.cover[left], self.cover[left + 1]];
                    let to = into.split(new, feature, threshold, missing_right, covers);
                    let mut children = [(left + 1, to + 1), (left, to)];
                    if covers[0] < covers[1] {
                        children.reverse();
                    }
                    open.extend(children);
                }
                Step::Leaf { slot } => {
                    if let Some(to) = moved[slot] {
                        into.nodes[new] = Node::leaf(new as u32, to);
                        continue;
                    }
                    let values = self.values(slot);
                    let sure = sure_of(values).filter(|_| self.width > 1);
                    if let Some(to) = sure.and_then(|class| shared.get(&class)) {
                        into.nodes[new] = Node::leaf(new as u32, *to);
                    } else {
                        into.answer(new).copy_from_slice(values);
                        if let Some(class) = sure {
                            shared.insert(class, into.nodes[new].slot() as u32);
                        }
                    }
                    moved[slot] = Some(into.nodes[new].slot() as u32);
                }
            }
        }
    }

    /// Arranges trees that nothing is added to any more, and prepares them for many rows at once.
    pub(crate) fn finish(mut self) -> Self {
        self.arrange();
        self.ranked = Ranked::new(&self.nodes);
        self
    }

    fn is_leaf(&self, number: usize) -> bool {
        self.nodes[number].left as usize == number
    }

    pub(crate) fn n_trees(&self) -> usize {
        self.roots.len()
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn n_leaves(&self) -> usize {
        (self.nodes.len() + self.roots.len()) / 2
    }

    pub(crate) fn root_of(&self, tree: usize) -> usize {
        self.roots[tree] as usize
    }

    pub(crate) fn cover(&self, node: usize) -> f64 {
        self.cover[node]
    }

    #[inline(always)]
    pub(super) fn answer_of(&self, leaf: u32) -> &[f64] {
        self.values(self.nodes[leaf as usize].slot())
    }

    pub(crate) fn values(&self, slot: usize) -> &[f64] {
        &self.answers[slot * self.width..(slot + 1) * self.width]
    }

    pub(crate) fn step(&self, node: usize) -> Step {
        let place = self.nodes[node];
        if self.is_leaf(node) {
            Step::Leaf { slot: place.slot() }
        } else {
            Step::Split {
                feature: place.feature(),
                threshold: place.threshold,
                missing_right: place.sends_missing_right(),
                left: place.left as usize,
            }
        }
    }

    /// How many splits ask each feature.
    pub(crate) fn split_counts(&self, n_features: usize) -> Vec<usize> {
        let mut counts = vec![0; n_features];
        for number in 0..self.len() {
            if let Step::Split { feature, .. } = self.step(number) {
                counts[feature] += 1;
            }
        }
        counts
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.nodes[..])
            + size_of_val(&self.cover[..])
            + size_of_val(&self.roots[..])
            + size_of_val(&self.answers[..])
            + self.ranked.as_ref().map_or(0, Ranked::bytes)
    }

    /// Whether all features are below `n_features` and answers have `width` numbers.
    pub(crate) fn fits(&self, n_features: usize, width: usize) -> bool {
        self.width == width && self.nodes.iter().all(|node| node.feature() < n_features)
    }

    /// One tree as indented rules, for people.
    pub(crate) fn rules(&self, tree: usize, features: &[String], outputs: &[String]) -> String {
        let mut text = String::new();
        if tree >= self.n_trees() {
            return text;
        }
        let mut open = vec![(self.root_of(tree), 0, String::new())];
        while let Some((number, depth, condition)) = open.pop() {
            let indent = "  ".repeat(depth);
            match self.step(number) {
                Step::Split { feature, threshold, missing_right, left } => {
                    let name = &features[feature];
                    let [below, above] = match (threshold, missing_right) {
                        // All that is known is at most the largest number.
                        (f64::MAX, true) => ["is known".to_owned(), "is missing".to_owned()],
                        (_, true) => {
                            [format!("<= {threshold}"), format!("> {threshold} or missing")]
                        }
                        (_, false) => {
                            [format!("<= {threshold} or missing"), format!("> {threshold}")]
                        }
                    };
                    if !condition.is_empty() {
                        text += &format!("{indent}{condition}:\n");
                    }
                    let depth = depth + usize::from(!condition.is_empty());
                    open.push((left + 1, depth, format!("{name} {above}")));
                    open.push((left, depth, format!("{name} {below}")));
                }
                Step::Leaf { slot } => {
                    let named = outputs.iter().zip(self.values(slot));
                    let named: Vec<String> =
                        named.map(|(name, value)| format!("{name} {value:.4}")).collect();
                    let arrow = if condition.is_empty() { "" } else { ": " };
                    text += &format!("{indent}{condition}{arrow}{}\n", named.join(", "));
                }
            }
        }
        text
    }
}

/// The one class that has the whole probability, if there is one.
fn sure_of(values: &[f64]) -> Option<usize> {
    let class = values.iter().position(|&value| value == 1.0)?;
    let rest = values.iter().enumerate().filter(|&(other, _)| other != class);
    rest.map(|(_, value)| value).all(|&value| value == 0.0).then_some(class)
}

/// Trees as they are written: one entry a node, `left` of 0 in a leaf, whose threshold is unused.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodesBody {
    width: usize,
    roots: Vec<u32>,
    feature: Vec<u32>,
    threshold: Vec<f64>,
    left: Vec<u32>,
    cover: Vec<f64>,
    slot: Vec<u32>,
    answers: Vec<f64>,
}

impl From<Nodes> for NodesBody {
    fn from(nodes: Nodes) -> Self {
        let each = || (0..nodes.len()).map(|number| (nodes.is_leaf(number), nodes.nodes[number]));
        Self {
            width: nodes.width,
            feature: each().map(|(_, node)| node.feature).collect(),
            threshold: each().map(|(leaf, node)| if leaf { 0.0 } else { node.threshold }).collect(),
            left: each().map(|(leaf, node)| if leaf { 0 } else { node.left }).collect(),
            slot: each().map(|(leaf, node)| if leaf { node.slot() as u32 } else { 0 }).collect(),
            roots: nodes.roots,
            cover: nodes.cover,
            answers: nodes.answers,
        }
    }
}

impl TryFrom<NodesBody> for Nodes {
    type Error = &'static str;

    /// Children stand behind their parents, so every walk ends, and have one parent, so there are no more paths than leaves.
    fn try_from(body: NodesBody) -> Result<Self, &'static str> {
        let n = body.feature.len();
        if [body.threshold.len(), body.left.len(), body.cover.len(), body.slot.len()] != [n; 4] {
            return Err("the nodes' parts differ in length");
        }
        if body.width == 0 || !body.answers.len().is_multiple_of(body.width) {
            return Err("the answers are not of one width");
        }
        let slots = body.answers.len() / body.width;
        let mut has_parent = vec![false; n];
        let mut nodes = Vec::with_capacity(n);
        for (number, ((feature, threshold), left)) in
            body.feature.into_iter().zip(body.threshold).zip(body.left).enumerate()
        {
            let child = left as usize;
            if threshold.is_nan() {
                return Err("a threshold is not a number");
            }
            if child == 0 {
                if body.slot[number] as usize >= slots {
                    return Err("a leaf's answer does not exist");
                }
                nodes.push(Node::leaf(number as u32, body.slot[number]));
            } else if child > number && child + 1 < n {
                if has_parent[child] || has_parent[child + 1] {
                    return Err("a node has two parents");
                }
                has_parent[child..child + 2].fill(true);
                nodes.push(Node { threshold, feature, left });
            } else {
                return Err("a child does not stand behind its parent");
            }
        }
        for &root in &body.roots {
            let taken = has_parent.get_mut(root as usize).ok_or("a root does not exist")?;
            if std::mem::replace(taken, true) {
                return Err("a root is the root of another tree, or has a parent");
            }
        }
        if has_parent.contains(&false) {
            return Err("a node belongs to no tree");
        }
        let nodes = Self {
            nodes,
            cover: body.cover,
            roots: body.roots,
            answers: body.answers,
            width: body.width,
            ranked: None,
        };
        Ok(nodes.finish())
    }
}
