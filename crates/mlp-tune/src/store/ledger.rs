//! The state that a sequence of operations leads to: what memory holds and what a journal replays.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlp_core::{Direction, StoreError};
use serde_json::Value;

use super::{Changes, StudyId, TrialDraft, TrialEvent};
use crate::trial::{LEASE, TrialRecord, TrialState};

/// Every study of a store.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// `None` stands for a deleted study: ids are never reused.
    studies: Vec<Option<StudyState>>,
    /// Study and number by global trial id.
    trials: Vec<(StudyId, u64)>,
}

#[derive(Debug)]
struct StudyState {
    name: String,
    directions: Vec<Direction>,
    attributes: BTreeMap<String, Value>,
    trials: Vec<Arc<TrialRecord>>,
    /// Global ids by number.
    ids: Vec<u64>,
    /// The number that each revision changed.
    log: Vec<u64>,
}

impl Ledger {
    pub(crate) fn find(&self, name: &str) -> Option<(StudyId, &[Direction])> {
        self.studies.iter().enumerate().find_map(|(id, study)| {
            let study = study.as_ref().filter(|study| study.name == name)?;
            Some((StudyId(id as u64), study.directions.as_slice()))
        })
    }

    /// Whether the study is there with these directions.
    pub(crate) fn open(
        &self,
        name: &str,
        directions: &[Direction],
    ) -> Result<Option<StudyId>, StoreError> {
        let Some((id, present)) = self.find(name) else { return Ok(None) };
        if present == directions {
            return Ok(Some(id));
        }
        Err(StoreError::conflict("study", name, format!("its directions are {present:?}")))
    }

    pub(crate) fn add_study(&mut self, name: String, directions: Vec<Direction>) -> StudyId {
        self.studies.push(Some(StudyState {
            name,
            directions,
            attributes: BTreeMap::new(),
            trials: Vec::new(),
            ids: Vec::new(),
            log: Vec::new(),
        }));
        StudyId(self.studies.len() as u64 - 1)
    }

    /// How many studies there have been: the id of the next one.
    pub(crate) fn study_count(&self) -> u64 {
        self.studies.len() as u64
    }

    pub(crate) fn delete_study(&mut self, id: StudyId) {
        if let Some(study) = self.studies.get_mut(id.0 as usize) {
            *study = None;
        }
    }

    pub(crate) fn studies(&self) -> Vec<(StudyId, String, Vec<Direction>)> {
        let present = self.studies.iter().enumerate();
        present
            .filter_map(|(id, study)| {
                let study = study.as_ref()?;
                Some((StudyId(id as u64), study.name.clone(), study.directions.clone()))
            })
            .collect()
    }

    fn study(&self, id: StudyId) -> Result<&StudyState, StoreError> {
        self.studies
            .get(id.0 as usize)
            .and_then(Option::as_ref)
            .ok_or_else(|| StoreError::not_found("study", id.0))
    }

    fn study_mut(&mut self, id: StudyId) -> Result<&mut StudyState, StoreError> {
        self.studies
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
            .ok_or_else(|| StoreError::not_found("study", id.0))
    }

    pub(crate) fn attributes(&self, id: StudyId) -> Result<&BTreeMap<String, Value>, StoreError> {
        Ok(&self.study(id)?.attributes)
    }

    pub(crate) fn set_attribute(
        &mut self,
        id: StudyId,
        name: String,
        value: Value,
    ) -> Result<(), StoreError> {
        self.study_mut(id)?.attributes.insert(name, value);
        Ok(())
    }

    pub(crate) fn next_number(&self, id: StudyId) -> Result<u64, StoreError> {
        Ok(self.study(id)?.trials.len() as u64)
    }

    pub(crate) fn check_next(&self, id: StudyId, number: u64) -> Result<(), StoreError> {
        let next = self.next_number(id)?;
        if next == number {
            return Ok(());
        }
        Err(StoreError::conflict("trial", number, format!("the next number is {next}")))
    }

    pub(crate) fn global_id(&self, study: StudyId, number: u64) -> Result<u64, StoreError> {
        let found = self.study(study)?.ids.get(number as usize).copied();
        found.ok_or_else(|| StoreError::not_found("trial", number))
    }

    /// The id of the next trial of whichever study.
    pub(crate) fn next_global_id(&self) -> u64 {
        self.trials.len() as u64
    }

    /// The only study there is, or was.
    pub(crate) fn only_study(&self) -> Option<StudyId> {
        (self.studies.len() == 1).then_some(StudyId(0))
    }

    pub(crate) fn by_global_id(&self, id: u64) -> Option<(StudyId, u64)> {
        self.trials.get(id as usize).copied()
    }

    pub(crate) fn add_trial(
        &mut self,
        id: StudyId,
        make: impl FnOnce(u64) -> TrialRecord,
    ) -> Result<(), StoreError> {
        let global = self.trials.len() as u64;
        let study = self.study_mut(id)?;
        let number = study.trials.len() as u64;
        study.trials.push(Arc::new(make(number)));
        study.ids.push(global);
        study.log.push(number);
        self.trials.push((id, number));
        Ok(())
    }

    pub(crate) fn trial(&self, id: StudyId, number: u64) -> Result<&TrialRecord, StoreError> {
        let found = self.study(id)?.trials.get(number as usize);
        found.map(AsRef::as_ref).ok_or_else(|| StoreError::not_found("trial", number))
    }

    /// Refuses what must not happen to the trial.
    pub(crate) fn check_event(
        &self,
        id: StudyId,
        number: u64,
        event: &TrialEvent,
    ) -> Result<(), StoreError> {
        let trial = self.trial(id, number)?;
        let state = trial.state;
        let lease = match event {
            TrialEvent::System { name, value } if name == LEASE => Some(value),
            TrialEvent::Claim { system, .. } => system.get(LEASE),
            _ => None,
        };
        if lease.is_some()
            && epoch(lease)
                != trial.system.get(LEASE).map_or(Some(0), |now| Some(epoch(Some(now))? + 1))
        {
            return Err(StoreError::conflict("trial", number, "somebody else has its lease"));
        }
        let claimed_twice =
            matches!(event, TrialEvent::Claim { .. }) && state != TrialState::Waiting;
        if state.is_finished() || claimed_twice {
            return Err(StoreError::conflict("trial", number, format!("it is {state}")));
        }
        Ok(())
    }

    /// Applies an event that was checked.
    pub(crate) fn apply(
        &mut self,
        id: StudyId,
        number: u64,
        event: TrialEvent,
    ) -> Result<(), StoreError> {
        let study = self.study_mut(id)?;
        let trial = study
            .trials
            .get_mut(number as usize)
            .ok_or_else(|| StoreError::not_found("trial", number))?;
        let trial = Arc::make_mut(trial);
        match event {
            TrialEvent::Param { name, domain, value } => {
                if trial.domains.get(&name) != Some(&domain) {
                    Arc::make_mut(&mut trial.domains).insert(name.clone(), domain);
                }
                Arc::make_mut(&mut trial.params).insert(name, value);
            }
            TrialEvent::Claim { started, system } => {
                trial.state = TrialState::Running;
                trial.started = Some(started);
                if !system.is_empty() {
                    Arc::make_mut(&mut trial.system).extend(system);
                }
            }
            TrialEvent::Report { step, values } => {
                if let (Entry::Vacant(place), Some(first)) =
                    (trial.reports.entry(step), values.first())
                {
                    place.insert(*first);
                    if values.len() > 1 {
                        trial.vector_reports.insert(step, values);
                    }
                }
            }
            TrialEvent::Attribute { name, value } => {
                trial.attributes.insert(name, value);
            }
            TrialEvent::System { name, value } => {
                Arc::make_mut(&mut trial.system).insert(name, value);
            }
            TrialEvent::Finish { state, values, finished } => {
                trial.state = state;
                trial.values = values;
                trial.finished = Some(finished);
            }
        }
        study.log.push(number);
        Ok(())
    }

    pub(crate) fn changes(&self, id: StudyId, since: u64) -> Result<Changes, StoreError> {
        let study = self.study(id)?;
        let revision = study.log.len() as u64;
        let trial = |number: &u64| Arc::clone(&study.trials[*number as usize]);
        let trials = match study.log.get(since as usize..).unwrap_or_default() {
            [] => Vec::new(),
            [one] => vec![trial(one)],
            more => more.iter().collect::<BTreeSet<_>>().into_iter().map(trial).collect(),
        };
        Ok(Changes { revision, trials })
    }
}

/// How often a lease has changed hands.
fn epoch(lease: Option<&Value>) -> Option<u64> {
    lease?.get("epoch")?.as_u64()
}

impl TrialDraft {
    pub(crate) fn into_record(self, number: u64) -> TrialRecord {
        TrialRecord {
            number,
            state: self.state,
            params: self.params,
            domains: self.domains,
            values: Vec::new(),
            reports: BTreeMap::new(),
            vector_reports: BTreeMap::new(),
            attributes: self.attributes,
            system: self.system,
            started: self.started,
            finished: None,
        }
    }
}
