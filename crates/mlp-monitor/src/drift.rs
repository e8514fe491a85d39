//! Whether features and predictions are distributed as they were: significance and effect size together.

use std::fmt;

use mlp_core::ContentHash;
use mlp_stats::{ReferenceBins, benjamini_hochberg, ks_two_sample};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};
use crate::text::{Align, TextTable};

/// When a difference is drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DriftConfig {
    /// The share of false discoveries among the columns called drifted, above 0 and below 1. Default 0.05.
    pub alpha: f64,
    /// The smallest population stability index that matters. Default 0.1: with enough rows any difference is significant, and most of
    /// them do not matter.
    pub min_psi: f64,
    /// The smallest distance of the distribution functions that matters, whatever the index. Default 0.05, about a shift by an eighth of a
    /// standard deviation: the index alone misses every other shift by 0.3 of them.
    pub min_distance: f64,
    /// How many bins the index uses, at least 2. Default 10.
    pub bins: usize,
    /// The fewest values of a column that are compared. Default 30.
    pub min_values: usize,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self { alpha: 0.05, min_psi: 0.1, min_distance: 0.05, bins: 10, min_values: 30 }
    }
}

/// The columns as they were: what later rows are compared with. Holds a sorted copy of the reference.
///
/// A column has drifted if the Kolmogorov-Smirnov test finds a difference, after Benjamini and Hochberg's correction for the number of
/// columns, and the population stability index or the distance says that it matters. Values that are not finite are counted apart and not compared; a share of
/// them that grows is a matter of data quality.
///
/// ```
/// use mlp_monitor::{DriftConfig, DriftReference, DriftVerdict};
/// use ndarray::Array2;
///
/// let training = Array2::from_shape_fn((200, 2), |(row, column)| ((row * (7 + column)) % 101) as f64);
/// let reference = DriftReference::new(["age", "income"], training.view(), DriftConfig::default())?;
/// let mut current = training.clone();
/// current.column_mut(1).mapv_inplace(|income| income + 40.0);
/// let report = reference.compare(current.view())?;
/// assert_eq!(report.columns[0].verdict, DriftVerdict::Stable);
/// assert_eq!(report.drifted().collect::<Vec<_>>(), ["income"]);
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DriftReference {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
    config: DriftConfig,
    dataset: Option<ContentHash>,
}

/// What is said of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftVerdict {
    /// It is distributed as before, or so nearly that it does not matter.
    Stable,
    /// It is distributed otherwise, and that matters.
    Drifted,
    /// There are too few values to say.
    TooFew,
}

/// How one column compares with the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The column.
    pub name: String,
    /// What is said of it.
    pub verdict: DriftVerdict,
    /// The greatest distance of the two distributions, from 0 to 1.
    pub distance: f64,
    /// The p-value of that distance, corrected for the number of columns.
    pub adjusted_p: f64,
    /// The population stability index.
    pub psi: f64,
    /// How many current values were compared.
    pub values: usize,
    /// How many current values are not finite.
    pub not_finite: usize,
}

/// How all columns compare with the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The dataset that the reference comes from, if it was named.
    pub dataset: Option<ContentHash>,
    /// One entry a column, in the order of the reference.
    pub columns: Vec<ColumnDrift>,
}

impl DriftReference {
    /// Takes the reference (`n_rows × n_columns`): the features learnt from, or the predictions for them.
    ///
    /// # Errors
    /// If there are not as many names as columns, or a setting is out of range.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        reference: ArrayView2<'_, f64>,
        config: DriftConfig,
    ) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.len() != reference.ncols() {
            return Err(MonitorError::setting(
                "names of columns",
                names.len(),
                "one a column of the reference",
            ));
        }
        if !(config.alpha > 0.0 && config.alpha < 1.0) {
            return Err(MonitorError::setting("alpha", config.alpha, "above 0 and below 1"));
        }
        if !(0.0..=1.0).contains(&config.min_distance) {
            return Err(MonitorError::setting("min_distance", config.min_distance, "from 0 to 1"));
        }
        if !(config.min_psi >= 0.0 && config.min_psi.is_finite()) {
            return Err(MonitorError::setting("min_psi", config.min_psi, "finite and at least 0"));
        }
        if config.bins < 2 {
            return Err(MonitorError::setting("bins", config.bins, "at least 2"));
        }
        let columns = reference.columns().into_iter().map(|column| finite(column.iter())).collect();
        Ok(Self { names, columns, config, dataset: None })
    }

    /// Names the dataset that the reference comes from.
    #[must_use]
    pub fn with_dataset(mut self, fingerprint: ContentHash) -> Self {
        self.dataset = Some(fingerprint);
        self
    }

    /// Compares current rows (`n_rows × n_columns`) with the reference.
    ///
    /// # Errors
    /// If the number of columns is another.
    pub fn compare(&self, current: ArrayView2<'_, f64>) -> Result<DriftReport> {
        if current.ncols() != self.columns.len() {
            return Err(MonitorError::setting(
                "columns to compare",
                current.ncols(),
                "as many as the reference has",
            ));
        }
        let pairs = self.columns.iter().zip(current.columns());
        let measured: Vec<Option<Measured>> = pairs
            .map(|(reference, current)| self.measure(reference, &finite(current.iter())))
            .collect();
        let plain: Vec<f64> = measured.iter().flatten().map(|measured| measured.p_value).collect();
        let mut adjusted = benjamini_hochberg(&plain).unwrap_or_default().into_iter();
        let column = |(index, measured): (usize, Option<Measured>)| {
            let values = current.column(index).iter().filter(|value| value.is_finite()).count();
            let (name, not_finite) = (self.names[index].clone(), current.nrows() - values);
            let Some(Measured { distance, psi, .. }) = measured else {
                return ColumnDrift {
                    name,
                    verdict: DriftVerdict::TooFew,
                    distance: 0.0,
                    adjusted_p: 1.0,
                    psi: 0.0,
                    values,
                    not_finite,
                };
            };
            let adjusted_p = adjusted.next().unwrap_or(1.0);
            let matters = psi >= self.config.min_psi || distance >= self.config.min_distance;
            let drifted = adjusted_p <= self.config.alpha && matters;
            let verdict = if drifted { DriftVerdict::Drifted } else { DriftVerdict::Stable };
            ColumnDrift { name, verdict, distance, adjusted_p, psi, values, not_finite }
        };
        let columns = measured.into_iter().enumerate().map(column).collect();
        Ok(DriftReport { dataset: self.dataset, columns })
    }

    fn measure(&self, reference: &[f64], current: &[f64]) -> Option<Measured> {
        if reference.len().min(current.len()) < self.config.min_values.max(1) {
            return None;
        }
        // Finite values and at least one on each side: nothing is left that could fail.
        let test = ks_two_sample(reference, current).ok()?;
        let psi = match reference.iter().find(|value| **value != reference[0]) {
            Some(_) => ReferenceBins::new(reference, self.config.bins)
                .and_then(|bins| bins.psi(current))
                .ok()?,
            // A constant has no quantiles to cut at: what counts is the share of other values.
            None => {
                let other = |value: &f64| if *value == reference[0] { 0.0 } else { -1.0 };
                let current: Vec<f64> = current.iter().map(other).collect();
                ReferenceBins::new(&vec![0.0; reference.len()], 2)
                    .and_then(|bins| bins.psi(&current))
                    .ok()?
            }
        };
        Some(Measured { distance: test.statistic, p_value: test.p_value, psi: psi.value })
    }
}

struct Measured {
    distance: f64,
    p_value: f64,
    psi: f64,
}

fn finite<'a>(values: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    values.copied().filter(|value| value.is_finite()).collect()
}

impl DriftReport {
    /// The names of the columns that drifted.
    pub fn drifted(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .filter(|column| column.verdict == DriftVerdict::Drifted)
            .map(|column| column.name.as_str())
    }
}

impl fmt::Display for DriftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = |name| (name, Align::Right);
        let mut table = TextTable::new(&[
            ("column", Align::Left),
            ("verdict", Align::Left),
            right("PSI"),
            right("distance"),
            right("adjusted p"),
            right("values"),
            right("not finite"),
        ]);
        for column in &self.columns {
            let verdict = match column.verdict {
                DriftVerdict::Stable => "stable",
                DriftVerdict::Drifted => "DRIFTED",
                DriftVerdict::TooFew => "too few",
            };
            table.row(vec![
                column.name.clone(),
                verdict.to_owned(),
                format!("{:.3}", column.psi),
                format!("{:.3}", column.distance),
                format!("{:.1e}", column.adjusted_p),
                column.values.to_string(),
                column.not_finite.to_string(),
            ]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random;
    use ndarray::Array2;

    fn normal(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut generator = random::stream(seed, 0);
        Array2::from_shape_fn((rows, columns), |_| random::normal(&mut generator))
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|column| format!("x{column}")).collect()
    }

    fn verdicts(reference: &Array2<f64>, current: &Array2<f64>) -> Vec<DriftVerdict> {
        let reference =
            DriftReference::new(names(reference.ncols()), reference.view(), DriftConfig::default())
                .unwrap();
        reference
            .compare(current.view())
            .unwrap()
            .columns
            .iter()
            .map(|column| column.verdict)
            .collect()
    }

    /// 400 pairs of samples: how many of them are called drifted.
    fn called(n: usize, m: usize, shift: f64) -> usize {
        let found = |seed: &u64| {
            let mut generator = mlp_core::random::stream(*seed, 0);
            let mut normal = |rows: usize, shift: f64| {
                Array2::from_shape_simple_fn((rows, 1), || {
                    mlp_core::random::normal(&mut generator) + shift
                })
            };
            let (reference, current) = (normal(n, 0.0), normal(m, shift));
            let config = DriftConfig::default();
            let reference = DriftReference::new(["x"], reference.view(), config).unwrap();
            let report = reference.compare(current.view()).unwrap();
            report.columns[0].verdict == DriftVerdict::Drifted
        };
        (0..400).filter(found).count()
    }

    #[test]
    fn a_shift_of_three_tenths_of_a_deviation_is_found_and_no_shift_is_not() {
        // At least 95 % of 400.
        let found = called(1_000, 1_000, 0.3);
        assert!(found >= 380, "{found} of 400");
        // At most 5 % and three standard deviations (20 + 13).
        for (n, m) in [(1_000, 100), (1_000, 1_000)] {
            let alarms = called(n, m, 0.0);
            assert!(alarms <= 33, "{n}, {m}: {alarms} of 400");
        }
    }

    #[test]
    fn a_million_rows_make_a_tiny_distance_significant_and_no_drift() {
        let grid =
            |shift: f64| Array2::from_shape_fn((1_000_000, 1), |(i, _)| i as f64 / 1e6 + shift);
        let config = DriftConfig::default();
        let reference = DriftReference::new(["x"], grid(0.0).view(), config).unwrap();
        let report = reference.compare(grid(0.008).view()).unwrap();
        let column = &report.columns[0];
        assert!(column.adjusted_p < 1e-6 && column.distance < 0.01, "{column:?}");
        assert_eq!(column.verdict, DriftVerdict::Stable);
    }

    #[test]
    fn rows_without_drift_are_rarely_called_drifted() {
        // Any of twenty columns in 5 % of runs at most, and 3 standard deviations of 200 runs.
        let alarms = (0..200).filter(|&seed| {
            verdicts(&normal(1_000, 20, seed), &normal(100, 20, 1_000 + seed))
                .contains(&DriftVerdict::Drifted)
        });
        let count = alarms.count() as f64;
        assert!(
            count <= 200.0 * 0.05 + 3.0 * (200.0_f64 * 0.05 * 0.95).sqrt(),
            "{count} of 200 runs"
        );
    }

    #[test]
    fn a_shift_of_half_a_deviation_is_found() {
        let found = (0..100).filter(|&seed| {
            let mut current = normal(1_000, 3, 5_000 + seed);
            current.column_mut(1).mapv_inplace(|value| value + 0.5);
            verdicts(&normal(1_000, 3, seed), &current)
                == [DriftVerdict::Stable, DriftVerdict::Drifted, DriftVerdict::Stable]
        });
        assert!(found.count() >= 95);
    }

    #[test]
    fn a_difference_that_is_significant_but_tiny_is_no_drift() {
        let (reference, mut current) = (normal(100_000, 1, 1), normal(100_000, 1, 2));
        current.mapv_inplace(|value| value + 0.03);
        let reference =
            DriftReference::new(["x"], reference.view(), DriftConfig::default()).unwrap();
        let report = reference.compare(current.view()).unwrap();
        assert!(report.columns[0].adjusted_p < 0.001, "{report}");
        assert_eq!(report.columns[0].verdict, DriftVerdict::Stable);
    }

    #[test]
    fn constant_missing_and_tiny_columns_have_a_verdict() {
        let constant = Array2::from_elem((100, 1), 3.0);
        assert_eq!(verdicts(&constant, &constant), [DriftVerdict::Stable]);
        assert_eq!(verdicts(&constant, &Array2::from_elem((100, 1), 4.0)), [DriftVerdict::Drifted]);
        assert_eq!(
            verdicts(&constant, &Array2::from_elem((100, 1), f64::NAN)),
            [DriftVerdict::TooFew]
        );
        assert_eq!(verdicts(&constant, &Array2::from_elem((5, 1), 4.0)), [DriftVerdict::TooFew]);
        assert_eq!(verdicts(&constant, &Array2::zeros((0, 1))), [DriftVerdict::TooFew]);
    }

    #[test]
    fn one_outlier_changes_no_verdict() {
        let (reference, mut current) = (normal(1_000, 1, 1), normal(1_000, 1, 2));
        assert_eq!(verdicts(&reference, &current), [DriftVerdict::Stable]);
        current[[0, 0]] = 1e9;
        assert_eq!(verdicts(&reference, &current), [DriftVerdict::Stable]);
        current.mapv_inplace(|value| value + 1.0);
        assert_eq!(verdicts(&reference, &current), [DriftVerdict::Drifted]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let rows = normal(50, 2, 1);
        let new = |config| DriftReference::new(names(2), rows.view(), config);
        assert!(DriftReference::new(["x"], rows.view(), DriftConfig::default()).is_err());
        assert!(new(DriftConfig { alpha: 0.0, ..DriftConfig::default() }).is_err());
        assert!(new(DriftConfig { bins: 1, ..DriftConfig::default() }).is_err());
        assert!(new(DriftConfig { min_psi: f64::NAN, ..DriftConfig::default() }).is_err());
        assert!(new(DriftConfig::default()).unwrap().compare(normal(50, 3, 1).view()).is_err());
    }
}
