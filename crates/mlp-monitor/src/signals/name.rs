//! What signals are called.

use mlp_core::Labels;

use crate::error::{MonitorError, Result};
use crate::export::is_name;

/// The most labels of a series, and the longest name and value in bytes.
const MAX_LABELS: usize = 30;
const MAX_NAME: usize = 200;
const MAX_VALUE: usize = 1_000;

/// What a series is kept under: labels without a value are none.
pub(super) fn key(name: &str, labels: &Labels) -> (String, Labels) {
    let mut labels = labels.clone();
    labels.retain(|_, value| !value.is_empty());
    (name.to_owned(), labels)
}

/// Checks what a signal is to be called.
pub(super) fn check(name: &str, labels: &Labels) -> Result<()> {
    let longest = labels.keys().map(String::len).chain([name.len()]).max().unwrap_or_default();
    let longest_value = labels.values().map(String::len).max().unwrap_or_default();
    for (what, given, most, allowed) in [
        ("number of labels", labels.len(), MAX_LABELS, "at most 30"),
        ("bytes of a name", longest, MAX_NAME, "at most 200"),
        ("bytes of a label's value", longest_value, MAX_VALUE, "at most 1,000"),
    ] {
        if given > most {
            return Err(MonitorError::setting(what, given, allowed));
        }
    }
    let wrong = std::iter::once(name)
        .chain(labels.keys().map(String::as_str))
        .find(|name| !is_name(name, |_| false) || name.starts_with("__") || *name == "le");
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(MonitorError::setting(
            "name of a signal or label",
            wrong.chars().take(200).collect::<String>(),
            "letters, digits and '_', not beginning with a digit or '__', and not le",
        )),
    }
}
