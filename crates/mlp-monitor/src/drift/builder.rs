//! A reference from more rows than fit into memory: a random sample of bounded size.

use mlp_core::random::{self, ChaCha8Rng};
use ndarray::ArrayView2;

use super::config::DriftConfig;
use super::reference::{DriftReference, finite};
use crate::error::{MonitorError, Result};

/// Takes a reference in chunks, and keeps of each column a sample of at most [`DriftConfig::max_reference`] finite values, every one equally likely
/// (Vitter 1985, algorithm R).
///
/// A sample, as tests between samples keep their levels with it. A sketch with a bound on the relative error of its quantiles, such as
/// [`QuantileSketch`](mlp_stats::QuantileSketch), would not do: values that lie close together far from 0 become one to it.
///
/// ```
/// use mlp_monitor::{DriftConfig, DriftReferenceBuilder};
/// use ndarray::Array2;
///
/// let config = DriftConfig::default().with_max_reference(1_000);
/// let mut builder = DriftReferenceBuilder::new(["age", "plan"], &["plan"], config, 7)?;
/// for chunk in 0..10 {
///     let rows = Array2::from_shape_fn((5_000, 2), |(row, column)| ((row + chunk) % (90 - 87 * column)) as f64);
///     builder.add_rows(rows.view())?;
/// }
/// let reference = builder.build()?;
/// let current = Array2::from_shape_fn((500, 2), |(row, column)| (row % (90 - 87 * column)) as f64);
/// assert_eq!(reference.compare(current.view())?.drifted().count(), 0);
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct DriftReferenceBuilder {
    names: Vec<String>,
    categories: Vec<String>,
    config: DriftConfig,
    columns: Vec<Sample>,
}

/// A sample of what one column has had so far.
#[derive(Debug)]
struct Sample {
    values: Vec<f64>,
    seen: u64,
    generator: ChaCha8Rng,
}

impl Sample {
    fn add(&mut self, value: f64, most: usize) {
        self.seen += 1;
        if self.values.len() < most {
            self.values.push(value);
            return;
        }
        let place = random::below(&mut self.generator, self.seen);
        if let Some(held) = usize::try_from(place).ok().and_then(|at| self.values.get_mut(at)) {
            *held = value;
        }
    }
}

impl DriftReferenceBuilder {
    /// Nothing taken yet, of columns of which `categories` hold codes. The sample of the k-th column depends on (`seed`, k) and on its values only.
    ///
    /// # Errors
    /// If a setting is out of range, or no column has the name of a category.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        categories: &[&str],
        config: DriftConfig,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if let Some(name) = categories.iter().find(|name| names.iter().all(|known| known != *name))
        {
            return Err(MonitorError::Unknown { what: "column", name: (*name).to_owned() });
        }
        let sample = |k| Sample { values: Vec::new(), seen: 0, generator: random::stream(seed, k) };
        let columns = (0..names.len() as u64).map(sample).collect();
        let categories = categories.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { names, categories, config, columns })
    }

    /// Takes more rows of the reference (`n_rows × n_columns`). Values that are not finite are left out.
    ///
    /// # Errors
    /// If there are not as many columns.
    pub fn add_rows(&mut self, rows: ArrayView2<'_, f64>) -> Result<()> {
        let (given, expected) = (rows.ncols(), self.columns.len());
        if given != expected {
            return Err(MonitorError::Length {
                what: "columns of a reference".to_owned(),
                given,
                expected,
            });
        }
        let most = self.config.max_reference;
        for (sample, column) in self.columns.iter_mut().zip(rows.columns()) {
            finite(column.iter()).into_iter().for_each(|value| sample.add(value, most));
        }
        Ok(())
    }

    /// The reference.
    ///
    /// # Errors
    /// None but those of statistics, which finite values do not make.
    pub fn build(self) -> Result<DriftReference> {
        let categories: Vec<&str> = self.categories.iter().map(String::as_str).collect();
        let columns = self.columns.into_iter().map(|sample| sample.values).collect();
        DriftReference::of_columns(self.names, columns, &categories, self.config)
    }
}
