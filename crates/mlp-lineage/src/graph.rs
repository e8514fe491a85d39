//! What was made from what, and where it went.

use std::collections::{HashMap, HashSet};
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
/// Records only refer to earlier ones, so there is no cycle. Nodes are numbered in the order in which they became known; walks keep a list
/// of numbers instead of recursing: depth costs memory, not stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineageGraph {
    nodes: Vec<Node>,
    labels: Vec<String>,
    numbers: HashMap<Node, u32>,
    forward: Vec<Vec<u32>>,
    backward: Vec<Vec<u32>>,
}

impl LineageGraph {
    /// The graph of these entries.
    #[must_use]
    pub fn of(entries: &[ChainEntry]) -> Self {
        let mut graph = Self::default();
        entries.iter().for_each(|entry| graph.add(&entry.event));
        graph
    }

    /// The graph as it was at a moment: of the entries that say they happened at or before it, and of those that these refer to, whatever time
    /// they carry: what was used was there. Times are what authors say; what was known when another record was written, whatever clocks say,
    /// is [`as_of_record`](Self::as_of_record).
    #[must_use]
    pub fn as_of(entries: &[ChainEntry], moment: Timestamp) -> Self {
        let mut used: HashSet<RecordId> = HashSet::new();
        let mut then = Vec::new();
        // References lead back only, so one pass from the end finds all that is needed.
        for entry in entries.iter().rev() {
            let needed = matches!(&entry.event, Event::Recorded(it) if used.contains(&it.id));
            if needed || entry.event.at() <= moment {
                match &entry.event {
                    Event::Recorded(record) => used.extend(&record.parents),
                    Event::Deployed(deployment) => used.extend([deployment.record]),
                }
                then.push(entry);
            }
        }
        let mut graph = Self::default();
        then.into_iter().rev().for_each(|entry| graph.add(&entry.event));
        graph
    }

    /// The graph as it was when a record was written: of its entry and those before it. None if no entry is that record's.
    #[must_use]
    pub fn as_of_record(entries: &[ChainEntry], record: RecordId) -> Option<Self> {
        let is_it =
            |entry: &ChainEntry| matches!(&entry.event, Event::Recorded(it) if it.id == record);
        let end = entries.iter().position(is_it)?;
        Some(Self::of(&entries[..=end]))
    }

    /// Adds what an entry says. For backends that keep a graph beside their chain.
    pub fn add(&mut self, event: &Event) {
        let (node, label, parents) = links(event);
        let node = self.number(node, Some(label));
        let mut known: HashSet<u32> = self.backward[node as usize].iter().copied().collect();
        for (parent, label) in parents {
            let parent = self.number(parent, label);
            if known.insert(parent) {
                self.backward[node as usize].push(parent);
                self.forward[parent as usize].push(node);
            }
        }
    }

    /// The number of a node, a new one if it is not known yet. A label that comes later replaces the one before.
    fn number(&mut self, node: Node, label: Option<String>) -> u32 {
        if let Some(&number) = self.numbers.get(&node) {
            if let Some(label) = label {
                self.labels[number as usize] = label;
            }
            return number;
        }
        let number = self.nodes.len() as u32;
        self.labels.push(label.unwrap_or_default());
        self.numbers.insert(node.clone(), number);
        self.nodes.push(node);
        self.forward.push(Vec::new());
        self.backward.push(Vec::new());
        number
    }

    /// All nodes, in the order in which they became known.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// What a node was made from, directly and indirectly, in the order in which it became known.
    #[must_use]
    pub fn ancestors(&self, node: &Node) -> Vec<Node> {
        self.reachable(&self.backward, node)
    }

    /// What was made from a node, directly and indirectly: the records and deployments that a dataset reached.
    #[must_use]
    pub fn descendants(&self, node: &Node) -> Vec<Node> {
        self.reachable(&self.forward, node)
    }

    fn reachable(&self, edges: &[Vec<u32>], start: &Node) -> Vec<Node> {
        let Some(&start) = self.numbers.get(start) else { return Vec::new() };
        let mut is_found = vec![false; self.nodes.len()];
        let mut open = vec![start];
        while let Some(number) = open.pop() {
            for &next in &edges[number as usize] {
                if !std::mem::replace(&mut is_found[next as usize], true) {
                    open.push(next);
                }
            }
        }
        let found = self.nodes.iter().zip(is_found).filter(|(_, is_found)| *is_found);
        found.map(|(node, _)| node.clone()).collect()
    }

    /// A shortest path from one node to something made from it; none if there is no path.
    #[must_use]
    pub fn path(&self, from: &Node, to: &Node) -> Option<Vec<Node>> {
        let (&from, &to) = (self.numbers.get(from)?, self.numbers.get(to)?);
        let mut came_from: HashMap<u32, u32> = HashMap::new();
        let mut layer = vec![from];
        while !layer.is_empty() && !layer.contains(&to) {
            let mut next = Vec::new();
            for number in layer {
                for &after in &self.forward[number as usize] {
                    if after != from && !came_from.contains_key(&after) {
                        came_from.insert(after, number);
                        next.push(after);
                    }
                }
            }
            layer = next;
        }
        if layer.is_empty() {
            return None;
        }
        let mut path = vec![to];
        while let Some(before) = came_from.get(&path[path.len() - 1]) {
            path.push(*before);
        }
        Some(path.into_iter().rev().map(|number| self.nodes[number as usize].clone()).collect())
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
        for (number, (key, label)) in self.nodes.iter().zip(&self.labels).enumerate() {
            let shape = match key {
                Node::Dataset(_) => ("cylinder", "[(", ")]"),
                Node::Record(_) => ("box", "[", "]"),
                Node::Deployment(..) => ("oval", "([", "])"),
            };
            // A line break would end the statement.
            let label = escape(&label.replace(char::is_control, " "));
            node(text, number, &label, shape)?;
        }
        for (from, targets) in self.forward.iter().enumerate() {
            for to in targets {
                edge(text, from, *to as usize)?;
            }
        }
        Ok(())
    }
}

/// A parent, and its label where the child tells it.
pub type Parent = (Node, Option<String>);

/// The node that an entry adds with its label, and what it was made from. For backends.
#[must_use]
pub fn links(event: &Event) -> (Node, String, Vec<Parent>) {
    match event {
        Event::Recorded(record) => {
            let dataset = |source: &crate::record::DataSource| {
                let node = Node::Dataset(source.dataset.fingerprint);
                (node, Some(source.dataset.to_string()))
            };
            let datasets = record.datasets.values().map(dataset);
            let parents = record.parents.iter().map(|parent| (Node::Record(*parent), None));
            let label = record.model.to_string();
            (Node::Record(record.id), label, datasets.chain(parents).collect())
        }
        Event::Deployed(deployment) => {
            let node = Node::Deployment(deployment.record, deployment.target.clone());
            let parents = vec![(Node::Record(deployment.record), None)];
            (node, deployment.target.clone(), parents)
        }
    }
}
