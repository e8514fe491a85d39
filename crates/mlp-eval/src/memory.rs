//! The store without a disk.

use std::collections::{BTreeMap, BTreeSet};

use mlp_core::{EvaluationId, StoreError};
use parking_lot::RwLock;

use crate::batch::{Batch, check_experiment, same_param};
use crate::evaluation::{Evaluation, Experiment, Lifecycle, NewEvaluation, Status};
use crate::filter::Filter;
use crate::query::{Page, PageToken, Query, View};
use crate::retention::hold_of;
use crate::series::{MAX_POINTS, MetricPoint, SeriesKey, SeriesSummary};
use crate::store::EvalStore;

/// Keeps evaluations in memory: for tests, examples, and runs whose results are exported. Queries read every evaluation.
#[derive(Debug, Default)]
pub struct InMemoryEvalStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    evaluations: BTreeMap<EvaluationId, Entry>,
    experiments: BTreeMap<String, Lifecycle>,
}

#[derive(Debug)]
struct Entry {
    evaluation: Evaluation,
    /// It went to the bin with its experiment, and comes back with it.
    follows_experiment: bool,
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
const EXPERIMENT: &str = "experiment";

impl EvalStore for InMemoryEvalStore {
    fn create_with(&self, new: &NewEvaluation, first: &Batch) -> Result<(), StoreError> {
        new.check()?;
        first.check()?;
        let mut state = self.state.write();
        if state.evaluations.contains_key(&new.id) {
            return Err(StoreError::conflict(KIND, new.id, "the id is taken"));
        }
        let mut entry = Entry {
            evaluation: Evaluation::from_new(new),
            follows_experiment: false,
            points: BTreeMap::new(),
        };
        for (name, value) in new.metrics.iter() {
            entry.add(&SeriesKey::new(name), MetricPoint::new(0, new.started_at, value));
        }
        entry.check(first)?;
        entry.apply(first);
        if state.experiments.get(&new.experiment) == Some(&Lifecycle::Deleted) {
            return Err(in_bin(&new.experiment));
        }
        state.experiments.insert(new.experiment.clone(), Lifecycle::Active);
        state.evaluations.insert(new.id, entry);
        Ok(())
    }

    fn write(&self, id: EvaluationId, batch: &Batch) -> Result<(), StoreError> {
        batch.check()?;
        let mut state = self.state.write();
        let entry = state.entry(id)?;
        entry.check(batch)?;
        entry.apply(batch);
        Ok(())
    }

    fn get(&self, id: EvaluationId) -> Result<Evaluation, StoreError> {
        let state = self.state.read();
        let entry = state.evaluations.get(&id).ok_or_else(|| StoreError::not_found(KIND, id))?;
        Ok(entry.evaluation.clone())
    }

    fn series(&self, id: EvaluationId, key: &SeriesKey) -> Result<Vec<MetricPoint>, StoreError> {
        let state = self.state.read();
        let entry = state.evaluations.get(&id).ok_or_else(|| StoreError::not_found(KIND, id))?;
        Ok(entry.points.get(key).into_iter().flatten().copied().collect())
    }

    fn query(&self, query: &Query) -> Result<Page, StoreError> {
        query.check()?;
        let state = self.state.read();
        let mut found: Vec<_> = state
            .evaluations
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
        let mut evaluations: Vec<_> = found.into_iter().map(|(_, e)| e.clone()).collect();
        evaluations.iter_mut().for_each(|evaluation| query.projection.apply(evaluation));
        Ok(Page { evaluations, next })
    }

    fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        filter.check()?;
        let state = self.state.read();
        let active = state.evaluations.values().map(|entry| &entry.evaluation);
        let matching =
            active.filter(|e| e.lifecycle == Lifecycle::Active && filter.matches(e)).count();
        Ok(matching as u64)
    }

    fn delete(&self, id: EvaluationId) -> Result<(), StoreError> {
        let mut state = self.state.write();
        let entry = state.entry(id)?;
        entry.evaluation.lifecycle = Lifecycle::Deleted;
        entry.follows_experiment = false;
        Ok(())
    }

    fn restore(&self, id: EvaluationId) -> Result<(), StoreError> {
        let mut state = self.state.write();
        let experiment = state.entry(id)?.evaluation.experiment.clone();
        if state.experiments.get(&experiment) == Some(&Lifecycle::Deleted) {
            return Err(in_bin(&experiment));
        }
        state.entry(id)?.evaluation.lifecycle = Lifecycle::Active;
        Ok(())
    }

    fn purge(&self, id: EvaluationId) -> Result<(), StoreError> {
        let mut state = self.state.write();
        if state.entry(id)?.evaluation.lifecycle == Lifecycle::Active {
            return Err(StoreError::conflict(KIND, id, "it is in use: delete it first"));
        }
        state.entry(id)?.check_free()?;
        state.evaluations.remove(&id);
        Ok(())
    }

    fn create_experiment(&self, name: &str) -> Result<(), StoreError> {
        check_experiment(name)?;
        let mut state = self.state.write();
        if state.experiments.contains_key(name) {
            return Err(StoreError::conflict(EXPERIMENT, name, "the name is taken"));
        }
        state.experiments.insert(name.to_owned(), Lifecycle::Active);
        Ok(())
    }

    fn experiments(&self, view: View) -> Result<Vec<Experiment>, StoreError> {
        let state = self.state.read();
        let shown = state.experiments.iter().filter(|(_, lifecycle)| view.shows(**lifecycle));
        Ok(shown.map(|(name, &lifecycle)| Experiment { name: name.clone(), lifecycle }).collect())
    }

    fn delete_experiment(&self, name: &str) -> Result<(), StoreError> {
        let mut state = self.state.write();
        *state.experiment(name)? = Lifecycle::Deleted;
        for entry in state.of_experiment(name) {
            if entry.evaluation.lifecycle == Lifecycle::Active {
                entry.evaluation.lifecycle = Lifecycle::Deleted;
                entry.follows_experiment = true;
            }
        }
        Ok(())
    }

    fn restore_experiment(&self, name: &str) -> Result<(), StoreError> {
        let mut state = self.state.write();
        *state.experiment(name)? = Lifecycle::Active;
        for entry in state.of_experiment(name) {
            if std::mem::take(&mut entry.follows_experiment) {
                entry.evaluation.lifecycle = Lifecycle::Active;
            }
        }
        Ok(())
    }

    fn purge_experiment(&self, name: &str) -> Result<(), StoreError> {
        let mut state = self.state.write();
        if *state.experiment(name)? == Lifecycle::Active {
            return Err(StoreError::conflict(EXPERIMENT, name, "it is in use: delete it first"));
        }
        state.of_experiment(name).try_for_each(|entry| entry.check_free())?;
        state.experiments.remove(name);
        state.evaluations.retain(|_, entry| entry.evaluation.experiment != name);
        Ok(())
    }
}

fn in_bin(experiment: &str) -> StoreError {
    StoreError::conflict(EXPERIMENT, experiment, "it is in the bin")
}

impl State {
    fn entry(&mut self, id: EvaluationId) -> Result<&mut Entry, StoreError> {
        self.evaluations.get_mut(&id).ok_or_else(|| StoreError::not_found(KIND, id))
    }

    fn experiment(&mut self, name: &str) -> Result<&mut Lifecycle, StoreError> {
        self.experiments.get_mut(name).ok_or_else(|| StoreError::not_found(EXPERIMENT, name))
    }

    fn of_experiment<'a>(&'a mut self, name: &'a str) -> impl Iterator<Item = &'a mut Entry> {
        self.evaluations.values_mut().filter(move |entry| entry.evaluation.experiment == name)
    }
}

impl Entry {
    /// Finds everything that would make the batch fail, before anything is written.
    fn check(&self, batch: &Batch) -> Result<(), StoreError> {
        let evaluation = &self.evaluation;
        let conflict = |reason: String| Err(StoreError::conflict(KIND, evaluation.id, reason));
        if batch.only_holds() {
            return self.check_removed(batch);
        }
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
        self.check_removed(batch)?;
        let mut added: BTreeMap<&SeriesKey, BTreeSet<MetricPoint>> = BTreeMap::new();
        for (key, point) in &batch.points {
            if !self.points.get(key).is_some_and(|known| known.contains(point)) {
                added.entry(key).or_default().insert(*point);
            }
        }
        for (key, added) in added {
            let given = self.points.get(key).map_or(0, BTreeSet::len) + added.len();
            if given > MAX_POINTS {
                let (given, limit) = (given as u64, MAX_POINTS as u64);
                let what = format!("points of the series {key}");
                return Err(StoreError::limit_exceeded(what, given, limit));
            }
        }
        Ok(())
    }

    fn check_removed(&self, batch: &Batch) -> Result<(), StoreError> {
        let tags = &self.evaluation.tags;
        match batch.removed_tags.iter().find(|tag| !tags.contains_key(*tag)) {
            Some(name) => Err(StoreError::not_found("tag", name)),
            None => Ok(()),
        }
    }

    /// Refuses if somebody holds the evaluation.
    fn check_free(&self) -> Result<(), StoreError> {
        let evaluation = &self.evaluation;
        match hold_of(|name| evaluation.tags.get(name).map(String::as_str)) {
            Some(reason) => Err(StoreError::conflict(KIND, evaluation.id, reason)),
            None => Ok(()),
        }
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
