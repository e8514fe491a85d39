//! Rules that people wrote, beside what is learnt.

use std::fmt;
use std::sync::Arc;

use mlp_core::{
    Complexity, Estimator, FitError, FittedModel, Model, ModelError, Samples, SaveError, Saved,
    Scratch, Signature, catch_panic,
};
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::parts::malformed;
use crate::persist::check_format;

type OfRow<T> = Arc<dyn Fn(&[f64]) -> T + Send + Sync>;

/// The user's function of the features it asks for.
#[derive(Clone)]
enum Rule {
    Class(OfRow<usize>),
    Value(OfRow<f64>),
}

/// A rule of yours with a name: what a model must beat before it is worth having.
///
/// The rule sees the features it names, in that order, whatever else there is and wherever they stand. It learns nothing; NaN reaches it.
///
/// A function cannot be saved. What is saved is its name (in the kind, `mlp-models/rule/NAME`) and its signature: a loader reads it if the rule
/// was registered there by [`Loader::with_rule`](crate::Loader::with_rule), and else refuses it as an unknown kind.
///
/// ```
/// use mlp_core::{Estimator, ModelExt, Samples, Target};
/// use mlp_models::{HeuristicRule, Loader};
/// use ndarray::array;
///
/// let rule = HeuristicRule::classifier("many links", ["links"], |row| usize::from(row[0] > 3.0));
/// let (features, names) = (array![[0.0, 9.0], [7.0, 1.0]], ["age".to_owned(), "links".to_owned()]);
/// let classes = ["ham".to_owned(), "spam".to_owned()];
/// let samples = Samples::new(features.view(), &names, Target::Classes { labels: &[1, 0], names: &classes })?;
/// let model = rule.fit(samples, 0)?;
/// assert_eq!(model.predict_classes(features.view())?, [1, 0]);
///
/// let saved = model.save()?;
/// assert!(Loader::default().model(&saved).is_err());
/// let loaded = Loader::default().with_rule(&rule).model(&saved)?;
/// assert_eq!(loaded.predict_classes(features.view())?, [1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HeuristicRule {
    name: String,
    features: Vec<String>,
    rule: Rule,
}

impl HeuristicRule {
    /// A rule that chooses a class by these features.
    pub fn classifier<F: Into<String>>(
        name: impl Into<String>,
        features: impl IntoIterator<Item = F>,
        rule: impl Fn(&[f64]) -> usize + Send + Sync + 'static,
    ) -> Self {
        let features = features.into_iter().map(Into::into).collect();
        Self { name: name.into(), features, rule: Rule::Class(Arc::new(rule)) }
    }

    /// A rule that computes a number from these features.
    pub fn regressor<F: Into<String>>(
        name: impl Into<String>,
        features: impl IntoIterator<Item = F>,
        rule: impl Fn(&[f64]) -> f64 + Send + Sync + 'static,
    ) -> Self {
        let features = features.into_iter().map(Into::into).collect();
        Self { name: name.into(), features, rule: Rule::Value(Arc::new(rule)) }
    }

    /// The kind under which its models are saved.
    #[must_use]
    pub fn kind(&self) -> String {
        format!("mlp-models/rule/{}", self.name)
    }

    fn fitted(&self, signature: Signature) -> Result<FittedRule, String> {
        let place = |name: &String| {
            let there = signature.features();
            there.iter().position(|other| other == name).ok_or_else(|| {
                format!(
                    "feature {name:?} of rule {:?} is not among {}",
                    self.name,
                    there.join(", ")
                )
            })
        };
        let columns = self.features.iter().map(place).collect::<Result<_, _>>()?;
        match (&self.rule, signature.classes()) {
            (Rule::Class(_), None) => Err(format!("rule {:?} chooses a class", self.name)),
            (Rule::Value(_), Some(_)) => Err(format!("rule {:?} computes a number", self.name)),
            _ => Ok(FittedRule { rule: self.clone(), columns, signature }),
        }
    }

    pub(crate) fn load(&self, saved: &Saved) -> Result<FittedRule, SaveError> {
        check_format(saved, &self.kind(), 1)?;
        let signature =
            serde_json::from_slice(saved.body()).map_err(|error| malformed(error.to_string()))?;
        self.fitted(signature).map_err(malformed)
    }
}

impl fmt::Debug for HeuristicRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeuristicRule({:?} of {})", self.name, self.features.join(", "))
    }
}

impl Estimator for HeuristicRule {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        let features = data.names().iter().cloned();
        let signature = match self.rule {
            Rule::Class(_) => Signature::classifier(features, data.classes()?.1.iter().cloned()),
            Rule::Value(_) => {
                data.values()?;
                Signature::regressor(features, "prediction")
            }
        };
        self.fitted(signature).map(|fitted| Arc::new(fitted) as _).map_err(FitError::failed)
    }
}

/// A rule and the columns it reads.
#[derive(Debug, Clone)]
pub(crate) struct FittedRule {
    rule: HeuristicRule,
    columns: Vec<usize>,
    signature: Signature,
}

impl Model for FittedRule {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.signature.check_shapes(&rows, &out)?;
        let mut seen = scratch.take(self.columns.len());
        for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
            seen.iter_mut().zip(&self.columns).for_each(|(cell, &column)| *cell = row[column]);
            match &self.rule.rule {
                Rule::Value(rule) => out[0] = catch_panic(|| rule(&seen))?,
                Rule::Class(rule) => {
                    let class = catch_panic(|| rule(&seen))?;
                    out.fill(0.0);
                    let classes = out.len();
                    *out.get_mut(class).ok_or_else(|| {
                        let name = &self.rule.name;
                        ModelError::failed(format!(
                            "rule {name:?} chose class {class}, there are {classes} classes"
                        ))
                    })? = 1.0;
                }
            }
        }
        scratch.give(seen);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl FittedModel for FittedRule {
    fn importances(&self) -> Option<Vec<f64>> {
        None
    }

    fn complexity(&self) -> Complexity {
        Complexity { parameters: 0, bytes: size_of::<Self>() }
    }

    /// The name and the signature; the function itself must be registered where it is loaded.
    fn save(&self) -> Result<Saved, SaveError> {
        let body =
            serde_json::to_vec(&self.signature).map_err(|error| malformed(error.to_string()))?;
        Saved::new(self.rule.kind(), 1, body)
    }
}
