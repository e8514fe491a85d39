//! What a sampler has seen of a history that grows.

use std::borrow::Cow;
use std::sync::Arc;

use mlp_core::{Params, SearchSpace};
use serde::Deserialize;

use super::Request;
use crate::history::History;
use crate::trial::{SUGGESTED, TrialRecord, TrialState};

/// Follows a history, so that each trial is looked at when it has ended and not again.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Trials below this number were looked at.
    next: u64,
    /// Those among them that had not ended.
    open: Vec<Open>,
    /// One above the highest number that was handed out as ended.
    end: u64,
}

/// A trial that has not ended.
#[derive(Debug)]
struct Open {
    number: u64,
    /// As it was handed out as paused. As long as it is kept here, a trial that changes is another one in memory.
    paused: Option<Arc<TrialRecord>>,
}

/// What is new in a history.
#[derive(Debug)]
pub(crate) struct News<'a> {
    /// Whether the history is not the continuation of what was seen before: what was made of that must be forgotten.
    pub(crate) afresh: bool,
    /// The trials that have ended since, in the order of their numbers unless trials ended late.
    pub(crate) ended: Vec<&'a TrialRecord>,
    /// Trials that were handed out as paused and are so no more, or have come farther.
    pub(crate) withdrawn: Vec<u64>,
    /// The trials that a pruner has paused since.
    pub(crate) paused: Vec<&'a TrialRecord>,
}

impl Learned {
    /// What has ended, or was paused, since the last call.
    pub(crate) fn news<'a>(&mut self, history: &History<'a>) -> News<'a> {
        let visible = history.trials.len() as u64;
        let visible = history.horizon.map_or(visible, |horizon| visible.min(horizon));
        // A trial that was enqueued early and starts late sees less than trials before it did.
        let afresh = self.end > visible;
        if afresh {
            *self = Self::default();
        }
        let mut news =
            News { afresh, ended: Vec::new(), withdrawn: Vec::new(), paused: Vec::new() };
        let looked_at = self.next;
        self.next = visible.max(self.next);
        let candidates = std::mem::take(&mut self.open);
        let new = (looked_at..self.next).map(|number| Open { number, paused: None });
        for Open { number, paused } in candidates.into_iter().chain(new) {
            let trial = &history.trials[number as usize];
            if paused.as_ref().is_some_and(|known| Arc::ptr_eq(known, trial)) {
                self.open.push(Open { number, paused });
                continue;
            }
            news.withdrawn.extend(paused.map(|_| number));
            if trial.state.is_finished() && number != history.current && number < visible {
                self.end = self.end.max(number + 1);
                news.ended.push(trial);
                continue;
            }
            // An ordered study has none: what trials that have not ended have come to is nothing it may look at.
            let is_paused = history.horizon.is_none() && trial.is_paused();
            let paused = (is_paused && number != history.current).then(|| Arc::clone(trial));
            if paused.is_some() {
                news.paused.push(trial);
            }
            self.open.push(Open { number, paused });
        }
        news
    }

    /// Numbers and parameters of the trials that run beside the current one, right after [`news`](Self::news), without those that are paused.
    pub(crate) fn beside<'a>(
        &self,
        request: &Request<'a>,
    ) -> impl Iterator<Item = (u64, Cow<'a, Params>)> + use<'a> {
        let (history, declared) = (request.history, request.declared);
        let counts = |open: &&Open| open.paused.is_none();
        let numbers: Vec<u64> = match history.horizon {
            Some(horizon) => (horizon..history.current).collect(),
            None => self.open.iter().filter(counts).map(|open| open.number).collect(),
        };
        let (trials, current) = (history.trials, history.current);
        let ordered = history.horizon.is_some();
        numbers.into_iter().filter_map(move |number| {
            let trial = trials.get(number as usize)?;
            let runs = ordered || trial.state == TrialState::Running;
            let params = || match ordered {
                true => as_it_started(trial, declared),
                false => Cow::Borrowed(&*trial.params),
            };
            (runs && number != current).then(|| (number, params()))
        })
    }
}

/// The parameters of a trial that were known when it started: the declared ones, and what was proposed for those that it may choose. What it has chosen
/// by now is a matter of time.
fn as_it_started<'a>(trial: &'a TrialRecord, declared: &SearchSpace) -> Cow<'a, Params> {
    let is_declared = |name: &str| declared.dimensions().iter().any(|d| d.name == name);
    let proposed = trial.system.get(SUGGESTED);
    if proposed.is_none() && trial.params.iter().all(|(name, _)| is_declared(name)) {
        return Cow::Borrowed(&trial.params);
    }
    let mut params = Params::clone(&trial.params);
    params.retain(|name, _| is_declared(name));
    let proposed = proposed.and_then(|proposed| Params::deserialize(proposed).ok());
    for (name, value) in proposed.iter().flat_map(Params::iter) {
        params.insert(name, value.clone());
    }
    Cow::Owned(params)
}

#[cfg(test)]
mod tests {
    use mlp_core::Direction;
    use serde_json::json;

    use super::*;
    use crate::store::TrialDraft;
    use crate::trial::LEASE;

    fn trials(states: &[TrialState]) -> Vec<Arc<TrialRecord>> {
        let draft = |state: &TrialState| TrialDraft::new(*state);
        (0..).zip(states).map(|(k, state)| Arc::new(draft(state).into_record(k))).collect()
    }

    fn history(trials: &[Arc<TrialRecord>], horizon: Option<u64>, current: u64) -> History<'_> {
        History { trials, current, horizon, directions: &[Direction::Minimize] }
    }

    fn beside(learned: &Learned, history: History<'_>) -> Vec<u64> {
        let space = &SearchSpace::default();
        let request = Request { space, declared: space, history, seed: 0 };
        learned.beside(&request).map(|(number, _)| number).collect()
    }

    fn numbers(news: &News<'_>) -> Vec<u64> {
        news.ended.iter().map(|trial| trial.number).collect()
    }

    #[test]
    fn each_trial_is_handed_out_once_when_it_has_ended() {
        use TrialState::{Complete, Failed, Running};
        let mut learned = Learned::default();
        let one = trials(&[Complete, Running, Failed, Running]);
        let news = learned.news(&history(&one, None, 3));
        assert_eq!((news.afresh, numbers(&news)), (false, vec![0, 2]));
        assert_eq!(beside(&learned, history(&one, None, 3)), [1]);
        let two = trials(&[Complete, Complete, Failed, Complete, Running]);
        assert_eq!(numbers(&learned.news(&history(&two, None, 4))), [1, 3]);
        assert_eq!(numbers(&learned.news(&history(&two, None, 4))), [0; 0]);
    }

    #[test]
    fn a_paused_trial_is_handed_out_once_until_it_goes_on_comes_farther_or_ends() {
        use TrialState::{Complete, Running};
        let change = |trial: &mut Arc<TrialRecord>, paused: bool| {
            let system = &mut Arc::make_mut(trial).system;
            Arc::make_mut(system).insert(LEASE.to_owned(), json!({"paused": paused}));
        };
        let mut learned = Learned::default();
        let mut all = trials(&[Running, Running, Running]);
        change(&mut all[0], true);
        let mut seen = |all: &[Arc<TrialRecord>]| {
            let history = history(all, None, 2);
            let news = learned.news(&history);
            let paused: Vec<u64> = news.paused.iter().map(|trial| trial.number).collect();
            (news.withdrawn.clone(), paused, beside(&learned, history), numbers(&news))
        };
        let none = Vec::<u64>::new;
        assert_eq!(seen(&all), (none(), vec![0], vec![1], none()));
        assert_eq!(seen(&all), (none(), none(), vec![1], none()));
        change(&mut all[0], false);
        assert_eq!(seen(&all), (vec![0], none(), vec![0, 1], none()));
        change(&mut all[0], true);
        assert_eq!(seen(&all), (none(), vec![0], vec![1], none()));
        Arc::make_mut(&mut all[0]).reports.insert(3, 0.5);
        assert_eq!(seen(&all), (vec![0], vec![0], vec![1], none()));
        Arc::make_mut(&mut all[0]).state = Complete;
        assert_eq!(seen(&all), (vec![0], none(), vec![1], vec![0]));
    }

    #[test]
    fn an_earlier_horizon_begins_afresh() {
        let four = trials(&[TrialState::Complete; 4]);
        let mut learned = Learned::default();
        assert_eq!(numbers(&learned.news(&history(&four, Some(3), 4))), [0, 1, 2]);
        assert_eq!(beside(&learned, history(&four, Some(3), 4)), [3]);
        let news = learned.news(&history(&four, Some(2), 3));
        assert_eq!((news.afresh, numbers(&news)), (true, vec![0, 1]));
        let news = learned.news(&history(&four, Some(3), 4));
        assert_eq!((news.afresh, numbers(&news)), (false, vec![2]));
    }

    #[test]
    fn what_a_trial_has_chosen_meanwhile_does_not_show_in_an_ordered_study() {
        let declared = SearchSpace::new([mlp_core::Dimension::int("n", 1, 9)]).unwrap();
        let mut draft = TrialDraft::new(TrialState::Running);
        draft.params = Arc::new(Params::new().with("n", 3).with("x", 0.5).with("y", 0.25));
        let proposed = json!({"x": 0.75});
        draft.system = Arc::new([(SUGGESTED.to_owned(), proposed)].into());
        let trials = vec![Arc::new(draft.into_record(0))];
        for (horizon, expected) in [(None, "n=3, x=0.5, y=0.25"), (Some(0), "n=3, x=0.75")] {
            let history = history(&trials, horizon, 1);
            let request = Request { space: &declared, declared: &declared, history, seed: 0 };
            let mut learned = Learned::default();
            learned.news(&history);
            let beside: Vec<_> = learned.beside(&request).map(|(_, p)| p.to_string()).collect();
            assert_eq!(beside, [expected]);
        }
    }
}
