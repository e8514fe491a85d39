//! Probabilities put right, and decisions taken from them.

mod isotonic;
mod sigmoid;
mod threshold;

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Samples, SaveError, Saved,
    Scratch, Signature,
};
use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2};
use serde::{Deserialize, Serialize};

pub use threshold::{DecisionGoal, FittedThreshold, Threshold};

use crate::ensemble::{Folds, held_out};
use crate::parts::{Body, Composite, Inside, Parts, malformed};
use crate::support::{check_two_classes, cut_to, weighted_rows, weights};

/// By what kind of curve probabilities are put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    Platt,
    Isotonic,
}

/// An estimator whose probabilities are put right by what happened on rows that it had not seen.
///
/// The estimator predicts the rows that each fold holds out; one curve is fitted to all these predictions, and the estimator learns from all
/// rows (scikit-learn's `CalibratedClassifierCV` with `ensemble=False`). With more than two classes each has a curve against the rest, and
/// the results are scaled to the sum 1. Each class that rows with weight have must be among those that are held out.
///
/// * [`platt`](Self::platt): a sigmoid of the log-odds, with the smoothed targets of Platt (1999). Probabilities that are right already stay as they
///   are; where folds hold out `n` rows, probabilities closer than `1 / (n + 2)` to 0 or 1 count as that close. Weights count like so many rows, or,
///   if they are below 1 in the mean, as if they were 1 there.
/// * [`isotonic`](Self::isotonic): a curve that never falls, by pooling adjacent violators. Needs some thousand rows, and makes ties.
///
/// ```
/// use mlp_models::{Calibrated, Folds, GradientBoosting};
///
/// let calibrated = Calibrated::platt(GradientBoosting::default(), Folds::stratified(5));
/// ```
#[derive(Debug, Clone)]
pub struct Calibrated {
    estimator: Arc<dyn Estimator>,
    folds: Folds,
    method: Method,
}

impl Calibrated {
    /// Puts the probabilities right by a sigmoid.
    pub fn platt(estimator: impl Estimator + 'static, folds: Folds) -> Self {
        Self { estimator: Arc::new(estimator), folds, method: Method::Platt }
    }

    /// Puts the probabilities right by a curve that never falls.
    pub fn isotonic(estimator: impl Estimator + 'static, folds: Folds) -> Self {
        Self { estimator: Arc::new(estimator), folds, method: Method::Isotonic }
    }
}

impl Estimator for Calibrated {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let rows = weighted_rows(&data)?;
        let (labels, names) = cut_to(&data, rows.as_deref())?.classes()?;
        check_two_classes(&labels, names)?;
        let folds = self.folds.of(&data, seed)?;
        let found = held_out(&*self.estimator, &data, &folds, seed)?;
        let asked = data.with_rows(&found.rows)?;
        let rows = weighted_rows(&asked)?;
        let has_weight = weights(&asked)?.iter().map(|weight| *weight > 0.0).collect::<Vec<_>>();
        let asked = cut_to(&asked, rows.as_deref())?;
        let learnt = present(&labels, names.len());
        let (labels, weights) = (asked.classes()?.0, weights(&asked)?);
        check_two_classes(&labels, names)?;
        let held = present(&labels, names.len());
        if let Some(class) = (0..names.len()).find(|&class| learnt[class] && !held[class]) {
            let reason = format!("no held-out row with weight is of class {:?}", names[class]);
            return Err(FitError::failed(reason));
        }
        let least = 1.0 / (labels.len() as f64 + 2.0);
        let curve = |class: usize| {
            let is_class: Vec<bool> = labels.iter().map(|&label| label == class).collect();
            let of_all = found.predictions.column(class).into_iter().zip(&has_weight);
            let probabilities: Vec<f64> =
                of_all.filter(|(_, has_weight)| **has_weight).map(|(p, _)| *p).collect();
            held[class].then(|| match self.method {
                Method::Platt => {
                    let scores: Vec<f64> =
                        probabilities.iter().map(|p| log_odds(*p, least)).collect();
                    let (slope, intercept) = sigmoid::fit(&scores, &is_class, &weights);
                    Curve::Sigmoid { slope, intercept, least }
                }
                Method::Isotonic => {
                    let targets: Vec<f64> =
                        is_class.iter().map(|is| f64::from(u8::from(*is))).collect();
                    let (from, to) = isotonic::fit(&probabilities, &targets, &weights);
                    Curve::Steps { from, to }
                }
            })
        };
        let curves: Vec<_> = match names.len() {
            2 => vec![curve(1)],
            classes => (0..classes).map(curve).collect(),
        };
        let model = self.estimator.fit(data, seed)?;
        FittedCalibrated::new(model, curves).map(|f| Arc::new(f) as _).map_err(FitError::failed)
    }
}

/// Which classes there are.
fn present(labels: &[usize], classes: usize) -> Vec<bool> {
    let mut present = vec![false; classes];
    labels.iter().for_each(|&label| present[label] = true);
    present
}

/// The logarithm of the odds of a probability, which counts as no closer to 0 or 1 than `least`.
fn log_odds(probability: f64, least: f64) -> f64 {
    let held = probability.clamp(least, 1.0 - least);
    (held / (1.0 - held)).ln()
}

/// From a model's probability to a better one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Curve {
    Sigmoid { slope: f64, intercept: f64, least: f64 },
    Steps { from: Vec<f64>, to: Vec<f64> },
}

impl Curve {
    fn at(&self, probability: f64) -> f64 {
        match self {
            Self::Sigmoid { slope, intercept, least } => {
                crate::logistic::sigmoid(slope * log_odds(probability, *least) + intercept)
            }
            Self::Steps { from, to } => isotonic::at(from, to, probability),
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Sigmoid { slope, intercept, least } => {
                slope.is_finite() && intercept.is_finite() && (0.0..0.5).contains(least)
            }
            Self::Steps { from, to } => {
                !from.is_empty()
                    && from.len() == to.len()
                    && from.iter().all(|corner| corner.is_finite())
                    && from.is_sorted_by(|a, b| a < b)
                    && to.is_sorted()
                    && to.iter().all(|share| (0.0..=1.0).contains(share))
            }
        }
    }
}

/// A fitted model and the curves that put its probabilities right.
#[derive(Debug, Clone)]
pub struct FittedCalibrated {
    model: Arc<dyn FittedModel>,
    /// One for two classes, else one a class; none for a class that no row has.
    curves: Vec<Option<Curve>>,
}

impl FittedCalibrated {
    fn new(model: Arc<dyn FittedModel>, curves: Vec<Option<Curve>>) -> Result<Self, String> {
        let classes = model.signature().classes().map_or(0, <[String]>::len);
        let wanted = if classes == 2 { 1 } else { classes };
        if classes < 2 || curves.len() != wanted || !curves.iter().flatten().all(Curve::is_sound) {
            return Err("the curves do not fit the classes".to_owned());
        }
        Ok(Self { model, curves })
    }

    /// The model as it is without the curves.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn FittedModel> {
        &self.model
    }

    fn put_right(&self, mut row: ArrayViewMut1<'_, f64>) {
        let at = |curve: &Option<Curve>, p: f64| curve.as_ref().map_or(0.0, |curve| curve.at(p));
        if let [curve] = &self.curves[..] {
            row[1] = at(curve, row[1]);
            row[0] = 1.0 - row[1];
            return;
        }
        row.iter_mut().zip(&self.curves).for_each(|(p, curve)| *p = at(curve, *p));
        let total = row.sum();
        if total > 0.0 {
            row /= total;
        } else {
            // No curve speaks for any class: all that occur are equally probable.
            let present = self.curves.iter().flatten().count() as f64;
            row.iter_mut().zip(&self.curves).filter(|(_, curve)| curve.is_some()).for_each(
                |(p, _)| {
                    *p = 1.0 / present;
                },
            );
        }
    }
}

impl Model for FittedCalibrated {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.model.predict_into(rows, out.view_mut(), scratch)?;
        out.rows_mut().into_iter().for_each(|row| self.put_right(row));
        Ok(())
    }

    fn signature(&self) -> &Signature {
        self.model.signature()
    }
}

impl FittedModel for FittedCalibrated {
    fn importances(&self) -> Option<Vec<f64>> {
        self.model.importances()
    }

    fn complexity(&self) -> Complexity {
        let inside = self.model.complexity();
        let of = |curve: &Curve| match curve {
            Curve::Sigmoid { .. } => 2,
            Curve::Steps { from, .. } => 2 * from.len(),
        };
        let numbers: usize = self.curves.iter().flatten().map(of).sum();
        let bytes = inside.bytes + size_of::<Self>() + 8 * numbers;
        Complexity { parameters: inside.parameters + numbers, bytes }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let mut body = Body::default();
        body.json(&self.curves)?;
        body.model(&*self.model)?;
        body.save::<Self>()
    }
}

impl Composite for FittedCalibrated {
    const KIND: &'static str = "mlp-models/calibrated";

    fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError> {
        let curves = parts.json()?;
        Self::new(inside.model(parts)?, curves).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// What scikit-learn answers to `tests/reference/make.py`.
    #[test]
    fn both_curves_are_those_of_scikit_learn() {
        let text = include_str!("../../tests/reference/sklearn.json");
        let answers: Value = serde_json::from_str(text).unwrap();
        let answers = &answers["calibration"];
        let numbers = |name: &str| -> Vec<f64> {
            answers[name].as_array().unwrap().iter().filter_map(Value::as_f64).collect()
        };
        let (scores, truth) = (numbers("scores"), numbers("truth"));
        let (is_positive, weights): (Vec<bool>, Vec<f64>) =
            truth.iter().map(|truth| (*truth == 1.0, 1.0)).unzip();
        let (slope, intercept) = sigmoid::fit(&scores, &is_positive, &weights);
        let (theirs, other) =
            (answers["slope"].as_f64().unwrap(), answers["intercept"].as_f64().unwrap());
        assert!((slope - theirs).abs() < 1e-5, "slope {slope} for {theirs}");
        assert!((intercept - other).abs() < 1e-5, "intercept {intercept} for {other}");
        let probabilities: Vec<f64> =
            scores.iter().map(|score| crate::logistic::sigmoid(*score)).collect();
        let (from, to) = isotonic::fit(&probabilities, &truth, &weights);
        for (ask, theirs) in numbers("ask").into_iter().zip(numbers("isotonic")) {
            let ours = isotonic::at(&from, &to, ask);
            assert!((ours - theirs).abs() < 1e-12, "{ours} for {theirs} at {ask}");
        }
    }
}
