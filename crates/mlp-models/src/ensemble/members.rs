//! Named estimators side by side, fitted and saved together.

use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, ModelError, Samples, SaveError, Scratch};
use mlp_core::{Signature, Task};
use ndarray::{ArrayView2, ArrayViewMut2, s};

use super::held_out::seed_of;
use crate::parts::{Body, Inside, Parts, malformed};

/// Estimators with their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Members(pub(super) Vec<(String, Arc<dyn Estimator>)>);

impl Members {
    pub(super) fn push(&mut self, name: impl Into<String>, estimator: impl Estimator + 'static) {
        self.0.push((name.into(), Arc::new(estimator)));
    }

    /// Refuses no member, and names that stand twice.
    pub(super) fn check(&self) -> Result<(), FitError> {
        if self.0.is_empty() {
            return Err(FitError::TooFew { what: "members of the ensemble", given: 0, needed: 1 });
        }
        let twice = |i: usize| self.0[..i].iter().any(|(name, _)| *name == self.0[i].0);
        match (0..self.0.len()).find(|&i| twice(i)) {
            Some(i) => Err(FitError::failed(format!("member {:?} stands twice", self.0[i].0))),
            None => Ok(()),
        }
    }

    /// Fits each on all rows, the k-th with the k-th seed.
    pub(super) fn fit(&self, data: &Samples<'_>, seed: u64) -> Result<FittedMembers, FitError> {
        let fit = |(k, (name, estimator)): (usize, &(String, Arc<dyn Estimator>))| {
            let model = estimator.fit(data.reborrow(), seed_of(seed, k as u64))?;
            Ok((name.clone(), model))
        };
        Ok(FittedMembers(self.0.iter().enumerate().map(fit).collect::<Result<_, FitError>>()?))
    }
}

/// Models with their names, all with the same inputs and outputs.
#[derive(Debug, Clone)]
pub(super) struct FittedMembers(pub(super) Vec<(String, Arc<dyn FittedModel>)>);

impl FittedMembers {
    /// The inputs and outputs that all have in common.
    pub(super) fn signature(&self) -> Result<Signature, String> {
        let Some((first, model)) = self.0.first() else {
            return Err("the ensemble has no members".to_owned());
        };
        let signature = model.signature();
        for (name, other) in &self.0 {
            if other.signature().features() != signature.features() {
                return Err(format!("members {first:?} and {name:?} take other features"));
            }
            if other.signature().outputs().len() != signature.outputs().len()
                || other.signature().classes() != signature.classes()
            {
                return Err(format!("members {first:?} and {name:?} do not predict the same"));
            }
        }
        Ok(signature.clone())
    }

    pub(super) fn write(&self, body: &mut Body) -> Result<(), SaveError> {
        body.json(&self.0.len())?;
        for (name, model) in &self.0 {
            body.push(name.as_bytes());
            body.model(&**model)?;
        }
        Ok(())
    }

    pub(super) fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError> {
        let count: usize = parts.json()?;
        // Nothing is set aside for a count that the bytes do not bear out: each member needs some of them.
        let mut members = Vec::new();
        for _ in 0..count {
            members.push((parts.text()?, inside.model(parts)?));
        }
        let members = Self(members);
        members.signature().map_err(malformed)?;
        Ok(members)
    }

    /// The columns of a member's outputs that say something: of two classes the second says all.
    pub(super) fn columns(task: &Task) -> std::ops::Range<usize> {
        match task {
            Task::Classification { classes } if classes.len() == 2 => 1..2,
            Task::Classification { classes } => 0..classes.len(),
            Task::Regression { targets } => 0..targets.len(),
            _ => 0..0,
        }
    }

    /// Writes those columns of every member side by side.
    pub(super) fn write_columns(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        let mut at = 0;
        for (_, model) in &self.0 {
            let signature = model.signature();
            let shape = (rows.nrows(), signature.outputs().len());
            let mut buffer = scratch.take(shape.0 * shape.1);
            let mut predicted =
                ArrayViewMut2::from_shape(shape, &mut buffer).map_err(ModelError::failed)?;
            model.predict_into(rows, predicted.view_mut(), scratch)?;
            let columns = Self::columns(signature.task());
            let to = at + columns.len();
            out.slice_mut(s![.., at..to]).assign(&predicted.slice(s![.., columns]));
            at = to;
            scratch.give(buffer);
        }
        Ok(())
    }

    /// The mean of the members' importances, each scaled to the sum 1; none if a member has none.
    pub(super) fn importances(&self, weights: &[f64]) -> Option<Vec<f64>> {
        let mut all = vec![0.0; self.0.first()?.1.signature().n_features()];
        let total: f64 = weights.iter().sum();
        for ((_, model), weight) in self.0.iter().zip(weights) {
            let importances = model.importances()?;
            let sum: f64 = importances.iter().sum();
            let share = if sum > 0.0 { weight / total / sum } else { 0.0 };
            all.iter_mut().zip(importances).for_each(|(all, one)| *all += share * one);
        }
        Some(all)
    }
}
