//! Pages of evaluations: by an index where there is one, by sorting what matches otherwise.

use std::cmp::Ordering;

use mlp_core::{StoreError, Timestamp};
use mlp_eval::{
    Field, Filter, Operator, Order, Page, PageToken, Position, Query, SeriesKey, Sorting,
    Statistic, Value, View,
};
use rusqlite::types::Value as Bound;
use rusqlite::{Connection, Row};

use super::filter::{Condition, condition};
use super::rows::{self, Bin, id_from};
use super::{experiments, keys, load, sorted};
use crate::error::{Sql, corrupt};

/// An evaluation on a page: its number, and where it stands.
pub(super) type Found = (i64, Position);

pub(super) fn count(connection: &Connection, filter: &Filter) -> Result<u64, StoreError> {
    let Some(scope) = scope(connection, filter)? else { return Ok(0) };
    let statement = count_statement(scope, filter);
    let counts = statement.rows(connection, |row| row.get::<_, i64>(0))?;
    Ok(counts.into_iter().map(i64::unsigned_abs).sum())
}

fn count_statement(scope: Scope, filter: &Filter) -> Condition {
    let condition = condition(filter);
    let (which, mut bound) = scope.of("e", Bin::InUse);
    let sql = format!(
        "SELECT count(*) FROM evaluation e {} WHERE {which} AND {}",
        scope.index_for(filter),
        condition.sql
    );
    bound.extend(condition.bound);
    Condition::new(sql, bound)
}

pub(super) fn read(connection: &Connection, query: &Query) -> Result<Page, StoreError> {
    let mut found = match &query.order[..] {
        [] => by_start(connection, query, Sorting::Descending)?,
        [Order { field: Field::StartedAt, sorting }] => by_start(connection, query, *sorting)?,
        [Order { field: Field::Metric(metric, Statistic::Last), sorting }] => {
            by_metric(connection, query, metric, *sorting)?
        }
        _ => sorted::read(connection, query)?,
    };
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    // What the order reads is needed for the token, what the filter reads to verify it; both are taken out again.
    let wider = query.projection.with_fields(query.fields());
    let mut loader = load::Loader::new(connection, &wider)?;
    let mut evaluations = Vec::with_capacity(found.len());
    for (n, position) in &found {
        let row = rows::by_number(connection, *n)?.ok_or_else(|| {
            let what = format!("evaluation {}", position.id);
            corrupt(what, "an index names it, but it is not there")
        })?;
        let evaluation = loader.evaluation(&row)?;
        // What an index says carries no checksum; what was loaded does.
        let is_in_scope = bins(query.view).contains(&row.bin)
            && experiment_of(&query.filter).is_none_or(|name| name == evaluation.experiment);
        if !is_in_scope || query.compare(&query.position(&evaluation), position).is_ne() {
            let what = format!("evaluation {}", evaluation.id);
            return Err(corrupt(what, "an index names another place"));
        }
        if !query.filter.matches(&evaluation) {
            let what = format!("evaluation {}", evaluation.id);
            return Err(corrupt(what, "an index finds it for what it is not"));
        }
        evaluations.push(evaluation);
    }
    let next = evaluations.last().filter(|_| more).map(|last| PageToken::new(query, last));
    evaluations.iter_mut().for_each(|evaluation| query.projection.apply(evaluation));
    Ok(Page { evaluations, next })
}

/// The experiment that a filter asks for, if it asks for one.
fn experiment_of(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::Compare(Field::Experiment, Operator::Equal, Value::Text(name)) => Some(name),
        Filter::All(filters) => filters.iter().find_map(experiment_of),
        _ => None,
    }
}

fn asks_for_id(filter: &Filter) -> bool {
    match filter {
        Filter::Compare(Field::Id, Operator::Equal, _) => true,
        Filter::All(filters) => filters.iter().any(asks_for_id),
        _ => false,
    }
}

/// Where an index is read: in one experiment, or in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Experiment(i64),
    Everywhere,
}

impl Scope {
    /// The condition that a table is read by, with what is bound in it.
    fn of(self, table: &str, bin: Bin) -> (String, Vec<Bound>) {
        let bin = Bound::Integer(bin as i64);
        match self {
            Self::Experiment(n) => (
                format!("{table}.experiment = ? AND {table}.bin = ?"),
                vec![Bound::Integer(n), bin],
            ),
            Self::Everywhere => (format!("{table}.bin = ?"), vec![bin]),
        }
    }

    /// The index that all evaluations in the scope are read by, unless the filter asks for one of them by its id.
    pub(super) fn index_for(self, filter: &Filter) -> String {
        match asks_for_id(filter) {
            true => String::new(),
            false => format!("INDEXED BY {}", self.index_of_starts()),
        }
    }

    fn index_of_starts(self) -> &'static str {
        match self {
            Self::Experiment(_) => "evaluation_by_experiment",
            Self::Everywhere => "evaluation_by_start",
        }
    }
}

/// None if the filter asks for an experiment that is not there.
pub(super) fn scope(connection: &Connection, filter: &Filter) -> Result<Option<Scope>, StoreError> {
    Ok(match experiment_of(filter) {
        Some(name) => experiments::find(connection, name)?.map(|row| Scope::Experiment(row.n)),
        None => Some(Scope::Everywhere),
    })
}

pub(super) fn bins(view: View) -> &'static [Bin] {
    match view {
        View::Active => &[Bin::InUse],
        View::Deleted => &[Bin::Deleted, Bin::WithExperiment],
        View::All => &[Bin::InUse, Bin::Deleted, Bin::WithExperiment],
    }
}

/// Reads what a statement finds. `n`, start and id are its first columns.
fn rows_of(
    connection: &Connection,
    statement: Condition,
    keys: impl Fn(&Row<'_>) -> Sql<Vec<Option<Value>>>,
) -> Result<Vec<Found>, StoreError> {
    statement.rows(connection, |row| found_of(row, keys(row)?))
}

pub(super) fn found_of(row: &Row<'_>, keys: Vec<Option<Value>>) -> Sql<Found> {
    let id: Vec<u8> = row.get(2)?;
    let started_at = Timestamp::from_micros(row.get(1)?);
    Ok((row.get(0)?, Position::new(keys, started_at, id_from(&id)?)))
}

/// The first of several parts that are each in order.
fn merged(query: &Query, mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by(|(_, one), (_, other)| query.compare(one, other));
    found.truncate(query.limit + 1);
    found
}

/// What comes after a start and an id, the start of this table.
fn after(position: Option<&Position>, table: &str, sorting: Sorting) -> Condition {
    let Some(position) = position else { return Condition::new("1", []) };
    let start = Bound::Integer(position.started_at.as_micros());
    let id = Bound::Blob(position.id.as_bytes().to_vec());
    let beyond = match sorting {
        Sorting::Ascending => ">",
        Sorting::Descending => "<",
    };
    // The first half is what an index can seek by.
    let sql =
        format!("({table}.started_at {beyond}= ? AND ({table}.started_at {beyond} ? OR e.id > ?))");
    Condition::new(sql, [start.clone(), start, id])
}

pub(super) fn direction(sorting: Sorting) -> &'static str {
    match sorting {
        Sorting::Ascending => "ASC",
        Sorting::Descending => "DESC",
    }
}

pub(super) fn limit(query: &Query) -> Bound {
    Bound::Integer(query.limit as i64 + 1)
}

fn by_start(
    connection: &Connection,
    query: &Query,
    sorting: Sorting,
) -> Result<Vec<Found>, StoreError> {
    let Some(scope) = scope(connection, &query.filter)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for bin in bins(query.view) {
        let statement = start_statement(query, sorting, scope, *bin);
        found.extend(rows_of(connection, statement, |row| {
            let started_at = Value::Time(Timestamp::from_micros(row.get(1)?));
            Ok(query.order.iter().map(|_| Some(started_at.clone())).collect())
        })?);
    }
    Ok(merged(query, found))
}

fn start_statement(query: &Query, sorting: Sorting, scope: Scope, bin: Bin) -> Condition {
    let filter = condition(&query.filter);
    let after = after(query.after.as_ref().map(PageToken::position), "e", sorting);
    let (which, mut bound) = scope.of("e", bin);
    let sql = format!(
        "SELECT e.n, e.started_at, e.id FROM evaluation e INDEXED BY {} WHERE {which} \
         AND {} AND {} ORDER BY e.started_at {}, e.id LIMIT ?",
        scope.index_of_starts(),
        after.sql,
        filter.sql,
        direction(sorting)
    );
    bound.extend(after.bound.into_iter().chain(filter.bound));
    bound.push(limit(query));
    Condition::new(sql, bound)
}

/// In both directions numbers come first, then NaN, then evaluations without the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Numbers,
    Nan,
    Missing,
}

/// A walk along the values of a metric.
struct Walk<'a> {
    connection: &'a Connection,
    query: &'a Query,
    metric: &'a SeriesKey,
    sorting: Sorting,
    scope: Scope,
    /// The experiments in the scope: the index holds the values of each by themselves.
    experiments: Vec<i64>,
    /// The number of its key, if any evaluation ever had it.
    key: Option<i64>,
}

fn by_metric(
    connection: &Connection,
    query: &Query,
    metric: &SeriesKey,
    sorting: Sorting,
) -> Result<Vec<Found>, StoreError> {
    let Some(scope) = scope(connection, &query.filter)? else { return Ok(Vec::new()) };
    let walk = Walk::new(connection, query, metric, sorting, scope)?;
    let token = query.after.as_ref().map(PageToken::position);
    let (first, value) = match token.map(|position| &position.keys[..]) {
        None => (Phase::Numbers, None),
        Some([Some(Value::Number(number))]) if number.is_nan() => (Phase::Nan, None),
        Some([Some(Value::Number(number))]) => (Phase::Numbers, Some(*number)),
        Some(_) => (Phase::Missing, None),
    };
    let mut found: Vec<Found> = Vec::new();
    for phase in [Phase::Numbers, Phase::Nan, Phase::Missing] {
        if phase < first || found.len() > query.limit || excludes(&query.filter, metric, phase) {
            continue;
        }
        // A token says where to go on in its own phase only.
        let token = token.filter(|_| phase == first);
        let mut of_phase = Vec::new();
        for bin in bins(query.view) {
            if phase == Phase::Missing {
                of_phase.extend(walk.missing(*bin, token)?);
                continue;
            }
            if phase == Phase::Nan {
                for experiment in &walk.experiments {
                    of_phase.extend(walk.ties(*experiment, *bin, f64::NAN, token)?);
                    // No more than a page is kept, however many experiments there are.
                    of_phase = merged(query, of_phase);
                }
                continue;
            }
            for (experiment, first) in walk.by_first(*bin, value)? {
                if walk.is_beyond(first, &of_phase) {
                    break;
                }
                of_phase.extend(walk.numbers(experiment, *bin, value.zip(token))?);
                of_phase = merged(query, of_phase);
            }
        }
        found.extend(merged(query, of_phase));
    }
    found.truncate(query.limit + 1);
    Ok(found)
}

impl<'a> Walk<'a> {
    fn new(
        connection: &'a Connection,
        query: &'a Query,
        metric: &'a SeriesKey,
        sorting: Sorting,
        scope: Scope,
    ) -> Result<Self, StoreError> {
        let experiments = match scope {
            Scope::Experiment(n) => vec![n],
            Scope::Everywhere => experiments::all(connection)?.iter().map(|row| row.n).collect(),
        };
        let key = keys::number(connection, metric)?;
        Ok(Self { connection, query, metric, sorting, scope, experiments, key })
    }

    /// The experiments in the scope that have a number, from a number on if one is given: the one with the first of all numbers first. Of a single
    /// experiment its first number is not asked for.
    fn by_first(&self, bin: Bin, from: Option<f64>) -> Result<Vec<(i64, Option<f64>)>, StoreError> {
        if let [only] = self.experiments[..] {
            return Ok(vec![(only, None)]);
        }
        let Some(statement) = self.firsts_statement(bin, from) else { return Ok(Vec::new()) };
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<f64>>(1)?));
        let mut firsts = statement.rows(self.connection, read)?;
        firsts.retain(|(_, first)| first.is_some());
        firsts.sort_by(|(_, one), (_, other)| match self.sorting {
            Sorting::Ascending => one.partial_cmp(other).unwrap_or(Ordering::Equal),
            Sorting::Descending => other.partial_cmp(one).unwrap_or(Ordering::Equal),
        });
        Ok(firsts)
    }

    /// The first number of each experiment, without regard to the filter: none of those that match comes before it.
    fn firsts_statement(&self, bin: Bin, from: Option<f64>) -> Option<Condition> {
        let (symbol, direction) = match self.sorting {
            Sorting::Ascending => (">=", "ASC"),
            Sorting::Descending => ("<=", "DESC"),
        };
        let beyond = from.map_or(String::new(), |_| format!("AND s.last {symbol} ? "));
        let sql = format!(
            "SELECT x.n, (SELECT s.last FROM latest_value s \
             WHERE s.key = ? AND s.experiment = x.n AND s.bin = ? AND s.is_nan = 0 {beyond}\
             ORDER BY s.last {direction} LIMIT 1) FROM experiment x"
        );
        let mut bound = vec![Bound::Integer(self.key?), Bound::Integer(bin as i64)];
        bound.extend(from.map(Bound::Real));
        Some(Condition::new(sql, bound))
    }

    /// Whether a page is full of what comes before an experiment's first number.
    fn is_beyond(&self, first: Option<f64>, found: &[Found]) -> bool {
        let last = found.get(self.query.limit).map(|(_, position)| &position.keys[..]);
        match (first, last) {
            (Some(first), Some([Some(Value::Number(last))])) => match self.sorting {
                Sorting::Ascending => first > *last,
                Sorting::Descending => first < *last,
            },
            _ => false,
        }
    }

    /// Those with a number, from a number and a place among its equals on. The values are walked along without regard to ties, as no index
    /// has both directions; the ties of the value at which the page is full are then read from the index by themselves.
    fn numbers(
        &self,
        experiment: i64,
        bin: Bin,
        from: Option<(f64, &Position)>,
    ) -> Result<Vec<Found>, StoreError> {
        let mut found = match from {
            Some((value, position)) => self.ties(experiment, bin, value, Some(position))?,
            None => Vec::new(),
        };
        if found.len() > self.query.limit {
            return Ok(found);
        }
        let beyond = from.map(|(value, _)| value);
        let Some(statement) = self.values_statement(experiment, bin, beyond) else {
            return Ok(found);
        };
        let mut walked =
            rows_of(self.connection, statement, |row| Ok(vec![Some(Value::Number(row.get(3)?))]))?;
        // The last one is beyond the page, and only says that there are more. If its value is on the page too, the ties matter.
        if let [.., (_, one), (_, beyond)] = &walked[..]
            && walked.len() > self.query.limit
            && one.keys == beyond.keys
            && let Some(Some(Value::Number(last))) = one.keys.first().cloned()
        {
            walked.retain(|(_, at)| at.keys[0] != Some(Value::Number(last)));
            walked.extend(self.ties(experiment, bin, last, None)?);
        }
        found.extend(walked);
        Ok(found)
    }

    /// Along the values, beyond one if it is given.
    fn values_statement(
        &self,
        experiment: i64,
        bin: Bin,
        beyond: Option<f64>,
    ) -> Option<Condition> {
        let (symbol, direction) = match self.sorting {
            Sorting::Ascending => (">", "ASC"),
            Sorting::Descending => ("<", "DESC"),
        };
        let (mut which, mut bound) = bounds_of(&self.query.filter, self.metric);
        if let Some(value) = beyond {
            which.push_str(&format!(" AND s.last {symbol} ?"));
            bound.push(Bound::Real(value));
        }
        let order = format!("s.last {direction}");
        self.statement(experiment, bin, Phase::Numbers, Condition::new(which, bound), &order)
    }

    /// Those with a value, or with NaN, from a place among them on.
    fn ties(
        &self,
        experiment: i64,
        bin: Bin,
        value: f64,
        from: Option<&Position>,
    ) -> Result<Vec<Found>, StoreError> {
        match self.ties_statement(experiment, bin, value, from) {
            Some(statement) => {
                rows_of(self.connection, statement, |_| Ok(vec![Some(Value::Number(value))]))
            }
            None => Ok(Vec::new()),
        }
    }

    fn ties_statement(
        &self,
        experiment: i64,
        bin: Bin,
        value: f64,
        from: Option<&Position>,
    ) -> Option<Condition> {
        // Of NaN the index holds a 0 in its own part.
        let (phase, value) =
            if value.is_nan() { (Phase::Nan, 0.0) } else { (Phase::Numbers, value) };
        let after = after(from, "s", Sorting::Descending);
        let bound = std::iter::once(Bound::Real(value)).chain(after.bound);
        let which = Condition::new(format!(" AND s.last = ? AND {}", after.sql), bound);
        self.statement(experiment, bin, phase, which, "s.started_at DESC, e.id")
    }

    fn statement(
        &self,
        experiment: i64,
        bin: Bin,
        phase: Phase,
        which: Condition,
        order: &str,
    ) -> Option<Condition> {
        let filter = condition(&self.query.filter);
        let (place, at) = Scope::Experiment(experiment).of("s", bin);
        let sql = format!(
            "SELECT e.n, e.started_at, e.id, s.last FROM latest_value s \
             CROSS JOIN evaluation e ON e.n = s.evaluation \
             WHERE s.key = ? AND {place} AND s.is_nan = ?{} AND {} ORDER BY {order} LIMIT ?",
            which.sql, filter.sql
        );
        let mut bound = vec![Bound::Integer(self.key?)];
        bound.extend(at);
        bound.push(Bound::Integer(i64::from(phase == Phase::Nan)));
        bound.extend(which.bound.into_iter().chain(filter.bound));
        bound.push(limit(self.query));
        Some(Condition::new(sql, bound))
    }

    /// Those without the metric: the latest first, each looked up.
    fn missing(&self, bin: Bin, from: Option<&Position>) -> Result<Vec<Found>, StoreError> {
        rows_of(self.connection, self.missing_statement(bin, from), |_| Ok(vec![None]))
    }

    fn missing_statement(&self, bin: Bin, from: Option<&Position>) -> Condition {
        let filter = condition(&self.query.filter);
        let after = after(from, "e", Sorting::Descending);
        let (place, mut bound) = self.scope.of("e", bin);
        let without = match self.key {
            Some(_) => {
                let last = Statistic::Last as usize;
                format!(
                    "NOT EXISTS (SELECT 1 FROM scores WHERE n = e.n AND mlp_series_kind(card, ?, {last}) IS NOT NULL)"
                )
            }
            None => "1".to_owned(),
        };
        let sql = format!(
            "SELECT e.n, e.started_at, e.id FROM evaluation e INDEXED BY {} \
             WHERE {place} AND {without} AND {} AND {} ORDER BY e.started_at DESC, e.id LIMIT ?",
            self.scope.index_of_starts(),
            after.sql,
            filter.sql
        );
        bound.extend(self.key.map(Bound::Integer));
        bound.extend(after.bound.into_iter().chain(filter.bound));
        bound.push(limit(self.query));
        Condition::new(sql, bound)
    }
}

/// Whether a filter passes over a phase as a whole: a comparison never matches a missing metric, and only `!=` matches NaN.
fn excludes(filter: &Filter, metric: &SeriesKey, phase: Phase) -> bool {
    match filter {
        Filter::All(filters) => filters.iter().any(|filter| excludes(filter, metric, phase)),
        Filter::Present(Field::Metric(name, Statistic::Last)) => {
            name == metric && phase == Phase::Missing
        }
        Filter::Compare(Field::Metric(name, Statistic::Last), operator, Value::Number(number)) => {
            let takes_nan = *operator == Operator::NotEqual || number.is_nan();
            name == metric && (phase == Phase::Missing || (phase == Phase::Nan && !takes_nan))
        }
        _ => false,
    }
}

/// What the filter asks of the very number that is sorted by: bounds for the walk along the index.
fn bounds_of(filter: &Filter, metric: &SeriesKey) -> (String, Vec<Bound>) {
    match filter {
        Filter::All(filters) => {
            let each = filters.iter().map(|filter| bounds_of(filter, metric));
            each.fold((String::new(), Vec::new()), |mut all, (sql, bound)| {
                all.0.push_str(&sql);
                all.1.extend(bound);
                all
            })
        }
        Filter::Compare(Field::Metric(name, Statistic::Last), operator, Value::Number(number))
            if name == metric && !number.is_nan() =>
        {
            let symbol = match operator {
                Operator::Equal => "=",
                Operator::Less => "<",
                Operator::AtMost => "<=",
                Operator::Greater => ">",
                Operator::AtLeast => ">=",
                _ => return (String::new(), Vec::new()),
            };
            (format!(" AND s.last {symbol} ?"), vec![Bound::Real(*number)])
        }
        _ => (String::new(), Vec::new()),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
