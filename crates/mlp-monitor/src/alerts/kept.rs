//! What sinks have yet to hear, as rows of a store.

use std::collections::BTreeMap;

use mlp_core::{Notification, StoreError};

use super::Undelivered;
use super::book::read;
use super::store::AlertRows;

// What the keys of rows begin with: a number of 20 digits, a slash and the name of the sink follow.
pub(super) const WAITING: &str = "waiting/";
pub(super) const UNDELIVERED: &str = "undelivered/";
/// What receivers were told of notifications that are held back; its number is 0.
pub(super) const HELD_BACK: &str = "held-back/";
const KINDS: [&str; 3] = [WAITING, UNDELIVERED, HELD_BACK];

pub(super) fn key(kind: &str, number: u64, sink: &str) -> String {
    format!("{kind}{number:020}/{sink}")
}

/// What was kept of one sink, in the order of the numbers.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(super) waiting: Vec<(u64, Notification)>,
    pub(super) undelivered: Vec<(u64, Undelivered)>,
    pub(super) held_back: Option<Notification>,
}

impl Kept {
    /// What was kept of every sink.
    pub(crate) fn load(rows: &AlertRows) -> Result<BTreeMap<String, Self>, StoreError> {
        let mut sinks: BTreeMap<String, Self> = BTreeMap::new();
        for kind in KINDS {
            for (key, text) in rows.range(kind.to_owned()..) {
                let Some(rest) = key.strip_prefix(kind) else { break };
                let parts = rest.split_once('/');
                let numbered = parts.and_then(|(number, sink)| Some((number.parse().ok()?, sink)));
                let (number, sink) = numbered.ok_or_else(|| StoreError::Corrupt {
                    what: format!("alert state {key:?}"),
                    reason: "its key cannot be read".to_owned(),
                })?;
                let kept = sinks.entry(sink.to_owned()).or_default();
                match kind {
                    WAITING => kept.waiting.push((number, read(key, text)?)),
                    UNDELIVERED => kept.undelivered.push((number, read(key, text)?)),
                    _ => kept.held_back = Some(read(key, text)?),
                }
            }
        }
        Ok(sinks)
    }

    /// The keys of its rows.
    pub(crate) fn keys(&self, sink: &str) -> Vec<String> {
        let waiting = self.waiting.iter().map(|(number, _)| key(WAITING, *number, sink));
        let undelivered =
            self.undelivered.iter().map(|(number, _)| key(UNDELIVERED, *number, sink));
        let held_back = self.held_back.iter().map(|_| key(HELD_BACK, 0, sink));
        waiting.chain(undelivered).chain(held_back).collect()
    }
}
