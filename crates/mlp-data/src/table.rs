//! Tables: named columns of numbers, with a target and what else belongs to each row.

use std::collections::HashSet;
use std::sync::Arc;

use mlp_core::{Samples, Target};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate};

use crate::canonical::canonical_bits;
use crate::error::{Error, Result, name_some};

/// What a table is to teach, one entry a row.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetColumn {
    /// Nothing.
    Absent,
    /// Classes: an index into `classes` for each row.
    Classes {
        /// The name of the column.
        name: String,
        /// The class of each row.
        labels: Vec<usize>,
        /// What the classes are called, in the order of their indices.
        classes: Vec<String>,
    },
    /// Numbers.
    Values {
        /// The name of the column.
        name: String,
        /// The number of each row.
        values: Vec<f64>,
    },
}

impl TargetColumn {
    /// The name of the column, if there is a target.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Classes { name, .. } | Self::Values { name, .. } => Some(name),
        }
    }
}

/// Where the rows of a table were read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
    pub(crate) file: Arc<str>,
    pub(crate) lines: Vec<u64>,
}

/// Rows of named numbers (`n_rows × n_features`, row by row in memory), with an optional target, weights, groups and row ids.
///
/// A missing value is NaN. A column of categories holds whole numbers from 0, and a dictionary says what each stands for. Views
/// ([`features`](Self::features), [`column`](Self::column), [`samples`](Self::samples)) borrow; selections copy.
///
/// ```
/// use mlp_data::Table;
/// use ndarray::array;
///
/// let table = Table::new(["alcohol", "ph"], array![[9.4, 3.5], [9.8, 3.2], [9.4, 3.5]])?
///     .with_classes("good", vec![0, 1, 0], ["no", "yes"])?;
/// let distinct = table.drop_duplicates();
/// assert_eq!((distinct.table.n_rows(), distinct.dropped), (2, 1));
/// assert_eq!(distinct.table.samples()?.classes()?.0.as_ref(), [0, 1]);
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    features: Array2<f64>,
    names: Vec<String>,
    dictionaries: Vec<Option<Arc<[String]>>>,
    target: TargetColumn,
    weights: Option<Vec<f64>>,
    groups: Option<Vec<u64>>,
    row_ids: Option<Vec<String>>,
    origin: Option<Origin>,
}

/// A table without its duplicate rows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deduplicated {
    /// The first row of each kind, in the order of the original.
    pub table: Table,
    /// How many rows were dropped.
    pub dropped: usize,
    /// The rows that were kept, as indices into the original.
    pub kept: Vec<usize>,
}

impl Table {
    /// Takes features (`n_rows × n_features`) and their names. There may be no row, and values may be anything a double can be.
    ///
    /// # Errors
    /// If there are not as many names as columns, a name is empty, or a name stands twice.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        features: Array2<f64>,
    ) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        check_length("column names", names.len(), features.ncols())?;
        check_names("the column", &names)?;
        let features = if features.is_standard_layout() {
            features
        } else {
            features.as_standard_layout().into_owned()
        };
        let dictionaries = vec![None; names.len()];
        Ok(Self {
            features,
            names,
            dictionaries,
            target: TargetColumn::Absent,
            weights: None,
            groups: None,
            row_ids: None,
            origin: None,
        })
    }

    /// Sets classes as the target: for each row an index into `classes`.
    ///
    /// # Errors
    /// If there are not as many labels as rows, a label is not below the number of classes, a class stands twice, or a feature has the
    /// target's name.
    pub fn with_classes<C: Into<String>>(
        self,
        name: impl Into<String>,
        labels: Vec<usize>,
        classes: impl IntoIterator<Item = C>,
    ) -> Result<Self> {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        check_length("labels", labels.len(), self.n_rows())?;
        check_names("the class", &classes)?;
        if let Some(row) = labels.iter().position(|&label| label >= classes.len()) {
            return Err(mlp_core::SamplesError::UnknownClass {
                row,
                label: labels[row],
                classes: classes.len(),
            }
            .into());
        }
        self.with_target(TargetColumn::Classes { name: name.into(), labels, classes })
    }

    /// Sets numbers as the target.
    ///
    /// # Errors
    /// If there are not as many values as rows, one is not finite, or a feature has the target's name.
    pub fn with_values(self, name: impl Into<String>, values: Vec<f64>) -> Result<Self> {
        check_length("target values", values.len(), self.n_rows())?;
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            return Err(mlp_core::SamplesError::NotFiniteValue {
                what: "target value",
                row,
                value: values[row],
            }
            .into());
        }
        self.with_target(TargetColumn::Values { name: name.into(), values })
    }

    fn with_target(mut self, target: TargetColumn) -> Result<Self> {
        if let Some(name) = target.name().filter(|name| self.names.iter().any(|n| n == name)) {
            return Err(Error::DuplicateName { what: "the column", name: name.to_owned() });
        }
        self.target = target;
        Ok(self)
    }

    /// The table without its target: what is known of new rows.
    #[must_use]
    pub fn without_target(mut self) -> Self {
        self.target = TargetColumn::Absent;
        self
    }

    /// Sets the weight of each row.
    ///
    /// # Errors
    /// If there are not as many weights as rows, or one is negative or not finite.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Result<Self> {
        check_length("weights", weights.len(), self.n_rows())?;
        if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            let reason = format!("row {row}: the weight {} is not a number from 0", weights[row]);
            return Err(Error::Invalid { what: "weights".to_owned(), reason });
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// Sets the group of each row: rows of a group stay on one side of a split.
    ///
    /// # Errors
    /// If there are not as many groups as rows.
    pub fn with_groups(mut self, groups: Vec<u64>) -> Result<Self> {
        check_length("groups", groups.len(), self.n_rows())?;
        self.groups = Some(groups);
        Ok(self)
    }

    /// Sets what each row is called, such as the key of a customer. Ids may repeat.
    ///
    /// # Errors
    /// If there are not as many ids as rows.
    pub fn with_row_ids<I: Into<String>>(
        mut self,
        ids: impl IntoIterator<Item = I>,
    ) -> Result<Self> {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        check_length("row ids", ids.len(), self.n_rows())?;
        self.row_ids = Some(ids);
        Ok(self)
    }

    /// Says what the whole numbers of a column stand for: 0 for the first text, and so on.
    ///
    /// # Errors
    /// If there is no such column, a text stands twice, or a value of the column is neither NaN nor a code of the dictionary.
    pub fn with_dictionary<V: Into<String>>(
        mut self,
        column: &str,
        texts: impl IntoIterator<Item = V>,
    ) -> Result<Self> {
        let index = self.column_index(column)?;
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        check_distinct("the category", &texts)?;
        let is_code = |v: f64| v.is_nan() || code(v, texts.len()).is_some();
        if let Some(row) = self.features.column(index).iter().position(|&v| !is_code(v)) {
            let value = self.features[[row, index]];
            let count = texts.len();
            let reason =
                format!("row {row}: {value} is not a whole number below {count}, nor missing");
            return Err(Error::Invalid { what: format!("column {column:?}"), reason });
        }
        self.dictionaries[index] = Some(texts.into());
        Ok(self)
    }

    pub(crate) fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// How many rows there are.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.features.nrows()
    }

    /// How many feature columns there are.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.features.ncols()
    }

    /// The names of the feature columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The features, `n_rows × n_features`, in row-major order.
    #[must_use]
    pub fn features(&self) -> ArrayView2<'_, f64> {
        self.features.view()
    }

    /// One feature column.
    ///
    /// # Errors
    /// If there is no column of that name.
    pub fn column(&self, name: &str) -> Result<ArrayView1<'_, f64>> {
        Ok(self.features.column(self.column_index(name)?))
    }

    /// The position of a feature column.
    ///
    /// # Errors
    /// If there is no column of that name.
    pub fn column_index(&self, name: &str) -> Result<usize> {
        self.names.iter().position(|own| own == name).ok_or_else(|| Error::UnknownColumn {
            name: name.to_owned(),
            known: name_some(&self.names),
        })
    }

    /// What the codes of a feature column stand for, if it holds categories.
    #[must_use]
    pub fn dictionary(&self, name: &str) -> Option<&[String]> {
        self.dictionary_at(self.column_index(name).ok()?)
    }

    pub(crate) fn dictionary_at(&self, column: usize) -> Option<&[String]> {
        self.dictionaries[column].as_deref()
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &TargetColumn {
        &self.target
    }

    /// The weight of each row, if there are weights.
    #[must_use]
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// The group of each row, if there are groups.
    #[must_use]
    pub fn groups(&self) -> Option<&[u64]> {
        self.groups.as_deref()
    }

    /// What each row is called, if rows have ids.
    #[must_use]
    pub fn row_ids(&self) -> Option<&[String]> {
        self.row_ids.as_deref()
    }

    /// The file a row was read from, and its line.
    #[must_use]
    pub fn source(&self, row: usize) -> Option<(&str, u64)> {
        let origin = self.origin.as_ref()?;
        Some((&origin.file, *origin.lines.get(row)?))
    }

    /// The rows as training data, borrowed.
    ///
    /// # Errors
    /// If there is no row.
    pub fn samples(&self) -> Result<Samples<'_>> {
        let target = match &self.target {
            TargetColumn::Absent => Target::Absent,
            TargetColumn::Classes { labels, classes, .. } => {
                Target::Classes { labels, names: classes }
            }
            TargetColumn::Values { values, .. } => Target::Values(values),
        };
        let mut samples = Samples::new(self.features.view(), &self.names, target)?;
        if let Some(weights) = &self.weights {
            samples = samples.with_weights(weights)?;
        }
        if let Some(groups) = &self.groups {
            samples = samples.with_groups(groups)?;
        }
        Ok(samples)
    }

    /// The table with these feature columns, in this order; target, weights, groups and ids stay.
    ///
    /// # Errors
    /// If there is no such column, or one is named twice.
    pub fn select_columns<S: AsRef<str>>(&self, names: &[S]) -> Result<Self> {
        let columns: Vec<usize> =
            names.iter().map(|name| self.column_index(name.as_ref())).collect::<Result<_>>()?;
        self.with_features(
            names.iter().map(|name| name.as_ref().to_owned()).collect(),
            self.features.select(Axis(1), &columns),
            columns.iter().map(|&column| self.dictionaries[column].clone()).collect(),
        )
    }

    /// The same rows with other features: what a transform makes of them.
    ///
    /// # Errors
    /// If the number of rows changes, there are not as many names as columns, or a name stands twice.
    pub fn replace_features<N: Into<String>>(
        &self,
        names: impl IntoIterator<Item = N>,
        features: Array2<f64>,
    ) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let dictionaries = vec![None; names.len()];
        self.with_features(names, features, dictionaries)
    }

    fn with_features(
        &self,
        names: Vec<String>,
        features: Array2<f64>,
        dictionaries: Vec<Option<Arc<[String]>>>,
    ) -> Result<Self> {
        check_length("rows", features.nrows(), self.n_rows())?;
        let mut table = Self::new(names, features)?.with_target(self.target.clone())?;
        table.dictionaries = dictionaries;
        table.weights.clone_from(&self.weights);
        table.groups.clone_from(&self.groups);
        table.row_ids.clone_from(&self.row_ids);
        table.origin.clone_from(&self.origin);
        Ok(table)
    }

    /// The table with one feature column changed, value by value from the first row on. A dictionary of the column is dropped.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn map_column(&self, name: &str, change: impl FnMut(f64) -> f64) -> Result<Self> {
        let column = self.column_index(name)?;
        let mut table = self.clone();
        table.features.column_mut(column).mapv_inplace(change);
        table.dictionaries[column] = None;
        Ok(table)
    }

    /// The table with these rows, in this order; a row may be chosen more than once.
    ///
    /// # Errors
    /// If a row does not exist.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        if let Some(&row) = rows.iter().find(|&&row| row >= self.n_rows()) {
            return Err(Error::UnknownRow { row, rows: self.n_rows() });
        }
        Ok(self.rows(rows))
    }

    fn rows(&self, rows: &[usize]) -> Self {
        fn choose<T: Clone>(all: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().map(|&row| all[row].clone()).collect()
        }
        let target = match &self.target {
            TargetColumn::Absent => TargetColumn::Absent,
            TargetColumn::Classes { name, labels, classes } => TargetColumn::Classes {
                name: name.clone(),
                labels: choose(labels, rows),
                classes: classes.clone(),
            },
            TargetColumn::Values { name, values } => {
                TargetColumn::Values { name: name.clone(), values: choose(values, rows) }
            }
        };
        Self {
            features: self.features.select(Axis(0), rows),
            names: self.names.clone(),
            dictionaries: self.dictionaries.clone(),
            target,
            weights: self.weights.as_ref().map(|weights| choose(weights, rows)),
            groups: self.groups.as_ref().map(|groups| choose(groups, rows)),
            row_ids: self.row_ids.as_ref().map(|ids| choose(ids, rows)),
            origin: self.origin.as_ref().map(|origin| Origin {
                file: Arc::clone(&origin.file),
                lines: choose(&origin.lines, rows),
            }),
        }
    }

    /// The first row of each kind: rows are of one kind if their features and targets are equal, where NaN equals NaN and 0 equals -0.
    /// Weights, groups and ids do not count.
    #[must_use]
    pub fn drop_duplicates(&self) -> Deduplicated {
        let keys: Vec<Vec<u64>> = (0..self.n_rows()).map(|row| self.key(row)).collect();
        let mut seen = HashSet::with_capacity(keys.len());
        let kept: Vec<usize> =
            (0..self.n_rows()).filter(|&row| seen.insert(keys[row].as_slice())).collect();
        Deduplicated { table: self.rows(&kept), dropped: self.n_rows() - kept.len(), kept }
    }

    fn key(&self, row: usize) -> Vec<u64> {
        let target = match &self.target {
            TargetColumn::Absent => None,
            TargetColumn::Classes { labels, .. } => Some(labels[row] as u64),
            TargetColumn::Values { values, .. } => Some(canonical_bits(values[row])),
        };
        self.features.row(row).iter().map(|&value| canonical_bits(value)).chain(target).collect()
    }

    /// The rows of this table, then those of another one.
    ///
    /// Weights, groups and ids must be in both or in neither.
    ///
    /// # Errors
    /// If columns, dictionaries, target or parts differ.
    pub fn concat(&self, other: &Self) -> Result<Self> {
        if let Some(reason) = self.difference_in_kind(other) {
            return Err(Error::Mismatch { reason });
        }
        fn join<T: Clone>(first: Option<&[T]>, second: Option<&[T]>) -> Option<Vec<T>> {
            Some([first?, second?].concat())
        }
        let features = concatenate(Axis(0), &[self.features.view(), other.features.view()])
            .map_err(|error| Error::Mismatch { reason: error.to_string() })?;
        let target = match (&self.target, &other.target) {
            (
                TargetColumn::Classes { name, labels, classes },
                TargetColumn::Classes { labels: more, .. },
            ) => TargetColumn::Classes {
                name: name.clone(),
                labels: [&labels[..], more].concat(),
                classes: classes.clone(),
            },
            (TargetColumn::Values { name, values }, TargetColumn::Values { values: more, .. }) => {
                TargetColumn::Values { name: name.clone(), values: [&values[..], more].concat() }
            }
            _ => TargetColumn::Absent,
        };
        let origin = match (&self.origin, &other.origin) {
            (Some(first), Some(second)) if first.file == second.file => Some(Origin {
                file: Arc::clone(&first.file),
                lines: [&first.lines[..], &second.lines].concat(),
            }),
            _ => None,
        };
        Ok(Self {
            features,
            names: self.names.clone(),
            dictionaries: self.dictionaries.clone(),
            target,
            weights: join(self.weights(), other.weights()),
            groups: join(self.groups(), other.groups()),
            row_ids: join(self.row_ids(), other.row_ids()),
            origin,
        })
    }

    /// How the columns of another table differ, if they do: what keeps its rows from standing below these.
    pub(crate) fn difference_in_kind(&self, other: &Self) -> Option<String> {
        if self.names != other.names {
            return Some(format!(
                "the columns are {} and {}",
                name_some(&self.names),
                name_some(&other.names)
            ));
        }
        if let Some(column) = (0..self.names.len())
            .find(|&column| self.dictionaries[column] != other.dictionaries[column])
        {
            return Some(format!("the dictionaries of {:?} differ", self.names[column]));
        }
        let same_target = match (&self.target, &other.target) {
            (TargetColumn::Absent, TargetColumn::Absent) => true,
            (
                TargetColumn::Classes { name, classes, .. },
                TargetColumn::Classes { name: other, classes: theirs, .. },
            ) => name == other && classes == theirs,
            (TargetColumn::Values { name, .. }, TargetColumn::Values { name: other, .. }) => {
                name == other
            }
            _ => false,
        };
        if !same_target {
            return Some("the targets differ in name, kind or classes".to_owned());
        }
        [
            ("weights", self.weights.is_some(), other.weights.is_some()),
            ("groups", self.groups.is_some(), other.groups.is_some()),
            ("row ids", self.row_ids.is_some(), other.row_ids.is_some()),
        ]
        .into_iter()
        .find(|(_, ours, theirs)| ours != theirs)
        .map(|(what, ..)| format!("only one of them has {what}"))
    }
}

/// The position in a dictionary of `count` texts that a value stands for.
pub(crate) fn code(value: f64, count: usize) -> Option<usize> {
    (value >= 0.0 && value < count as f64 && value.fract() == 0.0).then_some(value as usize)
}

fn check_length(what: &'static str, given: usize, expected: usize) -> Result<()> {
    if given == expected { Ok(()) } else { Err(Error::Length { what, given, expected }) }
}

fn check_names(what: &'static str, names: &[String]) -> Result<()> {
    if let Some(empty) = names.iter().position(String::is_empty) {
        return Err(Error::Invalid {
            what: format!("{what} number {}", empty + 1),
            reason: "its name is empty".to_owned(),
        });
    }
    check_distinct(what, names)
}

fn check_distinct(what: &'static str, names: &[String]) -> Result<()> {
    let mut seen = HashSet::with_capacity(names.len());
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(Error::DuplicateName { what, name: name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn table() -> Table {
        Table::new(["a", "b"], array![[1.0, 0.0], [f64::NAN, 2.0], [1.0, -0.0], [f64::NAN, 2.0]])
            .and_then(|t| t.with_classes("y", vec![0, 1, 0, 0], ["no", "yes"]))
            .and_then(|t| t.with_weights(vec![1.0, 2.0, 3.0, 4.0]))
            .and_then(|t| t.with_groups(vec![1, 2, 3, 4]))
            .and_then(|t| t.with_row_ids(["p", "q", "r", "s"]))
            .unwrap()
    }

    #[test]
    fn parts_that_do_not_fit_are_refused_by_name() {
        let bare = || Table::new(["a"], array![[1.0], [2.0]]).unwrap();
        let check = |result: Result<Table>, expected: &str| {
            assert_eq!(result.unwrap_err().to_string(), expected);
        };
        check(Table::new(["a"], array![[1.0, 2.0]]), "column names: 1 given, 2 needed");
        check(Table::new(["a", "a"], array![[1.0, 2.0]]), "the column \"a\" stands twice");
        check(bare().with_values("a", vec![1.0, 2.0]), "the column \"a\" stands twice");
        check(
            bare().with_values("y", vec![1.0, f64::NAN]),
            "row 1: the target value NaN is not finite",
        );
        check(
            bare().with_classes("y", vec![0, 2], ["n", "y"]),
            "row 1: label 2 is not below the number of classes, 2",
        );
        check(bare().with_groups(vec![1]), "groups: 1 given, 2 needed");
        check(
            bare().with_weights(vec![1.0, -1.0]),
            "weights is invalid: row 1: the weight -1 is not a number from 0",
        );
        check(
            bare().with_dictionary("a", ["x", "y"]),
            "column \"a\" is invalid: row 1: 2 is not a whole number below 2, nor missing",
        );
        check(bare().select_columns(&["z"]), "there is no column \"z\"; there are \"a\"");
        check(bare().select_rows(&[2]), "row 2 does not exist: there are 2 rows");
    }

    #[test]
    fn duplicates_are_equal_in_features_and_target_and_the_first_is_kept() {
        let distinct = table().drop_duplicates();
        assert_eq!((distinct.dropped, &distinct.kept[..]), (1, &[0, 1, 3][..]));
        assert_eq!(distinct.table.row_ids().unwrap(), ["p", "q", "s"]);
        assert_eq!(distinct.table.weights().unwrap(), [1.0, 2.0, 4.0]);
        assert_eq!(distinct.table.drop_duplicates().dropped, 0);
    }

    #[test]
    fn a_selection_keeps_every_part_of_a_row_together() {
        let chosen = table().select_rows(&[3, 0]).unwrap().select_columns(&["b"]).unwrap();
        assert_eq!(chosen.features(), array![[2.0], [0.0]]);
        let samples = chosen.samples().unwrap();
        assert_eq!(samples.classes().unwrap().0.as_ref(), [0, 0]);
        assert_eq!(samples.weights().unwrap().as_ref(), [4.0, 1.0]);
        assert_eq!(samples.groups().unwrap().as_ref(), [4, 1]);
    }

    #[test]
    fn tables_of_the_same_kind_can_stand_below_each_other() {
        let both = table().concat(&table()).unwrap();
        assert_eq!(both.n_rows(), 8);
        assert_eq!(both.groups().unwrap()[4..], [1, 2, 3, 4]);
        assert!(table().concat(&table().without_target()).is_err());
        assert!(table().concat(&table().select_columns(&["b", "a"]).unwrap()).is_err());
    }

    #[test]
    fn a_table_without_rows_is_a_table_but_no_training_data() {
        let empty = Table::new(["a"], Array2::zeros((0, 1))).unwrap();
        assert_eq!(empty.drop_duplicates().dropped, 0);
        assert!(matches!(empty.samples(), Err(Error::Samples(mlp_core::SamplesError::NoRows))));
    }
}
