//! Cross-validation: fit on some rows, score on the others, fold by fold.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use mlp_core::{
    Complexity, Direction, Estimator, FittedModel, Metrics, Samples, catch_panic, random,
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::{FoldError, SelectError, setting};
use crate::guard;
use crate::scorer::Scorer;
use crate::split::{Fold, Split};

/// How to cross-validate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CrossValidation {
    /// What each fold's own seed is derived from. 0 by default: a run without a seed is repeatable too.
    pub seed: u64,
    /// How many folds to work on at once; by default as many as the machine has cores. Results do not depend on it.
    pub threads: usize,
    /// Whether to score the rows that were learnt from, too. Not by default: it costs a prediction of most rows.
    pub train_scores: Keep,
    /// Whether to keep the fitted models. Not by default: they may be large.
    pub models: Keep,
    /// Whether to keep what was predicted for the tested rows. Not by default.
    pub predictions: Keep,
    /// What a failing fold does. By default it ends the validation: a mean over fewer folds flatters.
    pub failures: Failures,
    /// Whether rows may be tested that a selection of the features saw. Not by default: such scores flatter.
    pub selection_leak: Keep,
    /// Who is told how far the work is.
    #[serde(skip)]
    progress: Option<Progress>,
}

/// Somebody who is told how many units of work are done, of how many.
#[derive(Clone)]
struct Progress(Arc<dyn Fn(usize, usize) + Send + Sync>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Whether something is kept beside the scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// It is not.
    #[default]
    No,
    /// It is.
    Yes,
}

/// What a failing fold does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failures {
    /// Ends the validation with an error that names the fold.
    #[default]
    Stop,
    /// Is recorded; its scores are missing.
    Record,
}

impl Default for CrossValidation {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self {
            seed: 0,
            threads,
            train_scores: Keep::No,
            models: Keep::No,
            predictions: Keep::No,
            failures: Failures::Stop,
            selection_leak: Keep::No,
            progress: None,
        }
    }
}

impl CrossValidation {
    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many folds to work on at once.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Scores the rows that were learnt from, too.
    #[must_use]
    pub fn with_train_scores(mut self) -> Self {
        self.train_scores = Keep::Yes;
        self
    }

    /// Keeps the fitted models.
    #[must_use]
    pub fn with_models(mut self) -> Self {
        self.models = Keep::Yes;
        self
    }

    /// Keeps what was predicted for the tested rows.
    #[must_use]
    pub fn with_predictions(mut self) -> Self {
        self.predictions = Keep::Yes;
        self
    }

    /// Says what a failing fold does.
    #[must_use]
    pub fn with_failures(mut self, failures: Failures) -> Self {
        self.failures = failures;
        self
    }

    /// Allows to test rows that a selection of the features saw: to show what such a score is worth.
    #[must_use]
    pub fn allowing_selection_leak(mut self) -> Self {
        self.selection_leak = Keep::Yes;
        self
    }

    /// Tells after each unit of work (a fold; of an elimination also the one on all rows) how many are done, of how many. Called from the
    /// threads that work. A panic of it is caught, and changes nothing.
    #[must_use]
    pub fn with_progress(mut self, told: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        self.progress = Some(Progress(Arc::new(told)));
        self
    }

    /// Refuses folds that test rows which the selection of the features saw.
    pub(crate) fn check_leak(&self, data: &Samples<'_>, folds: &[Fold]) -> Result<(), SelectError> {
        if self.selection_leak == Keep::Yes { Ok(()) } else { crate::leak::check(data, folds) }
    }

    /// Fits the estimator on each fold's training rows, and scores it on the rows held out.
    ///
    /// Everything an estimator learns, it learns inside the fold: a pipeline's scaler and selection never see the tested rows. The k-th fold
    /// is fitted with a seed that depends on (seed, k) alone, so the result is the same for any number of threads.
    ///
    /// # Errors
    /// If the rows cannot be split, no scorer is given, a selection of the features saw rows that are to be tested, or a fold fails; the error
    /// names the fold and the cause.
    pub fn run(
        &self,
        estimator: &dyn Estimator,
        data: &Samples<'_>,
        split: &dyn Split,
        scorers: &[&dyn Scorer],
    ) -> Result<Validated, SelectError> {
        self.run_folds(estimator, data, &split.split(data)?, scorers)
    }

    /// As [`run`](Self::run), on folds that are already there: candidates that are to be compared share them.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_folds(
        &self,
        estimator: &dyn Estimator,
        data: &Samples<'_>,
        folds: &[Fold],
        scorers: &[&dyn Scorer],
    ) -> Result<Validated, SelectError> {
        if scorers.is_empty() {
            return Err(setting("the number of scorers", 0, "at least 1"));
        }
        if folds.is_empty() {
            return Err(setting("the number of folds", 0, "at least 1"));
        }
        self.check_leak(data, folds)?;
        let run = |k: usize| {
            catch_panic(|| self.run_fold(estimator, data, &folds[k], k, scorers))
                .unwrap_or_else(|panicked| Err(panicked.into()))
        };
        let results = self.in_parallel(folds.len(), run)?;
        let mut validated = Vec::with_capacity(folds.len());
        for (fold, result) in results.into_iter().enumerate() {
            match result {
                Ok(result) => validated.push(result),
                Err(cause) if self.failures == Failures::Stop => {
                    return Err(SelectError::Fold { fold, cause });
                }
                Err(cause) => validated.push(FoldResult::failed(&folds[fold], &cause)),
            }
        }
        let metrics =
            scorers.iter().map(|scorer| (scorer.name().to_owned(), scorer.direction())).collect();
        Ok(Validated { metrics, folds: validated })
    }

    /// Does `n` units of work on some threads; the results come in the order of the units.
    pub(crate) fn in_parallel<T: Send + Sync>(
        &self,
        n: usize,
        work: impl Fn(usize) -> T + Sync,
    ) -> Result<Vec<T>, SelectError> {
        if self.threads == 0 {
            return Err(setting("the number of threads", 0, "at least 1"));
        }
        let results: Vec<OnceLock<T>> = (0..n).map(|_| OnceLock::new()).collect();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let worker = || {
            while let Some((k, place)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|k| Some((k, results.get(k)?)))
            {
                place.get_or_init(|| work(k));
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if let Some(Progress(told)) = &self.progress {
                    // The work is done, whatever becomes of those who are told.
                    drop(catch_panic(|| told(done, n)));
                }
            }
        };
        thread::scope(|scope| {
            (1..self.threads.min(n)).for_each(|_| drop(scope.spawn(worker)));
            worker();
        });
        Ok(results.into_iter().filter_map(OnceLock::into_inner).collect())
    }

    fn run_fold(
        &self,
        estimator: &dyn Estimator,
        data: &Samples<'_>,
        fold: &Fold,
        k: usize,
        scorers: &[&dyn Scorer],
    ) -> Result<FoldResult, FoldError> {
        let (train, test) = (data.with_rows(&fold.train)?, data.with_rows(&fold.test)?);
        let started = Instant::now();
        let model = guard::fit(|| estimator.fit(train, fold_seed(self.seed, k)))?;
        let fit_time = started.elapsed();
        let started = Instant::now();
        let (scores, predictions) = score(&*model, &test, scorers)?;
        let score_time = started.elapsed();
        let train_scores = match self.train_scores {
            Keep::Yes => Some(score(&*model, &train, scorers)?.0),
            Keep::No => None,
        };
        Ok(FoldResult {
            n_train: fold.train.len(),
            test_rows: fold.test.clone(),
            scores,
            train_scores,
            fit_time,
            score_time,
            complexity: Some(model.complexity()),
            model: (self.models == Keep::Yes).then_some(model),
            predictions: (self.predictions == Keep::Yes).then_some(predictions),
            failure: None,
        })
    }
}

/// The seed of the k-th fold: a function of the seed and `k` alone.
pub(crate) fn fold_seed(seed: u64, k: usize) -> u64 {
    random::below(&mut random::stream(seed, k as u64), u64::MAX)
}

fn score(
    model: &dyn FittedModel,
    rows: &Samples<'_>,
    scorers: &[&dyn Scorer],
) -> Result<(Metrics, Array2<f64>), FoldError> {
    let features = rows.features();
    let predictions = guard::predict(model, features.view())?;
    let mut scores = Metrics::new();
    for &scorer in scorers {
        scores.insert(scorer.name(), guard::score(scorer, rows, predictions.view())?);
    }
    Ok((scores, predictions))
}

/// What came of one fold.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoldResult {
    /// How many rows were learnt from.
    pub n_train: usize,
    /// The rows tested on, as indices into the matrix behind the samples.
    pub test_rows: Vec<usize>,
    /// The scores on the rows tested on; empty if the fold failed.
    pub scores: Metrics,
    /// The scores on the rows learnt from, if asked for.
    pub train_scores: Option<Metrics>,
    /// How long fitting took.
    pub fit_time: Duration,
    /// How long predicting and scoring the rows tested on took.
    pub score_time: Duration,
    /// How complex the model is.
    pub complexity: Option<Complexity>,
    /// The fitted model, if asked for.
    pub model: Option<Arc<dyn FittedModel>>,
    /// What was predicted for the rows tested on (`n_test × n_outputs`), if asked for.
    pub predictions: Option<Array2<f64>>,
    /// Why the fold failed, where failures are recorded.
    pub failure: Option<String>,
}

impl FoldResult {
    fn failed(fold: &Fold, cause: &FoldError) -> Self {
        Self {
            n_train: fold.train.len(),
            test_rows: fold.test.clone(),
            scores: Metrics::new(),
            train_scores: None,
            fit_time: Duration::ZERO,
            score_time: Duration::ZERO,
            complexity: None,
            model: None,
            predictions: None,
            failure: Some(chain(cause)),
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What came of a cross-validation: the scores of each fold.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Validated {
    /// The metrics and their directions, in the order in which they were asked for.
    pub metrics: Vec<(String, Direction)>,
    /// The folds, in order.
    pub folds: Vec<FoldResult>,
}

impl Validated {
    /// The score of each fold; missing where the fold failed.
    #[must_use]
    pub fn scores(&self, metric: &str) -> Vec<Option<f64>> {
        self.folds.iter().map(|fold| fold.scores.get(metric)).collect()
    }

    /// Mean and spread of a metric; none if a fold has no score, or one that is not a number: a mean over fewer folds flatters.
    #[must_use]
    pub fn summary(&self, metric: &str) -> Option<Summary> {
        let scores: Option<Vec<f64>> = self.scores(metric).into_iter().collect();
        Summary::of(&scores?)
    }

    /// How long fitting took, all folds together.
    #[must_use]
    pub fn fit_time(&self) -> Duration {
        self.folds.iter().map(|fold| fold.fit_time).sum()
    }

    /// What predicting and scoring one row took on average.
    #[must_use]
    pub fn time_per_row(&self) -> Duration {
        let rows: usize = self
            .folds
            .iter()
            .filter(|fold| fold.failure.is_none())
            .map(|fold| fold.test_rows.len())
            .sum();
        let nanos = self.folds.iter().map(|fold| fold.score_time.as_nanos()).sum::<u128>()
            / rows.max(1) as u128;
        Duration::from_nanos(nanos as u64)
    }

    /// The complexity of the largest of the models.
    #[must_use]
    pub fn complexity(&self) -> Option<Complexity> {
        self.folds
            .iter()
            .filter_map(|fold| fold.complexity)
            .max_by_key(|complexity| (complexity.parameters, complexity.bytes))
    }
}

impl fmt::Display for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20} {:>10} {:>10} {:>10}", "metric", "mean", "std", "std error")?;
        for k in 0..self.folds.len() {
            write!(f, " {:>10}", format!("fold {k}"))?;
        }
        for (metric, _) in &self.metrics {
            write!(f, "\n{metric:<20}")?;
            match self.summary(metric) {
                Some(summary) => write!(
                    f,
                    " {:>10.4} {:>10.4} {:>10.4}",
                    summary.mean, summary.std, summary.standard_error
                )?,
                None => write!(f, " {:>10} {:>10} {:>10}", "-", "-", "-")?,
            }
            for score in self.scores(metric) {
                match score {
                    Some(score) => write!(f, " {score:>10.4}")?,
                    None => write!(f, " {:>10}", "failed")?,
                }
            }
        }
        Ok(())
    }
}

/// Mean and spread of a metric over folds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with n − 1 in the denominator; 0 for one fold.
    pub std: f64,
    /// The standard error of the mean: `std / √n`. Folds share rows, so it is a little too small.
    pub standard_error: f64,
}

impl Summary {
    /// The summary of some scores; none if there are none or one is NaN.
    #[must_use]
    pub fn of(scores: &[f64]) -> Option<Self> {
        if scores.is_empty() || scores.iter().any(|score| score.is_nan()) {
            return None;
        }
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        let std = if scores.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
        Some(Self { mean, std, standard_error: std / n.sqrt() })
    }
}

/// Cross-validates with the usual settings; see [`CrossValidation::run`].
///
/// # Errors
/// As [`CrossValidation::run`].
pub fn cross_validate(
    estimator: &dyn Estimator,
    data: &Samples<'_>,
    split: &dyn Split,
    scorers: &[&dyn Scorer],
) -> Result<Validated, SelectError> {
    CrossValidation::default().run(estimator, data, split, scorers)
}
