//! Models that vote, or whose predictions are averaged.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Signature,
};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::members::{FittedMembers, Members};
use crate::parts::{Body, Composite, Inside, Parts, malformed};

/// How the members' answers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Vote {
    Soft,
    Hard,
}

/// Several estimators, fitted side by side, whose answers become one by weight; as scikit-learn's `VotingClassifier` and `VotingRegressor`.
///
/// * [`soft`](Self::soft), for classes: the weighted mean of the probabilities.
/// * [`hard`](Self::hard), for classes: each member votes for its most probable class (the first of equally probable ones); the probabilities are the
///   shares of the votes by weight, so that of equal shares the first class wins.
/// * [`average`](Self::average), for numbers: the weighted mean of the predictions.
///
/// The k-th member is fitted with a seed of its own, so that two equal forests are not the same forest.
///
/// ```
/// use mlp_models::{LogisticRegression, RandomForest, Voting};
///
/// let voting = Voting::soft()
///     .member("linear", LogisticRegression::default(), 1.0)
///     .member("forest", RandomForest::default(), 2.0);
/// ```
#[derive(Debug, Clone)]
pub struct Voting {
    vote: Vote,
    members: Members,
    weights: Vec<f64>,
}

impl Voting {
    const fn new(vote: Vote) -> Self {
        Self { vote, members: Members(Vec::new()), weights: Vec::new() }
    }

    /// Averages probabilities.
    #[must_use]
    pub const fn soft() -> Self {
        Self::new(Vote::Soft)
    }

    /// Counts votes.
    #[must_use]
    pub const fn hard() -> Self {
        Self::new(Vote::Hard)
    }

    /// Averages predicted numbers; the same as [`soft`](Self::soft), by the name that fits regression.
    #[must_use]
    pub const fn average() -> Self {
        Self::new(Vote::Soft)
    }

    /// Adds a member with its weight: finite, not below 0, and at least one above.
    #[must_use]
    pub fn member(
        mut self,
        name: impl Into<String>,
        estimator: impl Estimator + 'static,
        weight: f64,
    ) -> Self {
        self.members.push(name, estimator);
        self.weights.push(weight);
        self
    }
}

impl Estimator for Voting {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.members.check()?;
        let weights = self.members.0.iter().map(|(name, _)| name.as_str());
        let params: Params = weights.zip(self.weights.iter().copied()).collect();
        let mut read = params.read("the weights of the ensemble");
        self.members.0.iter().for_each(|(name, _)| {
            read.float(name, 1.0, 0.0..=f64::MAX);
        });
        read.finish()?;
        if self.vote == Vote::Hard {
            data.classes()?;
        }
        let members = self.members.fit(&data, seed)?;
        FittedVoting::new(self.vote, members, self.weights.clone())
            .map(|fitted| Arc::new(fitted) as _)
            .map_err(FitError::failed)
    }
}

/// A fitted vote.
#[derive(Debug, Clone)]
pub struct FittedVoting {
    vote: Vote,
    signature: Signature,
    members: FittedMembers,
    weights: Vec<f64>,
    total: f64,
}

impl FittedVoting {
    fn new(vote: Vote, members: FittedMembers, weights: Vec<f64>) -> Result<Self, String> {
        let signature = members.signature()?;
        let total: f64 = weights.iter().sum();
        let is_weight = |weight: &f64| *weight >= 0.0;
        if weights.len() != members.0.len() || !weights.iter().all(is_weight) {
            return Err("the weights do not fit the members".to_owned());
        }
        if !(total > 0.0 && total.is_finite()) {
            return Err(format!("the weights sum to {total}, they must sum to more than 0"));
        }
        if vote == Vote::Hard && signature.classes().is_none() {
            return Err("only classifiers can vote".to_owned());
        }
        Ok(Self { vote, signature, members, weights, total })
    }

    /// The models with their names and weights.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Arc<dyn FittedModel>, f64)> {
        let members = self.members.0.iter().zip(&self.weights);
        members.map(|((name, model), weight)| (name.as_str(), model, *weight))
    }
}

impl Model for FittedVoting {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        out.fill(0.0);
        let mut buffer = scratch.take(out.len());
        for ((_, model), weight) in self.members.0.iter().zip(&self.weights) {
            let share = weight / self.total;
            let mut predicted =
                ArrayViewMut2::from_shape(out.dim(), &mut buffer).map_err(ModelError::failed)?;
            model.predict_into(rows, predicted.view_mut(), scratch)?;
            match self.vote {
                Vote::Soft => out.scaled_add(share, &predicted),
                Vote::Hard => {
                    for (row, (probabilities, mut out)) in
                        predicted.rows().into_iter().zip(out.rows_mut()).enumerate()
                    {
                        out[top(probabilities).ok_or(ModelError::NoClass { row })?] += share;
                    }
                }
            }
        }
        scratch.give(buffer);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// The position of the largest value that is a number, the first of equal ones.
fn top(values: ArrayView1<'_, f64>) -> Option<usize> {
    let numbers = values.iter().enumerate().filter(|(_, value)| !value.is_nan());
    numbers.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(class, _)| class)
}

impl FittedModel for FittedVoting {
    /// The members' importances, each scaled to the sum 1, averaged by weight; none if a member has none.
    fn importances(&self) -> Option<Vec<f64>> {
        self.members.importances(&self.weights)
    }

    fn complexity(&self) -> Complexity {
        super::sum(self.members.0.iter().map(|(_, model)| model.complexity()))
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let mut body = Body::default();
        body.json(&self.vote)?;
        body.json(&self.weights)?;
        self.members.write(&mut body)?;
        body.save::<Self>()
    }
}

impl Composite for FittedVoting {
    const KIND: &'static str = "mlp-models/voting";

    fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError> {
        let (vote, weights) = (parts.json()?, parts.json()?);
        Self::new(vote, FittedMembers::read(parts, inside)?, weights).map_err(malformed)
    }
}
