//! Filters as SQL. Every value is bound, and every column comes from a list here: no text of a user is ever part of a statement.

use mlp_core::{EvaluationId, StoreError};
use mlp_eval::{Field, Filter, Operator, SeriesKey, Statistic, Value};
use rusqlite::types::Value as Bound;
use rusqlite::{Connection, Row, params_from_iter};

use super::functions::TEXT;
use super::keys;
use crate::error::{Sql, store};

/// The longest statement that a connection keeps for the next time, in bytes. Long filters are many, hardly one is asked twice, and what SQLite
/// makes of 800 conditions takes 0.7 MB.
const LONGEST_KEPT: usize = 8 << 10;

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

    /// As a statement: what is read of each row that it finds.
    pub(super) fn rows<T>(
        self,
        connection: &Connection,
        read: impl FnMut(&Row<'_>) -> Sql<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut prepared = connection.prepare_cached(&self.sql).map_err(store)?;
        let rows = prepared.query_map(params_from_iter(self.bound), read).map_err(store)?;
        let rows = rows.collect::<Sql<_>>().map_err(store);
        if self.sql.len() > LONGEST_KEPT {
            prepared.discard();
        }
        rows
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

/// How a field is read.
pub(super) enum Read {
    /// An expression on `e` that is NULL where the field is missing.
    Column(&'static str),
    /// What is on a card.
    Card(Card),
}

/// Expressions that read a value on a card. Each is NULL where the value is missing, or is not of this sort.
pub(super) struct Card {
    /// The kind of the value.
    pub(super) kind: Condition,
    /// As a number; NULL for NaN.
    pub(super) number: Option<Condition>,
    /// As a text, as it prints.
    pub(super) text: Option<Condition>,
}

pub(super) fn read(field: &Field) -> Read {
    Read::Column(match field {
        Field::Id => "mlp_id(e.id)",
        Field::Experiment => "(SELECT name FROM experiment WHERE n = e.experiment)",
        Field::Model => "e.model",
        Field::ModelVersion => "CAST(e.model_version AS REAL)",
        Field::DatasetName => "e.dataset_name",
        Field::DatasetVersion => "e.dataset_version",
        Field::DatasetFingerprint => "e.dataset_fingerprint",
        Field::Stage => "e.stage",
        Field::Status => "e.status",
        Field::StartedAt => "e.started_at",
        Field::EndedAt => "e.ended_at",
        Field::Param(name) => {
            let read =
                |what: &str| Condition::new(format!("mlp_param_{what}(e.about, ?)"), [text(name)]);
            let (number, text) = (Some(read("number")), Some(read("text")));
            return Read::Card(Card { kind: read("kind"), number, text });
        }
        Field::Tag(name) => {
            let value = Condition::new("mlp_tag(e.about, ?)", [text(name)]);
            let kind = Condition::new(
                format!("iif({} IS NULL, NULL, {TEXT})", value.sql),
                value.bound.clone(),
            );
            return Read::Card(Card { kind, number: None, text: Some(value) });
        }
        Field::Metric(key, statistic) => {
            let read = |what: &str| in_series(key, *statistic, what);
            return Read::Card(Card {
                kind: read("kind"),
                number: Some(read("number")),
                text: None,
            });
        }
        // As with filters: unknown is missing everywhere.
        _ => "NULL",
    })
}

fn in_series(key: &SeriesKey, statistic: Statistic, what: &str) -> Condition {
    let sql = format!(
        "(SELECT mlp_series_{what}(card, (SELECT n FROM series_key WHERE metric = ? AND context = ?), {}) \
         FROM scores WHERE n = e.n)",
        statistic as usize
    );
    Condition::new(sql, [text(&key.metric), text(&keys::context_text(&key.context))])
}

fn text(value: &str) -> Bound {
    Bound::Text(value.to_owned())
}

fn present(field: &Field) -> Condition {
    match read(field) {
        Read::Column(column) => Condition::new(format!("({column} IS NOT NULL)"), []),
        Read::Card(card) => {
            Condition::new(format!("({} IS NOT NULL)", card.kind.sql), card.kind.bound)
        }
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
        Value::Time(given) => match read(field) {
            Read::Column(column) => {
                let sql = format!("({column} {} ?)", symbol(operator));
                Condition::new(format!("coalesce({sql}, 0)"), [Bound::Integer(given.as_micros())])
            }
            Read::Card(_) => Condition::always(false),
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
    let symbol = symbol(operator);
    let Card { kind, number: Some(number), .. } = (match read(field) {
        Read::Column(column) => {
            return Condition::new(
                format!("coalesce({column} {symbol} ?, 0)"),
                [Bound::Real(given)],
            );
        }
        Read::Card(card) => card,
    }) else {
        return Condition::always(false);
    };
    let mut bound = number.bound;
    bound.push(Bound::Real(given));
    // A NaN or a text, which is NULL here, differs from every number and is neither less nor greater.
    let otherwise = if operator == Operator::NotEqual {
        bound.extend(kind.bound);
        format!("{} IS NOT NULL", kind.sql)
    } else {
        "0".to_owned()
    };
    Condition::new(format!("coalesce({} {symbol} ?, {otherwise})", number.sql), bound)
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
    let Condition { sql: read, mut bound } = match read(field) {
        Read::Column(column) => Condition::new(column, []),
        Read::Card(Card { text: Some(text), .. }) => text,
        Read::Card(_) => return Condition::always(false),
    };
    bound.push(text(given));
    let compared = match operator {
        Operator::Like | Operator::LikeIgnoringCase => format!("{}({read}, ?)", symbol(operator)),
        _ => format!("{read} {} ?", symbol(operator)),
    };
    Condition::new(format!("coalesce({compared}, 0)"), bound)
}
