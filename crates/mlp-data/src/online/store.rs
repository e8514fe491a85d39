//! The trait of an online store, and what is asked of one.

use std::fmt::Debug;
use std::time::Duration;

use mlp_core::{StoreError, Timestamp};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::Table;

/// Feature values of one entity that began to hold at some time.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What they are the features of, such as the key of a customer: 1 to 250 bytes.
    pub entity: &'a str,
    /// When they began to hold.
    pub at: Timestamp,
    /// When they came to be known here: later than `at` for a late arrival.
    pub arrived: Timestamp,
    /// One value a feature, in the order of the store's features.
    pub values: &'a [f64],
}

/// Which arrivals a look-up into the past may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Knowledge {
    /// Those that had arrived by the moment asked for: what a server would have answered then. The default, because a model trained on
    /// what arrived later sees values that it will not have.
    #[default]
    AtTheTime,
    /// All that have arrived by now, however late: for history that was loaded after the fact.
    Now,
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Values that are recent enough; they began to hold then.
    Fresh(Timestamp),
    /// Values that are older than the bound on freshness: they are not given.
    Stale(Timestamp),
    /// Nothing: there was no value by that moment.
    Absent,
    /// Nothing any more: a value of that time was dropped at the bound of the history.
    Forgotten,
}

/// How much an online store keeps, and for how long a value is fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OnlineOptions {
    /// The greatest age at which a value is given. None by default: how fast features age is for their owner to say.
    pub freshness: Option<Duration>,
    /// The most entities: 1,000,000 by default; one more is an error, because which to drop is not for a store to say.
    pub max_entities: usize,
    /// The most events kept of one entity: 64 by default; the one of the earliest time is dropped for one more.
    pub max_events: usize,
}

impl Default for OnlineOptions {
    fn default() -> Self {
        Self { freshness: None, max_entities: 1_000_000, max_events: 64 }
    }
}

impl OnlineOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the greatest age at which a value is given.
    #[must_use]
    pub fn with_freshness(mut self, age: Duration) -> Self {
        self.freshness = Some(age);
        self
    }

    /// Sets the most entities.
    #[must_use]
    pub fn with_max_entities(mut self, count: usize) -> Self {
        self.max_entities = count;
        self
    }

    /// Sets the most events kept of one entity.
    #[must_use]
    pub fn with_max_events(mut self, count: usize) -> Self {
        self.max_events = count;
        self
    }
}

/// Feature values by entity and time.
///
/// # Contract
///
/// * A look-up sees no event of after the moment asked for, nor, with [`Knowledge::AtTheTime`], one that arrived after it.
/// * Of the events it sees, the one with the latest `at` is found; of those the one that arrived last; of those the one put last.
/// * An event exactly as old as the bound on freshness is fresh. Only fresh values are given: otherwise `out` is all NaN.
/// * A dropped event is reported as [`Found::Forgotten`] where it may have been the answer, never passed over.
///
/// Each promise is a check in [`testing`](crate::online::testing).
pub trait OnlineStore: Debug + Send + Sync {
    /// The names of the features, in order.
    fn features(&self) -> &[String];

    /// Takes an event. Events may come in any order of time.
    ///
    /// # Errors
    /// If the entity's key is empty or too long, the number of values is wrong, or a bound is reached.
    fn put(&self, event: Event<'_>) -> Result<(), StoreError>;

    /// Finds an entity's values as of a moment, and writes them to `out`, one a feature.
    ///
    /// # Errors
    /// If `out` has not one place a feature, or the store fails.
    fn look_up(
        &self,
        entity: &str,
        moment: Timestamp,
        knowledge: Knowledge,
        out: &mut [f64],
    ) -> Result<Found, StoreError>;
}

/// The features of entities at moments: what a model is to learn from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainingRows {
    /// One row a question; NaN where nothing fresh was found (`n_questions × n_features`).
    pub features: Array2<f64>,
    /// What was found for each question.
    pub found: Vec<Found>,
}

/// Conveniences over [`OnlineStore`].
pub trait OnlineStoreExt: OnlineStore {
    /// Puts the rows of a table of features: its row ids are the entities, and each row began to hold, and arrived, at its time.
    ///
    /// # Errors
    /// If the table's columns are not the store's features, it has no row ids, or there are not as many times as rows. Rows before the
    /// one at fault are in the store.
    fn put_table(&self, table: &Table, times: &[Timestamp]) -> Result<()> {
        if table.names() != self.features() {
            let reason = "the table's columns are not the features of the store".to_owned();
            return Err(Error::Mismatch { reason });
        }
        let Some(ids) = table.row_ids() else {
            return Err(Error::Mismatch { reason: "the table has no row ids".to_owned() });
        };
        if times.len() != table.n_rows() {
            let (given, expected) = (times.len(), table.n_rows());
            return Err(Error::Length { what: "times", given, expected });
        }
        for ((row, entity), &at) in table.features().rows().into_iter().zip(ids).zip(times) {
            self.put(Event { entity, at, arrived: at, values: &row.to_vec() })?;
        }
        Ok(())
    }

    /// The features of entities as of moments: no row holds a value of after its moment.
    ///
    /// # Errors
    /// If the store fails.
    fn training_rows(
        &self,
        questions: &[(&str, Timestamp)],
        knowledge: Knowledge,
    ) -> Result<TrainingRows> {
        let mut features = Array2::from_elem((questions.len(), self.features().len()), f64::NAN);
        let mut values = vec![f64::NAN; self.features().len()];
        let mut found = Vec::with_capacity(questions.len());
        for (&(entity, moment), mut row) in questions.iter().zip(features.rows_mut()) {
            found.push(self.look_up(entity, moment, knowledge, &mut values)?);
            row.iter_mut().zip(&values).for_each(|(place, &value)| *place = value);
        }
        Ok(TrainingRows { features, found })
    }
}

impl<S: OnlineStore + ?Sized> OnlineStoreExt for S {}
