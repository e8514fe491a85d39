//! The store without a disk.

use std::collections::{BTreeMap, BTreeSet};

use mlp_core::{EvaluationId, StoreError};
use parking_lot::RwLock;

use crate::batch::{Batch, same_param};
use crate::evaluation::{Evaluation, Lifecycle, NewEvaluation, Status};
use crate::filter::Filter;
use crate::query::{Page, PageToken, Query};
use crate::series::{MAX_POINTS, MetricPoint, SeriesKey, SeriesSummary};
use crate::store::EvalStore;

/// Keeps evaluations in memory: for tests, examples, and runs whose results are exported. Queries read every evaluation.
#[derive(Debug, Default)]
pub struct InMemoryEvalStore {
    evaluations: RwLock<BTreeMap<EvaluationId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    evaluation: Evaluation,
    points: BTreeMap<SeriesKey, BTreeSet<MetricPoint>>,
}

impl InMemoryEvalStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

const KIND: &str = "evaluation";

impl EvalStore for InMemoryEvalStore {
    fn create(&self, new: &NewEvaluation) -> Result<(), StoreError> {
        new.check()?;
        let mut entry = Entry { evaluation: Evaluation::from_new(new), points: BTreeMap::new() };
        for (name, value) in new.metrics.iter() {
            entry.add(&SeriesKey::new(name), MetricPoint::new(0, new.started_at, value));
        }
        let mut evaluations = self.evaluations.write();
        if evaluations.contains_key(&new.id) {
            return Err(StoreError::conflict(KIND, new.id, "the id is taken"));
        }
        evaluations.insert(new.id, entry);
        Ok(())
    }

    fn write(&self, id: EvaluationId, batch: &Batch) -> Result<(), StoreError> {
        batch.check()?;
        let mut evaluations = self.evaluations.write();
        let entry = evaluations.get_mut(&id).ok_or_else(|| StoreError::not_found(KIND, id))?;
        entry.check(batch)?;
        entry.apply(batch);
        Ok(())
    }

    fn get(&self, id: EvaluationId) -> Result<Evaluation, StoreError> {
        let evaluations = self.evaluations.read();
        let entry = evaluations.get(&id).ok_or_else(|| StoreError::not_found(KIND, id))?;
        Ok(entry.evaluation.clone())
    }

    fn series(&self, id: EvaluationId, key: &SeriesKey) -> Result<Vec<MetricPoint>, StoreError> {
        let evaluations = self.evaluations.read();
        let entry = evaluations.get(&id).ok_or_else(|| StoreError::not_found(KIND, id))?;
        Ok(entry.points.get(key).into_iter().flatten().copied().collect())
    }

    fn query(&self, query: &Query) -> Result<Page, StoreError> {
        query.check()?;
        let evaluations = self.evaluations.read();
        let mut found: Vec<_> = evaluations
            .values()
            .map(|entry| &entry.evaluation)
            .filter(|e| query.view.shows(e.lifecycle) && query.filter.matches(e))
            .map(|e| (query.position(e), e))
            .filter(|(position, _)| {
                query.after.as_ref().is_none_or(|t| query.compare(position, t.position()).is_gt())
            })
            .collect();
        found.sort_by(|(one, _), (other, _)| query.compare(one, other));
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|(_, last)| PageToken::new(query, last));
        Ok(Page { evaluations: found.into_iter().map(|(_, e)| e.clone()).collect(), next })
    }

    fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        filter.check()?;
        let evaluations = self.evaluations.read();
        let active = evaluations.values().map(|entry| &entry.evaluation);
        let matching =
            active.filter(|e| e.lifecycle == Lifecycle::Active && filter.matches(e)).count();
        Ok(matching as u64)
    }

    fn delete(&self, id: EvaluationId) -> Result<(), StoreError> {
        self.set_lifecycle(id, Lifecycle::Deleted)
    }

    fn restore(&self, id: EvaluationId) -> Result<(), StoreError> {
        self.set_lifecycle(id, Lifecycle::Active)
    }

    fn purge(&self, id: EvaluationId) -> Result<(), StoreError> {
        let mut evaluations = self.evaluations.write();
        let entry = evaluations.get(&id).ok_or_else(|| StoreError::not_found(KIND, id))?;
        if entry.evaluation.lifecycle == Lifecycle::Active {
            return Err(StoreError::conflict(KIND, id, "it is in use: delete it first"));
        }
        evaluations.remove(&id);
        Ok(())
    }
}

impl InMemoryEvalStore {
    fn set_lifecycle(&self, id: EvaluationId, lifecycle: Lifecycle) -> Result<(), StoreError> {
        let mut evaluations = self.evaluations.write();
        let entry = evaluations.get_mut(&id).ok_or_else(|| StoreError::not_found(KIND, id))?;
        entry.evaluation.lifecycle = lifecycle;
        Ok(())
    }
}

impl Entry {
    /// Finds everything that would make the batch fail, before anything is written.
    fn check(&self, batch: &Batch) -> Result<(), StoreError> {
        let evaluation = &self.evaluation;
        let conflict = |reason: String| Err(StoreError::conflict(KIND, evaluation.id, reason));
        if evaluation.lifecycle == Lifecycle::Deleted {
            return conflict("it is deleted".to_owned());
        }
        if evaluation.status != Status::Running {
            return conflict(format!("it is {} and takes no more writes", evaluation.status));
        }
        for (name, value) in &batch.params {
            match evaluation.params.get(name) {
                Some(old) if !same_param(old, value) => {
                    return conflict(format!("parameter {name:?} is {old}, not {value}"));
                }
                _ => {}
            }
        }
        if let Some(name) = batch.removed_tags.iter().find(|t| !evaluation.tags.contains_key(*t)) {
            return Err(StoreError::not_found("tag", name));
        }
        let mut added: BTreeMap<&SeriesKey, usize> = BTreeMap::new();
        for (key, _) in &batch.points {
            *added.entry(key).or_default() += 1;
        }
        for (key, added) in added {
            let given = self.points.get(key).map_or(0, BTreeSet::len) + added;
            if given > MAX_POINTS {
                let (given, limit) = (given as u64, MAX_POINTS as u64);
                return Err(StoreError::LimitExceeded { what: "points of a series", given, limit });
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &Batch) {
        for (key, point) in &batch.points {
            self.add(key, *point);
        }
        for (name, value) in &batch.params {
            self.evaluation.params.insert(name.clone(), value.clone());
        }
        self.evaluation.tags.extend(batch.tags.iter().cloned());
        self.evaluation.tags.retain(|name, _| !batch.removed_tags.contains(name));
        if let Some((status, at)) = batch.finish {
            self.evaluation.status = status;
            self.evaluation.ended_at = Some(at);
        }
    }

    fn add(&mut self, key: &SeriesKey, point: MetricPoint) {
        if !self.points.entry(key.clone()).or_default().insert(point) {
            return;
        }
        let series = &mut self.evaluation.series;
        let at = match series.binary_search_by(|summary| summary.key.cmp(key)) {
            Ok(at) => {
                series[at].add(point);
                at
            }
            Err(at) => {
                series.insert(at, SeriesSummary::first(key.clone(), point));
                at
            }
        };
        if key.context.is_empty() {
            self.evaluation.metrics.insert(key.metric.clone(), series[at].last.value);
        }
    }
}
