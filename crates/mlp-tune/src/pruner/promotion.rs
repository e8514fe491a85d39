//! Successive halving in the variant that promotes trials.

use super::ladder::Ladder;
use super::{Decision, PruneRequest, Pruner, ResumeRequest, Verdict, rung, standing};
use crate::error::TuneError;
use crate::history::History;

/// Asynchronous successive halving with promotion (ASHA, Li et al. 2018): a trial that reaches a rung is paused unless it belongs to the best 1/η of
/// those that have reached it; it is taken up again as soon as it does, before a new trial starts, and the highest rung comes first.
///
/// No trial is lost by bad company at its start, as with the [stopping variant](super::HalvingPruner). Rung k lies at step `least · η^k`, below `most`, the last step. A
/// trial that is taken up runs its objective anew, so that this should go on from its [checkpoint](crate::Trial::checkpoint_folder). A budget of trials counts new ones: after the last
/// one, those that are worth it are still taken up. What is paused in the end stays so until the study goes on, or [`Study::prune_paused`](crate::Study::prune_paused) ends it.
///
/// With several objectives a trial is as good as the front it belongs to. Not for [ordered](crate::Study::with_order) studies: which trial goes on depends on what has ended.
///
/// ```
/// use mlp_core::{Dimension, Direction, SearchSpace};
/// use mlp_tune::{Budget, PromotionPruner, Study, TrialError};
///
/// let folder = tempfile::tempdir()?;
/// let space = SearchSpace::new([Dimension::float("x", -1.0, 1.0)])?;
/// let study = Study::new(space, Direction::Minimize)
///     .with_checkpoints(folder.path())
///     .with_pruner(PromotionPruner::new(1, 9, 3)?);
/// study.optimize(
///     |trial| {
///         let kept = trial.load_checkpoint("step")?;
///         let done = kept.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok()).unwrap_or(0);
///         let mut loss = f64::INFINITY;
///         for step in done + 1..=9 {
///             loss = trial.float("x")?.abs() + 1.0 / step as f64; // one more epoch
///             trial.save_checkpoint("step", step.to_string().as_bytes())?;
///             trial.report(step, loss)?;
///             if trial.should_prune()? {
///                 return Err(TrialError::Pruned);
///             }
///         }
///         Ok(loss)
///     },
///     Budget::trials(27),
/// )?;
/// let complete = study.trials()?.iter().filter(|trial| !trial.is_paused()).count();
/// // A third of 27 would be 9 if they were as good as each other; the sampler learns, so that later ones are better.
/// assert!((1..=18).contains(&complete), "{complete} of 27 came to the end");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PromotionPruner {
    least: i64,
    most: i64,
    reduction: i64,
    ladder: Ladder,
}

impl PromotionPruner {
    /// Rungs from step `least` on, each η = `reduction` times as far as the last, below `most`.
    ///
    /// # Errors
    /// If `least` is below 1, `most` below it, or `reduction` below 2.
    pub fn new(least: i64, most: i64, reduction: i64) -> Result<Self, TuneError> {
        if least < 1 {
            return Err(TuneError::setting("the least step", least, "at least 1"));
        }
        if most < least {
            return Err(TuneError::setting("the last step", most, "at least the first"));
        }
        if reduction < 2 {
            return Err(TuneError::setting("the reduction factor", reduction, "at least 2"));
        }
        Ok(Self { least, most, reduction, ladder: Ladder::default() })
    }

    /// The steps of the rungs.
    #[must_use]
    pub fn rungs(&self) -> Vec<i64> {
        let next = |step: &i64| step.checked_mul(self.reduction);
        let steps = std::iter::successors(Some(self.least), next);
        steps.take_while(|step| *step < self.most).collect()
    }

    /// Whether so many better ones among all that have reached a rung leave room for one more.
    fn is_worth_it(&self, better: usize, reached: usize) -> bool {
        better < reached / self.reduction as usize
    }
}

impl Pruner for PromotionPruner {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        let (step, values) = request.last_values();
        let first = rung::next(request.trial);
        for (rung, at) in (0..).zip(self.rungs()).skip(first as usize) {
            if step < at {
                break;
            }
            if values.iter().any(|value| value.is_nan()) {
                verdict.prune = Decision::Prune;
                break;
            }
            verdict.marks.insert(rung::mark(rung), rung::record(values));
            let (better, reached) = match (is_simple(&request.history), values) {
                (true, [value]) => {
                    let direction = request.directions()[0];
                    self.ladder.learn(&request.history);
                    (self.ladder.better(rung, direction, *value), self.ladder.reached(rung))
                }
                _ => {
                    let rivals = rung::rivals(&request.history, rung, |_| true);
                    let better = standing::better(request.directions(), &rivals, values);
                    (better, rivals.len())
                }
            };
            if !self.is_worth_it(better, reached + 1) {
                verdict.prune = Decision::Pause;
                break;
            }
        }
        verdict
    }

    fn pauses(&self) -> bool {
        true
    }

    fn resume(&mut self, request: &ResumeRequest<'_>) -> Option<u64> {
        let rungs = (0..self.rungs().len() as u32).rev();
        if !is_simple(&request.history) {
            return rungs.into_iter().find_map(|rung| self.worth_it_at(rung, request));
        }
        self.ladder.learn(&request.history);
        let worth_it = |rung| {
            let (number, better) = self.ladder.best_paused(rung)?;
            self.is_worth_it(better, self.ladder.reached(rung)).then_some(number)
        };
        rungs.into_iter().find_map(worth_it)
    }
}

/// Whether the trials stand in one line, with nothing that must not be looked at.
fn is_simple(history: &History<'_>) -> bool {
    history.horizon.is_none() && history.directions().len() == 1
}

impl PromotionPruner {
    /// The best trial that is paused at a rung, if it is worth going on with: by a look at all of them.
    fn worth_it_at(&self, rung: u32, request: &ResumeRequest<'_>) -> Option<u64> {
        let mark = rung::mark(rung);
        let all = rung::rivals(&request.history, rung, |_| true);
        let at_rung = request.paused.iter().filter(|trial| rung::next(trial) == rung + 1);
        let standing = at_rung.filter_map(|trial| {
            let own = rung::reached(trial, &mark)?;
            let directions = request.history.directions();
            let directions = &directions[..own.len().min(directions.len())];
            Some((standing::better(directions, &all, &own), trial.number))
        });
        let best = standing.min().filter(|(better, _)| self.is_worth_it(*better, all.len()));
        best.map(|(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mlp_core::{Direction, random};
    use serde_json::json;

    use super::*;
    use crate::store::TrialDraft;
    use crate::trial::{LEASE, TrialRecord, TrialState};

    /// A trial somewhere on the way up, with one of few values so that there are ties.
    fn somewhere(number: u64, stream: &mut random::ChaCha8Rng) -> Arc<TrialRecord> {
        use TrialState::{Complete, Failed, Pruned, Running};
        let state = [Running, Running, Running, Complete, Pruned, Failed];
        let mut record =
            TrialDraft::new(state[random::below(stream, 6) as usize]).into_record(number);
        let system = Arc::make_mut(&mut record.system);
        for rung in 0..random::below(stream, 4) as u32 {
            let value = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, 0.5, 2.0, f64::INFINITY];
            let value = value[random::below(stream, 7) as usize];
            system.insert(rung::mark(rung), rung::record(&[value]));
        }
        system.insert(LEASE.to_owned(), json!({"paused": random::below(stream, 3) > 0}));
        Arc::new(record)
    }

    #[test]
    fn the_ladder_says_what_a_look_at_all_trials_says() {
        let mut stream = random::stream(8, 0);
        let mut promoted = 0;
        for direction in [Direction::Minimize, Direction::Maximize] {
            let mut pruner = PromotionPruner::new(1, 27, 3).unwrap();
            let mut trials: Vec<Arc<TrialRecord>> = Vec::new();
            for step in 0..600 {
                // Now a new trial, now another state of one that is there; in the middle all begins anew.
                let place = random::below(&mut stream, trials.len() as u64 + 2) as usize;
                match trials.get_mut(place) {
                    Some(trial) => *trial = somewhere(place as u64, &mut stream),
                    None => trials.push(somewhere(trials.len() as u64, &mut stream)),
                }
                if step == 300 {
                    trials.truncate(5);
                }
                let directions = &[direction];
                let current = trials.len() as u64;
                let history = History { trials: &trials, current, horizon: None, directions };
                let paused: Vec<&TrialRecord> =
                    trials.iter().map(AsRef::as_ref).filter(|trial| trial.is_paused()).collect();
                let request = ResumeRequest { paused: &paused, history, study: "study" };
                let known = (0..3).rev().find_map(|rung| pruner.worth_it_at(rung, &request));
                assert_eq!(pruner.resume(&request), known);
                promoted += usize::from(known.is_some());
                for (rung, value) in (0..3).flat_map(|rung| [(rung, 0.0), (rung, 0.7)]) {
                    let rivals = rung::rivals(&history, rung, |_| true);
                    let better = standing::better(directions, &rivals, &[value]);
                    assert_eq!(pruner.ladder.better(rung, direction, value), better);
                    assert_eq!(pruner.ladder.reached(rung), rivals.len());
                }
            }
        }
        assert!((100..1_100).contains(&promoted), "{promoted}");
    }

    #[test]
    fn rungs_lie_below_the_last_step() {
        assert_eq!(PromotionPruner::new(1, 27, 3).unwrap().rungs(), [1, 3, 9]);
        assert_eq!(PromotionPruner::new(5, 5, 3).unwrap().rungs(), [0; 0]);
        assert!(PromotionPruner::new(0, 5, 3).is_err());
        assert!(PromotionPruner::new(5, 4, 3).is_err());
        assert!(PromotionPruner::new(1, 4, 1).is_err());
    }
}
