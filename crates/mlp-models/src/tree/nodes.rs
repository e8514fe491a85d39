//! Trees as they predict: all nodes of all trees in one array.

use serde::{Deserialize, Serialize};

/// A place in a tree. A leaf points to itself, so that a walk may take more steps than a tree is deep.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// A row goes left if its value is at most this; infinite in a leaf.
    threshold: f64,
    /// The feature asked; the highest bit is set if a missing value goes right.
    feature: u32,
    /// The left child; the right one is next to it. A leaf's own number.
    left: u32,
}

const MISSING_RIGHT: u32 = 1 << 31;

/// How many trees are walked at once: a walk waits for memory at each step, and several can wait together.
const TOGETHER: usize = 8;

/// Some trees: nodes in one array, each leaf's answer in another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NodesBody", into = "NodesBody")]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    /// The training weight that reached each node.
    cover: Vec<f64>,
    /// The place of each leaf's answer; unused for the others.
    slot: Vec<u32>,
    roots: Vec<u32>,
    answers: Vec<f64>,
    width: usize,
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
        self.nodes.push(Node { threshold: f64::INFINITY, feature: 0, left: number as u32 });
        self.cover.push(cover);
        self.slot.push(0);
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
        self.slot[leaf] = (start / self.width.max(1)) as u32;
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
        self.nodes.extend(other.nodes.iter().map(|node| Node { left: node.left + nodes, ..*node }));
        self.cover.extend_from_slice(&other.cover);
        self.slot.extend(other.slot.iter().map(|slot| slot + slots as u32));
        self.roots.extend(other.roots.iter().map(|root| root + nodes));
        self.answers.extend_from_slice(&other.answers);
    }

    pub(crate) fn n_trees(&self) -> usize {
        self.roots.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn root_of(&self, tree: usize) -> usize {
        self.roots[tree] as usize
    }

    pub(crate) fn cover(&self, node: usize) -> f64 {
        self.cover[node]
    }

    pub(crate) fn values(&self, slot: usize) -> &[f64] {
        &self.answers[slot * self.width..(slot + 1) * self.width]
    }

    pub(crate) fn step(&self, node: usize) -> Step {
        let Node { threshold, feature, left } = self.nodes[node];
        if left as usize == node {
            Step::Leaf { slot: self.slot[node] as usize }
        } else {
            Step::Split {
                feature: (feature & !MISSING_RIGHT) as usize,
                threshold,
                missing_right: feature & MISSING_RIGHT != 0,
                left: left as usize,
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.nodes[..])
            + size_of_val(&self.cover[..])
            + size_of_val(&self.slot[..])
            + size_of_val(&self.answers[..])
    }

    #[inline]
    fn next(&self, node: u32, row: &[f64]) -> u32 {
        let Node { threshold, feature, left } = self.nodes[node as usize];
        let value = row[(feature & !MISSING_RIGHT) as usize];
        let right = (value > threshold) | (value.is_nan() & (feature & MISSING_RIGHT != 0));
        left + u32::from(right)
    }

    /// How many groups of trees there are that are walked together.
    pub(crate) fn n_groups(&self) -> usize {
        self.roots.len().div_ceil(TOGETHER)
    }

    /// Adds the answers of one group's trees for a row to `out`, in the order of the trees.
    #[inline]
    pub(crate) fn add_group(&self, group: usize, row: &[f64], mut add: impl FnMut(usize, &[f64])) {
        let first = group * TOGETHER;
        let roots = &self.roots[first..(first + TOGETHER).min(self.roots.len())];
        let mut at = [roots[0]; TOGETHER];
        at[..roots.len()].copy_from_slice(roots);
        loop {
            let mut moved = 0;
            for node in &mut at {
                let next = self.next(*node, row);
                moved |= next ^ *node;
                *node = next;
            }
            if moved == 0 {
                break;
            }
        }
        for (tree, &leaf) in at[..roots.len()].iter().enumerate() {
            add(first + tree, self.values(self.slot[leaf as usize] as usize));
        }
    }

    /// Whether all features are below `n_features` and answers have `width` numbers.
    pub(crate) fn fits(&self, n_features: usize, width: usize) -> bool {
        let feature = |node: &Node| (node.feature & !MISSING_RIGHT) as usize;
        self.width == width && self.nodes.iter().all(|node| feature(node) < n_features)
    }
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
        let is_leaf = |(number, node): (usize, &Node)| node.left as usize == number;
        let each = || nodes.nodes.iter().enumerate();
        Self {
            width: nodes.width,
            feature: each().map(|(_, node)| node.feature).collect(),
            threshold: each()
                .map(|node| if is_leaf(node) { 0.0 } else { node.1.threshold })
                .collect(),
            left: each().map(|node| if is_leaf(node) { 0 } else { node.1.left }).collect(),
            roots: nodes.roots,
            cover: nodes.cover,
            slot: nodes.slot,
            answers: nodes.answers,
        }
    }
}

impl TryFrom<NodesBody> for Nodes {
    type Error = &'static str;

    /// Children stand behind their parents, so every walk ends.
    fn try_from(body: NodesBody) -> Result<Self, &'static str> {
        let n = body.feature.len();
        if [body.threshold.len(), body.left.len(), body.cover.len(), body.slot.len()] != [n; 4] {
            return Err("the nodes' parts differ in length");
        }
        if body.width == 0 || !body.answers.len().is_multiple_of(body.width) {
            return Err("the answers are not of one width");
        }
        if body.roots.iter().any(|&root| root as usize >= n) {
            return Err("a root does not exist");
        }
        let slots = body.answers.len() / body.width;
        let mut nodes = Vec::new();
        for (number, ((feature, threshold), left)) in
            body.feature.into_iter().zip(body.threshold).zip(body.left).enumerate()
        {
            let child = left as usize;
            if child == 0 {
                if body.slot[number] as usize >= slots {
                    return Err("a leaf's answer does not exist");
                }
                nodes.push(Node { threshold: f64::INFINITY, feature: 0, left: number as u32 });
            } else if child > number && child + 1 < n {
                nodes.push(Node { threshold, feature, left });
            } else {
                return Err("a child does not stand behind its parent");
            }
        }
        Ok(Self {
            nodes,
            cover: body.cover,
            slot: body.slot,
            roots: body.roots,
            answers: body.answers,
            width: body.width,
        })
    }
}
