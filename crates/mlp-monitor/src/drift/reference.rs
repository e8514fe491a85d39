//! The columns as they were, and what is compared with them.

use mlp_core::ContentHash;
use mlp_stats::benjamini_hochberg;
use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::column::{Measured, Reference};
use super::config::DriftConfig;
use super::report::{ColumnDrift, ColumnTest, DriftReport, DriftVerdict, SliceDrift};
use crate::error::{MonitorError, Result};
use crate::slices::Slices;

/// The columns as they were: what later rows are compared with. Holds a sorted copy of the reference, of at most
/// [`DriftConfig::max_reference`] values a column; of more, their quantiles at as many even steps, a sketch whose distribution function is within
/// half a step of that of all values. [`DriftReferenceBuilder`](crate::DriftReferenceBuilder) takes a reference that does not fit into
/// memory, as a sample. It can be stored with its dataset's fingerprint; what is read back is checked.
///
/// A column has drifted if the test finds a difference, after Benjamini and Hochberg's correction for the number of columns, and the
/// population stability index or the distance says that it matters. The index itself is no test: scaled as it should be χ² in large samples it
/// calls 40 % of unchanged samples of 30 different at 5 %, so significance is Pearson's χ² of the same bins, or another test. Values that are not finite are counted apart and not compared; a share of
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct DriftReference {
    names: Vec<String>,
    columns: Vec<Reference>,
    config: DriftConfig,
    dataset: Option<ContentHash>,
}

/// What is stored of a reference, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    names: Vec<String>,
    columns: Vec<Reference>,
    config: DriftConfig,
    dataset: Option<ContentHash>,
}

impl TryFrom<Stored> for DriftReference {
    type Error = MonitorError;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { names, columns, config, dataset } = stored;
        config.check()?;
        check_names(&names, columns.len())?;
        columns.iter().try_for_each(|column| column.check(&config))?;
        Ok(Self { names, columns, config, dataset })
    }
}

fn check_names(names: &[String], columns: usize) -> Result<()> {
    if names.len() == columns {
        return Ok(());
    }
    Err(MonitorError::setting("names of columns", names.len(), "one a column of the reference"))
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
        check_names(&names, reference.ncols())?;
        let columns: Vec<Vec<f64>> =
            reference.columns().into_iter().map(|column| finite(column.iter())).collect();
        Self::of_columns(names, columns, categories, config)
    }

    /// Of the finite values of each column.
    pub(super) fn of_columns(
        names: Vec<String>,
        columns: Vec<Vec<f64>>,
        categories: &[&str],
        config: DriftConfig,
    ) -> Result<Self> {
        if let Some(name) = categories.iter().find(|name| names.iter().all(|known| known != *name))
        {
            return Err(MonitorError::Unknown { what: "column", name: (*name).to_owned() });
        }
        config.check()?;
        let column = |(name, values): (&String, Vec<f64>)| match categories.contains(&name.as_str())
        {
            true => Ok(Reference::categories(&values, &config)),
            false => Reference::numbers(values, &config),
        };
        let columns = names.iter().zip(columns).map(column).collect::<Result<_>>()?;
        Ok(Self { names, columns, config, dataset: None })
    }

    /// Names the dataset that the reference comes from.
    #[must_use]
    pub fn with_dataset(mut self, fingerprint: ContentHash) -> Self {
        self.dataset = Some(fingerprint);
        self
    }

    /// The dataset that the reference comes from, if it was named.
    #[must_use]
    pub fn dataset(&self) -> Option<&ContentHash> {
        self.dataset.as_ref()
    }

    /// The names of the columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Compares current rows (`n_rows × n_columns`) with the reference.
    ///
    /// # Errors
    /// If the number of columns is another.
    pub fn compare(&self, current: ArrayView2<'_, f64>) -> Result<DriftReport> {
        let mut reports = self.judge(vec![self.measure(current, 1)?])?;
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
            .map(|(_, rows)| {
                self.measure(current.select(Axis(0), rows).view(), slices.parts().count())
            })
            .collect();
        let reports = self.judge(parts?)?;
        let named = slices.parts().zip(reports);
        Ok(named
            .map(|((name, rows), report)| SliceDrift {
                name: name.to_owned(),
                rows: rows.len(),
                report,
            })
            .collect())
    }

    /// Measures one of so many parts.
    fn measure(&self, current: ArrayView2<'_, f64>, parts: usize) -> Result<Vec<Compared>> {
        if current.ncols() != self.columns.len() {
            return Err(MonitorError::setting(
                "columns to compare",
                current.ncols(),
                "as many as the reference has",
            ));
        }
        // A tenth of the strictest limit of Benjamini and Hochberg: what is below is significant, however it is computed.
        let tests = (parts * self.columns.len()).max(1);
        let least = self.config.alpha / (10.0 * tests as f64);
        let pairs = self.columns.iter().zip(current.columns());
        pairs
            .map(|(reference, column)| {
                let values = finite(column.iter());
                let (count, not_finite) = (values.len(), column.len() - values.len());
                let measured = reference.measure(values, &self.config, least)?;
                Ok(Compared { measured, count, not_finite })
            })
            .collect()
    }

    /// Turns what was measured of each part into verdicts, corrected for the number of all tests.
    fn judge(&self, parts: Vec<Vec<Compared>>) -> Result<Vec<DriftReport>> {
        let measured = parts.iter().flatten().filter_map(|compared| compared.measured.as_ref());
        let plain: Vec<f64> = measured.map(|measured| measured.p_value).collect();
        // Without tests there is nothing to correct.
        let adjusted = if plain.is_empty() { Vec::new() } else { benjamini_hochberg(&plain)? };
        let mut adjusted = adjusted.into_iter();
        let mut report = |part: Vec<Compared>| DriftReport {
            dataset: self.dataset,
            columns: self
                .names
                .iter()
                .zip(part)
                .map(|(name, compared)| self.verdict(name, compared, &mut adjusted))
                .collect(),
        };
        Ok(parts.into_iter().map(&mut report).collect())
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
                psi_p_value: 1.0,
                cells: 0,
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
            psi_p_value: found.psi_p_value,
            cells: found.cells,
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

pub(super) fn finite<'a>(values: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    values.copied().filter(|value| value.is_finite()).collect()
}
