//! Decisions between two classes at another place than one half.

use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Params, Samples, SaveError,
    Saved, Scratch, Signature,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::ensemble::{Folds, HeldOut, held_out};
use crate::parts::{Body, Composite, Inside, Parts, malformed};
use crate::support::{check_two_classes, cut_to, weighted_rows, weights};

/// What a threshold is chosen for; class 1 is the positive one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DecisionGoal {
    /// The share of right decisions.
    Accuracy,
    /// The mean of the shares of right decisions in each class; at its greatest, so is Youden's J.
    BalancedAccuracy,
    /// The harmonic mean of precision and recall, recall weighing `beta` times as much; `beta` is above 0, and 1 for F1.
    FScore {
        /// How many times as much recall weighs.
        beta: f64,
    },
    /// Matthews' correlation of truth and decision.
    Matthews,
    /// The lowest total cost.
    Cost {
        /// What a positive decision about a negative row costs, finite and not below 0.
        false_positive: f64,
        /// What a negative decision about a positive row costs, finite and not below 0.
        false_negative: f64,
    },
}

impl DecisionGoal {
    fn check(&self) -> Result<(), FitError> {
        let params = match self {
            Self::FScore { beta } => Params::new().with("beta", *beta),
            Self::Cost { false_positive, false_negative } => Params::new()
                .with("false_positive", *false_positive)
                .with("false_negative", *false_negative),
            _ => return Ok(()),
        };
        let mut read = params.read("decision goal");
        if params.get("beta").is_some() {
            read.float("beta", 1.0, f64::MIN_POSITIVE..=1e6);
        } else {
            read.float("false_positive", 1.0, 0.0..=f64::MAX);
            read.float("false_negative", 1.0, 0.0..=f64::MAX);
        }
        Ok(read.finish()?)
    }

    /// More is better. Where a score is 0 by 0, it is 0.
    fn score(&self, counts: &Counts) -> f64 {
        let Counts { tp, fp, tn, fn_ } = *counts;
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        match self {
            Self::Accuracy => share(tp + tn, tp + fp + tn + fn_),
            Self::BalancedAccuracy => 0.5 * (share(tp, tp + fn_) + share(tn, tn + fp)),
            Self::FScore { beta } => {
                let squared = beta * beta;
                share((1.0 + squared) * tp, (1.0 + squared) * tp + squared * fn_ + fp)
            }
            Self::Matthews => {
                let scale = ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
                share(tp * tn - fp * fn_, scale)
            }
            Self::Cost { false_positive, false_negative } => {
                -(false_positive * fp + false_negative * fn_)
            }
        }
    }
}

/// The weights of the four kinds of decisions.
#[derive(Debug, Clone, Copy)]
struct Counts {
    tp: f64,
    fp: f64,
    tn: f64,
    fn_: f64,
}

/// An estimator of two classes, with the probability from which on to decide for class 1.
///
/// The threshold is chosen by the predictions for the rows that each fold holds out, and then the estimator learns from all rows. All thresholds that
/// decide differently are tried, half-way between neighbouring probabilities; of equally good ones the nearest to ½ is taken.
///
/// The fitted model moves its probabilities so that the most probable class *is* the decision: with `p` the probability of class 1 and `t` the threshold
/// it gives `p (1 − t) / (p (1 − t) + (1 − p) t)`, which is above ½ where `p` is above `t` and keeps the order: the probability as it would be under the
/// shares of the classes that make ½ the right place to decide (Elkan 2001, *The foundations of cost-sensitive learning*, theorem 2). So everything
/// that takes the most probable class decides by the threshold. The probabilities as they were come from [`FittedThreshold::model`].
///
/// ```
/// use mlp_models::{DecisionGoal, Folds, LogisticRegression, Threshold};
///
/// // A missed fraud costs as much as fifty false alarms.
/// let goal = DecisionGoal::Cost { false_positive: 1.0, false_negative: 50.0 };
/// let careful = Threshold::chosen(LogisticRegression::default(), goal, Folds::stratified(5));
/// ```
#[derive(Debug, Clone)]
pub struct Threshold {
    estimator: Arc<dyn Estimator>,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    At(f64),
    Best(DecisionGoal, Folds),
}

impl Threshold {
    /// Decides for class 1 above this probability, between 0 and 1 without them.
    pub fn at(estimator: impl Estimator + 'static, threshold: f64) -> Self {
        Self { estimator: Arc::new(estimator), place: Place::At(threshold) }
    }

    /// Chooses the threshold that is best for a goal on held-out rows.
    pub fn chosen(estimator: impl Estimator + 'static, goal: DecisionGoal, folds: Folds) -> Self {
        Self { estimator: Arc::new(estimator), place: Place::Best(goal, folds) }
    }
}

impl Estimator for Threshold {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let names = data.classes()?.1;
        if names.len() != 2 {
            let reason =
                format!("a threshold decides between two classes, there are {}", names.len());
            return Err(FitError::failed(reason));
        }
        let (threshold, score) = match &self.place {
            Place::At(threshold) => {
                let params = Params::new().with("threshold", *threshold);
                let mut read = params.read("threshold");
                read.float("threshold", 0.5, f64::MIN_POSITIVE..=1.0 - f64::EPSILON);
                read.finish()?;
                (*threshold, None)
            }
            Place::Best(goal, folds) => {
                goal.check()?;
                let rows = weighted_rows(&data)?;
                check_two_classes(&cut_to(&data, rows.as_deref())?.classes()?.0, names)?;
                let folds = folds.of(&data, seed)?;
                let found = held_out(&*self.estimator, &data, &folds, seed)?;
                let (threshold, score) = best(&data, &found, *goal)?;
                (threshold, Some(score))
            }
        };
        let model = self.estimator.fit(data, seed)?;
        FittedThreshold::new(model, threshold, score)
            .map(|fitted| Arc::new(fitted) as _)
            .map_err(FitError::failed)
    }
}

/// The best threshold and its score.
fn best(data: &Samples<'_>, found: &HeldOut, goal: DecisionGoal) -> Result<(f64, f64), FitError> {
    let asked = data.with_rows(&found.rows)?;
    let (labels, weights) = (asked.classes()?.0, weights(&asked)?);
    let probabilities = found.predictions.column(1);
    if let Some(row) = probabilities.iter().position(|p| p.is_nan()) {
        return Err(ModelError::NoClass { row }.into());
    }
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    // From below all probabilities, where every decision is positive, upwards.
    let of_class = |class: usize| -> f64 {
        labels.iter().zip(weights.iter()).filter(|(l, _)| **l == class).map(|(_, w)| w).sum()
    };
    let mut counts = Counts { tp: of_class(1), fp: of_class(0), tn: 0.0, fn_: 0.0 };
    let mut best: Option<(f64, f64)> = None;
    let mut offer = |below: f64, above: f64, counts: &Counts| {
        let threshold = below + 0.5 * (above - below);
        if threshold <= 0.0 || threshold >= 1.0 || threshold >= above {
            return;
        }
        let score = goal.score(counts);
        let is_better = best.is_none_or(|(place, most)| {
            score > most || (score == most && (threshold - 0.5).abs() < (place - 0.5).abs())
        });
        if is_better {
            best = Some((threshold, score));
        }
    };
    let mut below = 0.0;
    for rows in order.chunk_by(|&a, &b| probabilities[a] == probabilities[b]) {
        let above = probabilities[rows[0]];
        offer(below, above, &counts);
        for &row in rows {
            if labels[row] == 1 {
                counts.tp -= weights[row];
                counts.fn_ += weights[row];
            } else {
                counts.fp -= weights[row];
                counts.tn += weights[row];
            }
        }
        below = above;
    }
    offer(below, 1.0, &counts);
    best.ok_or_else(|| FitError::failed("no threshold parts the held-out rows"))
}

/// A fitted model and the probability from which on it decides for class 1.
#[derive(Debug, Clone)]
pub struct FittedThreshold {
    model: Arc<dyn FittedModel>,
    threshold: f64,
    score: Option<f64>,
}

impl FittedThreshold {
    fn new(
        model: Arc<dyn FittedModel>,
        threshold: f64,
        score: Option<f64>,
    ) -> Result<Self, String> {
        if model.signature().classes().is_none_or(|classes| classes.len() != 2) {
            return Err("a threshold decides between two classes".to_owned());
        }
        if !(threshold > 0.0 && threshold < 1.0) {
            return Err(format!("the threshold is {threshold}, it must be between 0 and 1"));
        }
        Ok(Self { model, threshold, score })
    }

    /// The probability above which the decision is class 1.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// How well the threshold did on the held-out rows it was chosen by (minus the cost, for a cost); none if it was given.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        self.score
    }

    /// The model with its probabilities as they were.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn FittedModel> {
        &self.model
    }
}

impl Model for FittedThreshold {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.model.predict_into(rows, out.view_mut(), scratch)?;
        for mut row in out.rows_mut() {
            let (yes, no) = (row[1] * (1.0 - self.threshold), row[0] * self.threshold);
            row[1] = yes / (yes + no);
            row[0] = no / (yes + no);
        }
        Ok(())
    }

    fn signature(&self) -> &Signature {
        self.model.signature()
    }
}

impl FittedModel for FittedThreshold {
    fn importances(&self) -> Option<Vec<f64>> {
        self.model.importances()
    }

    fn complexity(&self) -> Complexity {
        let inside = self.model.complexity();
        let bytes = inside.bytes + size_of::<Self>();
        Complexity { parameters: inside.parameters + 1, bytes }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let mut body = Body::default();
        body.json(&(self.threshold, self.score))?;
        body.model(&*self.model)?;
        body.save::<Self>()
    }
}

impl Composite for FittedThreshold {
    const KIND: &'static str = "mlp-models/threshold";

    fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError> {
        let (threshold, score) = parts.json()?;
        Self::new(inside.model(parts)?, threshold, score).map_err(malformed)
    }
}
