//! Parameters that were tried before.

use std::collections::HashMap;
use std::fmt::Write;

use mlp_core::{Dimension, Domain, ParamValue, Params, Scale, SearchSpace};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::axis;
use crate::history::History;
use crate::trial::{TrialRecord, TrialState};

/// What a study does when the sampler proposes parameters that it has tried, or is trying.
///
/// Two trials are the same if their parameters, the version of the data and that of the code are
/// ([`Study::with_inputs`](crate::Study::with_inputs)). Failed trials do not count: they may be tried again.
///
/// A proposal is known by the parameters that the space declares. Where trials choose more while they run
/// ([`Trial::suggest`](crate::Trial::suggest)), these alone do not say what is computed: declared parameters with which a trial has chosen
/// others are never a duplicate, so that they are run each time. As long as no such trial has been seen, one that runs counts by its
/// declared parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Duplicates {
    /// Runs them again: the scores of an objective may be noisy.
    #[default]
    Allow,
    /// Takes over the scores and constraints of the complete trial, as a trial of its own that costs nothing. What is running or was pruned is run again.
    Reuse,
    /// Asks the sampler again, up to a hundred times, then looks for a point that was not tried if the space can be counted; if there is none the
    /// duplicate is run.
    Resample,
    /// As `Resample`, but the study ends when nothing new is found ([`StopReason::Exhausted`](crate::StopReason::Exhausted)).
    Stop,
}

/// How often the sampler is asked for something new.
pub(super) const MAX_REDRAWS: u64 = 100;
/// The largest space that is looked through for a point that was not tried.
const MAX_POINTS: u64 = 100_000;

/// The trials by what they tried.
#[derive(Debug, Default)]
pub(super) struct Known {
    by_key: HashMap<String, Vec<u64>>,
    /// The trials below were taken in.
    next: usize,
    /// Those among them that lacked parameters yet, as they were enqueued.
    late: Vec<usize>,
}

impl Known {
    /// Takes in the trials since the last time.
    pub(super) fn learn(&mut self, space: &SearchSpace, trials: &[std::sync::Arc<TrialRecord>]) {
        let late = std::mem::take(&mut self.late);
        for number in late.into_iter().chain(self.next..trials.len()) {
            let trial = &trials[number];
            if is_incomplete(space, trial) {
                self.late.push(number);
            } else {
                let declared = trial.params.iter().filter_map(|(name, value)| {
                    let dimension = space.dimensions().iter().find(|d| d.name == name)?;
                    Some((name, axis::settled(&dimension.domain, value)))
                });
                let declared: Vec<_> = declared.collect();
                let params = declared.iter().map(|(name, value)| (*name, value));
                self.by_key.entry(key(params)).or_default().push(trial.number);
            }
        }
        self.next = trials.len();
    }

    /// The visible trial that tried, or tries, the same; a complete one rather than another.
    pub(super) fn find<'a>(
        &self,
        history: &History<'a>,
        params: &Params,
        inputs: Option<&Value>,
    ) -> Option<&'a TrialRecord> {
        let same = self.by_key.get(&key(params.iter()))?;
        // In an ordered study what lies beyond the horizon counts as running, whatever became of it.
        let has_ended = |trial: &TrialRecord| history.horizon.is_none_or(|h| trial.number < h);
        let others = same.iter().filter(|number| **number != history.current);
        let others = others.filter_map(|&number| history.trials.get(number as usize));
        // Not part of the key: a trial that goes on in another study may do so with others.
        let others = others.filter(|trial| trial.inputs() == inputs);
        // What an unfinished trial has chosen so far is, in an ordered study, nothing to look at.
        let has_chosen =
            |trial: &TrialRecord| has_ended(trial) && trial.params.len() > params.len();
        if others.clone().any(|trial| has_chosen(trial)) {
            return None;
        }
        let visible = others.filter_map(|trial| {
            let trial = trial.as_ref();
            let failed = trial.state == TrialState::Failed && has_ended(trial);
            (!failed).then_some(trial)
        });
        let has_result =
            |trial: &&TrialRecord| trial.state == TrialState::Complete && has_ended(trial);
        visible.clone().find(has_result).or_else(|| { visible }.next())
    }
}

/// Whether a trial has yet to get parameters of the space: it is enqueued, or was a moment ago.
fn is_incomplete(space: &SearchSpace, trial: &TrialRecord) -> bool {
    let lacks = |dimension: &Dimension| {
        dimension.is_active(&trial.params) && trial.params.get(&dimension.name).is_none()
    };
    !trial.state.is_finished() && space.dimensions().iter().any(lacks)
}

/// The parameters as text that is the same for the same ones: 1 and 1.0 differ, 0.0 and -0.0 do not.
fn key<'a>(params: impl Iterator<Item = (&'a str, &'a ParamValue)>) -> String {
    let mut key = String::new();
    for (name, value) in params {
        let _ = match value {
            // Adding zero makes a positive one of a negative one.
            ParamValue::Float(value) => write!(key, "{name:?}={:?};", value + 0.0),
            value => write!(key, "{name:?}={value:?};"),
        };
    }
    key
}

/// The first point of a space that is not known, in the order of its dimensions; none if all are, or the space is too large to look.
pub(super) fn first_new(space: &SearchSpace, is_known: impl Fn(&Params) -> bool) -> Option<Params> {
    let values: Option<Vec<Vec<ParamValue>>> =
        space.dimensions().iter().map(|d| values(&d.domain)).collect();
    let values = values?;
    let points = values.iter().try_fold(1_u64, |n, v| n.checked_mul(v.len() as u64));
    points.filter(|points| *points <= MAX_POINTS)?;
    let mut place = vec![0; values.len()];
    loop {
        let mut params = Params::new();
        for ((dimension, values), &place) in space.dimensions().iter().zip(&values).zip(&place) {
            if dimension.is_active(&params) {
                params.insert(dimension.name.as_str(), values[place].clone());
            }
        }
        if !is_known(&params) {
            return Some(params);
        }
        let digit = (0..place.len()).rev().find(|&digit| place[digit] + 1 < values[digit].len())?;
        place[digit] += 1;
        place[digit + 1..].fill(0);
    }
}

/// All values of a domain; none if it is a continuum, or has too many.
fn values(domain: &Domain) -> Option<Vec<ParamValue>> {
    let count = domain.cardinality().filter(|count| *count <= MAX_POINTS)?;
    Some(match domain {
        Domain::Categorical { choices } => choices.clone(),
        Domain::Int { low, step, .. } => {
            (0..count as i64).map(|k| ParamValue::Int(low + k * step)).collect()
        }
        Domain::Float { low, high, step, scale: Scale::Linear | Scale::Log } => {
            let step = step.unwrap_or(high - low);
            (0..count).map(|k| ParamValue::Float(low + k as f64 * step)).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_types_apart_but_not_the_sign_of_zero() {
        let with = |value: ParamValue| key(Params::new().with("x", value).iter());
        assert_eq!(with(0.0.into()), with((-0.0).into()));
        let keys = [with(1.into()), with(1.0.into()), with("1".into()), with(true.into())];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn a_space_that_can_be_counted_is_looked_through() {
        let space = SearchSpace::new([
            Dimension::categorical("kind", ["a", "b"]),
            Dimension::stepped_float("x", 0.0, 1.0, 0.5).when("kind", ["b"]),
        ]);
        let (space, mut known) = (space.unwrap(), Vec::<Params>::new());
        while let Some(new) = first_new(&space, |params| known.contains(params)) {
            assert!(space.contains(&new));
            known.push(new);
        }
        assert_eq!(known.len(), 4);
        let continuum = SearchSpace::new([Dimension::float("x", 0.0, 1.0)]).unwrap();
        assert_eq!(first_new(&continuum, |_| false), None);
    }
}
