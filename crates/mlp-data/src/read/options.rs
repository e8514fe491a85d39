//! How a file is to be understood.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the target column of a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TargetKind {
    /// Numbers: the default, because it reads every cell or names the one it cannot read.
    #[default]
    Values,
    /// Classes: each distinct cell is one. Numbers are sorted by value and texts by character.
    Classes,
    /// Classes if all cells are texts, or whole numbers of which at most `max_classes` differ; numbers otherwise.
    Detect {
        /// How many distinct whole numbers still count as classes; more texts than this are an error.
        max_classes: usize,
    },
    /// These classes, in this order, and no other: for data of a model that exists. One class alone is fine.
    Known {
        /// What the classes are called.
        classes: Vec<String>,
    },
}

/// What becomes of `NaN`, `inf` and their spellings in a column of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonFinite {
    /// They are errors, unless the text marks a missing value.
    #[default]
    Refuse,
    /// They are read as what they say.
    Accept,
}

/// How a file is to be understood: which column is what, what marks a missing value, and how large things may be.
///
/// Parquet files say themselves what is missing and where a cell ends: `delimiter`, `missing`, `max_cell_bytes` and `max_record_bytes` are
/// for CSV alone.
///
/// ```
/// use mlp_data::{ReadOptions, TargetKind, read_csv_from};
///
/// let file = "length,colour,kind\n1.5,red,ant\n,blue,bee\n";
/// let options = ReadOptions::new()
///     .with_target("kind", TargetKind::Classes)
///     .with_categories("colour")
///     .with_missing([""]);
/// let table = read_csv_from(file.as_bytes(), "insects.csv", &options)?;
/// assert_eq!(table.dictionary("colour"), Some(&["blue".to_owned(), "red".to_owned()][..]));
/// assert_eq!(table.column("colour")?.to_vec(), [1.0, 0.0]);
/// assert!(table.column("length")?[1].is_nan());
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReadOptions {
    /// What separates cells: an ASCII character.
    pub delimiter: char,
    /// The column to predict.
    pub target: Option<String>,
    /// What the target holds.
    pub target_kind: TargetKind,
    /// Columns of texts, and what their codes stand for; an empty list is learnt from the file and sorted.
    pub categories: BTreeMap<String, Vec<String>>,
    /// The column of weights.
    pub weights: Option<String>,
    /// The column of groups: whole numbers from 0.
    pub groups: Option<String>,
    /// The column that says what each row is called.
    pub row_ids: Option<String>,
    /// Columns that are not read.
    pub ignored: Vec<String>,
    /// Texts that mark a missing feature value, which is read as NaN. None by default: an unexpected gap should be seen.
    pub missing: Vec<String>,
    /// What becomes of NaN and infinity. Refused by default: most estimators cannot use them.
    pub non_finite: NonFinite,
    /// The most columns a file may have: 16,384 by default, as many as a spreadsheet has.
    pub max_columns: usize,
    /// The longest cell in bytes: 64 KiB by default, far above any number or name.
    pub max_cell_bytes: usize,
    /// The longest record in bytes: 16 MiB by default; this much memory can a hostile file take before it is refused.
    pub max_record_bytes: usize,
    /// The most numbers in the table: 2^28 by default, which take 2 GiB.
    pub max_values: usize,
    /// The most distinct texts of a column of categories or classes: 65,536 by default.
    pub max_categories: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            delimiter: ',',
            target: None,
            target_kind: TargetKind::default(),
            categories: BTreeMap::new(),
            weights: None,
            groups: None,
            row_ids: None,
            ignored: Vec::new(),
            missing: Vec::new(),
            non_finite: NonFinite::default(),
            max_columns: 16_384,
            max_cell_bytes: 64 << 10,
            max_record_bytes: 16 << 20,
            max_values: 1 << 28,
            max_categories: 65_536,
        }
    }
}

impl ReadOptions {
    /// Comma-separated numbers, none of them missing, and no target.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the column to predict and what it holds.
    #[must_use]
    pub fn with_target(mut self, column: impl Into<String>, kind: TargetKind) -> Self {
        self.target = Some(column.into());
        self.target_kind = kind;
        self
    }

    /// Makes a column one of categories, whose texts are learnt from the file.
    ///
    /// The codes are those of this file alone: another file that lacks a text, or has one more, gives others to the same texts. To read data of a
    /// model that exists, give its texts by [`with_dictionary`](Self::with_dictionary), or change the codes by
    /// [`Table::recode`](crate::Table::recode).
    #[must_use]
    pub fn with_categories(mut self, column: impl Into<String>) -> Self {
        self.categories.insert(column.into(), Vec::new());
        self
    }

    /// Makes a column one of categories with these texts and no other.
    #[must_use]
    pub fn with_dictionary<V: Into<String>>(
        mut self,
        column: impl Into<String>,
        texts: impl IntoIterator<Item = V>,
    ) -> Self {
        self.categories.insert(column.into(), texts.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the texts that mark a missing value.
    #[must_use]
    pub fn with_missing<V: Into<String>>(mut self, texts: impl IntoIterator<Item = V>) -> Self {
        self.missing = texts.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what becomes of NaN and infinity.
    #[must_use]
    pub fn with_non_finite(mut self, non_finite: NonFinite) -> Self {
        self.non_finite = non_finite;
        self
    }

    /// Sets what separates cells.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: char) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Sets the column of weights.
    #[must_use]
    pub fn with_weights(mut self, column: impl Into<String>) -> Self {
        self.weights = Some(column.into());
        self
    }

    /// Sets the column of groups.
    #[must_use]
    pub fn with_groups(mut self, column: impl Into<String>) -> Self {
        self.groups = Some(column.into());
        self
    }

    /// Sets the column that says what each row is called.
    #[must_use]
    pub fn with_row_ids(mut self, column: impl Into<String>) -> Self {
        self.row_ids = Some(column.into());
        self
    }

    /// Sets the columns that are not read.
    #[must_use]
    pub fn with_ignored<V: Into<String>>(mut self, columns: impl IntoIterator<Item = V>) -> Self {
        self.ignored = columns.into_iter().map(Into::into).collect();
        self
    }
}
