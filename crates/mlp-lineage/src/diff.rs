//! What changed from one record to another.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::Record;

/// The part of a record that a change belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Section {
    /// The datasets.
    Data,
    /// The features.
    Features,
    /// The code.
    Code,
    /// The configuration.
    Configuration,
    /// The environment.
    Environment,
    /// The seeds.
    Seeds,
    /// The artifacts.
    Artifacts,
    /// The training.
    Training,
    /// The model's name, author and description.
    Description,
    /// What it builds on, and what it corrects.
    Ancestry,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Data => "data",
            Self::Features => "features",
            Self::Code => "code",
            Self::Configuration => "configuration",
            Self::Environment => "environment",
            Self::Seeds => "seeds",
            Self::Artifacts => "artifacts",
            Self::Training => "training",
            Self::Description => "description",
            Self::Ancestry => "ancestry",
        })
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Change {
    /// The part it belongs to.
    pub section: Section,
    /// The path of the field, such as `configuration.trees`; a key with other characters than letters, digits, `_`, `-` and `/` is in quotes.
    pub path: String,
    /// Its value in the first record, as JSON; none if it is absent there.
    pub before: Option<Value>,
    /// Its value in the second record.
    pub after: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| match value {
            None => "absent".to_owned(),
            Some(value) => {
                let text = value.to_string();
                let cut: String = text.chars().take(80).collect();
                if cut.len() < text.len() { format!("{cut}…") } else { text }
            }
        };
        let (before, after) = (show(&self.before), show(&self.after));
        write!(f, "{}: {} was {before}, is {after}", self.section, self.path)
    }
}

/// What differs between two records, field by field, in alphabetical order of the paths. Their ids and times of recording always differ, and are left out.
#[must_use]
pub fn diff(before: &Record, after: &Record) -> Vec<Change> {
    let (mut before, mut after) = (fields(before), fields(after));
    let paths: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    paths
        .into_iter()
        .filter_map(|path| {
            let (before, after) = (before.remove(&path), after.remove(&path));
            let section = section(&path).filter(|_| before != after)?;
            Some(Change { section, path, before, after })
        })
        .collect()
}

fn section(path: &str) -> Option<Section> {
    Some(match path.split(['.', '[']).next()? {
        "datasets" => Section::Data,
        "features" => Section::Features,
        "code" => Section::Code,
        "configuration" => Section::Configuration,
        "environment" => Section::Environment,
        "seeds" => Section::Seeds,
        "artifacts" => Section::Artifacts,
        "training" => Section::Training,
        "parents" | "corrects" => Section::Ancestry,
        "id" | "created_at" => return None,
        _ => Section::Description,
    })
}

fn below(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/');
    let dot = if path.is_empty() { "" } else { "." };
    if !key.is_empty() && key.chars().all(plain) {
        format!("{path}{dot}{key}")
    } else {
        format!("{path}{dot}{key:?}")
    }
}

/// The leaves of a record by their paths. What is absent or empty has none; a parameter is one leaf, whatever its value.
fn fields(record: &Record) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    // A record is serialisable by construction: maps with text keys, and doubles in their exact form.
    let mut open = vec![(String::new(), serde_json::to_value(record).unwrap_or_default())];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Null => {}
            Value::Object(map) if path == "configuration" => {
                leaves.extend(map.into_iter().map(|(key, value)| (below(&path, &key), value)));
            }
            Value::Object(map) => {
                open.extend(map.into_iter().map(|(key, value)| (below(&path, &key), value)));
            }
            Value::Array(list) => {
                open.extend(
                    (0..).zip(list).map(|(i, value): (usize, _)| (format!("{path}[{i}]"), value)),
                );
            }
            leaf => {
                leaves.insert(path, leaf);
            }
        }
    }
    leaves
}
