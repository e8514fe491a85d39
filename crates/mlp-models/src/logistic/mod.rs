//! Logistic regression for two classes and more.

mod fitted;
mod link;
mod newton;
mod path;
mod problem;
mod proximal;

use std::sync::Arc;

use mlp_core::{
    EliminationPath, EliminationState, Estimator, FitError, FittedModel, Params, Samples, Signature,
};
use serde::{Deserialize, Serialize};

pub use fitted::FittedLogistic;
pub(crate) use link::{normalise, sigmoid};
use path::LogisticElimination;
use problem::Problem;

use crate::support::{check_two_classes, cut_to, weighted_rows, weights};

/// Fits the probability of each class: minimises `Σ wᵢ · logloss + ((1 − l1_ratio) / 2 · ‖W‖² + l1_ratio · ‖W‖₁) / C`, intercepts free, as
/// scikit-learn's `LogisticRegression` (one sigmoid for two classes, softmax for more). With the L1 penalty features are left out.
///
/// Solved by Newton's method with step halving, so that the coefficients are exact to rounding: rankings by them do not hang on a solver's
/// tolerance. The cost grows with the cube of features times classes; it is meant for up to some hundreds of features. Eliminating
/// features one after another ([`Estimator::path`]) updates the solution instead, unless there is an L1 penalty: each step costs some passes over the rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogisticRegression {
    /// The inverse of the weight of the penalty, above 0. 1 by default, as in scikit-learn.
    pub c: f64,
    /// The share of the L1 penalty, from 0, the default, to 1.
    pub l1_ratio: f64,
    /// The most Newton steps to take; ten are usual.
    pub max_iterations: usize,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { c: 1.0, l1_ratio: 0.0, max_iterations: 100 }
    }
}

impl LogisticRegression {
    /// Sets the inverse of the weight of the penalty.
    #[must_use]
    pub fn with_c(mut self, c: f64) -> Self {
        self.c = c;
        self
    }

    /// Sets the share of the L1 penalty.
    #[must_use]
    pub fn with_l1_ratio(mut self, ratio: f64) -> Self {
        self.l1_ratio = ratio;
        self
    }

    fn check(&self) -> Result<(), FitError> {
        let params = Params::new().with("c", self.c).with("l1_ratio", self.l1_ratio);
        let mut read = params.read("logistic_regression");
        read.float("c", 1.0, f64::MIN_POSITIVE..=f64::MAX);
        read.float("l1_ratio", 0.0, 0.0..=1.0);
        Ok(read.finish()?)
    }
}

impl Estimator for LogisticRegression {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let (problem, classes) = self.problem(&data)?;
        let solution = match self.l1_ratio {
            0.0 => problem.solve(self.max_iterations)?,
            ratio => problem.solve_l1(ratio / self.c, self.max_iterations)?,
        };
        Ok(Arc::new(classes.model(data.names(), problem.uncentred(solution))))
    }

    fn path(&self) -> Option<&dyn EliminationPath> {
        (self.l1_ratio == 0.0).then_some(self)
    }
}

impl EliminationPath for LogisticRegression {
    fn start<'a>(
        &'a self,
        data: Samples<'a>,
        _seed: u64,
    ) -> Result<Box<dyn EliminationState + 'a>, FitError> {
        if self.l1_ratio != 0.0 {
            return Err(FitError::failed("with an L1 penalty there is no warm elimination"));
        }
        let (problem, classes) = self.problem(&data)?;
        let names = data.names().to_vec();
        Ok(Box::new(LogisticElimination::start(problem, classes, names, self.max_iterations)?))
    }
}

impl LogisticRegression {
    /// What is to be minimised on these rows.
    fn problem(&self, data: &Samples<'_>) -> Result<(Problem, Classes), FitError> {
        self.check()?;
        data.check_finite()?;
        // A row without weight takes no part, nor does a class that only such rows have.
        let rows = weighted_rows(data)?;
        let data = cut_to(data, rows.as_deref())?;
        let (labels, names) = data.classes()?;
        check_two_classes(&labels, names)?;
        // Classes that these rows lack have probability 0: they take no part in the fit.
        let present: Vec<usize> = (0..names.len()).filter(|class| labels.contains(class)).collect();
        let place: Vec<usize> =
            labels.iter().map(|label| present.partition_point(|class| class < label)).collect();
        let functions = if present.len() == 2 { 1 } else { present.len() };
        let rows = data.features();
        let penalty = (1.0 - self.l1_ratio) / self.c;
        let problem =
            Problem::new(rows.view(), place, weights(&data)?.into_owned(), functions, penalty);
        Ok((problem, Classes { names: names.to_vec(), present }))
    }
}

/// The classes of a target, and those of them that take part in a fit.
#[derive(Debug)]
struct Classes {
    names: Vec<String>,
    present: Vec<usize>,
}

impl Classes {
    fn model(&self, features: &[String], solution: Vec<f64>) -> FittedLogistic {
        let names = (features.iter().cloned(), self.names.iter().cloned());
        FittedLogistic::new(Signature::classifier(names.0, names.1), self.present.clone(), solution)
    }
}
