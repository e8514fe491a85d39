//! Filters: fast, univariate or pairwise, for when there are too many features to eliminate one by one.

use std::sync::Arc;

use mlp_core::{FitError, FittedTransformer, Samples, Transformer};
use mlp_stats::{chi_squared_tail, f_tail};
use ndarray::{ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::information::mutual_information;
use crate::selection::ColumnSelection;

/// Drops features that hardly vary.
///
/// As scikit-learn's `VarianceThreshold`: keeps a feature whose variance (n in the denominator) is above the threshold. A constant feature
/// always goes, even where rounding makes its variance a little more than zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VarianceFilter {
    threshold: f64,
}

impl VarianceFilter {
    /// Keeps features whose variance is above this; 0 drops only constants.
    #[must_use]
    pub const fn new(threshold: f64) -> Self {
        Self { threshold }
    }

    /// The columns that stay.
    ///
    /// # Errors
    /// If the threshold is negative or not a number, a feature is not finite, or none would stay.
    pub fn select(&self, data: &Samples<'_>) -> Result<ColumnSelection, SelectError> {
        if !(self.threshold >= 0.0 && self.threshold.is_finite()) {
            return Err(setting("the variance threshold", self.threshold, "at least 0 and finite"));
        }
        let kept: Vec<usize> = variances(data)?
            .into_iter()
            .enumerate()
            .filter(|&(_, variance)| variance > self.threshold)
            .map(|(column, _)| column)
            .collect();
        some_of(data, kept, format!("no feature has a variance above {}", self.threshold))
    }
}

/// The variance of each feature, with n in the denominator; exactly 0 for a constant one.
///
/// # Errors
/// If a feature is not finite.
pub fn variances(data: &Samples<'_>) -> Result<Vec<f64>, SelectError> {
    data.check_finite()?;
    let variance = |column: ArrayView1<'_, f64>| {
        if column.iter().all(|value| *value == column[0]) { 0.0 } else { column.var(0.0) }
    };
    Ok(data.features().axis_iter(Axis(1)).map(variance).collect())
}

/// Drops features that say what another one already says.
///
/// From left to right, a feature goes if its Pearson correlation with one that stays is above the threshold in size; the earlier one is
/// the reason. A constant feature correlates with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CorrelationFilter {
    threshold: f64,
}

/// A feature that a correlation filter drops, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlated {
    /// The column that goes.
    pub column: usize,
    /// The earlier column that says the same.
    pub because: usize,
    /// Their correlation.
    pub correlation: f64,
}

impl CorrelationFilter {
    /// Drops features that correlate with an earlier one by more than this (0 to 1).
    #[must_use]
    pub const fn new(threshold: f64) -> Self {
        Self { threshold }
    }

    /// The columns that stay, and for each that goes the reason.
    ///
    /// # Errors
    /// If the threshold is not from 0 to 1, or a feature is not finite.
    pub fn select(
        &self,
        data: &Samples<'_>,
    ) -> Result<(ColumnSelection, Vec<Correlated>), SelectError> {
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(setting("the correlation threshold", self.threshold, "from 0 to 1"));
        }
        data.check_finite()?;
        let columns: Vec<Vec<f64>> = data.features().axis_iter(Axis(1)).map(unit).collect();
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for column in 0..columns.len() {
            let correlation = |&other: &usize| {
                columns[other].iter().zip(&columns[column]).map(|(a, b)| a * b).sum::<f64>()
            };
            match kept
                .iter()
                .map(|other| (*other, correlation(other)))
                .find(|(_, r)| r.abs() > self.threshold)
            {
                Some((because, correlation)) => {
                    dropped.push(Correlated { column, because, correlation })
                }
                None => kept.push(column),
            }
        }
        Ok((ColumnSelection::chosen_on(data, kept), dropped))
    }
}

/// The column shifted to mean 0 and scaled to length 1; zeros if it is constant.
fn unit(column: ArrayView1<'_, f64>) -> Vec<f64> {
    let mean = column.sum() / column.len() as f64;
    let length = column.iter().map(|value| (value - mean).powi(2)).sum::<f64>().sqrt();
    let is_constant = column.iter().all(|value| *value == column[0]);
    column.iter().map(|value| if is_constant { 0.0 } else { (value - mean) / length }).collect()
}

/// Keeps the features of which at most a share of the values is missing (NaN).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MissingFilter {
    most: f64,
}

impl MissingFilter {
    /// Keeps features of which at most this share is missing, from 0 to 1.
    #[must_use]
    pub const fn new(most: f64) -> Self {
        Self { most }
    }

    /// The columns that stay.
    ///
    /// # Errors
    /// If the share is not from 0 to 1, or no feature stays.
    pub fn select(&self, data: &Samples<'_>) -> Result<ColumnSelection, SelectError> {
        if !(0.0..=1.0).contains(&self.most) {
            return Err(setting("the share of missing values", self.most, "from 0 to 1"));
        }
        let most = self.most * data.n_rows() as f64;
        let missing = |column: ArrayView1<'_, f64>| column.iter().filter(|v| v.is_nan()).count();
        let features = data.features();
        let kept = (0..data.n_features())
            .filter(|&column| missing(features.column(column)) as f64 <= most)
            .collect();
        some_of(data, kept, format!("more than {} of every feature is missing", self.most))
    }
}

/// How strongly one feature alone tells the classes apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Association {
    /// The test statistic. By [`anova_f`] it is infinite if the feature determines the class, NaN if the feature is constant; by
    /// [`chi_squared`] it is NaN if the feature is 0 in every row.
    #[serde(with = "mlp_core::exact")]
    pub statistic: f64,
    /// The p-value of the statistic.
    #[serde(with = "mlp_core::exact")]
    pub p_value: f64,
}

/// The one-way analysis of variance of each feature between the classes, as scikit-learn's `f_classif`.
///
/// # Errors
/// If the target has no classes, fewer than two of them have rows, there are no more rows than classes, or a feature is not finite.
pub fn anova_f(data: &Samples<'_>) -> Result<Vec<Association>, SelectError> {
    data.check_finite()?;
    let (labels, members) = members(data)?;
    let present = members.iter().filter(|&&count| count > 0).count();
    let (between_degrees, within_degrees) =
        ((present - 1) as f64, labels.len() as f64 - present as f64);
    if within_degrees < 1.0 {
        return Err(SelectError::TooFew {
            what: "rows".to_owned(),
            given: labels.len(),
            needed: present + 1,
        });
    }
    let test = |column: ArrayView1<'_, f64>| {
        if column.iter().all(|value| *value == column[0]) {
            // The rounded mean of a constant may differ from it, and make the classes seem apart.
            return Association { statistic: f64::NAN, p_value: f64::NAN };
        }
        let mean = column.sum() / labels.len() as f64;
        let mut sums = vec![0.0; members.len()];
        labels.iter().zip(column).for_each(|(&label, value)| sums[label] += value - mean);
        let means: Vec<f64> =
            sums.iter().zip(&members).map(|(sum, &count)| sum / count as f64).collect();
        let between: f64 = sums
            .iter()
            .zip(&means)
            .filter(|(_, mean)| !mean.is_nan())
            .map(|(sum, mean)| sum * mean)
            .sum();
        let within: f64 = labels
            .iter()
            .zip(column)
            .map(|(&label, value)| (value - mean - means[label]).powi(2))
            .sum();
        let statistic = (between / between_degrees) / (within / within_degrees);
        Association { statistic, p_value: f_tail(statistic, between_degrees, within_degrees) }
    };
    Ok(data.features().axis_iter(Axis(1)).map(test).collect())
}

/// The chi-squared statistic of each feature, taken as a frequency, between the classes, as scikit-learn's `chi2`.
///
/// # Errors
/// If the target has no classes, fewer than two of them have rows, or a feature is negative or not finite.
pub fn chi_squared(data: &Samples<'_>) -> Result<Vec<Association>, SelectError> {
    data.check_finite()?;
    let (labels, members) = members(data)?;
    let present = members.iter().filter(|&&count| count > 0).count();
    let test = |(index, column): (usize, ArrayView1<'_, f64>)| {
        if let Some(value) = column.iter().find(|value| **value < 0.0) {
            return Err(setting(
                "a frequency",
                format!("{value} in feature {:?}", data.names()[index]),
                "at least 0",
            ));
        }
        let mut observed = vec![0.0; members.len()];
        labels.iter().zip(column).for_each(|(&label, value)| observed[label] += value);
        let total = column.sum();
        let cells = observed.iter().zip(&members).filter(|&(_, &count)| count > 0);
        let statistic = cells.map(|(observed, &count)| {
            let expected = total * count as f64 / labels.len() as f64;
            (observed - expected).powi(2) / expected
        });
        let statistic: f64 = statistic.sum();
        Ok(Association { statistic, p_value: chi_squared_tail(statistic, (present - 1) as f64) })
    };
    data.features().axis_iter(Axis(1)).enumerate().map(test).collect()
}

fn members<'a>(
    data: &Samples<'a>,
) -> Result<(std::borrow::Cow<'a, [usize]>, Vec<usize>), SelectError> {
    let (labels, names) = data.classes()?;
    let mut members = vec![0; names.len()];
    labels.iter().for_each(|&label| members[label] += 1);
    let present = members.iter().filter(|&&count| count > 0).count();
    if present < 2 {
        return Err(SelectError::TooFew {
            what: "classes with rows".to_owned(),
            given: present,
            needed: 2,
        });
    }
    Ok((labels, members))
}

/// Keeps the features with the greatest statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectKBest {
    by: Statistic,
    keep: usize,
}

/// What features are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Statistic {
    /// The one-way analysis of variance between the classes ([`anova_f`]).
    AnovaF,
    /// The chi-squared statistic between the classes ([`chi_squared`]); features must not be negative.
    ChiSquared,
    /// The mutual information with the target ([`mutual_information`]), which may be numbers.
    MutualInformation,
}

impl SelectKBest {
    /// Keeps this many features.
    #[must_use]
    pub const fn new(by: Statistic, keep: usize) -> Self {
        Self { by, keep }
    }

    /// The columns that stay. Of equal ones the rightmost stay, as in scikit-learn; a feature without a statistic goes first.
    ///
    /// # Errors
    /// If more features are to be kept than there are, or none, or the statistic cannot be computed.
    pub fn select(&self, data: &Samples<'_>) -> Result<ColumnSelection, SelectError> {
        let n = data.n_features();
        if self.keep == 0 || self.keep > n {
            return Err(setting(
                "the number of features to keep",
                self.keep,
                format!("from 1 to {n}, the number of features"),
            ));
        }
        let statistic = |associations: Vec<Association>| {
            associations.into_iter().map(|association| association.statistic).collect()
        };
        let statistics: Vec<f64> = match self.by {
            Statistic::AnovaF => statistic(anova_f(data)?),
            Statistic::ChiSquared => statistic(chi_squared(data)?),
            Statistic::MutualInformation => mutual_information(data)?,
        };
        let key = |&column: &usize| {
            let statistic = statistics[column];
            if statistic.is_nan() { f64::NEG_INFINITY } else { statistic }
        };
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| key(a).total_cmp(&key(b)));
        let mut kept = order.split_off(n - self.keep);
        kept.sort_unstable();
        Ok(ColumnSelection::chosen_on(data, kept))
    }
}

fn some_of(
    data: &Samples<'_>,
    kept: Vec<usize>,
    otherwise: String,
) -> Result<ColumnSelection, SelectError> {
    if kept.is_empty() {
        return Err(SelectError::NothingLeft { reason: otherwise });
    }
    Ok(ColumnSelection::chosen_on(data, kept))
}

macro_rules! transformer {
    ($filter:ty, |$self:ident, $data:ident| $select:expr) => {
        impl Transformer for $filter {
            fn fit(
                &self,
                data: Samples<'_>,
                _seed: u64,
            ) -> Result<Arc<dyn FittedTransformer>, FitError> {
                let ($self, $data) = (self, &data);
                Ok(Arc::new($select.map_err(FitError::failed)?.forgetting()))
            }
        }
    };
}

transformer!(MissingFilter, |filter, data| filter.select(data));
transformer!(VarianceFilter, |filter, data| filter.select(data));
transformer!(CorrelationFilter, |filter, data| filter.select(data).map(|(selection, _)| selection));
transformer!(SelectKBest, |filter, data| filter.select(data));
