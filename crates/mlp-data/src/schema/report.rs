//! What is wrong with a table, grouped by column and rule.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::definition::{ColumnKind, Comparison};
use crate::error::{Error, Result};

/// What a column must keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// The column is in the table.
    Present,
    /// The column has rules.
    Expected,
    /// Values are of this kind.
    Kind(ColumnKind),
    /// Values are not infinite.
    NotInfinite,
    /// At most this share of the values is missing.
    MissingRate(f64),
    /// Values are at least this.
    Minimum(f64),
    /// Values are at most this.
    Maximum(f64),
    /// Values are among these.
    Allowed(Vec<f64>),
    /// Texts are among these.
    Categories(Vec<String>),
    /// The codes stand for the texts that the schema lists, in its order.
    Codes {
        /// The first code that does not.
        code: usize,
        /// What it stands for in the schema.
        expected: String,
        /// What it stands for in the table.
        found: String,
    },
    /// Texts match this.
    Pattern(String),
    /// No two rows have the same values in these columns.
    Unique(Vec<String>),
    /// Two columns relate so.
    Comparison(Comparison),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("must be in the table"),
            Self::Expected => f.write_str("is not in the schema"),
            Self::Kind(ColumnKind::Number) => f.write_str("a number"),
            Self::Kind(ColumnKind::Integer) => f.write_str("a whole number"),
            Self::Kind(ColumnKind::Category) => f.write_str("a category"),
            Self::NotInfinite => f.write_str("not infinite"),
            Self::MissingRate(0.0) => f.write_str("not missing"),
            Self::MissingRate(rate) => write!(f, "at most {}% missing", rate * 100.0),
            Self::Minimum(bound) => write!(f, "at least {bound}"),
            Self::Maximum(bound) => write!(f, "at most {bound}"),
            Self::Allowed(values) => write!(f, "one of {values:?}"),
            Self::Categories(texts) => write!(f, "one of {}", crate::error::name_some(texts)),
            Self::Codes { code, expected, found } => write!(
                f,
                "code {code} stands for {expected:?} in the schema, for {found:?} in the table"
            ),
            Self::Pattern(pattern) => write!(f, "matches {pattern:?}"),
            Self::Unique(columns) if columns.len() == 1 => f.write_str("unique"),
            Self::Unique(columns) => write!(f, "unique together: {}", columns.join(", ")),
            Self::Comparison(rule) => rule.fmt(f),
        }
    }
}

/// One broken rule of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// The column.
    pub column: String,
    /// What it does not keep.
    pub rule: Rule,
    /// The value, as text: NaN, infinities and categories too.
    pub value: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}, it is {}", self.column, self.rule, self.value)
    }
}

/// A row that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The row, from 0.
    pub row: usize,
    /// The file and line it was read from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<(String, u64)>,
    /// The value, as text.
    pub value: String,
}

/// How often one rule of one column is broken, and the first rows that break it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleReport {
    /// The column.
    pub column: String,
    /// What it does not keep.
    pub rule: Rule,
    /// How many rows break it; 0 for a rule about the column as a whole.
    pub count: usize,
    /// The first rows that break it, at most [`ValidationReport::EXAMPLES`].
    pub examples: Vec<Example>,
}

/// All that is wrong with a table. As text, a line for each broken rule; as JSON, by serde.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationReport {
    /// How many rows were checked.
    pub n_rows: usize,
    /// How many rows break at least one rule.
    pub bad_rows: usize,
    /// The broken rules, in the order of the schema.
    pub rules: Vec<RuleReport>,
}

impl ValidationReport {
    /// How many rows are given as examples of one broken rule.
    pub const EXAMPLES: usize = 5;

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.rules.is_empty()
    }

    /// How many violations there are: broken rules of rows, and of columns as a whole.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.iter().map(|rule| rule.count.max(1)).sum()
    }

    /// Makes violations an error.
    ///
    /// # Errors
    /// If anything is wrong; the error holds the report.
    pub fn into_result(self) -> Result<()> {
        if self.is_valid() { Ok(()) } else { Err(Error::Schema { report: Box::new(self) }) }
    }

    /// The report in one line: the counts, and the first broken rule.
    #[must_use]
    pub fn headline(&self) -> String {
        match self.rules.first() {
            None => format!("{} rows keep the schema", self.n_rows),
            Some(first) => format!(
                "the schema is broken {} times, in {} of {} rows; first: {}",
                self.count(),
                self.bad_rows,
                self.n_rows,
                first.line(self.n_rows)
            ),
        }
    }
}

impl RuleReport {
    fn line(&self, n_rows: usize) -> String {
        let mut text = format!("{:?}: {}", self.column, self.rule);
        if self.count > 0 {
            text.push_str(&format!(": {} of {n_rows} rows", self.count));
        }
        for (position, example) in self.examples.iter().enumerate() {
            let join = if position == 0 { ", such as" } else { "," };
            text.push_str(&format!("{join} {} in ", example.value));
            match &example.source {
                Some((file, line)) => text.push_str(&format!("{file} line {line}")),
                None => text.push_str(&format!("row {}", example.row)),
            }
        }
        text
    }
}

impl fmt::Display for ValidationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_valid() {
            return f.write_str(&self.headline());
        }
        write!(
            f,
            "the schema is broken {} times, in {} of {} rows",
            self.count(),
            self.bad_rows,
            self.n_rows
        )?;
        self.rules.iter().try_for_each(|rule| write!(f, "\n  {}", rule.line(self.n_rows)))
    }
}
