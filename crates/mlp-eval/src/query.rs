//! Asking for evaluations: which, in what order, a page at a time.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use mlp_core::{Direction, EvaluationId, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, Lifecycle};
use crate::filter::{Field, Filter, Value};

/// The most evaluations of one page.
pub const MAX_PAGE: usize = 50_000;
/// The most fields to sort by.
pub(crate) const MAX_ORDER: usize = 16;

/// Whether evaluations in the bin are meant too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Only those in use.
    #[default]
    Active,
    /// Only those in the bin.
    Deleted,
    /// Both.
    All,
}

impl View {
    /// Whether the view shows an evaluation with this lifecycle.
    #[must_use]
    pub fn shows(self, lifecycle: Lifecycle) -> bool {
        match self {
            Self::Active => lifecycle == Lifecycle::Active,
            Self::Deleted => lifecycle == Lifecycle::Deleted,
            Self::All => true,
        }
    }
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sorting {
    /// The smallest first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// One key to sort by. In both directions numbers come first, the infinities at their ends, then NaN, then evaluations that lack the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What to sort by.
    pub field: Field,
    /// Which end comes first.
    pub sorting: Sorting,
}

impl Order {
    /// The smallest first.
    #[must_use]
    pub fn ascending(field: Field) -> Self {
        Self { field, sorting: Sorting::Ascending }
    }

    /// The greatest first.
    #[must_use]
    pub fn descending(field: Field) -> Self {
        Self { field, sorting: Sorting::Descending }
    }

    /// The best score first.
    #[must_use]
    pub fn best(field: Field, direction: Direction) -> Self {
        match direction {
            Direction::Maximize => Self::descending(field),
            Direction::Minimize => Self::ascending(field),
        }
    }
}

/// Which keys of a kind are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// All of them.
    #[default]
    All,
    /// These, as far as they are there; with none, none.
    Only(BTreeSet<String>),
}

impl Keys {
    /// These keys.
    pub fn only<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self::Only(keys.into_iter().map(Into::into).collect())
    }

    /// Whether a key is read.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(keys) => keys.contains(key),
        }
    }
}

/// Which parts of the evaluations a query reads: all by default. What identifies an evaluation is always read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Projection {
    /// Parameters.
    pub params: Keys,
    /// Tags.
    pub tags: Keys,
    /// Metrics, with the series of each whatever its context.
    pub metrics: Keys,
}

impl Projection {
    /// Nothing but what identifies an evaluation.
    #[must_use]
    pub fn nothing() -> Self {
        let none = || Keys::Only(BTreeSet::new());
        Self { params: none(), tags: none(), metrics: none() }
    }

    /// Sets which parameters are read.
    #[must_use]
    pub fn with_params(mut self, keys: Keys) -> Self {
        self.params = keys;
        self
    }

    /// Sets which tags are read.
    #[must_use]
    pub fn with_tags(mut self, keys: Keys) -> Self {
        self.tags = keys;
        self
    }

    /// Sets which metrics are read.
    #[must_use]
    pub fn with_metrics(mut self, keys: Keys) -> Self {
        self.metrics = keys;
        self
    }

    /// Takes out of an evaluation what is not to be read. For backends.
    pub fn apply(&self, evaluation: &mut Evaluation) {
        evaluation.params.retain(|name, _| self.params.has(name));
        evaluation.tags.retain(|name, _| self.tags.has(name));
        evaluation.metrics.retain(|name, _| self.metrics.has(name));
        evaluation.series.retain(|summary| self.metrics.has(&summary.key.metric));
    }

    /// As much of this projection, and what these fields are read from. For backends.
    #[must_use]
    pub fn with_fields<'a>(&self, fields: impl IntoIterator<Item = &'a Field>) -> Self {
        let mut wider = self.clone();
        for field in fields {
            let (keys, name) = match field {
                Field::Param(name) => (&mut wider.params, name),
                Field::Tag(name) => (&mut wider.tags, name),
                Field::Metric(key, _) => (&mut wider.metrics, &key.metric),
                _ => continue,
            };
            if let Keys::Only(keys) = keys {
                keys.insert(name.clone());
            }
        }
        wider
    }
}

/// A question to the store. Equal keys are told apart by the start, later first, and then by the id, smaller first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Query {
    /// Which evaluations.
    pub filter: Filter,
    /// Whether those in the bin are meant too.
    pub view: View,
    /// What to sort by, the most important first.
    pub order: Vec<Order>,
    /// How many at most, 1 to [`MAX_PAGE`]. A hundred by default: a screenful or two.
    pub limit: usize,
    /// Goes on after an earlier page of the same query.
    pub after: Option<PageToken>,
    /// What is read of each evaluation. Default: everything.
    pub projection: Projection,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            filter: Filter::everything(),
            view: View::Active,
            order: Vec::new(),
            limit: 100,
            after: None,
            projection: Projection::default(),
        }
    }
}

impl Query {
    /// Asks for the evaluations that match, the latest first, a hundred at a time.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Adds a key to sort by, after those already there.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order.push(order);
        self
    }

    /// Sets how many evaluations a page has at most.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Sets whether evaluations in the bin are meant.
    #[must_use]
    pub fn with_view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// Sets what is read of each evaluation.
    #[must_use]
    pub fn with_projection(mut self, projection: Projection) -> Self {
        self.projection = projection;
        self
    }

    /// Goes on after an earlier page.
    #[must_use]
    pub fn with_after(mut self, token: Option<PageToken>) -> Self {
        self.after = token;
        self
    }

    /// Checks the query by itself, for backends.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] or [`StoreError::LimitExceeded`], naming the part; also if the token belongs to a query with another order, filter
    /// or view.
    pub fn check(&self) -> Result<(), StoreError> {
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let reason = format!("it is {}, allowed are 1 to {MAX_PAGE}", self.limit);
            return Err(StoreError::invalid("page size", reason));
        }
        if self.order.len() > MAX_ORDER {
            let (given, limit) = (self.order.len() as u64, MAX_ORDER as u64);
            return Err(StoreError::limit_exceeded("keys of an order", given, limit));
        }
        self.filter.check()?;
        match &self.after {
            Some(token) if token.0.order != self.order => {
                Err(StoreError::invalid("page token", "it belongs to another order"))
            }
            Some(token) if token.0.of != self.found() => {
                Err(StoreError::invalid("page token", "it belongs to another filter or view"))
            }
            _ => Ok(()),
        }
    }

    /// Tells what is found from what another filter or view finds: their FNV-1a hash.
    fn found(&self) -> u64 {
        // Neither can fail to be written: they are texts and numbers under names.
        let text = serde_json::to_string(&(&self.filter, self.view)).unwrap_or_default();
        let add = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        text.bytes().fold(0xcbf2_9ce4_8422_2325, add)
    }

    /// The fields that decide what is found and in which order. For backends.
    #[must_use]
    pub fn fields(&self) -> Vec<&Field> {
        let mut fields = self.filter.fields();
        fields.extend(self.order.iter().map(|order| &order.field));
        fields
    }

    /// Where an evaluation stands in the order.
    #[must_use]
    pub fn position(&self, evaluation: &Evaluation) -> Position {
        let keys = self.order.iter().map(|order| order.field.read(evaluation)).collect();
        Position { keys, started_at: evaluation.started_at, id: evaluation.id }
    }

    /// Which of two positions comes first.
    #[must_use]
    pub fn compare(&self, one: &Position, other: &Position) -> Ordering {
        let keys = self.order.iter().zip(one.keys.iter().zip(&other.keys));
        keys.map(|(order, (a, b))| compare_keys(order.sorting, a.as_ref(), b.as_ref()))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
            .then_with(|| other.started_at.cmp(&one.started_at))
            .then_with(|| one.id.cmp(&other.id))
    }
}

/// Where an evaluation stands in the order of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Position {
    /// The value of each key of the order; none where it is missing.
    pub keys: Vec<Option<Value>>,
    /// When the evaluation started.
    pub started_at: Timestamp,
    /// Its id.
    pub id: EvaluationId,
}

impl Position {
    /// A position. For backends.
    #[must_use]
    pub fn new(keys: Vec<Option<Value>>, started_at: Timestamp, id: EvaluationId) -> Self {
        Self { keys, started_at, id }
    }
}

fn compare_keys(sorting: Sorting, one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let (Some(one), Some(other)) = (one, other) else {
        return other.is_some().cmp(&one.is_some());
    };
    let is_nan = |value: &Value| matches!(value, Value::Number(number) if number.is_nan());
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::Time(_) => 1,
        Value::Text(_) => 2,
    };
    let directed = |ordering: Ordering| match sorting {
        Sorting::Ascending => ordering,
        Sorting::Descending => ordering.reverse(),
    };
    is_nan(one).cmp(&is_nan(other)).then_with(|| match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            directed(a.partial_cmp(b).unwrap_or(Ordering::Equal))
        }
        (Value::Time(a), Value::Time(b)) => directed(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => directed(a.cmp(b)),
        _ => rank(one).cmp(&rank(other)),
    })
}

/// Where a page ended. Opaque text outside: it can be handed to a client and read back.
///
/// It holds the keys of the last evaluation of its page, so that evaluations added or removed meanwhile shift nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PageToken(Box<Cursor>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// What the query finds.
    of: u64,
    order: Vec<Order>,
    last: Position,
}

impl PageToken {
    /// The token of a page of this query that ends with this evaluation. For backends.
    #[must_use]
    pub fn new(query: &Query, last: &Evaluation) -> Self {
        let (of, order) = (query.found(), query.order.clone());
        Self(Box::new(Cursor { of, order, last: query.position(last) }))
    }

    /// The position after which the next page begins. For backends.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.0.last
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        text.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for PageToken {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let garbage = || StoreError::invalid("page token", "it was not made by this store");
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        let cursor: Cursor = bytes
            .filter(|_| rest.is_empty())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(garbage)?;
        if cursor.order.len() != cursor.last.keys.len() {
            return Err(garbage());
        }
        Ok(Self(Box::new(cursor)))
    }
}

impl TryFrom<String> for PageToken {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

impl From<PageToken> for String {
    fn from(token: PageToken) -> Self {
        token.to_string()
    }
}

/// Some evaluations of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The evaluations, in the order asked for.
    pub evaluations: Vec<Evaluation>,
    /// Where to go on; none if that was all.
    pub next: Option<PageToken>,
}
