//! The manager's state as rows of a store.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use mlp_core::StoreError;
use serde::{Deserialize, Serialize};

use super::book::{read, write};
use super::group::Group;
use super::state::{Moment, State};
use super::store::{AlertChange, AlertRows};
use super::tracked::Tracked;
use super::{AlertConfig, Fingerprint, Incident, Silence, SilenceId};

/// Which rows are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scope {
    /// Those of what changed since the last time.
    Changed,
    /// All of them.
    All,
}

/// What is kept beside incidents, groups and silences.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    /// When the state was last written.
    written: Moment,
    last_silence: u64,
}

const META: &str = "meta";

impl State {
    /// What a store must hear, and when that was. Nothing if nothing changed.
    pub(crate) fn take_rows(&mut self, scope: Scope, written: Moment) -> Vec<AlertChange> {
        let mut rows = take(&mut self.incidents, scope);
        rows.extend(take(&mut self.groups, scope));
        rows.extend(take(&mut self.silences, scope));
        if !rows.is_empty() || scope == Scope::All {
            let meta = Meta { written, last_silence: self.last_silence };
            rows.push((META.to_owned(), Some(write(&meta))));
        }
        rows
    }

    /// For a manager without a store: nobody is to hear what has changed.
    pub(crate) fn forget_changes(&mut self) {
        self.incidents.take_changed();
        self.groups.take_changed();
        self.silences.take_changed();
    }

    /// The state from what was kept, and when that was written.
    pub(crate) fn load(
        config: &AlertConfig,
        rows: &AlertRows,
    ) -> Result<(Self, Option<Moment>), StoreError> {
        let meta: Option<Meta> = rows.get(META).map(|text| read(META, text)).transpose()?;
        let incidents: BTreeMap<Fingerprint, Incident> = load(rows)?;
        let mut groups: BTreeMap<String, Group> = load(rows)?;
        for (fingerprint, incident) in &incidents {
            for key in incident.groups.keys() {
                let group = groups.get_mut(key).ok_or_else(|| StoreError::Corrupt {
                    what: format!("alert state {:?}", Incident::row(fingerprint)),
                    reason: format!("there is no {:?}", Group::row(key)),
                })?;
                group.members.insert(*fingerprint);
            }
        }
        let mut state = Self {
            incidents: incidents.into(),
            groups: groups.into(),
            silences: load(rows)?.into(),
            last_silence: meta.as_ref().map_or(0, |meta| meta.last_silence),
            ..Self::default()
        };
        state.note_sources(config);
        Ok((state, meta.map(|meta| meta.written)))
    }
}

/// A kind of thing that is kept, and what the keys of its rows begin with.
trait Kept: Serialize + for<'de> Deserialize<'de> {
    type Key: Ord + Clone + Display + FromStr;
    const PREFIX: &str;

    fn row(key: &Self::Key) -> String {
        format!("{}{key}", Self::PREFIX)
    }
}

impl Kept for Incident {
    type Key = Fingerprint;
    const PREFIX: &str = "incident/";
}

impl Kept for Group {
    type Key = String;
    const PREFIX: &str = "group/";
}

impl Kept for Silence {
    type Key = SilenceId;
    const PREFIX: &str = "silence/";
}

fn take<V: Kept>(map: &mut Tracked<V::Key, V>, scope: Scope) -> Vec<AlertChange> {
    let changed = map.take_changed();
    let row = |key: &V::Key| (V::row(key), map.get(key).map(write));
    match scope {
        Scope::Changed => changed.iter().map(row).collect(),
        Scope::All => map.keys().map(row).collect(),
    }
}

fn load<V: Kept>(rows: &AlertRows) -> Result<BTreeMap<V::Key, V>, StoreError> {
    let after = rows.range(V::PREFIX.to_owned()..);
    let ours = after.map_while(|(key, text)| Some((key, key.strip_prefix(V::PREFIX)?, text)));
    let load = |(key, name, text): (&String, &str, &String)| {
        let name = name.parse().map_err(|_| StoreError::Corrupt {
            what: format!("alert state {key:?}"),
            reason: "its key cannot be read".to_owned(),
        })?;
        Ok((name, read(key, text)?))
    };
    ours.map(load).collect()
}
