//! What changed between two records.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::Record;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The path of the field, such as `configuration.c` or `code.git.commit`.
    pub field: String,
    /// Its value in the first record; none if it is not there.
    pub before: Option<Value>,
    /// Its value in the second record; none if it is not there.
    pub after: Option<Value>,
}

/// The fields in which what two records describe differs, in alphabetical order of their paths.
///
/// Identities, times and hashes of the records themselves are left out: they always differ.
#[must_use]
pub fn diff(before: &Record, after: &Record) -> Vec<Change> {
    let as_value =
        |record: &Record| serde_json::to_value(&record.description).unwrap_or(Value::Null);
    let mut changes = Vec::new();
    compare(String::new(), Some(&as_value(before)), Some(&as_value(after)), &mut changes);
    changes.sort_by(|a, b| a.field.cmp(&b.field));
    changes
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    if let (Some(Value::Object(first)), Some(Value::Object(second))) = (before, after) {
        let mut keys: Vec<&String> = first.keys().chain(second.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            compare(path, first.get(key), second.get(key), changes);
        }
    } else if before != after {
        changes.push(Change { field: path, before: before.cloned(), after: after.cloned() });
    }
}
