//! What was made from what, and where it went.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use mlp_core::{ContentHash, RecordId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::chain::{ChainEntry, Event};

/// Something that lineage connects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Node {
    /// A version of a dataset, by its content.
    Dataset(ContentHash),
    /// A record of a model.
    Record(RecordId),
    /// A place where a model went, and the record that went there.
    Deployment(RecordId, String),
}

/// Datasets, records and deployments, with edges from what was used to what came of it.
///
/// Records only refer to earlier ones, so there is no cycle. Walks keep a list instead of recursing: depth costs memory, not stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineageGraph {
    labels: BTreeMap<Node, String>,
    forward: BTreeMap<Node, BTreeSet<Node>>,
    backward: BTreeMap<Node, BTreeSet<Node>>,
}

impl LineageGraph {
    /// The graph of these entries.
    #[must_use]
    pub fn of(entries: &[ChainEntry]) -> Self {
        let mut graph = Self::default();
        for entry in entries {
            graph.add(&entry.event);
        }
        graph
    }

    /// The graph as it was at a moment: of the entries that say they happened at or before it.
    #[must_use]
    pub fn as_of(entries: &[ChainEntry], moment: Timestamp) -> Self {
        let mut graph = Self::default();
        for entry in entries.iter().filter(|entry| entry.event.at() <= moment) {
            graph.add(&entry.event);
        }
        graph
    }

    fn add(&mut self, event: &Event) {
        match event {
            Event::Recorded(record) => {
                let node = Node::Record(record.id);
                self.labels.insert(node.clone(), record.model.to_string());
                for source in record.datasets.values() {
                    let dataset = Node::Dataset(source.dataset.fingerprint);
                    self.labels.insert(dataset.clone(), source.dataset.to_string());
                    self.link(dataset, node.clone());
                }
                for parent in &record.parents {
                    self.link(Node::Record(*parent), node.clone());
                }
            }
            Event::Deployed(deployment) => {
                let node = Node::Deployment(deployment.record, deployment.target.clone());
                self.labels.insert(node.clone(), deployment.target.clone());
                self.link(Node::Record(deployment.record), node);
            }
        }
    }

    fn link(&mut self, from: Node, to: Node) {
        self.backward.entry(to.clone()).or_default().insert(from.clone());
        self.forward.entry(from).or_default().insert(to);
    }

    /// All nodes, in their order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.labels.keys()
    }

    /// What a node was made from, directly and indirectly.
    #[must_use]
    pub fn ancestors(&self, node: &Node) -> BTreeSet<Node> {
        reachable(&self.backward, node)
    }

    /// What was made from a node, directly and indirectly: the records and deployments that a dataset reached.
    #[must_use]
    pub fn descendants(&self, node: &Node) -> BTreeSet<Node> {
        reachable(&self.forward, node)
    }

    /// A shortest path from one node to something made from it; none if there is no path.
    #[must_use]
    pub fn path(&self, from: &Node, to: &Node) -> Option<Vec<Node>> {
        let mut came_from: BTreeMap<&Node, &Node> = BTreeMap::new();
        let mut layer = vec![from];
        while !layer.is_empty() && !layer.contains(&to) {
            let mut next = Vec::new();
            for node in layer {
                for after in self.forward.get(node).into_iter().flatten() {
                    if after != from && !came_from.contains_key(after) {
                        came_from.insert(after, node);
                        next.push(after);
                    }
                }
            }
            layer = next;
        }
        if layer.is_empty() {
            return None;
        }
        let mut path = vec![to.clone()];
        let mut node = to;
        while let Some(before) = came_from.get(node) {
            path.push((*before).clone());
            node = before;
        }
        path.reverse();
        Some(path)
    }

    /// The graph in the language of Graphviz.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut text = "digraph lineage {\n  rankdir=LR;\n".to_owned();
        let result = self.write(
            &mut text,
            |label| label.replace('\\', "\\\\").replace('"', "\\\""),
            |text, i, label, shape| {
                writeln!(text, "  n{i} [label=\"{label}\", shape={}];", shape.0)
            },
            |text, i, j| writeln!(text, "  n{i} -> n{j};"),
        );
        debug_assert!(result.is_ok(), "writing to a string does not fail");
        text + "}\n"
    }

    /// The graph in the language of Mermaid.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        let escape = |label: &str| {
            label
                .replace('#', "#35;")
                .replace('"', "#quot;")
                .replace('<', "#lt;")
                .replace('>', "#gt;")
        };
        let result = self.write(
            &mut text,
            escape,
            |text, i, label, (_, open, close)| writeln!(text, "  n{i}{open}\"{label}\"{close}"),
            |text, i, j| writeln!(text, "  n{i} --> n{j}"),
        );
        debug_assert!(result.is_ok(), "writing to a string does not fail");
        text
    }

    fn write(
        &self,
        text: &mut String,
        escape: impl Fn(&str) -> String,
        node: impl Fn(&mut String, usize, &str, (&str, &str, &str)) -> fmt::Result,
        edge: impl Fn(&mut String, usize, usize) -> fmt::Result,
    ) -> fmt::Result {
        let numbers: BTreeMap<_, _> = self.labels.keys().zip(0..).collect();
        for (key, label) in &self.labels {
            let shape = match key {
                Node::Dataset(_) => ("cylinder", "[(", ")]"),
                Node::Record(_) => ("box", "[", "]"),
                Node::Deployment(..) => ("oval", "([", "])"),
            };
            // A line break would end the statement.
            let label = escape(&label.replace(char::is_control, " "));
            node(text, numbers[key], &label, shape)?;
        }
        for (from, targets) in &self.forward {
            for to in targets {
                // A record that an earlier moment does not know yet has no number.
                if let (Some(i), Some(j)) = (numbers.get(from), numbers.get(to)) {
                    edge(text, *i, *j)?;
                }
            }
        }
        Ok(())
    }
}

fn reachable(edges: &BTreeMap<Node, BTreeSet<Node>>, start: &Node) -> BTreeSet<Node> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for next in edges.get(node).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}
