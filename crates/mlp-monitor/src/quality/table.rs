//! How good a table is by its schema: what share of its rows breaks each rule, how many rows there are, how old and how often the same.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mlp_core::{Labels, Timestamp};
use mlp_data::{ColumnSchema, Infinite, Presence, Rule, Schema, Table, TargetColumn};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::rules::Observation;
use crate::text::{Align, TextTable, percent};

/// A rule of a schema that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SchemaFault {
    /// The column is not in the table.
    Absent,
    /// The column is not in the schema.
    Unexpected,
    /// The value is missing.
    Missing,
    /// The value is infinite.
    Infinite,
    /// The value is of another kind: a fraction for a whole number, a number for a category, a code of another dictionary.
    Kind,
    /// The value is outside its range.
    Range,
    /// The value is not among those allowed.
    Set,
    /// The text does not match the pattern.
    Pattern,
    /// The value stands in an earlier row.
    Unique,
    /// The value does not relate to that of another column as it must.
    Comparison,
}

impl SchemaFault {
    /// Those that each column of a schema is checked for.
    const OF_COLUMNS: [Self; 7] = [
        Self::Absent,
        Self::Missing,
        Self::Infinite,
        Self::Kind,
        Self::Range,
        Self::Set,
        Self::Pattern,
    ];

    /// The name of it, as label `fault` of observations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Unexpected => "unexpected",
            Self::Missing => "missing",
            Self::Infinite => "infinite",
            Self::Kind => "kind",
            Self::Range => "range",
            Self::Set => "set",
            Self::Pattern => "pattern",
            Self::Unique => "unique",
            Self::Comparison => "comparison",
        }
    }
}

/// How many rows break one rule of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FaultCount {
    /// The column; several, with commas between, if they must be unique together; the rule itself, such as `low ≤ high`, if two are compared.
    pub column: String,
    /// The rule.
    pub fault: SchemaFault,
    /// How many rows break it; all of them if the column itself is at fault.
    pub rows: u64,
}

/// How good a table is by its schema. As text, a line for each rule that a row breaks.
///
/// Missing values are counted whether or not the schema allows some of them: how many are too many is a matter for a rule on `missing_rate`.
///
/// ```
/// use mlp_core::Timestamp;
/// use mlp_data::{ColumnSchema, Schema, Table};
/// use mlp_monitor::{SchemaFault, TableQuality};
/// use ndarray::array;
///
/// let schema = Schema::new([ColumnSchema::number("ph").with_range(0.0, 14.0).with_missing_rate(0.5)]);
/// let table = Table::new(["ph"], array![[3.2], [33.0], [f64::NAN], [3.2]])?;
/// let newest = "2026-11-23T08:00:00Z".parse()?;
/// let quality = TableQuality::of(&table, &schema)?.with_newest(newest, "2026-11-23T09:00:00Z".parse()?);
/// assert_eq!(quality.rate("ph", SchemaFault::Missing), Some(0.25));
/// assert_eq!(quality.rate("ph", SchemaFault::Range), Some(0.25));
/// assert_eq!(quality.duplicates, 1);
/// assert_eq!(quality.age.unwrap().as_secs(), 3_600);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableQuality {
    /// How many rows there are.
    pub rows: u64,
    /// How many break at least one rule.
    pub bad_rows: u64,
    /// How many are equal to an earlier one in all features and the target.
    pub duplicates: u64,
    /// How old the newest row is, if that was told; 0 if it is from the future, which the clocks of two machines make possible.
    pub age: Option<Duration>,
    /// For each rule of the schema, how many rows break it: also those that none breaks.
    pub faults: Vec<FaultCount>,
}

impl TableQuality {
    /// Checks a table.
    ///
    /// # Errors
    /// If the schema itself makes no sense.
    pub fn of(table: &Table, schema: &Schema) -> Result<Self> {
        let report = schema.validate(table)?;
        let mut counts: BTreeMap<(String, SchemaFault), usize> = BTreeMap::new();
        let of_columns = schema
            .columns
            .iter()
            .flat_map(|column| SchemaFault::OF_COLUMNS.map(|fault| (column.name.clone(), fault)));
        let unique = schema.unique.iter().map(|set| (set.join(", "), SchemaFault::Unique));
        let related =
            schema.comparisons.iter().map(|rule| (rule.to_string(), SchemaFault::Comparison));
        counts.extend(of_columns.chain(unique).chain(related).map(|key| (key, 0)));
        for broken in report.rules {
            let Some(fault) = fault(&broken.rule) else { continue };
            let of_all = matches!(fault, SchemaFault::Absent | SchemaFault::Unexpected);
            let rows = if of_all || broken.count == 0 { table.n_rows() } else { broken.count };
            let column = match &broken.rule {
                Rule::Comparison(rule) => rule.to_string(),
                _ => broken.column,
            };
            *counts.entry((column, fault)).or_default() += rows;
        }
        for column in
            schema.columns.iter().filter(|c| c.allowed.is_some() && c.categories.is_some())
        {
            let rows = outside_sets(table, column)?;
            counts.insert((column.name.clone(), SchemaFault::Set), rows);
        }
        for column in &schema.columns {
            // Of a column that is not there no share is missing: it is absent.
            let key = (column.name.clone(), SchemaFault::Missing);
            match missing(table, &column.name) {
                Some(rows) => counts.insert(key, rows),
                None => counts.remove(&key),
            };
        }
        let faults = counts.into_iter().map(|((column, fault), rows)| FaultCount {
            column,
            fault,
            rows: rows.min(table.n_rows()) as u64,
        });
        Ok(Self {
            rows: table.n_rows() as u64,
            bad_rows: report.bad_rows as u64,
            duplicates: table.drop_duplicates().dropped as u64,
            age: None,
            faults: faults.collect(),
        })
    }

    /// Says when the newest row came about, and what time it is now.
    #[must_use]
    pub fn with_newest(mut self, newest: Timestamp, now: Timestamp) -> Self {
        let micros = now.as_micros().saturating_sub(newest.as_micros());
        self.age = Some(Duration::from_micros(u64::try_from(micros).unwrap_or_default()));
        self
    }

    /// The share of rows that break this rule, by what [`FaultCount::column`] says; none without rows, and for what the schema does not ask for.
    #[must_use]
    pub fn rate(&self, column: &str, fault: SchemaFault) -> Option<f64> {
        let found =
            self.faults.iter().find(|count| count.column == column && count.fault == fault)?;
        self.share(found.rows)
    }

    fn share(&self, rows: u64) -> Option<f64> {
        (self.rows > 0).then(|| rows as f64 / self.rows as f64)
    }

    /// Observations for rules on `subject`: labels that tell this table from others. `missing_rate` with the label `column` added, without data
    /// of a column that is not in the table; `schema_violation_rate` with the labels `column` and `fault`, for every rule of the schema;
    /// `row_count`, `bad_row_rate`, `duplicate_rate` and `data_age_seconds`.
    #[must_use]
    pub fn observations(&self, subject: &Labels) -> Vec<(&'static str, Labels, Observation)> {
        let rate = |rows| Observation::from(self.share(rows)).with_count(self.rows);
        let age = Observation::from(self.age.map(|age| age.as_secs_f64()));
        let mut all: Vec<_> = [
            ("row_count", Observation::new(self.rows as f64)),
            ("bad_row_rate", rate(self.bad_rows)),
            ("duplicate_rate", rate(self.duplicates)),
            ("data_age_seconds", age),
        ]
        .map(|(signal, observation)| (signal, subject.clone(), observation))
        .into();
        for FaultCount { column, fault, rows } in &self.faults {
            let mut labels = subject.clone();
            labels.insert("column".to_owned(), column.clone());
            if *fault == SchemaFault::Absent && *rows > 0 {
                all.push(("missing_rate", labels.clone(), Observation::MISSING));
            }
            if *fault == SchemaFault::Missing {
                all.push(("missing_rate", labels, rate(*rows)));
                continue;
            }
            labels.insert("fault".to_owned(), fault.name().to_owned());
            all.push(("schema_violation_rate", labels, rate(*rows)));
        }
        all
    }
}

impl fmt::Display for TableQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bad, duplicate) = (self.share(self.bad_rows), self.share(self.duplicates));
        write!(f, "{} rows, {} bad, {} duplicate", self.rows, percent(bad), percent(duplicate))?;
        match self.age {
            Some(age) => writeln!(f, ", the newest {} s old", age.as_secs())?,
            None => writeln!(f)?,
        }
        let mut table = TextTable::new(&[
            ("column", Align::Left),
            ("fault", Align::Left),
            ("rows", Align::Right),
        ]);
        for FaultCount { column, fault, rows } in self.faults.iter().filter(|count| count.rows > 0)
        {
            table.row(vec![column.clone(), fault.name().to_owned(), percent(self.share(*rows))]);
        }
        table.fmt(f)
    }
}

/// What kind of fault it is to break a rule; none for one of a later version of the schema.
fn fault(rule: &Rule) -> Option<SchemaFault> {
    Some(match rule {
        Rule::Present => SchemaFault::Absent,
        Rule::Expected => SchemaFault::Unexpected,
        Rule::Kind(_) | Rule::Codes { .. } => SchemaFault::Kind,
        Rule::NotInfinite => SchemaFault::Infinite,
        Rule::Minimum(_) | Rule::Maximum(_) => SchemaFault::Range,
        Rule::Allowed(_) | Rule::Categories(_) => SchemaFault::Set,
        Rule::Pattern(_) => SchemaFault::Pattern,
        Rule::Unique(_) => SchemaFault::Unique,
        Rule::Comparison(_) => SchemaFault::Comparison,
        // Missing values are counted apart, also those that are allowed.
        _ => return None,
    })
}

/// How many values of a column are outside of its set of numbers, of its set of texts, or of both.
fn outside_sets(table: &Table, column: &ColumnSchema) -> Result<usize> {
    let mut sets = column.clone();
    (sets.minimum, sets.maximum, sets.pattern) = (None, None, None);
    (sets.missing_rate, sets.infinite, sets.presence) =
        (1.0, Infinite::Allowed, Presence::Optional);
    Ok(Schema::new([sets]).validate(table)?.bad_rows)
}

/// How many values of a column are missing; none for one that is not there.
fn missing(table: &Table, name: &str) -> Option<usize> {
    let count = |values: &mut dyn Iterator<Item = &f64>| values.filter(|v| v.is_nan()).count();
    match (table.column(name), table.target()) {
        (Ok(column), _) => Some(count(&mut column.iter())),
        (_, TargetColumn::Values { name: target, values, .. }) if target == name => {
            Some(count(&mut values.iter()))
        }
        // The other targets have no gaps.
        (_, TargetColumn::Classes { name: target, .. }) if target == name => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
