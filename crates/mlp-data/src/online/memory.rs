//! An online store in memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use mlp_core::{StoreError, Timestamp};
use parking_lot::RwLock;

use super::store::{Event, Found, Knowledge, OnlineOptions, OnlineStore};
use crate::error::{Error, Result};

/// How many parts the entities are spread over: writers of different parts do not wait for each other.
const SHARDS: usize = 16;
const MAX_KEY: usize = 250;

/// An [`OnlineStore`] in memory.
///
/// ```
/// use mlp_core::Timestamp;
/// use mlp_data::online::{Event, Found, Knowledge, MemoryOnlineStore, OnlineOptions, OnlineStore};
/// use std::time::Duration;
///
/// let store = MemoryOnlineStore::new(["visits"], OnlineOptions::new().with_freshness(Duration::from_secs(60)))?;
/// let noon = Timestamp::UNIX_EPOCH.after(Duration::from_secs(43_200));
/// store.put(Event { entity: "anna", at: noon, arrived: noon, values: &[7.0] })?;
///
/// let mut visits = [0.0];
/// let later = noon.after(Duration::from_secs(30));
/// assert_eq!(store.look_up("anna", later, Knowledge::AtTheTime, &mut visits)?, Found::Fresh(noon));
/// assert_eq!(visits, [7.0]);
/// let before = noon.before(Duration::from_secs(1));
/// assert_eq!(store.look_up("anna", before, Knowledge::AtTheTime, &mut visits)?, Found::Absent);
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug)]
pub struct MemoryOnlineStore {
    features: Vec<String>,
    options: OnlineOptions,
    hasher: RandomState,
    shards: Vec<RwLock<HashMap<Box<str>, History>>>,
    entities: std::sync::atomic::AtomicUsize,
}

/// The events of one entity, by time, then arrival, then the order in which they were put.
#[derive(Debug, Default)]
struct History {
    events: Vec<Stored>,
    /// The latest time of an event that was dropped.
    forgotten: Option<Timestamp>,
}

#[derive(Debug)]
struct Stored {
    at: Timestamp,
    arrived: Timestamp,
    values: Box<[f64]>,
}

impl MemoryOnlineStore {
    /// An empty store of these features.
    ///
    /// # Errors
    /// If there is no feature, a name stands twice, or a bound is 0.
    pub fn new<N: Into<String>>(
        features: impl IntoIterator<Item = N>,
        options: OnlineOptions,
    ) -> Result<Self> {
        let features: Vec<String> = features.into_iter().map(Into::into).collect();
        if features.is_empty() || options.max_entities == 0 || options.max_events == 0 {
            let what = "the online store".to_owned();
            let reason = "at least one feature, entity and event must be allowed".to_owned();
            return Err(Error::Invalid { what, reason });
        }
        if let Some(i) = (0..features.len()).find(|&i| features[..i].contains(&features[i])) {
            return Err(Error::DuplicateName { what: "the feature", name: features[i].clone() });
        }
        Ok(Self {
            features,
            options,
            hasher: RandomState::new(),
            shards: std::iter::repeat_with(RwLock::default).take(SHARDS).collect(),
            entities: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    /// How many entities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Whether there is no entity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, entity: &str) -> &RwLock<HashMap<Box<str>, History>> {
        &self.shards[self.hasher.hash_one(entity) as usize % SHARDS]
    }

    fn check_length(&self, field: &str, length: usize) -> Result<(), StoreError> {
        let expected = self.features.len();
        if length == expected {
            return Ok(());
        }
        Err(StoreError::invalid(
            field,
            format!("{length} given, the store has {expected} features"),
        ))
    }

    /// Counts one more entity, if one more is allowed.
    fn admit(&self) -> Result<(), StoreError> {
        use std::sync::atomic::Ordering::Relaxed;
        let limit = self.options.max_entities;
        self.entities
            .fetch_update(Relaxed, Relaxed, |count| (count < limit).then_some(count + 1))
            .map(|_| ())
            .map_err(|count| {
                StoreError::limit_exceeded("the number of entities", count as u64 + 1, limit as u64)
            })
    }
}

impl OnlineStore for MemoryOnlineStore {
    fn features(&self) -> &[String] {
        &self.features
    }

    fn put(&self, event: Event<'_>) -> Result<(), StoreError> {
        if event.entity.is_empty() || event.entity.len() > MAX_KEY {
            let reason = format!("it has {} bytes, 1 to {MAX_KEY} are allowed", event.entity.len());
            return Err(StoreError::invalid("the key of the entity", reason));
        }
        self.check_length("the values of the event", event.values.len())?;
        let mut shard = self.shard(event.entity).write();
        if !shard.contains_key(event.entity) {
            self.admit()?;
            shard.insert(event.entity.into(), History::default());
        }
        if let Some(history) = shard.get_mut(event.entity) {
            history.put(&event, self.options.max_events);
        }
        Ok(())
    }

    fn look_up(
        &self,
        entity: &str,
        moment: Timestamp,
        knowledge: Knowledge,
        out: &mut [f64],
    ) -> Result<Found, StoreError> {
        self.check_length("the place for the values", out.len())?;
        let shard = self.shard(entity).read();
        let found = match shard.get(entity) {
            None => Found::Absent,
            Some(history) => match history.find(moment, knowledge) {
                Ok(event) => {
                    let fresh =
                        self.options.freshness.is_none_or(|age| moment.since(event.at) <= age);
                    if fresh {
                        out.copy_from_slice(&event.values);
                        return Ok(Found::Fresh(event.at));
                    }
                    Found::Stale(event.at)
                }
                Err(nothing) => nothing,
            },
        };
        out.fill(f64::NAN);
        Ok(found)
    }
}

impl History {
    fn put(&mut self, event: &Event<'_>, limit: usize) {
        let key = (event.at, event.arrived);
        let place = self.events.partition_point(|stored| (stored.at, stored.arrived) <= key);
        let values = event.values.into();
        self.events.insert(place, Stored { at: event.at, arrived: event.arrived, values });
        if self.events.len() > limit {
            let dropped = self.events.remove(0).at;
            self.forgotten = self.forgotten.max(Some(dropped));
        }
    }

    /// The event that a look-up sees, or why it sees none.
    fn find(&self, moment: Timestamp, knowledge: Knowledge) -> Result<&Stored, Found> {
        let end = self.events.partition_point(|stored| stored.at <= moment);
        let is_known = |stored: &&Stored| knowledge == Knowledge::Now || stored.arrived <= moment;
        // Dropped events are never later than kept ones, so a kept one that is seen is the answer.
        self.events[..end].iter().rev().find(is_known).ok_or(if self.forgotten.is_some() {
            Found::Forgotten
        } else {
            Found::Absent
        })
    }
}
