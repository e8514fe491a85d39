//! Joins predictions and outcomes by id: each pair once, whichever comes first.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use mlp_core::{PredictionId, VersionNumber};

use super::config::Truth;

/// A prediction that waits for its outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waiting {
    pub(super) version: VersionNumber,
    pub(super) cohort: u64,
    pub(super) predicted: Truth,
    /// The segments that it belongs to, a bit each.
    pub(super) segments: u64,
}

/// A prediction and its outcome.
pub(super) type Pair = (Waiting, Truth);

/// What is known under one id. Several versions may have seen the same request.
#[derive(Debug)]
struct Entry {
    truth: Option<Truth>,
    first: Option<Waiting>,
    /// The predictions of other versions, such as shadows.
    others: Vec<Waiting>,
}

/// What became of something that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    New,
    Duplicate,
}

/// What left the window: how often an outcome had found no prediction, and a prediction no outcome; and how many of either left before their
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Left {
    pub(super) lonely_outcomes: u64,
    pub(super) unlabelled: u64,
    pub(super) evicted: u64,
}

/// The open window of ids, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: HashMap<PredictionId, Entry>,
    arrivals: VecDeque<(Duration, PredictionId)>,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, id: PredictionId, now: Duration) -> &mut Entry {
        let arrivals = &mut self.arrivals;
        self.entries.entry(id).or_insert_with(|| {
            arrivals.push_back((now, id));
            Entry { truth: None, first: None, others: Vec::new() }
        })
    }

    pub(super) fn predict(
        &mut self,
        id: PredictionId,
        waiting: Waiting,
        now: Duration,
    ) -> (Arrival, Option<Pair>) {
        let entry = self.entry(id, now);
        if entry.first.iter().chain(&entry.others).any(|known| known.version == waiting.version) {
            return (Arrival::Duplicate, None);
        }
        match entry.first {
            None => entry.first = Some(waiting),
            Some(_) => entry.others.push(waiting),
        }
        (Arrival::New, entry.truth.map(|truth| (waiting, truth)))
    }

    pub(super) fn outcome(
        &mut self,
        id: PredictionId,
        truth: Truth,
        now: Duration,
        mut joined: impl FnMut(Pair),
    ) -> Arrival {
        let entry = self.entry(id, now);
        if entry.truth.is_some() {
            return Arrival::Duplicate;
        }
        entry.truth = Some(truth);
        entry.first.iter().chain(&entry.others).for_each(|waiting| joined((*waiting, truth)));
        Arrival::New
    }

    /// Forgets the predictions of a version, joined or not.
    pub(super) fn forget(&mut self, version: VersionNumber) {
        self.entries.retain(|_, entry| {
            let Some(first) = entry.first else { return true };
            entry.others.retain(|waiting| waiting.version != version);
            if first.version == version {
                entry.first = entry.others.pop();
            }
            entry.first.is_some()
        });
        self.arrivals.retain(|(_, id)| self.entries.contains_key(id));
    }

    /// Lets go of ids that came before `oldest`, and of the oldest ones beyond `limit`.
    pub(super) fn expire(&mut self, oldest: Duration, limit: usize) -> Left {
        let mut left = Left::default();
        while let Some(&(arrived, id)) = self.arrivals.front() {
            if arrived >= oldest && self.entries.len() <= limit {
                break;
            }
            self.arrivals.pop_front();
            let Some(entry) = self.entries.remove(&id) else { continue };
            let is_early = arrived >= oldest;
            match (entry.truth, entry.first) {
                (Some(_), None) if is_early => left.evicted += 1,
                (Some(_), None) => left.lonely_outcomes += 1,
                (None, Some(_)) if is_early => left.evicted += 1 + entry.others.len() as u64,
                (None, Some(_)) => left.unlabelled += 1 + entry.others.len() as u64,
                _ => {}
            }
        }
        left
    }
}
