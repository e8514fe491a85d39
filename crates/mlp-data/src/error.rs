//! What can go wrong with data, and where.

use std::fmt;
use std::io;

use mlp_core::{ModelError, SamplesError, SaveError, StoreError};

use crate::row::RowProblem;
use crate::schema::ValidationReport;

/// The result of working with data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in a file: which file, and as far as is known, which line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named by the caller.
    pub file: String,
    /// The line on which the record starts, from 1.
    pub line: Option<u64>,
    /// The name of the column; `#3` for the third where there is no name yet.
    pub column: Option<String>,
}

impl Place {
    /// Somewhere in this file.
    pub fn file(file: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, column: None }
    }

    /// The same file, in this line.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// The same line, in this column.
    #[must_use]
    pub fn at_column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        match &self.column {
            Some(column) => write!(f, ", column {column:?}"),
            None => Ok(()),
        }
    }
}

/// Data could not be read, checked, stored or transformed. Each message is one line that names the thing at fault and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened, read or written.
    #[error("{place}: cannot {action} the file: {source}")]
    File {
        /// The file, and the line reached.
        place: Place,
        /// What was to be done.
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file has no header.
    #[error("{place}: the file is empty: a line with the names of the columns is needed")]
    NoHeader {
        /// The file.
        place: Place,
    },
    /// A file has no row below its header.
    #[error("{place}: the table is empty: there is no row below the header")]
    NoRows {
        /// The file, and the line where the first row was looked for.
        place: Place,
    },
    /// A column has no name.
    #[error("{place}: the column has no name")]
    UnnamedColumn {
        /// The header, and the number of the column.
        place: Place,
    },
    /// A name stands twice in the header of a file.
    #[error("{place}: the name stands twice in the header, as columns {first} and {second}")]
    DuplicateColumn {
        /// The header and the name.
        place: Place,
        /// The number of the first column of that name, from 1.
        first: usize,
        /// The number of the second.
        second: usize,
    },
    /// A column that was asked for is not in the file.
    #[error("{place}: there is no such column for {role}; there are {known}")]
    MissingColumn {
        /// The header, and the name asked for.
        place: Place,
        /// What the column was to be: "the target".
        role: &'static str,
        /// The columns there are, the first of them.
        known: String,
    },
    /// A record has more or fewer cells than the header.
    #[error("{place}: the record has {given} cells, the header has {expected}")]
    Ragged {
        /// The line.
        place: Place,
        /// The cells of the header.
        expected: usize,
        /// The cells of the record.
        given: usize,
    },
    /// A cell is not UTF-8.
    #[error("{place}: the cell is not UTF-8, it reads {value:?}")]
    NotUtf8 {
        /// The cell.
        place: Place,
        /// What it reads with replacement characters, cut to 80.
        value: String,
    },
    /// A cell holds a NUL character: the file is binary or damaged.
    #[error("{place}: the cell holds a NUL character: this is not a text file, or it is damaged")]
    Nul {
        /// The cell.
        place: Place,
    },
    /// A cell has no value, and no marker of missing values allows that.
    #[error("{place}: the cell is empty, and an empty cell is not allowed to mean a missing value")]
    EmptyCell {
        /// The cell.
        place: Place,
    },
    /// A cell is no number.
    #[error("{place}: {value:?} is not a number")]
    NotANumber {
        /// The cell.
        place: Place,
        /// What it holds, cut to 80 characters.
        value: String,
    },
    /// A number is beyond the range of doubles.
    #[error("{place}: {value:?} is out of range: numbers go up to 1.8e308 in magnitude")]
    NumberOutOfRange {
        /// The cell.
        place: Place,
        /// What it holds, cut to 80 characters.
        value: String,
    },
    /// A number is NaN or infinite where that is not allowed.
    #[error("{place}: {value:?} is not finite, and that is not allowed here")]
    NotFinite {
        /// The cell.
        place: Place,
        /// What it holds.
        value: String,
    },
    /// A cell must hold a whole number and does not.
    #[error("{place}: {value:?} is not a whole number from 0 to {}", u64::MAX)]
    NotAGroup {
        /// The cell.
        place: Place,
        /// What it holds, cut to 80 characters.
        value: String,
    },
    /// A text is not among the allowed ones.
    #[error("{place}: {value:?} is not among the {count} known values, {known}")]
    UnknownCategory {
        /// The cell.
        place: Place,
        /// What it holds, cut to 80 characters.
        value: String,
        /// The first of the known values.
        known: String,
        /// How many there are.
        count: usize,
    },
    /// All rows are of one class: there is nothing to learn.
    #[error(
        "{place}: all {rows} rows down to line {last_line} are of the class {class:?}: at least two classes are needed"
    )]
    SingleClass {
        /// The first row, and the target column.
        place: Place,
        /// The only class.
        class: String,
        /// How many rows there are.
        rows: usize,
        /// The line of the last row.
        last_line: u64,
    },
    /// A documented bound was reached while reading.
    #[error("{place}: {what}: {given}, at most {limit} are allowed")]
    Limit {
        /// Where.
        place: Place,
        /// What is bounded.
        what: &'static str,
        /// What was found, or as much of it as was read.
        given: u64,
        /// The bound.
        limit: u64,
    },
    /// Parts of a table differ in length.
    #[error("{what}: {given} given, {expected} needed")]
    Length {
        /// The part.
        what: &'static str,
        /// How many there are.
        given: usize,
        /// How many there must be.
        expected: usize,
    },
    /// There is no column of that name.
    #[error("there is no column {name:?}; there are {known}")]
    UnknownColumn {
        /// The name asked for.
        name: String,
        /// The columns there are, the first of them.
        known: String,
    },
    /// A name stands twice where names must differ.
    #[error("{what} {name:?} stands twice")]
    DuplicateName {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A row that was asked for does not exist.
    #[error("row {row} does not exist: there are {rows} rows")]
    UnknownRow {
        /// The row, from 0.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// Two tables do not fit together.
    #[error("the tables do not fit together: {reason}")]
    Mismatch {
        /// How they differ.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("{what} is invalid: {reason}")]
    Invalid {
        /// The setting.
        what: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// The table breaks its schema.
    #[error("{}", .report.headline())]
    Schema {
        /// All violations, grouped by column and rule.
        report: Box<ValidationReport>,
    },
    /// A named row does not fit the signature.
    #[error("{}", list(.problems, *.count))]
    Row {
        /// Everything that is wrong with it, the first hundred.
        problems: Vec<RowProblem>,
        /// How many problems there are.
        count: usize,
    },
    /// The content is not what its fingerprint says.
    #[error("{dataset} has the fingerprint {expected}, the table has {found}")]
    Fingerprint {
        /// The dataset version.
        dataset: String,
        /// What it was.
        expected: mlp_core::ContentHash,
        /// What it is.
        found: mlp_core::ContentHash,
    },
    /// The parts make no training data.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// A transform failed.
    #[error(transparent)]
    Transform(#[from] ModelError),
    /// A transform could not be saved or loaded.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(problems: &[RowProblem], count: usize) -> String {
    let mut text = format!(
        "the row does not fit: {}",
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    );
    if count > problems.len() {
        text.push_str(&format!("; and {} more", count - problems.len()));
    }
    text
}

/// Names for an error message: the first eight, and how many more there are.
pub(crate) fn name_some<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 8;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("{:?}", cut(name.as_ref())))
        .collect::<Vec<_>>()
        .join(", ");
    if names.is_empty() {
        text.push_str("none");
    }
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// A value for an error message: its first 80 characters.
pub(crate) fn cut(value: &str) -> String {
    const SHOWN: usize = 80;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
