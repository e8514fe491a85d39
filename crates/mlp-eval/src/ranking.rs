//! Who is best, and how a model came to be what it is: leaderboards and trends.

use std::collections::BTreeMap;
use std::fmt;

use mlp_core::{Direction, EvaluationId, ModelName, StoreError, VersionNumber, exact};
use serde::{Deserialize, Serialize};

use crate::filter::{Field, Filter};
use crate::query::{Keys, Order, Projection, Query};
use crate::series::SeriesKey;
use crate::store::EvalStore;

/// One line of a leaderboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Standing {
    /// The rank from 1; equal values share the better one, and the next rank is left out.
    pub rank: usize,
    /// The evaluation.
    pub id: EvaluationId,
    /// What it is about.
    pub label: String,
    /// Its value.
    #[serde(with = "exact")]
    pub value: f64,
}

/// The best evaluations by one metric, one for each model: the first of [`Leaderboard::of`]. Prints as aligned text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Leaderboard {
    /// The metric, with the context of its series if that was asked for.
    pub metric: String,
    /// The best first.
    pub standings: Vec<Standing>,
}

impl Leaderboard {
    /// The best evaluation of each model and version among those in use that match, at most `places`. An evaluation without a model stands
    /// for itself. A missing value and NaN have no place.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    pub fn of(
        store: &dyn EvalStore,
        filter: &Filter,
        metric: impl Into<SeriesKey>,
        direction: Direction,
        places: usize,
    ) -> Result<Self, StoreError> {
        let key = metric.into();
        let order = Order::best(Field::metric(&key), direction);
        let only = Projection::nothing().with_metrics(Keys::only([&key.metric]));
        let query = Query::new(filter.clone()).with_order(order).with_limit(500);
        let mut query = query.with_projection(only);
        let mut seen = std::collections::BTreeSet::new();
        let mut standings: Vec<Standing> = Vec::new();
        loop {
            let page = store.query(&query)?;
            for evaluation in page.evaluations {
                let value = evaluation.value(&key).filter(|value| !value.is_nan());
                // Values come first: whoever has none is followed by nobody who has one.
                let Some(value) = value.filter(|_| standings.len() < places) else {
                    return Ok(Self { metric: key.to_string(), standings });
                };
                let of_model =
                    evaluation.model.clone().map(|model| (model, evaluation.model_version));
                if of_model.is_some_and(|model| !seen.insert(model)) {
                    continue;
                }
                let rank = match standings.last() {
                    Some(last) if last.value == value => last.rank,
                    _ => standings.len() + 1,
                };
                standings.push(Standing {
                    rank,
                    id: evaluation.id,
                    label: evaluation.label(),
                    value,
                });
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(Self { metric: key.to_string(), standings });
            }
        }
    }
}

impl fmt::Display for Leaderboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.standings.iter().map(|s| s.label.chars().count()).max().unwrap_or(0);
        writeln!(f, "rank  {:<width$}  {}", "", self.metric)?;
        for Standing { rank, label, value, .. } in &self.standings {
            writeln!(f, "{rank:>4}  {label:<width$}  {value:.4}")?;
        }
        Ok(())
    }
}

/// A metric at one version of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrendPoint {
    /// The version.
    pub version: VersionNumber,
    /// Its latest evaluation that has the metric.
    pub id: EvaluationId,
    /// The value.
    #[serde(with = "exact")]
    pub value: f64,
    /// The value less that of the version before; NaN for the first one.
    #[serde(with = "exact")]
    pub change: f64,
    /// Whether no version before was better.
    pub is_record: bool,
}

/// A metric over the versions of a model. Prints as aligned text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trend {
    /// The model.
    pub model: ModelName,
    /// The metric, with the context of its series if that was asked for.
    pub metric: String,
    /// The lowest version first.
    pub points: Vec<TrendPoint>,
}

impl Trend {
    /// The latest value of each version of a model among the evaluations in use that match. Versions without a value have no point.
    ///
    /// # Errors
    /// As [`EvalStore::query`].
    pub fn of(
        store: &dyn EvalStore,
        model: &ModelName,
        filter: &Filter,
        metric: impl Into<SeriesKey>,
        direction: Direction,
    ) -> Result<Self, StoreError> {
        let key = metric.into();
        let of_model = Filter::model(model.to_string())
            .and(Filter::Present(Field::metric(&key)))
            .and(filter.clone());
        let mut latest: BTreeMap<VersionNumber, (EvaluationId, f64)> = BTreeMap::new();
        let only = Projection::nothing().with_metrics(Keys::only([&key.metric]));
        let mut query = Query::new(of_model).with_limit(1_000).with_projection(only);
        loop {
            let page = store.query(&query)?;
            for evaluation in page.evaluations {
                // The latest start comes first.
                if let (Some(version), Some(value)) =
                    (evaluation.model_version, evaluation.value(&key))
                {
                    latest.entry(version).or_insert((evaluation.id, value));
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let (mut before, mut best) = (f64::NAN, f64::NAN);
        let points = latest.into_iter().map(|(version, (id, value))| {
            let is_record = !value.is_nan() && (best.is_nan() || direction.is_better(value, best));
            let change = value - std::mem::replace(&mut before, value);
            best = if is_record { value } else { best };
            TrendPoint { version, id, value, change, is_record }
        });
        Ok(Self { model: model.clone(), metric: key.to_string(), points: points.collect() })
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} by version", self.metric, self.model)?;
        for TrendPoint { version, value, change, is_record, .. } in &self.points {
            let mark = if *is_record { "  best so far" } else { "" };
            let change = if change.is_nan() { String::new() } else { format!("({change:+.4})") };
            writeln!(f, "{version:>6}  {value:.4} {change:>10}{mark}")?;
        }
        Ok(())
    }
}
