//! Start simple: climb from the dummy to the forest, and go no higher than the scores justify.

use std::fmt;
use std::sync::Arc;

use mlp_core::{Complexity, Estimator, Samples, Target};
use mlp_models::{
    DecisionTree, DummyClassifier, DummyRegressor, GradientBoosting, LinearRegression,
    LogisticRegression, Pipeline, RandomForest, StandardScaler,
};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::rule::{Candidate, Choice, Cost, Rule, oriented};
use crate::scorer::Scorer;
use crate::split::Split;
use crate::suspicion::{Suspicion, suspicions};
use crate::validate::{CrossValidation, Failures, Summary, Validated, chain};

/// Estimators ordered from simple to complex, compared on the same folds.
///
/// A rung may be a pipeline, so the ladder climbs features as well as models: the same model on the columns as they are, on transformed ones, on
/// generated ones, as three rungs by the same rule.
///
/// ```
/// use mlp_core::{Samples, Target};
/// use mlp_models::{DecisionTree, DummyClassifier, LogisticRegression};
/// use mlp_select::{CrossValidation, Ladder, Score, StratifiedKFold};
/// # let features = ndarray::Array2::from_shape_fn((60, 2), |(i, j)| ((i * 7 + j * 3) % 11) as f64 + (i % 2) as f64 * 4.0);
/// # let names = ["a".to_owned(), "b".to_owned()];
/// # let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
/// # let classes = ["no".to_owned(), "yes".to_owned()];
/// # let samples = Samples::new(features.view(), &names, Target::Classes { labels: &labels, names: &classes })?;
/// let report = Ladder::new(Score::RocAuc)
///     .baseline("most frequent class", DummyClassifier::most_frequent())
///     .rung("logistic regression", LogisticRegression::default())
///     .rung("decision tree", DecisionTree::default())
///     .climb(&samples, &StratifiedKFold::new(5), &CrossValidation::default())?;
/// println!("{report}");
/// assert_eq!(report.chosen().name, "logistic regression");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ladder {
    rungs: Vec<(String, Kind, Arc<dyn Estimator>)>,
    scorer: Arc<dyn Scorer>,
    rule: Rule,
    patience: Option<usize>,
}

/// Whether a rung learns anything from the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It does not: what a model must beat.
    Baseline,
    /// It does.
    Model,
}

impl Ladder {
    /// A ladder without rungs, judged by this score and the one-standard-error rule.
    pub fn new(scorer: impl Scorer + 'static) -> Self {
        Self { rungs: Vec::new(), scorer: Arc::new(scorer), rule: Rule::default(), patience: None }
    }

    /// Adds a rung that learns nothing from the features. If one is chosen, the report raises an alarm.
    #[must_use]
    pub fn baseline(self, name: impl Into<String>, estimator: impl Estimator + 'static) -> Self {
        self.with(name, Kind::Baseline, Arc::new(estimator))
    }

    /// Adds the next rung: more complex than all before it.
    #[must_use]
    pub fn rung(self, name: impl Into<String>, estimator: impl Estimator + 'static) -> Self {
        self.with(name, Kind::Model, Arc::new(estimator))
    }

    /// Adds the next rung, whose estimator is shared.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        kind: Kind,
        estimator: Arc<dyn Estimator>,
    ) -> Self {
        self.rungs.push((name.into(), kind, estimator));
        self
    }

    /// Stops climbing after so many rungs in a row that are no better than the best below them; by default every rung is tried.
    #[must_use]
    pub fn with_patience(mut self, rungs: usize) -> Self {
        self.patience = Some(rungs.max(1));
        self
    }

    /// Sets when a simpler rung is good enough.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Cross-validates every rung on the same folds, and chooses by the rule.
    ///
    /// A rung that fails is reported and excluded; the others are still compared.
    ///
    /// # Errors
    /// If there is no rung, the rows cannot be split, there are too few folds for the rule, or no rung has a score.
    pub fn climb(
        &self,
        data: &Samples<'_>,
        split: &dyn Split,
        validation: &CrossValidation,
    ) -> Result<LadderReport, SelectError> {
        if self.rungs.is_empty() {
            return Err(setting("the number of rungs", 0, "at least 1"));
        }
        let folds = split.split(data)?;
        self.rule.check_folds(folds.len())?;
        let validation = validation.clone().with_failures(Failures::Stop);
        let climb_one = |(name, kind, estimator): &(String, Kind, Arc<dyn Estimator>)| {
            let validated = match validation.run_folds(&**estimator, data, &folds, &[&*self.scorer])
            {
                Ok(validated) => Ok(validated),
                Err(error @ SelectError::Fold { .. }) => Err(chain(&error)),
                Err(error) => return Err(error),
            };
            Ok(RungReport {
                name: name.clone(),
                kind: *kind,
                validated,
                metric: self.scorer.name().to_owned(),
            })
        };
        let suspicions = suspicions(data, &folds);
        if suspicions.contains(&Suspicion::ConstantTarget) {
            return Err(SelectError::ConstantTarget);
        }
        let (mut rungs, mut best, mut since) = (Vec::new(), None, 0);
        for rung in &self.rungs {
            let report = climb_one(rung)?;
            let mean = report.summary().map(|s| oriented(self.scorer.direction(), s.mean));
            let is_better = mean > best;
            (best, since) = if is_better { (mean, 0) } else { (best, since + 1) };
            rungs.push(report);
            if self.patience.is_some_and(|patience| since >= patience) {
                break;
            }
        }
        let not_tried: Vec<String> =
            self.rungs[rungs.len()..].iter().map(|rung| rung.0.clone()).collect();
        let metric = self.scorer.name().to_owned();
        let candidates: Vec<_> = rungs.iter().map(|rung| rung.candidate(self.rule)).collect();
        let choice = self.rule.choose_on(self.scorer.direction(), &candidates, &folds);
        let choice =
            choice.ok_or_else(|| SelectError::NoScores { what: "rung", metric: metric.clone() })?;
        Ok(LadderReport { metric, rule: self.rule, rungs, not_tried, suspicions, choice })
    }
}

/// What came of one rung.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RungReport {
    /// Its name.
    pub name: String,
    /// Whether it learns from the features.
    pub kind: Kind,
    /// Its scores on the shared folds, or why it failed.
    pub validated: Result<Validated, String>,
    metric: String,
}

impl RungReport {
    /// Mean and spread of the score; none if the rung failed.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        self.validated.as_ref().ok()?.summary(&self.metric)
    }

    /// How complex the rung's largest model is; none if the rung failed.
    #[must_use]
    pub fn complexity(&self) -> Option<Complexity> {
        self.validated.as_ref().ok()?.complexity()
    }

    fn cost(&self, cost: Cost) -> Option<f64> {
        let validated = self.validated.as_ref().ok()?;
        Some(match cost {
            Cost::MicrosecondsPerRow => validated.time_per_row().as_secs_f64() * 1e6,
            Cost::Bytes => validated.complexity()?.bytes as f64,
        })
    }

    fn candidate(&self, rule: Rule) -> Candidate<'_> {
        let scores = self
            .validated
            .as_ref()
            .map_or_else(|_| vec![None], |validated| validated.scores(&self.metric));
        let cost = match rule {
            Rule::CostBenefit { cost, .. } => self.cost(cost),
            _ => None,
        };
        Candidate { name: &self.name, scores, cost }
    }
}

/// What came of a climb: every rung's scores, and the verdict.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LadderReport {
    /// The metric that decided.
    pub metric: String,
    /// The rule that decided.
    pub rule: Rule,
    /// The rungs, from simple to complex.
    pub rungs: Vec<RungReport>,
    /// The rungs above, which were not tried because those below them brought nothing any more.
    pub not_tried: Vec<String>,
    /// What in the data makes the scores suspect.
    pub suspicions: Vec<Suspicion>,
    /// What the rule chose.
    pub choice: Choice,
}

impl LadderReport {
    /// The rung that the rule chose.
    #[must_use]
    pub fn chosen(&self) -> &RungReport {
        &self.rungs[self.choice.chosen]
    }

    /// The rung with the best mean.
    #[must_use]
    pub fn best(&self) -> &RungReport {
        &self.rungs[self.choice.best]
    }

    /// The verdict in words. It depends on scores and sizes only, not on the time anything took.
    #[must_use]
    pub fn verdict(&self) -> String {
        let (chosen, best, gap) = (self.chosen(), self.best(), self.choice.gap);
        let mean = best.summary().map_or(f64::NAN, |summary| summary.mean);
        if self.choice.chosen == self.choice.best {
            let limit = match (self.rule, self.choice.allowed) {
                (Rule::Best, _) | (Rule::Tolerance(_), None) | (Rule::OneStandardError, None) => {
                    "the best mean decides".to_owned()
                }
                (Rule::OneStandardError, Some(error)) => {
                    format!("no simpler rung is within one standard error ({error:.4})")
                }
                (Rule::Tolerance(_), Some(by)) => format!("no simpler rung is within {by}"),
                (Rule::CostBenefit { cost, worth }, _) => worth_of(cost, worth),
                (Rule::CorrectedT(alpha), _) => format!(
                    "every simpler rung is significantly worse or has no finite scores (corrected t-test, level {alpha})"
                ),
            };
            return format!(
                "{}: it has the best {}, {mean:.4}, and {limit}",
                chosen.name, self.metric
            );
        }
        let reason = match (self.rule, self.choice.allowed) {
            (Rule::OneStandardError, Some(error)) => {
                format!("within one standard error ({error:.4})")
            }
            (Rule::Tolerance(_), Some(by)) => format!("within the tolerance of {by}"),
            (Rule::CostBenefit { cost, worth }, _) => {
                format!("which costs too much ({})", worth_of(cost, worth))
            }
            (Rule::CorrectedT(alpha), _) => {
                format!("not significantly (corrected t-test, level {alpha})")
            }
            _ => "a tie".to_owned(),
        };
        let sizes = chosen.complexity().zip(best.complexity());
        let size = sizes.map_or_else(String::new, |(simple, complex)| {
            format!(
                ", and has {} fitted numbers instead of {}",
                complex.parameters, simple.parameters
            )
        });
        format!(
            "{}: {} is {gap:.4} better in {}, {reason}{size}",
            chosen.name, best.name, self.metric
        )
    }

    /// What the simpler rung saves in time, as measured here: "the forest takes 40 times as long a row".
    #[must_use]
    pub fn saving(&self) -> Option<String> {
        let time = |rung: &RungReport| {
            Some(rung.validated.as_ref().ok()?.time_per_row().as_nanos() as f64)
                .filter(|&nanos| nanos > 0.0)
        };
        let ratio = time(self.best())? / time(self.chosen())?;
        (self.choice.chosen != self.choice.best)
            .then(|| format!("{} takes {ratio:.1} times as long a row", self.best().name))
    }

    /// An alarm, if a baseline was chosen: a mistake in the data or the labels is likelier than that nothing can be learnt.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        let chosen = self.chosen();
        (chosen.kind == Kind::Baseline).then(|| {
            format!("{:?} learns nothing from the features and was not beaten: look for a mistake in the data or the labels first", chosen.name)
        })
    }
}

fn worth_of(cost: Cost, worth: f64) -> String {
    let unit = match cost {
        Cost::MicrosecondsPerRow => "microsecond a row",
        Cost::Bytes => "byte",
    };
    format!("every {unit} more must bring {worth}")
}

/// The usual ladder for a task, to be judged by this score: a dummy, a linear model on standardised features, a tree, a forest, boosting.
///
/// ```
/// # use mlp_core::{Samples, Target};
/// use mlp_select::{CrossValidation, Score, StratifiedKFold, standard_ladder};
///
/// # let features = ndarray::Array2::from_shape_fn((60, 2), |(i, j)| ((i * 7 + j * 3) % 11) as f64 + (i % 2) as f64 * 4.0);
/// # let names = ["a".to_owned(), "b".to_owned()];
/// # let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
/// # let classes = ["no".to_owned(), "yes".to_owned()];
/// # let samples = Samples::new(features.view(), &names, Target::Classes { labels: &labels, names: &classes })?;
/// let report = standard_ladder(samples.target(), Score::RocAuc)
///     .climb(&samples, &StratifiedKFold::new(5), &CrossValidation::default())?;
/// println!("{}", report.verdict());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn standard_ladder(target: Target<'_>, scorer: impl Scorer + 'static) -> Ladder {
    // Folds are worked on side by side, so a forest needs no threads of its own.
    let forest = RandomForest::default().with_threads(1);
    let ladder = Ladder::new(scorer);
    let ladder = match target {
        Target::Values(_) => ladder.baseline("mean", DummyRegressor::mean()).rung(
            "linear regression",
            Pipeline::of(LinearRegression::default().with_alpha(1.0))
                .after("standardise", StandardScaler),
        ),
        _ => ladder.baseline("class shares", DummyClassifier::prior()).rung(
            "logistic regression",
            Pipeline::of(LogisticRegression::default()).after("standardise", StandardScaler),
        ),
    };
    ladder
        .rung("decision tree", DecisionTree::default().with_max_depth(5))
        .rung("random forest", forest)
        .rung("gradient boosting", GradientBoosting::default())
}

impl fmt::Display for LadderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.rungs.iter().map(|rung| rung.name.chars().count()).max().unwrap_or(0).max(4);
        let header = ["std error", "numbers", "bytes", "fit ms", "µs a row"];
        write!(f, "{:<width$} {:>10}", "rung", self.metric)?;
        header.iter().try_for_each(|column| write!(f, " {column:>10}"))?;
        for (i, rung) in self.rungs.iter().enumerate() {
            write!(f, "\n{:<width$}", rung.name)?;
            match (&rung.validated, rung.summary(), rung.complexity()) {
                (Ok(validated), Some(summary), Some(complexity)) => write!(
                    f,
                    " {:>10.4} {:>10.4} {:>10} {:>10} {:>10.1} {:>10.2}",
                    summary.mean,
                    summary.standard_error,
                    complexity.parameters,
                    complexity.bytes,
                    validated.fit_time().as_secs_f64() * 1e3,
                    validated.time_per_row().as_secs_f64() * 1e6
                )?,
                (Err(reason), _, _) => write!(f, " failed: {reason}")?,
                _ => write!(f, " {:>10}", "undefined")?,
            }
            if i == self.choice.chosen {
                write!(f, "  <- chosen")?;
            } else if i == self.choice.best {
                write!(f, "  <- best")?;
            }
        }
        for name in &self.not_tried {
            write!(f, "\n{name:<width$} {:>10}", "not tried")?;
        }
        for suspicion in &self.suspicions {
            write!(f, "\nsuspicious: {suspicion}")?;
        }
        write!(f, "\nverdict: {}", self.verdict())?;
        self.alarm().map_or(Ok(()), |alarm| write!(f, "\nalarm: {alarm}"))
    }
}
