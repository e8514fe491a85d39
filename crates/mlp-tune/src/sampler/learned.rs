//! What a sampler has seen of a history that grows.

use crate::history::History;
use crate::trial::{TrialRecord, TrialState};

/// Follows a history, so that each trial is looked at when it has ended and not again.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Trials below this number were looked at.
    next: u64,
    /// Those among them that had not ended.
    open: Vec<u64>,
    /// One above the highest number that was handed out as ended.
    end: u64,
}

/// What is new in a history.
#[derive(Debug)]
pub(crate) struct News<'a> {
    /// Whether the history is not the continuation of what was seen before: what was made of that must be forgotten.
    pub(crate) afresh: bool,
    /// The trials that have ended since, in the order of their numbers unless trials ended late.
    pub(crate) ended: Vec<&'a TrialRecord>,
}

impl Learned {
    /// What has ended since the last call.
    pub(crate) fn news<'a>(&mut self, history: &History<'a>) -> News<'a> {
        let visible = history.trials.len() as u64;
        let visible = history.horizon.map_or(visible, |horizon| visible.min(horizon));
        // A trial that was enqueued early and starts late sees less than trials before it did.
        let afresh = self.end > visible;
        if afresh {
            *self = Self::default();
        }
        let looked_at = self.next;
        self.next = visible.max(self.next);
        let candidates = std::mem::take(&mut self.open);
        let mut ended = Vec::new();
        for number in candidates.into_iter().chain(looked_at..self.next) {
            let trial = &*history.trials[number as usize];
            if trial.state.is_finished() && number != history.current && number < visible {
                self.end = self.end.max(number + 1);
                ended.push(trial);
            } else {
                self.open.push(number);
            }
        }
        News { afresh, ended }
    }

    /// The trials that run beside the current one, right after [`news`](Self::news).
    pub(crate) fn running<'a>(
        &self,
        history: &History<'a>,
    ) -> impl Iterator<Item = &'a TrialRecord> + use<'a> {
        let numbers: Vec<u64> = match history.horizon {
            Some(horizon) => (horizon..history.current).collect(),
            None => self.open.clone(),
        };
        let (trials, current) = (history.trials, history.current);
        let ordered = history.horizon.is_some();
        numbers.into_iter().filter_map(move |number| {
            let trial = trials.get(number as usize)?;
            let runs = ordered || trial.state == TrialState::Running;
            (runs && number != current).then_some(&**trial)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mlp_core::Direction;

    use super::*;
    use crate::store::TrialDraft;

    fn trials(states: &[TrialState]) -> Vec<Arc<TrialRecord>> {
        let draft = |state: &TrialState| TrialDraft::new(*state);
        (0..).zip(states).map(|(k, state)| Arc::new(draft(state).into_record(k))).collect()
    }

    fn history(trials: &[Arc<TrialRecord>], horizon: Option<u64>, current: u64) -> History<'_> {
        History { trials, current, horizon, directions: &[Direction::Minimize] }
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
        let beside: Vec<_> = learned.running(&history(&one, None, 3)).map(|t| t.number).collect();
        assert_eq!(beside, [1]);
        let two = trials(&[Complete, Complete, Failed, Complete, Running]);
        assert_eq!(numbers(&learned.news(&history(&two, None, 4))), [1, 3]);
        assert_eq!(numbers(&learned.news(&history(&two, None, 4))), [0; 0]);
    }

    #[test]
    fn an_earlier_horizon_begins_afresh() {
        let four = trials(&[TrialState::Complete; 4]);
        let mut learned = Learned::default();
        assert_eq!(numbers(&learned.news(&history(&four, Some(3), 4))), [0, 1, 2]);
        assert_eq!(learned.running(&history(&four, Some(3), 4)).count(), 1);
        let news = learned.news(&history(&four, Some(2), 3));
        assert_eq!((news.afresh, numbers(&news)), (true, vec![0, 1]));
        let news = learned.news(&history(&four, Some(3), 4));
        assert_eq!((news.afresh, numbers(&news)), (false, vec![2]));
    }
}
