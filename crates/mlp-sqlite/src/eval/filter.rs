//! Filters as SQL. Every value is bound, and every column comes from a list here: no text of a user is ever part of a statement.

use mlp_core::EvaluationId;
use mlp_eval::{Field, Filter, Operator, SeriesKey, Statistic, Value};
use rusqlite::types::Value as Bound;

use super::series;

/// A condition on `evaluation e`, with the values of its question marks in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) bound: Vec<Bound>,
}

impl Condition {
    pub(super) fn new(sql: impl Into<String>, bound: impl IntoIterator<Item = Bound>) -> Self {
        Self { sql: sql.into(), bound: bound.into_iter().collect() }
    }

    fn always(holds: bool) -> Self {
        Self::new(if holds { "1" } else { "0" }, [])
    }

    /// All or any of them, as a balanced tree: SQLite bounds the depth of an expression, not its size.
    fn join(mut conditions: Vec<Self>, word: &str, empty: bool) -> Self {
        match conditions.len() {
            0 => Self::always(empty),
            1 => conditions.remove(0),
            n => {
                let rest = conditions.split_off(n / 2);
                let (one, other) =
                    (Self::join(conditions, word, empty), Self::join(rest, word, empty));
                let sql = format!("({} {word} {})", one.sql, other.sql);
                Self::new(sql, one.bound.into_iter().chain(other.bound))
            }
        }
    }
}

/// The filter as a condition that holds exactly where [`Filter::matches`] does.
pub(super) fn condition(filter: &Filter) -> Condition {
    let each = |filters: &[Filter]| filters.iter().map(condition).collect();
    match filter {
        Filter::All(filters) => Condition::join(each(filters), "AND", true),
        Filter::Any(filters) => Condition::join(each(filters), "OR", false),
        Filter::Compare(field, operator, value) => compare(field, *operator, value),
        Filter::In(field, values) => {
            let equal = |value| compare(field, Operator::Equal, value);
            Condition::join(values.iter().map(equal).collect(), "OR", false)
        }
        Filter::Present(field) => present(field),
        Filter::Absent(field) => {
            let present = present(field);
            Condition::new(format!("NOT {}", present.sql), present.bound)
        }
        // A kind of filter that this adapter does not know yet matches nothing; the contract suite tries them all.
        _ => Condition::always(false),
    }
}

/// Where a field is found.
pub(super) enum Place {
    /// An expression on `e` that is NULL where the field is missing.
    Column(&'static str),
    /// A row of `param`.
    Param(String),
    /// A row of `tag`.
    Tag(String),
    /// A row of `series`: the column, and what must hold for the number to be there.
    Series { key: SeriesKey, column: &'static str, there: &'static str },
}

pub(super) fn place(field: &Field) -> Place {
    match field {
        Field::Id => Place::Column("mlp_id(e.id)"),
        Field::Experiment => Place::Column("(SELECT name FROM experiment WHERE n = e.experiment)"),
        Field::Model => Place::Column("e.model"),
        Field::ModelVersion => Place::Column("CAST(e.model_version AS REAL)"),
        Field::DatasetName => Place::Column("e.dataset_name"),
        Field::DatasetVersion => Place::Column("e.dataset_version"),
        Field::DatasetFingerprint => Place::Column("e.dataset_fingerprint"),
        Field::Stage => Place::Column("e.stage"),
        Field::Status => Place::Column("e.status"),
        Field::StartedAt => Place::Column("e.started_at"),
        Field::EndedAt => Place::Column("e.ended_at"),
        Field::Param(name) => Place::Param(name.clone()),
        Field::Tag(name) => Place::Tag(name.clone()),
        Field::Metric(key, statistic) => {
            let (column, there) = match statistic {
                Statistic::Last => ("last", "1"),
                Statistic::Min => ("least", "least IS NOT NULL"),
                Statistic::Max => ("greatest", "greatest IS NOT NULL"),
                Statistic::Mean => ("mean", "has_mean"),
                Statistic::Count => ("CAST(points AS REAL)", "1"),
                Statistic::StepOfMin => {
                    ("CAST(step_of_least AS REAL)", "step_of_least IS NOT NULL")
                }
                Statistic::StepOfMax => {
                    ("CAST(step_of_greatest AS REAL)", "step_of_greatest IS NOT NULL")
                }
            };
            Place::Series { key: key.clone(), column, there }
        }
        // As with filters: unknown is missing everywhere.
        _ => Place::Column("NULL"),
    }
}

/// The number of a series key.
const KEY: &str = "(SELECT n FROM series_key WHERE metric = ? AND context = ?)";

fn text(value: &str) -> Bound {
    Bound::Text(value.to_owned())
}

fn in_param(name: &str, condition: &str, bound: impl IntoIterator<Item = Bound>) -> Condition {
    let sql = format!(
        "EXISTS (SELECT 1 FROM param WHERE evaluation = e.n AND name = ? AND ({condition}))"
    );
    Condition::new(sql, std::iter::once(text(name)).chain(bound))
}

fn in_tag(name: &str, condition: &str, bound: impl IntoIterator<Item = Bound>) -> Condition {
    let sql =
        format!("EXISTS (SELECT 1 FROM tag WHERE evaluation = e.n AND name = ? AND ({condition}))");
    Condition::new(sql, std::iter::once(text(name)).chain(bound))
}

fn in_series(
    key: &SeriesKey,
    condition: &str,
    bound: impl IntoIterator<Item = Bound>,
) -> Condition {
    let sql = format!(
        "EXISTS (SELECT 1 FROM series WHERE evaluation = e.n AND key = {KEY} AND ({condition}))"
    );
    let key = [text(&key.metric), text(&series::context_text(&key.context))];
    Condition::new(sql, key.into_iter().chain(bound))
}

fn present(field: &Field) -> Condition {
    match place(field) {
        Place::Column(column) => Condition::new(format!("({column} IS NOT NULL)"), []),
        Place::Param(name) => in_param(&name, "1", []),
        Place::Tag(name) => in_tag(&name, "1", []),
        Place::Series { key, there, .. } => in_series(&key, there, []),
    }
}

fn compare(field: &Field, operator: Operator, value: &Value) -> Condition {
    match value {
        Value::Text(given) => compare_text(field, operator, given),
        Value::Number(given) if given.is_nan() => match operator {
            // NaN is unequal to everything.
            Operator::NotEqual => present(field),
            _ => Condition::always(false),
        },
        Value::Number(given) => compare_number(field, operator, *given),
        Value::Time(given) => match place(field) {
            Place::Column(column) => {
                let sql = format!("({column} {} ?)", symbol(operator));
                Condition::new(format!("coalesce({sql}, 0)"), [Bound::Integer(given.as_micros())])
            }
            _ => Condition::always(false),
        },
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => "=",
        Operator::NotEqual => "<>",
        Operator::Less => "<",
        Operator::AtMost => "<=",
        Operator::Greater => ">",
        Operator::AtLeast => ">=",
        Operator::Like => "mlp_like",
        Operator::LikeIgnoringCase => "mlp_ilike",
    }
}

fn compare_number(field: &Field, operator: Operator, given: f64) -> Condition {
    let compared = |column: &str| {
        let symbol = symbol(operator);
        // A NaN, which is NULL here, differs from every number and is neither less nor greater.
        if operator == Operator::NotEqual {
            format!("{column} IS NULL OR {column} {symbol} ?")
        } else {
            format!("{column} {symbol} ?")
        }
    };
    let bound = [Bound::Real(given)];
    match place(field) {
        Place::Column(column) => {
            Condition::new(format!("coalesce({column} {} ?, 0)", symbol(operator)), bound)
        }
        Place::Param(name) => in_param(&name, &compared("number"), bound),
        Place::Series { key, column, there } => {
            in_series(&key, &format!("{there} AND ({})", compared(column)), bound)
        }
        Place::Tag(_) => Condition::always(false),
    }
}

fn compare_text(field: &Field, operator: Operator, given: &str) -> Condition {
    if let (Field::Id, Operator::Equal) = (field, operator) {
        // By the index; a text that is no id, or not as ids are written, is nobody's.
        let id = given.parse::<EvaluationId>().ok().filter(|id| id.to_string() == given);
        return match id {
            Some(id) => Condition::new("(e.id = ?)", [Bound::Blob(id.as_bytes().to_vec())]),
            None => Condition::always(false),
        };
    }
    if let (Field::Experiment, Operator::Equal) = (field, operator) {
        let sql = "(e.experiment = (SELECT n FROM experiment WHERE name = ?))";
        return Condition::new(format!("coalesce({sql}, 0)"), [text(given)]);
    }
    let compared = |column: &str| match operator {
        Operator::Like | Operator::LikeIgnoringCase => format!("{}({column}, ?)", symbol(operator)),
        _ => format!("{column} {} ?", symbol(operator)),
    };
    let bound = [text(given)];
    match place(field) {
        Place::Column(column) => {
            Condition::new(format!("coalesce({}, 0)", compared(column)), bound)
        }
        Place::Param(name) => in_param(&name, &compared("text"), bound),
        Place::Tag(name) => in_tag(&name, &compared("value"), bound),
        Place::Series { .. } => Condition::always(false),
    }
}
