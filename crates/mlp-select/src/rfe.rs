//! Recursive feature elimination: fit, drop the weakest, repeat, and keep a log of why.

use std::fmt;
use std::sync::Arc;

use mlp_core::{
    EliminationState, Estimator, FitError, FittedModel, FittedTransformer, OwnedSamples, Samples,
    Transformer,
};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::guard;
use crate::leak::RowPrints;
use crate::selection::{ColumnSelection, with_columns};

/// Eliminates features, weakest first, until a number of them is left.
///
/// As scikit-learn's `RFE` (1.9): of equally important features the one further left goes first. Importances are the fitted model's own
/// (absolute coefficients, impurity decrease), so features must be on one scale for linear models. An estimator that can update its
/// solution instead of fitting anew ([`Estimator::path`]) is used that way.
///
/// To stop at a drop of the score, or where cross-validation says so, there is [`RfeCv`](crate::RfeCv) with [`Rule::Tolerance`](crate::Rule) or one of the
/// other rules.
///
/// It is a [`Transformer`] too: as a step of a pipeline it is fitted inside each fold, and never sees the rows that are tested.
#[derive(Debug, Clone)]
pub struct Rfe {
    estimator: Arc<dyn Estimator>,
    keep: usize,
    step: Step,
}

/// How many features go at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// This many, at least 1.
    Count(usize),
    /// This share of the original number, above 0 and below 1, rounded down but at least one feature.
    Share(f64),
}

impl Step {
    /// How many features go at once, of `n` at the start.
    ///
    /// # Errors
    /// If the step is out of range.
    pub(crate) fn count(self, n: usize) -> Result<usize, SelectError> {
        match self {
            Self::Count(0) => Err(setting("the step", 0, "at least 1")),
            Self::Count(count) => Ok(count),
            Self::Share(share) if share > 0.0 && share < 1.0 => {
                Ok(((share * n as f64) as usize).max(1))
            }
            Self::Share(share) => Err(setting("the step as a share", share, "above 0 and below 1")),
        }
    }
}

impl Rfe {
    /// Keeps this many features, dropping one at a time.
    pub fn new(estimator: Arc<dyn Estimator>, keep: usize) -> Self {
        Self { estimator, keep, step: Step::Count(1) }
    }

    /// Sets how many features go at once.
    #[must_use]
    pub fn with_step(mut self, step: Step) -> Self {
        self.step = step;
        self
    }

    /// Ranks the features of the data.
    ///
    /// # Errors
    /// If fewer than one or more features are to be kept than there are, the step is out of range, a fit fails, or the estimator tells no
    /// importances.
    pub fn eliminate(&self, data: &Samples<'_>, seed: u64) -> Result<Elimination, SelectError> {
        self.eliminate_watched(data, seed, |_, _| Ok(()))
    }

    /// As [`eliminate`](Self::eliminate), showing the model of every number of features, largest first, and the columns it has.
    pub(crate) fn eliminate_watched<E: From<SelectError>>(
        &self,
        data: &Samples<'_>,
        seed: u64,
        mut watch: impl FnMut(&[usize], &dyn FittedModel) -> Result<(), E>,
    ) -> Result<Elimination, E> {
        let n = data.n_features();
        if self.keep == 0 || self.keep > n {
            return Err(E::from(setting(
                "the number of features to keep",
                self.keep,
                format!("from 1 to {n}, the number of features"),
            )));
        }
        let step = self.step.count(n)?;
        let start = || Walk::start(&*self.estimator, data.reborrow(), seed);
        let mut walk = guard::fit(start).map_err(SelectError::from)?;
        let mut log = Vec::new();
        loop {
            let model = guard::fit(|| walk.model()).map_err(SelectError::from)?;
            watch(walk.active(), &*model)?;
            if walk.active().len() == self.keep {
                break;
            }
            let importances = guard::importances(walk.active().len(), || walk.importances())?;
            let drop = step.min(walk.active().len() - self.keep);
            let removed = weakest(walk.active(), &importances, drop, data.names())?;
            let columns: Vec<usize> =
                removed.removed.iter().map(|feature| feature.column).collect();
            log.push(removed);
            guard::fit(|| walk.drop_features(&columns)).map_err(SelectError::from)?;
        }
        let (names, saw) = (data.names().to_vec(), RowPrints::of(data));
        Ok(Elimination { names, kept: walk.active().to_vec(), log, saw })
    }
}

impl Transformer for Rfe {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedTransformer>, FitError> {
        let elimination = self.eliminate(&data, seed).map_err(FitError::failed)?;
        Ok(Arc::new(elimination.selection().forgetting()))
    }
}

/// The fits of an elimination: updated where the estimator can, anew where it cannot.
enum Walk<'a> {
    Warm(Box<dyn EliminationState + 'a>),
    Cold(Box<Cold<'a>>),
}

struct Cold<'a> {
    estimator: &'a dyn Estimator,
    data: OwnedSamples,
    seed: u64,
    active: Vec<usize>,
    model: Arc<dyn FittedModel>,
}

impl<'a> Walk<'a> {
    fn start(estimator: &'a dyn Estimator, data: Samples<'a>, seed: u64) -> Result<Self, FitError> {
        match estimator.path() {
            Some(path) => path.start(data, seed).map(Self::Warm),
            None => {
                let (active, model) =
                    ((0..data.n_features()).collect(), estimator.fit(data, seed)?);
                Ok(Self::Cold(Box::new(Cold {
                    estimator,
                    data: data.to_owned_samples(),
                    seed,
                    active,
                    model,
                })))
            }
        }
    }

    fn active(&self) -> &[usize] {
        match self {
            Self::Warm(state) => state.active(),
            Self::Cold(cold) => &cold.active,
        }
    }

    fn model(&self) -> Result<Arc<dyn FittedModel>, FitError> {
        match self {
            Self::Warm(state) => state.model(),
            Self::Cold(cold) => Ok(Arc::clone(&cold.model)),
        }
    }

    fn importances(&self) -> Option<Vec<f64>> {
        match self {
            Self::Warm(state) => Some(state.importances()),
            Self::Cold(cold) => cold.model.importances(),
        }
    }

    fn drop_features(&mut self, columns: &[usize]) -> Result<(), FitError> {
        match self {
            Self::Warm(state) => state.drop_features(columns),
            Self::Cold(cold) => cold.drop_features(columns),
        }
    }
}

impl Cold<'_> {
    fn drop_features(&mut self, columns: &[usize]) -> Result<(), FitError> {
        let is_left: Vec<bool> =
            self.active.iter().map(|column| !columns.contains(column)).collect();
        let left: Vec<usize> = (0..self.active.len()).filter(|&i| is_left[i]).collect();
        self.active = left.iter().map(|&i| self.active[i]).collect();
        self.data = with_columns(&self.data, &left)?;
        self.model = self.estimator.fit(self.data.as_samples(), self.seed)?;
        Ok(())
    }
}

/// The `count` least important of the active columns; of equal ones the leftmost.
fn weakest(
    active: &[usize],
    importances: &[f64],
    count: usize,
    names: &[String],
) -> Result<EliminationStep, SelectError> {
    if let Some(i) = importances.iter().position(|importance| importance.is_nan()) {
        return Err(SelectError::UndefinedImportance { feature: names[active[i]].clone() });
    }
    let mut order: Vec<usize> = (0..active.len()).collect();
    order.sort_by(|&a, &b| importances[a].total_cmp(&importances[b]));
    let feature = |&i: &usize| RemovedFeature {
        column: active[i],
        name: names[active[i]].clone(),
        importance: importances[i],
    };
    let removed: Vec<RemovedFeature> = order[..count].iter().map(feature).collect();
    // A tie is decided by the position of the column, which is no reason: the log says so.
    let tied = order[count..]
        .first()
        .is_some_and(|&next| importances[next] == importances[order[count - 1]]);
    Ok(EliminationStep { features_before: active.len(), removed, tied })
}

/// One step of an elimination: what went, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EliminationStep {
    /// How many features there were.
    pub features_before: usize,
    /// What went, weakest first.
    pub removed: Vec<RemovedFeature>,
    /// Whether a feature that stayed was exactly as important as one that went: then the position of the column decided.
    pub tied: bool,
}

/// A feature that was eliminated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemovedFeature {
    /// Its column in the original features.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// How important it was to the model then.
    #[serde(with = "mlp_core::exact")]
    pub importance: f64,
}

/// What came of an elimination: what is left, and the log of what went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Elimination {
    names: Vec<String>,
    kept: Vec<usize>,
    log: Vec<EliminationStep>,
    saw: RowPrints,
}

impl Elimination {
    /// The columns that are left, in ascending order.
    #[must_use]
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// The names of the features that are left.
    #[must_use]
    pub fn kept_names(&self) -> Vec<&str> {
        self.kept.iter().map(|&column| self.names[column].as_str()).collect()
    }

    /// The steps, in order.
    #[must_use]
    pub fn log(&self) -> &[EliminationStep] {
        &self.log
    }

    /// Whether each feature is left.
    #[must_use]
    pub fn support(&self) -> Vec<bool> {
        (0..self.names.len()).map(|column| self.kept.binary_search(&column).is_ok()).collect()
    }

    /// The rank of each feature: 1 for those that are left, 2 for those that went last, and so on.
    #[must_use]
    pub fn ranking(&self) -> Vec<usize> {
        let mut ranking = vec![1; self.names.len()];
        for (rank, step) in self.log.iter().rev().enumerate() {
            step.removed.iter().for_each(|feature| ranking[feature.column] = rank + 2);
        }
        ranking
    }

    /// The features that were left when there were `n` of them; none if a step went past that number.
    #[must_use]
    pub fn at(&self, n: usize) -> Option<Vec<usize>> {
        let removed_before = self.log.iter().filter(|step| step.features_before > n);
        let gone: Vec<usize> = removed_before
            .flat_map(|step| step.removed.iter().map(|feature| feature.column))
            .collect();
        let left: Vec<usize> =
            (0..self.names.len()).filter(|column| !gone.contains(column)).collect();
        (left.len() == n).then_some(left)
    }

    /// The same elimination, had it stopped at so many features; unchanged if it passed that number in one step.
    pub(crate) fn cut_off_at(mut self, n: usize) -> Self {
        if let Some(kept) = self.at(n) {
            self.kept = kept;
            self.log.retain(|step| step.features_before > n);
        }
        self
    }

    /// The choice of columns as a transformer that remembers the rows it was made on.
    #[must_use]
    pub fn selection(&self) -> ColumnSelection {
        ColumnSelection::of(&self.names, self.kept.clone()).remembering(self.saw.clone())
    }
}

impl fmt::Display for Elimination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(7);
        write!(f, "{:>4} {:>8} {:<width$} {:>12}", "step", "features", "removed", "importance")?;
        for (i, step) in self.log.iter().enumerate() {
            for feature in &step.removed {
                let tie = if step.tied { "  tie: leftmost went" } else { "" };
                write!(
                    f,
                    "\n{:>4} {:>8} {:<width$} {:>12.6}{tie}",
                    i + 1,
                    step.features_before,
                    feature.name,
                    feature.importance
                )?;
            }
        }
        write!(f, "\nkept: {}", self.kept_names().join(", "))
    }
}
