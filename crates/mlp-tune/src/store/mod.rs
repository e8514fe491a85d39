//! Where studies live: the trait, and what every backend promises.

pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod memory;
pub(crate) mod retrying;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use mlp_core::{Direction, Domain, ParamValue, Params, StoreError, Timestamp};
use serde_json::Value;

use crate::trial::{TrialRecord, TrialState};

/// Identifies a study within one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StudyId(pub u64);

/// A trial that is about to be written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrialDraft {
    /// [`TrialState::Running`] or [`TrialState::Waiting`].
    pub state: TrialState,
    /// What will be tried.
    pub params: Arc<Params>,
    /// Where the parameters come from.
    pub domains: Arc<BTreeMap<String, Domain>>,
    /// What the user attached.
    pub attributes: BTreeMap<String, Value>,
    /// What the study attached, such as the lease.
    pub system: Arc<BTreeMap<String, Value>>,
    /// When it starts.
    pub started: Option<Timestamp>,
}

impl TrialDraft {
    /// A draft in a state, with nothing else set.
    #[must_use]
    pub fn new(state: TrialState) -> Self {
        Self {
            state,
            params: Arc::default(),
            domains: Arc::default(),
            attributes: BTreeMap::new(),
            system: Arc::default(),
            started: None,
        }
    }
}

/// Something that happened to an unfinished trial.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TrialEvent {
    /// A parameter was chosen while running.
    Param {
        /// Its name.
        name: String,
        /// Where it comes from.
        domain: Domain,
        /// What was chosen.
        value: ParamValue,
    },
    /// A waiting trial starts.
    Claim {
        /// When.
        started: Timestamp,
        /// What the study attaches with it, such as the lease.
        system: BTreeMap<String, Value>,
    },
    /// The objective reported intermediate values. The first report of a step stands.
    Report {
        /// The step.
        step: i64,
        /// The value, or one per objective; NaN is allowed.
        values: Vec<f64>,
    },
    /// The user attached something.
    Attribute {
        /// Its name.
        name: String,
        /// What.
        value: Value,
    },
    /// The study, a sampler or a pruner attached something.
    System {
        /// Its name.
        name: String,
        /// What.
        value: Value,
    },
    /// The trial ended.
    Finish {
        /// Complete, pruned or failed.
        state: TrialState,
        /// One value per objective, or none.
        values: Vec<f64>,
        /// When.
        finished: Timestamp,
    },
}

/// What changed in a study since a revision.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The revision that these changes lead to.
    pub revision: u64,
    /// The trials that changed, as they are now, in the order of their numbers.
    pub trials: Vec<Arc<TrialRecord>>,
}

/// Keeps studies and their trials.
///
/// # Contract
///
/// * Opening a study that is there returns it; opening it with other directions is a conflict.
/// * An attribute of a study keeps the value it got last, and is that study's alone.
/// * The numbers of a study's trials are 0, 1, 2, … without gaps. [`create_trial`](Self::create_trial) with a number that is not the next
///   one is a conflict and writes nothing: whoever lost the race reads the changes and tries again.
/// * A finished trial never changes: every event on it is a conflict. A trial that is not waiting cannot be claimed.
/// * A claim and the system attributes that come with it are there together or not at all, whenever the process dies.
/// * The system attribute `mlp:lease` is taken in turns: writing one whose `epoch` is not one above the present one (0 if there is none) is a
///   conflict, so that of two workers that take over a trial one wins.
/// * What returned `Ok` is durable, as far as the backend is: reports and attributes at the latest with the next creation or finish.
/// * Every double comes back with its bits, infinities and NaN among them.
/// * [`changes`](Self::changes) since revision 0 is everything; a change that any process made shows up in a later call.
pub trait StudyStore: Debug + Send + Sync {
    /// Opens the study of that name, or creates it.
    ///
    /// # Errors
    /// A conflict if it is there with other directions; or if the store cannot be read or written.
    fn open_study(&self, name: &str, directions: &[Direction]) -> Result<StudyId, StoreError>;

    /// The studies of the store: their ids, names and directions.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn studies(&self) -> Result<Vec<(StudyId, String, Vec<Direction>)>, StoreError>;

    /// Attaches something of the user's to a study, or replaces it; durable when it returns.
    ///
    /// # Errors
    /// Not found if there is no such study; or if the store cannot be written.
    fn set_attribute(&self, study: StudyId, name: &str, value: &Value) -> Result<(), StoreError>;

    /// What the user attached to a study, by name.
    ///
    /// # Errors
    /// Not found if there is no such study; or if the store cannot be read.
    fn attributes(&self, study: StudyId) -> Result<BTreeMap<String, Value>, StoreError>;

    /// Writes the next trial, provided that its number is the next one.
    ///
    /// # Errors
    /// A conflict if `number` is not the next number; or if the store cannot be written.
    fn create_trial(
        &self,
        study: StudyId,
        number: u64,
        draft: &TrialDraft,
    ) -> Result<(), StoreError>;

    /// Writes what happened to a trial.
    ///
    /// # Errors
    /// A conflict if the trial is finished, or is claimed and not waiting; not found if there is no such trial.
    fn record(&self, study: StudyId, number: u64, event: &TrialEvent) -> Result<(), StoreError>;

    /// The trials that changed since a revision.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn changes(&self, study: StudyId, since: u64) -> Result<Changes, StoreError>;
}
