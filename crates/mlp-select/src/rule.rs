//! Which of several candidates, ordered from simple to complex, to take.

use mlp_core::Direction;
use mlp_stats::{corrected_resampled_t, student_t_tail};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::split::Fold;
use crate::validate::Summary;

/// Means closer than this are equal: a difference of rounding decides nothing.
pub(crate) const TIE: f64 = 1e-12;

/// When a simpler candidate is good enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rule {
    /// Never: take the best mean, the simplest of equal ones.
    Best,
    /// If its mean is within one standard error of the best one's (Breiman, Friedman, Olshen and Stone 1984, section 3.4.3).
    #[default]
    OneStandardError,
    /// If its mean is worse by no more than this.
    Tolerance(f64),
    /// Unless a more complex one brings at least this much score for every unit of what it costs more (see [`Cost`]); each candidate is
    /// compared with the one taken so far.
    CostBenefit {
        /// What is paid.
        cost: Cost,
        /// How much score a unit must bring, above 0.
        worth: f64,
    },
    /// Unless the best one is significantly better at this level, by the one-sided corrected resampled t-test (Nadeau and Bengio 2003). Needs two
    /// folds.
    CorrectedT(f64),
}

/// What a more complex candidate costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Microseconds to predict a row, as measured.
    MicrosecondsPerRow,
    /// Bytes of the largest model.
    Bytes,
}

/// One candidate: the score of each fold, missing where it failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The score of each fold.
    pub scores: Vec<Option<f64>>,
    /// What it costs, for [`Rule::CostBenefit`]; a candidate without a cost is passed over by that rule.
    pub cost: Option<f64>,
}

/// Which candidate a rule takes, and what it was compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The position of the candidate taken.
    pub chosen: usize,
    /// The position of the candidate with the best mean.
    pub best: usize,
    /// By how much the best one is better than the one taken: at least 0.
    pub gap: f64,
    /// What the rule allowed: one standard error, or the tolerance; none for a test.
    pub allowed: Option<f64>,
}

impl Rule {
    /// Takes the first candidate, in the order given, that is not worse than the best one by this rule.
    ///
    /// A candidate with a missing score or one that is not a number is passed over. `n_train` and `n_test` are the sizes of a fold, which the
    /// corrected t-test needs; for folds of different sizes there is [`choose_on`](Self::choose_on). None if every candidate is passed over.
    ///
    /// Where the test cannot be computed (a single fold, an infinite score), nothing says that the simpler candidate is good enough: it is not
    /// taken.
    #[must_use]
    pub fn choose(
        &self,
        direction: Direction,
        candidates: &[Candidate<'_>],
        n_train: usize,
        n_test: usize,
    ) -> Option<Choice> {
        self.choose_by(direction, candidates, n_test as f64 / n_train as f64)
    }

    /// As [`choose`](Self::choose), on the folds that gave the scores: the corrected t-test takes the mean of their ratios of tested to trained
    /// rows.
    #[must_use]
    pub fn choose_on(
        &self,
        direction: Direction,
        candidates: &[Candidate<'_>],
        folds: &[Fold],
    ) -> Option<Choice> {
        let ratios = folds.iter().map(|fold| fold.test.len() as f64 / fold.train.len() as f64);
        self.choose_by(direction, candidates, ratios.sum::<f64>() / folds.len() as f64)
    }

    /// Refuses fewer folds than the rule can decide by.
    pub(crate) fn check_folds(&self, folds: usize) -> Result<(), SelectError> {
        match self {
            Self::CorrectedT(_) if folds < 2 => {
                Err(setting("the number of folds for the corrected t-test", folds, "at least 2"))
            }
            _ => Ok(()),
        }
    }

    fn choose_by(
        &self,
        direction: Direction,
        candidates: &[Candidate<'_>],
        ratio: f64,
    ) -> Option<Choice> {
        let scores: Vec<Option<Vec<f64>>> =
            candidates.iter().map(|c| c.scores.iter().copied().collect()).collect();
        let summaries: Vec<Option<Summary>> =
            scores.iter().map(|scores| Summary::of(scores.as_ref()?)).collect();
        let means: Vec<Option<f64>> =
            summaries.iter().map(|summary| summary.map(|s| oriented(direction, s.mean))).collect();
        let (_, top) = Direction::Maximize.best(means.iter().copied())?;
        let best = means.iter().position(|mean| mean.is_some_and(|mean| mean >= top - TIE))?;
        let top = means[best]?;
        let allowed = match *self {
            Self::Best | Self::CorrectedT(_) | Self::CostBenefit { .. } => None,
            Self::OneStandardError => Some(summaries[best]?.standard_error),
            Self::Tolerance(by) => Some(by),
        };
        if let Self::CostBenefit { worth, .. } = *self {
            let chosen = worth_its_cost(&means, candidates, worth)?;
            return Some(Choice { chosen, best, gap: (top - means[chosen]?).max(0.0), allowed });
        }
        let is_good_enough = |i: usize| match *self {
            Self::CorrectedT(alpha) => {
                let (Some(best), Some(other)) = (&scores[best], &scores[i]) else { return false };
                p_value(direction, best, other, ratio).is_some_and(|p| p >= alpha)
            }
            _ => means[i].is_some_and(|mean| mean >= top - allowed.unwrap_or(0.0) - TIE),
        };
        let chosen = (0..best).find(|&i| means[i].is_some() && is_good_enough(i)).unwrap_or(best);
        Some(Choice { chosen, best, gap: (top - means[chosen]?).max(0.0), allowed })
    }
}

/// Climbs from one candidate to the next as long as the score gained is worth what it costs.
fn worth_its_cost(
    means: &[Option<f64>],
    candidates: &[Candidate<'_>],
    worth: f64,
) -> Option<usize> {
    let known = |i: usize| Some((means[i]?, candidates[i].cost?));
    let mut chosen: Option<(usize, f64, f64)> = None;
    for i in 0..candidates.len() {
        let Some((mean, cost)) = known(i) else { continue };
        let is_worth_it = chosen.is_none_or(|(_, taken, paid)| {
            mean - taken > TIE && mean - taken >= worth * (cost - paid)
        });
        if is_worth_it {
            chosen = Some((i, mean, cost));
        }
    }
    chosen.map(|(i, ..)| i)
}

/// The score such that more is better.
pub(crate) fn oriented(direction: Direction, score: f64) -> f64 {
    match direction {
        Direction::Maximize => score,
        Direction::Minimize => -score,
    }
}

/// How likely the best one would lead by so much if it were no better, where folds test `ratio` times as many rows as they learn from; none if
/// that cannot be computed.
fn p_value(direction: Direction, best: &[f64], other: &[f64], ratio: f64) -> Option<f64> {
    let oriented =
        |scores: &[f64]| scores.iter().map(|&score| oriented(direction, score)).collect::<Vec<_>>();
    let test = corrected_resampled_t(&oriented(best), &oriented(other), 1, 1).ok()?;
    // The test takes the sizes of one fold; the ratio, here 1, is a factor of its variance and nothing else.
    let n = best.len() as f64;
    let t = test.t * ((1.0 / n + 1.0) / (1.0 / n + ratio)).sqrt();
    (ratio.is_finite() && ratio > 0.0).then(|| student_t_tail(t, n - 1.0))
}
