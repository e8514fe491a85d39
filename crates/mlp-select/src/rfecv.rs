//! How many features to keep: recursive elimination inside folds, scored at every size.

use std::fmt;
use std::sync::Arc;

use mlp_core::{Estimator, Samples, choose_columns};
use serde::{Deserialize, Serialize};

use crate::error::{FoldError, SelectError, setting};
use crate::guard;
use crate::rfe::{Elimination, Rfe, Step};
use crate::rule::{Candidate, Rule};
use crate::scorer::Scorer;
use crate::split::{Fold, Split};
use crate::validate::{CrossValidation, Summary, fold_seed};

/// Finds how many features to keep: eliminates inside each fold, scores every size on the rows held out, and eliminates on all rows down to
/// the size that was best.
///
/// As scikit-learn's `RFECV` (1.9) with ties within 1e-12 going to the fewest features, so that rounding decides nothing. With
/// [`Rule::OneStandardError`] the fewest features within one standard error of the best size are kept.
#[derive(Debug, Clone)]
pub struct RfeCv {
    estimator: Arc<dyn Estimator>,
    scorer: Arc<dyn Scorer>,
    step: Step,
    min_features: usize,
    rule: Rule,
}

impl RfeCv {
    /// Drops one feature at a time, down to one, and takes the best size.
    pub fn new(estimator: Arc<dyn Estimator>, scorer: impl Scorer + 'static) -> Self {
        Self {
            estimator,
            scorer: Arc::new(scorer),
            step: Step::Count(1),
            min_features: 1,
            rule: Rule::Best,
        }
    }

    /// Sets how many features go at once.
    #[must_use]
    pub fn with_step(mut self, step: Step) -> Self {
        self.step = step;
        self
    }

    /// Sets the fewest features to try.
    #[must_use]
    pub fn with_min_features(mut self, count: usize) -> Self {
        self.min_features = count;
        self
    }

    /// Sets when fewer features are good enough.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// The numbers of features that will be tried on `n` of them, ascending.
    ///
    /// # Errors
    /// If the step or the fewest features are out of range.
    pub fn sizes(&self, n: usize) -> Result<Vec<usize>, SelectError> {
        if self.min_features == 0 || self.min_features > n {
            return Err(setting(
                "the fewest features",
                self.min_features,
                format!("from 1 to {n}, the number of features"),
            ));
        }
        let step = self.step.count(n)?;
        let next = |&size: &usize| {
            (size > self.min_features).then(|| size.saturating_sub(step).max(self.min_features))
        };
        let mut sizes: Vec<usize> = std::iter::successors(Some(n), next).collect();
        sizes.reverse();
        Ok(sizes)
    }

    /// How many fits a run on `n` features and some folds takes at most: what it will cost, before it starts.
    ///
    /// # Errors
    /// As [`sizes`](Self::sizes).
    pub fn fits(&self, n: usize, folds: usize) -> Result<usize, SelectError> {
        // A fold fits once a size, to rank and to score; all rows are ranked once at the end.
        Ok(self.sizes(n)?.len() * (folds + 1))
    }

    /// Runs the elimination inside each fold, then on all rows.
    ///
    /// # Errors
    /// If a setting is out of range, there are too few folds for the rule, a fold fails, or no size has a score in every fold.
    pub fn run(
        &self,
        data: &Samples<'_>,
        split: &dyn Split,
        validation: &CrossValidation,
    ) -> Result<RfeCvReport, SelectError> {
        let sizes = self.sizes(data.n_features())?;
        if matches!(self.rule, Rule::CostBenefit { .. }) {
            return Err(setting("the rule", "cost-benefit", "one that needs no cost of a model"));
        }
        let folds = split.split(data)?;
        self.rule.check_folds(folds.len())?;
        validation.check_leak(data, &folds)?;
        // The elimination on all rows goes down to the fewest features beside the folds, and is cut off at the number chosen.
        let unit = |k: usize| match folds.get(k) {
            Some(fold) => {
                self.score_fold(data, fold, fold_seed(validation.seed, k), &sizes).map(Unit::Scores)
            }
            None => Ok(Unit::All(self.rfe(sizes[0]).eliminate(data, validation.seed)?)),
        };
        let mut results = validation.in_parallel(folds.len() + 1, unit)?;
        let all = results.pop();
        let mut scores = vec![Vec::with_capacity(folds.len()); sizes.len()];
        for (fold, result) in results.into_iter().enumerate() {
            if let Unit::Scores(of_fold) = result.map_err(|error| error.in_fold(fold))? {
                scores.iter_mut().zip(of_fold).for_each(|(scores, score)| scores.push(score));
            }
        }
        let candidates: Vec<Candidate<'_>> = scores
            .iter()
            .map(|scores| Candidate {
                name: "",
                scores: scores.iter().copied().map(Some).collect(),
                cost: None,
            })
            .collect();
        let choice = self.rule.choose_on(self.scorer.direction(), &candidates, &folds);
        let metric = self.scorer.name().to_owned();
        let choice = choice.ok_or_else(|| SelectError::NoScores {
            what: "number of features",
            metric: metric.clone(),
        })?;
        let elimination = match all.transpose().map_err(|error| error.in_fold(folds.len()))? {
            Some(Unit::All(elimination)) => elimination.cut_off_at(sizes[choice.chosen]),
            _ => self.rfe(sizes[choice.chosen]).eliminate(data, validation.seed)?,
        };
        let curve = sizes
            .into_iter()
            .zip(scores)
            .map(|(features, scores)| SizeScores { features, scores })
            .collect();
        Ok(RfeCvReport { metric, curve, chosen: choice.chosen, best: choice.best, elimination })
    }

    fn rfe(&self, keep: usize) -> Rfe {
        Rfe::new(Arc::clone(&self.estimator), keep).with_step(self.step)
    }

    /// The score of each size on the rows that a fold holds out, smallest size first: of the very models that the elimination fits.
    fn score_fold(
        &self,
        data: &Samples<'_>,
        fold: &Fold,
        seed: u64,
        sizes: &[usize],
    ) -> Result<Vec<f64>, SizeError> {
        let train = data.with_rows(&fold.train).map_err(FoldError::from)?;
        let test = data.with_rows(&fold.test).map_err(FoldError::from)?;
        let held_out = test.features();
        let mut scores = Vec::with_capacity(sizes.len());
        self.rfe(sizes[0]).eliminate_watched(&train, seed, |columns, model| {
            let rows = choose_columns(held_out.view(), columns);
            let predictions = guard::predict(model, rows.view()).map_err(FoldError::from)?;
            scores.push(guard::score(&*self.scorer, &test, predictions.view())?);
            Ok::<(), SizeError>(())
        })?;
        scores.reverse();
        Ok(scores)
    }
}

/// What one unit of the work comes to.
enum Unit {
    /// The score of each size in a fold.
    Scores(Vec<f64>),
    /// The elimination on all rows.
    All(Elimination),
}

/// A fold that failed, before it is known which one it was.
enum SizeError {
    Select(SelectError),
    Fold(FoldError),
}

impl SizeError {
    fn in_fold(self, fold: usize) -> SelectError {
        match self {
            Self::Select(error) => error,
            Self::Fold(cause) => SelectError::Fold { fold, cause },
        }
    }
}

impl From<SelectError> for SizeError {
    fn from(error: SelectError) -> Self {
        Self::Select(error)
    }
}

impl From<FoldError> for SizeError {
    fn from(error: FoldError) -> Self {
        Self::Fold(error)
    }
}

/// The scores of one number of features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizeScores {
    /// How many features.
    pub features: usize,
    /// The score of each fold.
    pub scores: Vec<f64>,
}

/// What came of finding the number of features.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RfeCvReport {
    /// The metric that decided.
    pub metric: String,
    /// The scores of each number of features, ascending.
    pub curve: Vec<SizeScores>,
    /// The position in the curve of the number chosen.
    pub chosen: usize,
    /// The position in the curve of the number with the best mean.
    pub best: usize,
    /// The elimination on all rows, down to the number chosen.
    pub elimination: Elimination,
}

impl RfeCvReport {
    /// How many features were chosen.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.curve[self.chosen].features
    }
}

impl fmt::Display for RfeCvReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} {:>12} {:>10}", "features", self.metric, "std error")?;
        for (i, size) in self.curve.iter().enumerate() {
            write!(f, "\n{:>8}", size.features)?;
            match Summary::of(&size.scores) {
                Some(summary) => {
                    write!(f, " {:>12.4} {:>10.4}", summary.mean, summary.standard_error)?
                }
                None => write!(f, " {:>12} {:>10}", "undefined", "-")?,
            }
            if i == self.chosen {
                write!(f, "  <- chosen")?;
            } else if i == self.best {
                write!(f, "  <- best")?;
            }
        }
        Ok(())
    }
}
