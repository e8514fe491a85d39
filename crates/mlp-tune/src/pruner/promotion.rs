//! Successive halving in the variant that promotes trials.

use super::{Decision, PruneRequest, Pruner, ResumeRequest, Verdict, rung, standing};
use crate::error::TuneError;
use crate::trial::TrialRecord;

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
        Ok(Self { least, most, reduction })
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
            let rivals = rung::rivals(&request.history, rung, |_| true);
            verdict.marks.insert(rung::mark(rung), rung::record(values));
            let better = standing::better(request.directions(), &rivals, values);
            if !self.is_worth_it(better, rivals.len() + 1) {
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
        for rung in (0..self.rungs().len() as u32).rev() {
            let mark = rung::mark(rung);
            let values = |trial: &TrialRecord| rung::reached(trial, &mark);
            let all = rung::rivals(&request.history, rung, |_| true);
            let at_rung = request.paused.iter().filter(|trial| rung::next(trial) == rung + 1);
            let standing = at_rung.filter_map(|trial| {
                let own = values(trial)?;
                let directions = request.history.directions();
                let directions = &directions[..own.len().min(directions.len())];
                Some((standing::better(directions, &all, &own), trial.number))
            });
            let best = standing.min().filter(|(better, _)| self.is_worth_it(*better, all.len()));
            if let Some((_, number)) = best {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_lie_below_the_last_step() {
        assert_eq!(PromotionPruner::new(1, 27, 3).unwrap().rungs(), [1, 3, 9]);
        assert_eq!(PromotionPruner::new(5, 5, 3).unwrap().rungs(), [0; 0]);
        assert!(PromotionPruner::new(0, 5, 3).is_err());
        assert!(PromotionPruner::new(5, 4, 3).is_err());
        assert!(PromotionPruner::new(1, 4, 1).is_err());
    }
}
