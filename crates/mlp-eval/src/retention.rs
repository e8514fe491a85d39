//! Which evaluations may go: by age, by number, and never those that somebody holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use mlp_core::{Direction, EvaluationId, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, Lifecycle, Status};
use crate::filter::{Field, Filter};
use crate::query::{Keys, Order, Projection, Query};
use crate::series::SeriesKey;
use crate::store::{EvalStore, for_each};

/// The tag that keeps an evaluation until somebody removes it.
pub const PIN: &str = "mlp.pin";
/// The tag that keeps an evaluation because the law says so. It is listed as such, so that nobody takes it for a pin.
pub const LEGAL_HOLD: &str = "mlp.legal_hold";

/// Rules about what is kept. An evaluation goes if a rule says so and nothing keeps it. A hold can be set and removed at any time, also when the
/// evaluation has ended or is in the bin ([`Batch::only_holds`](crate::Batch::only_holds)), and no store purges what is held.
///
/// ```
/// use mlp_core::{Clock, Direction, SystemClock};
/// use mlp_eval::{EvalStoreExt, Filter, InMemoryEvalStore, NewEvaluation, Retention, Stage};
///
/// let (store, clock) = (InMemoryEvalStore::new(), SystemClock::new());
/// for f1 in [0.7, 0.9, 0.8] {
///     store.log(NewEvaluation::new("wine", Stage::Test, clock.now()).with_metric("f1", f1), clock.now())?;
/// }
/// let rules = Retention::new().with_count_per_model(1).with_best("f1", Direction::Maximize, 1);
/// let mut plan = rules.plan(&store, &Filter::everything(), clock.now())?; // a dry run: nothing is deleted yet
/// assert_eq!((plan.goes.len(), plan.kept.len()), (1, 2));
/// println!("{plan}");
/// plan.carry_out(&store)?; // to the bin; `purge` empties it
/// # Ok::<(), mlp_core::StoreError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retention {
    /// What started longer ago than this many seconds goes.
    pub max_age_seconds: Option<f64>,
    /// Of each model in each experiment, what is not among so many latest goes.
    pub count_per_model: Option<usize>,
    /// What is still running so long after it started, in seconds, is taken for abandoned: its process was killed before it could say so.
    /// Without this, what is running never goes.
    pub abandoned_after_seconds: Option<f64>,
    /// In each experiment so many with the best values of a metric, or of one of its series, are kept.
    pub keep_best: Vec<(SeriesKey, Direction, usize)>,
}

/// Why an evaluation goes or is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The evaluation.
    pub id: EvaluationId,
    /// What it is called.
    pub label: String,
    /// Why.
    pub reason: String,
}

/// What would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetentionPlan {
    /// What goes, and why.
    pub goes: Vec<Verdict>,
    /// What a rule would take, and what keeps it; and what no rule takes.
    pub kept: Vec<Verdict>,
    /// What [`carry_out`](Self::carry_out) moved to the bin, and [`purge`](Self::purge) removes for good.
    #[serde(default)]
    pub binned: BTreeSet<EvaluationId>,
}

impl Retention {
    /// No rules: everything is kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets go what started longer ago than this.
    #[must_use]
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age_seconds = Some(age.as_secs_f64());
        self
    }

    /// Takes what still runs so long after it started for abandoned.
    #[must_use]
    pub fn with_abandoned_after(mut self, age: Duration) -> Self {
        self.abandoned_after_seconds = Some(age.as_secs_f64());
        self
    }

    /// Lets go, of each model in each experiment, what is not among so many latest.
    #[must_use]
    pub fn with_count_per_model(mut self, count: usize) -> Self {
        self.count_per_model = Some(count);
        self
    }

    /// Keeps so many with the best values of a metric in each experiment.
    #[must_use]
    pub fn with_best(
        mut self,
        metric: impl Into<SeriesKey>,
        direction: Direction,
        count: usize,
    ) -> Self {
        self.keep_best.push((metric.into(), direction, count));
        self
    }

    /// Says what would go of the evaluations in use that match, and changes nothing.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    pub fn plan(
        &self,
        store: &dyn EvalStore,
        filter: &Filter,
        now: Timestamp,
    ) -> Result<RetentionPlan, StoreError> {
        let best = self.best(store, filter)?;
        let oldest = self.max_age_seconds.map(|seconds| {
            let age = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            now.before(age)
        });
        let mut seen: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
        let mut plan = RetentionPlan::default();
        let holds = Keys::Only([PIN, LEGAL_HOLD].map(str::to_owned).into());
        let query =
            Query::new(filter.clone()).with_projection(Projection::nothing().with_tags(holds));
        // The latest come first.
        for_each(store, &query, &mut |evaluation| {
            let model = evaluation.model.as_ref().map(ToString::to_string);
            let rank = seen.entry((evaluation.experiment.clone(), model)).or_default();
            *rank += 1;
            let too_old = oldest.is_some_and(|oldest| evaluation.started_at < oldest);
            let too_many = self.count_per_model.filter(|count| *rank > *count);
            let verdict =
                |reason: String| Verdict { id: evaluation.id, label: evaluation.label(), reason };
            let goes = match (too_old, too_many) {
                (true, _) => Some(format!("it started at {}", evaluation.started_at)),
                (false, Some(count)) => {
                    Some(format!("it is number {rank} of its model, {count} are kept"))
                }
                (false, None) => None,
            };
            let keeps = held(&evaluation)
                .or_else(|| self.runs(&evaluation, now))
                .or_else(|| best.get(&evaluation.id).cloned());
            match (goes, keeps) {
                (Some(reason), None) => plan.goes.push(verdict(reason)),
                (Some(_), Some(keeps)) => plan.kept.push(verdict(keeps)),
                (None, _) => plan.kept.push(verdict("no rule takes it".to_owned())),
            }
            Ok(())
        })?;
        Ok(plan)
    }

    /// That it is running, if it is and has not been for so long that its process must be gone.
    fn runs(&self, evaluation: &Evaluation, now: Timestamp) -> Option<String> {
        let abandoned = self.abandoned_after_seconds.is_some_and(|seconds| {
            let age = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            evaluation.started_at < now.before(age)
        });
        let runs = evaluation.status == Status::Running && !abandoned;
        runs.then(|| "it is running".to_owned())
    }

    /// The evaluations that are among the best of their experiment, each with the reason.
    fn best(
        &self,
        store: &dyn EvalStore,
        filter: &Filter,
    ) -> Result<BTreeMap<EvaluationId, String>, StoreError> {
        let mut best = BTreeMap::new();
        let experiments: BTreeSet<String> =
            store.experiments(crate::query::View::Active)?.into_iter().map(|e| e.name).collect();
        for (key, direction, count) in &self.keep_best {
            for experiment in &experiments {
                let of_experiment = Filter::experiment(experiment).and(filter.clone());
                let order = Order::best(Field::metric(key), *direction);
                if *count == 0 {
                    continue;
                }
                let only = Keys::only([&key.metric]);
                let mut query = Query::new(of_experiment)
                    .with_order(order)
                    .with_projection(Projection::nothing().with_metrics(only));
                let mut rank = 0;
                loop {
                    let page =
                        store.query(&query.clone().with_limit((*count - rank).min(1_000)))?;
                    // Numbers come first: the first that has none ends the list.
                    let has_number =
                        |e: &Evaluation| e.value(key).is_some_and(|value| !value.is_nan());
                    let page_size = page.evaluations.len();
                    let numbers = page.evaluations.into_iter().take_while(has_number);
                    let before = rank;
                    for evaluation in numbers {
                        rank += 1;
                        let reason = format!("its {key} is number {rank} of its experiment");
                        best.entry(evaluation.id).or_insert(reason);
                    }
                    query.after = page.next;
                    if rank == *count || query.after.is_none() || rank - before < page_size {
                        break;
                    }
                }
            }
        }
        Ok(best)
    }
}

/// What somebody keeps an evaluation by, and why, from what its tags say. For backends, which purge nothing that is held.
#[must_use]
pub fn hold_of<'a>(tag: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let legal = tag(LEGAL_HOLD).map(|reason| format!("legal hold: {reason}"));
    legal.or_else(|| tag(PIN).map(|reason| format!("pinned: {reason}")))
}

fn held(evaluation: &Evaluation) -> Option<String> {
    hold_of(|name| evaluation.tags.get(name).map(String::as_str))
}

impl RetentionPlan {
    /// Moves what goes to the bin; what somebody tagged, moved there, removed or began to keep meanwhile is left alone. Returns how many went,
    /// and notes which: [`purge`](Self::purge) takes no others.
    ///
    /// # Errors
    /// If the storage fails; what went until then is in the bin, and noted.
    pub fn carry_out(&mut self, store: &dyn EvalStore) -> Result<u64, StoreError> {
        let mut gone = 0;
        for verdict in &self.goes {
            let evaluation = match store.get(verdict.id) {
                Ok(evaluation) => evaluation,
                Err(StoreError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            // What ran when the plan was made was taken for abandoned, and still is.
            if held(&evaluation).is_none() && evaluation.lifecycle == Lifecycle::Active {
                store.delete(verdict.id)?;
                self.binned.insert(verdict.id);
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Removes for good what [`carry_out`](Self::carry_out) moved to the bin, unless somebody restored or holds it. Returns how many went.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn purge(&self, store: &dyn EvalStore) -> Result<u64, StoreError> {
        let mut gone = 0;
        for id in &self.binned {
            match store.purge(*id) {
                Ok(()) => gone += 1,
                // Somebody restored it, or holds it.
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }
}

impl fmt::Display for RetentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, verdicts) in [("goes", &self.goes), ("kept", &self.kept)] {
            for Verdict { label, reason, .. } in verdicts {
                writeln!(f, "{word}  {label}: {reason}")?;
            }
        }
        write!(f, "{} go, {} are kept", self.goes.len(), self.kept.len())
    }
}
