//! The columns as they were, and what is compared with them.

use mlp_core::ContentHash;
use mlp_stats::benjamini_hochberg;
use ndarray::{ArrayView2, Axis};

use super::column::{Measured, Reference};
use super::config::DriftConfig;
use super::report::{ColumnDrift, ColumnTest, DriftReport, DriftVerdict, SliceDrift};
use crate::error::{MonitorError, Result};
use crate::slices::Slices;

/// The columns as they were: what later rows are compared with. Holds a sorted copy of the reference, of at most
/// [`DriftConfig::max_reference`] values a column.
///
/// A column has drifted if the test finds a difference, after Benjamini and Hochberg's correction for the number of columns, and the
/// population stability index or the distance says that it matters. Values that are not finite are counted apart and not compared; a share of
/// them that grows is a matter of data quality. Jensen and Shannon's and the Wasserstein distance are told as sizes; they decide nothing.
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
    columns: Vec<Reference>,
    config: DriftConfig,
    dataset: Option<ContentHash>,
}

impl DriftReference {
    /// Takes the reference (`n_rows × n_columns`): the features learnt from, or the predictions for them. Every column holds numbers.
    ///
    /// # Errors
    /// If there are not as many names as columns, or a setting is out of range.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        reference: ArrayView2<'_, f64>,
        config: DriftConfig,
    ) -> Result<Self> {
        Self::with_categories(names, reference, &[], config)
    }

    /// Takes the reference, in which the columns of these names hold categories as codes: only whether two are the same counts.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if no column has such a name.
    pub fn with_categories<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        reference: ArrayView2<'_, f64>,
        categories: &[&str],
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
        if let Some(name) = categories.iter().find(|name| names.iter().all(|known| known != *name))
        {
            return Err(MonitorError::Unknown { what: "column", name: (*name).to_owned() });
        }
        config.check()?;
        let column = |(name, column): (&String, ndarray::ArrayView1<'_, f64>)| {
            let values = finite(column.iter());
            match categories.contains(&name.as_str()) {
                true => Reference::categories(&values),
                false => Reference::numbers(values, &config),
            }
        };
        let columns = names.iter().zip(reference.columns()).map(column).collect();
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
        let mut reports = self.judge(vec![self.measure(current)?]);
        Ok(reports.remove(0))
    }

    /// Compares parts of the current rows with the whole reference, slice by slice. The correction for many tests is for all columns of all
    /// slices together, so that many slices do not make alarms.
    ///
    /// # Errors
    /// If the number of columns or of rows is another.
    pub fn compare_slices(
        &self,
        current: ArrayView2<'_, f64>,
        slices: &Slices,
    ) -> Result<Vec<SliceDrift>> {
        slices.check_rows(current.nrows())?;
        let parts: Result<Vec<_>> = slices
            .parts()
            .map(|(_, rows)| self.measure(current.select(Axis(0), rows).view()))
            .collect();
        let reports = self.judge(parts?);
        let named = slices.parts().zip(reports);
        Ok(named
            .map(|((name, rows), report)| SliceDrift {
                name: name.to_owned(),
                rows: rows.len(),
                report,
            })
            .collect())
    }

    fn measure(&self, current: ArrayView2<'_, f64>) -> Result<Vec<Compared>> {
        if current.ncols() != self.columns.len() {
            return Err(MonitorError::setting(
                "columns to compare",
                current.ncols(),
                "as many as the reference has",
            ));
        }
        let pairs = self.columns.iter().zip(current.columns());
        Ok(pairs
            .map(|(reference, column)| {
                let values = finite(column.iter());
                let (count, not_finite) = (values.len(), column.len() - values.len());
                Compared { measured: reference.measure(values, &self.config), count, not_finite }
            })
            .collect())
    }

    /// Turns what was measured of each part into verdicts, corrected for the number of all tests.
    fn judge(&self, parts: Vec<Vec<Compared>>) -> Vec<DriftReport> {
        let measured = parts.iter().flatten().filter_map(|compared| compared.measured.as_ref());
        let plain: Vec<f64> = measured.map(|measured| measured.p_value).collect();
        // They are p-values: nothing is left that could fail.
        let mut adjusted = benjamini_hochberg(&plain).unwrap_or_default().into_iter();
        let mut report = |part: Vec<Compared>| DriftReport {
            dataset: self.dataset,
            columns: self
                .names
                .iter()
                .zip(part)
                .map(|(name, compared)| self.verdict(name, compared, &mut adjusted))
                .collect(),
        };
        parts.into_iter().map(&mut report).collect()
    }

    fn verdict(
        &self,
        name: &str,
        compared: Compared,
        adjusted: &mut impl Iterator<Item = f64>,
    ) -> ColumnDrift {
        let (name, not_finite) = (name.to_owned(), compared.not_finite);
        let Some(found) = compared.measured else {
            return ColumnDrift {
                name,
                verdict: DriftVerdict::TooFew,
                test: ColumnTest::None,
                distance: 0.0,
                p_value: 1.0,
                adjusted_p: 1.0,
                psi: 0.0,
                jensen_shannon: 0.0,
                wasserstein: None,
                values: compared.count,
                not_finite,
                unknown: 0,
            };
        };
        let adjusted_p = adjusted.next().unwrap_or(1.0);
        let matters =
            found.psi >= self.config.min_psi || found.distance >= self.config.min_distance;
        let drifted = adjusted_p <= self.config.alpha && matters;
        ColumnDrift {
            name,
            verdict: if drifted { DriftVerdict::Drifted } else { DriftVerdict::Stable },
            test: found.test,
            distance: found.distance,
            p_value: found.p_value,
            adjusted_p,
            psi: found.psi,
            jensen_shannon: found.jensen_shannon,
            wasserstein: found.wasserstein,
            values: compared.count,
            not_finite,
            unknown: found.unknown,
        }
    }
}

/// A column of current values beside the reference.
struct Compared {
    measured: Option<Measured>,
    count: usize,
    not_finite: usize,
}

fn finite<'a>(values: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    values.copied().filter(|value| value.is_finite()).collect()
}
