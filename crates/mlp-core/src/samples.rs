//! Training data, borrowed: what an estimator learns from.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};

/// What is to be predicted, one entry a row.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Target<'a> {
    /// Nothing: for transformers that need no target.
    Absent,
    /// Classes: an index into `names` for each row. A class may be absent from a fold; its column in the model's output stays.
    Classes {
        /// The class of each row.
        labels: &'a [usize],
        /// What the classes are called, in the order of their indices.
        names: &'a [String],
    },
    /// Numbers.
    Values(&'a [f64]),
}

/// Training data: features (`n_rows × n_features`) with their names, a target, and optional weights and groups, all borrowed.
///
/// A fold is the same data with another choice of rows ([`with_rows`](Self::with_rows)): nothing is copied until an estimator asks for
/// a contiguous matrix.
///
/// ```
/// use mlp_core::{Samples, Target};
/// use ndarray::array;
///
/// let features = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
/// let names = ["a".to_owned(), "b".to_owned()];
/// let all = Samples::new(features.view(), &names, Target::Values(&[10.0, 20.0, 30.0]))?;
/// let fold = all.with_rows(&[2, 0])?;
/// assert_eq!(fold.features(), array![[5.0, 6.0], [1.0, 2.0]]);
/// assert_eq!(fold.values()?.as_ref(), [30.0, 10.0]);
/// # Ok::<(), mlp_core::SamplesError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    features: ArrayView2<'a, f64>,
    names: &'a [String],
    target: Target<'a>,
    weights: Option<&'a [f64]>,
    groups: Option<&'a [u64]>,
    seen: Option<&'a [bool]>,
    rows: Option<&'a [usize]>,
}

impl<'a> Samples<'a> {
    /// Checks and takes features (`n_rows × n_features`), their names and the target.
    ///
    /// Features may be NaN or infinite: whether those are missing values or mistakes is the estimator's to say.
    ///
    /// # Errors
    /// If there is no row, the lengths differ, a label is not below the number of class names, or a target value is not finite.
    pub fn new(
        features: ArrayView2<'a, f64>,
        names: &'a [String],
        target: Target<'a>,
    ) -> Result<Self, SamplesError> {
        let n_rows = features.nrows();
        if n_rows == 0 {
            return Err(SamplesError::NoRows);
        }
        check_length("feature names", names.len(), features.ncols())?;
        match target {
            Target::Absent => {}
            Target::Classes { labels, names } => {
                check_length("labels", labels.len(), n_rows)?;
                if let Some(row) = labels.iter().position(|&label| label >= names.len()) {
                    return Err(SamplesError::UnknownClass {
                        row,
                        label: labels[row],
                        classes: names.len(),
                    });
                }
            }
            Target::Values(values) => {
                check_length("target values", values.len(), n_rows)?;
                check_finite("target value", values)?;
            }
        }
        Ok(Self { features, names, target, weights: None, groups: None, seen: None, rows: None })
    }

    /// Adds a weight for each row of the underlying matrix.
    ///
    /// # Errors
    /// If there are not as many weights as rows, or one is negative or not finite.
    pub fn with_weights(self, weights: &'a [f64]) -> Result<Self, SamplesError> {
        check_length("weights", weights.len(), self.features.nrows())?;
        check_finite("weight", weights)?;
        match weights.iter().position(|&weight| weight < 0.0) {
            Some(row) => Err(SamplesError::NegativeWeight { row, value: weights[row] }),
            None => Ok(Self { weights: Some(weights), ..self }),
        }
    }

    /// Adds a group for each row of the underlying matrix; rows of a group stay on one side of a split.
    ///
    /// # Errors
    /// If there are not as many groups as rows.
    pub fn with_groups(self, groups: &'a [u64]) -> Result<Self, SamplesError> {
        check_length("groups", groups.len(), self.features.nrows())?;
        Ok(Self { groups: Some(groups), ..self })
    }

    /// Says of each row of the underlying matrix whether a selection saw it when it chose these features: such a row cannot be tested
    /// honestly any more.
    ///
    /// # Errors
    /// If there are not as many entries as rows.
    pub fn with_seen_by_selection(self, seen: &'a [bool]) -> Result<Self, SamplesError> {
        check_length("rows seen by a selection", seen.len(), self.features.nrows())?;
        Ok(Self { seen: Some(seen), ..self })
    }

    /// Whether a selection saw each chosen row when it chose these features; none if the features were not selected.
    #[must_use]
    pub fn seen_by_selection(&self) -> Option<Cow<'a, [bool]>> {
        self.seen.map(|seen| self.choose(seen))
    }

    /// The same data, with these rows of the underlying matrix, in this order. Replaces an earlier choice.
    ///
    /// # Errors
    /// If there is no row, or a row does not exist.
    pub fn with_rows<'b>(&self, rows: &'b [usize]) -> Result<Samples<'b>, SamplesError>
    where
        'a: 'b,
    {
        if rows.is_empty() {
            return Err(SamplesError::NoRows);
        }
        if let Some(&row) = rows.iter().find(|&&row| row >= self.features.nrows()) {
            return Err(SamplesError::UnknownRow { row, rows: self.features.nrows() });
        }
        Ok(Samples { rows: Some(rows), ..self.reborrow() })
    }

    /// The same data for a shorter time: array views do not shorten their lifetime by themselves.
    #[must_use]
    pub fn reborrow<'b>(&self) -> Samples<'b>
    where
        'a: 'b,
    {
        let Self { features, names, target, weights, groups, seen, rows } = *self;
        Samples { features: features.reborrow(), names, target, weights, groups, seen, rows }
    }

    /// How many rows are chosen.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.rows.map_or(self.features.nrows(), <[usize]>::len)
    }

    /// How many features there are.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.features.ncols()
    }

    /// The names of the features.
    #[must_use]
    pub fn names(&self) -> &'a [String] {
        self.names
    }

    /// The chosen rows as indices into the underlying matrix: all of them in order if none were chosen.
    #[must_use]
    pub fn row_indices(&self) -> Cow<'a, [usize]> {
        self.rows.map_or_else(|| (0..self.features.nrows()).collect(), Cow::Borrowed)
    }

    /// The features of the chosen rows (`n_rows × n_features`); copied only if rows were chosen.
    #[must_use]
    pub fn features(&self) -> CowArray<'a, f64, Ix2> {
        match self.rows {
            None => self.features.into(),
            Some(rows) => self.features.select(Axis(0), rows).into(),
        }
    }

    /// The class of each chosen row, and the names of the classes.
    ///
    /// # Errors
    /// If the target is not made of classes.
    pub fn classes(&self) -> Result<(Cow<'a, [usize]>, &'a [String]), SamplesError> {
        match self.target {
            Target::Classes { labels, names } => Ok((self.choose(labels), names)),
            _ => Err(SamplesError::WrongTarget { needed: "classes", found: self.target.kind() }),
        }
    }

    /// The target value of each chosen row.
    ///
    /// # Errors
    /// If the target is not made of numbers.
    pub fn values(&self) -> Result<Cow<'a, [f64]>, SamplesError> {
        match self.target {
            Target::Values(values) => Ok(self.choose(values)),
            _ => Err(SamplesError::WrongTarget { needed: "numbers", found: self.target.kind() }),
        }
    }

    /// The target of the underlying rows, chosen or not.
    #[must_use]
    pub fn target(&self) -> Target<'a> {
        self.target
    }

    /// The weight of each chosen row, if there are weights.
    #[must_use]
    pub fn weights(&self) -> Option<Cow<'a, [f64]>> {
        self.weights.map(|weights| self.choose(weights))
    }

    /// The group of each chosen row, if there are groups.
    #[must_use]
    pub fn groups(&self) -> Option<Cow<'a, [u64]>> {
        self.groups.map(|groups| self.choose(groups))
    }

    /// Checks that every feature of the chosen rows is finite, for estimators without a notion of missing values.
    ///
    /// # Errors
    /// Names the first row (of the underlying matrix) and feature that is not.
    pub fn check_finite(&self) -> Result<(), SamplesError> {
        let fault = |row: usize| {
            let values = self.features.row(row);
            let feature = values.iter().position(|value| !value.is_finite())?;
            Some(SamplesError::NotFinite {
                row,
                feature: self.names[feature].clone(),
                value: values[feature],
            })
        };
        self.row_indices().iter().find_map(|&row| fault(row)).map_or(Ok(()), Err)
    }

    /// Copies the chosen rows into data of their own, whose features can then be replaced.
    #[must_use]
    pub fn to_owned_samples(&self) -> OwnedSamples {
        OwnedSamples {
            features: self.features().into_owned(),
            names: self.names.to_vec(),
            target: match self.target {
                Target::Absent => OwnedTarget::Absent,
                Target::Classes { labels, names } => {
                    OwnedTarget::Classes(self.choose(labels).into_owned(), names.to_vec())
                }
                Target::Values(values) => OwnedTarget::Values(self.choose(values).into_owned()),
            },
            weights: self.weights().map(Cow::into_owned),
            groups: self.groups().map(Cow::into_owned),
            seen: self.seen_by_selection().map(Cow::into_owned),
        }
    }

    fn choose<T: Copy>(&self, all: &'a [T]) -> Cow<'a, [T]> {
        match self.rows {
            None => Cow::Borrowed(all),
            Some(rows) => rows.iter().map(|&row| all[row]).collect(),
        }
    }
}

impl Target<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Classes { .. } => "classes",
            Self::Values(_) => "numbers",
        }
    }
}

/// Training data that owns its parts: a step between a transformer and the next estimator.
#[derive(Debug, Clone)]
pub struct OwnedSamples {
    features: Array2<f64>,
    names: Vec<String>,
    target: OwnedTarget,
    weights: Option<Vec<f64>>,
    groups: Option<Vec<u64>>,
    seen: Option<Vec<bool>>,
}

#[derive(Debug, Clone)]
enum OwnedTarget {
    Absent,
    Classes(Vec<usize>, Vec<String>),
    Values(Vec<f64>),
}

impl OwnedSamples {
    /// Replaces the features (`n_rows × n_features`) and their names; target, weights and groups stay.
    ///
    /// # Errors
    /// If the number of rows changes, or there are not as many names as columns.
    pub fn with_features(
        self,
        features: Array2<f64>,
        names: Vec<String>,
    ) -> Result<Self, SamplesError> {
        check_length("rows", features.nrows(), self.features.nrows())?;
        check_length("feature names", names.len(), features.ncols())?;
        Ok(Self { features, names, ..self })
    }

    /// Says of each row whether a selection saw it; see [`Samples::with_seen_by_selection`].
    ///
    /// # Errors
    /// If there are not as many entries as rows.
    pub fn with_seen_by_selection(self, seen: Vec<bool>) -> Result<Self, SamplesError> {
        check_length("rows seen by a selection", seen.len(), self.features.nrows())?;
        Ok(Self { seen: Some(seen), ..self })
    }

    /// The data, borrowed.
    #[must_use]
    pub fn as_samples(&self) -> Samples<'_> {
        let target = match &self.target {
            OwnedTarget::Absent => Target::Absent,
            OwnedTarget::Classes(labels, names) => Target::Classes { labels, names },
            OwnedTarget::Values(values) => Target::Values(values),
        };
        Samples {
            features: self.features.view(),
            names: &self.names,
            target,
            weights: self.weights.as_deref(),
            groups: self.groups.as_deref(),
            seen: self.seen.as_deref(),
            rows: None,
        }
    }
}

/// Training data whose parts do not fit together.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplesError {
    /// There is nothing to learn from.
    #[error("there are no rows")]
    NoRows,
    /// Two lengths that must agree do not.
    #[error("{what}: {given} given, {expected} expected")]
    Length {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        given: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A label has no class name.
    #[error("row {row}: label {label} is not below the number of classes, {classes}")]
    UnknownClass {
        /// The row, from 0.
        row: usize,
        /// Its label.
        label: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A chosen row does not exist.
    #[error("row {row} does not exist: there are {rows} rows")]
    UnknownRow {
        /// The row asked for, from 0.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// A feature is NaN or infinite where it must not be.
    #[error("row {row}, feature {feature:?}: {value} is not finite")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The name of the feature.
        feature: String,
        /// The value.
        value: f64,
    },
    /// A target value or a weight is NaN or infinite.
    #[error("row {row}: the {what} {value} is not finite")]
    NotFiniteValue {
        /// What the value is.
        what: &'static str,
        /// The row, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A weight is below zero.
    #[error("row {row}: the weight {value} is negative")]
    NegativeWeight {
        /// The row, from 0.
        row: usize,
        /// The weight.
        value: f64,
    },
    /// The target is of another kind than the estimator learns.
    #[error("the target must be made of {needed}, it is made of {found}")]
    WrongTarget {
        /// What is needed.
        needed: &'static str,
        /// What there is.
        found: &'static str,
    },
}

fn check_length(what: &'static str, given: usize, expected: usize) -> Result<(), SamplesError> {
    if given == expected { Ok(()) } else { Err(SamplesError::Length { what, given, expected }) }
}

fn check_finite(what: &'static str, values: &[f64]) -> Result<(), SamplesError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(SamplesError::NotFiniteValue { what, row, value: values[row] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("x{i}")).collect()
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let x = array![[1.0], [2.0]];
        let classes = names(2);
        let with = |target| Samples::new(x.view(), &classes[..1], target).map(|_| ());
        assert!(with(Target::Absent).is_ok());
        assert!(matches!(
            with(Target::Values(&[1.0])),
            Err(SamplesError::Length { what: "target values", given: 1, expected: 2 })
        ));
        assert!(matches!(
            with(Target::Values(&[1.0, f64::NAN])),
            Err(SamplesError::NotFiniteValue { row: 1, .. })
        ));
        assert!(matches!(
            with(Target::Classes { labels: &[0, 2], names: &classes }),
            Err(SamplesError::UnknownClass { row: 1, label: 2, classes: 2 })
        ));
        assert!(matches!(
            Samples::new(x.view(), &classes, Target::Absent),
            Err(SamplesError::Length { what: "feature names", .. })
        ));
        let empty = Array2::<f64>::zeros((0, 1));
        assert!(matches!(
            Samples::new(empty.view(), &classes[..1], Target::Absent),
            Err(SamplesError::NoRows)
        ));
    }

    #[test]
    fn a_choice_of_rows_applies_to_every_part() {
        let x = array![[1.0], [2.0], [3.0]];
        let (columns, classes) = (names(1), names(3));
        let all = Samples::new(
            x.view(),
            &columns,
            Target::Classes { labels: &[0, 1, 2], names: &classes },
        )
        .and_then(|s| s.with_weights(&[0.1, 0.2, 0.3]))
        .and_then(|s| s.with_groups(&[7, 8, 9]))
        .unwrap();
        let chosen = all.with_rows(&[2, 2, 1]).unwrap();
        let owned = chosen.to_owned_samples();
        for samples in [chosen, owned.as_samples()] {
            assert_eq!(samples.n_rows(), 3);
            assert_eq!(samples.features(), array![[3.0], [3.0], [2.0]]);
            assert_eq!(samples.classes().unwrap().0.as_ref(), [2, 2, 1]);
            assert_eq!(samples.weights().unwrap().as_ref(), [0.3, 0.3, 0.2]);
            assert_eq!(samples.groups().unwrap().as_ref(), [9, 9, 8]);
        }
        assert!(matches!(all.with_rows(&[3]), Err(SamplesError::UnknownRow { row: 3, rows: 3 })));
        assert!(matches!(all.with_rows(&[]), Err(SamplesError::NoRows)));
        assert!(matches!(
            all.values(),
            Err(SamplesError::WrongTarget { needed: "numbers", found: "classes" })
        ));
    }

    #[test]
    fn the_first_feature_that_is_not_finite_is_named() {
        let x = array![[1.0, 2.0], [3.0, f64::INFINITY]];
        let columns = names(2);
        let samples = Samples::new(x.view(), &columns, Target::Absent).unwrap();
        let error = samples.check_finite().unwrap_err();
        assert_eq!(
            error,
            SamplesError::NotFinite { row: 1, feature: "x1".to_owned(), value: f64::INFINITY }
        );
        assert!(samples.with_rows(&[0]).unwrap().check_finite().is_ok());
    }

    #[test]
    fn weights_must_be_finite_and_not_negative() {
        let x = array![[1.0], [2.0]];
        let columns = names(1);
        let samples = Samples::new(x.view(), &columns, Target::Absent).unwrap();
        assert!(matches!(
            samples.with_weights(&[1.0, -1.0]),
            Err(SamplesError::NegativeWeight { row: 1, .. })
        ));
        assert!(samples.with_weights(&[1.0, f64::NAN]).is_err());
        assert!(samples.with_weights(&[1.0, 0.0]).is_ok());
    }
}
