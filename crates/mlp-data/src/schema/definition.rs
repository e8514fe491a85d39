//! A schema as data.

use std::collections::HashSet;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnKind {
    /// Numbers.
    #[default]
    Number,
    /// Whole numbers.
    Integer,
    /// Texts of a dictionary.
    Category,
}

/// Whether a column must be in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It must.
    #[default]
    Required,
    /// It need not.
    Optional,
}

/// Whether infinite values are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Infinite {
    /// They are violations.
    #[default]
    Refused,
    /// They are values, and have to keep the other rules.
    Allowed,
}

/// What becomes of columns that the schema does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unexpected {
    /// Nothing.
    #[default]
    Allowed,
    /// Each is a violation.
    Refused,
}

/// The rules of one column. A missing value (NaN) counts against `missing_rate` and breaks no other rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ColumnSchema {
    /// The name of the column: a feature or the target.
    pub name: String,
    /// What its values are.
    #[serde(default)]
    pub kind: ColumnKind,
    /// Whether it must be there.
    #[serde(default)]
    pub presence: Presence,
    /// The smallest value allowed; of a column of categories, the smallest code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The largest value allowed; of a column of categories, the largest code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The only values allowed; of a column of categories, the only codes. Those are of the table's texts: where they matter, list the
    /// [categories](Self::categories) too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<f64>>,
    /// The only texts allowed, in the order of their codes, for a column of categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// A regular expression that each text matches as a whole, for a column of categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The largest share of missing values, from 0 to 1: 0 by default.
    #[serde(default)]
    pub missing_rate: f64,
    /// Whether infinite values are allowed.
    #[serde(default)]
    pub infinite: Infinite,
}

impl ColumnSchema {
    fn of(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self {
            name: name.into(),
            kind,
            presence: Presence::Required,
            minimum: None,
            maximum: None,
            allowed: None,
            categories: None,
            pattern: None,
            missing_rate: 0.0,
            infinite: Infinite::Refused,
        }
    }

    /// A required column of finite numbers, none missing. A column of categories is none, nor is a target that was read as classes.
    pub fn number(name: impl Into<String>) -> Self {
        Self::of(name, ColumnKind::Number)
    }

    /// A required column of whole numbers, none missing. A column of categories is none, nor is a target that was read as classes.
    pub fn integer(name: impl Into<String>) -> Self {
        Self::of(name, ColumnKind::Integer)
    }

    /// A required column of categories, none missing.
    pub fn category(name: impl Into<String>) -> Self {
        Self::of(name, ColumnKind::Category)
    }

    /// Sets the smallest and the largest value.
    #[must_use]
    pub fn with_range(mut self, minimum: f64, maximum: f64) -> Self {
        (self.minimum, self.maximum) = (Some(minimum), Some(maximum));
        self
    }

    /// Sets the smallest value.
    #[must_use]
    pub fn with_minimum(mut self, minimum: f64) -> Self {
        self.minimum = Some(minimum);
        self
    }

    /// Sets the largest value.
    #[must_use]
    pub fn with_maximum(mut self, maximum: f64) -> Self {
        self.maximum = Some(maximum);
        self
    }

    /// Sets the only values allowed.
    #[must_use]
    pub fn with_allowed(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.allowed = Some(values.into_iter().collect());
        self
    }

    /// Sets the only texts allowed, in the order of their codes: a table whose dictionary has others in their place breaks the schema, and
    /// [`Table::recode`](crate::Table::recode) puts that right.
    #[must_use]
    pub fn with_texts<T: Into<String>>(mut self, texts: impl IntoIterator<Item = T>) -> Self {
        self.categories = Some(texts.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the regular expression that each text matches as a whole.
    #[must_use]
    pub fn with_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.pattern = Some(pattern.into());
        self
    }

    /// Sets the largest share of missing values, from 0 to 1.
    #[must_use]
    pub fn with_missing_rate(mut self, rate: f64) -> Self {
        self.missing_rate = rate;
        self
    }

    /// Sets whether infinite values are allowed.
    #[must_use]
    pub fn with_infinite(mut self, infinite: Infinite) -> Self {
        self.infinite = infinite;
        self
    }

    /// Makes the column one that need not be there.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// The regular expression, made to match whole texts.
    pub(crate) fn regex(&self) -> Result<Option<Regex>> {
        let Some(pattern) = &self.pattern else { return Ok(None) };
        Regex::new(&format!("^(?:{pattern})$")).map(Some).map_err(|error| Error::Invalid {
            what: format!("the pattern of column {:?}", self.name),
            reason: error.to_string().lines().last().unwrap_or_default().to_owned(),
        })
    }

    fn fault(&self) -> Option<String> {
        let bounds = [self.minimum, self.maximum].into_iter().flatten();
        let allowed = self.allowed.iter().flatten().copied();
        if bounds.chain(allowed).any(|bound| !bound.is_finite()) {
            return Some("a bound or allowed value is not finite".to_owned());
        }
        match (self.minimum, self.maximum) {
            (Some(minimum), Some(maximum)) if minimum > maximum => {
                return Some(format!("the range from {minimum} to {maximum} is empty"));
            }
            _ => {}
        }
        if !(0.0..=1.0).contains(&self.missing_rate) {
            return Some(format!("the missing rate {} is not from 0 to 1", self.missing_rate));
        }
        if self.kind != ColumnKind::Category
            && (self.categories.is_some() || self.pattern.is_some())
        {
            return Some("texts and patterns need a column of categories".to_owned());
        }
        None
    }
}

/// How the values of two columns relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The left is less.
    Less,
    /// The left is not more.
    LessOrEqual,
    /// They are equal.
    Equal,
    /// They differ.
    NotEqual,
}

impl Relation {
    pub(crate) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "≤",
            Self::Equal => "=",
            Self::NotEqual => "≠",
        })
    }
}

/// A rule across two columns, kept by each row in which neither is missing. Two columns of categories are compared by their codes, which must
/// stand for the same texts as far as both go; a column of categories and one of numbers keep no such rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The column on the left.
    pub left: String,
    /// How it relates to the other.
    pub relation: Relation,
    /// The column on the right.
    pub right: String,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.relation, self.right)
    }
}

/// What a table must be like: its columns, what is unique, and how columns relate.
///
/// Written by hand, read from JSON, or [inferred](Self::infer) from a sample and then edited.
///
/// ```
/// use mlp_data::{ColumnSchema, Schema, Table};
/// use ndarray::array;
///
/// let schema = Schema::new([
///     ColumnSchema::number("ph").with_range(0.0, 14.0),
///     ColumnSchema::integer("quality").with_missing_rate(0.5),
/// ]);
/// let table = Table::new(["ph", "quality"], array![[3.2, 5.0], [33.0, f64::NAN], [-1.0, 6.5]])?;
/// let report = schema.validate(&table)?;
/// assert_eq!(report.count(), 3);
/// assert!(report.to_string().contains("\"ph\": at most 14: 1 of 3 rows, such as 33 in row 1"));
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Schema {
    /// The rules of the columns.
    pub columns: Vec<ColumnSchema>,
    /// Columns whose values together stand in one row at most; missing values equal each other.
    #[serde(default)]
    pub unique: Vec<Vec<String>>,
    /// How columns relate.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// What becomes of columns without rules.
    #[serde(default)]
    pub unexpected: Unexpected,
}

impl Schema {
    /// A schema of these columns.
    pub fn new(columns: impl IntoIterator<Item = ColumnSchema>) -> Self {
        Self { columns: columns.into_iter().collect(), ..Self::default() }
    }

    /// Adds columns whose values together stand in one row at most.
    #[must_use]
    pub fn with_unique<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.unique.push(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a rule across two columns.
    #[must_use]
    pub fn with_comparison(
        mut self,
        left: impl Into<String>,
        relation: Relation,
        right: impl Into<String>,
    ) -> Self {
        self.comparisons.push(Comparison { left: left.into(), relation, right: right.into() });
        self
    }

    /// Sets what becomes of columns without rules.
    #[must_use]
    pub fn with_unexpected(mut self, unexpected: Unexpected) -> Self {
        self.unexpected = unexpected;
        self
    }

    /// The rules of one column, to read or edit.
    pub fn column_mut(&mut self, name: &str) -> Option<&mut ColumnSchema> {
        self.columns.iter_mut().find(|column| column.name == name)
    }

    /// The schema of these columns only, such as those that are known of a new row; rules that need another column are left out.
    #[must_use]
    pub fn select<S: AsRef<str>>(&self, names: &[S]) -> Self {
        let chosen = |column: &str| names.iter().any(|name| name.as_ref() == column);
        Self {
            columns: self.columns.iter().filter(|c| chosen(&c.name)).cloned().collect(),
            unique: self.unique.iter().filter(|k| k.iter().all(|c| chosen(c))).cloned().collect(),
            comparisons: self
                .comparisons
                .iter()
                .filter(|rule| chosen(&rule.left) && chosen(&rule.right))
                .cloned()
                .collect(),
            unexpected: self.unexpected,
        }
    }

    /// Checks the schema itself.
    ///
    /// # Errors
    /// If a column stands twice, a range is empty, a bound is not finite, a rate is not from 0 to 1, or a pattern is no regular expression.
    pub fn check_definition(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for column in &self.columns {
            if !seen.insert(&column.name) {
                return Err(Error::DuplicateName {
                    what: "the schema's column",
                    name: column.name.clone(),
                });
            }
            if let Some(reason) = column.fault() {
                let what = format!("the schema of column {:?}", column.name);
                return Err(Error::Invalid { what, reason });
            }
            column.regex()?;
        }
        Ok(())
    }
}
